"""Where a signal changes its sign."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.compare import FLOAT32
from specgraph.ops.frame_conv import check_signal
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class ZeroCrossings(Op):
    """(batch, samples) -> (batch, samples - 1): 1 where sample n + 1 has another sign than sample n, else 0.

    A sample within ``threshold`` of zero is zero. With ``zero_pos`` zero counts as positive, else as a sign of its own, so
    that going to zero and leaving it are two crossings. Equal to ``librosa.zero_crossings``. The gradient is zero.
    """

    threshold: float = 1e-10
    zero_pos: bool = True

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise GraphError(f"threshold must be at least 0, not {self.threshold!r}")

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        samples = signal[1] - 1
        if isinstance(samples, int) and samples < 1:
            raise GraphError("a crossing is between two samples, and the signal has one")
        return signal[0], samples

    def numpy(self, signal):
        threshold = np.float64(np.float32(self.threshold))
        negative, positive = signal < -threshold, signal > threshold
        crossed = negative[:, 1:] != negative[:, :-1]
        if not self.zero_pos:
            crossed |= positive[:, 1:] != positive[:, :-1]
        return crossed.astype(np.float64)

    def torch(self, signal):
        import torch

        threshold = float(np.float32(self.threshold))
        sign = torch.where(signal.abs() <= threshold, 0.0, signal).sign()  # a sign has a gradient, of zero
        if self.zero_pos:
            sign = sign.clamp_max(0)
        return (sign[:, 1:] - sign[:, :-1]).abs().clamp_max(1)

    def onnx(self, onnx, signal):
        threshold = np.float32(self.threshold)
        sign = onnx.Cast(onnx.Less(signal, onnx.const(-threshold)), to=FLOAT32)
        if not self.zero_pos:
            sign = onnx.Sub(sign, onnx.Cast(onnx.Greater(signal, onnx.const(threshold)), to=FLOAT32))
        one, axis, end = onnx.const([1]), onnx.const([1]), onnx.const([np.iinfo(np.int64).max])
        after, before = onnx.Slice(sign, one, end, axis), onnx.Slice(sign, onnx.const([0]), onnx.const([-1]), axis)
        change = onnx.Abs(onnx.Sub(after, before))
        return change if self.zero_pos else onnx.Min(change, onnx.const(np.float32(1)))

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(1, 0, 1, 0.5)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "samples")
        yield cls(0.5), ("batch", "samples")
        yield cls(0.5, zero_pos=False), ("batch", "samples")
