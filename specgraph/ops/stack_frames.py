"""Several frames as one: the low frame rate of speech models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.cmvn import check_features
from specgraph.ops.frame_conv import check_positive, frame_count
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class StackFrames(Op):
    """(batch, bins, frames) -> (batch, size * bins, (frames - size) // step + 1): ``size`` frames one after another as one, every ``step``.

    Bins ``i * bins`` to ``(i + 1) * bins - 1`` of frame t are frame ``t * step + i``. ``step`` is ``size`` if not given. What is left
    over at the end is dropped; ``Pad`` with ``axis=2`` before it keeps it.
    """

    linear = True

    size: int
    step: int | None = None

    def __post_init__(self) -> None:
        check_positive(size=self.size, step=self.hop)

    @property
    def hop(self) -> int:
        """``step`` or what stands for it."""
        return self.size if self.step is None else self.step

    def infer(self, features: Shape) -> Shape:
        check_features(features)
        if not isinstance(features[1], int):
            raise GraphError("the number of bins must be a number")
        return features[0], self.size * features[1], frame_count(features[2], self.size, self.hop)

    def numpy(self, features):
        windows = np.lib.stride_tricks.sliding_window_view(features, self.size, axis=2)[:, :, :: self.hop]
        return windows.transpose(0, 3, 1, 2).reshape(len(features), -1, windows.shape[2])

    def torch(self, features):
        windows = features.unfold(2, self.size, self.hop)  # (batch, bins, frames, size)
        return windows.permute(0, 3, 1, 2).flatten(1, 2)

    def onnx(self, onnx, features):
        rows = onnx.Transpose(features, perm=[0, 2, 1])  # (batch, frames, bins): a frame is copied as one
        first, axis = onnx.const([0]), onnx.const([1])
        if self.hop == self.size:
            frames, size = onnx.Shape(features, start=2, end=3), onnx.const([self.size])
            whole = onnx.Slice(rows, first, onnx.Mul(onnx.Div(frames, size), size), axis)
            stacked = onnx.Reshape(whole, onnx.const([0, -1, self.size * onnx.shape(features)[1]]))
        else:
            ends = [i + 1 - self.size or np.iinfo(np.int64).max for i in range(self.size)]
            parts = [onnx.Slice(rows, onnx.const([i]), onnx.const([end]), axis, onnx.const([self.hop])) for i, end in enumerate(ends)]
            stacked = onnx.Concat(*parts, axis=2) if len(parts) > 1 else parts[0]
        return onnx.Transpose(stacked, perm=[0, 2, 1])

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, out, out, out, operations=0) + Cost(launches=self.size + 3)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop, 0, self.size - 1, (self.size - 1) / 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(2), ("batch", 3, "frames")
        yield cls(4, 3), ("batch", 3, "frames")
        yield cls(3, 1), ("batch", 3, "frames")
        yield cls(1), ("batch", 3, "frames")
