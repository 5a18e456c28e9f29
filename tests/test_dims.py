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


def changed(dim: Dim, kind: str, by: int) -> Dim:
    """A size after one step."""
    return {"+": dim.__add__, "-": dim.__sub__, "*": dim.__mul__, "/": dim.__floordiv__, "m": dim.at_most}[kind](by)


STEPS = st.lists(st.tuples(st.sampled_from("+-*/"), st.integers(1, 40)), max_size=6)
LIMITED = st.lists(st.tuples(st.sampled_from("+-*/m"), st.integers(1, 40)), max_size=6)


@given(LIMITED, st.integers(0, 5000))
def test_a_dim_is_what_its_steps_do(steps: list[tuple[str, int]], size: int) -> None:
    dim, number = Dim("samples"), size
    for kind, by in steps:
        dim = changed(dim, kind, by)
        number = {"+": number + by, "-": number - by, "*": number * by, "/": number // by, "m": min(number, by)}[kind]
    assert dim.at(size) == number
    assert eval(str(dim), {"samples": size}) == number  # it prints what it computes


@given(STEPS, st.integers(-5, 50))
def test_least_is_the_smallest_size_that_gives_enough(steps: list[tuple[str, int]], wanted: int) -> None:
    dim = Dim("samples")
    for kind, by in steps:
        dim = changed(dim, kind, by)
    least = dim.least(wanted)
    assert dim.at(least) >= wanted > dim.at(least - 1)


@given(LIMITED, st.integers(-5, 50))
def test_a_limit_may_lie_below_what_is_wanted(steps: list[tuple[str, int]], wanted: int) -> None:
    dim = Dim("samples")
    for kind, by in steps:
        dim = changed(dim, kind, by)
    try:
        least = dim.least(wanted)
    except ValueError:
        assert dim.limited
        assert dim.at(10**9) < wanted
    else:
        assert dim.at(least) >= wanted > dim.at(least - 1)


@given(LIMITED, st.integers(1, 12), st.integers(0, 3000))
def test_a_quotient_is_exact(steps: list[tuple[str, int]], by: int, size: int) -> None:
    dim = Dim("samples")
    for kind, number in steps:
        dim = changed(dim, kind, number)
    if (quotient := dim.divided(by)) is not None:
        assert quotient.at(size) * by == dim.at(size)


def test_a_limited_size_is_not_made_by_steps_alone() -> None:
    limited = (Dim("samples") + 3).at_most(100) // 4
    assert limited.limited
    assert str(limited) == "min(samples + 3, 100) // 4"
    assert ((Dim("samples") // 160) * 160).at_most(4800).divided(160) == (Dim("samples") // 160).at_most(30)
    assert (((Dim("samples") // 160) * 160).at_most(4800) + 400).divided(16) == (Dim("samples") // 160 * 10).at_most(300) + 25
    assert ((Dim("samples") // 160) * 160).at_most(4801).divided(160) is None
    with pytest.raises(ValueError, match="not made by steps alone"):
        _ = limited.steps


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
