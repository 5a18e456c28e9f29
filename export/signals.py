"""Signals that front ends are verified on: each hurts in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from specgraph.export.trial_inputs import layout, sizes_for
from specgraph.graph import Graph
from specgraph.op import Array, Input, Value
from specgraph.ragged import has_lengths

LONGEST = 20_000  # samples; a frame longer than a quarter of this gets four frames
MOST_NUMBERS = 1_000_000  # of a clip, unless the shortest that the graph takes has more


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
    first = _input(graph.inputs[0])
    held = layout(graph, graph.inputs[0])
    frame, hop = math.ceil((reach.last - reach.first) / first.hop) + 1, math.ceil(reach.hop / first.hop)
    least = 1 if held.along is None or isinstance(along := first.sizes[held.along], int) else graph.least(along)
    numbers = math.prod(size if isinstance(size, int) else sizes_for(graph, 1, 1)[size] for size in first.sizes)  # of a frame
    long = max(least, min(LONGEST // held.hop, MOST_NUMBERS // numbers), 4 * frame) + 7
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
    """The signal for every input; for inputs after the first reversed in time and a quarter quieter, so that no two are equal."""
    made: list[Array] = []
    sizes = sizes_for(graph, batch, length)
    for number, value in enumerate(graph.inputs):
        if value.dtype == "int64":
            made.append(spread_lengths(batch, length, graph.least_along_the_clip()))
            continue
        op, held = _input(value), layout(graph, value)
        wave = SIGNALS[name] if number == 0 else lambda samples: 0.75 * SIGNALS[name](samples)[::-1]
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in op.sizes)
        array = held.array(wave, shape, turned=name != "full scale")  # which is so in the mean of channels too
        made.append(to_int16(array) if value.dtype == "int16" else array.astype(np.float32))
    return tuple(made)


def to_int16(waves: Array) -> npt.NDArray[np.int16]:
    """Samples in -1 ... 1 as 16-bit PCM: rounded, and 1 is 32767."""
    return np.clip(np.round(waves * 32768), -32768, 32767).astype(np.int16)
