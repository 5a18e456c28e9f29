"""Mean and variance normalisation of features over a window of frames that slides along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.cmvn import FLOOR, carried, check_features
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.frame_numbers import at_most, frame_numbers, frames_at, on_device, torch_frames_at
from specgraph.ops.layout import check_lengths
from specgraph.reach import Reach

FLOAT32, FLOAT64 = 1, 11  # as ONNX numbers types


@dataclass(frozen=True, eq=False)
class SlidingCmvn(Op):
    """(batch, bins, frames) -> the same: each frame normalised by mean and deviation over a window of frames.

    Kaldi's ``apply-cmvn-sliding``. With ``center`` the window is the ``window`` frames around a frame, moved to lie within
    the clip; else it is the frame and the ``window`` before it, at the beginning of a clip fewer, but its first
    ``min_window`` frames at least. A clip with fewer frames is its own window. ``norm_vars``, Kaldi's
    ``--norm-vars``, divides by the population's standard deviation, at least 1e-5.

    Windows are differences of running sums. Those are taken in float64, also by a float32 module or file, of what the features
    differ from the first frame: float32's digits are kept in clips of any length (20,000 frames: 1e-8 or better).
    With ``lengths``, (batch,), a clip is its first frames; what follows those is arbitrary.
    """

    lengths_at = 1

    window: int = 600
    min_window: int = 100
    center: bool = False
    norm_vars: bool = True

    def __post_init__(self) -> None:
        check_positive(window=self.window, min_window=self.min_window)
        if not self.center and self.min_window > self.window:
            raise GraphError(f"min_window {self.min_window} is more than the {self.window} frames of window")

    def infer(self, features: Shape, lengths: Shape | None = None) -> Shape:
        check_features(features)
        if lengths is not None:
            check_lengths(features, lengths)
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return self(features, lengths(features))

    def bounds(
        self, frames: int, lengths: npt.NDArray[np.int64] | None = None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """(frames,), with lengths (batch, frames): the first frame of each frame's window, and the one after its last."""
        clip = np.array(frames) if lengths is None else lengths[:, None]
        t = np.minimum(np.arange(frames), clip - 1)
        if self.center:
            start = np.clip(t - self.window // 2, 0, np.maximum(clip - self.window, 0))
            return start, np.minimum(start + self.window, clip)
        return np.maximum(t - self.window, 0), np.minimum(np.maximum(t + 1, self.min_window), clip)

    def _statistics(self, features, lengths):
        """The mean of each frame's window, and its deviation about that."""
        mean, deviation = np.empty_like(features), np.empty_like(features)
        bounds = np.stack(self.bounds(features.shape[2], lengths))
        for clip, (starts, ends) in enumerate(np.broadcast_to(bounds.swapaxes(0, -2), (len(features), 2, features.shape[2]))):
            for t, (start, end) in enumerate(zip(starts, ends, strict=True)):
                window = features[clip, :, start:end]
                mean[clip, :, t], deviation[clip, :, t] = window.mean(-1), window.std(-1)
        return mean, deviation

    def numpy(self, features, lengths=None):
        shifted = features - features[:, :, :1]  # equal frames are then exactly zero, whatever a mean rounds to
        mean, deviation = self._statistics(shifted, lengths)
        return (shifted - mean) / np.maximum(deviation, FLOOR) if self.norm_vars else shifted - mean

    def torch(self, features, lengths=None):
        import torch
        from torch.nn import functional

        frames, by_clip = features.shape[2], lengths is not None
        clip = lengths[:, None] if by_clip else frames
        t = torch.arange(frames, device=features.device)
        t = at_most(t, clip - 1) if by_clip else t
        if self.center:
            last = (clip - self.window).clamp_min(0) if by_clip else torch.sym_max(frames - self.window, 0)
            start = at_most((t - self.window // 2).clamp_min(0), last)
            end = at_most(start + self.window, clip)
        else:
            start, end = (t - self.window).clamp_min(0), at_most((t + 1).clamp_min(self.min_window), clip)
        count = (end - start)[:, None] if by_clip else end - start

        def mean(values):
            total = functional.pad(values.cumsum(-1), (1, 0))
            return (torch_frames_at(total, end, by_clip) - torch_frames_at(total, start, by_clip)) / count

        shifted = (features - features[:, :, :1]).double()
        average = mean(shifted)
        centred = shifted - average
        if self.norm_vars:
            variance = mean(shifted * shifted) - average * average
            centred = centred / variance.clamp_min(FLOOR**2).sqrt()
        return centred.to(features.dtype)

    def onnx(self, onnx, features, lengths=None):
        start, end = self._bounds(onnx, features, lengths)
        by_clip = lengths is not None
        count = onnx.Cast(onnx.Sub(end, start), to=FLOAT64)
        count = onnx.Unsqueeze(count, onnx.const([1])) if by_clip else count

        def mean(values):
            total = onnx.CumSum(values, onnx.const(np.int64(2)))
            total = onnx.Pad(total, onnx.const([0, 0, 1, 0, 0, 0]))
            upto, before = (frames_at(onnx, total, places, 1 + by_clip, by_clip) for places in (end, start))
            return onnx.Div(onnx.Sub(upto, before), count)

        first = onnx.Slice(features, onnx.const([0]), onnx.const([1]), onnx.const([2]))
        shifted = onnx.Cast(onnx.Sub(features, first), to=FLOAT64)
        average = mean(shifted)
        centred = onnx.Sub(shifted, average)
        if self.norm_vars:
            variance = onnx.Sub(mean(onnx.Mul(shifted, shifted)), onnx.Mul(average, average))
            floor = onnx.Cast(onnx.const(np.float32(FLOOR**2)), to=FLOAT64)
            centred = onnx.Div(centred, onnx.Sqrt(onnx.Max(variance, floor)))
        return onnx.Cast(centred, to=FLOAT32)

    def _bounds(self, onnx: Any, features: Any, lengths: Any) -> tuple[Any, Any]:
        number, frames = frame_numbers(onnx, features)
        zero, one, window = (onnx.const(np.int64(n)) for n in (0, 1, self.window))
        if lengths is None:
            clip = on_device(onnx, frames)
        else:
            clip = onnx.Unsqueeze(lengths, onnx.const([1]))
            number = onnx.Min(number, onnx.Sub(clip, one))
        if self.center:
            last = onnx.Max(onnx.Sub(clip, window), zero)
            start = onnx.Min(onnx.Max(onnx.Sub(number, onnx.const(np.int64(self.window // 2))), zero), last)
            return start, onnx.Min(onnx.Add(start, window), clip)
        end = onnx.Max(onnx.Add(number, one), onnx.const(np.int64(self.min_window)))
        return onnx.Max(onnx.Sub(number, window), zero), onnx.Min(end, clip)

    def carry(self, operands, spread, result):
        off = spread[0]
        lengths = operands[1] if len(operands) > 1 else None
        mean_off, deviation_off = self._statistics(off, lengths)
        deviation = self._statistics(operands[0], lengths)[1] if self.norm_vars else None
        count = np.subtract(*self.bounds(off.shape[2], lengths)[::-1])
        count = count if lengths is None else count[:, None]
        return carried(off, mean_off, np.hypot(mean_off, deviation_off), result, deviation, count)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *(out for _ in range(12)), operations=20) + Cost(launches=25)

    def reach(self, *shapes: Shape) -> Reach:
        after = self.window - 1 if self.center else self.min_window - 1
        return Reach(1, -self.window, after, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for center in (False, True):
            yield cls(6, 3, center), ("batch", 5, "frames")
            yield cls(6, 3, center), ("batch", 5, "frames"), ("batch",)
            yield cls(9, 9, center, norm_vars=False), ("batch", 5, "frames")
            yield cls(1, 1, center, norm_vars=False), ("batch", 5, "frames")
            yield cls(center=center), ("batch", 5, "samples")
