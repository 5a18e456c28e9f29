"""Overlapping blocks of a signal times a matrix, without copying the overlap."""

from __future__ import annotations

from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Add
from specgraph.ops.frame import Frame
from specgraph.ops.layout import Slice
from specgraph.ops.matmul import Matmul
from specgraph.ops.pad import Pad


def block_product(signal: Value, matrix: Value, hop: int, before: int) -> Value:
    """(batch, samples), constant (width, outputs) -> (batch, ceil(samples / hop), outputs).

    Block t is the product of ``x[t * hop - before : t * hop - before + width]``, zeros outside the clip, with the matrix. It is
    added up from products with rows of ``hop`` samples: where the width is little more than the hop, that is less to
    move than frames laid beside one another.
    """
    constant = matrix.op
    assert isinstance(constant, Constant)
    width, outputs = constant.shape
    rows = -(-width // hop)
    grid = Frame(hop, hop)(Pad(before, rows * hop - 1 - before, mode="constant")(signal))
    total: Value | None = None
    for row in range(rows):
        size = min(hop, width - row * hop)
        part = Slice(row, (row + 1 - rows) or None)(grid) if rows > 1 else grid
        if size < hop:
            part = Slice(0, size, axis=2)(part)
        slab = Constant.lazy(
            constant.name,
            (size, outputs),
            lambda first=row * hop, size=size: constant.array[first : first + size],  # type: ignore[misc]
        )
        product = Matmul()(part, slab)
        total = product if total is None else Add()(total, product)
    assert total is not None
    return total
