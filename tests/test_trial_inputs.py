"""Graphs whose inputs have any name, shape and meaning are verified on data that means something to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import specgraph as sg
from specgraph.export.signals import trials
from specgraph.export.trial_inputs import layout
from specgraph.op import GraphError, Value

Make = Callable[[sg.Builder, Value], Value]
STFT = {"n_fft": 128, "hop_length": 32}


def bank(rows: int, columns: int) -> np.ndarray:
    return np.abs(np.random.default_rng(0).standard_normal((rows, columns))) / columns


def graph(shape: tuple[int | str, ...], make: Make, name: str = "given") -> sg.Graph:
    b = sg.Builder(sample_rate=16000)
    return b.build(made=make(b, b.input(name, shape)))


def log_mel(b: sg.Builder, magnitudes: Value) -> Value:
    return b.log(b.filterbank(magnitudes, bank(10, 65)))


CASES: dict[str, tuple[tuple[int | str, ...], Make, str]] = {
    "waveforms": (("batch", "n"), lambda b, x: b.magnitude(b.stft(b.pad(x, 64), **STFT)), "waveforms"),
    "waveforms called features": (("batch", "time"), lambda b, x: b.magnitude(b.stft(x, **STFT)), "waveforms"),
    "channels": (("batch", 2, "n"), lambda b, x: b.magnitude(b.stft(b.mix_channels(x), **STFT)), "waveforms"),
    "channels last": (("batch", "samples", 2), lambda b, x: b.reduce(x, kind="mean", axis=2), "waveforms"),
    "a chunk": ((1, 400), lambda b, x: b.stft(x, **STFT), "waveforms"),
    "energies": (("batch", "frames"), lambda b, x: b.log(x), "magnitudes"),
    "complex": (("batch", 65, "frames", 2), lambda b, x: b.istft(x, **STFT), "complex"),
    "complex, frames first": (("batch", "T", 65, 2), lambda b, x: log_mel(b, b.transpose(b.magnitude(x), (0, 2, 1))), "complex"),
    "complex, parts first": (("batch", 2, 65, "frames"), lambda b, x: log_mel(b, b.magnitude(x, axis=1)), "complex"),
    "complex, one frame": (("batch", 65, 2), lambda b, x: b.phase(x), "complex"),
    "complex, fixed": (("batch", 65, 50, 2), lambda b, x: b.magnitude(x), "complex"),
    "magnitudes": (("batch", 65, "frames"), log_mel, "magnitudes"),
    "magnitudes, large": (("batch", 4097, "frames"), lambda b, x: b.reduce(x, kind="sum"), "magnitudes"),
    "magnitudes, any bins": (("batch", "frames", "freq"), lambda b, x: b.reduce(x, kind="sum", axis=2), "magnitudes"),
    "magnitudes, clips called N": (("N", 65, "frames"), lambda b, x: b.log(x), "magnitudes"),
    "magnitudes of channels": (("batch", 2, 65, "frames"), lambda b, x: b.log(x), "magnitudes"),
    "power over its mean": (("batch", 40, "frames"), lambda b, x: b.divide(x, b.power(b.affine(b.smooth(x, 0.025), offset=1e-6), 0.98)), "magnitudes"),
    "logarithms": (("batch", 1025, "frames"), lambda b, x: b.exponential(x), "logarithms"),
    "decibels": (("batch", 513, "frames"), lambda b, x: b.exponential(b.affine(x, scale=np.log(10) / 10)), "logarithms"),
    "to be normalized": (("batch", 80, "frames"), lambda b, x: b.cmvn(x), "logarithms"),
    "frames of sound": (("batch", 128, "frames"), lambda b, x: b.overlap_add(x, hop_length=32), "magnitudes"),
    "many axes": (("batch", "a", "b", 30, "frames"), lambda b, x: b.affine(x, scale=2.0), "magnitudes"),
    "no batch": (("n",), lambda b, x: b.affine(x, scale=2.0), "waveforms"),
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.replace(" ", "-"))
def test_any_input_is_verified_on_what_it_means(case: str, tmp_path: Path) -> None:
    shape, make, kind = CASES[case]
    made = graph(shape, make, name="features" if "features" in case else "given")
    held = layout(made, made.inputs[0])
    assert held.kind == kind
    for name, (array,) in trials(made):
        assert array.size < 2_000_000 * len(array)
        assert np.isfinite(array).all()
        if kind == "magnitudes":
            assert (array >= 0).all()
        if "noise" in name and held.along is not None and array.shape[held.along] > 3:
            clip = array if held.batch is None else np.take(array, [0], held.batch)
            peaks = np.abs(clip).max(tuple(axis for axis in (held.along, held.parts) if axis is not None))
            assert peaks.min() > 1e-3 * peaks.max(), "no row is nearly zero"
    report = sg.to_onnx(made, tmp_path / "a.onnx")
    assert 0 <= report.error <= report.tolerance
    assert sg.verify(tmp_path / "a.onnx").error <= report.tolerance


def test_no_two_inputs_are_equal() -> None:
    b = sg.Builder(sample_rate=16000)
    first, second = b.input("first", ("batch", 65, "frames")), b.input("second", ("batch", 65, "frames"))
    wave, gain = b.input("wave", ("batch", "samples")), b.input("gain", ("batch", 1))
    made = b.build(a=b.subtract(first, second), b=b.multiply(b.stft(b.multiply(wave, gain), **STFT), np.ones((65, 1, 1))))
    for name, (one, two, samples, gains) in trials(made):
        assert one.shape == two.shape
        assert samples.shape[0] == gains.shape[0] == one.shape[0]
        if "noise" in name and one.shape[2] > 3:
            assert np.abs(one - two)[0].max() > 0.1 * np.abs(one[0]).max()


@pytest.mark.parametrize("shape", [(), "batch", ("batch", 0), ("batch", 2.5), ("batch", True), ("frames", "frames"), 3])
def test_a_shape_that_is_none(shape: Any) -> None:
    with pytest.raises(GraphError, match="the shape of given is a tuple of whole numbers above 0"):
        sg.Builder(sample_rate=16000).input("given", shape)
