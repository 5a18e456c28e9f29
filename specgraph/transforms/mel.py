"""Mel spectrogram, linear and logarithmic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from specgraph.design.bfloat16 import bfloat16
from specgraph.design.mel import MelNorm, Straight, mel_edges, mel_filterbank
from specgraph.design.windows import Align
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.affine import Affine
from specgraph.ops.decibel import Decibel
from specgraph.ops.elementwise import Power
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.log import Log, Log10
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.speech_stft import SpeechStft
from specgraph.transforms.base import at_least, at_most, check_exponents, check_size, parameter
from specgraph.transforms.filters import MOST_FILTERS, Filters
from specgraph.transforms.smooth_parts import triangular_bank
from specgraph.transforms.spectrogram import LONGEST_FRAME, FourierTransform


@dataclass(frozen=True, kw_only=True)
class MelBank(Filters):
    """A transform with mel filters over the bins of a DFT."""

    exponent_name: ClassVar[str] = "power"  # of the parameter that holds the exponent before the filters

    n_mels: int = parameter(128, "mel filters")
    htk: bool = parameter(False, "HTK's mel scale instead of Slaney's")
    norm: MelNorm | None = parameter("slaney", "slaney: filters of equal area; none: filters with a peak of 1")
    straight: Straight = parameter("hz", "the filters' sides are straight over hertz; over mels, as Kaldi's; or symmetric over hertz, as SpeechBrain's")
    filter_dtype: Literal["float64", "bfloat16"] = parameter("float64", "bfloat16: filters rounded to it, as models trained with those have them")
    power: float = parameter(2.0, "exponent of the magnitude before the filters")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_fft", "n_mels")
        at_most(self, LONGEST_FRAME, "n_fft")
        at_most(self, max(self.n_fft + 2, MOST_FILTERS), "n_mels")  # more are empty for certain, and may exhaust the memory
        check_size(self, self.n_mels * (self.n_fft // 2 + 1), "n_mels", "n_fft")
        check_exponents(self, self.exponent_name)
        self.check_band()
        self.check_filters(self.bank(), "mel", "n_mels")

    @property
    def exponent(self) -> float:
        """The exponent of the magnitude before the filters."""
        return float(getattr(self, self.exponent_name))

    def bank(self) -> np.ndarray:
        """(n_mels, n_fft // 2 + 1): the filterbank."""
        bank = mel_filterbank(self.sample_rate, self.n_fft, self.n_mels, self.fmin, self.highest, self.htk, self.norm, self.straight)
        return bfloat16(bank) if self.filter_dtype == "bfloat16" else bank

    def corners(self) -> np.ndarray:
        """(n_mels + 2,): the corners of the triangles, in hertz."""
        return mel_edges(self.n_mels, self.fmin, self.highest, self.htk)

    def centres(self) -> tuple[float, ...]:
        """The frequencies at which the filters peak, in hertz."""
        return tuple(self.corners()[1:-1].tolist())


@dataclass(frozen=True, kw_only=True)
class MelTransform(MelBank, FourierTransform):
    """A transform that begins with a mel spectrogram."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "mel", "window")
    smooth_parts: ClassVar[Mapping[str, str]] = {**FourierTransform.smooth_parts, "centres": "mel", "bandwidths": "mel"}

    align: Align = parameter("center", "where a window shorter than n_fft stands in the frame; start: frames are counted by the window")
    power_offset: float = parameter(0.0, "added to the squared magnitude before it is raised to power / 2")
    preemphasis: float = parameter(0.0, "share of the sample before that is taken away, in each frame, as HTK and Kaldi do; 0: none")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "power_offset", "preemphasis")
        at_most(self, 1, "preemphasis")
        if self.preemphasis and self.align != "start":
            raise ValueError(f"preemphasis {self.preemphasis:g} goes with align start: frames are those of speech toolkits, counted by the window")
        if self.align == "start" and self.center:
            raise ValueError("align start goes with center false: a centred frame has its window in the middle")

    @property
    def alignment(self) -> Align:
        return self.align

    def spectrum(self, wave: Value, trainable: frozenset[str]) -> Value:
        if not self.preemphasis:
            return super().spectrum(wave, trainable)
        if parts := sorted(trainable & {"window", "window_shape"}):
            raise ValueError(f"with preemphasis {self.preemphasis:g} the part {parts[0]} cannot be trained by itself; train fourier, which holds both")
        frames = SpeechStft(
            self.n_fft, self.hop, self.win_length, self.window, remove_mean=False, preemphasis=self.preemphasis, trainable="fourier" in trainable
        )
        return frames(wave)

    def mel(self, wave: Value, trainable: frozenset[str]) -> Value:
        """(batch, samples) -> (batch, n_mels, frames)."""
        spectrum = self.spectrum(wave, trainable)
        if self.power_offset:
            magnitude = Power(self.exponent / 2)(Affine(offset=self.power_offset)(Magnitude(2.0)(spectrum)))
        else:
            magnitude = Magnitude(self.exponent)(spectrum)
        return Filterbank()(magnitude, self.filters(trainable))

    def filters(self, trainable: frozenset[str]) -> Value:
        """(n_mels, n_fft // 2 + 1): the filterbank, or what makes it of its trained centres and bandwidths."""
        shape = self.n_mels, self.n_fft // 2 + 1
        if not trainable & {"centres", "bandwidths"}:
            return Constant.lazy("mel", shape, self.bank, "mel" in trainable)
        if self.straight != "hz":
            raise ValueError(f"centres and bandwidths make triangles that are straight over hertz, not over {self.straight}; train mel instead")
        corners = self.corners()
        heights = 2.0 / (corners[2:] - corners[:-2]) if self.norm == "slaney" else np.ones(self.n_mels)
        return triangular_bank(
            "mel", corners * self.n_fft / self.sample_rate, heights, shape[1], trainable, self.norm == "slaney"
        )


@dataclass(frozen=True, kw_only=True)
class MelSpectrogram(MelTransform):
    """Mel spectrogram: triangular filters over the power spectrum.

    (batch, samples) -> (batch, n_mels, frames). Equal to ``librosa.feature.melspectrogram`` with the same ``pad_mode``;
    torchaudio's default filters are ``htk=True, norm=None``.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``mel``, the filterbank, (n_mels,
    n_fft // 2 + 1); or what makes it, (n_mels,) each, 0 to begin with: ``centres``, how far filters have moved, in units of
    half their width (1: to where the filter above it peaked, or nearly); ``bandwidths``, the logarithms of what their widths
    have grown by.
    """

    command: ClassVar[str] = "mel"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.mel(wave, trainable)

    def about(self) -> About:
        quantity = {1.0: "mel magnitude", 2.0: "mel power"}.get(self.power, f"mel magnitude ** {self.power:g}")
        return About(quantity, "", self.centres())


@dataclass(frozen=True, kw_only=True)
class LogMelSpectrogram(MelTransform):
    """Mel spectrogram in decibels, or in natural or decimal logarithms.

    (batch, samples) -> (batch, n_mels, frames). ``log="db"`` is ``10 log10(max(S, amin) / max(ref, amin))`` raised to at
    least the clip's maximum less ``top_db``: ``librosa.power_to_db`` of the mel spectrogram, but for each clip of a batch
    by itself. ``log="ln"`` and ``"log10"`` are the logarithm of ``max(S + offset, amin)``, without ``ref`` and ``top_db``.
    With ``top_db=None`` a frame depends on its own samples only.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``mel``, ``centres`` and
    ``bandwidths``, as ``MelSpectrogram`` has them.
    """

    command: ClassVar[str] = "log-mel"

    log: Literal["db", "ln", "log10"] = parameter("db", "decibels, natural or decimal logarithm")
    amin: float = parameter(1e-10, "smallest value that the logarithm is taken of")
    offset: float = parameter(0.0, "added before the logarithm, for ln and log10")
    ref: float | Literal["max"] = parameter(1.0, "the power that is 0 dB, for db; max: the clip's largest")
    top_db: float | None = parameter(80.0, "range below the clip's maximum, for db; none: no limit")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "offset", "top_db")
        if self.log == "db" and self.offset:
            raise ValueError(f"offset {self.offset} goes with log ln or log10; in decibels amin is the floor")
        self.logarithm()

    def logarithm(self) -> Decibel | Log | Log10:
        """The op that compresses."""
        if self.log == "db":
            return Decibel(self.ref, self.amin, self.top_db)
        return (Log if self.log == "ln" else Log10)(self.amin, self.offset)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.logarithm()(self.mel(wave, trainable))

    def about(self) -> About:
        return About("log-mel", {"db": "dB", "ln": "ln", "log10": "log10"}[self.log], self.centres())
