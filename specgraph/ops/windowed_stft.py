"""Short-time Fourier transform with a window that is a value, so that it can be trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.compound import Compound
from specgraph.design.windows import Align
from specgraph.dims import Shape, text
from specgraph.op import Array, Constant, GraphError, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import Reshape, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.pad import Pad
from specgraph.ops.rfft import Rfft
from specgraph.ops.stft import Stft
from specgraph.ops.stft_direct import stacked_basis
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class WindowedStft(Compound):
    """(batch, samples), window (width,) -> (batch, n_fft // 2 + 1, frames, 2): ``Stft`` with that window.

    The window stands in the middle of the frame, zeros around it, or with ``align="start"`` at its beginning. Where it is a fixed constant this is ``Stft`` itself, with
    all of its lowerings.
    """

    linear = True

    n_fft: int
    hop_length: int
    align: Align = "center"

    def __post_init__(self) -> None:
        check_positive(n_fft=self.n_fft, hop_length=self.hop_length)

    def infer(self, signal: Shape, window: Shape) -> Shape:
        width = window[0] if len(window) == 1 else None
        if not isinstance(width, int) or not 1 <= width <= self.n_fft:
            raise GraphError(f"the window must be a row of 1 to {self.n_fft} samples, not {text(window)}")
        return self.fixed(width).infer(signal)

    def fixed(self, width: int, window: Array | None = None) -> Stft:
        """The op whose window, of ``width`` samples, is an attribute."""
        return Stft(self.n_fft, self.hop_length, width, "boxcar" if window is None else window, align=self.align)

    def numpy(self, signal, window):
        return self.fixed(len(window), window).numpy(signal)

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """As for ``Stft``: ``tolerance`` of the item's largest bin."""
        peak = np.abs(result).max(axis=(1, 2, 3), keepdims=True, initial=0.0)
        return np.broadcast_to(tolerance * peak, result.shape)

    def reach(self, *shapes: Shape) -> Reach:
        return self.fixed(1).reach(shapes[0])

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        for n_fft, hop, width in ((16, 4, 16), (31, 7, 31), (32, 8, 21), (30, 10, 19), (64, 25, 30), (1, 1, 1)):
            yield cls(n_fft, hop), ("batch", "samples"), rng.uniform(0.2, 1.0, width)
        yield cls(64, 16, align="start"), ("batch", "samples"), rng.uniform(0.2, 1.0, 50)


def in_frame(op: WindowedStft, window: Value) -> Value:
    """(1, n_fft): the window among zeros."""
    width = window.shape[0]
    assert isinstance(width, int)
    row, before = Reshape((1, width))(window), 0 if op.align == "start" else (op.n_fft - width) // 2
    return row if width == op.n_fft else Pad(before, op.n_fft - width - before, mode="constant")(row)


@WindowedStft.lowering
def fixed(op: WindowedStft, signal: Value, window: Value) -> Value | None:
    """``Stft``, where the window is not trained."""
    constant = window.op
    if not isinstance(constant, Constant) or constant.trainable:
        return None
    return op.fixed(constant.shape[0], constant.array)(signal)


@WindowedStft.lowering
def fft(op: WindowedStft, signal: Value, window: Value) -> Value:
    """Windowed frames through torch's FFT."""
    spectrum = Rfft()(Multiply()(Frame(op.n_fft, op.hop_length)(signal), in_frame(op, window)))
    return Transpose((0, 2, 1, 3))(spectrum)


@WindowedStft.lowering
def matmul(op: WindowedStft, signal: Value, window: Value) -> Value:
    """Windowed frames times the basis: where there is no FFT, and the window is not known."""
    frames = Multiply()(Frame(op.n_fft, op.hop_length)(signal), in_frame(op, window))
    whole, bins = op.fixed(op.n_fft), op.n_fft // 2 + 1
    basis = Constant.lazy("fourier_matrix", (op.n_fft, 2 * bins), lambda: stacked_basis(whole, 0, op.n_fft).T)
    return Transpose((0, 3, 1, 2))(Reshape((0, 0, 2, bins))(Matmul()(frames, basis)))
