"""Samples added before and after a clip, or frames before and after features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_signal
from specgraph.ops.layout import check_axis, is_time
from specgraph.reach import HERE, Reach

PadMode = Literal["reflect", "constant", "edge", "symmetric"]


@dataclass(frozen=True, eq=False)
class Pad(Op):
    """(batch, samples) -> (batch, before + samples + after), as ``numpy.pad``; ``after`` is ``before`` if not given.

    A clip of one sample or more may be shorter than the padding: reflection then repeats, as numpy's does. ``reflect`` leaves the
    outermost sample out of the mirror image, and ``symmetric`` repeats it. ``constant`` pads with ``value``. An ``axis`` other
    than 1 pads something else than samples: 2 the frames of features (batch, bins, frames).
    """

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

    def infer(self, signal: Shape) -> Shape:
        if self.axis == 1:
            check_signal(signal)
        check_axis(self.axis, signal)
        return *signal[: self.axis], signal[self.axis] + sum(self.widths), *signal[self.axis + 1 :]

    def numpy(self, signal):
        widths = [self.widths if axis == self.axis else (0, 0) for axis in range(signal.ndim)]
        if self.mode == "constant":
            return np.pad(signal, widths, constant_values=self.value)
        return np.pad(signal, widths, mode=self.mode)

    def torch(self, signal):
        import torch
        from torch.nn import functional

        before, after = self.widths
        if self.mode == "constant":
            return functional.pad(signal, (0, 0) * (signal.ndim - 1 - self.axis) + (before, after), value=self.value)
        samples = signal.shape[self.axis]
        if self.mode == "reflect" and signal.ndim == 2 and not torch.compiler.is_exporting() and max(before, after) < samples:
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

    def onnx(self, onnx, signal):
        before, after = self.widths
        if self.mode == "constant":
            rank = onnx.rank(signal)
            pads = np.zeros(2 * rank, np.int64)
            pads[[self.axis, rank + self.axis]] = before, after
            return onnx.Pad(signal, onnx.const(pads), onnx.const(np.float32(self.value)))
        head, tail = (self._edge if self.mode == "edge" else self._mirrored)(onnx, signal, before, after)
        parts = [part for part, count in ((head, before), (signal, 1), (tail, after)) if count]
        return onnx.Concat(*parts, axis=self.axis) if len(parts) > 1 else signal

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

        twice = onnx.Add(period, period)

        def triangle(places: np.ndarray) -> Any:
            # Of 2 p / 2 n, since onnxruntime takes (1 / n) * n for a real quotient, and makes 1 of it.
            whole = onnx.Div(onnx.const(2 * places), twice)
            place = onnx.Sub(onnx.const(places), onnx.Mul(whole, period))
            opposite = onnx.Sub(period, place)
            return onnx.Min(place, onnx.Sub(opposite, one) if symmetric else opposite)

        head = onnx.Gather(signal, triangle(np.arange(before, 0, -1) - symmetric), axis=self.axis)
        tail = onnx.Gather(signal, onnx.Sub(onnx.const([-1]), triangle(np.arange(1, after + 1) - symmetric)), axis=self.axis)
        return head, tail

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
            yield cls(3, 14, mode=mode, axis=2), ("batch", 3, "frames")
        yield cls(4, mode="constant", value=-2.5), ("batch", "samples")
        for before, after in ((1, 1), (0, 1), (1, 2)):
            yield cls(before, after), ("batch", "samples")
