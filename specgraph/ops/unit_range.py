"""Features moved and scaled so that those of a clip go from 0 to 1."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op, Value
from specgraph.ops.arithmetic import Add, Subtract
from specgraph.ops.layout import axis_along_the_clip, check_batched
from specgraph.ops.lengths import Mask
from specgraph.ops.reduce import FARTHEST, Reduce
from specgraph.reach import WHOLE_CLIP, Reach

EQUAL = 2.0**-20  # eight times what rounding one number to float32 may change


@dataclass(frozen=True, eq=False)
class UnitRange(Op):
    """(batch, ...) -> the same: ``(x - lowest) / (highest - lowest)`` of the batch item, as basic-pitch's.

    0 where all of an item is equal to within float32's rounding, ``EQUAL`` of its largest magnitude: dividing by a difference of one
    rounding would make values between 0 and 1 of nothing.
    """

    def infer(self, features: Shape) -> Shape:
        return check_batched(features)

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        axis = axis_along_the_clip(features.shape)
        if axis is None:
            return self(features)
        lowest = Mask(axis, FARTHEST)(features, lengths(features))
        for other in range(1, len(features.shape)):
            lowest = Reduce("min", other)(lowest)
        within = Mask(axis)(Subtract()(features, lowest), lengths(features))
        return self(Add()(within, lowest))

    @staticmethod
    def _ends(features):
        axes = tuple(range(1, features.ndim))
        return features.min(axes, keepdims=True), features.max(axes, keepdims=True)

    def numpy(self, features):
        lowest, highest = self._ends(features)
        wide = self._wide(np, lowest, highest)
        return np.where(wide, features - lowest, 0.0) / np.where(wide, highest - lowest, 1.0)

    @staticmethod
    def _wide(library, lowest, highest):
        """Whether an item has more between its ends than rounding; ``library`` is numpy or torch."""
        return highest - lowest > EQUAL * library.maximum(abs(lowest), abs(highest))

    def torch(self, features):
        import torch

        axes = tuple(range(1, features.ndim))
        lowest, highest = features.amin(axes, keepdim=True), features.amax(axes, keepdim=True)
        wide = self._wide(torch, lowest, highest)
        return torch.where(wide, features - lowest, 0.0) / torch.where(wide, highest - lowest, 1.0)

    def onnx(self, onnx, features):
        axes = onnx.const(np.arange(1, onnx.rank(features)))
        lowest, highest = onnx.ReduceMin(features, axes), onnx.ReduceMax(features, axes)
        range_ = onnx.Sub(highest, lowest)
        wide = onnx.Less(onnx.Mul(onnx.const(np.float32(EQUAL)), onnx.Max(onnx.Abs(lowest), onnx.Abs(highest))), range_)
        above = onnx.Where(wide, onnx.Sub(features, lowest), onnx.const(np.float32(0)))
        return onnx.Div(above, onnx.Where(wide, range_, onnx.const(np.float32(1))))

    def carry(self, operands, spread, result):
        features, off = operands[0], spread[0]
        ends, down, up = self._ends(features), self._ends(features - off), self._ends(features + off)
        low, high = (np.maximum(end - below, above - end) for end, below, above in zip(ends, down, up, strict=True))
        least = np.maximum(ends[1] - ends[0] - low - high, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = (off + low + np.abs(result) * (low + high)) / least
        return np.minimum(np.nan_to_num(room, nan=1.0), 1.0)  # 0 to 1 is all that there is

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, operations=5) + Cost(launches=9)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(), ("batch", "samples")
