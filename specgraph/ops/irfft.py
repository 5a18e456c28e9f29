"""Real rows from half their DFT by torch's own FFT; onnxruntime has none worth using (see docs/design.md)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.frame_conv import check_positive


@dataclass(frozen=True, eq=False)
class Irfft(Op):
    """(..., n_fft // 2 + 1, 2) -> (..., n_fft); the imaginary parts of DC and Nyquist do not count."""

    linear = True
    requires = "FFT"

    n_fft: int

    def __post_init__(self) -> None:
        check_positive(n_fft=self.n_fft)

    def infer(self, rows: Shape) -> Shape:
        if len(rows) < 2 or rows[-2:] != (self.n_fft // 2 + 1, 2):
            raise GraphError(f"takes (..., {self.n_fft // 2 + 1}, 2), not {text(rows)}")
        return *rows[:-2], self.n_fft

    def numpy(self, rows):
        return np.fft.irfft(rows[..., 0] + 1j * rows[..., 1], self.n_fft)

    def torch(self, rows):
        import torch

        return torch.fft.irfft(torch.complex(rows[..., 0], rows[..., 1]), self.n_fft)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes) + Cost(vector=0.6 * math.prod(out) * math.log2(max(self.n_fft, 2)))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for n_fft in (16, 15, 2, 1):
            yield cls(n_fft), ("batch", "frames", n_fft // 2 + 1, 2)
