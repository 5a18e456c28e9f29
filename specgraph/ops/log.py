"""Logarithms of features, with a floor."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op

SMALLEST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class _Logarithm(Op):
    """(...) -> (...): ``log(max(x + offset, amin))`` in some base.

    ``amin`` may be 0 where ``offset`` keeps the argument positive: ``log(x + 1e-6)`` is ``amin=0, offset=1e-6``.
    """

    compresses = True

    amin: float = 1e-10
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (self.amin >= 0 and self.offset >= 0 and self.amin + self.offset > 0):
            raise GraphError(f"amin and offset must be at least 0 and not both 0, not {self.amin} and {self.offset}")
        if not (self.amin + self.offset >= SMALLEST and np.isfinite(self.amin + self.offset)):
            raise GraphError(f"amin and offset, {self.amin} and {self.offset}, must be numbers that float32 holds")

    @property
    def scale(self) -> float:
        """One over the natural logarithm of the base."""
        return 1.0

    def infer(self, features: Shape) -> Shape:
        return features

    def numpy(self, features):
        return self.scale * np.log(np.maximum(features + self.offset, self.amin))

    def torch(self, features):
        shifted = features + self.offset if self.offset else features
        floored = shifted.clamp_min(self.amin) if self.amin else shifted
        return floored.log() if self.scale == 1 else floored.log() * self.scale

    def onnx(self, onnx, features):
        if self.offset:
            features = onnx.Add(features, onnx.const(np.float32(self.offset)))
        if self.amin:
            features = onnx.Max(features, onnx.const(np.float32(self.amin)))
        result = onnx.Log(features)
        return result if self.scale == 1 else onnx.Mul(result, onnx.const(np.float32(self.scale)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=8) + Cost(launches=1)


@dataclass(frozen=True, eq=False)
class Log(_Logarithm):
    """(...) -> (...): natural logarithm ``ln(max(x + offset, amin))``."""

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(amin=0.5), ("batch", 5, "frames")
        yield cls(amin=0.1, offset=1e-3), ("batch", 5, "frames")


@dataclass(frozen=True, eq=False)
class Log10(_Logarithm):
    """(...) -> (...): decimal logarithm ``log10(max(x + offset, amin))``."""

    @property
    def scale(self) -> float:
        """One over the natural logarithm of 10."""
        return 1 / math.log(10)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
