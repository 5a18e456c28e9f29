"""Clips of one length: cut, or repeated as often as they fit, and filled up with zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op, Value
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.ops.layout import check_lengths
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class RepeatToLength(Op):
    """(batch, samples) -> (batch, size): the clip ``size // samples`` times, then zeros; of a longer clip the first ``size`` samples.

    What CLAP calls ``repeatpad``. With ``lengths``, (batch,), each clip is repeated by itself.
    """

    linear = True
    lengths_at = 1

    size: int

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        check_signal(signal)
        if lengths is not None:
            check_lengths(signal, lengths)
        return signal[0], self.size

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        return self(signal, lengths(signal))

    def numpy(self, signal, lengths=None):
        ends = np.full(len(signal), signal.shape[1]) if lengths is None else lengths
        return np.stack([self._clip(row[: int(end)]) for row, end in zip(signal, ends, strict=True)])

    def _clip(self, clip: np.ndarray) -> np.ndarray:
        repeated = np.tile(clip, max(self.size // len(clip), 1))[: self.size]
        return np.pad(repeated, (0, self.size - len(repeated)))

    def torch(self, signal, lengths=None):
        import torch

        place = torch.arange(self.size, device=signal.device)
        if lengths is None:
            samples = signal.shape[1]
            repeated = signal.index_select(1, place % samples)
            return torch.where(place < torch.sym_max(self.size // samples, 1) * samples, repeated, 0.0)
        ends = lengths[:, None]
        repeated = signal.gather(1, place % ends)
        return torch.where(place < (self.size // ends).clamp_min(1) * ends, repeated, 0.0)

    def onnx(self, onnx, signal, lengths=None):
        size, one = onnx.const(np.int64(self.size)), onnx.const([1])
        if lengths is None:
            times = onnx.Max(onnx.Div(size, onnx.Shape(signal, start=1, end=2)), one)
            tiled = onnx.Tile(signal, onnx.Concat(one, times, axis=0))
            onnx.set_shape(tiled, onnx.shape(signal))
            return FixedLength(self.size).onnx(onnx, tiled)
        ends = onnx.Unsqueeze(lengths, one)
        place = onnx.const(np.arange(self.size))
        times = onnx.Div(onnx.Add(place, onnx.Sub(ends, ends)), ends)
        repeated = onnx.GatherElements(signal, onnx.Sub(place, onnx.Mul(times, ends)), axis=1)
        fits = onnx.Mul(onnx.Max(onnx.Div(size, ends), one), ends)
        return onnx.Where(onnx.Less(place, fits), repeated, onnx.const(np.float32(0)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, operations=0) + Cost(launches=7)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for size in (500, 150, 97):
            yield cls(size), ("batch", "samples")
            yield cls(size), ("batch", "samples"), ("batch",)
