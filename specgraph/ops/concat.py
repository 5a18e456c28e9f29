"""Values one after another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.dims import Dim, Shape, Size, text
from specgraph.op import GraphError, Op
from specgraph.ops.layout import Slice, check_axis, is_time
from specgraph.reach import HERE, WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class Concat(Op):
    """Values one after another along an axis; all other sizes are equal."""

    linear = True
    moves = True

    axis: int = 1

    def infer(self, *values: Shape) -> Shape:
        if not values:
            raise GraphError("needs a value")
        check_axis(self.axis, values[0])
        axis = self.axis % len(values[0])
        if len({(shape[:axis], shape[axis + 1 :]) for shape in values}) != 1:
            raise GraphError(f"the sizes differ off axis {self.axis}: {', '.join(map(text, values))}")
        sizes = [shape[axis] for shape in values]
        varying = [size for size in sizes if isinstance(size, Dim)]
        if len(varying) > 1:
            raise GraphError(f"only one value may vary along axis {self.axis}: {', '.join(map(text, values))}")
        number = sum(size for size in sizes if isinstance(size, int))
        total: Size = varying[0] + number if varying else number
        return *values[0][:axis], total, *values[0][axis + 1 :]

    def numpy(self, *values):
        return np.concatenate(values, self.axis)

    def torch(self, *values):
        import torch

        return torch.cat(values, self.axis)

    def onnx(self, onnx, *values):
        return onnx.Concat(*values, axis=self.axis % onnx.rank(values[0]))

    cost = Slice.cost

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP if any(is_time(shape[self.axis % len(shape)]) for shape in shapes) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(axis=1), ("batch", 3, "frames"), ("batch", 1, "frames")
        yield cls(axis=-1), ("batch", "frames", 3), ("batch", "frames", 2), ("batch", "frames", 1)
