"""Constant-Q and variable-Q transform; the ways to compute it are in ``constant_q_direct`` and ``constant_q_multirate``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.design import constant_q, multirate
from specgraph.design.constant_q import Convention, Kernel, Normalization
from specgraph.design.windows import WindowSpec
from specgraph.dims import Shape
from specgraph.op import Array, GraphError, Value
from specgraph.ops.frame_conv import check_positive, check_signal, frame_products
from specgraph.ops.layout import check_lengths
from specgraph.ops.pad import Pad, PadMode
from specgraph.reach import Reach

SMALLEST_NORM, LARGEST_NORM = 0.5, 64.0  # orders of a norm; beyond these sums of powers leave float64
ROUNDING = 2.0**-21  # of what a long kernel sums without signs
Algorithm = Literal["auto", "direct", "grouped", "spectral", "multirate"]
Design = tuple[float, tuple[float, ...], tuple[float, ...], Any, float | None, Normalization, Convention]


@lru_cache(maxsize=16)
def _bank(design: Design) -> list[Kernel]:
    """The kernels of ``ConstantQ.design``: designed once for all ops that share it."""
    sample_rate, centres, lengths, *rest = design
    return constant_q.kernels(sample_rate, np.array(centres), np.array(lengths), *rest)


@lru_cache(maxsize=16)
def _gains(design: Design) -> tuple[Array, float]:
    """(n_bins,): each kernel's sum of magnitudes; and the largest of their Euclidean norms."""
    sizes = [np.abs(kernel.samples) for kernel in _bank(design)]
    return np.array([size.sum() for size in sizes]), max(float(np.sqrt((size**2).sum())) for size in sizes)


@lru_cache(maxsize=16)
def _plan(design: Design, hop_length: int, tolerance: float) -> multirate.Plan:
    sample_rate, centres, *_ = design
    return multirate.plan(_bank(design), np.array(centres), sample_rate, hop_length, tolerance)


def check_norm(norm: float | None) -> None:
    """Raise unless kernels can be divided by their norm of this order in float64."""
    if norm is not None and norm != math.inf and not SMALLEST_NORM <= norm <= LARGEST_NORM:
        raise GraphError(f"norm must be from {SMALLEST_NORM:g} to {LARGEST_NORM:g} or None, not {norm!r}")


