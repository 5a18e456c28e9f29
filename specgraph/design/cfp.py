"""Combined frequency and periodicity: log-frequency filters over a spectrum and over a cepstrum.

After L. Su and Y.-H. Yang, "Combining Spectral and Temporal Representations for Multipitch Estimation of Polyphonic Music"
(IEEE/ACM TASLP 23(10), 2015), with the conventions of the authors' code, which nnAudio follows.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def log_centres(fmin: float, fmax: float, bins_per_octave: int) -> npt.NDArray[np.float64]:
    """Centres from ``fmin`` on that lie below ``fmax``, in hertz."""
    count = math.ceil(math.log2(fmax / fmin)) * bins_per_octave
    centres = fmin * 2.0 ** (np.arange(count) / bins_per_octave)
    return centres[centres < fmax]


def _triangles(
    centres: npt.NDArray[np.float64], places: npt.NDArray[np.float64], peak: bool
) -> npt.NDArray[np.float64]:
    """(centres - 1, places): row i rises from centre i - 1 to centre i and falls to the next; row 0 is empty."""
    below, middle, above = centres[:-2, None], centres[1:-1, None], centres[2:, None]
    weights = np.maximum(np.minimum((places - below) / (middle - below), (above - places) / (above - middle)), 0.0)
    if not peak:
        weights[places == middle] = 0.0
    return np.vstack([np.zeros(len(places)), weights])


def frequency_filters(
    centres: npt.NDArray[np.float64], sample_rate: float, n_fft: int, resolution: float, bins: int, exact: bool
) -> npt.NDArray[np.float64]:
    """(centres - 1, bins): triangles over the first bins of a spectrum, bins being ``resolution`` hertz apart.

    Not ``exact``, bin k stands at ``k * sample_rate / 2 / (n_fft // 2 - 1)``, slightly too high, and one that is a
    centre exactly has no weight. A filter narrower than a bin is that bin.
    """
    spacing = sample_rate / n_fft if exact else sample_rate * 0.5 / (n_fft // 2 - 1)
    matrix = _triangles(centres, np.arange(bins, dtype=np.float64) * spacing, exact)
    first = [round(centre / resolution) for centre in centres[:-2]]
    last = [round(centre / resolution) for centre in centres[2:]]
    for row, (left, right) in enumerate(zip(first, last, strict=True), 1):
        if left >= right:
            matrix[row] = np.arange(bins) == left
        else:
            matrix[row, :left] = matrix[row, right + 1 :] = 0.0
    return matrix


def quefrency_filters(
    centres: npt.NDArray[np.float64], sample_rate: float, bins: int, exact: bool
) -> npt.NDArray[np.float64]:
    """(centres - 1, bins): triangles over the first bins of a cepstrum; bin j is the period of ``sample_rate / j`` hertz.

    Where a filter falls between two quefrencies its row is empty. Not ``exact``, a bin that is a centre has no weight.
    """
    periods = 1.0 / (np.arange(1, bins) / sample_rate)  # as the reference rounds it: which bins are centres depends on it
    return np.hstack([np.zeros((len(centres) - 1, 1)), _triangles(centres, periods, exact)])
