"""Features scaled and shifted by fixed numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class Affine(Op):
    """(...) -> (...): ``x * scale + offset``."""

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name in ("scale", "offset"):
            if not np.isfinite(getattr(self, name)):
                raise GraphError(f"{name} must be a finite number, not {getattr(self, name)!r}")

    def infer(self, features: Shape) -> Shape:
        return features

    def numpy(self, features):
        return features * self.scale + self.offset

    def torch(self, features):
        scaled = features if self.scale == 1 else features * self.scale
        return scaled if self.offset == 0 else scaled + self.offset

    def onnx(self, onnx, features):
        scaled = features if self.scale == 1 else onnx.Mul(features, onnx.const(np.float32(self.scale)))
        return scaled if self.offset == 0 else onnx.Add(scaled, onnx.const(np.float32(self.offset)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=2) + Cost(launches=1)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(-0.25, 1.5), ("batch", 5, "frames")
        yield cls(offset=1e-9), ("batch", 5, "frames")
        yield cls(32768.0), ("batch", "samples")
