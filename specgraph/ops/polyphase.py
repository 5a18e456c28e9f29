"""A signal as its phases: channel r holds every size-th sample from sample r on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class Polyphase(Op):
    """(batch, samples) -> (batch, size, samples // size); what is left over at the end is dropped.

    With ``columns`` the phases are seen as a matrix of that many columns, and its transpose is the order of the channels.
    """

    linear = True

    size: int
    columns: int = 1

    def __post_init__(self) -> None:
        check_positive(size=self.size, columns=self.columns)
        if self.size % self.columns:
            raise GraphError(f"{self.size} phases do not form {self.columns} columns")

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], self.size, signal[1] // self.size

    def _phases(self, signal):
        whole = signal.shape[1] // self.size * self.size
        return signal[:, :whole].reshape(signal.shape[0], -1, self.size // self.columns, self.columns)

    def numpy(self, signal):
        phases = self._phases(signal)
        return phases.transpose(0, 3, 2, 1).reshape(len(signal), self.size, phases.shape[1])

    def torch(self, signal):
        return self._phases(signal).permute(0, 3, 2, 1).flatten(1, 2)

    def onnx(self, onnx, signal):
        whole = onnx.whole_blocks(signal, self.size)
        if self.columns == 1:
            return onnx.Transpose(onnx.Reshape(whole, onnx.const([0, -1, self.size])), perm=[0, 2, 1])
        matrix = onnx.Reshape(whole, onnx.const([0, -1, self.size // self.columns, self.columns]))
        return onnx.Reshape(onnx.Transpose(matrix, perm=[0, 3, 2, 1]), onnx.const([0, self.size, -1]))

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.size, 0, self.size - 1, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(size=8), ("batch", "samples")
        yield cls(size=1), ("batch", "samples")
        yield cls(size=12, columns=3), ("batch", "samples")
