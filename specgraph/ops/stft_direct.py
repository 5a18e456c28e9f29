"""Lowerings of the STFT that multiply frames by the whole basis, and the one that calls torch's FFT."""

from __future__ import annotations

import numpy as np

from specgraph.design.fourier import common_block, windowed_basis
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.conv import Conv
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.polyphase import Polyphase
from specgraph.ops.rfft import Rfft
from specgraph.ops.stft import Stft


def trimmed(op: Stft, signal: Value) -> tuple[Value, int, int]:
    """The signal, and the part of the frame, first sample and width, that the window stands on.

    Starting the signal where the window starts leaves the number of frames as it was.
    """
    first, after = op.support.start, op.n_fft - op.support.stop
    if first or after:
        signal = Slice(first, -after if after else None)(signal)
    return signal, first, len(op.support)


def stacked_basis(op: Stft, first: int, width: int) -> np.ndarray:
    """(2 * bins, width): cosines, then negated sines, windowed; its product with a frame is the spectrum's parts."""
    real, imaginary = windowed_basis(op.samples, slice(first, first + width))
    return np.concatenate([real, -imaginary])


@Stft.lowering
def conv(op: Stft, signal: Value) -> Value:
    """One strided convolution with all kernels, nnAudio's way. The only lowering whose kernels can be trained."""
    first, width = 0, op.n_fft
    if not op.trainable:
        signal, first, width = trimmed(op, signal)
    shape = (2, op.bins, width)
    kernels = Constant.lazy(
        "fourier", shape, lambda: windowed_basis(op.samples, slice(first, first + width)), op.trainable
    )
    return FrameConv(op.hop_length)(signal, kernels)


@Stft.lowering
def blocked(op: Stft, signal: Value) -> Value | None:
    """A convolution over blocks of gcd(hop, n_fft) samples as channels: a shorter kernel and a shorter stride."""
    signal, first, width = trimmed(op, signal)
    block = common_block(op.hop_length, width)
    if block == 1:
        return None

    def kernels() -> np.ndarray:
        return stacked_basis(op, first, width).reshape(2 * op.bins, width // block, block).swapaxes(1, 2)

    bank = Constant.lazy("fourier_blocks", (2 * op.bins, block, width // block), kernels)
    planes = Conv(op.hop_length // block)(Polyphase(block)(signal), bank)
    return Transpose((0, 2, 3, 1))(Reshape((0, 2, op.bins, -1))(planes))


@Stft.lowering
def matmul(op: Stft, signal: Value) -> Value:
    """Frames times the basis, a constant on the right: one large matrix product, no convolution and so no cuDNN."""
    signal, first, width = trimmed(op, signal)
    basis = Constant.lazy("fourier_matrix", (width, 2 * op.bins), lambda: stacked_basis(op, first, width).T)
    product = Matmul()(Frame(width, op.hop_length)(signal), basis)
    return Transpose((0, 3, 1, 2))(Reshape((0, 0, 2, op.bins))(product))


@Stft.lowering
def fft(op: Stft, signal: Value) -> Value:
    """Windowed frames through torch's FFT."""
    window = Constant.lazy("window", (op.n_fft,), lambda: op.samples)
    spectrum = Rfft()(Multiply()(Frame(op.n_fft, op.hop_length)(signal), window))
    return Transpose((0, 2, 1, 3))(spectrum)
