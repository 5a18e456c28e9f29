"""Lengths of the clips of a batch: what they become along the graph, and what lies beyond them set aside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, Step, text
from specgraph.op import GraphError, Input, Op, Value
from specgraph.ops.compare import FLOAT32
from specgraph.ops.frame_numbers import frame_numbers
from specgraph.ops.layout import Transpose, check_axis, check_lengths

BLOCK = 256  # samples that are copied as one


@dataclass(frozen=True, eq=False)
class LengthsInput(Input):
    """A graph input that says how long each clip of another input is: whole numbers, (batch,)."""

    makes = "int64"

    sizes: tuple[int | str, ...] = ("batch",)


@dataclass(frozen=True, eq=False)
class Lengths(Op):
    """(batch,) -> (batch,), whole numbers: how many positions clips of these lengths have further along the graph.

    ``steps`` are those of a ``Dim``: ``n -> (n * multiply + add) // divide``, one after another, none going below 0.
    """

    makes = "int64"
    lengths_at = 0

    steps: tuple[Step, ...]

    def infer(self, lengths: Shape) -> Shape:
        return _one_each(lengths)

    def numpy(self, lengths):
        for multiply, add, divide in self.steps:
            lengths = np.maximum(lengths * multiply + add, 0) // divide
        return lengths

    def torch(self, lengths):
        for multiply, add, divide in self.steps:
            lengths = (lengths * multiply + add).clamp_min(0) // divide
        return lengths

    def onnx(self, onnx, lengths):
        for multiply, add, divide in self.steps:
            if multiply != 1:
                lengths = onnx.Mul(lengths, onnx.const(np.int64(multiply)))
            lengths = onnx.Max(onnx.Add(lengths, onnx.const(np.int64(add))), onnx.const(np.int64(0)))
            if divide != 1:
                lengths = onnx.Div(lengths, onnx.const(np.int64(divide)))
        return lengths

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(((1, 160, 160),)), ("batch",)
        yield cls(((3, -7, 2), (5, 4, 3))), ("batch",)


@dataclass(frozen=True, eq=False)
class Counts(Op):
    """(batch,) whole numbers -> (batch, 1, ...), with ``rank`` axes, as floating-point numbers to divide by."""

    lengths_at = 0

    rank: int

    def infer(self, lengths: Shape) -> Shape:
        return *_one_each(lengths), *(1,) * (self.rank - 1)

    def numpy(self, lengths):
        return lengths.reshape(-1, *(1,) * (self.rank - 1)).astype(np.float64)

    def torch(self, lengths):
        import torch

        return lengths.reshape(-1, *(1,) * (self.rank - 1)).to(torch.float32)  # exact, and no reason to leave another dtype

    def onnx(self, onnx, lengths):
        return onnx.Cast(onnx.Reshape(lengths, onnx.const([-1, *(1,) * (self.rank - 1)])), to=FLOAT32)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(3), ("batch",)
        yield cls(1), ("batch",)


@dataclass(frozen=True, eq=False)
class Mask(Op):
    """(batch, ..., n, ...), lengths (batch,) -> the same, with ``value`` at the positions along ``axis`` beyond a clip's length."""

    lengths_at = 1

    axis: int = -1
    value: float = 0.0

    def infer(self, features: Shape, lengths: Shape) -> Shape:
        check_axis(self.axis, features)
        check_lengths(features, lengths)
        if self.axis % len(features) == 0:
            raise GraphError("clips lie along axis 0, and their lengths along another")
        return features

    def _within(self, places, lengths, rank):
        """Where a position is within its clip, of a shape that broadcasts."""
        axis = self.axis % rank
        return places.reshape(-1, *(1,) * (rank - 1 - axis)) < lengths.reshape(-1, *(1,) * (rank - 1))

    def numpy(self, features, lengths):
        within = self._within(np.arange(features.shape[self.axis]), lengths, features.ndim)
        return np.where(within, features, self.value)

    def torch(self, features, lengths):
        import torch

        places = torch.arange(features.shape[self.axis], device=features.device)
        return features.masked_fill(~self._within(places, lengths, features.ndim), self.value)

    def onnx(self, onnx, features, lengths):
        if onnx.rank(features) == 2 and isinstance(onnx.shape(features)[1], Dim):
            blocks = OwnBlocks(onnx, features, onnx.shape(features)[1], lengths, self.value)
            return blocks.in_a_row(onnx, blocks.own)
        return onnx.Where(self.within(onnx, features, lengths), features, onnx.const(np.float32(self.value)))

    def within(self, onnx: Any, features: Any, lengths: Any) -> Any:
        """Where a position of emitted features is within its clip, of a shape that broadcasts; the same for every value of this length."""
        rank = onnx.rank(features)
        axis = self.axis % rank
        key = "within", onnx.shape(features)[axis], axis, rank, lengths
        return onnx.once(key, lambda: self._places(onnx, features, lengths, axis, rank))

    @staticmethod
    def _places(onnx, features, lengths, axis, rank):
        places, _ = frame_numbers(onnx, features, axis)
        if axis < rank - 1:
            places = onnx.Unsqueeze(places, onnx.const(np.arange(1, rank - axis)))
        return onnx.Less(places, onnx.Unsqueeze(lengths, onnx.const(np.arange(1, rank))))

    def carry(self, operands, spread, result):
        return Mask(self.axis).numpy(spread[0], operands[1])

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out) + Cost(launches=5)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames"), ("batch",)
        yield cls(value=-7.5), ("batch", "samples"), ("batch",)
        yield cls(axis=2), ("batch", 3, "frames", 2), ("batch",)
        yield cls(axis=1), ("batch", "frames", 2), ("batch",)


