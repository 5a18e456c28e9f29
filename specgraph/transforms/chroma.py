"""Pitch classes over a spectrogram, and their tonal centroids."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from specgraph.design.chroma import chroma_filterbank, tonnetz_matrix
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.normalize import Norm, Normalize
from specgraph.transforms.base import at_least, at_most, check_size, parameter
from specgraph.transforms.spectrogram import FourierTransform

MOST_CLASSES = 4096


def normalized(chroma: Value, norm: Norm | None) -> Value:
    """(batch, bins, frames) -> the same, each frame divided by its norm: ``"inf"``, a number of at least 1, or None for none."""
    return chroma if norm is None else Normalize(norm)(chroma)


def tonnetz(chroma: Value, trainable: bool = False) -> Value:
    """(batch, n_chroma, frames) -> (batch, 6, frames): the tonal centroids of any chromagram."""
    classes = chroma.shape[1]
    assert isinstance(classes, int)
    matrix = Constant.lazy("tonnetz", (6, classes), lambda: tonnetz_matrix(classes), trainable)
    return Filterbank()(normalized(chroma, 1.0), matrix)


@dataclass(frozen=True, kw_only=True)
class ChromaTransform(FourierTransform):
    """A transform that begins with pitch classes over the power spectrum."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "chroma", "window")

    n_chroma: int = parameter(12, "pitch classes: equal steps of an octave")
    norm: float | Literal["inf"] | None = parameter("inf", "norm that each frame is divided by, at least 1; none: not divided")
    tuning: float = parameter(0.0, "deviation of A from 440 Hz, in steps of the octave; it is given, not estimated")
    ctroct: float = parameter(5.0, "octave that weighs most, above A0 (27.5 Hz)")
    octwidth: float | None = parameter(2.0, "standard deviation of the weight of octaves, in octaves; none: all weigh the same")
    base_c: bool = parameter(True, "class 0 is C; else A")

    def __post_init__(self) -> None:
        if isinstance(self.norm, float) and self.norm == math.inf:  # librosa's way to write it
            object.__setattr__(self, "norm", "inf")
        super().__post_init__()

    def check(self) -> None:
        super().check()
        at_least(self, 3, "n_fft")
        at_least(self, 1, "n_chroma")
        at_most(self, MOST_CLASSES, "n_chroma")
        check_size(self, self.n_chroma * (self.n_fft // 2 + 1), "n_chroma", "n_fft")
        if self.octwidth is not None and not self.octwidth > 0:
            raise ValueError(f"octwidth must be above 0 or none, not {self.octwidth}")
        if self.norm is not None:
            Normalize(self.norm)

    def bank(self) -> np.ndarray:
        """(n_chroma, n_fft // 2 + 1): the filterbank."""
        return chroma_filterbank(
            self.sample_rate, self.n_fft, self.n_chroma, self.tuning, self.ctroct, self.octwidth, self.base_c
        )

    def chroma(self, wave: Value, trainable: frozenset[str]) -> Value:
        """(batch, samples) -> (batch, n_chroma, frames)."""
        power = Magnitude(2.0)(self.spectrum(wave, trainable))
        bank = Constant.lazy("chroma", (self.n_chroma, self.n_fft // 2 + 1), self.bank, "chroma" in trainable)
        return normalized(Filterbank()(power, bank), self.norm)


@dataclass(frozen=True, kw_only=True)
class ChromaSTFT(ChromaTransform):
    """Chromagram: the power spectrum summed over octaves into pitch classes.

    (batch, samples) -> (batch, n_chroma, frames), by default between 0 and 1, the loudest class of a frame being 1. Equal to
    ``librosa.feature.chroma_stft`` with the same ``pad_mode`` and ``tuning``, which librosa estimates unless it is given.
    Silent frames are zeros.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``chroma``, the filterbank,
    (n_chroma, n_fft // 2 + 1).
    """

    command: ClassVar[str] = "chroma-stft"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.chroma(wave, trainable)

    def about(self) -> About:
        return About("chroma")


@dataclass(frozen=True, kw_only=True)
class Tonnetz(ChromaTransform):
    """Tonal centroids: where the pitch classes lie on the circles of fifths and of minor and major thirds.

    (batch, samples) -> (batch, 6, frames): sine and cosine on each circle, between -1 and 1, the major thirds' within a
    half. Equal to ``librosa.feature.tonnetz`` of the same chromagram, by default that of ``ChromaSTFT`` (librosa's own default is
    a constant-Q chromagram). Silent frames are zeros.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``chroma``, the filterbank;
    ``tonnetz``, the matrix (6, n_chroma).
    """

    command: ClassVar[str] = "tonnetz"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "chroma", "tonnetz", "window")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return tonnetz(self.chroma(wave, trainable), "tonnetz" in trainable)

    def about(self) -> About:
        return About("tonal centroid")
