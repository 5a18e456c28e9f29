"""The mel scale and its filterbank.

Two scales are in use. Slaney's (Auditory Toolbox, 1998) is linear below 1 kHz and logarithmic above, 15 mels reaching
1 kHz and 27 more each factor of 6.4; HTK's (The HTK Book, 5.4) is ``2595 log10(1 + f / 700)``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from specgraph.design.fourier import bin_frequencies
from specgraph.design.triangles import triangles

MelNorm = Literal["slaney"]
Straight = Literal["hz", "mel", "symmetric"]

_HZ_PER_MEL = 200.0 / 3
_KNEE = 1000.0  # Hz, where Slaney's scale turns logarithmic
_LOG_STEP = np.log(6.4) / 27.0


def hz_to_mel(frequencies: npt.ArrayLike, htk: bool = False) -> npt.NDArray[np.float64]:
    """Hertz to mels."""
    hz = np.asarray(frequencies, np.float64)
    if htk:
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    return np.where(hz < _KNEE, hz / _HZ_PER_MEL, _KNEE / _HZ_PER_MEL + np.log(np.maximum(hz, _KNEE) / _KNEE) / _LOG_STEP)


def mel_to_hz(mels: npt.ArrayLike, htk: bool = False) -> npt.NDArray[np.float64]:
    """Mels to hertz, the inverse of ``hz_to_mel``."""
    mel = np.asarray(mels, np.float64)
    if htk:
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    knee = _KNEE / _HZ_PER_MEL
    return np.where(mel < knee, mel * _HZ_PER_MEL, _KNEE * np.exp(_LOG_STEP * (np.maximum(mel, knee) - knee)))


def mel_edges(n_mels: int, fmin: float, fmax: float, htk: bool = False) -> npt.NDArray[np.float64]:
    """(n_mels + 2,): the corners of the triangles in hertz, equally far apart in mels; filter i peaks at corner i + 1."""
    return mel_to_hz(np.linspace(hz_to_mel(fmin, htk), hz_to_mel(fmax, htk), n_mels + 2), htk)


def mel_filterbank(
    sample_rate: float,
    n_fft: int,
    n_mels: int,
    fmin: float = 0.0,
    fmax: float | None = None,
    htk: bool = False,
    norm: MelNorm | None = "slaney",
    straight: Straight = "hz",
) -> npt.NDArray[np.float64]:
    """(n_mels, n_fft // 2 + 1): triangles over the DFT's bins, as ``librosa.filters.mel``.

    ``norm="slaney"`` gives every triangle an area of one hertz (2 / its width); None leaves its peak at 1. Their sides are
    straight over hertz, or with ``straight="mel"`` over mels, as Kaldi's and VGGish's are (on HTK's scale, of which
    ``1127 ln(1 + f / 700)`` is a multiple but for rounding; the multiple cancels). ``straight="symmetric"`` is over hertz with
    the width of the rising side on both, as SpeechBrain's are.
    """
    edges = mel_edges(n_mels, fmin, sample_rate / 2 if fmax is None else fmax, htk)
    bins = bin_frequencies(sample_rate, n_fft)
    if straight == "mel":
        bank = triangles(hz_to_mel(edges, htk), hz_to_mel(bins, htk))
    elif straight == "symmetric":
        bank = np.maximum(0.0, 1 - np.abs(bins - edges[1:-1, None]) / np.diff(edges)[:-1, None])
    else:
        bank = triangles(edges, bins)
    return bank * (2.0 / (edges[2:] - edges[:-2]))[:, None] if norm == "slaney" else bank
