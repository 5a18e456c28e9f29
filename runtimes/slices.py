"""Large inputs in parts: some clips of a batch, or a stretch of one clip, so that what one op writes the next finds in the cache.

It also bounds the memory that a batch or an hour-long clip takes beside its input and its features.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata, MetadataError, OutputMetadata

Arrays = Sequence[npt.NDArray[Any]]
TIMES = "frames", "samples"  # how axes along the clip are named
WORTH = 1.25  # times what may be held at once, from which input is cut
MOST_MORE = 2  # times as many frames as the first piece lets expect; edges make it some more or less
CONTEXT = 8  # a piece is at least so many times as long as what it reads twice


@dataclass(frozen=True)
class Part:
    """Clips of a batch, and the stretch ``start`` to ``stop`` of them that gives the frames from ``first`` to ``last`` in samples.

    ``stop`` None is the whole clip, ``last`` None the clip's end.
    """

    clips: slice
    start: int = 0
    stop: int | None = None
    first: int = 0
    last: int | None = None

    def frames(self, output: OutputMetadata) -> tuple[slice, int]:
        """Which of the part's frames are kept, and where the first of them belongs."""
        begin, offset = int(self.first / hop(output)), int(self.start / hop(output))
        end = None if self.last is None else int(self.last / hop(output)) - offset
        return slice(begin - offset, end), begin


