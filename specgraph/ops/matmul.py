"""Matrix product, broadcast as numpy's."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, broadcast, text
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class Matmul(Op):
    """(..., n, k), (..., k, m) -> (..., n, m)."""

    linear = True

    def infer(self, left: Shape, right: Shape) -> Shape:
        if len(left) < 2 or len(right) < 2:
            raise GraphError(f"takes two matrices, not {text(left)} and {text(right)}")
        if left[-1] != right[-2]:
            raise GraphError(f"the inner sizes differ: {left[-1]} and {right[-2]}")
        outer = broadcast(left[:-2], right[:-2])
        if outer is None:
            raise GraphError(f"the outer sizes of {text(left)} and {text(right)} do not broadcast")
        return *outer, left[-2], right[-1]

    def numpy(self, left, right):
        return left @ right

    def torch(self, left, right):
        return left @ right

    def onnx(self, onnx, left, right):
        return onnx.MatMul(left, right)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.contraction(shapes[0][-1], out, *shapes) + Cost(held=4.0 * math.prod(shapes[1]))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        yield cls(), ("batch", "frames", 5), rng.standard_normal((5, 3))
        yield cls(), rng.standard_normal((4, 5)), ("batch", 5, "frames")
        yield cls(), ("batch", 1, "frames", 5), rng.standard_normal((4, 5, 6))
