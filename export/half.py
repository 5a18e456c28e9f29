"""Features in half precision: what float16 holds of them."""

from __future__ import annotations

import numpy as np

from specgraph.export.report import VerificationError
from specgraph.op import Array

LARGEST = float(np.finfo(np.float16).max)  # 65504
HALF_ROUNDING = 2.0**-11  # of a value from 6.1e-5 on, half a unit in its last place
LEAST_STEP = 2.0**-24  # between numbers below that
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)
INSTEAD = "take the logarithm or another scale first, or export in float32"


def refuse_beyond_half(signal: str, output: str, wanted: Array, allowed: Array) -> None:
    """Raise where float16 cannot hold what the definition gives for a signal.

    Args:
        signal, output: what they are called.
        wanted: the definition's output.
        allowed: by how much each element may be off in float32: what lies below that says nothing.

    Raises:
        VerificationError: an element is above 65504, or so small that rounding it costs more than float32 and half's 11 digits do.
    """
    size = np.abs(wanted)
    if (largest := float(size.max(initial=0.0))) > LARGEST:
        raise VerificationError(f"on {signal} {output} reaches {largest:.3g}, and float16 ends at {LARGEST:.0f}; {INSTEAD}")
    lost = (size > 0) & (size < SMALLEST_NORMAL) & (LEAST_STEP / 2 > HALF_ROUNDING * size + allowed)
    if lost.any():
        raise VerificationError(
            f"on {signal} {output} holds values such as {size[lost].min():.1e}, and float16 has few digits below {SMALLEST_NORMAL:.1e} and none "
            f"below {LEAST_STEP:.0e}; {INSTEAD}"
        )


def of_peak(off: Array, wanted: Array) -> float:
    """The largest difference as a fraction of each item's peak; 0 where both are zero."""
    axes = tuple(range(1, wanted.ndim))
    peak = np.abs(wanted).max(axis=axes, keepdims=True, initial=0.0)
    return float(np.divide(off, peak, out=np.zeros_like(off), where=off > 0).max(initial=0.0)) if off.size else 0.0
