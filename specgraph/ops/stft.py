"""Short-time Fourier transform; the ways to compute it are in ``stft_direct`` and ``stft_factored``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.design.windows import Align, WindowSpec, analysis_window
from specgraph.dims import Shape
from specgraph.op import GraphError
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import check_positive
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class _Windowed(Compound):
    """An op on windowed frames of a DFT."""

    linear = True

    n_fft: int
    hop_length: int
    win_length: int | None = None
    window: WindowSpec = "hann"

    def __post_init__(self) -> None:
        check_positive(n_fft=self.n_fft, hop_length=self.hop_length)
        if self.win_length is not None:
            check_positive(win_length=self.win_length)
            if self.win_length > self.n_fft:
                raise GraphError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}")

    @property
    def bins(self) -> int:
        """Bins of a real DFT."""
        return self.n_fft // 2 + 1

    @property
    def width(self) -> int:
        """Samples of the window."""
        return self.n_fft if self.win_length is None else self.win_length

    @cached_property
    def samples(self) -> npt.NDArray[np.float64]:
        """(n_fft,): the window."""
        return analysis_window(self.window, self.width, self.n_fft)


@dataclass(frozen=True, eq=False)
class Stft(_Windowed):
    """(batch, samples) -> (batch, n_fft // 2 + 1, frames, 2): ``rfft(window * x[t*hop : t*hop + n_fft])``.

    ``win_length`` samples of ``window`` stand in the middle of the frame, zeros around them, or with ``align="start"`` at its
    beginning. ``trainable`` makes the windowed basis a parameter named "fourier", which only the lowering ``conv`` keeps as it is.
    """

    trainable: bool = False
    align: Align = "center"

    @cached_property
    def samples(self) -> npt.NDArray[np.float64]:
        """(n_fft,): the window."""
        return analysis_window(self.window, self.width, self.n_fft, self.align)

    @property
    def forced(self) -> str | None:
        """A trained basis is a bank of kernels."""
        return "conv" if self.trainable else None

    def infer(self, signal: Shape) -> Shape:
        batch, frames, _ = Frame(self.n_fft, self.hop_length).infer(signal)
        return batch, self.bins, frames, 2

    def numpy(self, signal):
        frames = Frame(self.n_fft, self.hop_length).numpy(signal)
        spectrum = np.fft.rfft(frames * self.samples).swapaxes(1, 2)
        return np.stack([spectrum.real, spectrum.imag], -1)

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop_length, 0, self.n_fft - 1, self.n_fft // 2)

    @property
    def support(self) -> range:
        """The samples of the frame that the window stands on."""
        first = 0 if self.align == "start" else (self.n_fft - self.width) // 2
        return range(first, first + self.width)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        sizes = ((16, 4), (24, 6), (24, 5), (31, 7), (36, 12), (64, 16), (64, 24), (2, 1), (1, 1), (45, 9), (48, 100))
        for n_fft, hop in sizes:
            yield cls(n_fft, hop), ("batch", "samples")
        yield cls(32, 8, win_length=20, window="hamming"), ("batch", "samples")
        yield cls(30, 10, win_length=19, window=("kaiser", 6.0)), ("batch", "samples")
        yield cls(64, 16, win_length=21), ("batch", "samples")
        yield cls(64, 25, win_length=30), ("batch", "samples")
        yield cls(64, 16, win_length=50, window=("symmetric", "hann"), align="start"), ("batch", "samples")
