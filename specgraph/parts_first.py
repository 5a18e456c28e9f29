"""A rewrite of spectra whose real and imaginary parts are wanted apart: they never come to lie side by side."""

from __future__ import annotations

from dataclasses import replace

from specgraph.op import Value
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.select_bins import SelectBins


def parts_first(value: Value) -> Value | None:
    """Real and imaginary parts that are wanted apart, as whole planes, are not put side by side first, which moves number by number.

    Before: ``transpose(select_bins(reshape(transpose(x (batch, a, 2, b, frames), (0, 1, 3, 4, 2)), (0, a * b, -1, 2))), (0, 3, 1, 2))``.
    After: ``take(reshape(transpose(x, (0, 2, 1, 3, 4)), (0, 0, a * b, -1)), axis=2)``, which moves planes, and rows of frames.
    """
    if not isinstance(value.op, Transpose) or value.op.order != (0, 3, 1, 2) or value.inputs[0].shape[-1] != 2:
        return None
    return _apart(value.inputs[0])


def _apart(value: Value) -> Value | None:
    """(batch, 2, bins, frames) of a value (batch, bins, frames, 2), where it is made of such planes."""
    op, source = value.op, value.inputs[0] if value.inputs else None
    if source is None:
        return None
    if isinstance(op, Reshape):
        split, order = source.inputs[0] if isinstance(source.op, Transpose) else None, getattr(source.op, "order", ())
        if split is None or order != (0, 1, 3, 4, 2) or len(op.shape) != 4 or op.shape[0] != 0 or op.shape[2:] != (-1, 2):
            return None
        return Reshape((0, 0, op.shape[1], -1))(Transpose((0, 2, 1, 3, 4))(split))
    if isinstance(op, SelectBins) and op.exact:
        moved: Take | Slice = Take(tuple(op.places.tolist()), axis=2)
    elif isinstance(op, Take | Slice) and op.axis in (1, 2):
        moved = replace(op, axis=op.axis + 1)
    else:
        return None
    inner = _apart(source)
    if inner is None:
        return None
    if isinstance(moved, Take) and isinstance(inner.op, Take) and inner.op.axis == moved.axis:
        return Take(tuple(inner.op.indices[i] for i in moved.indices), moved.axis)(inner.inputs[0])
    return moved(inner)
