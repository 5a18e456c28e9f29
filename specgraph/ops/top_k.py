"""The largest or smallest entries of each frame, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import check_axis


@dataclass(frozen=True, eq=False)
class TopK(Op):
    """(..., n, ...) -> (..., k, ...): the ``k`` largest along ``axis``, largest first, or the smallest, smallest first."""

    k: int
    largest: bool = True
    axis: int = 1

    def __post_init__(self) -> None:
        check_positive(k=self.k)

    def infer(self, features: Shape) -> Shape:
        check_axis(self.axis, features)
        axis = self.axis % len(features)
        size = features[axis]
        if not isinstance(size, int):
            raise GraphError(f"axis {self.axis} of {text(features)} varies; top_k orders an axis of fixed size")
        if self.k > size:
            raise GraphError(f"k {self.k} is more than the {size} entries of axis {self.axis}")
        return *features[:axis], self.k, *features[axis + 1 :]

    def numpy(self, features):
        sign = -1.0 if self.largest else 1.0
        return sign * np.sort(sign * features, self.axis).take(range(self.k), self.axis)

    def torch(self, features):
        return features.topk(self.k, self.axis, self.largest).values

    def onnx(self, onnx, features):
        attributes = {"axis": self.axis % onnx.rank(features), "largest": int(self.largest), "sorted": 1}
        values, places = onnx.op_multi_out("TopK", (features, onnx.const([self.k])), attributes, num_outputs=2)
        values.name, places.name = f"{onnx.stage}/values", f"{onnx.stage}/places"
        return values

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(shapes[0], shapes[0], out, operations=8)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(3), ("batch", 7, "frames")
        yield cls(2, largest=False), ("batch", 7, "frames")
        yield cls(4, axis=-1), ("batch", "frames", 4)
