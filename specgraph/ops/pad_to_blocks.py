"""Padding that ends where a block of samples does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.dims import Shape
from specgraph.op import GraphError
from specgraph.ops.pad import Pad


@dataclass(frozen=True, eq=False)
class PadToBlocks(Pad):
    """(batch, samples) -> (batch, whole blocks): as ``Pad``, with less of the padding at the end, to a multiple of ``block``.

    What reads blocks does not have to cut the clip then, which is a copy of it.
    """

    block: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis != 1 or not 1 <= self.block <= self.widths[1] + 1:
            raise GraphError(f"block must be 1 to {self.widths[1] + 1}, one more than the padding at the end, along axis 1, not {self.block}")

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        if lengths is not None:
            raise GraphError("does not pad clips at their own ends")
        batch, samples = super().infer(signal)
        return batch, samples // self.block * self.block

    def numpy(self, signal, lengths=None):
        padded = super().numpy(signal)
        return padded[:, : padded.shape[1] // self.block * self.block]

    def torch(self, signal, lengths=None):
        padded = super().torch(signal)
        return padded[:, : padded.shape[1] // self.block * self.block]

    def onnx(self, onnx, signal, lengths=None):
        before, after = self.widths
        samples = onnx.Add(onnx.Shape(signal, start=1, end=2), onnx.const([before + after]))
        behind = onnx.Sub(onnx.const([after]), onnx.Mod(samples, onnx.const([self.block])))
        if self.mode == "constant":
            return onnx.Pad(signal, onnx.Concat(onnx.const([0, before, 0]), behind, axis=0), onnx.const(np.float32(self.value)))
        head, tail = (self._edge if self.mode == "edge" else self._mirrored)(onnx, signal, before, after)
        tail = onnx.Slice(tail, onnx.const([0]), behind, onnx.const([1]))
        return onnx.Concat(*([head] if before else []), signal, tail, axis=1)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for mode in ("reflect", "constant", "edge"):
            yield cls(5, 9, mode=mode, block=10), ("batch", "samples")
        yield cls(0, 200, block=7), ("batch", "samples")
