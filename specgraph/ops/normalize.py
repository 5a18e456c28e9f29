"""Features divided by their norm, frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.layout import check_axis, is_time
from specgraph.ops.lengths import Mask
from specgraph.reach import HERE, WHOLE_CLIP, Reach

TINY = float(np.finfo(np.float32).tiny)

Norm = float | Literal["inf"]


@dataclass(frozen=True, eq=False)
class Normalize(Op):
    """(...) -> (...): divided by the ``norm`` along ``axis``, ``"inf"`` being the largest magnitude.

    ``norm`` p is ``sum(abs(x) ** p) ** (1 / p)``, p at least 1. Where it is below float32's smallest normal number nothing is
    divided, as in librosa's ``util.normalize`` of float32: silence stays zero, and its gradient is finite.
    """

    norm: Norm = "inf"
    axis: int = 1

    def __post_init__(self) -> None:
        if self.norm != "inf" and not (isinstance(self.norm, int | float) and 1 <= self.norm < np.inf):
            raise GraphError(f"norm must be a number of at least 1 or 'inf', not {self.norm!r}")

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        if not is_time(features.shape[self.axis]):
            return None
        return self(Mask(self.axis)(features, lengths(features)))

    def _length(self, size):
        largest = size.max(self.axis, keepdims=True)
        if self.norm == "inf":
            return largest
        scale = np.where(largest > 0, largest, 1.0)
        return scale * ((size / scale) ** self.norm).sum(self.axis, keepdims=True) ** (1 / self.norm)

    def numpy(self, features):
        length = self._length(np.abs(features))
        return features / np.where(length < TINY, 1.0, length)

    def torch(self, features):
        import torch

        size = features.abs()
        largest = size.amax(self.axis, keepdim=True)
        if self.norm == "inf":
            length = largest
        elif self.norm == 1:
            length = size.sum(self.axis, keepdim=True)
        else:  # scaled first: a power of a small number underflows, and of a large one overflows
            scale = torch.where(largest < TINY, 1.0, largest).detach()
            total = ((size / scale) ** self.norm).sum(self.axis, keepdim=True)
            length = torch.where(largest < TINY, 0.0, scale * torch.where(largest < TINY, 1.0, total) ** (1 / self.norm))
        return features / torch.where(length < TINY, 1.0, length)

    def onnx(self, onnx, features):
        axis, shape = self.axis % onnx.rank(features), onnx.shape(features)
        one, tiny = onnx.const(np.float32(1)), onnx.const(np.float32(TINY))
        size = onnx.Abs(features)
        length = onnx.total(size, shape, axis) if self.norm == 1 else onnx.ReduceMax(size, onnx.const([axis]))
        if self.norm != "inf" and self.norm != 1:
            exponent = onnx.const(np.float32(self.norm))
            scale = onnx.Where(onnx.Less(length, tiny), one, length)
            total = onnx.total(onnx.Pow(onnx.Div(size, scale), exponent), shape, axis)
            length = onnx.Mul(length, onnx.Pow(total, onnx.const(np.float32(1 / self.norm))))
        return onnx.Div(features, onnx.Where(onnx.Less(length, tiny), one, length))

    def carry(self, operands, spread, result):
        (off,) = spread
        length, moved = self._length(np.abs(operands[0])), self._length(off)
        quotient = (off + np.abs(result) * moved) / np.maximum(length - moved, TINY)
        return np.minimum(quotient, 1 + np.abs(result))  # whatever the direction, nothing is beyond 1

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        simple = self.norm in (1, "inf")
        return Cost.elementwise(out, out, out, operations=3 if simple else 20) + Cost(launches=5 if simple else 10)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP if is_time(shapes[0][self.axis % len(shapes[0])]) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for norm in ("inf", 1.0, 2.0, 3.5):
            yield cls(norm), ("batch", 5, "frames")
        yield cls(2.0, axis=-1), ("batch", "frames", 4)
        yield cls(1.0), ("batch", 1025, "frames")
