"""A signal as its phases: channel r holds every size-th sample from sample r on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class Polyphase(Op):
    """(batch, samples) -> (batch, size, samples // size); what is left over at the end is dropped."""

    linear = True

    size: int

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], self.size, signal[1] // self.size

    def numpy(self, signal):
        whole = signal.shape[1] // self.size * self.size
        return signal[:, :whole].reshape(len(signal), -1, self.size).transpose(0, 2, 1)

    def torch(self, signal):
        whole = signal.shape[1] // self.size * self.size
        return signal[:, :whole].unflatten(1, (-1, self.size)).transpose(1, 2)

    def onnx(self, onnx, signal):
        whole = onnx.whole_blocks(signal, self.size)
        return onnx.Transpose(onnx.Reshape(whole, onnx.const([0, -1, self.size])), perm=[0, 2, 1])

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes) + Cost(strided=math.prod(out), launches=1)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.size, 0, self.size - 1, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(size=8), ("batch", "samples")
        yield cls(size=1), ("batch", "samples")
