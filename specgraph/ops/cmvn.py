"""Mean and variance normalisation of features over a clip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.reach import WHOLE_CLIP, Reach

FLOOR = 1e-5  # of a standard deviation; Kaldi floors the variance at 1e-10


def check_features(features: Shape) -> None:
    """Raise unless ``features`` are (batch, bins, frames)."""
    if len(features) != 3:
        raise GraphError(f"takes features (batch, bins, frames), not {text(features)}")


def carried(off, mean_off, spread, result, deviation, count):
    """By how much normalised features may be off, the features being off by ``off``.

    ``mean_off`` and ``spread`` are the mean and the root mean square of ``off`` over the ``count`` frames that were normalised
    over: the mean moves by the one at most, and the ``deviation`` (None: it is not divided by) by the other.
    """
    moved = off + mean_off
    if deviation is None:
        return moved
    room = (moved + np.abs(result) * spread) / np.maximum(deviation - spread, FLOOR)
    return np.minimum(room, 2 * np.sqrt(count))  # of count numbers none is further from their mean than that


@dataclass(frozen=True, eq=False)
class Cmvn(Op):
    """(batch, bins, frames) -> the same: each bin of each clip with its mean over the clip taken away, and its deviation made 1.

    The standard deviation is the population's (divided by the number of frames) and at least 1e-5, so that constant
    features give zeros. Without ``norm_vars`` only the mean is taken away.
    """

    norm_vars: bool = True

    def infer(self, features: Shape) -> Shape:
        check_features(features)
        return features

    def numpy(self, features):
        centred = features - features[:, :, :1]  # equal frames are then exactly zero, whatever a mean rounds to
        centred = centred - centred.mean(-1, keepdims=True)
        return centred / np.maximum(self._deviation(centred), FLOOR) if self.norm_vars else centred

    @staticmethod
    def _deviation(centred):
        return np.sqrt((centred * centred).mean(-1, keepdims=True))

    def torch(self, features):
        centred = features - features[:, :, :1]
        centred = centred - centred.mean(-1, keepdim=True)
        if not self.norm_vars:
            return centred
        return centred / (centred * centred).mean(-1, keepdim=True).clamp_min(FLOOR**2).sqrt()

    def onnx(self, onnx, features):
        axis = onnx.const([2])
        centred = onnx.Sub(features, onnx.Slice(features, onnx.const([0]), onnx.const([1]), axis))
        centred = onnx.Sub(centred, onnx.ReduceMean(centred, axis))
        if not self.norm_vars:
            return centred
        variance = onnx.ReduceMean(onnx.Mul(centred, centred), axis)
        return onnx.Div(centred, onnx.Sqrt(onnx.Max(variance, onnx.const(np.float32(FLOOR**2)))))

    def carry(self, operands, spread, result):
        off = spread[0]
        rms = np.sqrt((off * off).mean(-1, keepdims=True))
        centred = operands[0] - operands[0].mean(-1, keepdims=True)
        deviation = self._deviation(centred) if self.norm_vars else None
        return carried(off, off.mean(-1, keepdims=True), rms, result, deviation, off.shape[-1])

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, out, operations=6) + Cost(launches=7)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(norm_vars=False), ("batch", 5, "frames")
