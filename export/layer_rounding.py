"""What rounding to float32 makes of a torch model's outputs, seen by rounding otherwise: every operator's result moved by a unit.

Layers may amplify rounding, as one that divides silence by its own standard deviation. Then torch and a file differ by more than their
layers do, and how much that may be is what the model itself changes by.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specgraph.op import Array

UNIT = 2.0**-23  # of a float32, relative
TRIED = 3  # ways to round
MOST = 16  # times what was seen: sums of many numbers round more often than once


def layer_rounding(run: Callable[[], dict[str, Array]]) -> dict[str, float]:
    """For each output of ``run``, a torch model's, by how much an element may differ; 0 where it is not finite."""
    wanted = run()
    largest = dict.fromkeys(wanted, 0.0)
    for seed in range(TRIED):
        with _otherwise(seed):
            got = run()
        for name, array in wanted.items():
            if array.dtype.kind == "f" and np.isfinite(array).all() and np.isfinite(got[name]).all() and got[name].shape == array.shape:
                off = np.abs(got[name].astype(np.float64) - array).max(initial=0.0)
                largest[name] = max(largest[name], MOST * float(off))
    return largest


def _otherwise(seed: int) -> Any:
    """A context in which torch rounds every result up or down by chance."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_map

    signs = torch.Generator().manual_seed(seed)

    def moved(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.dtype != torch.float32:
            return value
        up = torch.randint(0, 2, value.shape, generator=signs)
        return (value.double() * (1 + UNIT * (2 * up - 1))).float()

    class Otherwise(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            return result if any(one.alias_info is not None for one in func._schema.returns) else tree_map(moved, result)

    return Otherwise()
