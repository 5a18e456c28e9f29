"""A bank of narrow filters is cut into bands, where that takes less time than its zeros do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from specgraph.cost import Target, target_named
from specgraph.op import Constant, Value
from specgraph.ops.banded_filterbank import Band, BandedFilterbank
from specgraph.ops.filterbank import Filterbank

MOST_BANDS = 6
FRAMES = 1000  # that a cut is priced for


def banded(value: Value) -> Value | None:
    """Blocks around the diagonal of a bank, instead of all of it.

    Before: ``filterbank(x, bank)``. After: ``banded_filterbank(x, bank)``, the same bank seen as two or three blocks.
    """
    if type(value.op) is not Filterbank or not isinstance(value.inputs[1].op, Constant) or value.inputs[1].op.trainable:
        return None
    bands = cut(value.inputs[1].op.array, target_named("cpu"))
    return BandedFilterbank(bands)(*value.inputs) if len(bands) > 1 else None


def cut(bank: npt.NDArray[np.float64], target: Target) -> tuple[Band, ...]:
    """The blocks with the least price, found one cut after another, between bins or between filters; one block where no cut gains."""
    filters, bins = bank.shape
    dense = target.seconds(Filterbank().cost((1, filters, FRAMES), (1, bins, FRAMES), bank.shape))

    def price(bands: tuple[Band, ...]) -> float:
        return target.seconds(BandedFilterbank(bands).cost((1, filters, FRAMES)))

    def price_of_filters(bands: tuple[Band, ...]) -> float:
        return price(_turned(bands)) if sum(high - low for low, high, *_ in bands) == filters else np.inf

    filled = bank != 0
    by_bins = _cut(filled, dense, price)
    by_filters = _cut(filled.T, dense, price_of_filters)
    return min(by_bins, (by_filters[0], _turned(by_filters[1])))[1]


def _turned(bands: tuple[Band, ...]) -> tuple[Band, ...]:
    """Bands of the transposed bank."""
    return tuple((low, high, first, last) for first, last, low, high in bands)


def _cut(filled: npt.NDArray[np.bool_], dense: float, price_of: Callable[[tuple[Band, ...]], float]) -> tuple[float, tuple[Band, ...]]:
    """(price, bands) of a bank that is cut between columns."""
    filters, bins = filled.shape
    bands: tuple[Band, ...] = ((0, bins, 0, filters),)
    price = dense
    while len(bands) < MOST_BANDS:
        better = min(_cuts(filled, bands, price_of), default=None)
        if better is None or better[0] >= price:
            break
        price, bands = better
    return price, bands


def _cuts(
    filled: npt.NDArray[np.bool_], bands: tuple[Band, ...], price_of: Callable[[tuple[Band, ...]], float]
) -> list[tuple[float, tuple[Band, ...]]]:
    """The bands with one more cut, in the best place of each of them, and the price."""
    found = []
    read = np.asarray(filled.any(0))
    first = np.where(read, filled.argmax(0), len(filled))  # filter that reads each column
    last = np.where(read, len(filled) - filled[::-1].argmax(0), 0)  # filter, and one more
    for place, (low, high, *_) in enumerate(bands):
        if high - low < 2 or not read[low:high].any():
            continue
        before, after = _heights(first[low:high], last[low:high]), _heights(first[low:high][::-1], last[low:high][::-1])[::-1]
        widths = np.arange(1, high - low)
        at = low + 1 + int(np.argmin(before[:-1] * widths + after[1:] * (high - low - widths)))
        parts = tuple(band for ends in ((low, at), (at, high)) if (band := _block(filled, *ends)))
        made = (*bands[:place], *parts, *bands[place + 1 :])
        found.append((price_of(made), made))
    return found


def _heights(first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For every column, how many filters lie between the first and the last that it, or one left of it, is read by."""
    return np.maximum(np.maximum.accumulate(last) - np.minimum.accumulate(first), 0)


def _block(filled: npt.NDArray[np.bool_], low: int, high: int) -> Band | None:
    """The filters that read these bins; None if there are none."""
    read = np.flatnonzero(filled[:, low:high].any(1))
    return (low, high, int(read[0]), int(read[-1]) + 1) if len(read) else None