def parts(meta: Metadata, clips: int, samples: int, most: float, apart: bool, cores: int = 1) -> list[Part]:
    """How ``clips`` clips of ``samples`` steps are run, with no value above ``most`` bytes where that can be had.

    Args:
        meta: of the file.
        clips, samples: of the input; samples along the clip.
        most: bytes; infinity for one part.
        apart: whether a clip itself may be cut.
        cores: on which one op runs at once, each with a cache of its own: what they hold together is run as one part.
    """
    how = meta.slicing
    held = how.bytes * samples
    if not held or clips * held <= WORTH * most * cores:
        return [Part(slice(0, clips))]
    rows = max(int(most / held), 1)
    if how.before is None or how.after is None or not apart or held <= WORTH * most or not _have_frames(meta):
        return [Part(slice(clip, min(clip + rows, clips))) for clip in range(0, clips, rows)]
    context = -(-how.before // how.step) * how.step
    shortest = CONTEXT * (context + how.after) + how.step + meta.min_samples
    count = math.ceil(samples / max(most / how.bytes, shortest))
    length = -(-samples // (count * how.step)) * how.step
    edges = [*range(0, samples, length), samples]
    if len(edges) > 2 and edges[-1] - edges[-2] < how.after + context + how.step + meta.min_samples:
        del edges[-2]  # what is mirrored at the clip's end must lie in the last piece
    if len(edges) == 2:
        return [Part(slice(clip, clip + 1)) for clip in range(clips)]
    return [
        Part(
            slice(clip, clip + 1),
            max(first - context, 0),
            min(last + how.after, samples),
            first,
            None if last == samples else last,
        )
        for clip in range(clips)
        for first, last in itertools.pairwise(edges)
    ]


def joined(
    plan: Sequence[Part],
    arrays: Arrays,
    run: Callable[[list[npt.NDArray[Any]]], Arrays],
    outputs: Sequence[OutputMetadata],
    each: Callable[[Callable[[Part], Arrays], Sequence[Part]], Iterable[Arrays]] = map,
    lengths: npt.NDArray[Any] | None = None,
) -> list[npt.NDArray[Any]]:
    """The outputs for ``arrays``, (batch, ...) each, from the parts of ``plan``.

    Args:
        plan: of ``parts``.
        arrays: the inputs.
        run: gives the outputs for inputs.
        outputs: what they are.
        each: maps a function over the parts, in order: many at once, if they are to run on several cores.
        lengths: (batch,), of the clips in the first input, where outputs are zero beyond them: a part is as long as its longest clip.

    Raises:
        MetadataError: the parts do not fill the outputs, each place once, so the metadata is not that of the file.
    """
    padded = lengths is None or any(len(output.axes) > 1 and not has_time_axis(output) for output in outputs)

    def of(part: Part) -> Arrays:
        if lengths is not None and not padded:
            longest = int(lengths[part.clips].max())
            return run([np.ascontiguousarray(array[part.clips][..., :longest] if array.ndim > 1 else array[part.clips]) for array in arrays])
        return run([np.ascontiguousarray(array[part.clips] if part.stop is None else array[part.clips, ..., part.start : part.stop]) for array in arrays])

    whole = [_Whole(output, arrays[0].shape, padded) for output in outputs]
    for part, results in zip(plan, each(of, plan), strict=True):
        for one, result in zip(whole, results, strict=True):
            one.take(part, result)
    return [one.filled() for one in whole]


class _Whole:
    """An output that parts are put into, one behind the other."""

    def __init__(self, output: OutputMetadata, given: tuple[int, ...], padded: bool) -> None:
        self._output, self._clips, self._samples, self._padded = output, given[0], given[-1], padded
        self._array: npt.NDArray[Any] | None = None
        self._axis = 0  # along the clip, where parts are shorter than that; the batch's is 0
        self._next = (0, 0)  # clip and position that the next part begins at

    def take(self, part: Part, result: npt.NDArray[Any]) -> None:
        """Put the result for a part where it belongs."""
        clips = len(range(*part.clips.indices(self._clips)))
        if result.ndim != len(self._output.axes) or len(result) != clips:
            self._refuse(f"{clips} clips give {result.shape}")
        kept, begin = (slice(None), 0) if part.stop is None else part.frames(self._output)
        if self._array is None:
            self._begin(part, result)
        assert self._array is not None
        piece = result[(*(slice(None),) * self._axis, kept)] if self._axis and part.stop is not None else result
        end = begin + piece.shape[self._axis] if self._axis else 0
        place = (part.clips, *map(slice, piece.shape[1:]))
        if self._axis:
            place = (*place[: self._axis], slice(begin, end), *place[self._axis + 1 :])
        at = (part.clips.start, begin)
        if self._array[place].shape != piece.shape or self._next != at or self._leaves_out(piece):
            self._refuse(f"a piece of {piece.shape} does not go into {self._array.shape} at clip {at[0]}, place {begin}")
        self._array[place] = piece
        ends = part.last is None or part.stop is None
        self._next = (part.clips.start + clips, 0) if ends else (part.clips.start, end)
        if ends and self._axis and self._padded and end != self._array.shape[self._axis]:
            self._refuse(f"a clip has {end} of {self._array.shape[self._axis]} places")

    def filled(self) -> npt.NDArray[Any]:
        """The output, every place of which was given."""
        if self._array is None or self._next != (self._clips, 0):
            self._refuse(f"{self._next[0]} of {self._clips} clips were given")
        return self._array

    def _begin(self, part: Part, result: npt.NDArray[Any]) -> None:
        along = part.stop is not None or (not self._padded and result.ndim > 1)
        self._axis = time_axis(self._output) if along else 0
        shape = [self._clips, *result.shape[1:]]
        if self._axis:
            count = self._output.count(self._samples)
            given = part.stop - part.start if part.stop is not None else self._samples
            if not 0 <= count <= MOST_MORE * (shape[self._axis] * -(-self._samples // given) + 1):
                found = shape[self._axis]
                self._refuse(f"{self._samples} samples are to give {count:.4g} frames, and {given} give {found}")
            shape[self._axis] = count
        self._array = (np.empty if self._padded else np.zeros)(shape, result.dtype)

    def _leaves_out(self, piece: npt.NDArray[Any]) -> bool:
        """Whether a piece is smaller than the output along an axis that is not the clip's."""
        assert self._array is not None
        sizes = [size for axis, size in enumerate(self._array.shape) if axis not in (0, self._axis)]
        return sizes != [size for axis, size in enumerate(piece.shape) if axis not in (0, self._axis)]

    def _refuse(self, why: str) -> NoReturn:
        raise MetadataError(f"the file's metadata does not describe its outputs ({why}); export it again")


def hop(output: OutputMetadata) -> Fraction:
    """Samples from one frame to the next, exactly."""
    return Fraction(output.hop).limit_denominator(10**6)


def time_axis(output: OutputMetadata) -> int:
    """The axis of an output that runs along the clip."""
    return next(axis for axis, name in enumerate(output.axes) if name in TIMES)


def has_time_axis(output: OutputMetadata) -> bool:
    """Whether an output has one."""
    return any(name in TIMES for name in output.axes)


def _have_frames(meta: Metadata) -> bool:
    """Whether all that is given in pieces has an axis along the clip, with positions a known number of samples apart."""
    cut = meta.slicing.cut.values()
    pieces = [*cut, *(output for output in meta.outputs.values() if output.before is not None or not cut)]
    return all(output.hop and has_time_axis(output) for output in pieces)
