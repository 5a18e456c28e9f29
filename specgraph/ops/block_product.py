"""Overlapping blocks of a signal times a matrix, without copying the overlap."""

from __future__ import annotations

from functools import partial

import numpy as np

from specgraph.dims import Dim
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Add
from specgraph.ops.frame import Frame
from specgraph.ops.layout import Reshape, Slice
from specgraph.ops.matmul import Matmul
from specgraph.ops.pad import Pad


def block_product(signal: Value, matrix: Value, hop: int, before: int) -> Value:
    """(batch, samples), constant (width, outputs) -> (batch, ceil(samples / hop), outputs).

    Block t is the product of ``x[t * hop - before : t * hop - before + width]``, zeros outside the clip, with the matrix. It is
    added up from products with rows of ``hop`` samples: where the width is little more than the hop, that is less to
    move than frames laid beside one another. Rows that lie in other blocks are shifted before the product or after it,
    whichever is less to copy.
    """
    constant = matrix.op
    assert isinstance(constant, Constant)
    width, outputs = constant.shape
    rows = -(-width // hop)
    samples = signal.shape[1]
    whole = before == 0 and outputs < hop and isinstance(samples, Dim) and samples.divided(hop) is not None
    if whole:  # the signal is seen in blocks as it lies, and zeros come after the products, which are shorter
        grid = Reshape((0, -1, hop))(signal)
    else:
        grid = Frame(hop, hop)(Pad(before, rows * hop - 1 - before, mode="constant")(signal))
    total: Value | None = None
    for row in range(rows):
        shift = Slice(row, (row + 1 - rows) or None)
        later = rows > 1 and outputs < hop
        part = shift(grid) if rows > 1 and not later else grid
        size = min(hop, width - row * hop)
        held = size if size < hop / 2 else hop  # a few zeros more to multiply are less than columns to cut off
        if held < hop:
            part = Slice(0, held, axis=2)(part)
        product = Matmul()(part, Constant.lazy(constant.name, (held, outputs), partial(_rows, constant, row * hop, held)))
        if later and whole and row:
            flat = Slice(row * outputs)(Reshape((0, -1))(product))
            product = Reshape((0, -1, outputs))(Pad(0, row * outputs, mode="constant")(flat))
        elif later and not whole:
            product = shift(product)
        total = product if total is None else Add()(total, product)
    assert total is not None
    return total


def _rows(matrix: Constant, first: int, count: int) -> np.ndarray:
    """Rows of a matrix, zeros after its last."""
    rows = matrix.array[first : first + count]
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))
