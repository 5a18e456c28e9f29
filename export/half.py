"""Features in half precision: what float16 holds of them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from specgraph.export.report import Check, VerificationError
from specgraph.op import Array

LARGEST = float(np.finfo(np.float16).max)  # 65504
RELATIVE = 2.0**-11  # of a value from 6.1e-5 on, half a unit in its last place
ABSOLUTE = 2.0**-25  # half of the step between the smallest numbers
MOST = 2.0**-10  # of a clip's peak, that may be lost
SILENCE = 2.0**-24
INSTEAD = "take the logarithm or another scale first, or export in float32"


def rounding(wanted: Array) -> Array:
    """By how much each element may change where it is rounded to float16."""
    return np.maximum(RELATIVE * np.abs(wanted), ABSOLUTE)


def refuse_too_large(signal: str, output: str, wanted: Array) -> None:
    """Raise ``VerificationError`` where what the definition gives for a signal is above 65504."""
    if (largest := float(np.abs(wanted).max(initial=0.0))) > LARGEST:
        raise VerificationError(f"on {signal} {output} reaches {largest:.3g}, and float16 ends at {LARGEST:.0f}; {INSTEAD}")


def refuse_too_small(checks: Iterable[Check]) -> None:
    """Raise ``VerificationError`` where float16 has no digits for the features of a signal: they are rounded by more than 1e-3 of their peak."""
    for check in checks:
        if check.half_error is not None and check.half_error > MOST:
            raise VerificationError(
                f"on {check.signal} the features are so small that float16 rounds them by {check.half_error:.1e} of their peak, having steps of "
                f"{2 * ABSOLUTE:.0e} there; {INSTEAD}"
            )


def share_rounded(wanted: Array, loudest: float) -> float:
    """The largest change of an element that is rounded to float16, as a fraction of its clip's peak.

    A peak below float32's rounding of the ``loudest`` one is silence, which rounds to zero.
    """
    peaks = np.abs(wanted).max(axis=tuple(range(1, wanted.ndim)), keepdims=True, initial=0.0)
    changed = np.where(peaks > SILENCE * loudest, np.abs(wanted.astype(np.float16).astype(np.float64) - wanted), 0.0)
    return float(np.divide(changed, peaks, out=np.zeros_like(changed), where=changed > 0).max(initial=0.0))
