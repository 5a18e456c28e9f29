"""DFT of real rows by torch's own FFT; onnxruntime has none worth using (see docs/design.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class Rfft(Op):
    """(..., width) -> (..., length // 2 + 1, 2), rows padded with zeros to ``length``, which is ``width`` if not given."""

    linear = True
    requires = "FFT"

    length: int | None = None

    def infer(self, rows: Shape) -> Shape:
        width = rows[-1]
        if not isinstance(width, int):
            raise GraphError(f"the rows must have a fixed length, not {width}")
        if self.length is not None and self.length < width:
            raise GraphError(f"rows of {width} are longer than {self.length}")
        return *rows[:-1], (self.length or width) // 2 + 1, 2

    def numpy(self, rows):
        spectrum = np.fft.rfft(rows, self.length)
        return np.stack([spectrum.real, spectrum.imag], -1)

    def torch(self, rows):
        import torch

        return torch.view_as_real(torch.fft.rfft(rows, self.length))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        rows = (*shapes[0][:-1], self.length or shapes[0][-1])
        return Cost.elementwise(out, rows) + Cost(vector=0.6 * math.prod(rows) * math.log2(max(rows[-1], 2)))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "frames", 16)
        yield cls(), ("batch", "frames", 15)
        yield cls(24), ("batch", "frames", 15)
