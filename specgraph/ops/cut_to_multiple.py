"""A signal, or features, cut to a whole number of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, Size, text
from specgraph.op import GraphError, Op, Value
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import check_axis, is_time
from specgraph.reach import HERE, WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class CutToMultiple(Op):
    """(..., n, ...) -> (..., (n - rest) // multiple * multiple + rest, ...): the beginning, a multiple of positions and ``rest`` more.

    Behind ``Pad`` with ``multiple - 1`` positions more at the end it pads to a multiple instead, in any of its modes: a clip that is mirrored
    up to a multiple of 128 samples is ``pad(x, 0, 127)``, then ``cut_to_multiple(128)``. With ``rest`` the padding that follows stays.
    """

    linear = True

    multiple: int
    rest: int = 0
    axis: int = 1

    def __post_init__(self) -> None:
        check_positive(multiple=self.multiple)
        if isinstance(self.rest, bool) or not isinstance(self.rest, int) or self.rest < 0:
            raise GraphError(f"rest must be a whole number of at least 0, not {self.rest!r}")

    def _kept(self, size: Size) -> Size:
        return (size - self.rest) // self.multiple * self.multiple + self.rest

    def infer(self, value: Shape) -> Shape:
        check_axis(self.axis, value)
        axis = self.axis % len(value)
        kept = self._kept(value[axis])
        if not isinstance(kept, Dim) and kept < max(1, self.rest):
            raise GraphError(f"axis {self.axis} of {text(value)} has no {self.multiple} positions and {self.rest} more")
        return *value[:axis], kept, *value[axis + 1 :]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        return self(*operands)  # a clip's own positions are its first ones, however many of another clip follow

    def numpy(self, value):
        axis = self.axis % value.ndim
        return value[(slice(None),) * axis + (slice(0, self._kept(value.shape[axis])),)]

    torch = numpy

    def onnx(self, onnx, value):
        axis = self.axis % onnx.rank(value)
        multiple, rest = onnx.const([self.multiple]), onnx.const([self.rest])
        steps = onnx.Div(onnx.Sub(onnx.Shape(value, start=axis, end=axis + 1), rest), multiple)
        return onnx.Slice(value, onnx.const([0]), onnx.Add(onnx.Mul(steps, multiple), rest), onnx.const([axis]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP if is_time(shapes[0][self.axis % len(shapes[0])]) else HERE  # whether the last are there, the whole clip decides

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(16), ("batch", "samples")
        yield cls(32, 20), ("batch", "samples")
        yield cls(2, axis=2), ("batch", 3, "frames")
        yield cls(2, 1, axis=-1), ("batch", "frames", 6)
