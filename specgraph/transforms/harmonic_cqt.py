"""Transforms on top of the constant-Q transform: harmonics side by side, and pitch classes."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from specgraph.design.chroma import cqt_to_chroma
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply, Subtract
from specgraph.ops.compare import Less
from specgraph.ops.concat import Concat
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.layout import Reshape
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.normalize import Normalize
from specgraph.transforms.base import at_least, parameter
from specgraph.transforms.chroma import normalized
from specgraph.transforms.constant_q import ConstantQTransform

MOST_HARMONICS = 32


@dataclass(frozen=True, kw_only=True)
class HarmonicCQT(ConstantQTransform):
    """Harmonic constant-Q transform: the magnitudes of a pitch's harmonics side by side, as pitch models read them.

    (batch, samples) -> (batch, harmonics, n_bins, frames): for each number h of ``harmonics`` the magnitudes of a CQT from
    ``h * fmin`` on (Bittner and others, "Deep salience representations for F0 estimation in polyphonic music", 2017). Each
    harmonic is equal to ``CQT`` with that ``fmin``. Decimated signals are computed once for all of them.

    Trainable part: ``cqt``, the kernels of each harmonic, (2, n_bins, width); the module's parameters are ``cqt``, ``cqt_1``, ...
    """

    command: ClassVar[str] = "harmonic-cqt"

    n_bins: int = parameter(60, "bins of each harmonic")
    harmonics: tuple[float, ...] = parameter((0.5, 1.0, 2.0, 3.0, 4.0, 5.0), "multiples of the frequency")

    def check(self) -> None:
        if not 1 <= len(self.harmonics) <= MOST_HARMONICS or not all(0 < h < math.inf for h in self.harmonics):
            raise ValueError(f"harmonics must be 1 to {MOST_HARMONICS} numbers above 0, not {self.harmonics!r}")
        for harmonic in (1.0, *self.harmonics):
            if harmonic == 1.0:
                super().check()
                continue
            try:
                self._at(harmonic)
            except ValueError as error:
                raise ValueError(f"harmonic {harmonic:g}: {error}") from None

    def _at(self, harmonic: float) -> ConstantQTransform:
        """The transform of one harmonic."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(ConstantQTransform)}
        return ConstantQBins(**(parts | {"fmin": self.fmin * harmonic}))

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        rows = [Magnitude(1.0)(self._at(harmonic).op(trainable)(wave)) for harmonic in self.harmonics]
        joined = Concat(1)(*rows) if len(rows) > 1 else rows[0]
        return Reshape((0, len(rows), self.n_bins, -1))(joined)

    def about(self) -> About:
        return About("magnitude of harmonics", axes=("batch", "harmonics", "bins", "frames"))


@dataclass(frozen=True, kw_only=True)
class ConstantQBins(ConstantQTransform):
    """The parameters of one harmonic."""

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.op(trainable)(wave)

    def about(self) -> About:
        return About("complex")


@dataclass(frozen=True, kw_only=True)
class ChromaCQT(ConstantQTransform):
    """Chromagram from a constant-Q transform: magnitudes summed over octaves into pitch classes.

    (batch, samples) -> (batch, n_chroma, frames), by default between 0 and 1, the loudest class of a frame being 1. The formula of
    ``librosa.feature.chroma_cqt``, to which it is equal on the same constant-Q magnitudes: bins are merged into
    ``n_chroma`` classes, values below ``threshold`` become 0, and each frame is divided by its norm. ``tuning`` is given, not
    estimated. Silent frames are zeros.

    Trainable parts: ``cqt``, the kernels; ``chroma``, the filterbank, (n_chroma, n_bins).
    """

    command: ClassVar[str] = "chroma-cqt"
    trainable_parts: ClassVar[tuple[str, ...]] = ("cqt", "chroma")

    n_bins: int = parameter(252, "bins: seven octaves")
    bins_per_octave: int = parameter(36, "bins for each doubling of the frequency; a multiple of n_chroma")
    n_chroma: int = parameter(12, "pitch classes: equal steps of an octave")
    threshold: float = parameter(0.0, "values below it become 0, before each frame is divided by its norm")
    chroma_norm: float | Literal["inf"] | None = parameter("inf", "norm that each frame is divided by, at least 1; none: not divided")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_chroma")
        at_least(self, 0, "threshold")
        if self.bins_per_octave % self.n_chroma:
            raise ValueError(f"bins_per_octave {self.bins_per_octave} is not a multiple of n_chroma {self.n_chroma}")
        if self.chroma_norm is not None:
            Normalize(self.chroma_norm)

    def bank(self) -> np.ndarray:
        """(n_chroma, n_bins): which bins make which class."""
        return cqt_to_chroma(self.n_bins, self.bins_per_octave, self.n_chroma, self.fmin)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        magnitude = Magnitude(1.0)(self.op(trainable)(wave))
        bank = Constant.lazy("chroma", (self.n_chroma, self.n_bins), self.bank, "chroma" in trainable)
        chroma = Filterbank()(magnitude, bank)
        if self.threshold:
            below = Less()(chroma, Constant.of("threshold", self.threshold))
            chroma = Multiply()(chroma, Subtract()(Constant.of("one", 1.0), below))
        return normalized(chroma, self.chroma_norm)

    def about(self) -> About:
        return About("chroma")
