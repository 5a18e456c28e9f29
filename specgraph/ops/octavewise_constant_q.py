"""The constant-Q transform as nnAudio's CQT2010v2 approximates it: the kernels of one octave, over a signal that is halved again and again."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy import signal as filters

from specgraph.design import constant_q
from specgraph.design.constant_q import Convention
from specgraph.dims import Shape
from specgraph.op import Array, Constant, GraphError, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.concat import Concat
from specgraph.ops.constant_q import _Kernels
from specgraph.ops.fir_downsample import FirDownsample
from specgraph.ops.frame_conv import FrameConv, check_signal
from specgraph.ops.layout import Slice, check_lengths
from specgraph.ops.lengths import Lengths
from specgraph.ops.pad import Pad
from specgraph.reach import Reach

HALVING_TAPS, TRANSITION = 256, 0.001


@lru_cache(maxsize=1)
def halving_filter() -> npt.NDArray[np.float64]:
    """(257,): nnAudio's low-pass of 256 taps as ``FirDownsample`` takes it: output m reads samples ``2 * m - 127`` to ``2 * m + 128``."""
    edges = [0.0, 0.5 / (1 + TRANSITION), 0.5 * (1 + TRANSITION), 1.0]
    return np.append(filters.firwin2(HALVING_TAPS, edges, [1.0, 1.0, 0.0, 0.0])[::-1], 0.0)


