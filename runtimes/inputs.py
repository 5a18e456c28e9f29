"""Arrays as a model takes them: float32, finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

PCM_SCALE = np.float32(1 / 32768)  # 16-bit samples to -1 ... 1


def as_float32(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """float32, float64 rounded to it, or 16-bit PCM divided by its full scale; ``TypeError`` for another dtype."""
    if array.dtype == np.float32:
        return array
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int16:
        return array * PCM_SCALE
    raise TypeError(dtype_sentence(name, str(array.dtype)))


def dtype_sentence(name: str, dtype: str) -> str:
    """What is said of a wrong dtype."""
    return f"{name} must be float32, float64 or int16 (16-bit PCM), not {dtype}; convert it to float32 in -1 ... 1"


def refuse_not_finite(name: str, array: npt.NDArray[Any]) -> None:
    """Raise for the first element that is not finite. The sum that led here may have overflowed: then there is none."""
    places = np.argwhere(~np.isfinite(array))
    if not len(places):
        return
    where = tuple(int(i) for i in places[0])
    kind = "NaN" if np.isnan(array[where]) else "infinity"
    at = f"sample {where[-1]} of clip {where[0]}" if array.ndim == 2 else f"index {where}"
    raise ValueError(f"{name} has {len(places)} values that are not finite, the first {kind} at {at}; clean the input")
