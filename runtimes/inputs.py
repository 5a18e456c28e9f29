"""Arrays and tensors as a model takes them: float32, finite, of the right shape; and clips of different lengths as one batch."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.shapes import WAVEFORMS, check_lengths, check_shape, leading_axes, refuse_transposed, with_batch

KINDS = {"float16": "f", "float64": "f", "int64": "iu", "int32": "iu", "bool": "b"}  # numpy's, that an input of a dtype takes
PCM_SCALE = np.float32(1 / 32768)  # 16-bit samples to -1 ... 1


def is_torch(value: Any) -> bool:
    """Whether it is a tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def refuse_file(name: str, value: Any, audio: bool) -> None:
    """Raise ``TypeError`` where the path of a file, what one holds, or a list of paths was given for an array; ``audio`` is what is wanted."""
    several = isinstance(value, list | tuple) and len(value) > 0
    first = value[0] if several else value
    if not isinstance(first, str | bytes | bytearray | PurePath):
        return
    holds = isinstance(first, bytes | bytearray)
    shown = "..." if holds else repr(str(first))
    what = ("a list of " if several else "") + ("bytes" if holds else f"paths, {shown} the first" if several else f"the path {shown}")
    if not audio:
        raise TypeError(f"{name} must be an array, not {what}; read the file first: numpy.load({shown})")
    many = "" if holds else f", and run.map([{shown}, ...]) runs many files"
    raise TypeError(f"{name} must be an array of samples, not {what}; run(run.read({shown}).samples) reads a file and runs it{many}")


