"""Which samples a frame depends on: composed along the graph, it is what streaming and chunking need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Reach:
    """Position ``m`` of a result reads positions ``m * hop + first`` to ``m * hop + last`` and stands at ``m * hop + centre``.

    >>> pad, frames = Reach(1, -200, -200, -200.0), Reach(160, 0, 399, 200.0)
    >>> frames.after(pad)
    Reach(hop=160, first=-200, last=199, centre=0.0)
    """

    hop: int | Fraction = 1  # a fraction after resampling
    first: float = 0
    last: float = 0
    centre: float = 0.0

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


HERE = Reach()
WHOLE_CLIP = Reach(1, -math.inf, math.inf, 0.0)
