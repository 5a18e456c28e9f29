"""Signals that front ends are verified on: each hurts in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from specgraph.graph import Graph

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


def trials(graph: Graph) -> Iterator[tuple[str, tuple[Waveform, ...]]]:
    """(signal's name, the graph's inputs): every signal on a long clip, and noise at the lengths that are easy to get wrong."""
    reach = max((r for r in graph.reach().values() if r.finite), key=lambda r: r.last - r.first)
    frame = int(reach.last - reach.first) + 1
    least = graph.least()
    long = max(least, LONGEST, 4 * frame) + 7
    for name in SIGNALS:
        yield name, _inputs(graph, name, 1, long)
    short = {least, least + 6, frame // 2, frame - 1, frame, frame + 1, 2 * frame + math.ceil(reach.hop) - 1}
    for batch, samples in enumerate(sorted(size for size in short if size >= least)):
        yield "noise", _inputs(graph, "noise", 1 + batch % 3, samples)


def _inputs(graph: Graph, name: str, batch: int, samples: int) -> tuple[Waveform, ...]:
    made = []
    for value in graph.inputs:
        sizes = {"batch": batch, "samples": samples} | dict.fromkeys(set(graph.axes()) - {"batch", "samples"}, 100)
        shape = [size if isinstance(size, int) else sizes[size] for size in getattr(value.op, "sizes", ())]
        rows = [SIGNALS[name](shape[-1]) * 0.5**i for i in range(int(np.prod(shape[:-1])))]
        made.append(np.reshape(rows, shape).astype(np.float32))
    return tuple(made)
