"""Which samples a frame depends on: composed along the graph, it is what streaming and chunking need."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from fractions import Fraction

SPILL = 2  # kernels fitted at lower rates are as wide as the decimators make them: within twice the definition's
Samples = int | float | Fraction  # a hop below one is a fraction: products of hops are compared, and must be exact


@dataclass(frozen=True)
class Reach:
    """Position ``m`` of a result reads positions ``m * hop + first`` to ``m * hop + last`` and stands at ``m * hop + centre``.

    >>> pad, frames = Reach(1, -200, -200, -200.0), Reach(160, 0, 399, 200.0)
    >>> frames.after(pad)
    Reach(hop=160, first=-200, last=199, centre=0.0)

    A sample reads few frames: the hop of a result that has more positions than its operand is a fraction.
    """

    hop: int | Fraction = 1
    first: Samples = 0
    last: Samples = 0
    centre: Samples = 0.0

    def after(self, earlier: Reach) -> Reach:
        """The reach of this step when it reads what ``earlier`` made."""
        hop = earlier.hop
        return Reach(
            self.hop * hop,
            self.first * hop + earlier.first,
            self.last * hop + earlier.last,
            self.centre * hop + earlier.centre,
        )

    def union(self, other: Reach) -> Reach:
        """The reach of a result that reads two values at the same positions."""
        if self.hop != other.hop:
            return Reach(max(self.hop, other.hop), -math.inf, math.inf, self.centre)
        return Reach(self.hop, min(self.first, other.first), max(self.last, other.last), self.centre)

    @property
    def finite(self) -> bool:
        """Whether a frame depends on a bounded stretch of the clip."""
        return math.isfinite(self.first) and math.isfinite(self.last)


def common_step(reaches: Iterable[Reach]) -> int:
    """The fewest samples after which all of them, but for those of the whole clip, stand at a position again."""
    return math.lcm(*(Fraction(one.hop).numerator for one in reaches if one.finite))


def margins(reaches: Collection[Reach], approximate: bool) -> tuple[int, int]:
    """Samples before and after ``t * hop`` that position t of any of them reads: of lowerings that are ``approximate`` too."""
    wider = SPILL if approximate else 1
    before = max(math.ceil(-one.first) for one in reaches)
    after = max(math.ceil(one.last) for one in reaches)
    return wider * max(before, 0), wider * max(after, 0)


HERE = Reach()
WHOLE_CLIP = Reach(1, -math.inf, math.inf, 0.0)
