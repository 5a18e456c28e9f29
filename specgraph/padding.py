"""Rewrites of padding: what is cut off again is not padded, and padding twice is padding once."""

from __future__ import annotations

from dataclasses import replace

from specgraph.op import Value
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.ops.trim import Trim


def slice_of_pad(value: Value) -> Value | None:
    """Padding that is cut off again, because the window is shorter than the frame, is not padded.

    Before: ``slice(pad(x, 8, 8), 3, -2)``. After: ``pad(x, 5, 6)``.
    """
    if not isinstance(value.op, Slice) or value.op.axis % 2 != 1 or not isinstance(value.inputs[0].op, Pad):
        return None
    pad, cut, stop = value.inputs[0].op, value.op.start, value.op.stop or 0
    before, after = pad.widths[0] - cut, pad.widths[1] + stop
    if before < 0 or after < 0 or stop > 0:
        return None
    if before == after == 0:
        return value.inputs[0].inputs[0]
    return replace(pad, before=before, after=after)(*value.inputs[0].inputs)


def one_pad(value: Value) -> Value | None:
    """Padding of a padded signal with the same number is one; where clips have lengths, what is added behind is behind each.

    Before: ``pad(pad(x, 0, 8, "constant"), 5, 6, "constant")``. After: ``pad(x, 5, 14, "constant")``.
    """
    if not isinstance(value.op, Pad) or not isinstance(value.inputs[0].op, Pad) or len(value.inputs) > 1:
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
    if isinstance(op, Trim) and isinstance(value.inputs[1].op, Pad):
        pad, source = value.inputs[1].op, value.inputs[1].inputs[0]
        return replace(op, add=op.add + op.multiply * sum(pad.widths))(value.inputs[0], source)
    if isinstance(op, Slice) and isinstance(value.inputs[0].op, Trim) and op.start == 0 and op.stop is not None and op.stop < 0:
        trim = value.inputs[0].op
        return replace(trim, add=trim.add + op.stop * trim.divide)(*value.inputs[0].inputs)
    return None
