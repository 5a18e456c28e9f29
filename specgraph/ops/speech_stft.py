"""Short-time Fourier transform of frames that are prepared one by one, as Kaldi does; the ways to compute it are in ``speech_stft_lowerings``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specgraph.design.windows import analysis_window
from specgraph.dims import Shape
from specgraph.op import GraphError
from specgraph.ops.frame import Frame
from specgraph.ops.stft import _Windowed
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class SpeechStft(_Windowed):
    """(batch, samples) -> (batch, n_fft // 2 + 1, frames, 2): the DFT of frames less their mean, pre-emphasised and windowed.

    Frame t is ``f = x[t*hop : t*hop + win_length]``. With ``remove_mean`` its mean is taken away; then
    ``y[n] = f[n] - preemphasis * f[n - 1]``, the first sample taking itself for the one before it; then ``gain * window * y`` is
    filled up with zeros to ``n_fft``. All of this is linear in the frame, and ``trainable`` makes the kernels that do all of it a
    parameter named "fourier".
    """

    remove_mean: bool = True
    preemphasis: float = 0.97
    gain: float = 1.0
    trainable: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.preemphasis <= 1:
            raise GraphError(f"preemphasis must be between 0 and 1, not {self.preemphasis!r}")
        if not (self.gain > 0 and np.isfinite(self.gain)):
            raise GraphError(f"gain must be a number above 0, not {self.gain!r}")

    @property
    def forced(self) -> str | None:
        """A trained basis is a bank of kernels."""
        return "conv" if self.trainable else None

    @cached_property
    def samples(self) -> npt.NDArray[np.float64]:
        """(n_fft,): the window with the gain, and zeros after it."""
        return self.gain * analysis_window(self.window, self.width, self.n_fft, "start")

    def infer(self, signal: Shape) -> Shape:
        batch, frames, _ = Frame(self.width, self.hop_length).infer(signal)
        return batch, self.bins, frames, 2

    def prepared(self, frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """(..., win_length) -> the same: before the window."""
        if self.remove_mean:
            frames = frames - frames.mean(-1, keepdims=True)
        return frames - self.preemphasis * np.concatenate([frames[..., :1], frames[..., :-1]], -1)

    def numpy(self, signal):
        frames = self.prepared(Frame(self.width, self.hop_length).numpy(signal)) * self.samples[: self.width]
        spectrum = np.fft.rfft(frames, self.n_fft).swapaxes(1, 2)
        return np.stack([spectrum.real, spectrum.imag], -1)

    def rounding(self, operands, spread, result, tolerance):
        # A share of the peak that frames have with their means: those are there, rounded, until they are taken away.
        both = np.abs(result) + (np.abs(replace(self, remove_mean=False).numpy(*operands)) if self.remove_mean else 0.0)
        return np.broadcast_to(tolerance * both.max((1, 2, 3), keepdims=True, initial=0.0), result.shape)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop_length, 0, self.width - 1, self.width // 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(64, 20, win_length=50, window="povey"), ("batch", "samples")
        yield cls(64, 16, win_length=64, window=("symmetric", "hamming"), gain=3.0), ("batch", "samples")
        yield cls(32, 7, win_length=31, window="boxcar", preemphasis=0.5), ("batch", "samples")
        yield cls(36, 12, win_length=30, window="hamming", remove_mean=False), ("batch", "samples")
        yield cls(36, 12, win_length=30, window="hann", remove_mean=False, preemphasis=0.0), ("batch", "samples")
        yield cls(32, 10, win_length=25, preemphasis=0.0), ("batch", "samples")
