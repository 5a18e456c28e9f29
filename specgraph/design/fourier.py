"""The Fourier basis, and how a DFT of composite length splits into small ones."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ZERO = 1e-15  # far below any sine but that of a whole number of half turns


def twiddle(product: npt.ArrayLike, n: int) -> npt.NDArray[np.complex128]:
    """``exp(-2j pi product / n)`` for whole numbers, reduced modulo n first, so that no angle is large.

    What is zero is exactly zero: the parts of DC and Nyquist that vanish then do so without rounding.
    """
    turns = np.asarray(product, np.int64) % n
    if turns.size > n:  # there are only n of them
        return np.take(twiddle(np.arange(n), n), turns)
    angle = -2 * np.pi / n * turns
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.where(np.abs(cosine) < ZERO, 0.0, cosine) + 1j * np.where(np.abs(sine) < ZERO, 0.0, sine)


def windowed_basis(window: npt.NDArray[np.float64], columns: slice = slice(None)) -> npt.NDArray[np.float64]:
    """(2, bins, n_fft): real and imaginary parts of ``window * exp(+2j pi k n / n_fft)`` for the bins of a real DFT.

    Of these, the ``columns`` asked for.
    """
    n_fft = len(window)
    kernels = window[columns] * twiddle(np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)[columns]), n_fft)
    # The sines of DC and Nyquist are zero; rounding must not leave anything of them.
    imaginary = -kernels.imag
    imaginary[0] = 0.0
    if n_fft % 2 == 0:
        imaginary[-1] = 0.0
    return np.stack([kernels.real, imaginary])


def inverse_basis(window: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(2 * bins, n_fft): a row of spectrum (bins, (re, im)) times this is the windowed inverse DFT."""
    n_fft = len(window)
    real, imaginary = windowed_basis(window) / n_fft
    basis = np.stack([real, -imaginary], 1)  # (bins, part, n_fft)
    basis[1 : (n_fft + 1) // 2] *= 2.0  # each stands for its mirror image as well
    return basis.reshape(-1, n_fft)


def bin_frequencies(sample_rate: float, n_fft: int) -> npt.NDArray[np.float64]:
    """(n_fft // 2 + 1,): the centres of the DFT's bins in hertz."""
    return np.arange(n_fft // 2 + 1, dtype=np.float64) * (sample_rate / n_fft)


def scaled_frequencies(
    fmin: float, fmax: float, count: int, logarithmic: bool
) -> npt.NDArray[np.float64]:
    """(count,): frequencies from ``fmin`` on, equally far apart or in equal ratios, ``fmax`` being the next one after them."""
    share = np.arange(count) / count
    return fmin * (fmax / fmin) ** share if logarithmic else fmin + (fmax - fmin) * share


def tuned_basis(turns: npt.NDArray[np.float64], window: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(2, bins, n_fft): parts of ``window * exp(+2j pi f n)`` for any frequencies, in turns a sample."""
    angle = 2 * np.pi * np.outer(turns, np.arange(len(window)))
    return np.stack([window * np.cos(angle), window * np.sin(angle)])


def real_pairs(matrix: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """Complex (..., out, in) as real (..., out, (re, im), in, (re, im)): its product with split complex numbers."""
    rows = np.stack([np.stack([matrix.real, -matrix.imag], -1), np.stack([matrix.imag, matrix.real], -1)], -3)
    return rows


def factor_pairs(n: int) -> list[tuple[int, int]]:
    """All (a, b) with a * b = n and both above 1, a ascending."""
    return [(a, n // a) for a in range(2, n) if n % a == 0]


def common_block(hop_length: int, n_fft: int) -> int:
    """The largest number of samples that both the hop and the frame are made of."""
    return math.gcd(hop_length, n_fft)
