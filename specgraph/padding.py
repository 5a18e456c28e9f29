"""Rewrites of padding: what is cut off again is not padded, and what is read in blocks is padded to whole ones."""

from __future__ import annotations

from dataclasses import replace

from specgraph.op import Value
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.ops.pad_to_blocks import PadToBlocks
from specgraph.ops.polyphase import Polyphase


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
