"""Overlapping frames of a signal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.frame_conv import check_positive, check_signal, frame_count
from specgraph.reach import Reach

MOST_ROWS = 16  # above this many slices of a hop each, one Gather is cheaper


@dataclass(frozen=True, eq=False)
class Frame(Op):
    """(batch, samples) -> (batch, frames, width): frame t is ``x[t*hop : t*hop + width]``."""

    linear = True

    width: int
    hop_length: int

    def __post_init__(self) -> None:
        check_positive(width=self.width, hop_length=self.hop_length)

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], frame_count(signal[1], self.width, self.hop_length), self.width

    def numpy(self, signal):
        return np.lib.stride_tricks.sliding_window_view(signal, self.width, axis=-1)[:, :: self.hop_length]

    def torch(self, signal):
        return signal.unfold(-1, self.width, self.hop_length)

    def onnx(self, onnx, signal):
        if self.width <= self.hop_length * MOST_ROWS:
            return self._rows(onnx, signal)
        block = math.gcd(self.width, self.hop_length)
        if block > 1:  # gather blocks that frames are made of, rather than samples
            signal = onnx.Reshape(onnx.whole_blocks(signal, block), onnx.const([0, -1, block]))
        last = onnx.Sub(onnx.Shape(signal, start=1, end=2), onnx.const([self.width // block - 1]))
        scalar = onnx.const([0])
        starts = onnx.Range(
            onnx.const(np.int64(0)), onnx.Squeeze(last, scalar), onnx.const(np.int64(self.hop_length // block))
        )
        index = onnx.Add(onnx.Unsqueeze(starts, onnx.const([1])), onnx.const(np.arange(self.width // block)))
        frames = onnx.Gather(signal, index, axis=1)
        return onnx.Reshape(frames, onnx.const([0, 0, self.width])) if block > 1 else frames

    def _rows(self, onnx, signal):
        """Rows of a hop each, beside one another: copies of whole rows, no index."""
        hop, rows = self.hop_length, -(-self.width // self.hop_length)
        if self.width == hop:
            return onnx.Reshape(onnx.whole_blocks(signal, hop), onnx.const([0, -1, hop]))
        size = onnx.Shape(signal, start=1, end=2)
        frames = onnx.Div(onnx.Add(size, onnx.const([hop - self.width])), onnx.const([hop]))
        wanted = onnx.Mul(onnx.Add(frames, onnx.const([rows - 1])), onnx.const([hop]))
        if rows * hop != self.width:
            signal = onnx.Pad(signal, onnx.const([0, 0, 0, hop]))
        signal = onnx.Slice(signal, onnx.const([0]), wanted, onnx.const([1]))
        grid = onnx.Reshape(signal, onnx.const([0, -1, hop]))
        to_the_end, parts = np.iinfo(np.int64).max, []
        for row in range(rows):  # of the last row only what the frame has of it
            end, width = row + 1 - rows or to_the_end, min(hop, self.width - row * hop)
            parts.append(onnx.Slice(grid, onnx.const([row, 0]), onnx.const([end, width]), onnx.const([1, 2])))
        return onnx.Concat(*parts, axis=2) if rows > 1 else parts[0] if self.width < hop else grid

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        if self.width == self.hop_length:
            return Cost.elementwise(out, out, operations=0) + Cost(launches=1)
        return Cost(moved=4.0 * 3 * math.prod(out), launches=6)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop_length, 0, self.width - 1, self.width // 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for width, hop in ((8, 3), (8, 8), (8, 40), (12, 4), (40, 2), (37, 1), (16, 5)):
            yield cls(width=width, hop_length=hop), ("batch", "samples")
