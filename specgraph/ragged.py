"""Ragged batches: a graph that knows how long each clip of its batch is.

A value of the graph has as many positions for a clip as the clip's own length gives; what follows those, out of the longest
clip's, is arbitrary. An op that never reads beyond its operand's own positions is right as it is. One that does says how
it is right by ``Op.ragged``: it pads at each clip's own end, leaves out of a sum what is not the clip's, or reads zeros there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

from specgraph.dims import Dim, Shape, Step, text
from specgraph.graph import About, Graph, clip_by_clip
from specgraph.op import GraphError, Input, Value
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.layout import Transpose, axis_along_the_clip, is_time
from specgraph.ops.lengths import Lengths, LengthsInput, Mask, ends_in_zeros
from specgraph.ops.pad import Pad
from specgraph.reach import HERE
from specgraph.shapes import LENGTHS
from specgraph.sources import as_graph


def with_lengths(source: Any) -> Graph:
    """The graph of ``source`` for clips of different lengths in one batch: ``waveforms, waveforms_lens -> features, features_lens``.

    The input ``waveforms`` stays, (batch, samples); ``waveforms_lens``, int64 (batch,), says how many samples of each row are
    its clip. Every output along the clip gets a companion by its name and ``_lens``, int64 (batch,), and is zero beyond
    that. A clip's features are those of the clip alone, whatever else is in the batch or stands behind it, NaN included.
    A graph with lengths is returned as it is.

    Where a clip is cut, or filled up with zeros, to one length for all (Whisper's 30 s), the companion says that length: all of
    its frames are the clip's features, and a clip's own samples end where ``waveforms_lens`` says. Frames of zeros that a graph puts
    behind the last frame of its output (NeMo's) are nobody's, and the companion does not count them.

    Args:
        source: a transform, a preset, a module made from one, or a graph.

    Raises:
        GraphError: the graph takes something else than waveforms, or has an op that cannot tell clips' ends.
        TypeError: ``source`` has no graph.
    """
    graph = as_graph(source, "with_lengths")
    if has_lengths(graph):
        return graph
    given = _lengths_input(graph)
    counted: dict[tuple[Step, ...], Value] = {(): given}

    def stepped(*steps: Step) -> Value:
        if steps not in counted:
            counted[steps] = Lengths(steps)(given)
        return counted[steps]

    def lengths(value: Value) -> Value:
        axis = axis_along_the_clip(value.shape)
        size = None if axis is None else value.shape[axis]
        assert isinstance(size, Dim)
        return stepped(*size.steps)

    new: dict[Value, Value] = {}
    for old in graph.values():
        operands = tuple(new[operand] for operand in old.inputs)
        varies = any(isinstance(size, Dim) for operand in operands for size in operand.shape)
        made = _ragged(old, lengths, operands) if varies else old
        assert made.shape == old.shape
        new[old] = made
    outputs, ends, fixed = {}, {}, _of_one_length(graph)
    for name, value in graph.outputs.items():
        made, axis = new[value], axis_along_the_clip(value.shape)
        outputs[name] = made
        if axis is not None:
            own = _without_zeros_behind(made)
            outputs[name] = made if ends_in_zeros(own) else Mask(axis)(made, lengths(own))
            ends[name + LENGTHS] = lengths(own)
        elif name in fixed:
            ends[name + LENGTHS] = stepped((0, fixed[name], 1))
    return dataclasses.replace(
        graph,
        inputs=(*graph.inputs, given),
        outputs=outputs | ends,
        about={**graph.about, **{name: About("length") for name in ends}},
    )


def has_lengths(graph: Graph) -> bool:
    """Whether a graph takes waveforms and how long each of them is."""
    others = graph.inputs[1:]
    return len(others) == 1 and isinstance(others[0].op, LengthsInput) and graph.takes_waveforms


def _lengths_input(graph: Graph) -> Value:
    first = graph.inputs[0].op
    assert isinstance(first, Input)
    if len(graph.inputs) > 1 or not graph.takes_waveforms:
        takes = ", ".join(f"{value.op.label} {text(value.shape)}" for value in graph.inputs)
        raise GraphError(f"lengths are those of waveforms (batch, samples), and {graph.name} takes {takes}; run it without lengths, clip by clip")
    return LengthsInput(first.name + LENGTHS)()


def _without_zeros_behind(value: Value) -> Value:
    """What the frames of an output are before zeros are put behind them."""
    before = value.inputs[0] if isinstance(value.op, Transpose) else value
    op = before.op
    if isinstance(op, Pad) and op.axis > 1 and is_time(before.shape[op.axis]) and op.mode == "constant" and op.value == op.before == 0:
        return before.inputs[0]
    return value


def _of_one_length(graph: Graph) -> dict[str, int]:
    """The outputs that are as long for every clip, as clips are cut or filled up to one length, and how long that is.

    Found as the axes that would vary without it.
    """
    uncut: dict[Value, Shape] = {}
    for value in graph.values():
        try:
            uncut[value] = value.op.infer(*(uncut[operand] for operand in value.inputs))
        except (GraphError, KeyError):
            continue  # it takes one length only
        if isinstance(value.op, FixedLength):
            uncut[value] = uncut[value.inputs[0]]
    sizes = {name: value.shape[axis] for name, value in graph.outputs.items() if (axis := axis_along_the_clip(uncut.get(value, ()))) is not None}
    return {name: size for name, size in sizes.items() if isinstance(size, int)}


def _ragged(old: Value, lengths: Callable[[Value], Value], operands: Sequence[Value]) -> Value:
    """A value for clips of different lengths."""
    op = old.op
    reason = "it reads beyond a clip's end and has no version for clips of different lengths"
    try:
        if not clip_by_clip(old):
            reason = "it does not keep clips apart"
        elif all(axis_along_the_clip(operand.shape) is None for operand in operands) and axis_along_the_clip(old.shape) is None:
            return op(*operands)  # behind what makes all clips as long: there is no end to know of
        elif (made := op.ragged(lengths, *operands)) is not None:
            return made
        elif _stays_within(old):
            return op(*operands)
    except GraphError as error:
        reason = str(error)
    raise GraphError(f"{op} cannot be in a ragged batch: {reason}; run clips one by one, without lengths") from None


def _stays_within(value: Value) -> bool:
    """Whether positions that are a clip's own, by its length, are made of the clip's own positions.

    The result having ``(n * multiply + add) // divide`` positions for ``n`` of its operand, the last of them reads up to
    ``(result - 1) * hop + last`` there, which must be at most ``n - 1``.
    """
    if any(sum(map(is_time, each.shape)) > 1 for each in (value, *value.inputs)):
        return False
    sizes = [operand.shape[axis] for operand in value.inputs if (axis := axis_along_the_clip(operand.shape)) is not None]
    axis = axis_along_the_clip(value.shape)
    if not sizes:
        return axis is None
    if axis is None:
        return False
    reach = value.op.reach(*(operand.shape for operand in value.inputs))
    if reach == HERE and all(size == value.shape[axis] for size in sizes):
        return True
    if len(sizes) > 1 or not math.isfinite(reach.last):
        return False
    operand = Dim("n")
    shapes = [tuple(operand if size == sizes[0] else size for size in one.shape) for one in value.inputs]
    made = value.op.infer(*shapes)[axis]
    steps = made.steps if isinstance(made, Dim) else ()
    multiply, add, divide = steps[0] if steps else (1, 0, 1)
    hop = Fraction(reach.hop)
    if len(steps) > 1 or hop * multiply != divide:
        return False
    return Fraction(add, multiply) - hop + Fraction(reach.last) + 1 <= 0
