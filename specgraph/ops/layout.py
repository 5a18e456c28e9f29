"""Ops that move data and do no arithmetic: reshape, transpose, take, slice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, Size, text
from specgraph.op import GraphError, Op
from specgraph.reach import HERE, WHOLE_CLIP, Reach

TO_THE_END = np.iinfo(np.int64).max


def check_axis(axis: int, value: Shape) -> None:
    """Raise unless ``value`` has ``axis``."""
    if not -len(value) <= axis < len(value):
        raise GraphError(f"there is no axis {axis} in {text(value)}")


def check_batched(features: Shape) -> Shape:
    """The same shape; raise unless something stands behind its batch axis."""
    if len(features) < 2:
        raise GraphError("takes features with a batch axis")
    return features


def is_time(size: Size) -> bool:
    """Whether an axis of this size runs along the clip."""
    return isinstance(size, Dim) and size.root != "batch"


def check_lengths(value: Shape, lengths: Shape) -> None:
    """Raise unless ``lengths`` are one for each clip of ``value``."""
    if lengths != value[:1]:
        raise GraphError(f"the lengths must be ({value[0]},), one for each clip, not {text(lengths)}")


def axis_along_the_clip(value: Shape) -> int | None:
    """The axis that runs along the clip, if there is one."""
    return next((axis for axis, size in enumerate(value) if is_time(size)), None)


def _quotient(number: int, varying: list[Dim], wanted: int) -> Size | None:
    """``number`` times the varying size, if there is one, divided by ``wanted``; None where that is not a whole size."""
    common = math.gcd(number, wanted)
    number, wanted = number // common, wanted // common
    if not varying:
        return number if wanted == 1 else None
    quotient = varying[0].divided(wanted) if len(varying) == 1 else None
    return quotient if quotient is None or number == 1 else quotient * number


@dataclass(frozen=True, eq=False)
class Reshape(Op):
    """The same elements in another shape. As in ONNX, a 0 keeps the size at its place and one -1 takes what is left."""

    linear = True

    shape: tuple[int, ...]

    def infer(self, value: Shape) -> Shape:
        if sum(size == -1 for size in self.shape) > 1 or any(size < -1 for size in self.shape):
            raise GraphError(f"a shape has sizes, zeros and at most one -1, not {self.shape}")
        if len(self.shape) > len(value) and 0 in self.shape[len(value) :]:
            raise GraphError(f"{self.shape} keeps an axis that {text(value)} does not have")
        kept = [i for i, size in enumerate(self.shape) if size == 0]
        result: list[Size] = [value[i] if size == 0 else size for i, size in enumerate(self.shape)]
        rest = [size for i, size in enumerate(value) if i not in kept]
        varying = [size for size in rest if isinstance(size, Dim)]
        number = math.prod(size for size in rest if isinstance(size, int))
        wanted = math.prod(size for size in self.shape if size > 0)
        left = _quotient(number, varying, wanted)
        if left is None or (-1 not in self.shape and left != 1):
            raise GraphError(f"{text(value)} does not reshape to {self.shape}")
        if -1 in self.shape:
            result[self.shape.index(-1)] = left
        return tuple(result)

    def numpy(self, value):
        return value.reshape([value.shape[i] if size == 0 else size for i, size in enumerate(self.shape)])

    torch = numpy

    def onnx(self, onnx, value):
        return onnx.Reshape(value, onnx.const(self.shape))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost(launches=1)  # the same elements in the same order: nothing is moved

    def reach(self, *shapes: Shape) -> Reach:
        before, after = (self._time(shape) for shape in (shapes[0], self.infer(shapes[0])))
        return HERE if before == after else WHOLE_CLIP

    @staticmethod
    def _time(shape: Shape) -> tuple[Size, int] | None:
        """The size along the clip, and how many elements lie side by side at each of its positions."""
        axis = axis_along_the_clip(shape)
        behind = [] if axis is None else [size for size in shape[axis + 1 :] if isinstance(size, int)]
        return None if axis is None else (shape[axis], math.prod(behind))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls((0, 2, 3, -1)), ("batch", 6, "frames")
        yield cls((0, -1)), ("batch", "frames", 6)
        yield cls((0, 0, 6)), ("batch", "frames", 2, 3)
        yield cls((2, -1, 3)), ("frames", 6)


@dataclass(frozen=True, eq=False)
class Transpose(Op):
    """The axes in another order: axis i of the result is axis ``order[i]`` of the operand."""

    linear = True

    order: tuple[int, ...]

    def infer(self, value: Shape) -> Shape:
        if sorted(self.order) != list(range(len(value))):
            raise GraphError(f"{self.order} does not order the axes of {text(value)}")
        return tuple(value[axis] for axis in self.order)

    def numpy(self, value):
        return value.transpose(self.order)

    def torch(self, value):
        return value.permute(self.order)

    def onnx(self, onnx, value):
        return onnx.Transpose(value, perm=list(self.order))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.transpose(self.order, shapes[0])

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls((2, 0, 1)), ("batch", 3, "frames")


@dataclass(frozen=True, eq=False)
class Take(Op):
    """The entries at ``indices`` along an axis of fixed size; an index may repeat."""

    linear = True

    indices: tuple[int, ...]
    axis: int = 1

    def infer(self, value: Shape) -> Shape:
        check_axis(self.axis, value)
        axis = self.axis % len(value)
        size = value[axis]
        if not isinstance(size, int):
            raise GraphError(f"axis {self.axis} of {text(value)} varies; take selects along an axis of fixed size")
        if not self.indices or min(self.indices) < 0 or max(self.indices) >= size:
            raise GraphError(f"the indices must lie in 0 ... {size - 1}, and there must be one at least")
        return *value[:axis], len(self.indices), *value[axis + 1 :]

    def numpy(self, value):
        first, count = self.indices[0], len(self.indices)
        if self.indices == tuple(range(first, first + count)):
            return value[(slice(None),) * (self.axis % value.ndim) + (slice(first, first + count),)]
        return value.take(self.indices, self.axis)

    def torch(self, value):
        import torch

        first, count = self.indices[0], len(self.indices)
        if self.indices == tuple(range(first, first + count)):
            return value.narrow(self.axis, first, count)
        return value.index_select(self.axis, torch.tensor(self.indices, device=value.device))

    def onnx(self, onnx, value):
        first, count, axis = self.indices[0], len(self.indices), self.axis % onnx.rank(value)
        if self.indices == tuple(range(first, first + count)):
            return onnx.Slice(value, onnx.const([first]), onnx.const([first + count]), onnx.const([axis]))
        return onnx.Gather(value, onnx.const(self.indices), axis=axis)

    def __str__(self) -> str:
        return f"take({len(self.indices)} indices, axis={self.axis})"

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls((2, 0, 2)), ("batch", 3, "frames")
        yield cls((1, 2), axis=-1), ("batch", "frames", 4)


@dataclass(frozen=True, eq=False)
class Slice(Op):
    """Entries ``start`` to ``stop`` (not included) along an axis; as in Python, a negative ``stop`` counts from the end."""

    linear = True
    moves = True

    start: int = 0
    stop: int | None = None
    axis: int = 1

    def infer(self, value: Shape) -> Shape:
        check_axis(self.axis, value)
        axis = self.axis % len(value)
        size = value[axis]
        if self.start < 0:
            raise GraphError(f"start must be at least 0, not {self.start}")
        if isinstance(size, Dim) and self.stop is not None and self.stop >= 0:
            raise GraphError(f"axis {self.axis} of {text(value)} varies; give a negative stop, or none")
        left = (size if self.stop is None else size + self.stop if self.stop < 0 else self.stop) - self.start
        if isinstance(left, int) and (left < 1 or (isinstance(size, int) and self.start + left > size)):
            raise GraphError(f"{self.start}:{self.stop} leaves nothing of axis {self.axis} of {text(value)}, or is beyond it")
        return *value[:axis], left, *value[axis + 1 :]

    def numpy(self, value):
        return value[(slice(None),) * (self.axis % value.ndim) + (slice(self.start, self.stop),)]

    torch = numpy

    def onnx(self, onnx, value):
        stop = TO_THE_END if self.stop is None else self.stop
        axis = self.axis % onnx.rank(value)
        return onnx.Slice(value, onnx.const([self.start]), onnx.const([stop]), onnx.const([axis]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0)

    def reach(self, *shapes: Shape) -> Reach:
        along_time = is_time(shapes[0][self.axis % len(shapes[0])])
        return Reach(1, self.start, self.start, float(self.start)) if along_time else HERE

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(2, -1), ("batch", "samples")
        yield cls(1), ("batch", "frames", 5)
        yield cls(1, 4, axis=-1), ("batch", "frames", 5)
