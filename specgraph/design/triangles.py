"""Triangular filters over the bins of a DFT."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specgraph.design.fourier import bin_frequencies


def triangles(edges: npt.NDArray[np.float64], bins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(len(edges) - 2, len(bins)): filter i rises from corner i to 1 at corner i + 1 and falls to corner i + 2; all in hertz."""
    below, peak, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - below) / (peak - below), (above - bins) / (above - peak)
    return np.maximum(0.0, np.minimum(rising, falling))


def linear_edges(n_filter: int, fmin: float, fmax: float) -> npt.NDArray[np.float64]:
    """(n_filter + 2,): the corners of triangles that are equally far apart in hertz."""
    return np.linspace(fmin, fmax, n_filter + 2)


def linear_filterbank(
    sample_rate: float, n_fft: int, n_filter: int, fmin: float, fmax: float
) -> npt.NDArray[np.float64]:
    """(n_filter, n_fft // 2 + 1): equal triangles with a peak of 1, as ``torchaudio.functional.linear_fbanks``, transposed."""
    return triangles(linear_edges(n_filter, fmin, fmax), bin_frequencies(sample_rate, n_fft))
