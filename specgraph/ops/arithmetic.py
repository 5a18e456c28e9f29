"""Elementwise arithmetic of two operands, and limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.dims import Shape, broadcast, text
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class _Binary(Op):
    """(...), (...) -> (...), broadcast as numpy's."""

    def infer(self, left: Shape, right: Shape) -> Shape:
        shape = broadcast(left, right)
        if shape is None:
            raise GraphError(f"{text(left)} and {text(right)} do not broadcast")
        return shape

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 3, "frames"), ("batch", 3, "frames")
        yield cls(), ("batch", 3, "frames"), np.array([[1.0], [-2.0], [3.0]])
        yield cls(), ("batch", 3, "frames"), np.array(0.25)


@dataclass(frozen=True, eq=False)
class Multiply(_Binary):
    """(...), (...) -> (...): the product, broadcast as numpy's."""

    linear = True

    def numpy(self, left, right):
        return left * right

    torch = numpy

    def onnx(self, onnx, left, right):
        return onnx.Mul(left, right)


@dataclass(frozen=True, eq=False)
class Add(_Binary):
    """(...), (...) -> (...): the sum, broadcast as numpy's."""

    def numpy(self, left, right):
        return left + right

    torch = numpy

    def onnx(self, onnx, left, right):
        return onnx.Add(left, right)


@dataclass(frozen=True, eq=False)
class Subtract(_Binary):
    """(...), (...) -> (...): the difference, broadcast as numpy's."""

    def numpy(self, left, right):
        return left - right

    torch = numpy

    def onnx(self, onnx, left, right):
        return onnx.Sub(left, right)


@dataclass(frozen=True, eq=False)
class Divide(_Binary):
    """(...), (...) -> (...): the quotient, broadcast as numpy's; keep the divisor away from 0 by ``clip``."""

    def numpy(self, left, right):
        return left / right

    torch = numpy

    def onnx(self, onnx, left, right):
        return onnx.Div(left, right)

    def carry(self, operands, spread, result):
        off, moved = (0.0 if s is None else s for s in spread)
        left = np.abs(operands[1]) - moved  # of the divisor, at least
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(left > 0, (off + np.abs(result) * moved) / left, np.inf)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 3, "frames"), np.array([[1.0], [-2.0], [3.0]])
        yield cls(), ("batch", 3, "frames"), np.array(0.25)


@dataclass(frozen=True, eq=False)
class Maximum(_Binary):
    """(...), (...) -> (...): the larger of each two elements, broadcast as numpy's."""

    def numpy(self, left, right):
        return np.maximum(left, right)

    def torch(self, left, right):
        import torch

        return torch.maximum(left, right)

    def onnx(self, onnx, left, right):
        return onnx.Max(left, right)


@dataclass(frozen=True, eq=False)
class Minimum(_Binary):
    """(...), (...) -> (...): the smaller of each two elements, broadcast as numpy's."""

    def numpy(self, left, right):
        return np.minimum(left, right)

    def torch(self, left, right):
        import torch

        return torch.minimum(left, right)

    def onnx(self, onnx, left, right):
        return onnx.Min(left, right)


@dataclass(frozen=True, eq=False)
class Clip(Op):
    """(...) -> (...): every value raised to ``minimum`` and lowered to ``maximum``; None is no limit."""

    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise GraphError(f"minimum {self.minimum} is above maximum {self.maximum}")

    def infer(self, features: Shape) -> Shape:
        return features

    def numpy(self, features):
        return np.clip(features, self.minimum, self.maximum)

    def torch(self, features):
        return features if self.minimum is None and self.maximum is None else features.clamp(self.minimum, self.maximum)

    def onnx(self, onnx, features):
        limits: list[Any] = [None if x is None else onnx.const(np.float32(x)) for x in (self.minimum, self.maximum)]
        return onnx.Clip(features, *limits)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(-0.5, 0.5), ("batch", 3, "frames")
        yield cls(minimum=0.0), ("batch", 3, "frames")
        yield cls(maximum=0.1), ("batch", 3, "frames")
