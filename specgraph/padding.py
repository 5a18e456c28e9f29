"""Rewrites of padding: what is cut off again is not padded, padding twice is padding once, and blocks are padded to whole ones."""

from __future__ import annotations

from dataclasses import replace

from specgraph.op import Value
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.ops.pad_to_blocks import PadToBlocks
from specgraph.ops.polyphase import Polyphase
from specgraph.ops.trim import Trim


def slice_of_pad(value: Value) -> Value | None:
    """Padding that is cut off again, because the window is shorter than the frame, is not padded; nor is what pads nothing.

    Before: ``slice(pad(x, 8, 8), 3, -2)``. After: ``pad(x, 5, 6)``.
    """
    if type(value.op) is Pad and value.op.widths == (0, 0):
        return value.inputs[0]
    if not isinstance(value.op, Slice) or value.op.axis % 2 != 1 or type(value.inputs[0].op) is not Pad:
        return None
    pad, cut, stop = value.inputs[0].op, value.op.start, value.op.stop or 0
    before, after = pad.widths[0] - cut, pad.widths[1] + stop
    if before < 0 or after < 0 or stop > 0:
        return None
    return replace(pad, before=before, after=after)(*value.inputs[0].inputs)


def one_pad(value: Value) -> Value | None:
    """Padding of a padded signal with the same number is one; where clips have lengths, what is added behind is behind each.

    Before: ``pad(pad(x, 0, 8, "constant"), 5, 6, "constant")``. After: ``pad(x, 5, 14, "constant")``.
    """
    if type(value.op) is not Pad or type(value.inputs[0].op) is not Pad or len(value.inputs) > 1:
        return None
    outer, inner = value.op, value.inputs[0].op
    if (outer.mode, outer.value, outer.axis) != (inner.mode, inner.value, inner.axis) or outer.mode != "constant":
        return None
    (before, after), (more_before, more_after) = inner.widths, outer.widths
    return Pad(before + more_before, after + more_after, "constant", outer.value, outer.axis)(*value.inputs[0].inputs)


def trim_alone(value: Value) -> Value | None:
    """A signal is trimmed once, by what decides its length, which need not be padded for that.

    Before: ``slice(trim(x, pad(y, 2, 3)), 0, -4)``. After: ``trim(x, y, add=1)``.
    """
    op = value.op
    if isinstance(op, Trim) and type(value.inputs[1].op) is Pad:
        pad, source = value.inputs[1].op, value.inputs[1].inputs[0]
        return replace(op, add=op.add + op.multiply * sum(pad.widths))(value.inputs[0], source)
    if isinstance(op, Slice) and isinstance(value.inputs[0].op, Trim) and op.start == 0 and op.stop is not None and op.stop < 0:
        trim = value.inputs[0].op
        return replace(trim, add=trim.add + op.stop * trim.divide)(*value.inputs[0].inputs)
    return None


def pad_to_blocks(value: Value) -> Value | None:
    """What is read in blocks is padded to whole ones, instead of being cut to them.

    Before: ``polyphase(pad(x), 16)``. After: ``polyphase(pad_to_blocks(x, block=16), 16)``: a copy of the clip less.
    """
    if not isinstance(value.op, Polyphase) or type(value.inputs[0].op) is not Pad:
        return None
    pad, (signal, *lengths) = value.inputs[0].op, value.inputs[0].inputs
    before, after = pad.widths
    if lengths or pad.axis != 1 or after < value.op.size - 1 or value.op.size == 1:
        return None
    return value.op(PadToBlocks(before, after, pad.mode, pad.value, block=value.op.size)(signal))
