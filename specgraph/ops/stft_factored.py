"""Lowerings of the STFT by Cooley and Tukey's factorisation into two or three stages of small matrix products.

With n = rest * n1 + r and k = k1 + first * k', where first * rest = n_fft, the DFTs of length ``first`` over n1, their
twiddles and the window are one grouped convolution over the signal's phases r: it reads each sample where it lies, so the
frames are never copied. The input being real, k1 <= first / 2 is enough. What is left is a DFT of length ``rest`` over r,
one matrix product, or two where ``rest`` is factored again. The bins come out permuted, a few of them twice; a filterbank
or a Take puts them in order. ``docs/design.md`` has the derivation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from specgraph.cost import FLOAT, Cost, target_named
from specgraph.design.fourier import factor_pairs, real_pairs, twiddle
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.concat import Concat
from specgraph.ops.conv import Conv
from specgraph.ops.frame import Frame
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.pad import Pad
from specgraph.ops.polyphase import Polyphase
from specgraph.ops.select_bins import SelectBins
from specgraph.ops.stft import Stft

Response = Callable[[np.ndarray], np.ndarray]  # what the channels of the first stage give for a frame (n_fft,)
Amend = Callable[[Value, Response], Value]  # the first stage's planes (batch, channels, frames), changed
MOST_PHASES = 512  # channels to transpose a signal into before that costs more than it saves
MOST_MORE = 1.25  # times the taps of a window, to make whole hops


def work(op: Stft, first: int, second: int, third: int = 1) -> Cost:
    """What the stages do for a frame, and what a power spectrum and a bank of a hundred filters do with their slots."""
    rest, taps = second * third, len(_taps(op, first))
    words = 2 * (first // 2 + 1) * rest
    frame, stage = FLOAT * taps * rest, 2.0 * FLOAT * words
    cost = Cost(matmul=words * taps, moved=stage)
    for size in (second, third)[: 1 + (third > 1)]:
        cost += Cost(matmul=2.0 * words * size, moved=stage)
    if op.hop_length % rest:  # frames are copied three times, in rows
        cost += Cost(moved=6.0 * frame)
    else:
        cost += Cost.windows(taps * rest, 1 if _deep(op, first, rest) > 1 else 2)
    return cost + Cost(moved=2.0 * stage, matmul=50.0 * words)


def cheapest(op: Stft, choices: Iterable[tuple[int, ...]]) -> tuple[int, ...] | None:
    """The factors with the least work on a CPU, or None if there are none."""
    target, every = target_named("cpu"), list(choices)
    # Behind a window at the beginning of its frame a clip may have ended, and numbers stand that are not finite.
    within = [factors for factors in every if op.align != "start" or op.support.stop % (op.n_fft // factors[0]) == 0]
    return min(within or every, key=lambda factors: target.seconds(work(op, *factors)), default=None)


@Stft.lowering
def factored(op: Stft, signal: Value) -> Value | None:
    """Two stages: a grouped convolution and a matrix product."""
    return two_stages(op, signal)


def two_stages(op: Stft, signal: Value, amend: Amend | None = None) -> Value | None:
    """``factored``, with the planes of the first stage changed by ``amend``."""
    factors = cheapest(op, factor_pairs(op.n_fft))
    if factors is None:
        return None
    first, rest = factors
    half = first // 2 + 1
    planes = _first_stage(op, signal, first, rest, 1, amend)  # (batch, (r, part, k1), frames)
    rows = Reshape((0, 2 * rest, -1))(planes)
    matrix = Constant.lazy("fourier_second", (2 * rest, 2 * rest), lambda: _last_stage(rest))
    return _in_order(op, Matmul()(matrix, rows), np.arange(half) + first * np.arange(rest)[:, None])


@Stft.lowering
def factored3(op: Stft, signal: Value) -> Value | None:
    """Three stages: a grouped convolution and two matrix products, with nothing moved in between."""
    return three_stages(op, signal)


def three_stages(op: Stft, signal: Value, amend: Amend | None = None) -> Value | None:
    """``factored3``, with the planes of the first stage changed by ``amend``."""
    factors = cheapest(op, ((first, *two) for first, rest in factor_pairs(op.n_fft) for two in factor_pairs(rest) if first > 2))
    if factors is None:
        return None
    first, second, third = factors
    half, rest = first // 2 + 1, second * third
    planes = _first_stage(op, signal, first, rest, third, amend)  # r = third * a + b: (batch, (b, a, part, k1), frames)
    rows = Reshape((0, third, 2 * second, -1))(planes)
    middle = Constant.lazy("fourier_second", (third, 2 * second, 2 * second), lambda: _middle_stage(second, third))
    rows = Reshape((0, 2 * third, -1))(Matmul()(middle, rows))  # ((b, part), (k2, k1, frames))
    last = Constant.lazy("fourier_third", (2 * third, 2 * third), lambda: _last_stage(third))
    slots = np.arange(half) + first * (np.arange(second)[:, None] + second * np.arange(third)[:, None, None])
    return _in_order(op, Matmul()(last, rows), slots.reshape(third, -1))


def _first_stage(op: Stft, signal: Value, first: int, rest: int, columns: int, amend: Amend | None) -> Value:
    """Framing, window, DFTs of length ``first`` and twiddles, as one grouped convolution over the phases.

    The phases, a matrix of ``columns`` columns, are in the order of its transpose. What has to be added to all frames alike but
    for a factor, as ``amend`` does, is cheapest here, where a frame is ``rest`` times ``first + 2`` numbers in one place.
    """
    half, hop = first // 2 + 1, op.hop_length
    order = np.arange(rest).reshape(-1, columns).T.ravel()
    taps = _taps(op, first)  # outside of these the window is zero for every phase
    before, after = taps.start * rest, (first - taps.stop) * rest
    if before > 0 or after:
        signal = Slice(max(before, 0), -after if after else None)(signal)
    if before < 0:
        signal = Pad(-before, 0, "constant")(signal)
    if hop % rest:  # the phases of a frame are not phases of the signal
        phases, stride, deep = _columns(signal, len(taps) * rest, hop), 1, len(taps)
    else:
        deep = _deep(op, first, rest)  # above 1: more channels, but a stride of 1, at which onnxruntime gathers whole rows
        phases, stride = Polyphase(rest if deep == 1 else hop)(signal), hop // rest // deep
    channels = (order[:, None] + rest * np.arange(deep)).ravel()
    if (channels != np.arange(len(channels))).any():
        phases = Take(tuple(channels.tolist()))(phases)

    def rows(frame: np.ndarray) -> np.ndarray:
        n1, k1, r = np.array(taps), np.arange(half)[:, None], order.reshape(-1, 1, 1)
        place = rest * n1 + r
        bank = np.where(place < 0, 0.0, frame[place]) * twiddle(k1 * place, op.n_fft)
        return np.stack([bank.real, bank.imag], 1).reshape(-1, len(taps))

    def kernels() -> np.ndarray:
        return rows(op.samples).reshape(-1, len(taps) // deep, deep).swapaxes(1, 2)

    bank = Constant.lazy("fourier_first", (2 * half * rest, deep, len(taps) // deep), kernels)
    planes = Conv(stride, groups=rest)(phases, bank)
    return planes if amend is None else amend(planes, lambda frame: rows(op.samples * frame).sum(1))


def _columns(signal: Value, width: int, hop: int) -> Value:
    """(batch, samples) -> (batch, width, frames): frames side by side, out of the phases of the hop at the hops they last."""
    rows = -(-width // hop)
    if rows * hop > width:
        signal = Pad(0, rows * hop - width, "constant")(signal)
    phases = Polyphase(hop)(signal)
    if rows * hop > width and rows == 1:
        return Slice(0, width)(phases)
    parts = [Slice(row, row + 1 - rows if row + 1 < rows else None, axis=2)(phases) for row in range(rows)]
    if rows * hop > width:
        parts[-1] = Slice(0, width - (rows - 1) * hop)(parts[-1])
    return Concat(1)(*parts) if rows > 1 else phases


def _taps(op: Stft, first: int) -> range:
    """Of the ``first`` samples of a phase of the frame, those that the window stands on for some phase.

    Some more, where that makes whole hops of them and the frame has room: a convolution of whole hops takes less time for a tap. Of a
    window at the beginning of its frame they lie before it: behind it a clip may have ended, and numbers stand that are not finite.
    A window that fills its frame keeps its taps: the sums of more, in another order, were less exact in bands 80 dB down.
    """
    rest = op.n_fft // first
    start, stop = op.support.start // rest, -(-op.support.stop // rest)
    if op.hop_length % rest == 0:
        hop = op.hop_length // rest
        count = -(-(stop - start) // hop) * hop
        if count <= MOST_MORE * (stop - start) and (op.align == "start" or count <= first):
            start = min(start, (stop if op.align == "start" else first) - count)
            stop = start + count
    return range(start, stop)


def _deep(op: Stft, first: int, rest: int) -> int:
    """How many phases of the hop each phase of a frame has, if its window covers whole hops and there are few; else 1."""
    hop, taps = op.hop_length, len(_taps(op, first))
    return hop // rest if hop % rest == 0 and taps * rest % hop == 0 and hop <= MOST_PHASES else 1


def _middle_stage(second: int, third: int) -> np.ndarray:
    """(third, (part, k2), (a, part)): DFTs of length ``second``, with the twiddles of the third stage.

    Its parts come first: ``third`` blocks of them are what the last stage sums over, as they lie.
    """
    a, b = np.arange(second), np.arange(third)[:, None, None]
    matrix = real_pairs(twiddle(third * np.outer(a, a), second * third) * twiddle(b * a[:, None], second * third))
    return matrix.swapaxes(1, 2).reshape(third, 2 * second, 2 * second)


def _last_stage(size: int) -> np.ndarray:
    """((k, part), (b, part)): the DFT of length ``size``, its upper half conjugated, as ``_in_order`` takes it."""
    b = np.arange(size)
    matrix = real_pairs(twiddle(np.outer(b, b), size))
    matrix[(size + 1) // 2 :, 1] *= -1.0
    return matrix[_ascending(size)].reshape(2 * size, 2 * size)


def _ascending(size: int) -> np.ndarray:
    """The last stage's bins, each beside its mirror image: so that their slots ascend, and a filterbank has few of them."""
    k = np.arange(size)
    return np.argsort(np.minimum(k, size - 1 - k), kind="stable")