class OwnBlocks:
    """Emitted samples (batch, n) of clips of different lengths in ``own``, (batch, blocks, BLOCK), with ``value`` beyond them.

    Blocks behind a clip are taken from one that holds nothing else, and what stands behind it in its last block is written over: a mask over
    all samples takes twice as long. ``begun``, (batch, blocks), says which blocks have samples of the clip's own.
    """

    def __init__(self, onnx: Any, samples: Any, length: Dim, lengths: Any, value: float = 0.0) -> None:
        number = onnx.const(np.float32(value))
        self._samples = samples
        self._ends = onnx.once(("behind", lengths), lambda: self._behind(onnx, lengths))
        self._value = onnx.Expand(number, onnx.Shape(self._ends))
        blocks = self.ended(onnx, onnx.in_blocks(samples, 2, length, BLOCK, 1, number))

        def begun() -> tuple[Any, Any]:
            places, _ = frame_numbers(onnx, blocks, 1)
            whole = onnx.Div(onnx.Add(onnx.Unsqueeze(lengths, onnx.const([1])), onnx.const([BLOCK - 1])), onnx.const([BLOCK]))
            begun = onnx.Less(places, whole)
            places = onnx.Where(begun, places, onnx.const([-1]))  # the last; its number, of a shape, would be copied to the device
            return begun, onnx.Unsqueeze(places, onnx.const([2]))

        self.begun, places = onnx.once(("begun", length, lengths), begun)
        self.own = onnx.GatherND(blocks, places, batch_dims=1)

    @staticmethod
    def _behind(onnx: Any, lengths: Any) -> Any:
        """(batch, BLOCK): the places of as many samples behind each clip."""
        return onnx.Add(onnx.Unsqueeze(lengths, onnx.const([1])), onnx.const(np.arange(BLOCK)))

    def ended(self, onnx: Any, blocks: Any) -> Any:
        """Blocks with ``value`` in what is left of each clip's last one."""
        flat = onnx.Reshape(blocks, onnx.const([0, -1]))
        return onnx.Reshape(onnx.ScatterElements(flat, self._ends, self._value, axis=1), onnx.const([0, -1, BLOCK]))

    def in_a_row(self, onnx: Any, blocks: Any) -> Any:
        """(batch, n) again."""
        count = onnx.Shape(self._samples, start=1, end=2)
        return onnx.Slice(onnx.Reshape(blocks, onnx.const([0, -1])), onnx.const([0]), count, onnx.const([1]))


def ends_in_zeros(value: Value) -> bool:
    """Whether a value is zero wherever it is not a clip's own, so that nobody needs to see to that again."""
    op = value.op
    if isinstance(op, Transpose):
        return ends_in_zeros(value.inputs[0])
    if isinstance(op, Mask):
        return op.value == 0
    return op.clears and len(value.inputs) == (op.lengths_at or 0) + 1


def _one_each(lengths: Shape) -> Shape:
    if len(lengths) != 1:
        raise GraphError(f"lengths are one for each clip, (batch,), not {text(lengths)}")
    return lengths
