"""The lowering of the constant-Q transform that computes every bin at the lowest rate its tolerance allows.

What CQT2010 meant (Schoerkhuber and Klapuri, "Constant-Q transform toolbox for music processing", 2010): the signal is
decimated again and again, and low bins, whose kernels are long, are computed where those are short. Here the short kernels
are fitted to the decimators, so that aliasing, ripple, delay and phase are all within a bound that is known
(``specgraph.design.multirate``).
"""

from __future__ import annotations

import numpy as np

from specgraph.design.constant_q import conjugated
from specgraph.design.multirate import Level, Stage
from specgraph.op import Constant, Value
from specgraph.ops.block_product import block_product
from specgraph.ops.constant_q import ConstantQ
from specgraph.ops.constant_q_direct import direct, grouped, parts_last
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Transpose
from specgraph.ops.lengths import Lengths
from specgraph.ops.own_rows import OwnRows
from specgraph.ops.pad import Pad

MOST_PIECES = 4  # blocks that a decimator's window may lie in before a convolution is simpler
MOST_HOPS = 2  # that kernels may lie in for their products to be taken hop by hop
SHORTEST_BLOCK = 24  # samples; below that the matrices are too small to multiply well


@ConstantQ.lowering
def multirate(op: ConstantQ, signal: Value, *lengths: Value) -> Value:
    """Decimators, and at each rate a convolution with the kernels of its bins: within ``tolerance``, and by far the fastest.

    Where the hop has no small factor to decimate by, there is one rate only.
    """
    plan = op.plan
    if len(plan.levels) < 2:
        return grouped(op, signal, *lengths) or direct(op, signal, *lengths)
    before, after = plan.margins(op.half, op.hop_length)
    after += op.hop_length if lengths else 0  # the row in which a clip's padding ends is not all its own
    rows = Frame(op.hop_length, op.hop_length)(Pad(before, after, op.pad_mode)(signal, *lengths))
    if lengths:
        rows = OwnRows()(rows, Lengths(((1, before + after, op.hop_length),))(*lengths))
    low = Reshape((0, -1))(rows)
    parts = []
    for number, level in enumerate(plan.levels):
        if number:
            low = decimated(low, level, op.hop_length // plan.levels[number - 1].factor)
        parts += [_bins(op, stage, low, level, before, after) for stage in plan.stages if stage.level == number]
    return parts_last(op, parts[::-1])


def _bins(op: ConstantQ, stage: Stage, low: Value, level: Level, before: int, after: int) -> Value:
    """(batch, samples of the level) -> (batch, 2 * bins, frames)."""
    width = stage.samples.shape[1]
    first = before // level.factor + stage.first
    rest = (before + after) // level.factor - first - width
    window = Slice(first, -rest if rest else None)(low)
    rows = conjugated(stage.samples)
    hop = op.hop_length // level.factor
    lying_in = -(-width // hop)
    if lying_in > MOST_HOPS:
        return FrameConv(hop)(window, Constant.of("cqt_kernels", rows))
    # Measured: where kernels lie in few hops, products with those are two to three times quicker than a convolution.
    products = block_product(window, Constant.of("cqt_kernels", rows.T), hop, 0)
    frames = Slice(0, 1 - lying_in)(products) if lying_in > 1 else products
    return Transpose((0, 2, 1))(frames)


def decimated(signal: Value, level: Level, unit: int) -> Value:
    """(batch, n * unit) -> (batch, n * unit / step): sample j is ``sum(taps * x[step * j:])``, zeros after the end."""
    taps, step = level.taps, level.step
    block = decimator_block(len(taps), step, unit)
    outputs, window = block // step, block - step + len(taps)
    pieces = -(-window // block)
    if block < SHORTEST_BLOCK or pieces > MOST_PIECES:
        framed = Pad(0, window - block, "constant")(signal)
        bank = Constant.of("decimator", toeplitz(taps, step, outputs, window))
        return Reshape((0, -1))(Transpose((0, 2, 1))(FrameConv(block)(framed, bank)))
    matrix = Constant.of("decimator", toeplitz(taps, step, outputs, window).T)
    return Reshape((0, -1))(block_product(signal, matrix, block, 0))


def decimator_block(taps: int, step: int, unit: int) -> int:
    """Samples that a matrix product takes at once: a divisor of ``unit`` that makes the least work."""
    divisors = [size for size in range(step, unit + 1, step) if unit % size == 0]

    def work(size: int) -> float:
        pieces = -(-(size - step + taps) // size)
        return pieces * size / step + 6.0 * pieces + 600.0 / size

    return min(divisors, key=work)


def toeplitz(taps: np.ndarray, step: int, outputs: int, width: int) -> np.ndarray:
    """(outputs, width): row i holds the taps from sample ``step * i`` on."""
    matrix = np.zeros((outputs, width))
    for row in range(outputs):
        matrix[row, step * row : step * row + len(taps)] = taps
    return matrix
