"""Zero mean and unit variance along the clip, in the ways that models have it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op, Value
from specgraph.ops.compare import FLOAT32
from specgraph.ops.frame_numbers import on_device
from specgraph.ops.layout import check_axis, check_lengths, is_time
from specgraph.ops.lengths import Counts, Mask, OwnBlocks
from specgraph.reach import HERE, WHOLE_CLIP, Reach

Added = Literal["variance", "deviation", "least"]

WITHIN = Mask()


@dataclass(frozen=True, eq=False)
class Standardize(Op):
    """(...) -> the same: ``(x - mean) / deviation`` along the last axis, which runs along the clip, or along a frame.

    The variance is the sum of squares divided by ``count - ddof`` (by 1 where that is below 1: a single frame then gives zeros).
    ``epsilon`` is added to the ``variance``, as wav2vec 2.0 and SeamlessM4T do, or to the ``deviation``, as NeMo does, or is the
    ``least`` that is divided by, as CREPE has it. Where that is 0, constant features and an ``epsilon`` of 0, the result is 0. With
    ``lengths``, (batch,), a clip is its first positions, and the result is 0 at the others.
    """

    lengths_at = 1
    clears = True

    ddof: int = 0
    epsilon: float = 0.0
    added_to: Added = "variance"

    def __post_init__(self) -> None:
        if self.ddof not in (0, 1):
            raise GraphError(f"ddof must be 0 or 1, not {self.ddof!r}")
        if not (self.epsilon >= 0 and np.isfinite(self.epsilon)):
            raise GraphError(f"epsilon must be a number of at least 0, not {self.epsilon!r}")
        if self.added_to not in get_args(Added):
            raise GraphError(f"added_to must be one of {', '.join(get_args(Added))}, not {self.added_to!r}")

    def infer(self, features: Shape, lengths: Shape | None = None) -> Shape:
        check_axis(1, features)
        if lengths is not None:
            check_lengths(features, lengths)
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return self(features, lengths(features)) if is_time(features.shape[-1]) else None

    def _divisor(self, variance, root):
        if self.added_to == "variance":
            return root(variance + self.epsilon)
        return np.maximum(root(variance), self.epsilon) if self.added_to == "least" else root(variance) + self.epsilon

    @staticmethod
    def _centred(features, lengths):
        """The features less their mean, and how many there are."""
        centred = features - features[..., :1]  # equal frames are then exactly zero, whatever a mean rounds to
        if lengths is None:
            return centred - centred.mean(-1, keepdims=True), features.shape[-1]
        centred, count = WITHIN.numpy(centred, lengths), Counts(features.ndim).numpy(lengths)
        return WITHIN.numpy(centred - centred.sum(-1, keepdims=True) / count, lengths), count

    def numpy(self, features, lengths=None):
        centred, count = self._centred(features, lengths)
        variance = (centred * centred).sum(-1, keepdims=True) / np.maximum(count - self.ddof, 1)
        divisor = self._divisor(variance, np.sqrt)
        return centred / np.where(divisor == 0, 1.0, divisor)

    def torch(self, features, lengths=None):
        import torch

        centred = features - features[..., :1]
        if lengths is None:
            centred = centred - centred.mean(-1, keepdim=True)
            left = max(features.shape[-1] - self.ddof, 1)
        else:
            centred, count = WITHIN.torch(centred, lengths), Counts(features.ndim).torch(lengths)
            centred = WITHIN.torch(centred - centred.sum(-1, keepdim=True) / count, lengths)
            left = (count - self.ddof).clamp_min(1)
        variance = (centred * centred).sum(-1, keepdim=True) / left
        if self.added_to == "variance" and self.epsilon:
            return centred / (variance + self.epsilon).sqrt()
        flat = variance == 0  # a root has an infinite slope at zero, and infinity times zero is NaN
        divisor = torch.where(flat, 1.0, variance).sqrt() + (self.epsilon if self.added_to == "deviation" else 0.0)
        if self.added_to == "least":
            divisor = divisor.clamp_min(self.epsilon)
        return centred / torch.where(flat, self.epsilon or 1.0, divisor)

    def onnx(self, onnx, features, lengths=None):
        rank, length = onnx.rank(features), onnx.shape(features)[-1]
        one = onnx.const(np.array([1], np.float32))
        if lengths is None:
            count = onnx.Squeeze(onnx.Shape(features, start=rank - 1, end=rank), onnx.const([0]))
            size = onnx.Cast(on_device(onnx, count), to=FLOAT32)
        else:
            size = Counts(rank).onnx(onnx, lengths)
        left = onnx.Max(onnx.Sub(size, one), one) if self.ddof else size
        centred = onnx.Sub(features, onnx.Slice(features, onnx.const([0]), onnx.const([1]), onnx.const([rank - 1])))

        def divided(centred, total):
            return onnx.Mul(centred, onnx.Reciprocal(self._divisor_onnx(onnx, onnx.Div(total, left))))

        if lengths is not None and rank == 2:
            return self._onnx_clips(onnx, features, centred, lengths, size, divided)

        def total(values):
            if isinstance(length, int):
                return onnx.total(values, onnx.shape(features), rank - 1)
            return onnx.long_total(values, rank, length, 1 + (rank == 2))  # frames are fewer than samples

        if lengths is None:
            centred = onnx.Sub(centred, onnx.Div(total(centred), size))
        else:
            onnx.set_shape(centred, onnx.shape(features))
            centred = WITHIN.onnx(onnx, centred, lengths)
            own = onnx.Cast(WITHIN.within(onnx, features, lengths), to=FLOAT32)
            centred = onnx.Mul(onnx.Sub(centred, onnx.Div(total(centred), size)), own)
        return divided(centred, total(onnx.Mul(centred, centred)))

    @staticmethod
    def _onnx_clips(onnx, waves, centred, lengths, size, divided):
        """Clips (batch, samples) of different lengths, as ``OwnBlocks``: copies, where masks over the samples take four times as long."""
        length = onnx.shape(waves)[-1]

        def total(values):
            sums = onnx.ReduceSum(values, onnx.const([2]), keepdims=0)
            return onnx.long_total(sums, 2, (length, "blocks of clips"), 1)

        blocks = OwnBlocks(onnx, centred, length, lengths)
        mean = onnx.Mul(onnx.Div(total(blocks.own), size), onnx.Cast(blocks.begun, to=FLOAT32))
        own = blocks.ended(onnx, onnx.Sub(blocks.own, onnx.Unsqueeze(mean, onnx.const([2]))))
        return blocks.in_a_row(onnx, divided(onnx.Reshape(own, onnx.const([0, -1])), total(onnx.Mul(own, own))))

    def _divisor_onnx(self, onnx, variance):
        epsilon = onnx.const(np.float32(self.epsilon))
        if self.epsilon and self.added_to == "variance":
            return onnx.Sqrt(onnx.Add(variance, epsilon))
        if self.epsilon:
            return (onnx.Max if self.added_to == "least" else onnx.Add)(onnx.Sqrt(variance), epsilon)
        nothing = onnx.Equal(variance, onnx.const(np.float32(0)))
        return onnx.Where(nothing, onnx.const(np.float32(1)), onnx.Sqrt(variance))

    def carry(self, operands, spread, result):
        features, *rest = operands
        lengths = rest[0] if rest else None
        centred, count = self._centred(features, lengths)
        left = np.maximum(count - self.ddof, 1)
        off = spread[0] if lengths is None else WITHIN.numpy(spread[0], lengths)
        moved = off + off.sum(-1, keepdims=True) / count
        deviation = np.sqrt((centred * centred).sum(-1, keepdims=True) / left)
        spreads = np.sqrt((off * off).sum(-1, keepdims=True) / left)
        least = np.maximum(deviation - spreads, 0.0)
        divisor = self._divisor(least * least, np.sqrt)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = (moved + np.abs(result) * spreads) / divisor
        return np.minimum(np.nan_to_num(room, nan=np.inf), 2 * np.sqrt(count))  # none of count numbers is further from their mean

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, out, operations=6) + Cost(launches=20)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP if is_time(shapes[0][-1]) else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(epsilon=1e-7), ("batch", "samples")
        yield cls(ddof=1, epsilon=1e-5, added_to="deviation"), ("batch", 5, "frames")
        yield cls(ddof=1, epsilon=1e-7), ("batch", 5, "frames")
        yield cls(), ("batch", 5, "frames")
        yield cls(epsilon=1e-8, added_to="least"), ("batch", "frames", 37)
        yield cls(ddof=1, epsilon=3.0, added_to="least"), ("batch", "frames", 37)
        yield cls(epsilon=1e-7), ("batch", "samples"), ("batch",)
        yield cls(ddof=1, epsilon=1e-5, added_to="deviation"), ("batch", 5, "frames"), ("batch",)
        yield cls(), ("batch", 5, "frames"), ("batch",)
