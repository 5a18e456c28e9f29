"""Analysis windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

FEWEST_TERMS, MOST_TERMS = 4, 6  # cosines of a window whose shape is trained

LEAST_COVER = 1e-11  # of the largest sum of squared windows; what lies below is lost in float32
LONGEST_TEXT = 80  # characters of a window in a message

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
        ValueError: the window is unknown, has another length than ``win_length``, is not finite, or is zero everywhere.
    """
    if isinstance(spec, np.ndarray) or (isinstance(spec, tuple | list) and spec and not isinstance(spec[0], str)):
        try:
            samples = np.asarray(spec, np.float64)
        except (ValueError, TypeError, OverflowError):
            raise ValueError(f"window must be a name, a name with parameters or {win_length} samples, not {_shown(spec)}") from None
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
            with np.errstate(all="ignore"):
                samples = np.asarray(get_window(named, win_length, fftbins=not symmetric and spec != "povey"), np.float64)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
            reason = str(error).strip("'\"").rstrip(".").replace("\n", " ")
            raise ValueError(f"window {_shown(spec)} is not one that scipy.signal.get_window makes ({_shown(reason, str)})") from None
        if samples.shape != (win_length,) or not np.isfinite(samples).all():
            raise ValueError(f"window {_shown(spec)} has samples that are not finite; choose another parameter")
    if isinstance(spec, str) and spec == "povey":
        samples = samples**0.85
    if not samples.any():
        raise ValueError(f"window {_shown(spec)} is zero at each of {win_length} samples")
    before = 0 if align == "start" else (n_fft - win_length) // 2
    return np.pad(samples, (before, n_fft - win_length - before))


def _shown(spec: Any, text: Callable[[Any], str] = repr) -> str:
    """What a window was given as, cut where it is long."""
    try:
        written = text(spec)
    except ValueError:  # an int of thousands of digits
        return f"of type {type(spec).__name__}"
    return written if len(written) <= LONGEST_TEXT else f"{written[:LONGEST_TEXT]}..."


def uncovered_samples(window: npt.NDArray[np.float64], hop: int) -> int:
    """How many of the samples of a hop the squares of a window, ``hop`` samples apart, add up to nothing at."""
    rows = -(-len(window) // hop)
    total = np.pad(window**2, (0, rows * hop - len(window))).reshape(rows, hop).sum(0)
    return int(np.count_nonzero(total <= LEAST_COVER * total.max()))


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
