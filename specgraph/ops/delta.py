"""Derivatives of features over frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.design.delta import polynomial_slope, regression
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.frame_numbers import at_most, frame_numbers, on_device
from specgraph.reach import Reach

DeltaMode = Literal["interp", "nearest", "regression"]


@dataclass(frozen=True, eq=False)
class Delta(Op):
    """(batch, bins, frames) -> the same: the derivative of this ``order`` over ``width`` frames, in units per frame ** order.

    ``interp`` and ``nearest`` are ``librosa.feature.delta``: a polynomial fit, at the ends that of the first or last
    ``width`` frames, or of a clip whose first and last frame go on. A clip shorter than ``width`` frames, which librosa
    refuses for ``interp``, is taken as if its last frame went on up to ``width``. ``regression`` is Kaldi's
    ``add-deltas`` and HTK's: the slope of a line, ``order`` times, the first and last frame going on; its first order is
    ``torchaudio.functional.compute_deltas`` with ``win_length=width``.
    """

    linear = True

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

    def infer(self, features: Shape) -> Shape:
        if len(features) != 3:
            raise GraphError(f"takes features (batch, bins, frames), not {text(features)}")
        return features

    def _places(self, frames: int) -> npt.NDArray[np.int64]:
        """(frames, taps): the frames that each frame's derivative is taken from."""
        start = np.arange(frames) - len(self.taps) // 2
        if self.mode == "interp":
            start = np.clip(start, 0, max(frames - len(self.taps), 0))
        return np.clip(start[:, None] + np.arange(len(self.taps)), 0, frames - 1)

    def numpy(self, features):
        return (features[:, :, self._places(features.shape[2])] - features[..., None]) @ self.taps

    def torch(self, features):
        import torch

        frames, width = features.shape[2], len(self.taps)
        start = torch.arange(frames, device=features.device) - width // 2
        if self.mode == "interp":
            start = at_most(start.clamp_min(0), torch.sym_max(frames - width, 0))
        places = at_most((start[:, None] + torch.arange(width, device=features.device)).clamp_min(0), frames - 1)
        windows = features[:, :, places] - features[..., None]
        return windows @ torch.tensor(self.taps, dtype=features.dtype, device=features.device)

    def onnx(self, onnx, features):
        width, zero = len(self.taps), onnx.const(np.int64(0))
        number, frames = frame_numbers(onnx, features)
        start = onnx.Sub(number, onnx.const([width // 2]))
        if self.mode == "interp":
            last = onnx.Max(onnx.Sub(frames, onnx.const(np.int64(width))), zero)
            start = onnx.Min(onnx.Max(start, zero), on_device(onnx, last))
        places = onnx.Add(onnx.Unsqueeze(start, onnx.const([1])), onnx.const(np.arange(width)))
        last = on_device(onnx, onnx.Sub(frames, onnx.const(np.int64(1))))
        windows = onnx.Gather(features, onnx.Min(onnx.Max(places, zero), last), axis=2)
        windows = onnx.Sub(windows, onnx.Unsqueeze(features, onnx.const([3])))
        return onnx.Squeeze(onnx.MatMul(windows, onnx.const(self.taps[:, None])), onnx.const([3]))

    def carry(self, operands, spread, result):
        return spread[0][:, :, self._places(result.shape[2])] @ np.abs(self.taps)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        width = len(self.taps)
        return Cost.contraction(width, out, *(out for _ in range(2 * width))) + Cost(launches=10)

    def reach(self, *shapes: Shape) -> Reach:
        context = self.width - 1 if self.mode == "interp" else len(self.taps) // 2
        return Reach(1, -context, context, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for mode in get_args(DeltaMode):
            for width, order in ((9, 1), (9, 2), (3, 1), (15, 3)):
                yield cls(width, order, mode), ("batch", 5, "frames")
