"""Sizes that vary compose exactly."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

import specgraph.builder
import specgraph.dims
import specgraph.metadata
import specgraph.op
import specgraph.reach
from specgraph.dims import Dim, broadcast, evaluate

STEPS = st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 40)), max_size=6)


@given(STEPS, st.integers(0, 5000))
def test_a_dim_is_what_its_steps_do(steps: list[tuple[str, int]], size: int) -> None:
    dim, number = Dim("samples"), size
    for kind, by in steps:
        dim = dim + by if kind == "+" else dim - by if kind == "-" else dim * by if kind == "*" else dim // by
        number = number + by if kind == "+" else number - by if kind == "-" else number * by if kind == "*" else number // by
    assert dim.at(size) == number
    assert eval(str(dim), {"samples": size}) == number  # it prints what it computes


@given(STEPS, st.integers(-5, 50))
def test_least_is_the_smallest_size_that_gives_enough(steps: list[tuple[str, int]], wanted: int) -> None:
    dim = Dim("samples")
    for kind, by in steps:
        dim = dim + by if kind == "+" else dim - by if kind == "-" else dim * by if kind == "*" else dim // by
    least = dim.least(wanted)
    assert dim.at(least) >= wanted > dim.at(least - 1)


def test_exact_division() -> None:
    frames = (Dim("samples") + 3) // 4
    assert (frames * 12).divided(4) == frames * 3
    assert (frames * 4).divided(4) == frames
    assert frames.divided(2) is None
    assert ((frames * 6) // 6) == frames


def test_broadcast_and_evaluate() -> None:
    frames = Dim("frames")
    assert broadcast((3, 1, frames), (4, 1)) == (3, 4, frames)
    assert broadcast((3, frames), (frames + 1,)) is None
    assert evaluate((2, frames + 1), {"frames": 5}) == (2, 6)


@pytest.mark.parametrize("module", [specgraph.dims, specgraph.op, specgraph.reach, specgraph.builder, specgraph.metadata])
def test_doctests(module) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed
