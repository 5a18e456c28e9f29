"""The windowed sinc that resamples by a rational ratio."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Method = Literal["sinc_interp_hann", "sinc_interp_kaiser"]
KAISER_BETA = 14.769656459379492  # torchaudio's, after resampy's best filter


def half_width(orig: int, new: int, lowpass_filter_width: int, rolloff: float) -> float:
    """Input samples from the filter's middle to where its window ends."""
    return lowpass_filter_width * orig / (min(orig, new) * rolloff)


def resampling_taps(
    orig: int,
    new: int,
    lowpass_filter_width: int = 6,
    rolloff: float = 0.99,
    method: Method = "sinc_interp_hann",
    beta: float | None = None,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """(new,) first input samples and (new, taps) weights: output ``new * b + p`` is ``sum_j w[p, j] x[orig * b + s[p] + j]``.

    ``orig`` and ``new`` have no common factor. The filter is ``sinc(t) window(t) base / orig`` at
    ``t = (i / orig - p / new) base`` with ``base = min(orig, new) rolloff``, and ends where ``abs(t)`` reaches
    ``lowpass_filter_width`` (J. O. Smith, Digital Audio Resampling; torchaudio's parameters).
    """
    reach = int(half_width(orig, new, lowpass_filter_width, rolloff))
    place = np.arange(new, dtype=np.int64) * orig
    below, rest = place // new, (place % new)[:, None] / new
    t = (np.arange(-reach, reach + 2) - rest) * (min(orig, new) * rolloff / orig)
    inside = np.abs(t) < lowpass_filter_width
    share = np.where(inside, t / lowpass_filter_width, 0.0)
    if method == "sinc_interp_hann":
        window = np.cos(share * np.pi / 2) ** 2
    else:
        strength = KAISER_BETA if beta is None else beta
        window = np.i0(strength * np.sqrt(1 - share**2)) / np.i0(strength)
    weights = np.where(inside, np.sinc(t) * window, 0.0) * (min(orig, new) * rolloff / orig)
    return below - reach, weights


def resampling_matrix(
    starts: npt.NDArray[np.int64], weights: npt.NDArray[np.float64], orig: int, blocks: int = 1
) -> npt.NDArray[np.float64]:
    """(blocks * new, blocks * orig + 2 reach + 1): the taps as rows over the samples from ``starts[0]`` on."""
    rows = (starts - starts[0] + orig * np.arange(blocks)[:, None]).ravel()
    width = blocks * orig + weights.shape[1] - 1
    matrix = np.zeros((len(rows), width + 1))  # the last column is of a tap that is always zero
    np.put_along_axis(matrix, rows[:, None] + np.arange(weights.shape[1]), np.tile(weights, (blocks, 1)), 1)
    return matrix[:, :width]
