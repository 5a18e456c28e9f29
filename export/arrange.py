"""How the axes of features go with those of a model's input or output: which is which, from their sizes and names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from specgraph.dims import Dim
from specgraph.op import Array

Size = int | str | Dim | None  # a number, a name, a function of an input's size, or nothing known

# How a layout is written: a letter for each axis of the model's value.
LETTERS = {"batch": "b", "bins": "f", "frames": "t", "samples": "t", "parts": "p", "patches": "n", "harmonics": "h"}
NEW = "c"  # an axis of one, which features do not have: channels
MOST_NEW = 2  # of those
HINTS = {  # what exporters call axes that vary
    "b": re.compile(r"batch|^n$|^b$"),
    "t": re.compile(r"time|frame|seq|length|sample|^t$"),
    "f": re.compile(r"bin|mel|feat|freq|^f$"),
    NEW: re.compile(r"chan|^c$"),
}


@dataclass(frozen=True)
class Port:
    """A value that is connected: its name and sizes, and whose it is; ``axes`` say what they hold, where that is known."""

    name: str
    sizes: tuple[Size, ...]
    owner: str
    axes: tuple[str, ...] = ()

    def __str__(self) -> str:
        sizes = ", ".join("?" if size is None else str(size) for size in self.sizes)
        return f"{self.name} ({sizes}) of {self.owner}"


@dataclass(frozen=True)
class Arrangement:
    """For each axis of the result the axis of the operand, of ``rank`` axes, or None for a new one; what is left out has size 1."""

    order: tuple[int | None, ...]
    rank: int

    @property
    def _left_out(self) -> list[int]:
        return [axis for axis in range(self.rank) if axis not in self.order]

    @property
    def _added(self) -> list[int]:
        return [axis for axis, of in enumerate(self.order) if of is None]

    @property
    def _moved(self) -> list[int]:
        kept = [axis for axis in range(self.rank) if axis in self.order]
        return [kept.index(axis) for axis in self.order if axis is not None]

    def numpy(self, array: Array) -> Array:
        """The array with its axes so."""
        return np.expand_dims(array.squeeze(tuple(self._left_out)).transpose(self._moved), self._added)

    def onnx(self, onnx: Any, value: Any) -> Any:
        """The same by an ``Emitter``."""
        if self._left_out:
            value = onnx.Squeeze(value, onnx.const(self._left_out))
        if self._moved != sorted(self._moved):
            value = onnx.Transpose(value, perm=self._moved)
        return onnx.Unsqueeze(value, onnx.const(self._added)) if self._added else value

    def back(self) -> Arrangement:
        """The arrangement that undoes this one."""
        return Arrangement(tuple(self.order.index(axis) if axis in self.order else None for axis in range(self.rank)), len(self.order))


class LayoutError(ValueError):
    """Axes that do not go together, or that may in several ways: then ``layouts`` are those."""

    def __init__(self, sentence: str, layouts: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.layouts = layouts


def arranged(ours: Port, theirs: Port, layout: str | None = None) -> Arrangement:
    """From the axes of ``ours``, whose names are known, to those of ``theirs``, a model's; by ``layout`` or what sizes decide.

    Raises:
        LayoutError: in no way, or in several.
    """
    letters = _letters(ours)
    if layout is not None:
        return _written(ours, theirs, letters, layout)
    likely = [order for order in _fitting(ours, theirs) if _likely(order, ours, theirs, letters)]
    found = {order: _score(order, ours, theirs, letters) for order in likely}
    if not found:
        raise LayoutError(f"{ours} and {theirs} do not go together: {_why(ours, theirs)}")
    best = [order for order, score in found.items() if score == max(found.values())]
    if len(best) > 1:
        layouts = tuple(sorted(_text(order, letters) for order in best))
        raise LayoutError(
            f"{ours} may be laid out in {theirs} as {' or '.join(layouts)}, and its sizes do not say which; give layout={layouts[0]!r}, say, "
            f"a letter for each of its axes: {', '.join(f'{letter} {name}' for name, letter in zip(ours.axes, letters, strict=True))}, {NEW} one of size 1",
            layouts,
        )
    return Arrangement(best[0], len(ours.sizes))


def layout_text(arrangement: Arrangement, ours: Port) -> str:
    """The arrangement as ``layout`` writes it."""
    return _text(arrangement.order, _letters(ours))


def _letters(ours: Port) -> tuple[str, ...]:
    """A letter for each of our axes: the usual one, or the first of its name that is free."""
    found: list[str] = []
    for name in ours.axes:
        wanted = [LETTERS.get(name, ""), *name, *"xyzuvw"]
        found.append(next(letter for letter in wanted if letter.isalpha() and letter != NEW and letter not in found))
    return tuple(found)


def _text(order: tuple[int | None, ...], letters: tuple[str, ...]) -> str:
    return "".join(NEW if axis is None else letters[axis] for axis in order)


def _written(ours: Port, theirs: Port, letters: tuple[str, ...], layout: str) -> Arrangement:
    known = ", ".join(f"{letter} {name}" for name, letter in zip(ours.axes, letters, strict=True))
    if not isinstance(layout, str) or len(layout) != len(theirs.sizes):
        raise LayoutError(f"layout has a letter for each of the {len(theirs.sizes)} axes of {theirs}, and is {layout!r}; letters are {known}, {NEW} one of size 1")
    for letter in layout:
        if letter != NEW and (letter not in letters or layout.count(letter) > 1):
            raise LayoutError(f"layout {layout!r} has {letter!r}, which is not one axis of {ours}; letters, each used once, are {known}, {NEW} one of size 1")
    order = tuple(None if letter == NEW else letters.index(letter) for letter in layout)
    if order not in set(_fitting(ours, theirs)):
        sizes = [1 if axis is None else ours.sizes[axis] for axis in order]
        wrong = [f"axis {place} is {size} and must be {their}" for place, (size, their) in enumerate(zip(sizes, theirs.sizes, strict=True)) if not _may_be(size, their)]
        why = wrong[0] if wrong else "an axis that is not 1 is left out"
        raise LayoutError(f"{ours} laid out as {layout!r} does not go with {theirs}: {why}")
    return Arrangement(order, len(ours.sizes))


def _fitting(ours: Port, theirs: Port) -> Iterator[tuple[int | None, ...]]:
    """Every order of axes that the sizes allow."""
    rank = len(theirs.sizes)
    if rank > len(ours.sizes) + MOST_NEW:
        return
    places: list[int | None] = [*range(len(ours.sizes)), *[None] * MOST_NEW]
    for order in dict.fromkeys(permutations(places, rank)):
        left_out = [axis for axis in range(len(ours.sizes)) if axis not in order]
        if all(ours.sizes[axis] == 1 or ours.axes[axis] == "batch" for axis in left_out) and all(
            _may_be(1 if axis is None else ours.sizes[axis], size) for axis, size in zip(order, theirs.sizes, strict=True)
        ):
            yield order


def _may_be(our: Size, their: Size) -> bool:
    return not isinstance(our, int) or not isinstance(their, int) or our == their


def _likely(order: tuple[int | None, ...], ours: Port, theirs: Port, letters: tuple[str, ...]) -> bool:
    """Whether an order that sizes allow is one that may be meant, where nobody says so.

    The batch comes first, or where a name says so, or is left out for a model with fewer axes. Where a number that features have goes
    to an axis that varies, and an axis that varies to a number, names must say that this is so.
    """
    pairs = [(1 if axis is None else ours.sizes[axis], size, NEW if axis is None else letters[axis]) for axis, size in zip(order, theirs.sizes, strict=True)]
    batch = next((place for place, axis in enumerate(order) if axis is not None and ours.axes[axis] == "batch"), None)
    if batch is None:
        if "batch" in ours.axes and len(theirs.sizes) >= len(ours.sizes):
            return False
    elif batch and "b" not in _hints(theirs.sizes[batch], theirs):
        return False
    fixed = any(isinstance(their, int) and not isinstance(our, int) and letter != "b" for our, their, letter in pairs)
    loose = any(isinstance(our, int) and not isinstance(their, int) and letter not in _hints(their, theirs) for our, their, letter in pairs)
    return not (fixed and loose)


def _hints(size: Size, of: Port) -> list[str]:
    """What an axis may be, as its name has it; torch puts the input's own name into those of its axes."""
    called = size.lower().replace(of.name.lower(), "") if isinstance(size, str) else ""
    return [hint for hint, pattern in HINTS.items() if pattern.search(called)]


