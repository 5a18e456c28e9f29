"""Clips that are filled up to one length: frames of the zeros behind them are all equal, and one of them is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from specgraph.graph import Graph
from specgraph.op import Constant, GraphError, Input, Value
from specgraph.ops.affine import Affine
from specgraph.ops.arithmetic import Add, Clip, Multiply
from specgraph.ops.decibel import Decibel
from specgraph.ops.fill_in_steps import FillInSteps
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Slice, Take, Transpose, axis_along_the_clip
from specgraph.ops.limit_range import LimitRange
from specgraph.ops.log import Log, Log10
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.ops.repeat_last import RepeatLast
from specgraph.ops.stft import Stft
from specgraph.reach import HERE, Reach, common_step

# What makes equal frames of equal frames, and of each clip's largest number the same whether a frame stands there once or often.
STEADY = (
    Pad, Stft, FrameConv, Magnitude, Filterbank, Log, Log10, Clip, Affine, Add, Multiply, Slice, Take, Transpose, LimitRange, Decibel,
)  # fmt: skip
OF_THE_LARGEST = (LimitRange, Decibel)  # look at the whole clip, and at nothing but its maximum


@dataclass
class _Region:
    """What is made of a filled clip, for a filled length that varies."""

    probe: Value
    new: dict[Value, Value] = field(default_factory=dict)
    reach: dict[Value, Reach] = field(default_factory=dict)

    def takes(self, value: Value) -> bool:
        """Whether a value is made of what is here already, by an op that leaves equal frames equal; if so it is added."""
        inside = [operand for operand in value.inputs if operand in self.new]
        rest = [operand for operand in value.inputs if operand not in self.new]
        if len(inside) != 1 or not isinstance(value.op, STEADY) or not all(isinstance(operand.op, Constant) for operand in rest):
            return False
        (source,) = inside
        operands = [self.new.get(operand, operand) for operand in value.inputs]
        try:
            made = value.op(*operands)
        except GraphError:  # it takes one length only
            return False
        axis = axis_along_the_clip(made.shape)
        own = HERE if isinstance(value.op, OF_THE_LARGEST) else value.op.reach(*(operand.shape for operand in operands))
        if axis is None or len(made.shape) != len(value.shape) or not own.finite:
            return False
        self.new[value], self.reach[value] = made, own.after(self.reach[source])
        return True

    def margin(self, step: int, size: int) -> int:
        """Zeros behind a clip with which the last frame, and what padding mirrors at the end, reads nothing else."""
        clip = size + 64 * step  # any that is long enough, a number of steps from ``size``
        lacking, mirrored = [0], 0
        for old, made in self.new.items():
            reach, axis = self.reach[old], axis_along_the_clip(made.shape)
            assert axis is not None
            count = made.shape[axis].at(clip)  # type: ignore[union-attr]
            lacking.append(clip - math.floor((count - 1) * reach.hop + reach.first))
            if isinstance(made.op, Pad):
                mirrored += math.ceil((made.op.widths[1] + 1) * reach.hop)
        return max(lacking) + mirrored


def without_silence(graph: Graph) -> Graph:
    """Frames of nothing but the zeros behind a clip are computed once.

    Before: ``f(fixed_length(x, size))``, (batch, bins, frames). After: ``repeat_last(f(fill_in_steps(x, size, step, margin)), frames)``,
    for as long as f is made of ops that make equal frames of equal frames.
    """
    for filled in graph.values():
        clips = type(filled.op) is FixedLength and len(filled.shape) == 2 and filled.op.axis == 1
        if clips and (shorter := _shortened(graph, filled)) is not None:
            return without_silence(shorter)
    return graph


def _shortened(graph: Graph, filled: Value) -> Graph | None:
    """The graph with what is made of one filled clip computed for fewer zeros, or None where that is no gain."""
    assert isinstance(filled.op, FixedLength)
    if axis_along_the_clip(filled.inputs[0].shape) is None:
        return None
    probe = Input("filled", ("batch", "samples"))()
    region = _Region(probe, {filled: probe}, {filled: HERE})
    for value in graph.values():
        if value is not filled:
            region.takes(value)
    step = common_step(region.reach.values())
    if len(filled.inputs) > 1:  # with lengths, whole blocks are copied
        step = math.lcm(step, filled.op.block)
    margin = region.margin(step, filled.op.size)
    if max(reach.hop for reach in region.reach.values()) == 1 or 2 * (margin + step) > filled.op.size:
        return None
    shorter = FillInSteps(size=filled.op.size, step=step, margin=margin)
    rebuilt: dict[Value, Value] = {filled: shorter(*filled.inputs)}  # of the region, fewer frames

    def whole(value: Value) -> Value:
        """A value as it was, with all of its frames, for what is not in the region."""
        axis = axis_along_the_clip(rebuilt[value].shape)
        assert axis is not None
        size = value.shape[axis]
        assert isinstance(size, int)
        return RepeatLast(size, axis)(rebuilt[value])

    kept: dict[Value, Value] = {}
    for value in graph.values():
        if value in region.new:
            if value is not filled:
                rebuilt[value] = value.op(*(rebuilt.get(operand, operand) for operand in value.inputs))
        else:
            for operand in value.inputs:
                if operand in region.new and operand not in kept:
                    kept[operand] = whole(operand)
            operands = tuple(kept.get(operand, operand) for operand in value.inputs)
            kept[value] = value if operands == value.inputs else value.op(*operands)
    outputs = {name: whole(value) if value in region.new else kept[value] for name, value in graph.outputs.items()}
    return replace(graph, outputs=outputs)
