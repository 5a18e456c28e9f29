"""Lowerings of the synthesis from constant-Q bins, at the signal's rate or with low bins at low rates."""

from __future__ import annotations

from functools import partial

import numpy as np

from specgraph.design.constant_q import extent, in_rows
from specgraph.design.multirate import Level
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Add
from specgraph.ops.constant_q_inverse import ConstantQSynthesis
from specgraph.ops.constant_q_multirate import decimator_block, toeplitz
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Slice, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.overlap_add import OverlapAdd
from specgraph.ops.pad import Pad


@ConstantQSynthesis.lowering
def direct(op: ConstantQSynthesis, bins: Value) -> Value:
    """A convolution over the frames, whose outputs are the samples of a hop."""
    first, width = extent(op.duals)
    hop = op.hop_length
    before, after = -(-max(-first, 1) // hop) * hop, -(-(first + width) // hop) * hop
    signal = _from_frames(bins, partial(in_rows, op.duals, first, width), (0, op.n_bins), first, width, hop, before, after)
    return Slice(before, -after)(signal)


@ConstantQSynthesis.lowering
def multirate(op: ConstantQSynthesis, bins: Value) -> Value | None:
    """The transpose of the analysis at many rates: bins laid down at their rate, and interpolated by the decimators."""
    plan, hop = op.plan, op.hop_length
    if len(plan.levels) < 2:
        return None
    before, after = plan.margins(op.half_dual, hop)
    starts = np.cumsum([0, *(len(stage.samples) for stage in plan.stages)])
    signal: Value | None = None
    for number in range(len(plan.levels) - 1, -1, -1):
        factor = plan.levels[number].factor
        for stage, start in zip(plan.stages, starts, strict=False):
            if stage.level == number:
                part = _from_frames(
                    bins, partial(np.asarray, stage.samples), (int(start), int(start) + len(stage.samples)), stage.first,
                    stage.samples.shape[1], hop // factor, before // factor, after // factor,
                )  # fmt: skip
                signal = part if signal is None else Add()(signal, part)
        if number:
            assert signal is not None
            signal = interpolated(signal, plan.levels[number], hop // plan.levels[number - 1].factor)
    assert signal is not None
    return Slice(before, -after)(signal)


def _from_frames(
    bins: Value, rows: partial, part: tuple[int, int], first: int, width: int, hop: int, before: int, after: int
) -> Value:
    """(batch, bins, frames, 2) -> (batch, before + (frames - 1) * hop + after): kernels laid down every ``hop`` samples.

    ``rows()`` (bins, width) are the kernels, whose first sample stands ``first`` from a frame's centre. A block of a hop is a
    product of the frames whose kernels reach it, which is a strided convolution over the frames.
    """
    low, high = part
    count = high - low
    total = bins.shape[1]
    cut = Slice(low, high)(bins) if (low, high) != (0, total) else bins
    flat = Reshape((0, -1))(Transpose((0, 2, 1, 3))(cut))  # (batch, (frame, bin, part))
    least, most = -(-(first - hop + 1) // hop), (first + width - 1) // hop  # hops from a frame's centre to a block it reaches
    reaching = most - least + 1
    ahead = before // hop + most
    behind = (before + after) // hop - 2 + reaching - ahead
    padded = Pad(2 * count * ahead, 2 * count * behind, "constant")(flat)

    def kernels() -> np.ndarray:
        made = np.zeros((hop, reaching, count, 2))
        samples = rows()
        for place in range(reaching):
            index = np.arange(hop) + (most - place) * hop - first
            inside = (index >= 0) & (index < width)
            values = samples[:, index[inside]].T
            made[inside, place] = np.stack([values.real, -values.imag], -1)
        return made.reshape(hop, -1)

    bank = Constant.lazy("cqt_duals", (hop, reaching * count * 2), kernels)
    blocks = FrameConv(2 * count)(padded, bank)  # (batch, hop, blocks)
    return Reshape((0, -1))(Transpose((0, 2, 1))(blocks))


def interpolated(signal: Value, level: Level, unit: int) -> Value:
    """(batch, n * unit / step) -> (batch, n * unit): the transpose of ``decimated``."""
    taps, step = level.taps, level.step
    block = decimator_block(len(taps), step, unit)
    outputs, window = block // step, block - step + len(taps)
    rows = Reshape((0, -1, outputs))(signal)
    matrix = Constant.of("interpolator", toeplitz(taps, step, outputs, window))
    frames = Transpose((0, 2, 1))(Matmul()(rows, matrix))  # (batch, window, blocks)
    return Slice(0, block - window)(OverlapAdd(block)(frames)) if window > block else OverlapAdd(block)(frames)
