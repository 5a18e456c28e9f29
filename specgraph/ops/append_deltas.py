"""Features and their derivatives, one above the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.compound import Compound
from specgraph.dims import Shape
from specgraph.op import GraphError, Value
from specgraph.ops.cmvn import check_features
from specgraph.ops.concat import Concat
from specgraph.ops.delta import Delta, DeltaMode
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class AppendDeltas(Compound):
    """(batch, bins, frames) -> (batch, 2 * bins, frames): the features, then their first derivative by ``Delta``."""

    linear = True

    width: int = 9
    mode: DeltaMode = "interp"

    def __post_init__(self) -> None:
        self.delta()

    def delta(self) -> Delta:
        """The op that derives."""
        return Delta(self.width, mode=self.mode)

    def infer(self, features: Shape) -> Shape:
        check_features(features)
        if not isinstance(features[1], int):
            raise GraphError("the number of bins must be a number")
        return features[0], 2 * features[1], features[2]

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        (features,) = operands
        return Concat(1)(features, self.delta()(features, lengths(features)))

    def numpy(self, features):
        return np.concatenate([features, self.delta().numpy(features)], 1)

    def carry(self, operands, spread, result):
        derived = self.delta().carry(operands, spread, result)
        return np.concatenate([spread[0], derived], 1)

    def reach(self, *shapes: Shape) -> Reach:
        return self.delta().reach(*shapes)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(3, "regression"), ("batch", 5, "frames")


@AppendDeltas.lowering
def concatenated(op: AppendDeltas, features: Value) -> Value:
    """A derivative, and a copy beside it."""
    return Concat(1)(features, op.delta()(features))
