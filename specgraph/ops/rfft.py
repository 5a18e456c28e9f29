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
    """(..., width) -> (..., width // 2 + 1, 2)."""

    linear = True
    requires = "FFT"

    def infer(self, rows: Shape) -> Shape:
        width = rows[-1]
        if not isinstance(width, int):
            raise GraphError(f"the rows must have a fixed length, not {width}")
        return *rows[:-1], width // 2 + 1, 2

    def numpy(self, rows):
        spectrum = np.fft.rfft(rows)
        return np.stack([spectrum.real, spectrum.imag], -1)

    def torch(self, rows):
        import torch

        return torch.view_as_real(torch.fft.rfft(rows))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        rows = shapes[0]
        return Cost.elementwise(out, rows) + Cost(vector=0.6 * math.prod(rows) * math.log2(max(rows[-1], 2)))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "frames", 16)
        yield cls(), ("batch", "frames", 15)
