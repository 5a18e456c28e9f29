"""Pitch classes: the chroma filterbank, and the tonal centroids of a chromagram.

The filterbank is Ellis' (Chroma Feature Analysis and Synthesis, 2007), with the parameters of ``librosa.filters.chroma``:
each bin of the DFT feeds the pitch classes near its own by a Gaussian, whose width is a semitone or the bin's own width.
The tonal centroids are Harte, Sandler and Gasser's (Detecting Harmonic Change in Musical Audio, 2006).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOWEST_A = 27.5  # Hz: octave 0 begins here


def octaves(frequencies: npt.NDArray[np.float64], tuning: float, n_chroma: int) -> npt.NDArray[np.float64]:
    """Frequencies in octaves above A0, which is ``tuning`` of ``n_chroma`` steps an octave away from 27.5 Hz."""
    return np.log2(frequencies / LOWEST_A) - tuning / n_chroma


def chroma_filterbank(
    sample_rate: float,
    n_fft: int,
    n_chroma: int = 12,
    tuning: float = 0.0,
    ctroct: float = 5.0,
    octwidth: float | None = 2.0,
    base_c: bool = True,
) -> npt.NDArray[np.float64]:
    """(n_chroma, n_fft // 2 + 1): pitch classes from the DFT's bins, as ``librosa.filters.chroma``.

    Args:
        sample_rate: of the waveforms, in hertz.
        n_fft: samples of a frame, at least 3.
        n_chroma: pitch classes, equal steps of an octave.
        tuning: of A, in steps of the octave.
        ctroct: the octave, above A0, that weighs most.
        octwidth: standard deviation of the weight of octaves; None: all weigh the same.
        base_c: class 0 is C; else A.
    """
    step = sample_rate / n_fft
    positions = n_chroma * octaves(step * np.arange(1.0, n_fft // 2 + 2), tuning, n_chroma)  # one more bin than is kept
    positions = np.concatenate([[positions[0] - 1.5 * n_chroma], positions])  # DC has no pitch: below bin 1
    widths = np.maximum(np.diff(positions), 1.0)  # a bin is as wide as the step to the next, and at least a class
    positions = positions[:-1]
    half = np.round(n_chroma / 2)
    distance = (positions - np.arange(n_chroma)[:, None] + half) % n_chroma - half
    bank = np.exp(-2.0 * (distance / widths) ** 2)
    bank /= np.linalg.norm(bank, axis=0)
    if octwidth is not None:
        bank *= np.exp(-0.5 * ((positions / n_chroma - ctroct) / octwidth) ** 2)
    return np.roll(bank, -3 * (n_chroma // 12), axis=0) if base_c else bank


def tonnetz_matrix(n_chroma: int) -> npt.NDArray[np.float64]:
    """(6, n_chroma): where each pitch class lies on the circles of fifths, minor and major thirds; sine and cosine of each."""
    places = np.arange(n_chroma) * (12.0 / n_chroma)
    turns = np.array([7 / 6, 3 / 2, 2 / 3])[:, None] * places  # halves of a turn of the three circles
    radii = np.array([1.0, 1.0, 0.5])[:, None]
    return np.stack([radii * np.sin(np.pi * turns), radii * np.cos(np.pi * turns)], 1).reshape(6, n_chroma)


def cqt_to_chroma(n_bins: int, bins_per_octave: int, n_chroma: int, fmin: float) -> npt.NDArray[np.float64]:
    """(n_chroma, n_bins): ones where a constant-Q bin belongs to a pitch class, as ``librosa.filters.cq_to_chroma``.

    Args:
        n_bins: of the constant-Q transform.
        bins_per_octave: a multiple of ``n_chroma``; the bins about a class's own are merged into it.
        n_chroma: pitch classes, equal steps of an octave; class 0 is C.
        fmin: frequency of the lowest bin, in hertz.
    """
    merged = bins_per_octave // n_chroma
    above_c = (69 + 12 * np.log2(fmin / 440.0)) % 12  # semitones of the lowest bin above a C
    classes = (np.arange(n_bins) + merged // 2) // merged + int(np.round(above_c * n_chroma / 12))
    return (np.arange(n_chroma)[:, None] == classes % n_chroma).astype(np.float64)
