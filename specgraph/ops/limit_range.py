"""Features raised to within a range below the largest of their clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.layout import axis_along_the_clip, check_batched
from specgraph.ops.lengths import Mask
from specgraph.ops.reduce import FARTHEST
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class LimitRange(Op):
    """(batch, ...) -> the same: every value raised to at least its batch item's maximum less ``below``, as Whisper's features are."""

    below: float = 8.0

    def __post_init__(self) -> None:
        if not (self.below >= 0 and np.isfinite(self.below)):
            raise GraphError(f"below must be a number of at least 0, not {self.below!r}")

    def infer(self, features: Shape) -> Shape:
        return check_batched(features)

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        axis = axis_along_the_clip(features.shape)
        return self(features) if axis is None else self(Mask(axis, -FARTHEST)(features, lengths(features)))

    def numpy(self, features):
        return np.maximum(features, features.max(tuple(range(1, features.ndim)), keepdims=True) - self.below)

    def torch(self, features):
        import torch

        return torch.maximum(features, features.amax(tuple(range(1, features.ndim)), keepdim=True) - self.below)

    def onnx(self, onnx, features):
        largest = onnx.ReduceMax(features, onnx.const(np.arange(1, onnx.rank(features))))
        return onnx.Max(features, onnx.Sub(largest, onnx.const(np.float32(self.below))))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=2) + Cost(launches=2)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(1.5), ("batch", 5, "frames")
        yield cls(0.5), ("batch", "samples")
