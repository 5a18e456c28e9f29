"""Mean and variance normalisation of features over a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op, Value
from specgraph.ops.layout import check_lengths
from specgraph.ops.lengths import Counts, Mask
from specgraph.reach import WHOLE_CLIP, Reach

WITHIN, COUNTS = Mask(), Counts(3)
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
    features give zeros. Without ``norm_vars`` only the mean is taken away. With ``lengths``, (batch,), a clip is its first
    frames; what follows those is arbitrary.
    """

    lengths_at = 1

    norm_vars: bool = True

    def infer(self, features: Shape, lengths: Shape | None = None) -> Shape:
        check_features(features)
        if lengths is not None:
            check_lengths(features, lengths)
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return self(features, lengths(features))

    def numpy(self, features, lengths=None):
        centred = features - features[:, :, :1]  # equal frames are then exactly zero, whatever a mean rounds to
        centred = centred - self._mean(centred, lengths)
        return centred / np.maximum(self._deviation(centred, lengths), FLOOR) if self.norm_vars else centred

    @staticmethod
    def _mean(values, lengths):
        if lengths is None:
            return values.mean(-1, keepdims=True)
        return WITHIN.numpy(values, lengths).sum(-1, keepdims=True) / COUNTS.numpy(lengths)

    def _deviation(self, centred, lengths):
        return np.sqrt(self._mean(centred * centred, lengths))

    def torch(self, features, lengths=None):
        def mean(values):
            if lengths is None:
                return values.mean(-1, keepdim=True)
            return WITHIN.torch(values, lengths).sum(-1, keepdim=True) / COUNTS.torch(lengths)

        centred = features - features[:, :, :1]
        centred = centred - mean(centred)
        return centred / mean(centred * centred).clamp_min(FLOOR**2).sqrt() if self.norm_vars else centred

    def onnx(self, onnx, features, lengths=None):
        axis = onnx.const([2])

        def mean(values):
            if lengths is None:
                return onnx.ReduceMean(values, axis)
            onnx.set_shape(values, onnx.shape(features))
            return onnx.Div(onnx.ReduceSum(WITHIN.onnx(onnx, values, lengths), axis), COUNTS.onnx(onnx, lengths))

        centred = onnx.Sub(features, onnx.Slice(features, onnx.const([0]), onnx.const([1]), axis))
        centred = onnx.Sub(centred, mean(centred))
        if not self.norm_vars:
            return centred
        variance = mean(onnx.Mul(centred, centred))
        return onnx.Div(centred, onnx.Sqrt(onnx.Max(variance, onnx.const(np.float32(FLOOR**2)))))

    def carry(self, operands, spread, result):
        off, features = spread[0], operands[0]
        lengths = operands[1] if len(operands) > 1 else None
        rms = self._deviation(off, lengths)
        deviation = self._deviation(features - self._mean(features, lengths), lengths) if self.norm_vars else None
        count = off.shape[-1] if lengths is None else COUNTS.numpy(lengths)
        return carried(off, self._mean(off, lengths), rms, result, deviation, count)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, out, operations=6) + Cost(launches=7)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(norm_vars=False), ("batch", 5, "frames")
        yield cls(), ("batch", 5, "frames"), ("batch",)
        yield cls(norm_vars=False), ("batch", 5, "frames"), ("batch",)
