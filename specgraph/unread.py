"""Bins that no filter of a bank reads, above fmax or below fmin, are not computed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from specgraph.graph import Graph
from specgraph.op import Constant, Value
from specgraph.ops.conv import Conv
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.matmul import Matmul


def without_unread_bins(graph: Graph) -> Graph:
    """The graph with rows left out of the constant matrix or kernels whose results only meet zeros of a filterbank.

    Before: ``filterbank(magnitude(matmul(matrix, x)), bank)``. After: the same with fewer rows and columns. What is read by
    something else too stays whole, so that it is computed once.
    """
    readers = Counter(operand for value in graph.values() for operand in value.inputs)
    readers.update(graph.outputs.values())

    def narrowed(value: Value) -> Value | None:
        chain = _chain(value)
        if chain is None or any(readers[link] > 1 for link in chain):
            return None
        return _narrowed(value, chain)

    return graph.rewrite(narrowed)


def _chain(bank: Value) -> tuple[Value, ...] | None:
    """What a filterbank reads, from its features back to what makes them, where their bins are rows of a constant."""
    if type(bank.op) is not Filterbank or not isinstance(bank.inputs[1].op, Constant) or bank.inputs[1].op.trainable:
        return None
    merged = [bank.inputs[0]] if isinstance(bank.inputs[0].op, Reshape) else []
    magnitude = merged[0].inputs[0] if merged else bank.inputs[0]
    if not isinstance(magnitude.op, Magnitude) or not isinstance(magnitude.inputs[0].op, Reshape):
        return None
    parted = magnitude.inputs[0]
    shape, made = parted.op.shape, parted.inputs[0]  # type: ignore[attr-defined]
    in_slots = len(shape) == 5 and magnitude.op.axis == 2 and bool(merged)  # (0, k, part, slots of k, -1)
    in_bins = len(shape) == 4 and magnitude.op.axis == 1 and not merged  # (0, part, bin, -1)
    if not (in_slots or in_bins) or shape[0] != 0 or shape[-1] != -1 or _rows(made) is None:
        return None
    return *merged, magnitude, parted, made


def _rows(made: Value) -> int | None:
    """Which operand is a fixed constant, whose rows are the bins that ``made`` holds."""
    place = 0 if isinstance(made.op, Matmul) else 1 if isinstance(made.op, FrameConv | Conv) else None
    if place is None or (isinstance(made.op, Conv) and made.op.groups > 1):
        return None
    op = made.inputs[place].op
    several = isinstance(made.op, Matmul) and len(made.inputs[0].shape) != 2
    return None if not isinstance(op, Constant) or op.trainable or several else place


def _narrowed(value: Value, chain: tuple[Value, ...]) -> Value | None:
    *_, magnitude, parted, made = chain
    bank, place, shape = value.inputs[1].op, _rows(made), parted.op.shape  # type: ignore[attr-defined]
    assert isinstance(bank, Constant)
    assert place is not None
    matrix, along = made.inputs[place].op, 1 if len(shape) == 5 else 2
    assert isinstance(matrix, Constant)
    size, each = shape[along], shape[3] if len(shape) == 5 else 1
    if matrix.shape[0] != 2 * size:
        return None
    columns = bank.array.reshape(-1, size, each)
    kept = np.flatnonzero(columns.any((0, 2)))
    if not 0 < len(kept) < size:
        return None

    def rows() -> np.ndarray:
        grid = matrix.array.reshape(*shape[1:3], *matrix.shape[1:])
        return grid.take(kept, along - 1).reshape(-1, *matrix.shape[1:])

    fewer = Constant.lazy(matrix.name, (2 * len(kept), *matrix.shape[1:]), rows)
    operands = [fewer if i == place else operand for i, operand in enumerate(made.inputs)]
    new_shape = tuple(len(kept) if axis == along else n for axis, n in enumerate(shape))
    features = magnitude.op(replace(parted.op, shape=new_shape)(made.op(*operands)))  # type: ignore[call-arg]
    if len(chain) == 4:
        features = Reshape((0, len(kept) * each, -1))(features)
    return value.op(features, Constant.of(bank.name, columns[:, kept].reshape(len(columns), -1)))
