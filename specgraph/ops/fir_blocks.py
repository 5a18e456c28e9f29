"""A FIR filter that keeps every factor-th sample, as a matrix product over blocks of samples."""

from __future__ import annotations

import numpy as np

from specgraph.op import Constant, Value
from specgraph.ops.block_product import block_product
from specgraph.ops.fir_downsample import FirDownsample
from specgraph.ops.layout import Reshape
from specgraph.ops.trim import Trim


def fir_blocks(op: FirDownsample, signal: Value, taps: Value) -> Value:
    """What ``op`` makes of ``signal`` with constant ``taps``, from matrix products."""
    constant = taps.op
    assert isinstance(constant, Constant)
    (width,) = constant.shape
    outputs = op.block(width)
    hop = outputs * op.factor

    def matrix() -> np.ndarray:
        columns = np.zeros((outputs, hop - op.factor + width))
        place = op.factor * np.arange(outputs)[:, None] + np.arange(width)
        np.put_along_axis(columns, place, constant.array[None, ::-1], 1)
        return columns.T

    block = Constant.lazy(constant.name, (hop - op.factor + width, outputs), matrix)
    products = block_product(signal, block, hop, width - 1 - (width - 1) // 2)
    return Trim(1, op.factor - 1, op.factor)(Reshape((0, -1))(products), signal)
