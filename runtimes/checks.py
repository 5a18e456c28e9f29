"""Checks of what a runtime is given, and clips of different lengths as one batch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.shapes import check_lengths

PCM_SCALE = np.float32(1 / 32768)  # 16-bit samples to -1 ... 1


def is_torch(value: Any) -> bool:
    """Whether it is a tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def as_float32(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Samples or features as float32; a ``TypeError`` for what they cannot be in."""
    if array.dtype == np.float32:
        return array
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int16:
        return array * PCM_SCALE
    raise TypeError(dtype_sentence(name, str(array.dtype)))


def dtype_sentence(name: str, dtype: str) -> str:
    """What is said of samples or features of a wrong dtype."""
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


def with_lengths(name: str, waveforms: Any) -> tuple[Any, npt.NDArray[np.int64]]:
    """Waveforms that were given without lengths, and these: of each clip of a list, or all of an array as long as that is."""
    if isinstance(waveforms, list | tuple):
        return _padded(name, waveforms)
    waveforms = waveforms if is_torch(waveforms) else np.asarray(waveforms)
    clips = 1 if waveforms.ndim < 2 else waveforms.shape[0]
    return waveforms, np.full(clips, waveforms.shape[-1] if waveforms.ndim else 0, np.int64)


def _padded(name: str, clips: Sequence[Any]) -> tuple[Any, npt.NDArray[np.int64]]:
    """(samples,) each -> (batch, samples), zeros after each clip, and (batch,), how long they are; a tensor if the first clip is one."""
    held = [clip.detach().cpu().numpy() if is_torch(clip) else np.asarray(clip) for clip in clips]
    for number, clip in enumerate(held):
        if clip.ndim != 1:
            raise ValueError(f"a list of clips holds {name} (samples,), and clip {number} has shape {clip.shape}")
    lengths = np.array([len(clip) for clip in held], np.int64)
    batch = np.zeros((len(held), max(lengths, default=0)), np.float32)
    for row, clip in zip(batch, held, strict=True):
        row[: len(clip)] = as_float32(name, clip)
    if clips and is_torch(clips[0]):
        return sys.modules["torch"].from_numpy(batch).to(clips[0].device), lengths
    return batch, lengths


def as_lengths(name: str, value: Any, of: str, shape: Sequence[int], least: int) -> npt.NDArray[np.int64]:
    """The lengths of clips (batch, samples), checked: whole numbers from ``least`` to ``samples``, one for each."""
    lengths = value.detach().cpu().numpy() if is_torch(value) else np.asarray(value)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise TypeError(f"{name} must be whole numbers (batch,), such as int64, not {lengths.dtype} of shape {lengths.shape}")
    check_lengths(name, of, lengths.tolist(), shape[0], shape[1], least)
    return np.ascontiguousarray(lengths, np.int64)
