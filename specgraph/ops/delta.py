"""Derivatives of features over frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.design.delta import polynomial_slope, regression
from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.cmvn import check_features
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.frame_numbers import at_most, frame_numbers, frames_at, numpy_frames_at, torch_frames_at
from specgraph.ops.layout import check_lengths
from specgraph.reach import Reach

DeltaMode = Literal["interp", "nearest", "regression"]


@dataclass(frozen=True, eq=False)
class Delta(Op):
    """(batch, bins, frames) -> the same: the derivative of this ``order`` over ``width`` frames, in units per frame ** order.

    ``interp`` and ``nearest`` are ``librosa.feature.delta``: a polynomial fit, at the ends that of the first or last
    ``width`` frames, or of a clip whose first and last frame go on. A clip shorter than ``width`` frames, which librosa
    refuses for ``interp``, is taken as if its last frame went on up to ``width``. ``regression`` is Kaldi's
    ``add-deltas`` and HTK's: the slope of a line, ``order`` times, the first and last frame going on; its first order is
    ``torchaudio.functional.compute_deltas`` with ``win_length=width``. With ``lengths``, (batch,), each clip has its own ends.
    """

    linear = True
    lengths_at = 1

    width: int = 9
    order: int = 1
    mode: DeltaMode = "interp"

    def __post_init__(self) -> None:
        check_positive(width=self.width, order=self.order)
        if self.width < 3 or self.width % 2 == 0:
            raise GraphError(f"width must be odd and at least 3, not {self.width}")
        if self.mode not in get_args(DeltaMode):
            raise GraphError(f"mode must be one of {', '.join(get_args(DeltaMode))}, not {self.mode!r}")
        if self.mode != "regression" and self.order >= self.width:
            raise GraphError(f"order {self.order} needs more than the {self.width} frames of width")

    @cached_property
    def taps(self) -> npt.NDArray[np.float64]:
        """The kernel that frames are correlated with, less the frame itself: equal frames give zero, whatever rounding does."""
        return (regression if self.mode == "regression" else polynomial_slope)(self.width, self.order)

    def infer(self, features: Shape, lengths: Shape | None = None) -> Shape:
        check_features(features)
        if lengths is not None:
            check_lengths(features, lengths)
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return self(features, lengths(features))

    def _places(self, frames: int, lengths: npt.NDArray[np.int64] | None) -> npt.NDArray[np.int64]:
        """(frames, taps), with lengths (batch, frames, taps): the frames that each frame's derivative is taken from."""
        width, ends = len(self.taps), np.array(frames) if lengths is None else lengths[:, None, None]
        start = np.arange(frames)[:, None] - width // 2
        if self.mode == "interp":
            start = np.clip(start, 0, np.maximum(ends - width, 0))
        return np.clip(start + np.arange(width), 0, ends - 1)

    def numpy(self, features, lengths=None):
        windows = numpy_frames_at(features, self._places(features.shape[2], lengths), lengths is not None)
        return (windows - features[..., None]) @ self.taps

    def torch(self, features, lengths=None):
        import torch

        frames, width = features.shape[2], len(self.taps)
        start = torch.arange(frames, device=features.device)[:, None] - width // 2
        ends = frames if lengths is None else lengths[:, None, None]
        if self.mode == "interp":
            last = torch.sym_max(frames - width, 0) if lengths is None else (ends - width).clamp_min(0)
            start = at_most(start.clamp_min(0), last)
        places = at_most((start + torch.arange(width, device=features.device)).clamp_min(0), ends - 1)
        windows = torch_frames_at(features, places, lengths is not None) - features[..., None]
        return windows @ torch.tensor(self.taps, dtype=features.dtype, device=features.device)

    def onnx(self, onnx, features, lengths=None):
        return self._onnx_whole(onnx, features) if lengths is None else self._onnx_clips(onnx, features, lengths)

    def _onnx_whole(self, onnx: Any, features: Any) -> Any:
        """Frames before and after, each pair at once and shifted as a whole: gathering them one by one takes twenty times as long."""
        half, axis, end = len(self.taps) // 2, onnx.const([2]), np.iinfo(np.int64).max
        frames = onnx.Shape(features, start=2, end=3)
        if self.mode == "interp":  # a fit to the first or last frames is that in their middle: the ends are what goes on
            lacking = onnx.Max(onnx.Sub(onnx.const([self.width]), frames), onnx.const([0]))
            padded = onnx.Pad(features, onnx.Concat(onnx.const([0] * 5), lacking, axis=0), mode="edge")
        else:
            padded = onnx.Pad(features, onnx.const([0, 0, half, 0, 0, half]), mode="edge")

        def shifted(by: int) -> Any:
            return onnx.Slice(padded, onnx.const([half + by]), onnx.const([by - half or end]), axis)

        own, slope = shifted(0), None
        for by in (k for k in range(1, half + 1) if self.taps[half + k] != 0):
            after, before = shifted(by), shifted(-by)
            odd = self.order % 2
            pair = onnx.Sub(after, before) if odd else onnx.Add(onnx.Sub(after, own), onnx.Sub(before, own))
            part = onnx.Mul(pair, onnx.const(np.float32(self.taps[half + by])))
            slope = part if slope is None else onnx.Add(slope, part)
        if self.mode != "interp":
            return slope
        return onnx.Slice(onnx.Pad(slope, onnx.const([0, 0, half, 0, 0, half]), mode="edge"), onnx.const([0]), frames, axis)

    def _onnx_clips(self, onnx: Any, features: Any, lengths: Any) -> Any:
        """Each clip with ends of its own: the frames of every derivative gathered."""
        width, zero, one = (onnx.const(np.int64(n)) for n in (len(self.taps), 0, 1))
        number, _ = frame_numbers(onnx, features)
        start = onnx.Unsqueeze(onnx.Sub(number, onnx.const([len(self.taps) // 2])), onnx.const([1]))
        ends = onnx.Unsqueeze(lengths, onnx.const([1, 2]))
        if self.mode == "interp":
            start = onnx.Min(onnx.Max(start, zero), onnx.Max(onnx.Sub(ends, width), zero))
        places = onnx.Add(start, onnx.const(np.arange(len(self.taps))))
        places = onnx.Min(onnx.Max(places, zero), onnx.Max(onnx.Sub(ends, one), zero))
        windows = frames_at(onnx, features, places, 3, True)
        windows = onnx.Sub(windows, onnx.Unsqueeze(features, onnx.const([3])))
        return onnx.Squeeze(onnx.MatMul(windows, onnx.const(self.taps[:, None])), onnx.const([3]))

    def carry(self, operands, spread, result):
        _, *lengths = operands
        places = self._places(result.shape[2], *(lengths or [None]))
        return numpy_frames_at(spread[0], places, bool(lengths)) @ np.abs(self.taps)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        width = len(self.taps)
        if len(shapes) > 1:
            return Cost.contraction(width, out, *(out for _ in range(2 * width))) + Cost(launches=10)
        return Cost.elementwise(out, *(out for _ in range(3 * width)), operations=2 * width) + Cost(launches=3 * width)

    def reach(self, *shapes: Shape) -> Reach:
        context = self.width - 1 if self.mode == "interp" else len(self.taps) // 2
        return Reach(1, -context, context, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for mode in get_args(DeltaMode):
            for width, order in ((9, 1), (9, 2), (3, 1), (15, 3)):
                yield cls(width, order, mode), ("batch", 5, "frames")
                yield cls(width, order, mode), ("batch", 5, "frames"), ("batch",)
