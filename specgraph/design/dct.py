"""The discrete cosine transform as a matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def dct_matrix(outputs: int, inputs: int) -> npt.NDArray[np.float64]:
    """(outputs, inputs): the first rows of the orthonormal DCT-II, as ``scipy.fft.dct(..., norm="ortho")``."""
    k, n = np.arange(outputs)[:, None], np.arange(inputs)
    matrix = np.sqrt(2.0 / inputs) * np.cos(np.pi / inputs * (n + 0.5) * k)
    matrix[0] /= np.sqrt(2.0)
    return matrix


def lifter(n_mfcc: int, strength: float) -> npt.NDArray[np.float64]:
    """(n_mfcc,): the sinusoidal lifter ``1 + strength / 2 * sin(pi (n + 1) / strength)`` of librosa and HTK; ones for 0."""
    if strength == 0:
        return np.ones(n_mfcc)
    return 1.0 + strength / 2.0 * np.sin(np.pi * np.arange(1, n_mfcc + 1) / strength)
