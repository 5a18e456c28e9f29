"""Lowerings of ``SpeechStft``: what is done to a frame before its window is a filter over the clip, and two corrections.

The clip is pre-emphasised once, not frame by frame. A frame f of it then differs from what it should be by multiples of two fixed
vectors: by ``(1 - preemphasis)`` times the frame's mean everywhere, and in its first sample, which in the clip had another one
before it. The second does not matter where the window begins with 0, as Povey's and Hann's do. Both corrections are small beside
the frame where pre-emphasis is strong, so nothing is lost to cancellation, as it would be to kernels that hold all of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from specgraph.design.fourier import windowed_basis
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Add, Multiply, Subtract
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Transpose
from specgraph.ops.pad import Pad
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.ops.reduce import Reduce
from specgraph.ops.rfft import Rfft
from specgraph.ops.speech_stft import SpeechStft
from specgraph.ops.stft import Stft
from specgraph.ops.stft_factored import Amend, Response, three_stages, two_stages

SMALLEST_BLOCK = 8  # samples that are summed at once for the means of overlapping frames
STRONG = 0.8  # pre-emphasis from which what is left of a frame's mean is small beside the frame


@dataclass(frozen=True)
class Correction:
    """What every frame lacks: ``amount`` (batch, frames) times ``shape`` (n_fft,), before the window."""

    amount: Value
    shape: Callable[[], np.ndarray]


def emphasised(op: SpeechStft, signal: Value) -> Value:
    """The clip, pre-emphasised, and zeros after it for frames of n_fft samples to be as many as windows are."""
    filtered = PreEmphasis(op.preemphasis, "repeat")(signal) if op.preemphasis else signal
    return Pad(0, op.n_fft - op.width, "constant")(filtered) if op.n_fft > op.width else filtered


def corrections(op: SpeechStft, signal: Value, filtered: Value) -> list[Correction]:
    """What frames of the filtered clip lack."""
    found = []
    if op.remove_mean and op.preemphasis < 1:
        share = -(1 - op.preemphasis) / op.width
        found.append(Correction(_sums(op, signal), lambda: np.full(op.n_fft, share)))
    if op.preemphasis and op.samples[0] != 0:
        scaled = Multiply()(_firsts(op, signal, op.width), Constant.of("kept", np.array(op.preemphasis - 1)))
        amount = Add()(_firsts(op, filtered, op.n_fft), scaled)  # what the first sample has too much of
        found.append(Correction(amount, lambda: -np.eye(1, op.n_fft)[0]))
    return found


def _sums(op: SpeechStft, signal: Value) -> Value:
    """(batch, frames): the sum of each frame's samples, out of blocks that frames share."""
    block = math.gcd(op.width, op.hop_length)
    if block < SMALLEST_BLOCK:
        return Reduce("sum", axis=2, keepdims=False)(Frame(op.width, op.hop_length)(signal))
    sums = Reduce("sum", axis=2, keepdims=False)(Frame(block, block)(signal))
    return Reduce("sum", axis=2, keepdims=False)(Frame(op.width // block, op.hop_length // block)(sums))


def _firsts(op: SpeechStft, signal: Value, width: int) -> Value:
    """(batch, frames): the first sample of each frame of ``width`` samples."""
    return Reshape((0, -1))(Frame(1, op.hop_length)(Slice(0, 1 - width)(signal) if width > 1 else signal))


def _amend(found: list[Correction]) -> Amend | None:
    """The corrections, for the first stage of a factored DFT."""

    def amended(planes: Value, response: Response) -> Value:
        channels = planes.shape[1]
        assert isinstance(channels, int)
        for correction in found:
            column = Constant.lazy("correction", (channels, 1), partial(_column, response, correction))
            planes = Add()(planes, Multiply()(column, Reshape((0, 1, -1))(correction.amount)))
        return planes

    return amended if found else None


def _column(response: Response, correction: Correction) -> np.ndarray:
    return response(correction.shape())[:, None]


def _stft(op: SpeechStft, hop: int) -> Stft:
    samples = tuple((op.samples[: op.width]).tolist())
    return Stft(op.n_fft, hop, op.width, samples, align="start")


def framed_samples(op: SpeechStft, signal: Value) -> Value:
    """(batch, frames, n_fft): frames as they are before the window; what the window does not stand on is of no account."""
    filtered = emphasised(op, signal)
    frames = Frame(op.n_fft, op.hop_length)(filtered)
    if op.remove_mean and not op.preemphasis and op.n_fft == op.width:  # the mean may be all of a frame: nothing is as exact as this
        return Subtract()(frames, Reduce("mean", axis=2)(frames))
    for correction in corrections(op, signal, filtered):
        shape = Constant.lazy("correction", (op.n_fft,), correction.shape)
        frames = Add()(frames, Multiply()(Reshape((0, -1, 1))(correction.amount), shape))
    return frames


@SpeechStft.lowering
def conv(op: SpeechStft, signal: Value) -> Value | None:
    """One strided convolution with kernels that hold all of it. Only for training: a large mean costs digits of the rest."""
    if not op.trainable:
        return None

    def kernels() -> np.ndarray:
        each = np.eye(op.width)  # prepared(frame) is frame @ prepared(each)
        return windowed_basis(op.samples)[:, :, : op.width] @ op.prepared(each).T

    return FrameConv(op.hop_length)(signal, Constant.lazy("fourier", (2, op.bins, op.width), kernels, True))


@SpeechStft.lowering
def corrected(op: SpeechStft, signal: Value) -> Value | None:
    """The factored DFT of the filtered clip in two stages, corrected after the first."""
    return _corrected(op, signal, two_stages)


@SpeechStft.lowering
def corrected3(op: SpeechStft, signal: Value) -> Value | None:
    """The factored DFT of the filtered clip in three stages, corrected after the first."""
    return _corrected(op, signal, three_stages)


def _corrected(op: SpeechStft, signal: Value, stages: Callable[..., Value | None]) -> Value | None:
    if op.remove_mean and op.preemphasis < STRONG:
        return None
    filtered = emphasised(op, signal)
    return stages(_stft(op, op.hop_length), filtered, _amend(corrections(op, signal, filtered)))


@SpeechStft.lowering
def framed(op: SpeechStft, signal: Value) -> Value:
    """Frames corrected one by one and laid end to end: a signal whose STFT has a hop of n_fft, in any of its ways."""
    return _stft(op, op.n_fft)(Reshape((0, -1))(framed_samples(op, signal)))


@SpeechStft.lowering
def fft(op: SpeechStft, signal: Value) -> Value:
    """Frames corrected one by one through torch's FFT."""
    window = Constant.lazy("window", (op.n_fft,), lambda: op.samples)
    return Transpose((0, 2, 1, 3))(Rfft()(Multiply()(framed_samples(op, signal), window)))
