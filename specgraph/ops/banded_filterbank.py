"""A filterbank whose filters each read few neighbouring bins: cut into bands, and multiplied without most of its zeros."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.cost import FLOAT, Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError
from specgraph.ops.filterbank import Filterbank

Band = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class BandedFilterbank(Filterbank):
    """(batch, bins, frames), bank (filters, bins) -> (batch, filters, frames), as ``Filterbank``.

    ``bands`` are (first bin, last bin + 1, first filter, last filter + 1): outside of these blocks the bank is zero. No two
    have a bin in common, and filters may be in several; or every filter is in one, in order, and bins may be in several.
    """

    bands: tuple[Band, ...] = ()

    def __post_init__(self) -> None:
        ends = [edge for low, high, *_ in self.bands for edge in (low, high)]
        filters = [edge for *_, first, last in self.bands for edge in (first, last)]
        if not self.bands or (sorted(ends) != ends and sorted(filters) != filters):
            raise GraphError(f"bands are blocks of ascending bins or filters, not {self.bands}")

    def infer(self, features: Shape, bank: Shape) -> Shape:
        filters, bins = bank if len(bank) == 2 else (0, 0)
        for _, high, first, last in self.bands:
            if not (isinstance(filters, int) and isinstance(bins, int) and high <= bins and 0 <= first < last <= filters):
                raise GraphError(f"a band reaches to bin {high} and filter {last}, and the bank is {text(bank)}")
        return super().infer(features, bank)

    def _apart(self, filters: int) -> bool:
        """Whether every filter is in one band, so that bands need not be added."""
        edges = [0, *(edge for *_, first, last in self.bands for edge in (first, last)), filters]
        return edges[::2] == edges[1::2]

    def onnx(self, onnx, features, bank):
        array, total = onnx.array(bank), None
        if self._apart(len(array)):
            return onnx.Concat(*(self._part(onnx, features, bank, array, band) for band in self.bands), axis=1)
        for low, high, first, last in self.bands:
            part = self._part(onnx, features, bank, array, (low, high, first, last))
            if (first, last) != (0, len(array)):
                part = self._placed(onnx, part, first, len(array) - last)
            total = part if total is None else onnx.Add(total, part)
        return total

    def _part(self, onnx: Any, features: Any, bank: Any, array: np.ndarray, band: Band) -> Any:
        """The filters of a band."""
        low, high, *_ = band
        bins = onnx.Slice(features, onnx.const([low]), onnx.const([high]), onnx.const([1]))
        return onnx.MatMul(self._block(onnx, bank, array, band), bins)

    @staticmethod
    def _block(onnx: Any, bank: Any, array: np.ndarray, band: tuple[int, int, int, int]) -> Any:
        """The part of a bank for one band; once, however many features it is applied to."""
        low, high, first, last = band
        return onnx.once(
            ("band", bank, band), lambda: onnx.const(array[first:last, low:high].copy(), f"{bank.name}/{low}_{first}")
        )

    @staticmethod
    def _placed(onnx: Any, part: Any, before: int, after: int) -> Any:
        """Among the filters of the other bands, which this one adds nothing to."""
        return onnx.Pad(part, onnx.const([0, before, 0, 0, after, 0]), onnx.const(np.float32(0)))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        batch, filters, frames = out
        columns, total, apart = batch * frames, Cost(), self._apart(filters)
        for low, high, first, last in self.bands:
            bins, block = high - low, last - first
            total += Cost(matmul=float(bins * block * columns), moved=FLOAT * columns * (3.0 * bins + 2.0 * block), launches=2)
            placed = Cost() if apart else Cost(moved=FLOAT * columns * 4.0 * filters, launches=2)
            total += placed + Cost(held=float(FLOAT * bins * block))
        return total + Cost(moved=FLOAT * columns * 2.0 * filters, launches=1) if apart else total

    def __str__(self) -> str:
        return f"banded_filterbank({len(self.bands)} bands)"

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        bank = np.zeros((5, 11))
        bank[0:2, 0:4], bank[1:4, 4:6], bank[3:5, 7:11] = 1.5, -2.0, np.arange(8).reshape(2, 4)
        yield cls(((0, 4, 0, 2), (4, 6, 1, 4), (7, 11, 3, 5))), ("batch", 11, "frames"), bank
        yield cls(((0, 6, 0, 3), (4, 11, 3, 4), (7, 11, 4, 5))), ("batch", 11, "frames"), bank
        yield cls(((0, 11, 0, 5),)), ("batch", 11, "frames"), bank
