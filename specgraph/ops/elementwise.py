"""Elementwise functions of one operand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class _Function(Op):
    """(...) -> (...)."""

    def infer(self, features: Shape) -> Shape:
        return features

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=8)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")


@dataclass(frozen=True, eq=False)
class Exponential(_Function):
    """(...) -> (...): ``exp(x)``."""

    def numpy(self, features):
        return np.exp(features)

    def torch(self, features):
        return features.exp()

    def onnx(self, onnx, features):
        return onnx.Exp(features)


@dataclass(frozen=True, eq=False)
class Sine(_Function):
    """(...) -> (...): ``sin(x)``, x in radians."""

    def numpy(self, features):
        return np.sin(features)

    def torch(self, features):
        return features.sin()

    def onnx(self, onnx, features):
        return onnx.Sin(features)


@dataclass(frozen=True, eq=False)
class Absolute(_Function):
    """(...) -> (...): ``abs(x)``; the gradient at 0 is 0."""

    def numpy(self, features):
        return np.abs(features)

    def torch(self, features):
        return features.abs()

    def onnx(self, onnx, features):
        return onnx.Abs(features)


@dataclass(frozen=True, eq=False)
class Power(_Function):
    """(...) -> (...): ``max(x, 0) ** exponent``, the exponent being above 0; the gradient at 0 is 0, never NaN."""

    exponent: float = 0.5

    def __post_init__(self) -> None:
        if not self.exponent > 0 or not np.isfinite(self.exponent):
            raise GraphError(f"exponent must be a positive number, not {self.exponent!r}")

    def numpy(self, features):
        return np.maximum(features, 0.0) ** self.exponent

    def torch(self, features):
        import torch

        # A root has an infinite slope at zero, and infinity times zero is NaN: zeros are kept away from it.
        positive = features > 0
        root = torch.where(positive, features, 1.0) ** self.exponent
        return torch.where(positive, root, 0.0)

    def onnx(self, onnx, features):
        floored = onnx.Relu(features)
        if self.exponent == 1:
            return floored
        if self.exponent == 0.5:
            return onnx.Sqrt(floored)
        if self.exponent == 2:
            return onnx.Mul(floored, floored)
        return onnx.Pow(floored, onnx.const(np.float32(self.exponent)))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for exponent in (0.5, 1.0, 2.0, 0.24, 3.7):
            yield cls(exponent), ("batch", 5, "frames")
