"""Lowerings of the STFT by Cooley and Tukey's factorisation into two or three stages of small matrix products.

With n = rest * n1 + r and k = k1 + first * k', where first * rest = n_fft, the DFTs of length ``first`` over n1, their
twiddles and the window are one grouped convolution over the signal's phases r: it reads each sample where it lies, so the
frames are never copied. The input being real, k1 <= first / 2 is enough. What is left is a DFT of length ``rest`` over r,
one matrix product, or two where ``rest`` is factored again. The bins come out permuted, a few of them twice; a filterbank
or a Take puts them in order. ``docs/design.md`` has the derivation.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from specgraph.design.fourier import factor_pairs, real_pairs, twiddle
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.conv import Conv
from specgraph.ops.frame import Frame
from specgraph.ops.layout import Reshape, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.polyphase import Polyphase
from specgraph.ops.select_bins import SelectBins
from specgraph.ops.stft import Stft


def work(first: int, second: int, third: int = 1) -> float:
    """Multiply-adds of the stages for a frame, and a word of data moved between stages counted as several."""
    half, rest = first // 2 + 1, second * third
    stages = [2 * half * first * rest, 4 * half * second * rest]
    if third > 1:
        stages.append(4 * half * third * rest)
    return sum(stages) + 12.0 * len(stages) * 2 * half * rest


def splits(n_fft: int, hop_length: int) -> Iterator[tuple[int, int]]:
    """(first, rest) with first * rest = n_fft; if any ``rest`` divides the hop only those, so that nothing is gathered."""
    pairs = factor_pairs(n_fft)
    in_place = [pair for pair in pairs if hop_length % pair[1] == 0]
    yield from in_place or pairs


@Stft.lowering
def factored(op: Stft, signal: Value) -> Value | None:
    """Two stages: a grouped convolution and a matrix product."""
    pairs = list(splits(op.n_fft, op.hop_length))
    if not pairs:
        return None
    first, rest = min(pairs, key=lambda pair: work(*pair))
    half = first // 2 + 1
    planes = _first_stage(op, signal, first, rest, 1)  # (batch, (r, part, k1), frames)
    rows = Reshape((0, 2 * rest, -1))(planes)
    matrix = Constant.lazy("fourier_second", (2 * rest, 2 * rest), lambda: _second_stage(rest, rest, 1)[0])
    spectrum = Reshape((0, 2, rest * half, -1))(Matmul()(matrix, rows))
    slots = (np.arange(half) + first * np.arange(rest)[:, None]).ravel()
    return SelectBins(op.n_fft, tuple(slots.tolist()))(Transpose((0, 2, 3, 1))(spectrum))


@Stft.lowering
def factored3(op: Stft, signal: Value) -> Value | None:
    """Three stages: a grouped convolution and two matrix products."""
    triples = [
        (first, *pair) for first, rest in splits(op.n_fft, op.hop_length) for pair in factor_pairs(rest) if first > 2
    ]
    if not triples:
        return None
    first, second, third = min(triples, key=lambda triple: work(*triple))
    half, rest = first // 2 + 1, second * third
    planes = _first_stage(op, signal, first, rest, third)  # r = third * a + b: (batch, (b, a, part, k1), frames)
    rows = Reshape((0, third, 2 * second, -1))(planes)
    middle = Constant.lazy(
        "fourier_second", (third, 2 * second, 2 * second), lambda: _second_stage(rest, second, third)
    )
    columns = Reshape((0, third, second, 2, -1))(Matmul()(middle, rows))
    columns = Reshape((0, second, 2 * third, -1))(Transpose((0, 2, 1, 3, 4))(columns))
    last = Constant.lazy("fourier_third", (2 * third, 2 * third), lambda: _third_stage(third))
    spectrum = Reshape((0, second, 2, third * half, -1))(Matmul()(last, columns))
    slots = np.arange(half) + first * (np.arange(second)[:, None, None] + second * np.arange(third)[:, None])
    spectrum = Reshape((0, slots.size, -1, 2))(Transpose((0, 1, 3, 4, 2))(spectrum))
    return SelectBins(op.n_fft, tuple(slots.ravel().tolist()))(spectrum)


def _first_stage(op: Stft, signal: Value, first: int, rest: int, columns: int) -> Value:
    """Framing, window, DFTs of length ``first`` and twiddles, as one grouped convolution over the phases."""
    half, hop = first // 2 + 1, op.hop_length
    if hop % rest:  # the phases of a frame are not phases of the signal: lay the frames end to end
        signal, hop = Reshape((0, -1))(Frame(op.n_fft, hop)(signal)), op.n_fft

    def kernels() -> np.ndarray:
        n1, k1 = np.arange(first), np.arange(half)[:, None]
        phases = np.arange(rest).reshape(-1, columns).T.reshape(-1, 1, 1)  # in the order of Polyphase
        bank = op.samples[rest * n1 + phases] * twiddle(rest * k1 * n1 + phases * k1, op.n_fft)
        return np.stack([bank.real, bank.imag], 1).reshape(-1, 1, first)

    bank = Constant.lazy("fourier_first", (2 * half * rest, 1, first), kernels)
    return Conv(hop // rest, groups=rest)(Polyphase(rest, columns)(signal), bank)


def _second_stage(rest: int, second: int, third: int) -> np.ndarray:
    """(third, (part, k2) or (k2, part), (a, part)): DFTs of length ``second``, with the twiddles of the third stage."""
    a, b = np.arange(second), np.arange(third)[:, None, None]
    matrix = real_pairs(twiddle(third * np.outer(a, a), rest) * twiddle(b * a[:, None], rest))
    if third == 1:  # the last stage: parts first, as the spectrum has them
        matrix = matrix.swapaxes(1, 2)
    return matrix.reshape(third, 2 * second, 2 * second)


def _third_stage(third: int) -> np.ndarray:
    """((part, k3), (b, part)): the DFT of length ``third``."""
    b = np.arange(third)
    return real_pairs(twiddle(np.outer(b, b), third)).swapaxes(0, 1).reshape(2 * third, 2 * third)


@Stft.lowering
def factored_matmul(op: Stft, signal: Value) -> Value | None:
    """Two stages of matrix products with the constants on the right: for CUDA, where a convolution needs cuDNN.

    Frames are copied. The first stage is one product for all r, so the twiddles are in the second, a matrix for each k1.
    """
    pairs = [pair for pair in factor_pairs(op.n_fft) if pair[0] > 2]
    if not pairs:
        return None
    first, rest = min(pairs, key=lambda pair: work(*pair))
    half = first // 2 + 1

    def columns() -> np.ndarray:  # (n1, (k1, part))
        basis = twiddle(np.outer(np.arange(first), np.arange(half)), first)
        return np.stack([basis.real, basis.imag], -1).reshape(first, 2 * half)

    def twiddled() -> np.ndarray:  # (k1, 1, (r, part), (part, k2))
        k1, r, k2 = np.arange(half)[:, None, None], np.arange(rest), np.arange(rest)[:, None]
        matrix = real_pairs(twiddle(r * (k1 + first * k2), op.n_fft))
        return matrix.transpose(0, 3, 4, 2, 1).reshape(half, 1, 2 * rest, 2 * rest)

    window = Constant.lazy("window", (op.n_fft,), lambda: op.samples)
    frames = Multiply()(Frame(op.n_fft, op.hop_length)(signal), window)
    grid = Transpose((0, 1, 3, 2))(Reshape((0, 0, first, rest))(frames))
    rows = Matmul()(grid, Constant.lazy("fourier_first", (first, 2 * half), columns))
    rows = Reshape((0, 0, 0, 2 * rest))(Transpose((3, 0, 1, 2, 4))(Reshape((0, 0, rest, half, 2))(rows)))
    product = Matmul()(rows, Constant.lazy("fourier_second", (half, 1, 2 * rest, 2 * rest), twiddled))
    spectrum = Transpose((1, 0, 4, 2, 3))(Reshape((0, 0, 0, 2, rest))(product))
    slots = np.arange(half)[:, None] + first * np.arange(rest)
    return SelectBins(op.n_fft, tuple(slots.ravel().tolist()))(Reshape((0, slots.size, -1, 2))(spectrum))
