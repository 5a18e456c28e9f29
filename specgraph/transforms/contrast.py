"""Spectral contrast: peaks and valleys in octave bands."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np

from specgraph.graph import About
from specgraph.op import Value
from specgraph.ops.arithmetic import Subtract
from specgraph.ops.concat import Concat
from specgraph.ops.decibel import Decibel
from specgraph.ops.layout import Slice
from specgraph.ops.reduce import Reduce
from specgraph.ops.top_k import TopK
from specgraph.transforms.base import at_least, parameter
from specgraph.transforms.spectral import SpectralTransform


@dataclass(frozen=True, kw_only=True)
class SpectralContrast(SpectralTransform):
    """Spectral contrast: how far peaks stand above valleys, in octave bands.

    (batch, samples) -> (batch, n_bands + 1, frames), in decibels, or with ``linear`` as a difference of magnitudes. Band 0 lies
    below ``fmin``, each further one is an octave, the last reaches up to half the sample rate. Peak and valley are the means of
    the ``quantile`` largest and smallest magnitudes of a band, one at least. Equal to ``librosa.feature.spectral_contrast`` with
    the same ``pad_mode``, each clip of a batch by itself: decibels of magnitudes as if they were powers, as librosa takes
    them, within 80 dB of the clip's largest peak and valley. A silent clip gives 0 dB, as librosa's.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them.
    """

    command: ClassVar[str] = "spectral-contrast"

    n_bands: int = parameter(6, "octave bands above the lowest band")
    fmin: float = parameter(200.0, "upper edge of the lowest band, in hertz")
    quantile: float = parameter(0.02, "share of a band's bins that make its peak and its valley, above 0 and below 1")
    linear: bool = parameter(False, "difference of magnitudes instead of decibels")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_bands")
        if not self.fmin > 0:
            raise ValueError(f"fmin must be above 0, not {self.fmin}")
        if not 0 < self.quantile < 1:
            raise ValueError(f"quantile must be above 0 and below 1, not {self.quantile}")
        if self.edges()[-2] >= self.sample_rate / 2:
            raise ValueError(
                f"the last of {self.n_bands} bands begins at {self.edges()[-2]:g} Hz, above half the sample rate; "
                "lower fmin or n_bands"
            )
        for number, (first, last, _) in enumerate(self.bands()):
            if last <= first:
                raise ValueError(
                    f"no bin of an n_fft of {self.n_fft} is left for band {number}, {self.edges()[number]:g} to "
                    f"{self.edges()[number + 1]:g} Hz; raise n_fft or fmin, or lower n_bands"
                )

    def edges(self) -> np.ndarray:
        """(n_bands + 2,): the edges of the bands in hertz."""
        return np.concatenate([[0.0], self.fmin * 2.0 ** np.arange(min(self.n_bands, 1000) + 1.0)])

    def bands(self) -> list[tuple[int, int, int]]:
        """For each band its first bin, the one after its last, and how many bins make a peak.

        As librosa has it, a band begins one bin below its lower edge and all but the last leave out their last bin, which still
        counts towards the quantile.
        """
        frequencies, edges, found = np.array(self.bins()), self.edges(), []
        for number, (low, high) in enumerate(pairwise(edges)):
            inside = np.flatnonzero((frequencies >= low) & (frequencies <= high))
            if not len(inside):
                found.append((0, 0, 1))
                continue
            first = max(int(inside[0]) - (number > 0), 0)
            end = len(frequencies) if number == self.n_bands else int(inside[-1]) + 1
            count = max(int(np.rint(self.quantile * (end - first))), 1)
            last = end if number == self.n_bands else end - 1
            found.append((first, last, min(count, max(last - first, 1))))
        return found

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        magnitude = self.magnitude(wave, trainable)
        peaks: list[Value] = []
        valleys: list[Value] = []
        for first, last, count in self.bands():
            band = Slice(first, last)(magnitude)
            for found, largest in ((peaks, True), (valleys, False)):
                if count == 1:  # ordering a band takes several times as long as its extremes
                    found.append(Reduce("max" if largest else "min", axis=1)(band))
                else:
                    found.append(Reduce("mean", axis=1)(TopK(count, largest)(band)))
        peak, valley = Concat(axis=1)(*peaks), Concat(axis=1)(*valleys)
        if self.linear:
            return Subtract()(peak, valley)
        return Subtract()(Decibel(top_db=80.0)(peak), Decibel(top_db=80.0)(valley))

    def about(self) -> About:
        return About("spectral contrast", "" if self.linear else "dB")
