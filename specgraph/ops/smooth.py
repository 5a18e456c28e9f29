"""First-order smoothing over frames."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import Array, GraphError, Op, Value
from specgraph.ops.lengths import Mask
from specgraph.reach import Reach

BLOCK = 64  # frames that one matrix product smooths
FORGOTTEN = 2.0**-150  # of what was: below float32's smallest number


@dataclass(frozen=True, eq=False)
class Smooth(Op):
    """(batch, bins, frames) -> the same: ``y[t] = b x[t] + (1 - b) y[t - 1]``, with b = ``coefficient`` and ``y[-1] = initial``.

    ``initial=1`` is the state that ``scipy.signal.lfilter_zi`` gives, and so librosa's PCEN. Frames are taken in blocks: within a
    block the smoother is a triangular matrix; what a block passes on is a smoother over blocks, found by doubling: after
    step k each block has the memory of ``2 ** k`` blocks. The steps stop where the memory has decayed below float32's
    smallest number, so that they depend on the coefficient and not on the length, and nothing is cut off.
    """

    coefficient: float
    initial: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.coefficient <= 1:
            raise GraphError(f"coefficient must be above 0 and at most 1, not {self.coefficient!r}")

    def infer(self, features: Shape) -> Shape:
        if len(features) != 3:
            raise GraphError(f"takes features (batch, bins, frames), not {text(features)}")
        return features

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return self(Mask()(features, lengths(features)))  # it reads what came before, but in whole blocks

    @property
    def kept(self) -> float:
        """What a frame keeps of the one before."""
        return 1.0 - self.coefficient

    @property
    def settling(self) -> int:
        """Frames until the memory has decayed."""
        return math.ceil(math.log(1e-12) / math.log1p(-self.coefficient)) if self.coefficient < 1 else 1

    @cached_property
    def within(self) -> npt.NDArray[np.float64]:
        """(BLOCK, BLOCK): what frame i of a block, a row, weighs in frame j, a column."""
        steps = np.arange(BLOCK) - np.arange(BLOCK)[:, None]
        return np.triu(self.coefficient * self.kept ** np.maximum(steps, 0.0))

    @cached_property
    def fading(self) -> npt.NDArray[np.float64]:
        """(BLOCK,): what is left, in each frame, of the last frame before the block."""
        return self.kept ** np.arange(1.0, BLOCK + 1)

    @cached_property
    def doublings(self) -> tuple[tuple[int, float], ...]:
        """(blocks, what is left after as many) for each step."""
        found, blocks, left = [], 1, self.kept**BLOCK
        while left > FORGOTTEN:
            found.append((blocks, left))
            blocks, left = 2 * blocks, left * left
        return tuple(found)

    def numpy(self, features):
        from scipy.signal import lfilter

        state = np.full((*features.shape[:-1], 1), self.kept * self.initial)
        return lfilter([self.coefficient], [1.0, -self.kept], features, zi=state)[0]

    def torch(self, features):
        import torch

        def constant(array):
            return torch.tensor(array, dtype=features.dtype, device=features.device)

        return torch_smoothed(features, constant(self.within), constant(self.fading), self.doublings, self.initial)

    def onnx(self, onnx, features):
        return onnx_smoothed(onnx, features, self.within, self.fading, self.doublings, self.initial)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        steps = len(self.doublings)
        passes = Cost.elementwise(out, out, out, operations=2) + Cost(launches=8 + 4 * steps, vector=steps * math.prod(out) / BLOCK)
        return Cost.contraction(BLOCK, out, out) + passes

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(1, -math.inf, 0, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for coefficient in (0.05, 0.6, 1.0, 1e-4):
            yield cls(coefficient), ("batch", 5, "frames")
        yield cls(0.02, initial=0.0), ("batch", 5, "samples")
        yield cls(0.5, initial=-3.0), ("batch", 1, "samples")


def torch_smoothed(features: Any, within: Any, fading: Any, lefts: Iterable[tuple[int, Any]], initial: float) -> Any:
    """Blocks of (batch, bins, frames) smoothed by ``within`` and carried on; ``lefts``: (blocks, what is left after as many)."""
    from torch.nn import functional

    from specgraph.tracing import any_length

    frames, block = features.shape[-1], within.shape[-1]
    # torch.export takes a size that is 1 while it traces for one that is always 1: there is a block more then.
    spare = block if any_length() else 0
    local = functional.pad(features, (0, -frames % block + spare)).unflatten(-1, (-1, block)) @ within
    carry = functional.pad(local[..., -1], (1, -1), value=initial)
    for step, left in lefts:
        if not any_length() and step >= carry.shape[-1]:
            break  # what is exported must work at every length, and has all of the steps
        carry = carry + left * functional.pad(carry, (step, 0))[..., : carry.shape[-1]]
    return (local + carry[..., None] * fading).flatten(-2)[..., :frames]


def onnx_smoothed(
    onnx: Any, features: Any, within: Array, fading: Array, lefts: Iterable[tuple[int, Any]], initial: float
) -> Any:
    """The same, emitted."""
    block = within.shape[-1]
    axis, zero = onnx.const([2]), onnx.const([0])
    frames = onnx.Shape(features, start=2, end=3)
    padded = onnx.Pad(features, onnx.const([0, 0, 0, 0, 0, block - 1]))
    whole = onnx.Mul(onnx.Div(onnx.Add(frames, onnx.const([block - 1])), onnx.const([block])), onnx.const([block]))
    blocks = onnx.Reshape(onnx.Slice(padded, zero, whole, axis), onnx.const([0, 0, -1, block]))
    local = onnx.MatMul(blocks, onnx.const(within))

    def delayed(value: Any, step: int, first: float) -> Any:
        longer = onnx.Pad(value, onnx.const([0, 0, step, 0, 0, 0]), onnx.const(np.float32(first)))
        return onnx.Slice(longer, zero, onnx.const([-step]), axis)

    carry = delayed(onnx.Gather(local, onnx.const(np.int64(block - 1)), axis=3), 1, initial)
    for step, left in lefts:
        carry = onnx.Add(carry, onnx.Mul(delayed(carry, step, 0.0), onnx.const(np.asarray(left, np.float32))))
    carried = onnx.Mul(onnx.Unsqueeze(carry, onnx.const([3])), onnx.const(fading))
    smoothed = onnx.Reshape(onnx.Add(local, carried), onnx.const([0, 0, -1]))
    return onnx.Slice(smoothed, zero, frames, axis)
