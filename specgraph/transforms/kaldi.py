"""Kaldi's features: log-mel filterbank and MFCC, with every option of ``compute-fbank-feats`` and ``compute-mfcc-feats`` but dither and VTLN."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from specgraph.design.dct import dct_matrix
from specgraph.design.mel import mel_edges, mel_filterbank
from specgraph.design.windows import WindowSpec
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.affine import Affine
from specgraph.ops.concat import Concat
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.layout import Take
from specgraph.ops.log import Log
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.ops.speech_frame_energy import SpeechFrameEnergy
from specgraph.ops.speech_stft import SpeechStft
from specgraph.transforms.base import Transform, at_least, at_most, parameter
from specgraph.transforms.filters import MOST_FILTERS
from specgraph.transforms.spectrogram import LONGEST_FRAME

EPSILON = float(np.finfo(np.float32).eps)  # Kaldi's floor of energies, 1.19e-7
Window = Literal["povey", "hanning", "hamming", "blackman", "rectangular", "sine"]
WINDOWS: dict[str, WindowSpec] = {
    "povey": "povey",
    "hanning": ("symmetric", "hann"),
    "hamming": ("symmetric", "hamming"),
    "blackman": ("symmetric", "blackman"),
    "rectangular": "boxcar",
}


@dataclass(frozen=True, kw_only=True)
class KaldiTransform(Transform):
    """A transform that begins with Kaldi's frames and mel filters."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "mel")

    sample_rate: int = parameter(16000, "samples a second of the waveforms, in hertz")
    scale: float = parameter(32768.0, "what waveforms are multiplied by: 32768 makes of -1 to 1 the 16-bit numbers that Kaldi reads")
    frame_length: float = parameter(25.0, "milliseconds of a frame")
    frame_shift: float = parameter(10.0, "milliseconds from one frame to the next")
    snip_edges: bool = parameter(True, "only frames that fit into the clip; else frames at the middle of every shift, the clip mirrored at its ends")
    remove_dc_offset: bool = parameter(True, "take the mean of each frame away")
    preemphasis: float = parameter(0.97, "share of the sample before that is taken away, in each frame; 0: none")
    window: Window = parameter("povey", "the window; povey is a Hann window to the power of 0.85")
    round_to_power_of_two: bool = parameter(True, "fill frames up with zeros to a power of two")
    n_mels: int = parameter(23, "mel filters")
    fmin: float = parameter(20.0, "lowest frequency of the filters, in hertz")
    fmax: float = parameter(0.0, "highest frequency of the filters, in hertz; 0 or below: that much above half the sample rate")
    mel_floor: float = parameter(EPSILON, "smallest mel energy that the logarithm is taken of; Kaldi's is 1.19e-7")
    use_energy: bool = parameter(False, "the logarithm of the frame's energy too")
    raw_energy: bool = parameter(True, "the energy is taken before pre-emphasis and window; else after them")
    energy_floor: float = parameter(0.0, "smallest energy; 0: Kaldi's smallest number, 1.19e-7")
    htk_compat: bool = parameter(False, "the energy comes last")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_mels")
        at_most(self, MOST_FILTERS, "n_mels")
        at_least(self, 0, "fmin", "energy_floor")
        if not self.mel_floor > 0:
            raise ValueError(f"mel_floor must be above 0, not {self.mel_floor:g}")
        if not self.scale > 0:
            raise ValueError(f"scale must be above 0, not {self.scale:g}")
        for name, samples in (("frame_length", self.width), ("frame_shift", self.hop)):
            if not 1 <= samples <= LONGEST_FRAME:
                raise ValueError(f"{name} of {getattr(self, name):g} ms is {samples} samples; it must be between 1 and {LONGEST_FRAME}")
        if self.width < 2:
            raise ValueError(f"frame_length of {self.frame_length:g} ms is 1 sample; a frame needs 2")
        if not 0 <= self.preemphasis <= 1:
            raise ValueError(f"preemphasis must be between 0 and 1, not {self.preemphasis:g}")
        if not self.snip_edges and self.width < self.hop:
            raise ValueError(f"snip_edges false goes with frames that overlap, and {self.width} samples are less than the shift of {self.hop}")
        if not self.fmin < self.highest <= self.sample_rate / 2:
            raise ValueError(f"fmax must be above fmin, {self.fmin:g} Hz, and at most half the sample rate; {self.fmax:g} means {self.highest:g} Hz")

    @property
    def width(self) -> int:
        """Samples of a frame."""
        return int(self.sample_rate * 0.001 * self.frame_length)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return int(self.sample_rate * 0.001 * self.frame_shift)

    @property
    def n_fft(self) -> int:
        """Samples of the DFT."""
        return 1 << (self.width - 1).bit_length() if self.round_to_power_of_two else self.width

    @property
    def highest(self) -> float:
        """``fmax`` or what stands for it."""
        return self.fmax if self.fmax > 0 else self.sample_rate / 2 + self.fmax

    @property
    def window_spec(self) -> WindowSpec:
        """The window as ops take it."""
        if self.window == "sine":
            return tuple(np.sin(np.pi * np.arange(self.width) / (self.width - 1)).tolist())
        return WINDOWS[self.window]

    def bank(self) -> np.ndarray:
        """(n_mels, n_fft // 2 + 1): triangles that are straight over mels, with a peak of 1."""
        return mel_filterbank(self.sample_rate, self.n_fft, self.n_mels, self.fmin, self.highest, True, None, "mel")

    def padded(self, wave: Value) -> Value:
        """The clip, mirrored at its ends where frames reach beyond them."""
        if self.snip_edges:
            return wave
        before = self.width // 2 - self.hop // 2
        return Pad(before, self.width - self.hop + self.hop // 2 - before, "symmetric")(wave)

    def log_mel(self, padded: Value, trainable: frozenset[str], power: float = 2.0, logarithm: bool = True) -> Value:
        """(batch, n_mels, frames): mel energies or their natural logarithms."""
        frames = SpeechStft(
            self.n_fft, self.hop, self.width, self.window_spec, self.remove_dc_offset, self.preemphasis, self.scale, "fourier" in trainable
        )
        bank = Constant.lazy("mel", (self.n_mels, self.n_fft // 2 + 1), self.bank, "mel" in trainable)
        energies = Filterbank()(Magnitude(power)(frames(padded)), bank)
        return Log(self.mel_floor)(energies) if logarithm else energies

    def log_energy(self, padded: Value) -> Value:
        """(batch, 1, frames): the natural logarithm of each frame's energy."""
        raw = self.raw_energy
        energy = SpeechFrameEnergy(
            self.width, self.hop, self.remove_dc_offset, 0.0 if raw else self.preemphasis, "boxcar" if raw else self.window_spec
        )
        return Log(max(EPSILON, self.energy_floor))(Affine(self.scale**2)(energy(padded)))


@dataclass(frozen=True, kw_only=True)
class KaldiFbank(KaldiTransform):
    """Kaldi's log-mel filterbank energies.

    (batch, samples) -> (batch, n_mels, frames), or n_mels + 1 with ``use_energy``. Equal to ``compute-fbank-feats`` without dither, to
    kaldi-native-fbank and to ``torchaudio.compliance.kaldi.fbank``, which reads waveforms as they are (``scale=1``). A clip needs a
    frame's samples, or without ``snip_edges`` half a shift.

    Trainable parts: ``fourier``, kernels that hold mean, pre-emphasis, window and DFT; ``mel``, the filterbank, (n_mels, n_fft // 2 + 1).
    """

    command: ClassVar[str] = "kaldi-fbank"

    use_log_fbank: bool = parameter(True, "natural logarithms; else the energies themselves")
    use_power: bool = parameter(True, "filters over the power; else over the magnitude")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        padded = self.padded(wave)
        features = self.log_mel(padded, trainable, 2.0 if self.use_power else 1.0, self.use_log_fbank)
        if not self.use_energy:
            return features
        energy = self.log_energy(padded)
        return Concat(1)(features, energy) if self.htk_compat else Concat(1)(energy, features)

    def about(self) -> About:
        centres = tuple(mel_edges(self.n_mels, self.fmin, self.highest, True)[1:-1].tolist())
        quantity, unit = ("log-mel", "ln") if self.use_log_fbank else ("mel power" if self.use_power else "mel magnitude", "")
        return About(quantity, unit, None if self.use_energy else centres)


@dataclass(frozen=True, kw_only=True)
class KaldiMfcc(KaldiTransform):
    """Kaldi's mel-frequency cepstral coefficients.

    (batch, samples) -> (batch, n_mfcc, frames). Equal to ``compute-mfcc-feats`` without dither, to kaldi-native-fbank and to
    ``torchaudio.compliance.kaldi.mfcc``: the orthonormal DCT-II of the log-mel energies, liftered, the first coefficient being the
    logarithm of the frame's energy with ``use_energy``. With ``htk_compat`` the first comes last, and is multiplied by the root of 2
    if it is not the energy.

    Trainable parts: ``fourier``, kernels that hold mean, pre-emphasis, window and DFT; ``mel``, the filterbank; ``dct``, the matrix
    (n_mfcc, n_mels).
    """

    command: ClassVar[str] = "kaldi-mfcc"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "mel", "dct")

    n_mfcc: int = parameter(13, "coefficients to keep")
    lifter: float = parameter(22.0, "strength of the sinusoidal lifter; 0: none")
    use_energy: bool = parameter(True, "the first coefficient is the logarithm of the frame's energy")

    def check(self) -> None:
        super().check()
        at_least(self, 2, "n_mfcc")
        at_least(self, 0, "lifter")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc {self.n_mfcc} is more than the {self.n_mels} mel filters; lower it or raise n_mels")

    def matrix(self) -> np.ndarray:
        """(n_mfcc, n_mels): the cosine transform, liftered, its rows in the order of the coefficients."""
        lifted = 1.0 + self.lifter / 2 * np.sin(np.pi * np.arange(self.n_mfcc) / self.lifter) if self.lifter else np.ones(self.n_mfcc)
        matrix = dct_matrix(self.n_mfcc, self.n_mels) * lifted[:, None]
        return np.roll(matrix * np.where(np.arange(self.n_mfcc) == 0, np.sqrt(2.0), 1.0)[:, None], -1, 0) if self.htk_compat else matrix

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        padded = self.padded(wave)
        matrix = Constant.lazy("dct", (self.n_mfcc, self.n_mels), self.matrix, "dct" in trainable)
        coefficients = Filterbank()(self.log_mel(padded, trainable), matrix)
        if not self.use_energy:
            return coefficients
        energy, rest = self.log_energy(padded), range(self.n_mfcc - 1) if self.htk_compat else range(1, self.n_mfcc)
        kept = Take(tuple(rest))(coefficients)
        return Concat(1)(kept, energy) if self.htk_compat else Concat(1)(energy, kept)

    def about(self) -> About:
        return About("MFCC")
