"""ONNX for functions of torch that torch's own exporter writes otherwise than torch computes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def translations() -> dict[Any, Callable[..., Any]]:
    """The functions by the operators of torch that they stand for, as ``torch.onnx.export`` takes them."""
    import torch

    aten = torch.ops.aten
    return {
        aten.log1p.default: _log1p,
        aten.expm1.default: _expm1,
        aten.log_sigmoid.default: _log_sigmoid,
        aten.logaddexp.default: _logaddexp,
        aten.squeeze.dim: _squeeze,
        aten.squeeze.dims: _squeeze,
    }


def _operators() -> Any:
    from onnxscript import opset18

    return opset18


def _log1p(x: Any) -> Any:
    """Kahan: what 1 + x rounds to is exact, and so is the ratio of its logarithm to its distance from 1."""
    op = _operators()

    one = op.CastLike(1.0, x)
    above = op.Add(x, one)
    same = op.Equal(above, one)
    distance = op.Where(same, one, op.Sub(above, one))
    ratio = op.Where(same, one, op.Div(op.Log(above), distance))
    return op.Where(op.IsInf(x), x, op.Mul(x, ratio))


def _expm1(x: Any) -> Any:
    """exp(x) - 1 = tanh(x / 2) (exp(x) + 1): nothing cancels."""
    op = _operators()

    return op.Mul(op.Tanh(op.Mul(x, op.CastLike(0.5, x))), op.Add(op.Exp(x), op.CastLike(1.0, x)))


def _log_sigmoid(x: Any) -> Any:
    """The logarithm of a sigmoid is minus infinity where the sigmoid underflows."""
    op = _operators()

    return op.Neg(op.Softplus(op.Neg(x)))


def _logaddexp(left: Any, right: Any) -> Any:
    """The exponentials of large numbers overflow; that of their distance does not."""
    op = _operators()

    return op.Add(op.Max(left, right), op.Softplus(op.Neg(op.Abs(op.Sub(left, right)))))


def _squeeze(x: Any, dim: Any) -> Any:
    """An axis of another size than 1 stays, as in torch; ONNX refuses it."""
    op = _operators()

    axes = [dim] if isinstance(dim, int) else list(dim)
    ones = [axis for axis in axes if x.shape is None or x.shape[axis] == 1]
    return op.Squeeze(x, op.Constant(value_ints=ones)) if ones else op.Identity(x)
