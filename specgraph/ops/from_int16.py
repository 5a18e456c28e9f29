"""16-bit samples: the input that holds them, and the floating-point numbers that they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.dims import Shape
from specgraph.op import Input, Op
from specgraph.ops.compare import FLOAT32


@dataclass(frozen=True, eq=False)
class Int16Input(Input):
    """A graph input of 16-bit PCM: whole numbers from -32768 to 32767."""

    makes = "int16"


@dataclass(frozen=True, eq=False)
class FromInt16(Op):
    """(...) 16-bit whole numbers -> (...): the same numbers, which floating point holds exactly. Nothing is scaled."""

    reads = "int16"

    def infer(self, samples: Shape) -> Shape:
        return samples

    def numpy(self, samples):
        return np.asarray(samples, np.float64)

    def torch(self, samples):
        return samples.float()

    def onnx(self, onnx, samples):
        return onnx.Cast(samples, to=FLOAT32)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "samples")
        yield cls(), ("batch", 2, "samples")
