"""Constant-Q and variable-Q kernels: windowed complex tones whose length falls as their frequency rises.

Bins are ``fmin * 2 ** (k / bins_per_octave)`` (Brown, "Calculation of a constant Q spectral transform", 1991), widened by
``gamma`` hertz in the variable-Q transform (Schoerkhuber and others, 2014). Two conventions are in use:

- "librosa" (0.10 and later): relative bandwidth ``alpha = (r**2 - 1) / (r**2 + 1)`` for a ratio ``r`` of neighbours; lengths
  are not rounded before the scale is taken of them.
- "nnaudio" (CQT1992v2): ``alpha = r - 1``; lengths are rounded up.

In both a kernel of length n is sampled at ``floor(-n / 2) ...``, its phase is 0 at the frame's centre, and its window is
periodic.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from specgraph.design.windows import WindowSpec, analysis_window

Convention = Literal["librosa", "nnaudio"]
Normalization = Literal["librosa", "convolutional", "wrap"]
Complex = npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Kernel:
    """A kernel: ``samples[i]`` stands ``first + i`` samples from the frame's centre; a feature is its product with the
    conjugate."""

    first: int
    samples: Complex

    @property
    def last(self) -> int:
        """The place of the last sample."""
        return self.first + len(self.samples) - 1


def bin_centres(fmin: float, n_bins: int, bins_per_octave: int, tuning: float = 0.0) -> npt.NDArray[np.float64]:
    """(n_bins,): centre frequencies in hertz; ``tuning`` shifts them by a fraction of a bin."""
    return fmin * 2.0 ** ((np.arange(n_bins) + tuning) / bins_per_octave)


def relative_bandwidth(bins_per_octave: int, convention: Convention) -> float:
    """``alpha``: a bin's bandwidth over its frequency; the quality factor is ``filter_scale / alpha``."""
    ratio = 2.0 ** (1 / bins_per_octave)
    return ratio - 1 if convention == "nnaudio" else (ratio**2 - 1) / (ratio**2 + 1)


def equivalent_gamma(bins_per_octave: int, convention: Convention) -> float:
    """The ``gamma`` at which bandwidths follow the ear's critical bands, ``alpha * 24.7 / 0.108`` (Glasberg and Moore, 1990)."""
    return relative_bandwidth(bins_per_octave, convention) * 24.7 / 0.108


def kernel_lengths(
    sample_rate: float,
    centres: npt.NDArray[np.float64],
    alpha: float,
    filter_scale: float = 1.0,
    gamma: float = 0.0,
    convention: Convention = "librosa",
) -> npt.NDArray[np.float64]:
    """(n_bins,): lengths in samples, ``filter_scale / alpha * sample_rate / (f + gamma / alpha)``."""
    lengths = filter_scale / alpha * sample_rate / (centres + gamma / alpha)
    return np.ceil(lengths) if convention == "nnaudio" else lengths


def kernels(
    sample_rate: float,
    centres: npt.NDArray[np.float64],
    lengths: npt.NDArray[np.float64],
    window: WindowSpec = "hann",
    norm: float | None = 1.0,
    normalization: Normalization = "librosa",
    convention: Convention = "librosa",
) -> list[Kernel]:
    """The kernels, scaled.

    Args:
        sample_rate: in hertz.
        centres: (n_bins,) in hertz.
        lengths: (n_bins,) in samples, of ``kernel_lengths``.
        window: as ``scipy.signal.get_window`` takes it; periodic.
        norm: each kernel's norm of this order is 1 before scaling (1: sum of magnitudes); None leaves the
            window's samples as they are, in convention "nnaudio" divided by their number.
        normalization: "librosa" scales by the square root of the length, "convolutional" by 1, and "wrap" by 2, so that a
            sinusoid of amplitude 1 gives 1.
        convention: see the module.
    """
    made = []
    for centre, length in zip(centres, lengths, strict=True):
        first, stop = math.floor(-length / 2), length // 2
        count = math.ceil(stop - first)
        turns = (first + np.arange(count)) * (centre / sample_rate)
        tone = np.exp(2j * np.pi * (turns - np.round(turns)))  # whole turns off, so that no angle is large
        samples = analysis_window(window, count, count) * tone
        if norm is not None:
            samples = samples / np.linalg.norm(samples, norm, axis=0)  # along an axis numpy does not ask BLAS
        elif convention == "nnaudio":
            samples = samples / count
        scale = {"librosa": math.sqrt(length), "convolutional": 1.0, "wrap": 2.0}[normalization]
        made.append(Kernel(first, scale * samples))
    return made


def half_width(bank: list[Kernel]) -> int:
    """Samples on either side of a frame's centre that hold every kernel."""
    return max(max(-kernel.first, kernel.last + 1) for kernel in bank)


def extent(bank: Sequence[Kernel]) -> tuple[int, int]:
    """The first sample of a group of kernels, counted from a frame's centre, and how many hold all of them."""
    first = min(kernel.first for kernel in bank)
    return first, max(kernel.last for kernel in bank) - first + 1


def in_rows(bank: Sequence[Kernel], first: int, width: int) -> Complex:
    """(bins, width): kernels among zeros; column 0 stands ``first`` samples from a frame's centre."""
    rows = np.zeros((len(bank), width), np.complex128)
    for row, kernel in zip(rows, bank, strict=True):
        row[kernel.first - first : kernel.last + 1 - first] = kernel.samples
    return rows


def conjugated(rows: Complex) -> npt.NDArray[np.float64]:
    """Complex (bins, width) as real (2 * bins, width): each real part, then the negated imaginary part."""
    return np.stack([rows.real, -rows.imag], 1).reshape(-1, rows.shape[1])


def stacked(bank: list[Kernel], half: int) -> npt.NDArray[np.float64]:
    """(2, bins, 2 * half): real and imaginary parts of kernels among zeros, centred at sample ``half``."""
    rows = in_rows(bank, -half, 2 * half)
    return np.stack([rows.real, rows.imag])
