"""Another sample rate, by a rational ratio; the ways to compute it are in ``resample_blocks``."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import get_args

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.design.resample import Method, half_width, resampling_taps
from specgraph.dims import Shape
from specgraph.op import Array, GraphError, Value
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.reach import Reach

MOST_TAPS = 2**22  # of all phases together
LEAST_OUTPUTS = 16  # of a matrix product that is fast
BLOCK = 4096  # outputs that the definition computes at a time


@dataclass(frozen=True, eq=False)
class Resample(Compound):
    """(batch, samples) -> (batch, ceil(samples * new_freq / orig_freq)): the signal at another sample rate, zeros outside.

    Band-limited interpolation with a windowed sinc, torchaudio's ``Resample`` with the same parameters: both rates are
    divided by their greatest common divisor, and output m is ``sum_i x[i] h(i / orig - m / new)``, at the same time as input
    sample ``m * orig / new``. ``lowpass_filter_width`` zero crossings to each side, cut-off at ``rolloff`` of the lower rate's
    Nyquist frequency; ``beta`` is the Kaiser window's. ``trainable`` makes the filters, (new, width), a parameter named "fir".
    """

    linear = True

    orig_freq: int
    new_freq: int
    lowpass_filter_width: int = 6
    rolloff: float = 0.99
    resampling_method: Method = "sinc_interp_hann"
    beta: float | None = None
    trainable: bool = False

    def __post_init__(self) -> None:
        check_positive(
            orig_freq=self.orig_freq, new_freq=self.new_freq, lowpass_filter_width=self.lowpass_filter_width
        )
        if not 0 < self.rolloff <= 1:
            raise GraphError(f"rolloff must be above 0 and at most 1, not {self.rolloff!r}")
        if self.resampling_method not in get_args(Method):
            raise GraphError(f"resampling_method must be {' or '.join(get_args(Method))}, not {self.resampling_method!r}")
        if self.beta is not None and self.resampling_method != "sinc_interp_kaiser":
            raise GraphError(f"beta {self.beta!r} goes with resampling_method sinc_interp_kaiser")
        if self.beta is not None and not 0 <= self.beta < 100:
            raise GraphError(f"beta must be at least 0 and below 100, not {self.beta!r}")
        orig, new = self.ratio
        taps = 2 * half_width(orig, new, self.lowpass_filter_width, self.rolloff) + 2
        if new * taps > MOST_TAPS or orig > MOST_TAPS:
            raise GraphError(
                f"{self.orig_freq} Hz to {self.new_freq} Hz is {orig}:{new} in lowest terms and needs {new} filters of {taps:.0f} taps; "
                "choose rates with a larger common divisor"
            )
        if self.trainable and orig == new:
            raise GraphError(f"there is no filter to train where both rates are {self.orig_freq}")

    @property
    def ratio(self) -> tuple[int, int]:
        """(orig, new) without common factors."""
        common = math.gcd(self.orig_freq, self.new_freq)
        return int(self.orig_freq) // common, int(self.new_freq) // common

    @property
    def periods(self) -> int:
        """Of the ratio, that make enough outputs for a matrix product that is fast."""
        return -(-LEAST_OUTPUTS // self.ratio[1])

    @cached_property
    def taps(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """(new,) first input samples and (new, taps) weights; ``design.resample`` says more."""
        return resampling_taps(
            *self.ratio, self.lowpass_filter_width, self.rolloff, self.resampling_method, self.beta
        )

    @property
    def forced(self) -> str | None:
        """Trained filters are a bank of kernels."""
        return "conv" if self.trainable else None

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        orig, new = self.ratio
        if orig == new:
            return self(signal)
        hop = orig * self.periods  # a block of outputs, of which some may be the clip's, reads whole rows of that
        periods = -(-(hop + self.taps[1].shape[1] - 1) // hop) * self.periods
        followed = Pad(0, periods * orig, "constant")(signal, lengths(signal))
        return Slice(0, -periods * new)(self(followed))

    def infer(self, signal: Shape) -> Shape:
        check_signal(signal)
        orig, new = self.ratio
        return signal[0], (signal[1] * new + (orig - 1)) // orig

    def numpy(self, signal):
        return self._filtered(signal, *self.taps)

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """``tolerance`` of the item's peak before the filter, which may remove the signal and leave its rounding."""
        peak = np.maximum(np.abs(operands[0]).max(1, initial=0.0), np.abs(result).max(1, initial=0.0))
        own = np.broadcast_to(tolerance * peak[:, None], result.shape)
        starts, weights = self.taps
        return own if spread[0] is None else own + self._filtered(spread[0], starts, np.abs(weights))

    def _filtered(self, signal, starts, weights):
        orig, new = self.ratio
        if orig == new:
            return signal
        count = -(-signal.shape[1] * new // orig)
        before, after = -int(starts[0]), weights.shape[1] + orig
        padded = np.pad(signal, ((0, 0), (before, after)))
        result = np.empty((len(signal), count))
        for first in range(0, count, BLOCK):
            m = np.arange(first, min(first + BLOCK, count))
            read = (m // new * orig + starts[m % new] + before)[:, None] + np.arange(weights.shape[1])
            result[:, m] = np.einsum("bmt,mt->bm", padded[:, read], weights[m % new])
        return result

    def reach(self, *shapes: Shape) -> Reach:
        orig, new = self.ratio
        if orig == new:
            return Reach()
        width = half_width(orig, new, self.lowpass_filter_width, self.rolloff)
        return Reach(Fraction(orig, new), -width, width, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        for orig, new in ((3, 1), (1, 2), (2, 3), (441, 160), (4, 4), (147, 320), (5, 4), (50, 49), (1, 7), (97, 1), (101, 97)):
            yield cls(orig, new), ("batch", "samples")
        yield cls(48000, 44100, 16, 0.9475937167399596, "sinc_interp_kaiser"), ("batch", "samples")
        yield cls(16000, 12000, 2, 0.8, "sinc_interp_kaiser", 6.0), ("batch", "samples")

