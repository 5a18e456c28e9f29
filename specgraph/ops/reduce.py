"""Sum, mean and extremes along an axis."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.arithmetic import Divide
from specgraph.ops.layout import check_axis, is_time
from specgraph.ops.lengths import Counts, Mask
from specgraph.reach import HERE, WHOLE_CLIP, Reach

FARTHEST = float(np.finfo(np.float32).max)

Kind = Literal["sum", "mean", "max", "min"]


@dataclass(frozen=True, eq=False)
class Reduce(Op):
    """(..., n, ...) -> (..., 1, ...): the sum, mean, largest or smallest along ``axis``, which stays with size 1.

    Without ``keepdims`` the axis goes.
    """

    kind: Kind
    axis: int = 1
    keepdims: bool = True

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise GraphError(f"kind must be one of {', '.join(get_args(Kind))}, not {self.kind!r}")

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        axis = self.axis % len(features)
        kept: Shape = (1,) if self.keepdims else ()
        return *features[:axis], *kept, *features[axis + 1 :]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        if not is_time(features.shape[self.axis]):
            return None
        filler = {"max": -FARTHEST, "min": FARTHEST}.get(self.kind, 0.0)
        within = Mask(self.axis, filler)(features, lengths(features))
        if self.kind != "mean":
            return self(within)
        total = replace(self, kind="sum")(within)
        return Divide()(total, Counts(len(total.shape))(lengths(features)))

    def numpy(self, features):
        return getattr(np, self.kind)(features, axis=self.axis, keepdims=self.keepdims)

    def torch(self, features):
        method = {"max": "amax", "min": "amin"}.get(self.kind, self.kind)
        return getattr(features, method)(self.axis, keepdim=self.keepdims)

    def onnx(self, onnx, features):
        axis = self.axis % onnx.rank(features)
        size = onnx.shape(features)[axis]
        if self.kind == "sum" or (self.kind == "mean" and isinstance(size, int)):
            total = onnx.total(features, onnx.shape(features), axis, int(self.keepdims))
            return total if self.kind == "sum" else onnx.Mul(total, onnx.const(np.float32(1 / size)))
        node = getattr(onnx, f"Reduce{self.kind.capitalize()}")
        return node(features, onnx.const([axis]), keepdims=int(self.keepdims))

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP if is_time(shapes[0][self.axis % len(shapes[0])]) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for kind in get_args(Kind):
            yield cls(kind), ("batch", 5, "frames")
            yield cls(kind, axis=-1, keepdims=False), ("batch", 5, "frames")
            yield cls(kind), ("batch", 1025, "frames")
            yield cls(kind, axis=-1, keepdims=False), ("batch", "frames", 70)
