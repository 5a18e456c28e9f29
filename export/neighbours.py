"""Whether the answer for a clip depends on the other clips of its batch: a model that mixes clips is not written for any batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from specgraph.export.compare import Run, differences, relative
from specgraph.op import Array

SAME = 1e-5  # of an output's peak: other clips in a batch may change how sums are split, and nothing else
MIXES = "does not compute clip by clip:"
LOOK = "look for a reshape, a mean, a maximum or a softmax over the batch, and for batch normalisation without running statistics"
RESHAPE = "name the axis that is squeezed, and keep the batch in every reshape"
FAINT = 2.0**-20  # 120 dB down: a floor below the peak of a batch is seldom lower
Arrays = tuple[Array, ...]
Change = Callable[[Array, int, int], Array]


def mixing(run: Run, inputs: Arrays, larger: Arrays, alone: Arrays | None = None, first_only: bool = False) -> str | None:
    """What a model does that a file for any batch may not, and what to change, in a clause; or None.

    Args:
        run: computes the outputs by name.
        inputs: of at least two clips.
        larger: the same of one clip more, which tells the axes of clips.
        alone: the same of one clip, where the model is to take that.
        first_only: look at what the first input changes, not the others.

    Raises:
        Exception: whatever ``run`` raises, but for one clip.
    """
    wanted = run(inputs)
    taken = _batch_axes([array.shape for array in inputs], [array.shape for array in larger])
    clips = next((array.shape[axis] for array, axis in zip(inputs, taken, strict=True) if axis is not None), 0)
    if clips < 2:
        return None
    if name := _different(wanted, run(inputs)):
        return f"gives another {name} when the same clips are given again; a file draws no random numbers and keeps no state, so leave them out in eval mode"
    grown = run(larger)
    names = list(wanted)
    axes = dict(zip(names, _batch_axes([wanted[name].shape for name in names], [grown[name].shape for name in names]), strict=True))
    for name, axis in axes.items():
        if wanted[name].ndim != grown[name].ndim or (axis is not None and wanted[name].shape[axis] % clips):
            return f"{MIXES} {name} has shape {wanted[name].shape} for {clips} clips and {grown[name].shape} for {clips + 1}; {RESHAPE}"
    if alone is not None and (found := _other_rank(run, alone, wanted, clips)):
        return found
    changing = [axis if number == 0 or not first_only else None for number, axis in enumerate(taken)]
    faint = _each(_made_faint, inputs, changing, 0)
    for begun, kept, change in ((inputs, 0, _others_changed), (inputs, clips - 1, _others_changed), (faint, 0, _others_faint)):
        before = wanted if begun is inputs else run(begun)
        got = run(_each(change, begun, changing, kept))
        for name, axis in axes.items():
            if _different({name: _clip(before[name], axis, kept, clips)}, {name: _clip(got[name], axis, kept, clips)}):
                what = "is one answer for a whole batch" if axis is None else "of a clip changes with the other clips of its batch"
                return f"{MIXES} {name} {what}; {LOOK}"
    turned = run(tuple(array if axis is None else np.ascontiguousarray(np.flip(array, axis)) for array, axis in zip(inputs, taken, strict=True)))
    for name, axis in axes.items():
        if axis is not None and _different({name: _clip(wanted[name], axis, 0, clips)}, {name: _clip(turned[name], axis, clips - 1, clips)}):
            return f"{MIXES} {name} of a clip changes with its place in the batch; {LOOK}"
    return None


def _other_rank(run: Run, alone: Arrays, wanted: dict[str, Array], clips: int) -> str | None:
    try:
        one = run(alone)
    except Exception:  # noqa: BLE001  (a model that does not take one clip is compared on those that it takes)
        return None
    for name, array in wanted.items():
        if one[name].ndim != array.ndim:
            return f"{MIXES} {name} has shape {one[name].shape} for one clip and {array.shape} for {clips}; {RESHAPE}"
    return None


def _batch_axes(shapes: Sequence[tuple[int, ...]], larger: Sequence[tuple[int, ...]]) -> list[int | None]:
    """The first axis of each shape that grows with the batch."""
    return [
        next((axis for axis, sizes in enumerate(zip(one, more, strict=False)) if sizes[0] != sizes[1]), None)
        for one, more in zip(shapes, larger, strict=True)
    ]


def _each(change: Change, arrays: Arrays, axes: Sequence[int | None], kept: int) -> Arrays:
    """The arrays with some of their clips changed; those without clips, and those that are no samples, as they are."""
    return tuple(
        array if axis is None or array.dtype.kind not in "fi" or array.ndim < 2 or array.dtype.itemsize > 4 else change(array, axis, kept)
        for array, axis in zip(arrays, axes, strict=True)
    )


def _others_changed(array: Array, axis: int, kept: int) -> Array:
    """The array with another signal in every clip but one."""
    other = np.roll(array, array.shape[-1] // 3 + 1, -1) if axis != array.ndim - 1 else array
    return np.where(_place(array, axis, kept), array, other // 2 if array.dtype.kind == "i" else 0.5 * other).astype(array.dtype)


def _made_faint(array: Array, axis: int, kept: int) -> Array:
    """The array with one clip near silence, where a level that is measured over the whole batch decides its values."""
    return np.where(_place(array, axis, kept), _faint(array), array).astype(array.dtype)


def _others_faint(array: Array, axis: int, kept: int) -> Array:
    """The array with every clip but one near silence."""
    return np.where(_place(array, axis, kept), array, _faint(array)).astype(array.dtype)


def _faint(array: Array) -> Array:
    return array // 2**14 if array.dtype.kind == "i" else FAINT * array


def _place(array: Array, axis: int, clip: int) -> Array:
    """True at one clip, with a shape that broadcasts to the array's."""
    return (np.arange(array.shape[axis]) == clip).reshape([-1 if at == axis else 1 for at in range(array.ndim)])


def _clip(array: Array, axis: int | None, clip: int, clips: int) -> Array:
    """The part of an output that is one clip's; all of it where no axis grows with the batch."""
    if axis is None:
        return array
    each = array.shape[axis] // clips
    return np.take(array, range(clip * each, (clip + 1) * each), axis)


def _different(wanted: dict[str, Array], got: dict[str, Array]) -> str | None:
    """The first output that is not the same, or None."""
    for name, array in wanted.items():
        if got[name].shape != array.shape or not relative(differences(got[name], array), array) <= SAME:
            return name
    return None
