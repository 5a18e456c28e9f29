"""Grouped one-dimensional convolution over channels, as a correlation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive, frame_count
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class Conv(Op):
    """(batch, channels, length), (outputs, channels / groups, width) -> (batch, outputs, frames)."""

    linear = True
    requires = "cuDNN"

    stride: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        check_positive(stride=self.stride, groups=self.groups)

    def infer(self, signal: Shape, kernels: Shape) -> Shape:
        if len(signal) != 3 or len(kernels) != 3:
            raise GraphError(f"takes (batch, channels, length) and (outputs, channels, width), not {text(signal)} and {text(kernels)}")
        outputs, channels, width = kernels
        assert isinstance(outputs, int)
        assert isinstance(channels, int)
        assert isinstance(width, int)
        if signal[1] != channels * self.groups or outputs % self.groups:
            raise GraphError(f"{signal[1]} channels and {outputs} outputs do not divide into {self.groups} groups of {channels}")
        return signal[0], outputs, frame_count(signal[2], width, self.stride)

    def numpy(self, signal, kernels):
        frames = np.lib.stride_tricks.sliding_window_view(signal, kernels.shape[-1], axis=-1)[:, :, :: self.stride]
        batch, channels, count, width = frames.shape
        frames = frames.reshape(batch, self.groups, channels // self.groups, count, width)
        grouped = kernels.reshape(self.groups, -1, *kernels.shape[1:])
        return np.einsum("bgctw,gocw->bgot", frames, grouped, optimize=True).reshape(batch, -1, count)

    def torch(self, signal, kernels):
        from torch.nn import functional

        return functional.conv1d(signal, kernels, stride=self.stride, groups=self.groups)

    def onnx(self, onnx, signal, kernels):
        return onnx.Conv(signal, kernels, strides=[self.stride], group=self.groups)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        _, channels, width = shapes[1]
        whole = width == 1 and self.stride == 1  # a matrix product of what is there
        frames = Cost() if whole else Cost.windows(out[0] * shapes[0][1] * width * out[2], self.stride)
        return Cost.contraction(channels * width, out, *shapes) + frames + Cost(held=4.0 * float(np.prod(shapes[1])))

    def reach(self, *shapes: Shape) -> Reach:
        width = shapes[1][-1]
        assert isinstance(width, int)
        return Reach(self.stride, 0, width - 1, width // 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        yield cls(stride=2), ("batch", 6, "frames"), rng.standard_normal((5, 6, 3))
        yield cls(stride=1, groups=3), ("batch", 6, "frames"), rng.standard_normal((9, 2, 4))
