"""Kernels that estimate derivatives of features over frames."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def polynomial_slope(width: int, order: int) -> npt.NDArray[np.float64]:
    """(width,): the ``order``-th derivative of the polynomial of that degree that fits ``width`` frames best.

    Savitzky and Golay's filter of ``scipy.signal.savgol_filter(deriv=order, polyorder=order)``, to be correlated with.
    The derivative of that order is the same everywhere in the window.
    """
    places = np.arange(width) - width // 2
    powers = places[:, None] ** np.arange(order + 1.0)
    return math.factorial(order) * np.linalg.pinv(powers)[order]


def regression(width: int, order: int) -> npt.NDArray[np.float64]:
    """(order * (width - 1) + 1,): the slope of the best line through ``width`` frames, taken ``order`` times (Kaldi, HTK)."""
    line = polynomial_slope(width, 1)
    kernel = np.ones(1)
    for _ in range(order):
        kernel = np.convolve(kernel, line)
    return kernel
