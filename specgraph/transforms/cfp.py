"""Combined frequency and periodicity."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.design.cfp import frequency_filters, log_centres, quefrency_filters
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Clip, Multiply
from specgraph.ops.cosine_transform import CosineTransform
from specgraph.ops.elementwise import Power
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.layout import Slice
from specgraph.ops.log import Log
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.ops.stft import Stft
from specgraph.ops.windowed_stft import WindowedStft
from specgraph.transforms.base import LEAST_EXPONENT, MOST_EXPONENT, Transform, at_least, at_most, parameter
from specgraph.transforms.spectrogram import LONGEST_FRAME

MOST_LAYERS = 16
OFFSET = 1e-8  # nnAudio's, in the logarithm that stands for an exponent of 0


@dataclass(frozen=True, kw_only=True)
class PeriodicityTransform(Transform):
    """A transform that combines spectrum and cepstrum."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("frequency", "quefrency", "window")

    sample_rate: int = parameter(16000, "samples a second of the waveforms, in hertz")
    hop_length: int = parameter(320, "samples from one frame to the next")
    win_length: int = parameter(2049, "samples of the Blackman-Harris window")
    fr: float = parameter(2.0, "frequency resolution in hertz: the DFT has sample_rate / fr samples")
    fc: float = parameter(80.0, "lowest frequency, in hertz")
    tc: float = parameter(0.001, "shortest period, in seconds: the highest frequency is 1 / tc")
    g: tuple[float, ...] = parameter((0.24, 0.6, 1.0), "exponents of spectrum, cepstrum, spectrum, ...; 0: logarithm")
    bins_per_octave: int = parameter(48, "filters an octave")
    exact_bins: bool = parameter(False, "filters at the bins' exact frequencies, which nnAudio's are not")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "hop_length", "win_length", "bins_per_octave")
        at_most(self, LONGEST_FRAME, "hop_length", "win_length")
        if not min(self.fr, self.fc, self.tc) > 0:
            raise ValueError(f"fr, fc and tc must be above 0, not {self.fr}, {self.fc} and {self.tc}")
        if len(self.g) < 2 or min(self.g) < 0 or self.g[0] == 0:
            raise ValueError(f"g must have two exponents or more, none below 0 and the first above 0, not {self.g}")
        if any(exponent and not LEAST_EXPONENT <= exponent <= MOST_EXPONENT for exponent in self.g) or len(self.g) > MOST_LAYERS:
            raise ValueError(f"g must have at most {MOST_LAYERS} exponents, 0 or from {LEAST_EXPONENT:g} to {MOST_EXPONENT:g}, not {self.g}")
        if not self.win_length <= self.n_fft <= LONGEST_FRAME:
            raise ValueError(
                f"fr {self.fr:g} Hz makes a DFT of {self.n_fft} samples, which must be at least win_length, {self.win_length}, "
                f"and at most {LONGEST_FRAME}"
            )
        half = self.n_fft // 2
        if self.high_bin > half:
            raise ValueError(f"1 / tc is {1 / self.tc:g} Hz, and must be below half the sample rate, {self.sample_rate / 2:g} Hz")
        if self.high_quefrency > half:
            raise ValueError(f"fc {self.fc:g} Hz is too low for a resolution of {self.fr:g} Hz; raise it above {2 * self.fr:g} Hz")
        if self.fc * self.tc >= 1 or len(self.centres()) < 3:
            raise ValueError(f"fc {self.fc:g} Hz must be so far below 1 / tc, {1 / self.tc:g} Hz, that three filters fit between")
        if self.low_bin >= self.high_bin or self.low_quefrency >= self.high_quefrency:
            raise ValueError(f"no bin is left between fc, {self.fc:g} Hz, and 1 / tc, {1 / self.tc:g} Hz")

    @property
    def n_fft(self) -> int:
        """Samples of the DFT."""
        return int(self.sample_rate / self.fr)

    @property
    def low_bin(self) -> int:
        """The bins of a filtered spectrum below this one are zero, and as many at its other end."""
        return round(self.fc / self.fr)

    @property
    def high_bin(self) -> int:
        """How many bins of the spectrum the filters see."""
        return round(1 / self.tc / self.fr) + 1

    @property
    def low_quefrency(self) -> int:
        """The quefrencies of a filtered cepstrum below this one are zero, and as many at its other end."""
        return round(self.sample_rate * self.tc)

    @property
    def high_quefrency(self) -> int:
        """How many quefrencies the filters see."""
        return round(self.sample_rate / self.fc) + 1

    def centres(self) -> np.ndarray:
        """The filters' centres in hertz, and one more."""
        return log_centres(self.fc, 1 / self.tc, self.bins_per_octave)

    def spectrum(self, wave: Value, trainable: frozenset[str]) -> Value:
        """(batch, samples) -> (batch, n_fft // 2 + 1, frames, 2), the window having unit energy."""
        from scipy.signal.windows import blackmanharris

        window = blackmanharris(self.win_length)
        window = window / np.linalg.norm(window, axis=0)
        padded = Pad(self.n_fft // 2, mode="constant")(wave)
        if "window" in trainable:
            return WindowedStft(self.n_fft, self.hop_length)(padded, Constant.of("window", window, trainable=True))
        return Stft(self.n_fft, self.hop_length, self.win_length, window)(padded)

    def layers(self, spectrum: Value) -> tuple[Value, Value]:
        """The last spectrum and the last cepstrum, from their low to their high bins, of ``abs(X) ** g[0]``."""
        n = self.n_fft
        ends = ((0, self.high_bin), (self.low_quefrency, self.high_quefrency), (self.low_bin, self.high_bin))
        latest = [Slice(0, self.high_bin)(spectrum)] * 2
        mask, last = np.ones(n), len(self.g) - 1
        for layer in range(1, last + 1):
            low, high = ends[1 if layer % 2 else 2]
            weights = mask[: n // 2 + 1].copy()
            weights[1 : (n + 1) // 2] += mask[: n // 2 : -1]
            rows = (low, high) if layer == last else (0, None)
            transform = CosineTransform(n, weights / math.sqrt(n), *rows)
            spectrum = self.compress(transform(spectrum), self.g[layer])
            latest[layer % 2] = spectrum if layer == last else Slice(low, high)(spectrum)
            mask = np.ones(n)
            mask[:low] = mask[n - low :] = 0.0
        return latest[0], latest[1]

    @staticmethod
    def compress(features: Value, exponent: float) -> Value:
        """``max(x, 0) ** exponent``, or its logarithm for 0."""
        return Power(exponent)(features) if exponent else Log(amin=0.0, offset=OFFSET)(Clip(minimum=0.0)(features))

    def filters(self, features: Value, kind: str, low: int, trainable: frozenset[str]) -> Value:
        """Log-frequency filters over the bins from ``low`` on; a trained bank keeps all its columns."""
        centres, exact = self.centres(), self.exact_bins

        def bank() -> np.ndarray:
            if kind == "quefrency":
                return quefrency_filters(centres, self.sample_rate, self.high_quefrency, exact)
            return frequency_filters(centres, self.sample_rate, self.n_fft, self.fr, self.high_bin, exact)

        rows, columns = len(centres) - 1, self.high_quefrency if kind == "quefrency" else self.high_bin
        if kind not in trainable:
            return Filterbank()(features, Constant.lazy(kind, (rows, columns - low), lambda: bank()[:, low:]))
        whole = Constant.lazy(kind, (rows, columns), bank, True)
        return Filterbank()(features, Slice(low)(whole) if low else whole)

    def combined(self, spectrum: Value, trainable: frozenset[str]) -> tuple[Value, Value, Value]:
        """Z, and the two that it is the product of."""
        frequency, quefrency = self.layers(spectrum)
        low = self.low_bin if len(self.g) > 2 else 0
        by_frequency = self.filters(frequency, "frequency", low, trainable)
        by_quefrency = self.filters(quefrency, "quefrency", self.low_quefrency, trainable)
        return Multiply()(by_frequency, by_quefrency), by_frequency, by_quefrency

    def frequencies(self) -> tuple[float, ...]:
        """The filters' centres in hertz."""
        return tuple(self.centres()[:-1].tolist())


@dataclass(frozen=True, kw_only=True)
class CFP(PeriodicityTransform):
    """Combined frequency and periodicity: spectrum times cepstrum on a logarithmic frequency axis, for pitch.

    (batch, samples) -> (batch, filters, 1 + samples // hop_length), ``filters`` from ``fc`` to ``1 / tc`` hertz,
    ``bins_per_octave`` an octave. A peak of the spectrum is a pitch or its harmonics, a peak of the cepstrum a pitch or its
    sub-harmonics; the product keeps what both have (Su and Yang, IEEE/ACM TASLP 2015). Spectrum ``abs(X) ** g[0]``; its
    Fourier transform, positive part ``** g[1]``, is the cepstrum; the transform of that, ``** g[2]``, the spectrum again.

    Tested against nnAudio 0.3.4's ``CFP`` (its ``fs`` is ``sample_rate``, ``window_size`` ``win_length``, ``NumPerOct``
    ``bins_per_octave``), which needs a scipy before 1.13. As there, bin k of the spectrum is taken to be at
    ``k * sample_rate / 2 / (n_fft // 2 - 1)`` hertz, up to 0.03 % too high, and a bin that is exactly a filter's centre (the
    quefrencies of 160, 320 and 640 Hz) has no weight; ``exact_bins=True`` puts both right. The first row is empty, and so
    are rows at high frequencies that no quefrency falls into. Not as there: a ``g`` of 0 is ``log(max(x, 0) + 1e-8)`` with
    finite gradients, and where ``tc`` or ``fc`` rounds to no bins, none are cut off instead of all.

    Trainable parts: ``frequency`` and ``quefrency``, the filters over spectrum and cepstrum; ``window``, its win_length samples.
    """

    command: ClassVar[str] = "cfp"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.combined(Magnitude(self.g[0])(self.spectrum(wave, trainable)), trainable)[0]

    def about(self) -> About:
        return About("frequency and periodicity", "", self.frequencies())


@dataclass(frozen=True, kw_only=True)
class CombinedFrequencyPeriodicity(PeriodicityTransform):
    """Combined frequency and periodicity with its parts, and without the first and the last frame.

    (batch, samples) -> four outputs, each (batch, filters, samples // hop_length - 1): ``Z``, the product; ``tfrL0``, the
    magnitude spectrum; ``tfrLF``, the filtered spectrum; ``tfrLQ``, the filtered cepstrum; all on the logarithmic frequency
    axis. ``CFP`` says how they are made, and what of nnAudio 0.3.4's ``Combined_Frequency_Periodicity``, which it is tested
    against, is kept. A clip needs at least ``2 * hop_length`` samples.

    Trainable parts: ``frequency`` and ``quefrency``, the filters over spectrum and cepstrum; ``window``, its win_length samples.
    """

    command: ClassVar[str] = "combined-frequency-periodicity"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Mapping[str, Value]:
        inner, spectrum = Slice(1, -1, axis=2), self.spectrum(wave, trainable)
        plain = Slice(0, self.high_bin)(inner(Magnitude(1.0)(spectrum)))
        product, by_frequency, by_quefrency = self.combined(inner(Magnitude(self.g[0])(spectrum)), trainable)
        level = self.filters(plain, "frequency", 0, trainable)
        return {"Z": product, "tfrL0": level, "tfrLF": by_frequency, "tfrLQ": by_quefrency}

    def about(self) -> Mapping[str, About]:
        quantities = {
            "Z": "frequency and periodicity",
            "tfrL0": "magnitude",
            "tfrLF": "filtered spectrum",
            "tfrLQ": "filtered cepstrum",
        }
        return {name: About(quantity, "", self.frequencies()) for name, quantity in quantities.items()}


Combined_Frequency_Periodicity = CombinedFrequencyPeriodicity  # nnAudio's name
