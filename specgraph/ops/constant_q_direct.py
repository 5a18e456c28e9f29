"""Lowerings of the constant-Q transform that apply its kernels at the signal's own rate, in time or in frequency."""

from __future__ import annotations

from functools import partial

import numpy as np

from specgraph.design.constant_q import Kernel, conjugated, extent, in_rows, stacked
from specgraph.op import Constant, Value
from specgraph.ops.concat import Concat
from specgraph.ops.constant_q import ConstantQ
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Transpose
from specgraph.ops.pad import Pad
from specgraph.ops.stft import Stft

DROPPED = 0.02  # of the tolerance: what a coefficient of a kernel's spectrum must be worth to be kept


@ConstantQ.lowering
def direct(op: ConstantQ, signal: Value, *lengths: Value) -> Value:
    """One convolution with kernels all as long as the longest: CQT1992v2. The only lowering whose kernels can be trained."""
    padded = Pad(op.half, mode=op.pad_mode)(signal, *lengths)
    kernels = Constant.lazy("cqt", (2, op.n_bins, 2 * op.half), lambda: stacked(op.bank, op.half), op.trainable)
    return FrameConv(op.hop_length)(padded, kernels)


@ConstantQ.lowering
def grouped(op: ConstantQ, signal: Value, *lengths: Value) -> Value | None:
    """A convolution for each octave, its kernels no longer than its longest: the same numbers, a fraction of the work."""
    groups = octaves(op)
    if len(groups) < 2:
        return None
    padded = Pad(op.half, mode=op.pad_mode)(signal, *lengths)
    parts = []
    for start, stop in groups:
        bank = op.bank[start:stop]
        first, width = extent(bank)
        skipped = op.half + first
        rest = 2 * op.half - skipped - width
        window = Slice(skipped, -rest if rest else None)(padded) if skipped or rest else padded
        rows = Constant.lazy("cqt_kernels", (2 * len(bank), width), partial(interleaved, bank, first, width))
        parts.append(FrameConv(op.hop_length)(window, rows))
    return parts_last(op, parts)


@ConstantQ.lowering
def spectral(op: ConstantQ, signal: Value, *lengths: Value) -> Value:
    """A Fourier transform of frames that hold the longest kernel, times the kernels' spectra, cut to where they matter: CQT1992.

    Brown and Puckette, "An efficient algorithm for the calculation of a constant Q transform", 1992. The frames being real,
    the spectrum's upper half is the conjugate of its lower half, whose share in a bin is kept: exact but for what is cut.
    """
    n_fft = 2 ** int(np.ceil(np.log2(2 * op.half)))
    padded = Pad(n_fft // 2, mode=op.pad_mode)(signal, *lengths)
    spectrum = Stft(n_fft, op.hop_length, window="boxcar")(padded)
    bins = n_fft // 2 + 1
    planes = Transpose((0, 1, 3, 2))(spectrum)  # (batch, bins, part, frames)
    gains = np.array([np.abs(kernel.samples).sum() for kernel in op.bank])
    parts = []
    for start, stop in octaves(op):
        below, above = _products(op.bank[start:stop], n_fft)
        size = np.maximum(np.abs(below), np.abs(above)).max(0) * n_fft
        kept = np.flatnonzero(size > DROPPED * op.tolerance * gains.min())
        low, high = int(kept[0]), int(kept[-1]) + 1
        cut = Slice(low, high)(planes) if (low, high) != (0, bins) else planes
        make = partial(_matrix, below[:, low:high].copy(), above[:, low:high].copy())  # copies, so that the rest is not kept
        matrix = Constant.lazy("cqt_spectra", (2 * (stop - start), 2 * (high - low)), make)
        parts.append(Filterbank()(Reshape((0, 2 * (high - low), -1))(cut), matrix))
    return parts_last(op, parts)


def octaves(op: ConstantQ) -> list[tuple[int, int]]:
    """Bins from and to, an octave each, the lowest perhaps shorter."""
    starts = [max(stop - op.bins_per_octave, 0) for stop in range(op.n_bins, 0, -op.bins_per_octave)]
    stops = list(range(op.n_bins, 0, -op.bins_per_octave))
    return list(zip(starts, stops, strict=True))[::-1]


def interleaved(bank: list[Kernel], first: int, width: int) -> np.ndarray:
    """(2 * bins, width): each kernel's real part, then its negated imaginary part, which conjugates it."""
    return conjugated(in_rows(bank, first, width))


def parts_last(op: ConstantQ, parts: list[Value]) -> Value:
    """(batch, 2 * bins, frames) of neighbouring groups, real and imaginary parts in turn, as (batch, bins, frames, 2)."""
    joined = Concat(1)(*parts) if len(parts) > 1 else parts[0]
    return Transpose((0, 1, 3, 2))(Reshape((0, op.n_bins, 2, -1))(joined))


def _products(bank: list[Kernel], n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """(bins, n_fft // 2 + 1) each: what the spectrum X, and its conjugate, are multiplied by and summed for a bin."""
    spectra = np.fft.fft(in_rows(bank, -(n_fft // 2), n_fft)).conj() / n_fft
    half = n_fft // 2
    mirrored = spectra[:, -np.arange(half + 1) % n_fft]
    mirrored[:, [0, half]] = 0  # DC and the half rate are their own images
    return spectra[:, : half + 1], mirrored


def _matrix(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """(2 * bins, 2 * coefficients): (real, imaginary) of each bin from (real, imaginary) of each coefficient."""
    real = np.stack([(below + above).real, (above - below).imag], -1)
    imaginary = np.stack([(below + above).imag, (below - above).real], -1)
    return np.stack([real, imaginary], 1).reshape(2 * len(below), -1)
