"""Checks of an input that is not waveforms, in one sentence; for every runtime, so numpy, torch and onnx are not imported."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

Sizes = Sequence[int | str]
WAVEFORMS = "batch", "samples"
MOST_CHANNELS = 8  # of an audio file that is taken for a batch of clips by mistake
FEWEST_CLIPS = 100  # for each sample of a clip, where a batch is taken for such a file
NEXT_STATE = "next_state"  # the output of a streaming graph that is its input again
LENGTHS = "_lens"  # what the name of an input or output is followed by where it holds the lengths of another


def is_waveforms(sizes: Sizes) -> bool:
    """Whether an input of these sizes is audio: (batch, samples), or (batch, channels, samples) with a fixed number of channels."""
    return tuple(sizes) == WAVEFORMS or (len(sizes) == 3 and (sizes[0], sizes[2]) == WAVEFORMS and isinstance(sizes[1], int))


def with_batch(sizes: Sizes) -> tuple[int | str, ...]:
    """Sizes of a file's input, of which the batch is called so where it is fixed at one clip, as ``torch.onnx.export`` does unless told."""
    return ("batch", *sizes[1:]) if tuple(sizes[:1]) == (1,) else tuple(sizes)


def leading_axes(sizes: Sizes, shape: Sequence[int]) -> tuple[int, ...] | None:
    """The axes of an array in place of the batch of an input with these sizes: none, one or several; None where it has too few others."""
    if not sizes or sizes[0] != "batch" or len(shape) < len(sizes) - 1:
        return None
    return tuple(shape[: len(shape) - len(sizes) + 1])


def refuse_transposed(name: str, clips: int, samples: int) -> None:
    """Raise ``ValueError`` where waveforms (clips, samples) are most likely an audio file's (samples, channels)."""
    if 0 < samples <= MOST_CHANNELS and clips >= FEWEST_CLIPS * samples:
        raise ValueError(
            f"{name} of shape {(clips, samples)} would be {clips} clips of {samples} sample{'s' * (samples > 1)} each; "
            "if it is the (samples, channels) of an audio file, mix its channels to one, by array.mean(1) say"
        )


def time_axis(sizes: Sizes) -> int | None:
    """The axis that runs along the clip, if one does."""
    return next((axis for axis, size in enumerate(sizes) if isinstance(size, str) and size != "batch"), None)


def check_shape(name: str, sizes: Sizes, shape: Sequence[int], least: int = 1) -> None:
    """Raise ``ValueError`` unless ``shape`` is one of ``sizes``, with at least ``least`` along the clip."""
    called = [size if isinstance(size, str) else str(size) for size in sizes]
    text = f"({', '.join(called)})"
    if len(shape) != len(sizes):
        single = f" or ({', '.join(called[1:])})" if sizes and with_batch(sizes)[0] == "batch" else ""
        raise ValueError(f"{name} must be {text}{single}, not of shape {tuple(shape)}")
    for axis, (size, found) in enumerate(zip(sizes, shape, strict=True)):
        if isinstance(size, int) and found != size:
            hint = "; channels come before samples, so transpose it" if is_waveforms(sizes) and shape[-1] == size else ""
            raise ValueError(f"{name} must be {text}, and axis {axis} has {found} instead of {size}: the shape is {tuple(shape)}{hint}")
        if found == 0:
            raise ValueError(f"{name} has shape {tuple(shape)}, which is empty")
    axis_of_time = time_axis(sizes)
    if axis_of_time is not None and shape[axis_of_time] < least:
        raise ValueError(f"{name} has {shape[axis_of_time]} {sizes[axis_of_time]} and needs at least {least}")


def check_lengths(name: str, of: str, lengths: Sequence[int], clips: int, samples: int, least: int) -> None:
    """Raise ``ValueError`` unless ``lengths`` are one for each of ``clips`` clips, from ``least`` to ``samples``."""
    if len(lengths) != clips:
        raise ValueError(f"{name} has {len(lengths)} lengths and {of} has {clips} clips; give one for each")
    for clip, length in enumerate(lengths):
        if length > samples:
            raise ValueError(f"{name} says that clip {clip} has {length} samples, and {of} has {samples} of each clip")
        if length < max(least, 1):
            raise ValueError(f"{name} says that clip {clip} has {length} samples, and a clip needs at least {max(least, 1)} here")


def arranged(outputs: dict[str, Any], lengths: bool) -> Any:
    """What a caller gets: the output, or a dict of several by name; with ``lengths``, the pair of that and the lengths likewise."""
    ends = {name.removesuffix(LENGTHS): outputs[name] for name in outputs if lengths and is_lengths_of(name, outputs)}
    values = {name: value for name, value in outputs.items() if not (lengths and is_lengths_of(name, outputs))}
    if len(values) > 1:
        return (values, ends) if ends else values
    ((name, value),) = values.items()
    return (value, ends[name]) if ends else value


def is_lengths_of(name: str, outputs: Collection[str]) -> bool:
    """Whether an output holds the lengths of another."""
    return name.endswith(LENGTHS) and name.removesuffix(LENGTHS) in outputs
