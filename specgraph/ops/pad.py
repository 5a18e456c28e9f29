"""Samples added before and after a clip, or frames before and after features."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, text
from specgraph.op import GraphError, Op, Value
from specgraph.ops.frame_conv import check_signal
from specgraph.ops.layout import check_axis, check_lengths, is_time
from specgraph.ops.lengths import ends_in_zeros
from specgraph.reach import HERE, Reach

PadMode = Literal["reflect", "constant", "edge", "symmetric"]


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """(batch, samples) -> (batch, before + samples + after), as ``numpy.pad``; ``after`` is ``before`` if not given.

    A clip of one sample or more may be shorter than the padding: reflection then repeats, as numpy's does. ``reflect`` leaves the
    outermost sample out of the mirror image, and ``symmetric`` repeats it. ``constant`` pads with ``value``. An ``axis`` other
    than 1 pads something else than samples: 2 the frames of features (batch, bins, frames). With ``lengths``,
    (batch,), each clip is padded at its own end; what follows that is arbitrary.
    """

    lengths_at = 1

    before: int
    after: int | None = None
    mode: PadMode = "reflect"
    value: float = 0.0
    axis: int = 1

    def __post_init__(self) -> None:
        for name in ("before", "after"):
            count = getattr(self, name)
            if count is not None and (not isinstance(count, int | np.integer) or count < 0):
                raise GraphError(f"{name} must be a whole number of at least 0, not {count!r}")
        if self.mode not in get_args(PadMode):
            raise GraphError(f"mode must be one of {', '.join(get_args(PadMode))}, not {self.mode!r}")
        if not isinstance(self.axis, int) or self.axis < 1:
            raise GraphError(f"axis must be a whole number of at least 1, not {self.axis!r}")

    @property
    def widths(self) -> tuple[int, int]:
        """Samples added before and after."""
        return self.before, self.before if self.after is None else self.after

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        if self.axis == 1:
            check_signal(signal)
        check_axis(self.axis, signal)
        if lengths is not None:
            check_lengths(signal, lengths)
            if sum(isinstance(size, Dim) for size in signal) > 2:
                raise GraphError(f"pads clips along one axis that varies, and {text(signal)} has others")
        return *signal[: self.axis], signal[self.axis] + sum(self.widths), *signal[self.axis + 1 :]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        if not is_time(signal.shape[self.axis]):
            return None
        zeros = self.mode == "constant" and self.value == 0
        return self(signal) if zeros and ends_in_zeros(signal) else self(signal, lengths(signal))

    def numpy(self, signal, lengths=None):
        if lengths is not None:
            return np.concatenate([self._clip(row[None], int(length)) for row, length in zip(signal, lengths, strict=True)])
        widths = [self.widths if axis == self.axis else (0, 0) for axis in range(signal.ndim)]
        if self.mode == "constant":
            return np.pad(signal, widths, constant_values=self.value)
        return np.pad(signal, widths, mode=self.mode)

    def _clip(self, row: np.ndarray, length: int) -> np.ndarray:
        """(1, ..., n, ...) -> (1, ..., before + n + after, ...): one clip of a ragged batch."""
        along = (slice(None),) * self.axis
        before, end = self.before, self.before + length
        own = self.numpy(row[(*along, slice(length))])
        tail = own[(*along, slice(end, None))]
        padded = np.concatenate([own[(*along, slice(before))], row, tail], self.axis)
        padded[(*along, slice(end, own.shape[self.axis]))] = tail
        return padded

    def torch(self, signal, lengths=None):
        import torch
        from torch.nn import functional

        from specgraph.tracing import any_length

        if lengths is not None:
            return self._torch_clips(signal, lengths)
        before, after = self.widths
        if self.mode == "constant":
            return functional.pad(signal, (0, 0) * (signal.ndim - 1 - self.axis) + (before, after), value=self.value)
        samples = signal.shape[self.axis]
        if self.mode == "reflect" and signal.ndim == 2 and not any_length() and max(before, after) < samples:
            return functional.pad(signal[:, None], (before, after), mode="reflect")[:, 0]
        # What is exported must work at every length, and ONNX has no reflection that is wider than the signal.
        place = torch.arange(before + after, device=signal.device) - before
        place = torch.where(place < 0, place, place + samples)
        if self.mode == "edge":
            place = place.clamp(0, samples - 1)
        else:
            symmetric = int(self.mode == "symmetric")
            period = ((samples - 1 + symmetric) * torch.full_like(place, 2)).clamp_min(1)
            place = place.remainder(period)
            place = torch.minimum(place, period - place - symmetric)
        ends = signal.index_select(self.axis, place)
        parts = [ends.narrow(self.axis, 0, before), signal, ends.narrow(self.axis, before, after)]
        return torch.cat(parts, self.axis)

    def _torch_clips(self, signal, lengths):
        """Each clip of a ragged batch padded at its own end."""
        import torch
        from torch.nn import functional

        axis, (before, after) = self.axis, self.widths
        lengths = lengths.reshape(-1, *(1,) * (signal.ndim - 1))
        sizes = [*signal.shape[:axis], -1, *signal.shape[axis + 1 :]]

        def steps(start, stop, step=1):
            return torch.arange(start, stop, step, device=signal.device).reshape(-1, *(1,) * (signal.ndim - 1 - axis))

        behind = (before + lengths + steps(0, after)).expand(sizes)
        if self.mode == "constant":
            around = (0, 0) * (signal.ndim - 1 - axis) + (before, after)
            return functional.pad(signal, around, value=self.value).scatter(axis, behind, self.value)
        symmetric = int(self.mode == "symmetric")
        period = (2 * (lengths - 1 + symmetric)).clamp_min(1)

        def place(distance):
            if self.mode == "edge":
                return torch.zeros_like(lengths * distance)
            within = (distance - symmetric) % period
            return torch.minimum(within, period - within - symmetric)

        head = signal.gather(axis, place(steps(before, 0, -1)).expand(sizes))
        tail = signal.gather(axis, (lengths - 1 - place(steps(1, after + 1))).expand(sizes))
        return torch.cat([head, signal, tail], axis).scatter(axis, behind, tail)

    def onnx(self, onnx, signal, lengths=None):
        before, after = self.widths
        if lengths is not None:
            return self._onnx_clips(onnx, signal, onnx.Unsqueeze(lengths, onnx.const(np.arange(1, onnx.rank(signal)))))
        if self.mode == "constant":
            rank = onnx.rank(signal)
            pads = np.zeros(2 * rank, np.int64)
            pads[[self.axis, rank + self.axis]] = before, after
            return onnx.Pad(signal, onnx.const(pads), onnx.const(np.float32(self.value)))
        head, tail = (self._edge if self.mode == "edge" else self._mirrored)(onnx, signal, before, after)
        parts = [part for part, count in ((head, before), (signal, 1), (tail, after)) if count]
        return onnx.Concat(*parts, axis=self.axis) if len(parts) > 1 else signal

    def _onnx_clips(self, onnx: Any, signal: Any, lengths: Any) -> Any:
        """Each clip of a ragged batch padded at its own end; ``lengths`` (batch, 1), with as many axes as the signal.

        Padding is written over a copy: that moves the clip once, and a mask over all of it takes five times as long.
        """
        axis, (before, after) = self.axis, self.widths

        def across(places):  # the same for all bins
            sizes = [*onnx.shape(signal)[1:axis], len(places), *onnx.shape(signal)[axis + 1 :]]
            return np.broadcast_to(places.reshape(-1, *(1,) * (len(sizes) - axis)), sizes)

        behind = onnx.Add(lengths, onnx.const(before + across(np.arange(after))))
        if self.mode == "constant":
            padded = self.onnx(onnx, signal)
            tail = onnx.Expand(onnx.const(np.float32(self.value)), onnx.Shape(behind))
            return onnx.ScatterElements(padded, behind, tail, axis=axis) if after else padded
        last = onnx.Sub(lengths, onnx.const(np.int64(1)))
        if self.mode == "edge":
            head_place = onnx.Add(onnx.Sub(last, last), onnx.const(across(np.zeros(before, np.int64))))
            tail_place = onnx.Add(last, onnx.const(across(np.zeros(after, np.int64))))
        else:
            half = lengths if self.mode == "symmetric" else last
            period = onnx.Max(onnx.Add(half, half), onnx.const(np.int64(1)))
            head_place = self._triangle(onnx, across(np.arange(before, 0, -1)), period)
            tail_place = onnx.Sub(last, self._triangle(onnx, across(np.arange(1, after + 1)), period))
        head = onnx.GatherElements(signal, head_place, axis=axis)
        tail = onnx.GatherElements(signal, tail_place, axis=axis)
        parts = [part for part, count in ((head, before), (signal, 1), (tail, after)) if count]
        padded = onnx.Concat(*parts, axis=axis) if len(parts) > 1 else signal
        return onnx.ScatterElements(padded, behind, tail, axis=axis) if after else padded

    def _edge(self, onnx: Any, signal: Any, before: int, after: int) -> tuple[Any, Any]:
        head = onnx.Gather(signal, onnx.const(np.zeros(before, np.int64)), axis=self.axis)
        tail = onnx.Gather(signal, onnx.const(np.full(after, -1, np.int64)), axis=self.axis)
        return head, tail

    def _mirrored(self, onnx: Any, signal: Any, before: int, after: int) -> tuple[Any, Any]:
        """ONNX ``Pad`` refuses to reflect more than there is, so both ends are gathered by index arithmetic.

        Reflection repeats with period 2 (samples - 1), is symmetric about sample 0 and about sample samples - 1, and index
        -1 - p of Gather counts from the end: both ends are the triangle wave of their distance, with no index below 0. Where the
        outermost sample is repeated, the period is 2 samples, and distances count from half a sample beyond the ends.
        """
        one = onnx.const(np.int64(1))
        symmetric = int(self.mode == "symmetric")
        samples = onnx.Squeeze(onnx.Shape(signal, start=self.axis, end=self.axis + 1), onnx.const([0]))
        count = onnx.Mul(samples if symmetric else onnx.Sub(samples, one), onnx.const(np.int64(2)))
        count = onnx.Max(count, one)  # one sample: every place is that sample
        # Range brings the number, shape arithmetic that the CUDA provider leaves on the CPU, to the device without a copy.
        period = onnx.Range(count, onnx.Add(count, one), one)

        head = onnx.Gather(signal, self._triangle(onnx, np.arange(before, 0, -1), period), axis=self.axis)
        tail = onnx.Sub(onnx.const([-1]), self._triangle(onnx, np.arange(1, after + 1), period))
        return head, onnx.Gather(signal, tail, axis=self.axis)

    def _triangle(self, onnx: Any, distances: np.ndarray, period: Any) -> Any:
        """How far within a clip, mirrored with this period, a sample stands that is so far outside of it."""
        symmetric = int(self.mode == "symmetric")
        # Of 2 p / 2 n, since onnxruntime takes (1 / n) * n for a real quotient, and makes 1 of it.
        whole = onnx.Div(onnx.const(2 * (distances - symmetric)), onnx.Add(period, period))
        place = onnx.Sub(onnx.const(distances - symmetric), onnx.Mul(whole, period))
        opposite = onnx.Sub(period, place)
        return onnx.Min(place, onnx.Sub(opposite, onnx.const(np.int64(1))) if symmetric else opposite)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost(moved=8.0 * float(np.prod(out)), launches=1 if self.mode == "constant" else 4)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(1, -self.before, -self.before, -float(self.before)) if is_time(shapes[0][self.axis]) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for mode in get_args(PadMode):
            yield cls(5, mode=mode), ("batch", "samples")
            yield cls(300, 7, mode=mode), ("batch", "samples")
            yield cls(0, 200, mode=mode), ("batch", "samples")
            for before, after in ((5, 9), (300, 7), (0, 200), (4, 0)):
                yield cls(before, after, mode), ("batch", "samples"), ("batch",)
            yield cls(3, 14, mode=mode, axis=2), ("batch", 3, "frames")
            yield cls(3, 14, mode=mode, axis=2), ("batch", 3, "frames"), ("batch",)
            yield cls(0, 2, mode=mode, axis=2), ("batch", 3, "frames", 2), ("batch",)
        yield cls(4, mode="constant", value=-2.5), ("batch", "samples")
        for before, after in ((1, 1), (0, 1), (1, 2)):
            yield cls(before, after), ("batch", "samples")
