"""Ones where each frame is largest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.compare import FLOAT32
from specgraph.ops.layout import check_axis


@dataclass(frozen=True, eq=False)
class OneHotLargest(Op):
    """(..., n, ...) -> the same: 1 at the largest entry along ``axis``, the first of several, else 0; the gradient is zero."""

    jumps = True

    axis: int = 1

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        if not isinstance(features[self.axis], int):
            raise GraphError(f"axis {self.axis} of {text(features)} varies; one_hot_largest compares along an axis of fixed size")
        return features

    def _numbers(self, size: int, rank: int) -> np.ndarray:
        """0 ... size - 1 along the axis."""
        return np.arange(size).reshape(-1, *(1,) * (rank - 1 - self.axis % rank))

    def numpy(self, features):
        numbers = self._numbers(features.shape[self.axis], features.ndim)
        return (numbers == features.argmax(self.axis, keepdims=True)).astype(np.float64)

    def torch(self, features):
        import torch

        numbers = torch.from_numpy(self._numbers(features.shape[self.axis], features.ndim)).to(features.device)
        chosen = (numbers == features.argmax(self.axis, keepdim=True)).to(features.dtype)
        return chosen + 0.0 * features  # which has a gradient, of zero

    def onnx(self, onnx, features):
        size, rank = onnx.shape(features)[self.axis], onnx.rank(features)
        largest = onnx.ArgMax(features, axis=self.axis % rank, keepdims=1)
        return onnx.Cast(onnx.Equal(onnx.const(self._numbers(size, rank)), largest), to=FLOAT32)

    def carry(self, operands, spread, result):
        """Which of several is the largest is open where they differ by less than what they may be off."""
        features, (off,) = operands[0], spread
        sure = (features - off).max(self.axis, keepdims=True)
        candidates = features + off >= sure
        return np.where(candidates & (candidates.sum(self.axis, keepdims=True) > 1), 1.0, 0.0)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, out, operations=3) + Cost(launches=2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(axis=-1), ("batch", "frames", 7)
