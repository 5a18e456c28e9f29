"""Signals that front ends are verified on: each hurts in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from specgraph.graph import Graph
from specgraph.op import Array, Input, Value
from specgraph.ragged import has_lengths
from specgraph.shapes import is_waveforms, time_axis

Waveform = npt.NDArray[np.float32]

LONGEST = 20_000  # samples; a frame longer than a quarter of this gets four frames


def sweep(samples: int) -> npt.NDArray[np.float64]:
    """A logarithmic sweep over five octaves and a half, up to half the sample rate."""
    start, stop = 0.01, 0.5
    t = np.arange(samples) / max(samples, 1)
    return 0.9 * np.sin(2 * np.pi * samples * start / np.log(stop / start) * ((stop / start) ** t - 1))


def impulse(samples: int) -> npt.NDArray[np.float64]:
    """A single sample of full scale, a third of the way."""
    wave = np.zeros(samples)
    wave[samples // 3] = 1.0
    return wave


def noise(samples: int) -> npt.NDArray[np.float64]:
    """White noise that stays within full scale."""
    return np.clip(0.2 * np.random.default_rng(samples).standard_normal(samples), -1, 1)


def silence(samples: int) -> npt.NDArray[np.float64]:
    """Zeros."""
    return np.zeros(samples)


def full_scale(samples: int) -> npt.NDArray[np.float64]:
    """A square wave of full scale."""
    return np.where(np.arange(samples) % 50 < 25, 1.0, -1.0)


def quiet_tone(samples: int) -> npt.NDArray[np.float64]:
    """A tone 60 dB below full scale on a slow drift of half of it."""
    t = np.arange(samples)
    return 1e-3 * np.sin(0.3 * t) + 0.5 * np.cos(2 * np.pi * t / max(samples, 1))


SIGNALS = {f.__name__.replace("_", " "): f for f in (noise, sweep, impulse, silence, full_scale, quiet_tone)}


def trials(graph: Graph) -> Iterator[tuple[str, tuple[Array, ...]]]:
    """(signal's name, the graph's inputs): every signal on a long clip, and noise at the lengths that are easy to get wrong.

    Lengths are those of the first input's axis along the clip: samples, or frames where the input is features.
    Where a graph takes lengths, those of several clips differ.
    """
    reach = max((r for r in graph.reach().values() if r.finite), key=lambda r: r.last - r.first)
    spacing = _input(graph.inputs[0]).hop
    frame, hop = math.ceil((reach.last - reach.first) / spacing) + 1, math.ceil(reach.hop / spacing)
    least = graph.least_along_the_clip()
    long = max(least, LONGEST // spacing, 4 * frame) + 7
    for name in SIGNALS:
        yield name, _inputs(graph, name, 1, long)
    short = {least, least + 6, frame // 2, frame - 1, frame, frame + 1, 2 * frame + hop - 1}
    for batch, size in enumerate(sorted(size for size in short if size >= least)):
        yield "noise", _inputs(graph, "noise", 1 + batch % 3, size)
    if has_lengths(graph):
        yield "noise of different lengths", _inputs(graph, "noise", 4, long)


def _input(value: Value) -> Input:
    assert isinstance(value.op, Input)
    return value.op


def spread_lengths(clips: int, longest: int, shortest: int = 1) -> npt.NDArray[np.int64]:
    """(clips,): lengths of clips, the first the longest and the last, where there are several, the shortest."""
    return np.linspace(longest, shortest, clips).round().astype(np.int64)


def _inputs(graph: Graph, name: str, batch: int, length: int) -> tuple[Array, ...]:
    made: list[Array] = []
    first = _input(graph.inputs[0]).sizes
    axis = time_axis(first)
    along = {} if axis is None else {str(first[axis]): length}
    for value in graph.inputs:
        op = _input(value)
        if value.dtype == "int64":
            made.append(spread_lengths(batch, length, graph.least_along_the_clip()))
            continue
        sizes = dict.fromkeys(graph.axes(), 100) | along | {"batch": batch}
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in op.sizes)
        if op.name == "features" and op.sizes[2:] in (("frames",), ("frames", 2)):
            made.append(_spectra(name, shape, op.hop))
            continue
        waves = channels(name, shape) if is_waveforms(op.sizes) else rows(name, shape)
        made.append(to_int16(waves) if value.dtype == "int16" else waves.astype(np.float32))
    return tuple(made)


def rows(name: str, shape: tuple[int, ...]) -> Array:
    """(..., samples): the signal in every row, each half as loud as the one before."""
    return np.reshape([SIGNALS[name](shape[-1]) * 0.5**i for i in range(int(np.prod(shape[:-1])))], shape)


def channels(name: str, shape: tuple[int, ...]) -> Array:
    """(batch, samples) or (batch, channels, samples): clips as of ``rows``, every other channel of them reversed in time.

    But for full scale, which is so in their mean too.
    """
    clips = rows(name, (shape[0], shape[-1]))
    if len(shape) == 2:
        return clips
    turned = clips if name == "full scale" else clips[:, ::-1]
    return np.stack([turned if channel % 2 else clips for channel in range(shape[1])], 1)


def to_int16(waves: Array) -> npt.NDArray[np.int16]:
    """Samples in -1 ... 1 as 16-bit PCM: rounded, and 1 is 32767."""
    return np.clip(np.round(waves * 32768), -32768, 32767).astype(np.int16)


def _spectra(name: str, shape: tuple[int, ...], hop: int) -> Waveform:
    """Spectra of the signal: magnitudes (batch, bins, frames), or complex (batch, bins, frames, 2)."""
    batch, bins, frames = shape[:3]
    width = max(2 * (bins - 1), 1)
    hop = hop if hop > 1 else max(width // 4, 1)
    wave = np.pad(SIGNALS[name](hop * (frames - 1) + 1), (width // 2, width))
    starts = hop * np.arange(frames)[:, None] + np.arange(width)
    spectrum = np.fft.rfft(wave[starts] * np.hanning(width + 1)[:-1]).T[:bins]
    parts = np.stack([spectrum.real, spectrum.imag], -1) if len(shape) == 4 else np.abs(spectrum)
    return np.stack([parts * 0.5**i for i in range(batch)]).astype(np.float32)
