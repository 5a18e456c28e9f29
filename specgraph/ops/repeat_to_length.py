"""Clips of one length: cut, or repeated until they are as long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import Op
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.ops.frame_numbers import on_device
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class RepeatToLength(Op):
    """(batch, samples) -> (batch, size): the first ``size`` samples, or the clip again and again, as CLAP has it.

    With ``whole`` only whole copies are made, and zeros follow the last; else the last one is cut.
    """

    linear = True

    size: int
    whole: bool = False

    def __post_init__(self) -> None:
        check_positive(size=self.size)

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        return signal[0], self.size

    def _kept(self, place, within, samples):
        """Where a copy is whole, or the first, which stays even of a clip that is longer than ``size``."""
        return (place == within) | (place - within + samples <= self.size)

    def numpy(self, signal):
        place = np.arange(self.size)
        within = place % signal.shape[1]
        repeated = signal[:, within]
        return repeated * self._kept(place, within, signal.shape[1]) if self.whole else repeated

    def torch(self, signal):
        import torch

        place = torch.arange(self.size, device=signal.device)
        within = place % signal.shape[1]
        repeated = signal[:, within]
        return repeated * self._kept(place, within, signal.shape[1]) if self.whole else repeated

    def onnx(self, onnx, signal):
        count = onnx.Squeeze(onnx.Shape(signal, start=1, end=2), onnx.const([0]))
        samples, place = on_device(onnx, count), onnx.const(np.arange(self.size))
        within = onnx.Mod(place, samples)
        repeated = onnx.Gather(signal, within, axis=1)
        if not self.whole:
            return repeated
        start = onnx.Sub(place, within)
        whole = onnx.LessOrEqual(onnx.Add(start, samples), onnx.const(np.int64(self.size)))
        kept = onnx.Or(onnx.Equal(place, within), whole)
        return onnx.Where(kept, repeated, onnx.const(np.float32(0)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=1) + Cost(strided=float(np.prod(out)), launches=8)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP  # a piece of a clip does not say where the clip begins again

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for whole in (False, True):
            yield cls(250, whole), ("batch", "samples")
            yield cls(1000, whole), ("batch", "samples")
