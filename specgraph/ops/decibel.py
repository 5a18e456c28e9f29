"""Power in decibels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Array, GraphError, Op, Value
from specgraph.ops.layout import axis_along_the_clip, check_batched
from specgraph.ops.lengths import Mask
from specgraph.ops.log import SMALLEST
from specgraph.reach import HERE, WHOLE_CLIP, Reach

SCALE = 10 / math.log(10)


@dataclass(frozen=True, eq=False)
class Decibel(Op):
    """(batch, ...) power -> (batch, ...) dB: ``10 log10(max(x, amin) / max(ref, amin))``, as librosa's ``power_to_db``.

    ``ref="max"`` takes each batch item's own maximum. ``top_db`` raises every value to at least that item's maximum less
    ``top_db``: per item, so that a clip does not depend on its batch (librosa takes the maximum of the whole array).
    """

    compresses = True

    ref: float | Literal["max"] = 1.0
    amin: float = 1e-10
    top_db: float | None = None

    def __post_init__(self) -> None:
        if not self.amin > 0:
            raise GraphError(f"amin must be above 0, not {self.amin!r}")
        if not SMALLEST <= self.amin < np.inf:
            raise GraphError(f"amin must be a number that float32 holds, not {self.amin!r}")
        if self.ref != "max" and not (isinstance(self.ref, int | float) and self.ref > 0):
            raise GraphError(f"ref must be a power above 0 or 'max', not {self.ref!r}")
        if self.top_db is not None and self.top_db < 0:
            raise GraphError(f"top_db must be at least 0 or None, not {self.top_db!r}")

    def infer(self, power: Shape) -> Shape:
        return check_batched(power)

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (power,) = operands
        axis = axis_along_the_clip(power.shape)
        if axis is None or not (self.ref == "max" or self.top_db is not None):
            return None
        return self(Mask(axis)(power, lengths(power)))  # nothing is below the level of no power

    def numpy(self, power):
        level = SCALE * np.log(np.maximum(power, self.amin))
        peak = level.max(tuple(range(1, level.ndim)), keepdims=True)
        level = level - (peak if self.ref == "max" else SCALE * math.log(max(self.ref, self.amin)))
        if self.top_db is None:
            return level
        return np.maximum(level, level.max(tuple(range(1, level.ndim)), keepdims=True) - self.top_db)

    def torch(self, power):
        import torch

        level = power.clamp_min(self.amin).log() * SCALE
        rest = tuple(range(1, level.ndim))
        if self.ref == "max":
            level = level - level.amax(rest, keepdim=True)
        elif (shift := SCALE * math.log(max(self.ref, self.amin))) != 0:
            level = level - shift
        return level if self.top_db is None else torch.maximum(level, level.amax(rest, keepdim=True) - self.top_db)

    def onnx(self, onnx, power):
        level = onnx.Mul(onnx.Log(onnx.Max(power, onnx.const(np.float32(self.amin)))), onnx.const(np.float32(SCALE)))
        rest = onnx.const(np.arange(1, onnx.rank(power)))
        if self.ref == "max":
            level = onnx.Sub(level, onnx.ReduceMax(level, rest))
        elif (shift := SCALE * math.log(max(self.ref, self.amin))) != 0:
            level = onnx.Sub(level, onnx.const(np.float32(shift)))
        if self.top_db is None:
            return level
        return onnx.Max(level, onnx.Sub(onnx.ReduceMax(level, rest), onnx.const(np.float32(self.top_db))))

    def on_the_way(self, *operands: Array) -> Array:
        """The level, before the reference is taken off."""
        return replace(self, ref=1.0, top_db=None).numpy(*operands)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=10) + Cost(launches=3)

    def reach(self, *shapes: Shape) -> Reach:
        return HERE if self.top_db is None and self.ref != "max" else WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames")
        yield cls(ref=0.3, amin=1e-3, top_db=20.0), ("batch", 5, "frames")
        yield cls(ref="max", top_db=3.0), ("batch", 5, "frames")
