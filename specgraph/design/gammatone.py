"""Gammatone filters on the ERB scale, as weights of a DFT's bins.

The scale is Glasberg and Moore's: a filter at f hertz has an equivalent rectangular bandwidth of ``24.7 + f / 9.26449``. The
filters are Slaney's digital ones ("An Efficient Implementation of the Patterson-Holdsworth Auditory Filter Bank", Apple
technical report 35, 1993): fourth order, one conjugate pair of poles four times over and four real zeros. Their magnitude
at the bins of a DFT is what Ellis's ``fft2gammatonemx`` tabulates.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

EAR_Q = 9.26449
LEAST_BANDWIDTH = 24.7  # Hz
GAMMATONE_SLOPES = tuple(sign * float(np.sqrt(3 + other * 2**1.5)) for other in (1, -1) for sign in (1, -1))  # of the zeros


def erb_centres(n_bins: int, fmin: float, fmax: float) -> npt.NDArray[np.float64]:
    """(n_bins,) centres in hertz, ascending, equally far apart on the ERB scale: the first is ``fmin``, the next above the last ``fmax``."""
    constant = EAR_Q * LEAST_BANDWIDTH
    steps = np.arange(n_bins, 0, -1) / n_bins
    return (fmax + constant) * ((fmin + constant) / (fmax + constant)) ** steps - constant


def gammatone_decay(centres: npt.ArrayLike, sample_rate: float) -> npt.NDArray[np.float64]:
    """(centres,): what the logarithm of a filter's response falls by in each sample."""
    return 2 * np.pi * 1.019 * (np.asarray(centres, np.float64) / EAR_Q + LEAST_BANDWIDTH) / sample_rate


def gammatone_response(
    centres: npt.ArrayLike, frequencies: npt.ArrayLike, sample_rate: float
) -> npt.NDArray[np.float64]:
    """(centres, frequencies): the magnitude of each filter's response, 1 at its own centre."""
    cf = np.asarray(centres, np.float64)[:, None]
    decay = np.exp(-gammatone_decay(cf, sample_rate))
    angle = 2 * np.pi * cf / sample_rate
    zeros = decay * (np.cos(angle) + np.array(GAMMATONE_SLOPES) * np.sin(angle))  # (centres, 4), real
    pole = decay * np.exp(1j * angle)

    def magnitude(z: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
        above = np.abs(z[..., None] - zeros[:, None, :]).prod(-1)
        return above / (np.abs(z - pole) * np.abs(z - pole.conj())) ** 4

    unit = np.exp(2j * np.pi * np.asarray(frequencies, np.float64) / sample_rate)
    return magnitude(np.broadcast_to(unit, (len(cf), unit.size))) / magnitude(np.exp(1j * angle))


def gammatone_filterbank(
    sample_rate: float, n_fft: int, n_bins: int, fmin: float = 0.0, fmax: float | None = None
) -> npt.NDArray[np.float64]:
    """(n_bins, n_fft // 2 + 1): the filters' magnitudes at the DFT's bins, over ``n_fft``."""
    centres = erb_centres(n_bins, fmin, sample_rate / 2 if fmax is None else fmax)
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    return gammatone_response(centres, bins, sample_rate) / n_fft
