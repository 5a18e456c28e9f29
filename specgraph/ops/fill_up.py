"""A signal filled up with zeros to a length that follows from its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, Size, Step
from specgraph.op import GraphError, Op, Value
from specgraph.ops.frame_conv import check_signal
from specgraph.ops.lengths import Mask
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class FillUp(Op):
    """(batch, samples) -> (batch, filled): zeros behind a clip.

    ``steps`` are those of a ``Dim``: ``n -> (n * multiply + add) // divide``, one after another, and must not make a length shorter.
    ``((1, 127, 128), (128, 0, 1))`` is the next multiple of 128.
    """

    linear = True

    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        for step in self.steps:
            if len(step) != 3 or not all(isinstance(number, int) for number in step) or step[0] < 1 or step[2] < 1:
                raise GraphError(f"steps are (multiply, add, divide), whole numbers, the first and the last above 0, not {step!r}")
        period = max((step[2] for step in self.steps), default=1)
        if shorter := next((n for n in range(1, 2 * period + 2) if self._lacking(n) < 0), None):
            raise GraphError(f"the steps make {self.filled(shorter)} of {shorter} samples; they must not make fewer")

    def filled(self, samples: Size) -> Size:
        """How many samples there are afterwards."""
        for multiply, add, divide in self.steps:
            samples = (samples * multiply + add) // divide
        return samples

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], self.filled(signal[1])

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        return self(Mask(1)(signal, lengths(signal)))

    def _lacking(self, samples: int) -> int:
        filled = self.filled(samples)
        assert not isinstance(filled, Dim)
        return filled - samples

    def numpy(self, signal):
        return np.pad(signal, ((0, 0), (0, self._lacking(signal.shape[1]))))

    def torch(self, signal):
        from torch.nn import functional

        return functional.pad(signal, (0, self._lacking(signal.shape[1])))

    def onnx(self, onnx, signal):
        samples = size = onnx.Shape(signal, start=1, end=2)
        for multiply, add, divide in self.steps:
            size = onnx.Div(onnx.Add(onnx.Mul(size, onnx.const([multiply])), onnx.const([add])), onnx.const([divide]))
        return onnx.Pad(signal, onnx.Concat(onnx.const([0, 0, 0]), onnx.Sub(size, samples), axis=0))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP  # a position reads itself, but a piece of a clip has no end to fill up after

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(((1, 127, 128), (128, 0, 1))), ("batch", "samples")
        yield cls(((1, 5, 1),)), ("batch", "samples")
        yield cls(((321, 160, 320), (320, 161, 321))), ("batch", "samples")
