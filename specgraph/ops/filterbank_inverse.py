"""What a filterbank was applied to, as far as its outputs tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.compound import Compound
from specgraph.dims import Shape, text
from specgraph.op import Array, Constant, GraphError, Value
from specgraph.ops.arithmetic import Clip, Divide, Multiply
from specgraph.ops.elementwise import Power
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import check_positive

TINY = 1e-30  # what a filter's output is divided by at least
EXPONENT = 1.5
EPSILON = float(np.finfo(np.float32).eps)


def shares(bank: Array) -> Array:
    """(bins, filters): of each bin, how it is shared among the filters; zeros where none has it."""
    total = bank.sum(axis=0)
    return (bank / np.where(total > 0, total, 1.0)).T


@dataclass(frozen=True, eq=False)
class FilterbankInverse(Compound):
    """(batch, filters, frames), bank (filters, bins) -> (batch, bins, frames), x >= 0 with ``bank @ x`` close to the features.

    The bank is at least 0, and features below 0 count as 0. ``n_iter`` multiplicative updates (Richardson, 1972; Lucy, 1974; Lee
    and Seung, 1999) with an exponent of 1.5: ``x = x * (shares @ (features / (bank @ x))) ** 1.5``, from ``x = shares @ features``.
    Rounding stays what it is, a fraction of each bin: nothing is subtracted.
    """

    n_iter: int = 32

    def __post_init__(self) -> None:
        check_positive(n_iter=self.n_iter)

    def infer(self, features: Shape, bank: Shape) -> Shape:
        if len(bank) != 2 or len(features) != 3 or features[1] != bank[0]:
            raise GraphError(f"takes features (batch, filters, frames) and a bank (filters, bins), not {text(features)} and {text(bank)}")
        return features[0], bank[1], features[2]

    def numpy(self, features, bank):
        features, back = np.maximum(features, 0.0), shares(bank)
        x = back @ features
        for _ in range(self.n_iter):
            x = x * (back @ (features / np.maximum(bank @ x, TINY))) ** EXPONENT
        return x

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """By how much float32 may differ: ``tolerance`` of the item's peak, and every update's own rounding of what it multiplies.

        Bins that share filters keep that rounding, for their filters do not tell them apart. With it goes what the features'
        own spread changes.
        """
        off = tolerance * result.max(axis=(1, 2), keepdims=True) + EXPONENT * self.n_iter * EPSILON * result
        if spread[0] is None:
            return off
        moved = [self.numpy(operands[0] + sign * spread[0], operands[1]) for sign in (1.0, -1.0)]
        return off + np.maximum(*(np.abs(x - result) for x in moved))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        bank = np.maximum(0.0, 1 - np.abs(np.arange(16) - 3.0 * np.arange(1, 5)[:, None]) / 3)
        yield cls(3), ("batch", 4, "frames"), bank
        yield cls(1), ("batch", 4, "frames"), np.vstack([bank[:3], np.zeros(16)])


@FilterbankInverse.lowering
def unrolled(op: FilterbankInverse, features: Value, bank: Value) -> Value | None:
    """Two matrix products an iteration."""
    if not isinstance(bank.op, Constant):
        return None
    constant, (filters, bins) = bank.op, bank.op.shape
    back = Constant.lazy(f"{constant.name}_shares", (bins, filters), lambda: shares(constant.array))
    features = Clip(minimum=0.0)(features)
    x = Filterbank()(features, back)
    for _ in range(op.n_iter):
        ratio = Divide()(features, Clip(minimum=TINY)(Filterbank()(x, bank)))
        factor = Filterbank()(ratio, back)
        x = Multiply()(x, Multiply()(factor, Power(0.5)(factor)))
    return x
