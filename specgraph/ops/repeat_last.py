"""Features made longer by their last frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import check_axis, is_time
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class RepeatLast(Op):
    """(batch, bins, frames) -> (batch, bins, size): the last frame repeated up to ``size`` frames; ``axis`` may be another one.

    ``size`` is never below the number of frames.
    """

    linear = True

    size: int
    axis: int = 2

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        if not is_time(features[self.axis]):
            raise GraphError(f"axis {self.axis} does not run along the clip")
        return *features[: self.axis], self.size, *features[self.axis + 1 :]

    def numpy(self, features):
        lacking = self.size - features.shape[self.axis]
        return np.pad(features, [(0, lacking if axis == self.axis else 0) for axis in range(features.ndim)], mode="edge")

    def torch(self, features):
        import torch

        count = features.shape[self.axis]
        last = features.narrow(self.axis, count - 1, 1)
        sizes = [self.size - count if axis == self.axis else -1 for axis in range(features.ndim)]
        return torch.cat([features, last.expand(sizes)], self.axis)

    def onnx(self, onnx, features):
        rank = onnx.rank(features)
        before, after = np.zeros(rank + self.axis, np.int64), np.zeros(rank - 1 - self.axis, np.int64)
        lacking = onnx.Sub(onnx.const([self.size]), onnx.Shape(features, start=self.axis, end=self.axis + 1))
        parts = [onnx.const(before), lacking, *([onnx.const(after)] if len(after) else [])]
        return onnx.Pad(features, onnx.Concat(*parts, axis=0), mode="edge")

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(2000), ("batch", 3, "frames")
        yield cls(2000, axis=1), ("batch", "frames", 3)
