"""Large inputs in parts: some clips of a batch, or a stretch of one clip, so that what one op writes the next finds in the cache.

It also bounds the memory that a batch or an hour-long clip takes beside its input and its features.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata, OutputMetadata

Arrays = Sequence[npt.NDArray[Any]]
TIMES = "frames", "samples"  # how axes along the clip are named
WORTH = 1.25  # times what may be held at once, from which input is cut
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
    if how.before is None or how.after is None or not apart or held <= WORTH * most:
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
    """
    padded = lengths is None or any(len(output.axes) > 1 and not has_time_axis(output) for output in outputs)

    def of(part: Part) -> Arrays:
        if lengths is not None and not padded:
            longest = int(lengths[part.clips].max())
            return run([np.ascontiguousarray(array[part.clips][..., :longest] if array.ndim > 1 else array[part.clips]) for array in arrays])
        return run([np.ascontiguousarray(array[part.clips] if part.stop is None else array[part.clips, ..., part.start : part.stop]) for array in arrays])

    clips = len(arrays[0])
    whole: list[npt.NDArray[Any]] = []
    for part, results in zip(plan, each(of, plan), strict=True):
        for number, (result, output) in enumerate(zip(results, outputs, strict=True)):
            axis = 0 if part.stop is None and (padded or result.ndim == 1) else time_axis(output)
            if number == len(whole):
                shape = [clips, *result.shape[1:]]
                if axis:
                    shape[axis] = output.count(arrays[0].shape[-1])
                whole.append((np.empty if padded else np.zeros)(shape, result.dtype))
            into = whole[number]
            if part.stop is None:
                into[(part.clips, *map(slice, result.shape[1:]))] = result
                continue
            kept, begin = part.frames(output)
            before = (slice(None),) * (axis - 1)
            piece = result[(slice(None), *before, kept)]
            into[(part.clips, *before, slice(begin, begin + piece.shape[axis]))] = piece
    return whole


def hop(output: OutputMetadata) -> Fraction:
    """Samples from one frame to the next, exactly."""
    return Fraction(output.hop).limit_denominator(10**6)


def time_axis(output: OutputMetadata) -> int:
    """The axis of an output that runs along the clip."""
    return next(axis for axis, name in enumerate(output.axes) if name in TIMES)


def has_time_axis(output: OutputMetadata) -> bool:
    """Whether an output has one."""
    return any(name in TIMES for name in output.axes)
