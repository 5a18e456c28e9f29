"""Checks of an input that is not waveforms, in one sentence; for every runtime, so numpy, torch and onnx are not imported."""

from __future__ import annotations

from collections.abc import Sequence

Sizes = Sequence[int | str]


def lacks_batch(sizes: Sizes, rank: int) -> bool:
    """Whether an array of this rank is a single item of an input with these sizes."""
    return bool(sizes) and sizes[0] == "batch" and rank == len(sizes) - 1


def time_axis(sizes: Sizes) -> int | None:
    """The axis that runs along the clip, if one does."""
    return next((axis for axis, size in enumerate(sizes) if isinstance(size, str) and size != "batch"), None)


def check_shape(name: str, sizes: Sizes, shape: Sequence[int], least: int = 1) -> None:
    """Raise ``ValueError`` unless ``shape`` is one of ``sizes``, with at least ``least`` along the clip."""
    called = [size if isinstance(size, str) else str(size) for size in sizes]
    text = f"({', '.join(called)})"
    if len(shape) != len(sizes):
        single = f" or ({', '.join(called[1:])})" if sizes and sizes[0] == "batch" else ""
        raise ValueError(f"{name} must be {text}{single}, not of shape {tuple(shape)}")
    for axis, (size, found) in enumerate(zip(sizes, shape, strict=True)):
        if isinstance(size, int) and found != size:
            raise ValueError(f"{name} must be {text}, and axis {axis} has {found} instead of {size}: the shape is {tuple(shape)}")
        if found == 0:
            raise ValueError(f"{name} has shape {tuple(shape)}, which is empty")
    axis_of_time = time_axis(sizes)
    if axis_of_time is not None and shape[axis_of_time] < least:
        raise ValueError(f"{name} has {shape[axis_of_time]} {sizes[axis_of_time]} and needs at least {least}")
