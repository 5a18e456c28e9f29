"""Gammatone spectrogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.design.gammatone import erb_centres, gammatone_filterbank
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.magnitude import Magnitude
from specgraph.transforms.base import at_least, at_most, check_exponents, check_size, parameter
from specgraph.transforms.filters import MOST_FILTERS, Band
from specgraph.transforms.smooth_parts import gammatone_bank
from specgraph.transforms.spectrogram import FourierTransform


@dataclass(frozen=True, kw_only=True)
class Gammatonegram(Band, FourierTransform):
    """Gammatone spectrogram: auditory filters, equally far apart on the ERB scale, over the spectrum.

    (batch, samples) -> (batch, n_bins, frames), rows from low to high. The filters are Slaney's gammatone filters of fourth
    order; a row is the sum over the DFT's bins of their magnitude responses times ``abs(X) ** power``, over ``n_fft``
    (Ellis's ``fft2gammatonemx``, with ``power=1``). The centres start at ``fmin`` and stay one step below ``fmax``. Tested
    against ``scipy.signal.gammatone`` and against nnAudio 0.3.4's ``Gammatonegram``, which it equals but for rounding: nnAudio's
    bank is float32, its ``htk`` and ``norm`` do nothing, a trained STFT adds 1e-8 under the root, and its gradient at
    silence is NaN. nnAudio's documentation says 128 bins, and the default is 64.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``gammatone``, the filterbank,
    (n_bins, n_fft // 2 + 1); or what makes it, (n_bins,) each, 0 to begin with: ``centres``, how far filters have moved, in their
    own bandwidths of 1.019 ERB; ``bandwidths``, the logarithms of what these have grown by.
    """

    command: ClassVar[str] = "gammatonegram"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "gammatone", "window")
    smooth_parts: ClassVar[Mapping[str, str]] = {
        **FourierTransform.smooth_parts,
        **dict.fromkeys(("centres", "bandwidths"), "gammatone"),
    }

    n_bins: int = parameter(64, "gammatone filters")
    fmin: float = parameter(0.0, "centre of the lowest filter, in hertz")
    fmax: float | None = parameter(None, "one step above the highest centre, in hertz; none: half the sample rate")
    power: float = parameter(2.0, "exponent of the magnitude before the filters")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_bins")
        at_most(self, MOST_FILTERS, "n_bins")
        check_size(self, self.n_bins * (self.n_fft // 2 + 1), "n_bins", "n_fft")
        check_exponents(self, "power")
        self.check_band()

    def bank(self) -> np.ndarray:
        """(n_bins, n_fft // 2 + 1): the filterbank."""
        return gammatone_filterbank(self.sample_rate, self.n_fft, self.n_bins, self.fmin, self.highest)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        magnitude = Magnitude(self.power)(self.spectrum(wave, trainable))
        return Filterbank()(magnitude, self.filters(trainable))

    def filters(self, trainable: frozenset[str]) -> Value:
        """(n_bins, n_fft // 2 + 1): the filterbank, or what makes it of its trained centres and bandwidths."""
        if trainable & {"centres", "bandwidths"}:
            return gammatone_bank(self.centres(), self.sample_rate, self.n_fft, trainable)
        shape = (self.n_bins, self.n_fft // 2 + 1)
        return Constant.lazy("gammatone", shape, self.bank, "gammatone" in trainable)

    def centres(self) -> np.ndarray:
        """(n_bins,): the filters' centres in hertz."""
        return erb_centres(self.n_bins, self.fmin, self.highest)

    def about(self) -> About:
        quantity = {1.0: "gammatone magnitude", 2.0: "gammatone power"}.get(self.power, f"gammatone ** {self.power:g}")
        return About(quantity, "", tuple(self.centres().tolist()))
