"""Kernels that estimate derivatives of features over frames."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt


def polynomial_slope(width: int, order: int) -> npt.NDArray[np.float64]:
    """(width,): the ``order``-th derivative of the polynomial of that degree that fits ``width`` frames best.

    Savitzky and Golay's filter of ``scipy.signal.savgol_filter(deriv=order, polyorder=order)``, to be correlated with.
    The derivative of that order is the same everywhere in the window.
    """
    places = [place - width // 2 for place in range(width)]
    moments = [sum(place**power for place in places) for power in range(2 * order + 1)]
    # Normal equations for the row of the highest power, in fractions: what LAPACK gives differs between processors.
    rows = [[Fraction(moments[i + j]) for j in range(order + 1)] + [Fraction(i == order)] for i in range(order + 1)]
    for pivot in range(order + 1):
        rows[pivot] = [entry / rows[pivot][pivot] for entry in rows[pivot]]
        for i in range(order + 1):
            if i != pivot:
                factor = rows[i][pivot]
                rows[i] = [a - factor * b for a, b in zip(rows[i], rows[pivot], strict=True)]
    weights = [row[-1] for row in rows]
    slope = [sum(weight * place**power for power, weight in enumerate(weights)) for place in places]
    return np.array([float(math.factorial(order) * value) for value in slope])


def regression(width: int, order: int) -> npt.NDArray[np.float64]:
    """(order * (width - 1) + 1,): the slope of the best line through ``width`` frames, taken ``order`` times (Kaldi, HTK)."""
    line = polynomial_slope(width, 1)
    kernel = np.ones(1)
    for _ in range(order):
        longer = np.zeros(len(kernel) + width - 1)
        for place, weight in enumerate(line):
            longer[place : place + len(kernel)] += weight * kernel
        kernel = longer
    return kernel
