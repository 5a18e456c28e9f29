"""Running total along an axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.layout import check_axis, is_time
from specgraph.reach import HERE, Reach


@dataclass(frozen=True, eq=False)
class CumulativeSum(Op):
    """(..., n, ...) -> (..., n, ...): entry k is the sum of the entries up to k along ``axis``, itself included."""

    linear = True

    axis: int = 1

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        return features

    def numpy(self, features):
        return features.cumsum(self.axis)

    def torch(self, features):
        return features.cumsum(self.axis)

    def onnx(self, onnx, features):
        return onnx.CumSum(features, onnx.const(np.int64(self.axis % onnx.rank(features))))

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(1, -math.inf, 0, 0.0) if is_time(shapes[0][self.axis % len(shapes[0])]) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(axis=-1), ("batch", 5, "frames")
