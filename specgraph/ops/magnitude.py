"""Magnitude of a complex feature."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op


def check_complex(value: Shape, axis: int) -> None:
    """Raise unless ``axis`` holds real and imaginary parts."""
    if not -len(value) <= axis < len(value) or value[axis] != 2:
        raise GraphError(f"axis {axis} must hold the real and imaginary parts, and the shape is {text(value)}")


def without(value: Shape, axis: int) -> Shape:
    """The shape without ``axis``."""
    axis %= len(value)
    return value[:axis] + value[axis + 1 :]


def parts(onnx: Any, value: Any, axis: int) -> tuple[Any, Any]:
    """Real and imaginary parts of an emitted value, without the axis that held them."""
    return onnx.Gather(value, onnx.const(np.int64(0)), axis=axis), onnx.Gather(value, onnx.const(np.int64(1)), axis=axis)


def _pairs(value: Any, axis: int) -> bool:
    """Whether a torch tensor's parts lie beside one another, as complex numbers do."""
    *others, last = value.stride()
    return axis in (-1, value.ndim - 1) and last == 1 and not any(s % 2 for s in (*others, value.storage_offset()))


@dataclass(frozen=True, eq=False)
class Magnitude(Op):
    """(..., 2) -> (...): ``(re**2 + im**2) ** (power / 2)``, the parts being on ``axis``.

    ``power`` is positive. The gradient at zero is zero for every power, never NaN, and the values are not changed for that.
    """

    power: float = 1.0
    axis: int = -1

    def __post_init__(self) -> None:
        if not self.power > 0 or not np.isfinite(self.power):
            raise GraphError(f"power must be a positive number, not {self.power!r}")

    def infer(self, value: Shape) -> Shape:
        check_complex(value, self.axis)
        return without(value, self.axis)

    def numpy(self, value):
        real, imaginary = np.moveaxis(value, self.axis, 0)
        if self.power == 2:
            return real * real + imaginary * imaginary
        return np.hypot(real, imaginary) ** self.power

    def torch(self, value):
        import torch

        if self.power == 1 and value.requires_grad and not torch.compiler.is_compiling() and _pairs(value, self.axis):
            return torch.view_as_complex(value).abs()  # has a gradient of 0 at 0, and keeps less for it
        real, imaginary = value.unbind(self.axis)
        energy = real * real + imaginary * imaginary
        if self.power == 2:
            return energy
        if not energy.requires_grad:
            return energy.sqrt() if self.power == 1 else energy ** (self.power / 2)
        # A root has an infinite slope at zero, and infinity times zero is NaN: what underflows is kept away from the root.
        silent = energy < torch.finfo(energy.dtype).tiny
        root = torch.where(silent, 1.0, energy) ** (self.power / 2)
        return torch.where(silent, energy.detach() ** (self.power / 2), root)

    def onnx(self, onnx, value):
        axis = self.axis % onnx.rank(value)
        if axis == 1:  # behind a batch of one, onnxruntime sums over this axis several times more slowly than over later ones
            real, imaginary = parts(onnx, value, axis)
            energy = onnx.Add(onnx.Mul(real, real), onnx.Mul(imaginary, imaginary))
        else:
            energy = onnx.ReduceSum(onnx.Mul(value, value), onnx.const([axis]), keepdims=0)
        if self.power == 2:
            return energy
        return onnx.Sqrt(energy) if self.power == 1 else onnx.Pow(energy, onnx.const(np.float32(self.power / 2)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        passes = Cost.elementwise(shapes[0], shapes[0]) + Cost.elementwise(out, shapes[0])
        return passes if self.power == 2 else passes + Cost.elementwise(out, out, operations=4)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for power in (1.0, 2.0, 0.3, 3.0):
            yield cls(power), ("batch", 5, "frames", 2)
        yield cls(2.0, axis=1), ("batch", 2, 5, "frames")
        yield cls(1.0, axis=2), ("batch", 3, 2, 5, "frames")
