"""What all transforms with a filterbank over the DFT's bins share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specgraph.transforms.base import Transform, at_least, parameter
from specgraph.transforms.spectrogram import FourierTransform

MOST_FILTERS = 4096


@dataclass(frozen=True, kw_only=True)
class Band(Transform):
    """A transform of the frequencies from ``fmin`` to ``fmax``."""

    fmin: float = parameter(0.0, "lowest frequency of the filters, in hertz")
    fmax: float | None = parameter(None, "highest frequency of the filters, in hertz; none: half the sample rate")

    @property
    def highest(self) -> float:
        """``fmax`` or what stands for it."""
        return self.sample_rate / 2 if self.fmax is None else self.fmax

    def check_band(self) -> None:
        """Raise unless the filters lie between 0 and half the sample rate."""
        at_least(self, 0, "fmin")
        nyquist = self.sample_rate / 2
        if self.highest > nyquist:
            raise ValueError(
                f"fmax {self.highest:g} Hz is above half the sample rate, {nyquist:g} Hz; lower it or set fmax=None"
            )
        if self.fmin >= self.highest:
            raise ValueError(f"fmin {self.fmin:g} Hz is not below fmax {self.highest:g} Hz")


@dataclass(frozen=True, kw_only=True)
class Filters(Band):
    """A transform with filters over the bins of a DFT."""

    n_fft: int = parameter(2048, "samples of a frame")
    allow_empty_filters: bool = parameter(False, "accept filters that no bin of the DFT falls into; they give zeros")

    def check_filters(self, bank: np.ndarray, kind: str, count: str) -> None:
        """Raise where a filter is empty and that is not accepted; ``count`` is the parameter that says how many there are."""
        empty = np.flatnonzero(~bank.any(axis=1))
        if len(empty) and not self.allow_empty_filters:
            raise ValueError(
                f"{len(empty)} of {len(bank)} {kind} filters are empty, the first of them filter {empty[0]}: no bin of an n_fft of "
                f"{self.n_fft} falls into them; lower {count}, raise n_fft, or set allow_empty_filters=True"
            )


@dataclass(frozen=True, kw_only=True)
class FilteredTransform(Filters, FourierTransform):
    """A transform that begins with filters over a spectrogram."""
