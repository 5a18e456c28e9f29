"""Phase of a complex feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.magnitude import check_complex, parts, without

# 2 arctan(t) / t as a polynomial in t**2 for |t| <= tan(pi / 8): error 2e-9.
_NODES = np.tan(np.pi / 8) ** 2 * (0.5 + 0.5 * np.cos(np.pi * (np.arange(40) + 0.5) / 40))
_TWICE_ARCTAN = np.polynomial.polynomial.polyfit(_NODES, 2 * np.arctan(np.sqrt(_NODES)) / np.sqrt(_NODES), 6)


@dataclass(frozen=True, eq=False)
class Phase(Op):
    """(..., 2) -> (...): the angle in radians, in (-pi, pi]; zero where the magnitude is zero.

    A negative zero counts as zero, so that real bins (DC, Nyquist) are 0 or +pi. The gradient at zero magnitude is zero.
    """

    compresses = True

    axis: int = -1

    def infer(self, value: Shape) -> Shape:
        check_complex(value, self.axis)
        return without(value, self.axis)

    def numpy(self, value):
        real, imaginary = np.moveaxis(value, self.axis, 0) + 0.0
        return np.arctan2(imaginary, real)

    def torch(self, value):
        import torch

        real, imaginary = (value + 0.0).unbind(self.axis)
        if not value.requires_grad:
            return torch.atan2(imaginary, real)
        # The slope is 1 / magnitude. Where its square underflows, the angle is kept and the gradient is zero.
        silent = real * real + imaginary * imaginary < torch.finfo(value.dtype).tiny
        angle = torch.atan2(torch.where(silent, 0.0, imaginary), torch.where(silent, 1.0, real))
        return torch.where(silent, torch.atan2(imaginary.detach(), real.detach()), angle)

    def onnx(self, onnx, value):
        # ONNX has no atan2, and the CUDA provider no Atan. The smaller part is divided by the larger; half the angle of that
        # ratio has a tangent of at most tan(pi / 8), where a short polynomial is exact to float32.
        real, imaginary = parts(onnx, value, self.axis % onnx.rank(value))
        zero, one = onnx.const(np.float32(0)), onnx.const(np.float32(1))
        flat = onnx.GreaterOrEqual(onnx.Abs(real), onnx.Abs(imaginary))
        larger = onnx.Where(flat, real, imaginary)
        ratio = onnx.Div(onnx.Where(flat, imaginary, real), onnx.Where(onnx.Equal(larger, zero), one, larger))
        root = onnx.Sqrt(onnx.Add(onnx.Mul(ratio, ratio), one))
        tangent = onnx.Div(ratio, onnx.Add(root, one))
        square = onnx.Mul(tangent, tangent)
        series = onnx.const(np.float32(_TWICE_ARCTAN[-1]))
        for coefficient in _TWICE_ARCTAN[-2::-1]:
            series = onnx.Add(onnx.Mul(series, square), onnx.const(np.float32(coefficient)))
        angle = onnx.Mul(series, tangent)
        below = onnx.Less(imaginary, zero)
        turn = onnx.Where(below, onnx.const(np.float32(-np.pi)), onnx.const(np.float32(np.pi)))
        quarter = onnx.Where(below, onnx.const(np.float32(-np.pi / 2)), onnx.const(np.float32(np.pi / 2)))
        near = onnx.Add(angle, onnx.Where(onnx.Less(real, zero), turn, zero))
        return onnx.Where(flat, near, onnx.Sub(quarter, angle))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=30) + Cost(launches=12)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames", 2)
        yield cls(axis=1), ("batch", 2, 5, "frames")