def _score(order: tuple[int | None, ...], ours: Port, theirs: Port, letters: tuple[str, ...]) -> tuple[int, ...]:
    """How well sizes and names agree, what weighs most first."""
    batch = next((place for place, axis in enumerate(order) if axis is not None and ours.axes[axis] == "batch"), None)
    same = agreed = fixed = added = 0
    for axis, size in zip(order, theirs.sizes, strict=True):
        our, letter = (1, NEW) if axis is None else (ours.sizes[axis], letters[axis])
        same += isinstance(size, int) and our == size
        fixed += isinstance(size, int) and not isinstance(our, int) and letter != "b"
        added += axis is None
        hints = _hints(size, theirs)
        agreed += (letter in hints) - bool(hints and letter not in hints)
    return batch is not None, same, agreed, batch == 0, -fixed, -added


def _why(ours: Port, theirs: Port) -> str:
    theirs_fixed = [size for size in theirs.sizes if isinstance(size, int)]
    ours_fixed = [size for size in ours.sizes if isinstance(size, int)]
    for name, size in zip(ours.axes, ours.sizes, strict=True):
        others = [other for other in theirs_fixed if other not in ours_fixed and other != 1]
        if isinstance(size, int) and size != 1 and size not in theirs_fixed and others:
            return f"{size} {name} are not {' or '.join(map(str, others))}"
    if len(ours.sizes) != len(theirs.sizes):
        return f"{len(ours.sizes)} axes are not {len(theirs.sizes)}"
    return "no order of axes has the same sizes"
