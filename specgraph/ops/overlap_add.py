"""Frames added up where they overlap, and the sum of window squares that this is divided by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op, Value
from specgraph.ops.frame_conv import check_positive, check_signal, frame_count
from specgraph.reach import Reach

MOST_ROWS = 16  # above this many additions of a hop's rows, one sum over a skewed copy has fewer nodes


@dataclass(frozen=True, eq=False)
class OverlapAdd(Op):
    """(batch, width, frames) -> (batch, width + hop_length * (frames - 1)): frame t is added from sample ``t * hop_length`` on."""

    linear = True

    hop_length: int

    def __post_init__(self) -> None:
        check_positive(hop_length=self.hop_length)

    def infer(self, frames: Shape) -> Shape:
        if len(frames) != 3 or not isinstance(frames[1], int):
            raise GraphError(f"takes (batch, width, frames) with a width that is a number, not {text(frames)}")
        return frames[0], (frames[2] - 1) * self.hop_length + frames[1]

    def _rows(self, width: int) -> int:
        """Hops that a frame lies in."""
        return -(-width // self.hop_length)

    def numpy(self, frames):
        batch, width, count = frames.shape
        rows, hop = self._rows(width), self.hop_length
        blocks = np.zeros((batch, count + rows - 1, hop))
        for row in range(rows):
            part = frames[:, row * hop : (row + 1) * hop].swapaxes(1, 2)
            blocks[:, row : row + count, : part.shape[2]] += part
        return blocks.reshape(batch, -1)[:, : width + hop * (count - 1)]

    def torch(self, frames):
        from torch.nn import functional

        from specgraph.tracing import any_length

        if any_length():
            return self._rows_added(frames)
        _, width, count = frames.shape
        length = width + self.hop_length * (count - 1)
        return functional.fold(frames, (1, length), (1, width), stride=(1, self.hop_length))[:, 0, 0]

    def _rows_added(self, frames: Any) -> Any:
        """The same in ops that are exported as more than ``Col2Im``, which onnxruntime has no CUDA kernel for."""
        from torch.nn import functional

        width, hop = frames.shape[1], self.hop_length
        rows = self._rows(width)
        grid = functional.pad(frames, (0, 0, 0, rows * hop - width)).unflatten(1, (rows, hop))
        total = functional.pad(grid[:, 0], (0, rows - 1))
        for row in range(1, rows):
            total = total + functional.pad(grid[:, row], (row, rows - 1 - row))
        return total.transpose(1, 2).flatten(1)[:, : total.shape[2] * hop - (rows * hop - width)]

    def onnx(self, onnx, frames):
        # Measured (onnxruntime 1.31, one thread): additions of padded rows are the fastest, then the skewed copy; a
        # ConvTranspose that holds the inverse DFT as well takes 1.0 to 1.4 times as long as that DFT and the additions.
        width = onnx.shape(frames)[1]
        hop, rows = self.hop_length, self._rows(width)
        if rows * hop != width:
            frames = onnx.Pad(frames, onnx.const([0, 0, 0, 0, rows * hop - width, 0]))
        signal = self._skewed(onnx, frames, rows) if rows > MOST_ROWS else self._added(onnx, frames, rows)
        if rows * hop == width:
            return signal
        return onnx.Slice(signal, onnx.const([0]), onnx.const([width - rows * hop]), onnx.const([1]))

    def _added(self, onnx: Any, frames: Any, rows: int) -> Any:
        """Row r of every frame moved r frames on, and all rows added."""
        hop, total = self.hop_length, frames
        for row in range(rows) if rows > 1 else ():
            part = onnx.Slice(frames, onnx.const([row * hop]), onnx.const([(row + 1) * hop]), onnx.const([1]))
            part = onnx.Pad(part, onnx.const([0, 0, row, 0, 0, rows - 1 - row]))
            total = onnx.Add(total, part) if row else part
        return onnx.Reshape(onnx.Transpose(total, perm=[0, 2, 1]), onnx.const([0, -1]))

    def _skewed(self, onnx: Any, frames: Any, rows: int) -> Any:
        """The same by one sum: with ``rows`` zeros after each row, a reshape to rows shorter by one moves row r by r."""
        hop = self.hop_length
        grid = onnx.Transpose(onnx.Reshape(frames, onnx.const([0, rows, hop, -1])), perm=[0, 1, 3, 2])
        grid = onnx.Pad(grid, onnx.const([0, 0, 0, 0, 0, 0, rows, 0]))
        flat = onnx.Reshape(grid, onnx.const([0, -1, hop]))
        flat = onnx.Slice(flat, onnx.const([0]), onnx.const([-rows]), onnx.const([1]))
        skewed = onnx.Reshape(flat, onnx.const([0, rows, -1, hop]))
        return onnx.Reshape(onnx.ReduceSum(skewed, onnx.const([1]), keepdims=0), onnx.const([0, -1]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        rows = min(self._rows(shapes[0][1]), MOST_ROWS)
        return Cost(vector=math.prod(shapes[0]), moved=4.0 * 4 * math.prod(shapes[0]), launches=3 * rows + 2)

    def reach(self, *shapes: Shape) -> Reach:
        width = shapes[0][1]
        assert isinstance(width, int)
        hop = self.hop_length
        return Reach(Fraction(1, hop), -Fraction(width - 1, hop), 0, -Fraction(width // 2, hop))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for width, hop in ((8, 2), (8, 3), (7, 7), (5, 9), (40, 2), (37, 1), (1, 1)):
            yield cls(hop), ("batch", width, "frames")


@dataclass(frozen=True, eq=False)
class OverlapNormalize(Op):
    """(batch, samples), squares (width,) -> (batch, samples): divided by the sum of the squares that overlap at each sample.

    ``squares`` is laid down every ``hop_length`` samples, as often as it fits; where nothing lies, the sample is kept as it is.
    """

    linear = True

    hop_length: int

    def __post_init__(self) -> None:
        check_positive(hop_length=self.hop_length)

    def infer(self, signal: Shape, squares: Shape) -> Shape:
        check_signal(signal)
        if len(squares) != 1 or not isinstance(squares[0], int):
            raise GraphError(f"the squares must be one row of numbers, not {text(squares)}")
        frame_count(signal[1], squares[0], self.hop_length)
        return signal

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        raise GraphError("at a clip's end it divides by what overlaps there, which it takes from the longest clip")

    def _count(self, samples: int, width: int) -> int:
        return (samples - width) // self.hop_length + 1

    def numpy(self, signal, squares):
        count = self._count(signal.shape[1], len(squares))
        total = OverlapAdd(self.hop_length).numpy(np.broadcast_to(squares[None, :, None], (1, len(squares), count)))[0]
        total = np.pad(total, (0, signal.shape[1] - len(total)))
        return signal / np.where(total > 0, total, 1.0)

    def torch(self, signal, squares):
        from torch.nn import functional

        count = self._count(signal.shape[1], len(squares))
        total = OverlapAdd(self.hop_length).torch(squares[None, :, None].expand(1, -1, count))
        total = functional.pad(total, (0, signal.shape[1] - total.shape[1]))
        return signal / total.masked_fill(total <= 0, 1.0)

    def onnx(self, onnx, signal, squares):
        key = "overlap normalize", self.hop_length, squares, onnx.shape(signal)[1]  # the same for every signal of this length
        return onnx.Div(signal, onnx.once(key, lambda: self._divisor(onnx, signal, onnx.array(squares))))

    def _divisor(self, onnx: Any, signal: Any, array: np.ndarray) -> Any:
        """(1, samples): the sum of the squares, and 1 where it is 0."""
        width, hop = len(array), self.hop_length
        rows = -(-width // hop)
        one, zero = onnx.const(np.int64(1)), onnx.const(np.int64(0))
        samples = onnx.Squeeze(onnx.Shape(signal, start=1, end=2), onnx.const([0]))
        count = onnx.Add(onnx.Div(onnx.Sub(samples, onnx.const(np.int64(width))), onnx.const(np.int64(hop))), one)
        blocks = onnx.Div(onnx.Add(samples, onnx.const(np.int64(hop - 1))), onnx.const(np.int64(hop)))
        # Block b holds row r of frame b - r, if there is such a frame. Range brings the count to the device without a copy.
        frame = onnx.Sub(onnx.Unsqueeze(onnx.Range(zero, blocks, one), onnx.const([1])), onnx.const(np.arange(rows)))
        there = onnx.And(onnx.GreaterOrEqual(frame, zero), onnx.Less(frame, onnx.Range(count, onnx.Add(count, one), one)))
        grid = onnx.const(np.pad(array, (0, rows * hop - width)).reshape(rows, hop))
        total = onnx.Reshape(onnx.MatMul(onnx.Cast(there, to=1), grid), onnx.const([1, -1]))
        total = onnx.Slice(total, onnx.const([0]), onnx.Shape(signal, start=1, end=2), onnx.const([1]))
        return onnx.Where(onnx.LessOrEqual(total, onnx.const(np.float32(0))), onnx.const(np.float32(1)), total)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out) + Cost(matmul=float(out[-1]), launches=9)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for width, hop in ((16, 4), (21, 4), (9, 9), (5, 12), (33, 1)):
            yield cls(hop), ("batch", "samples"), np.hanning(width + 1)[:-1] ** 2
        yield cls(4), ("batch", "samples"), np.array([0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 2.0])


@dataclass(frozen=True, eq=False)
class FitLength(Op):
    """(batch, samples) -> (batch, length): cut, or filled up with zeros."""

    linear = True

    length: int

    def __post_init__(self) -> None:
        check_positive(length=self.length)

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], self.length

    def numpy(self, signal):
        return np.pad(signal, ((0, 0), (0, self.length)))[:, : self.length]

    def torch(self, signal):
        from torch.nn import functional

        return functional.pad(signal, (0, self.length))[:, : self.length]

    def onnx(self, onnx, signal):
        padded = onnx.Pad(signal, onnx.const([0, 0, 0, self.length]))
        return onnx.Slice(padded, onnx.const([0]), onnx.const([self.length]), onnx.const([1]))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for length in (1, 50, 200):
            yield cls(length), ("batch", "samples")