def _in_order(op: Stft, product: Value, slots: np.ndarray) -> Value:
    """(batch, (k, part), (slots of k, frames)) -> (batch, bins, frames, 2), ``slots`` (k, slots of k) being bins of the full DFT."""
    size, each = slots.shape
    k = _ascending(size)
    spectrum = Transpose((0, 1, 3, 4, 2))(Reshape((0, size, 2, each, -1))(product))
    return _selected(op, slots[k], k[:, None], size)(Reshape((0, slots.size, -1, 2))(spectrum))


def _selected(op: Stft, slots: np.ndarray, k: np.ndarray, size: int) -> SelectBins:
    """The bins out of slots that the last stage, of length ``size``, conjugated where its own bin ``k`` is in the upper half.

    Those lie above n_fft / 2, and hold what they mirror. Where ``size`` is even, the parts of DC and Nyquist that vanish are
    sums of products with zero.
    """
    bins = np.where(k >= (size + 1) // 2, op.n_fft - slots, slots).ravel()
    exact = bool((bins <= op.n_fft // 2).all()) and (op.n_fft % 2 == 1 or size % 2 == 0)
    return SelectBins(op.n_fft, tuple(bins.tolist()), exact)


@Stft.lowering
def factored_matmul(op: Stft, signal: Value) -> Value | None:
    """Two stages of matrix products with the constants on the right: for CUDA, where a convolution needs cuDNN.

    Frames are copied. The first stage is one product for all r, so the twiddles are in the second, a matrix for each k1.
    """
    pairs = [pair for pair in factor_pairs(op.n_fft) if pair[0] > 2]
    if not pairs:
        return None
    first, rest = min(pairs, key=lambda pair: (pair[0] // 2 + 1) * pair[1] * (pair[0] + 2 * pair[1] + 24))
    half = first // 2 + 1

    def columns() -> np.ndarray:  # (n1, (k1, part))
        basis = twiddle(np.outer(np.arange(first), np.arange(half)), first)
        return np.stack([basis.real, basis.imag], -1).reshape(first, 2 * half)

    def twiddled() -> np.ndarray:  # (k1, 1, (r, part), (part, k2))
        k1, r, k2 = np.arange(half)[:, None, None], np.arange(rest), np.arange(rest)[:, None]
        matrix = real_pairs(twiddle(r * (k1 + first * k2), op.n_fft))
        matrix[:, (rest + 1) // 2 :, 1] *= -1.0
        return matrix.transpose(0, 3, 4, 2, 1).reshape(half, 1, 2 * rest, 2 * rest)

    window = Constant.lazy("window", (op.n_fft,), lambda: op.samples)
    frames = Multiply()(Frame(op.n_fft, op.hop_length)(signal), window)
    grid = Transpose((0, 1, 3, 2))(Reshape((0, 0, first, rest))(frames))
    rows = Matmul()(grid, Constant.lazy("fourier_first", (first, 2 * half), columns))
    rows = Reshape((0, 0, 0, 2 * rest))(Transpose((3, 0, 1, 2, 4))(Reshape((0, 0, rest, half, 2))(rows)))
    product = Matmul()(rows, Constant.lazy("fourier_second", (half, 1, 2 * rest, 2 * rest), twiddled))
    spectrum = Transpose((1, 0, 4, 2, 3))(Reshape((0, 0, 0, 2, rest))(product))
    slots = np.arange(half)[:, None] + first * np.arange(rest)
    return _selected(op, slots, np.arange(rest), rest)(Reshape((0, slots.size, -1, 2))(spectrum))
