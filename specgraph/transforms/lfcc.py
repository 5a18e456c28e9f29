"""Linear-frequency cepstral coefficients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.design.dct import dct_matrix
from specgraph.design.triangles import linear_edges, linear_filterbank
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.decibel import Decibel
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.log import Log
from specgraph.ops.magnitude import Magnitude
from specgraph.transforms.base import at_least, at_most, check_size, parameter
from specgraph.transforms.cepstra import CepstralTransform
from specgraph.transforms.filters import MOST_FILTERS, FilteredTransform
from specgraph.transforms.smooth_parts import triangular_bank


@dataclass(frozen=True, kw_only=True)
class LFCC(FilteredTransform, CepstralTransform):
    """Linear-frequency cepstral coefficients: the cosine transform of equally wide bands in decibels.

    (batch, samples) -> (batch, n_lfcc * (1 + deltas), frames). The formula of ``torchaudio.transforms.LFCC``: power spectrum,
    triangles equally far apart in hertz with a peak of 1, decibels with ``amin`` 1e-10 and ``top_db`` below the clip's maximum
    (torchaudio takes the batch's), orthonormal DCT-II. ``log_lf=True`` takes ``ln(x + 1e-6)`` instead of decibels. The frames
    are librosa's by default; torchaudio's own are ``sample_rate=16000, n_fft=400, hop_length=200``, and it writes ``f_min``
    and ``f_max`` for ``fmin`` and ``fmax``. ``cmvn`` comes before ``deltas``; see ``MFCC``.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``linear``, the filterbank, (n_filter,
    n_fft // 2 + 1), or what makes it, ``centres`` and ``bandwidths``, as ``MelSpectrogram`` has them; ``dct``, the matrix (n_lfcc, n_filter).
    """

    command: ClassVar[str] = "lfcc"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "linear", "dct", "window")
    smooth_parts: ClassVar[Mapping[str, str]] = {
        **FilteredTransform.smooth_parts,
        **dict.fromkeys(("centres", "bandwidths"), "linear"),
    }

    n_filter: int = parameter(128, "linear filters")
    n_lfcc: int = parameter(40, "coefficients to keep")
    log_lf: bool = parameter(False, "natural logarithm of x + 1e-6 instead of decibels")
    top_db: float | None = parameter(80.0, "range below the clip's maximum, in decibels; none: no limit")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_filter", "n_lfcc")
        at_least(self, 0, "top_db")
        at_most(self, max(self.n_fft + 2, MOST_FILTERS), "n_filter")
        check_size(self, self.n_filter * (self.n_fft // 2 + 1), "n_filter", "n_fft")
        if self.n_lfcc > self.n_filter:
            raise ValueError(f"n_lfcc {self.n_lfcc} is more than the {self.n_filter} filters; lower it or raise n_filter")
        self.check_band()
        self.check_filters(self.bank(), "linear", "n_filter")

    def bank(self) -> np.ndarray:
        """(n_filter, n_fft // 2 + 1): the filterbank."""
        return linear_filterbank(self.sample_rate, self.n_fft, self.n_filter, self.fmin, self.highest)

    def filters(self, trainable: frozenset[str]) -> Value:
        """(n_filter, n_fft // 2 + 1): the filterbank, or what makes it of its trained centres and bandwidths."""
        bins = self.n_fft // 2 + 1
        if not trainable & {"centres", "bandwidths"}:
            return Constant.lazy("linear", (self.n_filter, bins), self.bank, "linear" in trainable)
        corners = linear_edges(self.n_filter, self.fmin, self.highest) * self.n_fft / self.sample_rate
        return triangular_bank("linear", corners, np.ones(self.n_filter), bins, trainable)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        power = Magnitude(2.0)(self.spectrum(wave, trainable))
        bands = Filterbank()(power, self.filters(trainable))
        level = Log(amin=0.0, offset=1e-6)(bands) if self.log_lf else Decibel(top_db=self.top_db)(bands)
        shape = (self.n_lfcc, self.n_filter)
        matrix = Constant.lazy("dct", shape, lambda: dct_matrix(*shape), "dct" in trainable)
        return self.finished(Filterbank()(level, matrix))

    def about(self) -> About:
        return About("LFCC", self.unit("ln" if self.log_lf else "dB"))
