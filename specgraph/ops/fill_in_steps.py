"""Clips of one length at most, with no more zeros behind them than their frames read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from specgraph.dims import Dim, Shape
from specgraph.op import GraphError, Value
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.frame_conv import check_signal
from specgraph.ops.layout import check_lengths
from specgraph.ops.lengths import Mask


@dataclass(frozen=True, eq=False)
class FillInSteps(FixedLength):
    """(batch, samples) -> (batch, filled): as ``FixedLength``, but whole ``step`` of zeros at its end are left out.

    At least ``margin`` zeros stay behind the longest clip, unless ``size`` has no room for them. With lengths, ``step`` is a
    multiple of ``block``.
    """

    step: int = 0
    margin: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.axis != 1 or self.step < 1 or self.margin < 0:
            raise GraphError(f"step must be at least 1, along axis 1, and margin at least 0, not {self.step}, {self.axis} and {self.margin}")

    def _whole(self, samples: Any) -> Any:
        """With the margin, and up to whole steps, of a number of samples of any kind."""
        rest = self.size % self.step
        return (samples + self.margin + self.step - 1 - rest) // self.step * self.step + rest

    def filled(self, samples: Dim) -> Dim:
        """How many samples there are afterwards."""
        return self._whole(samples).at_most(self.size)

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        check_signal(signal)
        if lengths is not None:
            check_lengths(signal, lengths)
            if self.step % self.block:
                raise GraphError(f"step must be a multiple of {self.block} where clips have lengths, not {self.step}")
        if not isinstance(signal[1], Dim):
            raise GraphError("is for clips whose length varies")
        return signal[0], self.filled(signal[1])

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        return None  # it is made by a rewrite of what has the clips' lengths already

    def numpy(self, signal, lengths=None):
        filled = FixedLength(min(self._whole(signal.shape[1]), self.size)).numpy(signal)
        return filled if lengths is None else Mask().numpy(filled, lengths)

    def torch(self, signal, lengths=None):
        import torch
        from torch.nn import functional

        filled = functional.pad(signal, (0, torch.sym_min(self._whole(signal.shape[1]), self.size) - signal.shape[1]))
        return filled if lengths is None else Mask().torch(filled, lengths)

    def _wanted(self, onnx: Any, kept: Any) -> Any:
        rest, step = self.size % self.step, onnx.const([self.step])
        counted = onnx.Add(onnx.Shape(kept, start=1, end=2), onnx.const([self.margin + self.step - 1 - rest]))
        whole = onnx.Add(onnx.Mul(onnx.Div(counted, step), step), onnx.const([rest]))
        return onnx.Min(whole, onnx.const([self.size]))

    def _blocks(self, onnx: Any, filled: Any) -> Any:
        # Slice leaves the numbers on the device, and takes the count of them from the CPU, where shapes are.
        held = onnx.Div(onnx.Shape(filled, start=1, end=2), onnx.const([self.block]))
        return onnx.Slice(super()._blocks(onnx, filled), onnx.const([0]), onnx.Sub(held, onnx.const([1])), onnx.const([0]))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(size=150, step=150), ("batch", "samples")
        yield cls(size=2048, step=100, margin=70), ("batch", "samples")
        yield cls(size=1024, step=1024, margin=7), ("batch", "samples"), ("batch",)
        yield cls(size=150, step=300, margin=7), ("batch", "samples"), ("batch",)