def as_float32(name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """float32, float64 rounded to it, or 16-bit PCM divided by its full scale; ``TypeError`` for another dtype."""
    if array.dtype == np.float32:
        return array
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if array.dtype == np.int16:
        return array * PCM_SCALE
    raise TypeError(dtype_sentence(name, str(array.dtype)))


def as_dtype(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """An array as an input of ``dtype`` holds it; ``TypeError`` where it has numbers of another kind.

    An input of 16-bit PCM takes that alone: samples in -1 ... 1 would become zeros. Other dtypes than that and float32 are those of
    models that were joined with a front end.
    """
    if dtype == "float32":
        return as_float32(name, array)
    if dtype == "int16" and array.dtype != np.int16:
        raise TypeError(int16_sentence(name, str(array.dtype)))
    if array.dtype.kind not in KINDS.get(dtype, array.dtype.kind):
        raise TypeError(f"{name} must be {dtype}, not {array.dtype}; convert it")
    return array.astype(dtype, copy=False) if dtype in KINDS else array


def int16_sentence(name: str, dtype: str) -> str:
    """What is said of a wrong dtype where 16-bit samples are wanted."""
    return f"{name} must be int16 (16-bit PCM), which this model divides by 32768 itself, not {dtype}; give the samples as they were recorded"


def dtype_sentence(name: str, dtype: str) -> str:
    """What is said of a wrong dtype."""
    return f"{name} must be float32, float64 or int16 (16-bit PCM), not {dtype}; convert it to float32 in -1 ... 1"


def refuse_not_finite(name: str, array: npt.NDArray[Any], lengths: npt.NDArray[np.int64] | None = None) -> None:
    """Raise for the first element that is not finite: of a clip, where they have ``lengths``, since what stands behind it is not read."""
    places = np.argwhere(~np.isfinite(array))
    if lengths is not None:
        places = places[places[:, -1] < lengths[places[:, 0]]]
    if not len(places):
        return
    where = tuple(int(i) for i in places[0])
    kind = "NaN" if np.isnan(array[where]) else "infinity"
    at = f"sample {where[-1]} of clip {where[0]}" if array.ndim == 2 else f"index {where}"
    raise ValueError(f"{name} has {len(places)} values that are not finite, the first {kind} at {at}; clean the input")


def checked_array(
    name: str, value: npt.NDArray[Any], finite: bool, dtype: str = "float32", lengths: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[Any]:
    """An array as float32, or what else an input holds; refused where it is of another kind, or with ``finite`` has NaN or infinity.

    With ``lengths``, (batch,), within clips of these.
    """
    array = as_dtype(name, value, dtype)
    # NaN is the largest and the least of anything; both are found in half of the time that a sum or a mask takes.
    if finite and array.dtype.kind == "f" and array.size and not (math.isfinite(array.max()) and math.isfinite(array.min())):
        refuse_not_finite(name, array, lengths)
    return array


def checked_tensor(name: str, tensor: Any, finite: bool, dtype: str = "float32", lengths: npt.NDArray[np.int64] | None = None) -> Any:
    """The same for a torch tensor, which stays where it is."""
    torch = sys.modules["torch"]
    if dtype == "int16":
        if tensor.dtype != torch.int16:
            raise TypeError(int16_sentence(name, str(tensor.dtype)))
        return tensor.detach().contiguous()
    if tensor.dtype == torch.int16:
        tensor = tensor.float() * float(PCM_SCALE)
    elif tensor.dtype == torch.float64:
        tensor = tensor.float()
    elif tensor.dtype != torch.float32:
        raise TypeError(dtype_sentence(name, str(tensor.dtype)))
    if finite and not bool(torch.isfinite(tensor).all()):
        refuse_not_finite(name, tensor.detach().cpu().numpy(), lengths)
    return tensor.detach().contiguous()


def check_input(name: str, sizes: Sequence[int | str], shape: tuple[int, ...], path: str, least: int, alone: bool) -> None:
    """Raise ``ValueError`` unless ``shape`` goes with an input's ``sizes``; clips, where they come ``alone``, have ``least`` samples or frames."""
    if tuple(sizes) != WAVEFORMS:
        check_shape(name, sizes, shape, least if alone else 1)
        return
    if len(shape) != 2:
        raise ValueError(f"{name} must be (batch, samples) or (samples,), not of shape {shape}; mix channels to one, or stack clips; a model for several channels is exported with channels=2, say")
    batch, samples = shape
    refuse_transposed(name, batch, samples)
    if batch == 0 or samples == 0:
        raise ValueError(f"{name} has shape {shape}: there are no {'clips' if batch == 0 else 'samples'} in it")
    if samples < least:
        raise ValueError(f"{name} has {samples} sample{'s' * (samples != 1)} and {path} needs at least {least}; pad the clip with zeros")


def with_lengths(name: str, waveforms: Any, sizes: Sequence[int | str] = WAVEFORMS, dtype: str = "float32") -> tuple[Any, npt.NDArray[np.int64]]:
    """Waveforms that were given without lengths, and these: of each clip of a list, or all of an array as long as that is."""
    if isinstance(waveforms, list | tuple):
        return _padded(name, waveforms, sizes[1:], dtype)
    waveforms = waveforms if is_torch(waveforms) else np.asarray(waveforms)
    clips = leading_axes(with_batch(sizes), waveforms.shape) or ()
    return waveforms, np.full(clips, waveforms.shape[-1] if waveforms.ndim else 0, np.int64)


def _padded(name: str, clips: Sequence[Any], sizes: Sequence[int | str], dtype: str) -> tuple[Any, npt.NDArray[np.int64]]:
    """(samples,) each -> (batch, samples), zeros after each clip, and (batch,), how long they are; a tensor if the first clip is one.

    Clips of several channels are (channels, samples).
    """
    text = f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(map(str, sizes))})"
    held = [clip.detach().cpu().numpy() if is_torch(clip) else np.asarray(clip) for clip in clips]
    for number, clip in enumerate(held):
        if clip.ndim != len(sizes) or clip.shape[:-1] != tuple(sizes[:-1]):
            raise ValueError(f"a list of clips holds {name} {text}, and clip {number} has shape {clip.shape}")
    lengths = np.array([clip.shape[-1] for clip in held], np.int64)
    shape = [len(held), *(size for size in sizes[:-1] if isinstance(size, int)), max(lengths, default=0)]
    batch = np.zeros(shape, np.dtype(dtype))
    for row, clip in zip(batch, held, strict=True):
        row[..., : clip.shape[-1]] = as_dtype(name, clip, dtype)
    if clips and is_torch(clips[0]):
        return sys.modules["torch"].from_numpy(batch).to(clips[0].device), lengths
    return batch, lengths


def as_lengths(name: str, value: Any, of: str, shape: Sequence[int], least: int) -> npt.NDArray[np.int64]:
    """The lengths of clips (batch, samples), checked: whole numbers from ``least`` to ``samples``, one for each."""
    lengths = value.detach().cpu().numpy() if is_torch(value) else np.asarray(value)
    if lengths.dtype.kind not in "iu" or lengths.ndim != 1:
        raise TypeError(f"{name} must be whole numbers (batch,), such as int64, not {lengths.dtype} of shape {lengths.shape}")
    check_lengths(name, of, lengths.tolist(), shape[0], shape[-1], least)
    return np.ascontiguousarray(lengths, np.int64)
