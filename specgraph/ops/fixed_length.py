"""Clips of one length: cut, or filled up with zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op, Value
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import check_axis, is_time
from specgraph.ops.lengths import Mask, ends_in_zeros
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class FixedLength(Op):
    """(batch, samples) -> (batch, size): the first ``size`` samples, or all of them and zeros; ``axis`` may be another one."""

    linear = True

    size: int
    axis: int = 1

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, signal: Shape) -> Shape:
        check_axis(self.axis, signal)
        axis = self.axis % len(signal)
        return *signal[:axis], self.size, *signal[axis + 1 :]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        if not is_time(signal.shape[self.axis]):
            return None
        return self(signal) if ends_in_zeros(signal) else Mask(self.axis)(self(signal), lengths(signal))

    def numpy(self, signal):
        axis = self.axis % signal.ndim
        kept = signal[(slice(None),) * axis + (slice(0, self.size),)]
        lacking = self.size - kept.shape[axis]
        return np.pad(kept, [(0, lacking if a == axis else 0) for a in range(signal.ndim)])

    def torch(self, signal):
        from torch.nn import functional

        axis = self.axis % signal.ndim
        lacking = self.size - signal.shape[axis]
        return functional.pad(signal, (0, 0) * (signal.ndim - 1 - axis) + (0, lacking))  # a negative width cuts

    def onnx(self, onnx, signal):
        rank = onnx.rank(signal)
        axis = self.axis % rank
        kept = onnx.Slice(signal, onnx.const([0]), onnx.const([self.size]), onnx.const([axis]))
        lacking = onnx.Sub(onnx.const([self.size]), onnx.Shape(kept, start=axis, end=axis + 1))
        before = onnx.const(np.zeros(rank + axis, np.int64))
        after = [onnx.const(np.zeros(rank - 1 - axis, np.int64))] if axis < rank - 1 else []
        return onnx.Pad(kept, onnx.Concat(before, lacking, *after, axis=0))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0) + Cost(launches=4)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP  # a position reads itself, but a piece of a clip has no end to fill up after

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(150), ("batch", "samples")
        yield cls(12, axis=2), ("batch", 3, "frames")
        yield cls(12, axis=1), ("batch", "frames", 3)
