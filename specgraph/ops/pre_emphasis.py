"""Pre-emphasis: a signal less a share of the sample before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Array, GraphError, Op
from specgraph.ops.frame_conv import check_signal
from specgraph.ops.layout import TO_THE_END
from specgraph.reach import Reach

First = Literal["keep", "repeat", "drop"]


@dataclass(frozen=True, eq=False)
class PreEmphasis(Op):
    """(batch, samples) -> the same: ``y[t] = x[t] - coefficient * x[t - 1]``.

    ``first`` is what becomes of the first sample, which has none before it: ``keep`` leaves it as it is (NeMo), ``repeat`` takes
    it for the one before, ``(1 - coefficient) * x[0]`` (Kaldi), and ``drop`` leaves it out: one sample fewer (PaSST).

    float32 computes ``(x[t] - x[t - 1]) + (1 - coefficient) * x[t - 1]``: the difference of neighbours is nearly exact, so that
    a slow drift under a quiet signal costs no digits of it.
    """

    linear = True

    coefficient: float = 0.97
    first: First = "keep"

    def __post_init__(self) -> None:
        if not 0 < self.coefficient <= 1:
            raise GraphError(f"coefficient must be above 0 and at most 1, not {self.coefficient!r}")
        if self.first not in get_args(First):
            raise GraphError(f"first must be one of {', '.join(get_args(First))}, not {self.first!r}")

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], signal[1] - 1 if self.first == "drop" else signal[1]

    @property
    def _kept(self) -> float:
        """What the first sample is multiplied by."""
        return 1.0 if self.first == "keep" else 1 - self.coefficient

    def numpy(self, signal):
        rest = signal[:, 1:] - self.coefficient * signal[:, :-1]
        return rest if self.first == "drop" else np.concatenate([self._kept * signal[:, :1], rest], 1)

    def carry(self, operands: list[Array], spread: list[Array | None], result: Array) -> Array | None:
        """The errors of two neighbours add up, whatever their signs."""
        off = spread[0]
        if off is None:
            return None
        rest = off[:, 1:] + self.coefficient * off[:, :-1]
        return rest if self.first == "drop" else np.concatenate([self._kept * off[:, :1], rest], 1)

    def torch(self, signal):
        import torch

        rest = (signal[:, 1:] - signal[:, :-1]) + (1 - self.coefficient) * signal[:, :-1]
        return rest if self.first == "drop" else torch.cat([self._kept * signal[:, :1], rest], 1)

    def onnx(self, onnx, signal):
        axis, start, end = onnx.const([1]), onnx.const([0]), onnx.const([TO_THE_END])
        if self.first == "keep":
            later, earlier = signal, onnx.Pad(signal, onnx.const([0, 1, 0, -1]))  # as if a zero had been before: one copy
        else:
            earlier = onnx.Slice(signal, start, onnx.const([-1]), axis)
            if self.first == "drop":
                later = onnx.Slice(signal, onnx.const([1]), end, axis)
            else:
                later, earlier = signal, onnx.Concat(onnx.Slice(signal, start, onnx.const([1]), axis), earlier, axis=1)
        difference = onnx.Sub(later, earlier)
        if self.coefficient == 1:
            return difference
        return onnx.Add(difference, onnx.Mul(earlier, onnx.const(np.float32(1 - self.coefficient))))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        copies = 1 if self.first == "keep" else 2
        return Cost.elementwise(*(out,) * (3 + copies), operations=3) + Cost(launches=3 + copies)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(1, 0, 1, 1.0) if self.first == "drop" else Reach(1, -1, 0, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for first in get_args(First):
            yield cls(first=first), ("batch", "samples")
        yield cls(1.0), ("batch", "samples")
