"""Logarithm and exponential that keep their digits near zero, where the plain ones cancel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.ops.elementwise import _Function


@dataclass(frozen=True, eq=False)
class _NearZero(_Function):
    """(...) -> (...)."""

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return super().cost(out, *shapes) + Cost.elementwise(out, out, operations=8) + Cost(launches=5)


@dataclass(frozen=True, eq=False)
class LogOnePlus(_NearZero):
    """(...) -> (...): ``log(1 + max(x, 0))``, exact also where x is far below the rounding of 1."""

    def numpy(self, features):
        return np.log1p(np.maximum(features, 0.0))

    def torch(self, features):
        return features.clamp_min(0).log1p()

    def onnx(self, onnx, features):
        # Kahan: what 1 + x rounds to is exact, and so is the ratio of its logarithm to its distance from 1.
        one = onnx.const(np.float32(1))
        floored = onnx.Relu(features)
        above = onnx.Add(floored, one)
        same = onnx.Equal(above, one)
        distance = onnx.Where(same, one, onnx.Sub(above, one))
        return onnx.Mul(floored, onnx.Where(same, one, onnx.Div(onnx.Log(above), distance)))


@dataclass(frozen=True, eq=False)
class ExpMinusOne(_NearZero):
    """(...) -> (...): ``exp(x) - 1``, exact also where x is far below the rounding of 1."""

    def numpy(self, features):
        return np.expm1(features)

    def torch(self, features):
        return features.expm1()

    def onnx(self, onnx, features):
        # exp(x) - 1 = tanh(x / 2) (exp(x) + 1): nothing cancels, and the hyperbolic tangent is exact near zero.
        one, half = onnx.const(np.float32(1)), onnx.const(np.float32(0.5))
        return onnx.Mul(onnx.Tanh(onnx.Mul(features, half)), onnx.Add(onnx.Exp(features), one))
