"""Numbers as bfloat16 holds them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def bfloat16(array: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Every number rounded to the nearest that bfloat16 holds, 8 bits of it; of two as near, to the even one."""
    bits = np.asarray(array, np.float32).view(np.uint32)
    even = (bits >> 16) & 1
    kept = (bits + np.uint32(0x7FFF) + even) & np.uint32(0xFFFF0000)
    return kept.view(np.float32).astype(np.float64)
