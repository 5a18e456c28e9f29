"""Comparisons, as numbers: 1 where they hold, 0 elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specgraph.ops.arithmetic import _Binary

FLOAT32 = 1  # as ONNX numbers types


@dataclass(frozen=True, eq=False)
class Less(_Binary):
    """(...), (...) -> (...): 1 where left < right, else 0, broadcast as numpy's; the gradient is zero."""

    jumps = True

    def numpy(self, left, right):
        return np.less(left, right).astype(np.float64)

    def torch(self, left, right):
        return (right - left).sign().clamp_min(0)  # a sign has a gradient, of zero

    def onnx(self, onnx, left, right):
        return onnx.Cast(onnx.Less(left, right), to=FLOAT32)
