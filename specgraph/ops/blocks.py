"""A signal as rows of equal length that do not overlap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class Blocks(Op):
    """(batch, samples) -> (batch, samples // size, size); what is left over at the end is dropped."""

    linear = True

    size: int

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], signal[1] // self.size, self.size

    def numpy(self, signal):
        return signal[:, : signal.shape[1] // self.size * self.size].reshape(len(signal), -1, self.size)

    def torch(self, signal):
        return signal[:, : signal.shape[1] // self.size * self.size].unflatten(1, (-1, self.size))

    def onnx(self, onnx, signal):
        return onnx.Reshape(onnx.whole_blocks(signal, self.size), onnx.const([0, -1, self.size]))

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.size, 0, self.size - 1, (self.size - 1) / 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(size=8), ("batch", "samples")
        yield cls(size=1), ("batch", "samples")
