"""Lowerings of resampling: the input in blocks of whole periods of the ratio, and matrix products.

``orig`` input samples further, the filters of the outputs are the same again. A block of ``blocks * orig`` samples with a
margin on both sides gives ``blocks * new`` outputs by one matrix, which is banded: an output reads few of the block's
samples. ``grouped`` and ``gathered`` therefore give each run of outputs a matrix of its own over what the run reads.
"""

from __future__ import annotations

import numpy as np

from specgraph.design.resample import resampling_matrix
from specgraph.op import Constant, Value
from specgraph.ops.block_product import block_product
from specgraph.ops.concat import Concat
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.pad import Pad
from specgraph.ops.resample import Resample
from specgraph.ops.trim import Trim

MOST_GROUPS = 32  # products side by side


def in_a_row(op: Resample, blocks: Value, signal: Value) -> Value:
    """(batch, blocks, outputs) -> (batch, ceil(samples * new / orig))."""
    orig, new = op.ratio
    return Trim(new, orig - 1, orig)(Reshape((0, -1))(blocks), signal)


def margins(op: Resample) -> tuple[int, int]:
    """(samples read before a block, the width of the matrix of one block)."""
    starts, weights = op.taps
    return -int(starts[0]), op.ratio[0] + weights.shape[1] - 1


def padded(op: Resample, signal: Value) -> Value:
    """Zeros around the signal, for one frame of a block and its margins for each begun block of samples."""
    before, width = margins(op)
    return Pad(before, width - before - 1, mode="constant")(signal)


@Resample.lowering
def conv(op: Resample, signal: Value) -> Value:
    """One strided convolution with a kernel for each output of a block, torchaudio's way; its kernels can be trained."""
    orig, new = op.ratio
    if orig == new:
        return signal
    width = margins(op)[1]
    bank = Constant.lazy("fir", (new, width), lambda: resampling_matrix(*op.taps, orig), op.trainable)
    return in_a_row(op, Transpose((0, 2, 1))(FrameConv(orig)(padded(op, signal), bank)), signal)


@Resample.lowering
def blocked(op: Resample, signal: Value) -> Value | None:
    """Whole blocks times a matrix, the constant on the right: nothing is framed, and no convolution needs cuDNN."""
    orig, new = op.ratio
    if orig == new:
        return None
    blocks = op.periods
    before, width = margins(op)
    matrix = Constant.lazy(
        "fir_matrix",
        (width + orig * (blocks - 1), blocks * new),
        lambda: resampling_matrix(*op.taps, orig, blocks).T,
    )
    return in_a_row(op, block_product(signal, matrix, orig * blocks, before), signal)


def groups(op: Resample) -> int | None:
    """How many runs the outputs of a block fall into, so that a run reads about three times what an output does."""
    orig, new = op.ratio
    wanted = orig / (2 * op.taps[1].shape[1])
    counts = (count for count in range(2, new + 1) if new % count == 0 and count >= wanted)
    return next(counts, None)


def runs(op: Resample, count: int) -> tuple[np.ndarray, int]:
    """(count,) the first column that each run of outputs reads, and how many columns a run reads."""
    starts, weights = op.taps
    first = (starts - starts[0])[:: op.ratio[1] // count]
    last = (starts - starts[0])[op.ratio[1] // count - 1 :: op.ratio[1] // count] + weights.shape[1]
    span = int((last - first).max())
    return np.minimum(first, margins(op)[1] - span), span


def run_matrices(op: Resample, count: int) -> np.ndarray:
    """(count, span, outputs of a run): the taps of each run."""
    (first, span), (starts, weights) = runs(op, count), op.taps
    size = op.ratio[1] // count
    rows = (starts - starts[0] - np.repeat(first, size))[:, None] + np.arange(weights.shape[1])
    matrices = np.zeros((len(starts), span + 1))  # the last column is of taps that are always zero
    np.put_along_axis(matrices, np.minimum(rows, span), weights, 1)
    return matrices[:, :span].reshape(count, size, span).swapaxes(1, 2)


@Resample.lowering
def grouped(op: Resample, signal: Value) -> Value | None:
    """A product for each run of outputs, over what that run reads of the frame."""
    orig, new = op.ratio
    count = groups(op) if orig != new else None
    if count is None or count > MOST_GROUPS:
        return None
    frames = Frame(margins(op)[1], orig)(padded(op, signal))
    (first, span), size = runs(op, count), new // count
    parts = [
        Matmul()(
            Slice(start, start + span, axis=2)(frames),
            Constant.lazy("fir_run", (span, size), lambda run=run: run_matrices(op, count)[run]),  # type: ignore[misc]
        )
        for run, start in enumerate(first.tolist())
    ]
    return in_a_row(op, Concat(axis=2)(*parts), signal)


@Resample.lowering
def gathered(op: Resample, signal: Value) -> Value | None:
    """All runs gathered from the frame and one batched product: for ratios such as 44101:16000 that make many runs."""
    orig, new = op.ratio
    count = groups(op) if orig != new else None
    if count is None or count <= MOST_GROUPS:
        return None
    frames = Frame(margins(op)[1], orig)(padded(op, signal))
    (first, span), size = runs(op, count), new // count
    taken = Take(tuple((first[:, None] + np.arange(span)).ravel().tolist()), axis=2)(frames)
    rows = Transpose((0, 2, 1, 3))(Reshape((0, 0, count, span))(taken))
    bank = Constant.lazy("fir_runs", (count, span, size), lambda: run_matrices(op, count))
    return in_a_row(op, Reshape((0, 0, new))(Transpose((0, 2, 1, 3))(Matmul()(rows, bank))), signal)
