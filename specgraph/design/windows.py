"""Analysis windows."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FEWEST_TERMS, MOST_TERMS = 4, 6  # cosines of a window whose shape is trained

WindowSpec = str | float | tuple[Any, ...] | npt.NDArray[Any]
Align = Literal["center", "start"]


def analysis_window(spec: WindowSpec, win_length: int, n_fft: int, align: Align = "center") -> npt.NDArray[np.float64]:
    """A window of ``win_length`` samples, centred among zeros in ``n_fft`` as librosa centres it, or at its start as Kaldi has it.

    Args:
        spec: what ``scipy.signal.get_window`` takes ("hann", ("kaiser", 8.0), ...; periodic), the same with both ends
            alike (("symmetric", "hann"), ("symmetric", ("kaiser", 8.0))), Kaldi's "povey" (a symmetric Hann window to the
            power of 0.85), or the samples themselves.
        win_length: samples of the window, at most ``n_fft``.
        n_fft: samples of the result.
        align: where the window stands in the frame.

    Raises:
        ValueError: the window is unknown, has another length than ``win_length``, or is not finite.
    """
    if isinstance(spec, np.ndarray) or (isinstance(spec, tuple | list) and spec and not isinstance(spec[0], str)):
        samples = np.asarray(spec, np.float64)
        if samples.shape != (win_length,):
            raise ValueError(
                f"window has shape {samples.shape} and win_length is {win_length}; give {win_length} samples or set win_length"
            )
        if not np.isfinite(samples).all():
            raise ValueError("window has a sample that is not finite")
    else:
        from scipy.signal import get_window

        symmetric = isinstance(spec, tuple | list) and len(spec) == 2 and spec[0] == "symmetric"
        named = "hann" if spec == "povey" else spec[1] if symmetric else spec  # type: ignore[index]
        try:
            samples = np.asarray(get_window(named, win_length, fftbins=not symmetric and spec != "povey"), np.float64)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            reason = str(error).strip("'\"").rstrip(".")
            raise ValueError(f"window {spec!r} is not one that scipy.signal.get_window makes ({reason})") from None
    if isinstance(spec, str) and spec == "povey":
        samples = samples**0.85
    before = 0 if align == "start" else (n_fft - win_length) // 2
    return np.pad(samples, (before, n_fft - win_length - before))


def gaussian_width(spec: WindowSpec) -> float | None:
    """The standard deviation in samples of a window ("gaussian", width), or None for another window."""
    return float(spec[1]) if isinstance(spec, tuple) and len(spec) == 2 and spec[0] == "gaussian" else None


def cosine_terms(spec: WindowSpec, win_length: int) -> npt.NDArray[np.float64] | None:
    """The amplitudes a of a window that is ``sum_k a[k] cos(2 pi k n / win_length)`` with few terms, or None.

    hann, hamming, blackman, nuttall, blackmanharris, flattop and boxcar are such windows.
    """
    samples = analysis_window(spec, win_length, win_length)
    terms = np.fft.rfft(samples).real * 2 / win_length
    terms[0] /= 2
    if win_length % 2 == 0:
        terms[-1] /= 2
    held = np.flatnonzero(np.abs(terms) > 1e-12)
    count = min(max(FEWEST_TERMS, int(held.max(initial=0)) + 1), len(terms))
    waves = np.cos(2 * np.pi / win_length * np.outer(np.arange(count), np.arange(win_length)))
    few = count <= MOST_TERMS and bool(np.abs(terms[:count] @ waves - samples).max() < 1e-12)
    return terms[:count] if few else None
