"""Sizes that vary: a dimension is an int, or an exact function of an input's axis.

Every op of an audio front end maps a length by an affine function with a floor, and such functions compose, so a
frame count is known exactly and by name while the graph is built, without a symbolic algebra package:

>>> samples = Dim("samples")
>>> frames = (samples + 400 - 400) // 160 + 1
>>> str(frames), frames.at(16000)
('(samples + 160) // 160', 101)
>>> (samples + 7) // 2 // 2 == (samples + 7) // 4
True

The one other function there is, a limit, stays as it stands between such steps:

>>> (samples + 100).at_most(480000) // 160
min(samples + 100, 480000) // 160
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import gcd

Step = tuple[int, int, int]


@dataclass(frozen=True)
class Dim:
    """``root`` changed by ``n -> (n * multiply + add) // divide``, one step after another; a number among them is a limit."""

    root: str
    path: tuple[Step | int, ...] = ()

    def __post_init__(self) -> None:
        if not self.root.isidentifier():
            raise ValueError(f"an axis is named by an identifier, not {self.root!r}")

    @property
    def limited(self) -> bool:
        """Whether there is a limit on the way, so that ``steps`` alone do not make it."""
        return any(isinstance(step, int) for step in self.path)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of a size without a limit; a ``ValueError`` for one with a limit."""
        if self.limited:
            raise ValueError(f"{self} is not made by steps alone")
        return tuple(step for step in self.path if not isinstance(step, int))

    def _then(self, multiply: int, add: int, divide: int) -> Dim:
        path = [*self.path, _reduced(multiply, add, divide)]
        while len(path) > 1 and (joined := _joined(*path[-2:])) is not None:
            path[-2:] = [_reduced(*joined)]
        return Dim(self.root, tuple(step for step in path if step != (1, 0, 1)))

    def at_most(self, limit: int) -> Dim:
        """This or ``limit``, whichever is less."""
        return Dim(self.root, (*self.path, limit))

    def __add__(self, other: int) -> Dim:
        return self._then(1, other, 1)

    def __sub__(self, other: int) -> Dim:
        return self._then(1, -other, 1)

    def __mul__(self, other: int) -> Dim:
        return self._then(other, 0, 1)

    def __floordiv__(self, other: int) -> Dim:
        return self._then(1, 0, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def divided(self, by: int) -> Dim | None:
        """The exact quotient, or None where this is not always a multiple of ``by``."""
        if by == 1:
            return self
        last = self.path[-1] if self.path else (1, 0, 1)
        if isinstance(last, int):
            before = Dim(self.root, self.path[:-1]).divided(by)
            return None if before is None or last % by else before.at_most(last // by)
        multiply, add, divide = last
        if divide != 1 or add % by:
            return None
        before = Dim(self.root, self.path[:-1])
        if multiply % by == 0:
            return before._then(multiply // by, add // by, 1)
        quotient = before.divided(by) if self.path else None
        return None if quotient is None else quotient._then(multiply, add // by, 1)

    def at(self, size: int) -> int:
        """The size where the root axis has ``size``."""
        for step in self.path:
            if isinstance(step, int):
                size = min(size, step)
            else:
                multiply, add, divide = step
                size = (size * multiply + add) // divide
        return size

    def least(self, wanted: int = 1) -> int:
        """The smallest root size at which this is at least ``wanted``; a ``ValueError`` where a limit is below that."""
        for step in reversed(self.path):
            if isinstance(step, int):
                if step < wanted:
                    raise ValueError(f"{self} never reaches {wanted}")
            else:
                multiply, add, divide = step
                wanted = -((add - wanted * divide) // multiply)
        return wanted

    def __str__(self) -> str:
        text, whole = self.root, True  # whole: needs no brackets
        for step in self.path:
            if isinstance(step, int):
                text, whole = f"min({text}, {step})", True
                continue
            multiply, add, divide = step
            if multiply != 1:
                text = f"{text} * {multiply}" if whole else f"({text}) * {multiply}"
                whole = False
            if add:
                text, whole = f"{text} {'+' if add > 0 else '-'} {abs(add)}", False
            if divide != 1:
                text, whole = f"{text} // {divide}" if whole else f"({text}) // {divide}", False
        return text

    def __repr__(self) -> str:
        return str(self)


def _reduced(multiply: int, add: int, divide: int) -> Step:
    """The step in lowest terms: sizes are whole numbers, so what is below a multiple of the common factor does not matter."""
    common = gcd(multiply, divide)
    return multiply // common, add // common, divide // common


def _joined(first: Step | int, second: Step | int) -> Step | None:
    """Two steps as one, where that is exact."""
    if isinstance(first, int) or isinstance(second, int):
        return None
    if second[0] == 1:  # floor((floor(u / d) + a) / e) is floor((u + a d) / (d e)) for whole u
        return first[0], first[1] + second[1] * first[2], first[2] * second[2]
    if first[2] == 1:
        return first[0] * second[0], first[1] * second[0] + second[1], second[2]
    return None


Size = int | Dim
Shape = tuple[Size, ...]


def evaluate(shape: Sequence[Size], sizes: Mapping[str, int]) -> tuple[int, ...]:
    """A shape as numbers, with the root axes at ``sizes``."""
    return tuple(size.at(sizes[size.root]) if isinstance(size, Dim) else size for size in shape)


def text(shape: Sequence[Size]) -> str:
    """A shape as it is printed: ``(batch, 80, samples // 160)``."""
    return f"({', '.join(map(str, shape))})"


def broadcast(*shapes: Shape) -> Shape | None:
    """The shape that numpy's broadcasting gives, or None where sizes differ."""
    rank = max(map(len, shapes))
    result: list[Size] = []
    for column in zip(*((1,) * (rank - len(shape)) + tuple(shape) for shape in shapes), strict=True):
        sizes = {size for size in column if size != 1}
        if len(sizes) > 1:
            return None
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)
