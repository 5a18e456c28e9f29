"""From constant-Q bins back to the signal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np

from specgraph.design import multirate
from specgraph.design.constant_q import Kernel
from specgraph.design.dual import dual_kernels
from specgraph.dims import Shape, text
from specgraph.op import Array, GraphError, Value
from specgraph.ops.arithmetic import Add, Subtract
from specgraph.ops.constant_q import ConstantQ, _Kernels
from specgraph.ops.frame_conv import check_positive
from specgraph.reach import WHOLE_CLIP, Reach


@dataclass(frozen=True, eq=False)
class ConstantQSynthesis(_Kernels):
    """(batch, n_bins, frames, 2) -> (batch, (frames - 1) * hop_length): bins times their dual kernels, added up.

    One step of the inverse of ``ConstantQ`` with the same parameters; ``specgraph.design.dual`` has the kernels.
    """

    @cached_property
    def duals(self) -> list[Kernel]:
        """The kernels that bins are multiplied by."""
        return dual_kernels(self.bank, self.lengths, self.hop_length)

    @property
    def half_dual(self) -> int:
        """Samples that the longest of them reaches on either side of a frame's centre."""
        return max(-kernel.first for kernel in self.duals)

    @cached_property
    def plan(self) -> multirate.Plan:
        """Where each bin is computed at a lower rate, within the tolerance."""
        return multirate.plan(self.duals, self.centres, self.sample_rate, self.hop_length, self.tolerance)

    def accuracy(self, lowering: str) -> float | None:
        """Only lower rates are an approximation."""
        return self.tolerance if lowering == "multirate" else None

    def infer(self, bins: Shape) -> Shape:
        if len(bins) != 4 or bins[1] != self.n_bins or bins[3] != 2:
            raise GraphError(f"takes (batch, {self.n_bins}, frames, 2), not {text(bins)}")
        return bins[0], (bins[2] - 1) * self.hop_length

    def numpy(self, bins):
        spectra = self._spectra(self._blocks(bins.shape[2]))
        return self._added(bins[..., 0] + 1j * bins[..., 1], spectra)

    def _blocks(self, frames: int) -> int:
        """Hops that hold what ``frames`` frames reach, so that nothing meets itself at the ends."""
        return frames + 2 * self.half_dual // self.hop_length + 2

    def _spectra(self, blocks: int, power: int = 1) -> Array:
        """(n_bins, blocks * hop_length): spectra of the duals, of the ``power``-th powers of their magnitudes if that is not 1."""
        held = self._held
        if (blocks, power) not in held:
            if len(held) > 2:
                held.clear()
            rows = np.zeros((self.n_bins, blocks * self.hop_length), np.complex128)
            for row, kernel in zip(rows, self.duals, strict=True):
                samples = kernel.samples if power == 1 else np.abs(kernel.samples) ** power
                row[(kernel.first + np.arange(len(samples))) % len(row)] = samples
            held[blocks, power] = np.fft.fft(rows)
        return held[blocks, power]

    @cached_property
    def _held(self) -> dict[tuple[int, int], Array]:
        return {}

    def _added(self, values: Array, spectra: Array) -> Array:
        """The real part of ``values`` (batch, n_bins, frames) times the duals, added where the frames stand.

        A sum of convolutions with frames a hop apart, whose spectrum repeats: it is added up in frequency.
        """
        frames, hop = values.shape[2], self.hop_length
        blocks = spectra.shape[1] // hop
        products = np.einsum("bkf,khf->bhf", np.fft.fft(values, blocks), spectra.reshape(-1, hop, blocks))
        return np.fft.ifft(products.reshape(len(values), -1)).real[:, : hop * (frames - 1)]

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """``tolerance`` of the item's peak, and what errors of bins, which are independent, add up to."""
        own = np.broadcast_to(tolerance * np.abs(result).max(axis=1, keepdims=True, initial=0.0), result.shape)
        if spread[0] is None:
            return own
        squares = self._added((spread[0] ** 2).sum(-1), self._spectra(self._blocks(spread[0].shape[2]), 2))
        return own + np.sqrt(np.maximum(squares, 0.0))

    def reach(self, *shapes: Shape) -> Reach:
        half = self.half_dual
        return Reach(Fraction(1, self.hop_length), -Fraction(half, self.hop_length), Fraction(half, self.hop_length), 0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(8000, 16, 300.0, 30), ("batch", 30, "frames", 2)
        yield cls(8000, 12, 220.0, 40, convention="nnaudio", tolerance=1e-4), ("batch", 40, "frames", 2)
        yield cls(8000, 17, 900.0, 12, gamma=8.0), ("batch", 12, "frames", 2)


@dataclass(frozen=True, eq=False)
class InverseConstantQ(_Kernels):
    """(batch, n_bins, frames, 2) -> (batch, (frames - 1) * hop_length): the signal whose ``ConstantQ`` is nearest.

    ``ConstantQSynthesis``, and ``n_iter - 1`` times more of what the result's own transform still misses (Landweber's
    iteration, preconditioned by the dual kernels).
    """

    n_iter: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(n_iter=self.n_iter)

    @cached_property
    def analysis(self) -> ConstantQ:
        """The transform that is inverted."""
        return ConstantQ(**self.parameters)

    @cached_property
    def synthesis(self) -> ConstantQSynthesis:
        """One step."""
        return ConstantQSynthesis(**self.parameters)

    def accuracy(self, lowering: str) -> float | None:
        """Both directions may be off by their tolerance."""
        return self.tolerance

    def infer(self, bins: Shape) -> Shape:
        return self.synthesis.infer(bins)

    def numpy(self, bins):
        wave = self.synthesis.numpy(bins)
        for _ in range(self.n_iter - 1):
            wave = wave + self.synthesis.numpy(bins - self.analysis.numpy(wave))
        return wave

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """Each step adds what its two transforms are off by, of which later steps leave at most half: four times in all."""
        return 2 * (self.synthesis.rounding(operands, spread, self.synthesis.numpy(operands[0]), 2 * tolerance))

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP  # each iteration reads further

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(8000, 16, 300.0, 30, n_iter=2), ("batch", 30, "frames", 2)


@InverseConstantQ.lowering
def unrolled(op: InverseConstantQ, bins: Value) -> Value:
    """The iterations one after another."""
    wave = op.synthesis(bins)
    for _ in range(op.n_iter - 1):
        wave = Add()(wave, op.synthesis(Subtract()(bins, op.analysis(wave))))
    return wave
