"""Mel-frequency cepstral coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specgraph.design.dct import dct_matrix, lifter
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.decibel import Decibel
from specgraph.ops.filterbank import Filterbank
from specgraph.transforms.base import at_least, parameter
from specgraph.transforms.cepstra import CepstralTransform
from specgraph.transforms.mel import MelTransform


@dataclass(frozen=True, kw_only=True)
class MFCC(MelTransform, CepstralTransform):
    """Mel-frequency cepstral coefficients: the cosine transform of the mel spectrogram in decibels.

    (batch, samples) -> (batch, n_mfcc * (1 + deltas), frames). Equal to ``librosa.feature.mfcc`` with the same ``pad_mode``, each
    clip of a batch by itself: mel power, decibels with ``amin`` 1e-10 and ``top_db`` below the clip's maximum, orthonormal
    DCT-II. ``cmvn`` then normalises each coefficient over the clip, or over a window as Kaldi's ``apply-cmvn-sliding``, and
    ``deltas`` puts that many orders of ``librosa.feature.delta``, or of Kaldi's ``add-deltas``, after the coefficients.
    The ops ``cmvn``, ``sliding_cmvn`` and ``delta`` say more.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``mel``, ``centres`` and
    ``bandwidths``, as ``MelSpectrogram`` has them; ``dct``, the matrix (n_mfcc, n_mels).
    """

    command: ClassVar[str] = "mfcc"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "mel", "dct", "window")

    n_mfcc: int = parameter(20, "coefficients to keep")
    lifter: float = parameter(0.0, "strength of the sinusoidal lifter; 0: none")
    amin: float = parameter(1e-10, "smallest power that the logarithm is taken of")
    top_db: float | None = parameter(80.0, "range below the clip's maximum, in decibels; none: no limit")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_mfcc")
        at_least(self, 0, "lifter", "top_db")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc {self.n_mfcc} is more than the {self.n_mels} mel filters; lower it or raise n_mels")
        Decibel(amin=self.amin)

    def levels(self, mel: Value) -> Value:
        """The mel spectrogram, compressed: in decibels."""
        return Decibel(amin=self.amin, top_db=self.top_db)(mel)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        level = self.levels(self.mel(wave, trainable))
        matrix = Constant.lazy(
            "dct",
            (self.n_mfcc, self.n_mels),
            lambda: dct_matrix(self.n_mfcc, self.n_mels) * lifter(self.n_mfcc, self.lifter)[:, None],
            "dct" in trainable,
        )
        return self.finished(Filterbank()(level, matrix))

    def about(self) -> About:
        return About("MFCC", self.unit("dB"))
