"""Clips of one length: cut, or filled up with zeros."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op, Value
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.ops.layout import check_axis, check_lengths, is_time
from specgraph.ops.lengths import Mask, ends_in_zeros
from specgraph.reach import WHOLE_CLIP, Reach

LEAST_IN_A_BLOCK, MOST_IN_A_BLOCK = 64, 1024  # samples that are copied as one


@dataclass(frozen=True, eq=False)
class FixedLength(Op):
    """(batch, samples) -> (batch, size): the first ``size`` samples, or all of them and zeros; ``axis`` may be another one.

    With ``lengths``, (batch,), zeros follow each clip's own samples; ``axis`` is 1 then.
    """

    linear = True
    lengths_at = 1
    clears = True

    size: int
    axis: int = 1

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    @property
    def block(self) -> int:
        """The largest divisor of ``size`` up to 1024 samples."""
        return next(block for block in range(min(self.size, MOST_IN_A_BLOCK), 0, -1) if self.size % block == 0)

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        check_axis(self.axis, signal)
        if lengths is not None:
            check_signal(signal)
            check_lengths(signal, lengths)
        axis = self.axis % len(signal)
        return *signal[:axis], self.size, *signal[axis + 1 :]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        if not is_time(signal.shape[self.axis]):
            return None
        if ends_in_zeros(signal):
            return self(signal)
        of_samples = len(signal.shape) == 2 and self.block >= LEAST_IN_A_BLOCK
        return self(signal, lengths(signal)) if of_samples else Mask(self.axis)(self(signal), lengths(signal))

    def numpy(self, signal, lengths=None):
        if lengths is not None:
            return Mask().numpy(self.numpy(signal), lengths)
        axis = self.axis % signal.ndim
        kept = signal[(slice(None),) * axis + (slice(0, self.size),)]
        lacking = self.size - kept.shape[axis]
        return np.pad(kept, [(0, lacking if a == axis else 0) for a in range(signal.ndim)])

    def torch(self, signal, lengths=None):
        from torch.nn import functional

        if lengths is not None:
            return Mask().torch(self.torch(signal), lengths)
        axis = self.axis % signal.ndim
        lacking = self.size - signal.shape[axis]
        return functional.pad(signal, (0, 0) * (signal.ndim - 1 - axis) + (0, lacking))  # a negative width cuts

    def onnx(self, onnx, signal, lengths=None):
        if lengths is not None:
            return self._onnx_clips(onnx, self._filled(onnx, signal, self.block), onnx.Unsqueeze(lengths, onnx.const([1])))
        return self._filled(onnx, signal, 0)

    def _filled(self, onnx: Any, signal: Any, zeros: int) -> Any:
        """The first ``size`` samples, filled up, and so many ``zeros``."""
        rank = onnx.rank(signal)
        axis = self.axis % rank
        kept = onnx.Slice(signal, onnx.const([0]), onnx.const([self.size]), onnx.const([axis]))
        wanted = self._wanted(onnx, kept)
        lacking = onnx.Sub(onnx.Add(wanted, onnx.const([zeros])) if zeros else wanted, onnx.Shape(kept, start=axis, end=axis + 1))
        before = onnx.const(np.zeros(rank + axis, np.int64))
        after = [onnx.const(np.zeros(rank - 1 - axis, np.int64))] if axis < rank - 1 else []
        return onnx.Pad(kept, onnx.Concat(before, lacking, *after, axis=0))

    def _wanted(self, onnx: Any, kept: Any) -> Any:
        """How many samples ``kept`` is filled up to."""
        return onnx.const([self.size])

    def _blocks(self, onnx: Any, filled: Any) -> Any:
        """The numbers of the blocks, but for the one of zeros at the end."""
        return onnx.const(np.arange(self.size // self.block))

    def _onnx_clips(self, onnx: Any, filled: Any, lengths: Any) -> Any:
        """(batch, size + block), a block of zeros last, -> (batch, size), with zeros from each clip's end on.

        A block's worth is written over, and what is behind that taken from the last block: two copies, and a mask takes twice as long.
        """
        block, blocks = onnx.const([self.block]), self._blocks(onnx, filled)
        ends = onnx.Min(lengths, onnx.const([self.size]))
        behind = onnx.Add(ends, onnx.const(np.arange(self.block)))
        zeros = onnx.Expand(onnx.const(np.float32(0)), onnx.Shape(behind))
        rows = onnx.Reshape(onnx.ScatterElements(filled, behind, zeros, axis=1), onnx.const([0, -1, self.block]))
        begun = onnx.LessOrEqual(blocks, onnx.Div(ends, block))
        places = onnx.Where(begun, blocks, onnx.const([-1]))
        taken = onnx.GatherND(rows, onnx.Unsqueeze(places, onnx.const([2])), batch_dims=1)
        return onnx.Reshape(taken, onnx.const([0, -1]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0) + Cost(launches=4 if len(shapes) == 1 else 12)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP  # a position reads itself, but a piece of a clip has no end to fill up after

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(150), ("batch", "samples")
        yield cls(150), ("batch", "samples"), ("batch",)
        yield cls(2048), ("batch", "samples"), ("batch",)
        yield cls(12, axis=2), ("batch", 3, "frames")
        yield cls(12, axis=1), ("batch", "frames", 3)
