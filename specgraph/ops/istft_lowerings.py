"""Lowerings of the inverse STFT: the whole inverse DFT as one matrix product, in two stages, or by torch's FFT.

In two stages, with n = rest * n1 + r and k = k1 + first * k', where first * rest = n_fft,

    x[n] = sum_k1 exp(2 pi i k1 n1 / first) . ( sum_k' exp(2 pi i r k / n_fft) X[k] ) / n_fft

is the STFT's factorisation run backwards. The inner sum for first - k1 is the conjugate of that for k1, so k1 <= first / 2 is
enough and the outer sum is a real part. The frames come out in order, as (batch, n_fft, frames), without a transpose between.
"""

from __future__ import annotations

import numpy as np

from specgraph.design.fourier import factor_pairs, inverse_basis, real_pairs, twiddle
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.irfft import Irfft
from specgraph.ops.istft import Istft
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.overlap_add import FitLength, OverlapAdd, OverlapNormalize
from specgraph.ops.pad import Pad


def support(op: Istft) -> tuple[int, int]:
    """The part of the frame that the window stands on: first sample and width."""
    width = op.n_fft if op.win_length is None else op.win_length
    return (op.n_fft - width) // 2, width


def assembled(op: Istft, frames: Value) -> Value:
    """The signal of windowed frames (batch, width, frames), cut to the window's support."""
    first, width = support(op)
    after = op.n_fft - width - first
    squares = Constant.lazy("squares", (width,), lambda: op.squares[first : first + width])
    signal = OverlapNormalize(op.hop_length)(OverlapAdd(op.hop_length)(frames), squares)
    start, stop = op.trim
    if start:
        end = (stop + after or None) if stop is not None else None
        signal = Slice(start - first, end)(signal)
    elif first or after:
        signal = Pad(first, after, "constant")(signal)
    return signal if op.length is None else FitLength(op.length)(signal)


def windowed(op: Istft, frames: Value) -> Value:
    """Frames (batch, n_fft, frames) times the window, cut to its support."""
    first, width = support(op)
    if width != op.n_fft:
        frames = Take(tuple(range(first, first + width)))(frames)
    return Multiply()(frames, Constant.lazy("window", (width, 1), lambda: op.samples[first : first + width, None]))


@Istft.lowering
def matmul(op: Istft, spectrum: Value) -> Value:
    """The windowed inverse DFT as one matrix product, the constant on the right. The only lowering that can be trained."""
    first, width = support(op)
    basis = Constant.lazy(
        "fourier",
        (2 * op.bins, width),
        lambda: inverse_basis(op.samples)[:, first : first + width],
        op.trainable,
    )
    rows = Reshape((0, 0, 2 * op.bins))(Transpose((0, 2, 1, 3))(spectrum))
    return assembled(op, Transpose((0, 2, 1))(Matmul()(rows, basis)))


@Istft.lowering
def factored(op: Istft, spectrum: Value) -> Value | None:
    """Two stages of matrix products."""
    pairs = [pair for pair in factor_pairs(op.n_fft) if pair[0] > 2]
    if not pairs:
        return None
    first, rest = min(pairs, key=lambda pair: (pair[0] // 2 + 1) * (4 * pair[1] ** 2 + 2 * op.n_fft))
    half = first // 2 + 1
    slots = np.arange(half)[:, None] + first * np.arange(rest)  # (k1, k')
    mirrored = slots > op.n_fft // 2  # the conjugate of a bin that is there

    def inner() -> np.ndarray:  # (k1, (part, r), (k', part))
        r = np.arange(rest)[:, None]
        matrix = real_pairs(twiddle(-r * slots[:, None, :], op.n_fft))  # (k1, r, part, k', part)
        matrix[..., 1] *= np.where(mirrored, -1.0, 1.0)[:, None, None, :]
        return matrix.swapaxes(1, 2).reshape(half, 2 * rest, 2 * rest)

    def outer() -> np.ndarray:  # (n1, (k1, part))
        k1 = np.arange(half)
        once = (k1 == 0) | (2 * k1 == first)
        turns = twiddle(-np.outer(np.arange(first), k1), first) * np.where(once, 1.0, 2.0) / op.n_fft
        return np.stack([turns.real, -turns.imag], -1).reshape(first, 2 * half)

    taken = np.where(mirrored, op.n_fft - slots, slots).ravel()
    grid = Reshape((0, half, 2 * rest, -1))(Take(tuple(taken.tolist()))(Transpose((0, 1, 3, 2))(spectrum)))
    sums = Matmul()(Constant.lazy("fourier_inner", (half, 2 * rest, 2 * rest), inner), grid)
    rows = Reshape((0, 2 * half, -1))(sums)  # ((k1, part), (r, frames))
    product = Matmul()(Constant.lazy("fourier_outer", (first, 2 * half), outer), rows)
    return assembled(op, windowed(op, Reshape((0, op.n_fft, -1))(product)))


@Istft.lowering
def fft(op: Istft, spectrum: Value) -> Value:
    """Frames through torch's FFT."""
    frames = Irfft(op.n_fft)(Transpose((0, 2, 1, 3))(spectrum))
    return assembled(op, windowed(op, Transpose((0, 2, 1))(frames)))
