"""A signal cut to a length that another one decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive, check_signal


@dataclass(frozen=True, eq=False)
class Trim(Op):
    """(batch, length), (batch, samples) -> (batch, (samples * multiply + add) // divide): the beginning of the first."""

    linear = True

    multiply: int = 1
    add: int = 0
    divide: int = 1

    def __post_init__(self) -> None:
        check_positive(multiply=self.multiply, divide=self.divide)

    def _count(self, samples):
        return (samples * self.multiply + self.add) // self.divide

    def infer(self, signal: Shape, like: Shape) -> Shape:
        check_signal(signal)
        check_signal(like)
        count = self._count(like[1])
        if isinstance(count, int) and (count < 1 or (isinstance(signal[1], int) and count > signal[1])):
            raise GraphError(f"{signal[1]} samples do not have {count} to keep")
        return signal[0], count

    def numpy(self, signal, like):
        return signal[:, : self._count(like.shape[1])]

    torch = numpy

    def onnx(self, onnx, signal, like):
        count = onnx.Mul(onnx.Shape(like, start=1, end=2), onnx.const([self.multiply]))
        count = onnx.Div(onnx.Add(count, onnx.const([self.add])), onnx.const([self.divide]))
        return onnx.Slice(signal, onnx.const([0]), count, onnx.const([1]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "samples"), ("batch", "samples")
        yield cls(2, 1, 3), ("batch", "samples"), ("batch", "samples")
        yield cls(1, -7), ("batch", "samples"), ("batch", "samples")
