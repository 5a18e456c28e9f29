"""Descriptors of a spectrum: where its energy lies, how far it spreads, how peaked it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Clip, Divide, Multiply, Subtract
from specgraph.ops.compare import Less
from specgraph.ops.cumulative_sum import CumulativeSum
from specgraph.ops.elementwise import Absolute, Exponential, Power
from specgraph.ops.layout import Slice
from specgraph.ops.log import Log
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.normalize import TINY, Normalize
from specgraph.ops.reduce import Reduce
from specgraph.transforms.base import check_exponents, parameter
from specgraph.transforms.spectrogram import FourierTransform


@dataclass(frozen=True, kw_only=True)
class SpectralTransform(FourierTransform):
    """A descriptor of the magnitude spectrum, one number for each frame: (batch, 1, frames)."""

    def magnitude(self, wave: Value, trainable: frozenset[str]) -> Value:
        """(batch, samples) -> (batch, n_fft // 2 + 1, frames)."""
        return Magnitude(1.0)(self.spectrum(wave, trainable))

    def column(self) -> Value:
        """(bins, 1): the bins' frequencies in hertz."""
        return Constant.of("frequencies", np.array(self.bins())[:, None])

    def centroid(self, share: Value) -> Value:
        """(batch, bins, frames), each frame's sum being 1, -> (batch, 1, frames): the mean frequency in hertz."""
        return Reduce("sum", axis=1)(Multiply()(share, self.column()))


@dataclass(frozen=True, kw_only=True)
class SpectralCentroid(SpectralTransform):
    """Spectral centroid: the mean frequency of each frame, weighted by magnitude.

    (batch, samples) -> (batch, 1, frames), in hertz. Equal to ``librosa.feature.spectral_centroid`` with the same
    ``pad_mode``. A silent frame gives 0 Hz, as librosa's.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them.
    """

    command: ClassVar[str] = "spectral-centroid"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.centroid(Normalize(1.0)(self.magnitude(wave, trainable)))

    def about(self) -> About:
        return About("spectral centroid", "Hz")


@dataclass(frozen=True, kw_only=True)
class SpectralBandwidth(SpectralTransform):
    """Spectral bandwidth: how far the spectrum spreads around its centroid.

    (batch, samples) -> (batch, 1, frames), in hertz: ``sum(S * abs(f - centroid) ** p) ** (1 / p)``, the magnitudes S of a frame
    being divided by their sum unless ``norm=False``. Equal to ``librosa.feature.spectral_bandwidth`` with the same
    ``pad_mode``. A silent frame gives 0 Hz, as librosa's.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them.
    """

    command: ClassVar[str] = "spectral-bandwidth"

    norm: bool = parameter(True, "divide the magnitudes of a frame by their sum")
    p: float = parameter(2.0, "exponent of the distance from the centroid")

    def check(self) -> None:
        super().check()
        check_exponents(self, "p")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        magnitude = self.magnitude(wave, trainable)
        share = Normalize(1.0)(magnitude)
        distance = Absolute()(Subtract()(self.column(), self.centroid(share)))
        spread = Multiply()(share if self.norm else magnitude, Power(self.p)(distance))
        return Power(1 / self.p)(Reduce("sum", axis=1)(spread))

    def about(self) -> About:
        return About("spectral bandwidth", "Hz" if self.norm else "")


@dataclass(frozen=True, kw_only=True)
class SpectralRolloff(SpectralTransform):
    """Spectral roll-off: the frequency below which most of the magnitude lies.

    (batch, samples) -> (batch, 1, frames), in hertz: the lowest bin up to which the magnitudes sum to ``roll_percent`` of all.
    Equal to ``librosa.feature.spectral_rolloff`` with the same ``pad_mode``; where a sum meets the threshold to within
    float32's rounding the neighbouring bin may be given. A silent frame gives 0 Hz, as librosa's.

    The result is a bin's number, so that no gradient flows, and nothing can be trained.
    """

    command: ClassVar[str] = "spectral-rolloff"
    trainable_parts: ClassVar[tuple[str, ...]] = ()
    smooth_parts: ClassVar[Mapping[str, str]] = {}

    roll_percent: float = parameter(0.85, "share of the magnitude, above 0 and below 1")

    def check(self) -> None:
        super().check()
        if not 0 < self.roll_percent < 1:
            raise ValueError(f"roll_percent must be above 0 and below 1, not {self.roll_percent}")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        total = CumulativeSum(axis=1)(self.magnitude(wave, trainable))
        bins = self.n_fft // 2 + 1
        threshold = Multiply()(Slice(bins - 1, bins)(total), Constant.of("share", np.array(self.roll_percent)))
        below = Reduce("sum", axis=1)(Less()(total, threshold))
        return Multiply()(below, Constant.of("step", np.array(self.sample_rate / self.n_fft)))

    def about(self) -> About:
        return About("spectral roll-off", "Hz")


@dataclass(frozen=True, kw_only=True)
class SpectralFlatness(SpectralTransform):
    """Spectral flatness: the geometric mean of the spectrum over its arithmetic mean.

    (batch, samples) -> (batch, 1, frames), from 0 for a tone to 1 for a flat spectrum, of ``max(magnitude ** power, amin)``. Equal
    to ``librosa.feature.spectral_flatness`` with the same ``pad_mode``. A silent frame gives 1, as librosa's.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them.
    """

    command: ClassVar[str] = "spectral-flatness"

    power: float = parameter(2.0, "exponent of the magnitude")
    amin: float = parameter(1e-10, "smallest value of the spectrum that counts")

    def check(self) -> None:
        super().check()
        check_exponents(self, "power")
        if not self.amin > 0:
            raise ValueError(f"amin must be above 0, not {self.amin}")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        spectrum = Clip(minimum=self.amin)(Magnitude(self.power)(self.spectrum(wave, trainable)))
        # Relative to the mean, not to 1: logarithms are then small, and a flat spectrum's are exactly zero.
        relative = Divide()(spectrum, Reduce("mean", axis=1)(spectrum))
        return Exponential()(Reduce("mean", axis=1)(Log(amin=TINY)(relative)))

    def about(self) -> About:
        return About("spectral flatness")
