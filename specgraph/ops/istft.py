"""Inverse short-time Fourier transform; the ways to compute it are in ``istft_lowerings``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specgraph.dims import Shape, Size, text
from specgraph.op import Array, GraphError
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import Slice
from specgraph.ops.overlap_add import FitLength, OverlapAdd, OverlapNormalize
from specgraph.ops.stft import _Windowed
from specgraph.reach import Reach

ROUNDING = 2.3e-16  # of the window's peak: a sample of it that is smaller is a zero that was not met exactly


@dataclass(frozen=True, eq=False)
class Istft(_Windowed):
    """(batch, n_fft // 2 + 1, frames, 2) -> (batch, samples): windowed inverse DFTs, added up, over the sum of squared windows.

    The least-squares inverse (Griffin and Lim, 1984), as ``librosa.istft``. ``center`` takes off the ``n_fft // 2`` samples
    that centring added at both ends; ``length`` cuts or fills to that many samples, and with it what lies beyond the last
    frame's centre is kept. Samples that no window reaches are 0.

    ``trainable`` makes the windowed basis a parameter named "fourier", which only the lowering ``matmul`` keeps as it is.
    """

    center: bool = True
    length: int | None = None
    trainable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length is not None:
            check_positive(length=self.length)

    @property
    def forced(self) -> str | None:
        """A trained basis is a matrix."""
        return "matmul" if self.trainable else None

    @cached_property
    def squares(self) -> npt.NDArray[np.float64]:
        """(n_fft,): the window squared, without what is only rounding of a zero: nothing is divided by that."""
        return np.where(np.abs(self.samples) > ROUNDING * np.abs(self.samples).max(), self.samples**2, 0.0)

    @property
    def trim(self) -> tuple[int, int | None]:
        """Where the samples begin and end in what is added up; the second counts from the end."""
        edge = self.n_fft // 2 if self.center else 0
        return edge, None if self.length is not None or not edge else -edge

    def infer(self, spectrum: Shape) -> Shape:
        if len(spectrum) != 4 or spectrum[1] != self.bins or spectrum[3] != 2:
            raise GraphError(f"takes (batch, {self.bins}, frames, 2), not {text(spectrum)}")
        added = OverlapAdd(self.hop_length).infer((spectrum[0], self.n_fft, spectrum[2]))
        signal = Slice(*self.trim).infer(added)
        fitted: Size = signal[1] if self.length is None else self.length
        return signal[0], fitted

    def numpy(self, spectrum):
        frames = np.fft.irfft(spectrum[..., 0] + 1j * spectrum[..., 1], self.n_fft, axis=1)
        return self._assembled(frames * self.samples[:, None])

    def _assembled(self, frames: Array) -> Array:
        """The signal of windowed frames (batch, n_fft, frames)."""
        added = OverlapAdd(self.hop_length).numpy(frames)
        signal = Slice(*self.trim).numpy(OverlapNormalize(self.hop_length).numpy(added, self.squares))
        return signal if self.length is None else FitLength(self.length).numpy(signal)

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """By how much float32 may differ: a frame's samples by ``tolerance`` of the item's largest one before the window.

        What a window weighs with nearly nothing is divided by nearly nothing, and so is its rounding. ``spread`` is by how
        much the spectrum may differ.
        """
        parts = operands[0]
        frames = np.abs(np.fft.irfft(parts[..., 0] + 1j * parts[..., 1], self.n_fft, axis=1))
        off = np.broadcast_to(tolerance * frames.max(axis=(1, 2), keepdims=True), frames.shape)
        if spread[0] is not None:
            off = off + 2 / self.n_fft * spread[0].sum(axis=(1, 3))[:, None]
        return self._assembled(off * np.abs(self.samples)[:, None])

    def reach(self, *shapes: Shape) -> Reach:
        batch, _, frames, _ = shapes[0]
        added = batch, self.n_fft, frames
        start = self.trim[0]
        return Reach(1, start, start, start).after(OverlapAdd(self.hop_length).reach(added))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        sizes = ((16, 4), (24, 5), (31, 7), (36, 12), (64, 16), (64, 24), (2, 1), (1, 1), (45, 9), (48, 100), (40, 2))
        for n_fft, hop in sizes:
            yield cls(n_fft, hop, window="hamming"), ("batch", n_fft // 2 + 1, "frames", 2)
        yield cls(32, 8, win_length=20), ("batch", 17, "frames", 2)
        yield cls(30, 10, win_length=19, window=("kaiser", 6.0), center=False), ("batch", 16, "frames", 2)
        yield cls(32, 8, length=100), ("batch", 17, "frames", 2)
        yield cls(33, 8, length=50, center=False, window="boxcar"), ("batch", 17, "frames", 2)