@dataclass(frozen=True, eq=False)
class _Kernels(Compound):
    """An op whose constants follow from constant-Q kernels: what decides those."""

    linear = True

    sample_rate: float
    hop_length: int
    fmin: float
    n_bins: int
    bins_per_octave: int = 12
    gamma: float = 0.0
    filter_scale: float = 1.0
    window: WindowSpec = "hann"
    norm: float | None = 1.0
    normalization: Normalization = "librosa"
    convention: Convention = "librosa"
    pad_mode: PadMode = "reflect"
    tolerance: float = 2e-4

    def __post_init__(self) -> None:
        check_positive(hop_length=self.hop_length, n_bins=self.n_bins, bins_per_octave=self.bins_per_octave)
        for name in ("sample_rate", "fmin", "filter_scale", "tolerance"):
            if not getattr(self, name) > 0:
                raise GraphError(f"{name} must be above 0, not {getattr(self, name)!r}")
        if not self.gamma >= 0:
            raise GraphError(f"gamma must be at least 0, not {self.gamma!r}")
        check_norm(self.norm)
        for name, options in (("normalization", Normalization), ("convention", Convention), ("pad_mode", PadMode)):
            if getattr(self, name) not in get_args(options):
                raise GraphError(f"{name} must be one of {', '.join(get_args(options))}, not {getattr(self, name)!r}")
        top = float(self.centres[-1])
        if top > self.sample_rate / 2:
            raise GraphError(f"the highest bin, {top:g} Hz, is above half the sample rate, {self.sample_rate / 2:g} Hz; lower n_bins or fmin")
        if self.lengths[-1] < 2:
            raise GraphError(f"the highest bin's kernel has {self.lengths[-1]:.2f} samples; raise filter_scale or bins_per_octave")

    @cached_property
    def centres(self) -> npt.NDArray[np.float64]:
        """(n_bins,): centre frequencies in hertz."""
        return constant_q.bin_centres(self.fmin, self.n_bins, self.bins_per_octave)

    @cached_property
    def lengths(self) -> npt.NDArray[np.float64]:
        """(n_bins,): lengths of the kernels in samples."""
        alpha = constant_q.relative_bandwidth(self.bins_per_octave, self.convention)
        return constant_q.kernel_lengths(
            self.sample_rate, self.centres, alpha, self.filter_scale, self.gamma, self.convention
        )

    @property
    def parameters(self) -> dict[str, Any]:
        """What ops of the same kernels share."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(_Kernels)}

    @property
    def design(self) -> Design:
        """What decides the kernels."""
        window = tuple(self.window.tolist()) if isinstance(self.window, np.ndarray) else self.window
        frequencies, lengths = tuple(self.centres.tolist()), tuple(self.lengths.tolist())
        return self.sample_rate, frequencies, lengths, window, self.norm, self.normalization, self.convention

    @property
    def bank(self) -> list[Kernel]:
        """The kernels, scaled."""
        return _bank(self.design)

    def rounded_share(self, signal: Array, result: Array, tolerance: float) -> Array:
        """(batch, n_bins, frames, 2): by how much ``result`` may differ in float32.

        Kernels cancel all that lies outside of their range: a fraction of the peak, or of what noise as loud as the clip
        would give, or what rounding the sums of ten thousand products may leave of a drift.
        """
        peak = np.abs(result).max(axis=(1, 2, 3))
        gains, norm = _gains(self.design)
        loudness = np.sqrt(np.mean(signal**2, axis=1)) * norm
        summed = np.mean(np.abs(signal), axis=1)[:, None, None, None] * gains[:, None, None]
        own = np.maximum(tolerance * np.maximum(peak, loudness)[:, None, None, None], ROUNDING * summed)
        return np.broadcast_to(own, result.shape)

    @cached_property
    def half(self) -> int:
        """Samples that the longest kernel reads on either side of a frame's centre."""
        return max(-int(np.floor(-self.lengths.max() / 2)), int(self.lengths.max() // 2))


@dataclass(frozen=True, eq=False)
class ConstantQ(_Kernels):
    """(batch, samples) -> (batch, n_bins, samples // hop_length + 1, 2): frame t is centred on sample ``t * hop_length``.

    Each bin is the inner product of the clip, padded by ``pad_mode``, with the conjugate of its kernel:
    ``specgraph.design.constant_q`` has the formulas. ``gamma`` above 0 makes it a variable-Q transform. ``tolerance`` is the
    error that lowerings may make, as a fraction of the peak: "direct" and "grouped" make none but rounding. ``algorithm`` asks
    for one of them by name. ``trainable`` makes the kernels, (2, n_bins, width), a parameter named "cqt".
    """

    lengths_at = 1

    algorithm: Algorithm = "auto"
    trainable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm not in get_args(Algorithm):
            raise GraphError(f"algorithm must be one of {', '.join(get_args(Algorithm))}, not {self.algorithm!r}")
        if self.trainable and self.algorithm not in ("auto", "direct"):
            raise GraphError(f"algorithm {self.algorithm} does not keep its kernels as they are; what is trained is direct")

    @property
    def plan(self) -> multirate.Plan:
        """Where each bin is computed at a lower rate, within the tolerance."""
        return _plan(self.design, self.hop_length, self.tolerance)

    @property
    def forced(self) -> str | None:
        """Trained kernels are applied as they are; else what ``algorithm`` says."""
        return "direct" if self.trainable else None if self.algorithm == "auto" else self.algorithm

    def accuracy(self, lowering: str) -> float | None:
        """Only lower rates and cut spectra are approximations."""
        return self.tolerance if lowering in ("multirate", "spectral") else None

    @property
    def hardest_tone(self) -> float | None:
        """Where the kernels of the lowest rate, whose outputs are the largest, are farthest from those of the definition."""
        return self.plan.hardest_tone

    def bound(self, lowering: str) -> float | None:
        """What the kernels of ``multirate`` say of its error."""
        return self.plan.bound if lowering == "multirate" else None

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """That of the kernels, and what the operand's own becomes."""
        signal, *lengths = operands
        own = self.rounded_share(signal, result, tolerance)
        return own if spread[0] is None else own + np.abs(self.numpy(spread[0], *lengths))

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        return self(signal, lengths(signal))

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        check_signal(signal)
        if lengths is not None:
            check_lengths(signal, lengths)
        return signal[0], self.n_bins, signal[1] // self.hop_length + 1, 2

    def numpy(self, signal, lengths=None):
        padded = Pad(self.half, mode=self.pad_mode).numpy(signal, lengths)
        frames = signal.shape[1] // self.hop_length + 1
        parts = []
        for start in range(0, self.n_bins, self.bins_per_octave):  # whose kernels are of similar lengths
            bank = self.bank[start : start + self.bins_per_octave]
            first, width = constant_q.extent(bank)
            begin = self.half + first
            read = padded[:, begin : begin + (frames - 1) * self.hop_length + width]
            products = frame_products(read, constant_q.conjugated(constant_q.in_rows(bank, first, width)), self.hop_length)
            parts.append(products.reshape(len(signal), len(bank), 2, frames).swapaxes(2, 3))
        return np.concatenate(parts, 1)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop_length, -self.half, self.half, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(8000, 64, 200.0, 40), ("batch", "samples")
        yield cls(8000, 64, 200.0, 40), ("batch", "samples"), ("batch",)
        yield cls(8000, 60, 110.0, 62, tolerance=1e-4, pad_mode="constant"), ("batch", "samples")
        yield cls(8000, 45, 150.0, 20, 8, gamma=5.0, filter_scale=0.7, norm=None), ("batch", "samples")
        yield cls(8000, 32, 150.0, 55, 12, convention="nnaudio", normalization="wrap", window="hamming"), ("batch", "samples")
        yield cls(8000, 53, 900.0, 25, norm=2.0, normalization="convolutional"), ("batch", "samples")