@dataclass(frozen=True, eq=False)
class OctavewiseConstantQ(_Kernels):
    """(batch, samples) -> (batch, n_bins, samples // hop_length + 1, 2): frame t is centred on sample ``t * hop_length``, or near it.

    The bins of the highest octave are those of ``ConstantQ`` in convention "nnaudio". For each octave below, the signal is filtered by
    256 taps, of which every second output is kept, ``samples // 2`` of them, and the same kernels are applied at half the hop. Each
    octave's signal is padded by ``pad_mode`` at its own ends. What the filter leaves of aliasing, ripple and half a sample of delay at each
    octave stays: that is 3 to 15 % of the peak away from ``ConstantQ``, and what models have been trained with. ``trainable`` makes the
    octave's kernels, (2, bins_per_octave, width), a parameter named "cqt". With ``lengths``, (batch,), each clip has its own ends.
    """

    lengths_at = 1

    convention: Convention = "nnaudio"
    trainable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.convention != "nnaudio" or self.gamma:
            raise GraphError("one octave's kernels serve all octaves where lengths are nnaudio's and gamma is 0")
        if self.hop_length % 2 ** (self.octaves - 1):
            raise GraphError(
                f"hop_length {self.hop_length} is not a multiple of {2 ** (self.octaves - 1)}, by which the signal is decimated for "
                f"the lowest of {self.octaves} octaves"
            )

    @property
    def octaves(self) -> int:
        """How many octaves there are, the lowest perhaps not whole."""
        return math.ceil(self.n_bins / self.bins_per_octave)

    @property
    def forced(self) -> str | None:
        """There is one way."""
        return "halved"

    @cached_property
    def highest(self) -> npt.NDArray[np.float64]:
        """The centre frequencies of the kernels, in hertz: an octave that ends with the highest bin, or all bins where they are fewer."""
        lowest = self.centres[-1] / 2.0 ** (1 - 1 / self.bins_per_octave) if self.octaves > 1 else self.fmin
        return constant_q.bin_centres(lowest, min(self.n_bins, self.bins_per_octave), self.bins_per_octave)

    @cached_property
    def highest_lengths(self) -> npt.NDArray[np.float64]:
        """How long the kernels are, in samples."""
        alpha = constant_q.relative_bandwidth(self.bins_per_octave, self.convention)
        return constant_q.kernel_lengths(self.sample_rate, self.highest, alpha, self.filter_scale, 0.0, self.convention)

    @cached_property
    def half(self) -> int:
        """Half the samples of a frame, a power of two."""
        return max(2 ** math.ceil(math.log2(self.highest_lengths[0])) // 2, 1)

    def kernels(self) -> npt.NDArray[np.float64]:
        """(2, bins, 2 * half): real and imaginary parts of the octave's kernels, not yet scaled."""
        return self._designed

    @cached_property
    def _designed(self) -> npt.NDArray[np.float64]:
        bank = constant_q.kernels(
            self.sample_rate, self.highest, self.highest_lengths, self.window, self.norm, "convolutional", self.convention
        )
        return constant_q.stacked(bank, self.half)

    def scales(self) -> npt.NDArray[np.float64]:
        """(n_bins, 1, 1): what bins are multiplied by."""
        named = {"librosa": np.sqrt(self.lengths), "wrap": np.full(self.n_bins, 2.0), "convolutional": np.ones(self.n_bins)}
        return named[self.normalization][:, None, None]

    def infer(self, signal: Shape, lengths: Shape | None = None) -> Shape:
        check_signal(signal)
        if lengths is not None:
            check_lengths(signal, lengths)
        return signal[0], self.n_bins, signal[1] // self.hop_length + 1, 2

    def inner_sizes(self, *shapes: Shape) -> Shape:
        return (shapes[0][1] // 2 ** (self.octaves - 1),)  # samples of the lowest octave

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (signal,) = operands
        return self(signal, lengths(signal))

    def numpy(self, signal, lengths=None):
        if lengths is None:
            return self._clips(signal)
        result = np.zeros((len(signal), self.n_bins, signal.shape[1] // self.hop_length + 1, 2))
        for row, clip, length in zip(result, signal, lengths, strict=True):
            made = self._clips(clip[None, : int(length)])[0]
            row[:, : made.shape[1]] = made
        return result

    def _clips(self, signal: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Clips of one length."""
        parts = []
        for octave in range(self.octaves):
            if octave:
                samples = signal.shape[1] // 2
                signal = FirDownsample(2).numpy(signal, halving_filter())[:, :samples]
            padded = Pad(self.half, mode=self.pad_mode).numpy(signal)
            parts.append(FrameConv(self.hop_length // 2**octave).numpy(padded, self.kernels()))
        return np.concatenate(parts[::-1], 1)[:, -self.n_bins :] * self.scales()

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """As ``ConstantQ`` has it."""
        signal, *lengths = operands
        own = self.rounded_share(signal, result, tolerance)
        return own if spread[0] is None else own + np.abs(self.numpy(spread[0], *lengths))

    def reach(self, *shapes: Shape) -> Reach:
        whole = 2 ** (self.octaves - 1)
        side = self.half * whole + HALVING_TAPS // 2 * (whole - 1)
        return Reach(self.hop_length, -side, side, 0.0)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(8000, 16, 400.0, 30), ("batch", "samples")
        yield cls(8000, 16, 1400.0, 12), ("batch", "samples"), ("batch",)
        yield cls(8000, 20, 900.0, 13, 8, window="hamming", normalization="wrap", pad_mode="constant"), ("batch", "samples")
        yield cls(8000, 7, 1500.0, 5, filter_scale=0.7, norm=None, normalization="convolutional"), ("batch", "samples")


@OctavewiseConstantQ.lowering
def halved(op: OctavewiseConstantQ, signal: Value, *lengths: Value) -> Value:
    """A filter and a bank for each octave."""
    shape = 2, len(op.highest), 2 * op.half
    kernels = Constant.lazy("cqt", shape, op.kernels, op.trainable)
    parts = []
    for octave in range(op.octaves):
        if octave:
            signal, lengths = _half_the_rate(signal, *lengths)
        padded = Pad(op.half, mode=op.pad_mode)(signal, *lengths)
        parts.append(FrameConv(op.hop_length // 2**octave)(padded, kernels))
    joined = Concat(1)(*parts[::-1]) if len(parts) > 1 else parts[0]
    surplus = len(parts) * shape[1] - op.n_bins
    scales = Constant.lazy("scales", (op.n_bins, 1, 1), op.scales)
    return Multiply()(Slice(surplus)(joined) if surplus else joined, scales)


def _half_the_rate(signal: Value, *lengths: Value) -> tuple[Value, tuple[Value, ...]]:
    """(batch, samples) -> (batch, samples // 2), and how long the clips are then: of ceil((samples + 1) / 2) outputs all but the last."""
    taps, fir = Constant.lazy("halving", (HALVING_TAPS + 1,), halving_filter), FirDownsample(2)
    longer = Pad(0, 1, "constant")(signal, *lengths)
    filtered = fir.ragged(lambda _: Lengths(((1, 1, 1),))(*lengths), longer, taps) if lengths else fir(longer, taps)
    assert filtered is not None
    return Slice(0, -1)(filtered), tuple(Lengths(((1, 0, 2),))(each) for each in lengths)
