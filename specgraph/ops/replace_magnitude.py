"""A complex feature with other magnitudes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.magnitude import check_complex

TINY = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, eq=False)
class ReplaceMagnitude(Op):
    """(..., 2), magnitude (...) -> (..., 2): the phase of the first and the magnitude of the second, 0 where the first is 0.

    The gradient where the first is 0 is 0, never NaN.
    """

    def infer(self, value: Shape, magnitude: Shape) -> Shape:
        check_complex(value, -1)
        if value[:-1] != magnitude:
            raise GraphError(f"takes (..., 2) and magnitudes of the same shape without the parts, not {text(value)} and {text(magnitude)}")
        return value

    def numpy(self, value, magnitude):
        size = np.sqrt(value[..., 0] ** 2 + value[..., 1] ** 2)  # a quarter of hypot's time
        return value * (np.divide(magnitude, size, out=np.zeros_like(size), where=size > 0))[..., None]

    def torch(self, value, magnitude):
        import torch

        energy = value.square().sum(-1)
        silent = energy < torch.finfo(value.dtype).tiny  # its root has an infinite slope at zero
        size = torch.where(silent, 1.0, energy).sqrt()
        return value * torch.where(silent, 0.0, magnitude / size)[..., None]

    def onnx(self, onnx, value, magnitude):
        energy = onnx.ReduceSum(onnx.Mul(value, value), onnx.const([onnx.rank(value) - 1]), keepdims=0)
        size = onnx.Sqrt(onnx.Max(energy, onnx.const(np.float32(TINY))))
        return onnx.Mul(value, onnx.Unsqueeze(onnx.Div(magnitude, size), onnx.const([-1])))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=6) + Cost(launches=5)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames", 2), ("batch", 5, "frames")
