"""Inputs for a graph made from one signal: sound, or spectra of it, by the shape of each input and the ops that read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np

from specgraph.graph import Graph
from specgraph.op import Array, Input, Op, Value
from specgraph.ops.affine import Affine
from specgraph.ops.append_deltas import AppendDeltas
from specgraph.ops.arithmetic import Add, Clip, Divide, Maximum, Minimum, Multiply, Subtract
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.concat import Concat
from specgraph.ops.delta import Delta
from specgraph.ops.elementwise import Exponential, Power
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.near_zero import ExpMinusOne, LogOnePlus
from specgraph.ops.pad import Pad
from specgraph.ops.phase import Phase
from specgraph.ops.reduce import Reduce
from specgraph.ops.sliding_cmvn import SlidingCmvn
from specgraph.ops.smooth import Smooth
from specgraph.shapes import is_waveforms

Kind = Literal["waveforms", "magnitudes", "logarithms", "complex"]
Wave = Callable[[int], Array]

CHANNELS = 8  # an axis of at most so many holds channels, where no op says otherwise; of more, bins
PARTS = 2  # an axis of this size beside one of bins holds the parts of complex numbers
TIME = re.compile(r"frame|time|sample|seq|len|^[tn]$", re.IGNORECASE)  # what an axis along the clip is called
FLOOR = 1e-5  # of a magnitude before its logarithm
USUAL = 40  # the size of an axis that nothing is known of

# Ops after which numbers mean the same as before, and those that say what they mean.
SAME_MEANING: tuple[type[Op], ...] = (
    *(Add, Affine, Clip, Concat, Divide, Filterbank, Maximum, Minimum, Multiply, Pad),
    *(Reduce, Reshape, Slice, Smooth, Subtract, Take, Transpose),
)
OF_LOGARITHMS = Exponential, ExpMinusOne, Cmvn, SlidingCmvn, Delta, AppendDeltas
OF_MAGNITUDES = Power, LogOnePlus


@dataclass(frozen=True)
class Layout:
    """Which axes of an input hold what, and the kind of its numbers; an axis that it lacks is None.

    ``hop`` is the samples from one position along the clip to the next.
    """

    kind: Kind
    batch: int | None
    along: int | None
    bins: int | None
    parts: int | None

    hop: int

    def array(self, wave: Wave, shape: tuple[int, ...], turned: bool = True) -> Array:
        """The signal, or its spectra, in an array of this shape.

        Each clip is half as loud as the one before. Every other channel is reversed in time, where ``turned``.
        """
        frames, bins, parts = (1 if axis is None else shape[axis] for axis in (self.along, self.bins, self.parts))
        one = _samples(wave, frames) if self.kind == "waveforms" else _spectra(wave, self.kind, bins, frames, self.hop)
        clip = one.reshape(bins, frames, parts)
        named = [axis for axis in (self.bins, self.along, self.parts) if axis is not None]
        rest = [axis for axis in range(len(shape)) if axis not in named]
        made = np.empty([shape[axis] for axis in rest] + [bins, frames, parts])
        for place in np.ndindex(*made.shape[: len(rest)]):
            clips = sum(index for axis, index in zip(rest, place, strict=True) if axis == self.batch)
            channels = sum(index for axis, index in zip(rest, place, strict=True) if axis != self.batch)
            made[place] = (clip[:, ::-1] if turned and channels % 2 else clip) * 0.5**clips
        absent = [len(rest) + i for i, axis in enumerate((self.bins, self.along, self.parts)) if axis is None]
        return np.moveaxis(made.squeeze(tuple(absent)), range(len(shape)), [*rest, *named])


def layout(graph: Graph, value: Value) -> Layout:
    """What an input of a graph holds."""
    op = value.op
    assert isinstance(op, Input)
    sizes, meant = op.sizes, _meant(graph, value)
    batch, along = _batch_and_time(sizes)
    rest = [axis for axis in range(len(sizes)) if axis not in (batch, along)]
    parts = next((axis for axis in reversed(rest) if sizes[axis] == PARTS), None) if meant is None and len(rest) > 1 else None
    left = [axis for axis in rest if axis != parts]
    if along is None and left and (len(left) > 1 or len(rest) == 1):
        along = left.pop()
    if is_waveforms(sizes) or (meant is None and parts is None and all(_number(sizes[axis]) <= CHANNELS for axis in left)):
        return Layout("waveforms", batch, along, None, None, op.hop)
    bins = max(left, key=lambda axis: _number(sizes[axis]), default=None)
    if bins is None:
        return Layout("magnitudes", batch, along, None, None, op.hop)
    guess = max((_number(sizes[bins]) - 1) // 2, 1)  # a quarter of the frame
    hop = op.hop if op.hop > 1 else _samples_of_a_frame(graph) or guess
    return Layout("complex" if parts is not None else meant or "magnitudes", batch, along, bins, parts, hop)


def _batch_and_time(sizes: Sequence[int | str]) -> tuple[int | None, int | None]:
    """The axes of clips and of time, among several that vary the one of a name that says so; None where there is none."""
    named = [axis for axis, size in enumerate(sizes) if isinstance(size, str) and size != "batch"]
    batch: int | None = 0 if len(sizes) > 1 and (named[:1] != [0] or len(named) > 1) else None
    if "batch" in sizes:
        batch = sizes.index("batch")
    named = [axis for axis in named if axis != batch]
    return batch, next((axis for axis in named if TIME.search(str(sizes[axis]))), named[-1] if named else None)


def _number(size: int | str) -> int:
    return size if isinstance(size, int) else USUAL


def _samples_of_a_frame(graph: Graph) -> int | None:
    """How far apart frames are where the graph makes sound of them; None where it does not."""
    least = min(Fraction(reach.hop) for reach in graph.reach().values())
    return round(1 / least) if least < 1 else None


def sizes_for(graph: Graph, batch: int, length: int) -> dict[str, int]:
    """A size for every named axis of the inputs: ``length`` along the clip of the first, as many clips everywhere."""
    sizes = {name: max(USUAL, 4 * graph.least(name)) for name in graph.axes()}
    for number, value in enumerate(graph.inputs):
        of, found = getattr(value.op, "sizes", ()), layout(graph, value)
        if found.batch is not None and isinstance(name := of[found.batch], str):
            sizes[name] = batch
        if number == 0 and found.along is not None and isinstance(name := of[found.along], str):
            sizes[name] = length
    return sizes


def _meant(graph: Graph, value: Value) -> Kind | None:
    """The kind of an input's numbers by the first op that says it."""
    same = {value}
    for made in graph.values():
        if same.isdisjoint(made.inputs):
            continue
        if isinstance(made.op, OF_LOGARITHMS):
            return "logarithms"
        if isinstance(made.op, OF_MAGNITUDES) or (made.op.compresses and not isinstance(made.op, Phase)):
            return "magnitudes"
        if isinstance(made.op, SAME_MEANING):
            same.add(made)
    return None


def _samples(wave: Wave, samples: int) -> Array:
    return np.asarray(wave(samples), np.float64)


def _spectra(wave: Wave, kind: Kind, bins: int, frames: int, hop: int) -> Array:
    """(bins, frames), or complex (bins, frames, 2)."""
    if bins == 1:  # whose frame would be a sample under a window of zero
        samples = _samples(wave, frames)
        return np.stack([samples, samples[::-1]], -1) if kind == "complex" else np.abs(samples)
    width = max(2 * (bins - 1), 1)
    samples = np.pad(_samples(wave, hop * (frames - 1) + 1), (width // 2, width))
    starts = hop * np.arange(frames)[:, None] + np.arange(width)
    spectrum = np.fft.rfft(samples[starts] * np.hanning(width + 1)[:-1]).T[:bins]
    if kind == "complex":
        return np.stack([spectrum.real, spectrum.imag], -1)
    return np.log(np.maximum(np.abs(spectrum), FLOOR)) if kind == "logarithms" else np.abs(spectrum)
