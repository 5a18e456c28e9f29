"""Banks and windows made of a few trained numbers, by differentiable ops: what was learned stays a bank and a window.

Every function gives a value that equals the fixed array while its parameters are as they begin. Bins are counted from the
whole bin below a filter's centre, so that float32 is as exact near the top of the spectrum as near the bottom.
"""

from __future__ import annotations

import numpy as np

from specgraph.design.gammatone import GAMMATONE_SLOPES, gammatone_decay
from specgraph.design.windows import WindowSpec, cosine_terms, gaussian_width
from specgraph.op import Array, Constant, Value
from specgraph.ops.arithmetic import Add, Clip, Divide, Minimum, Multiply, Subtract
from specgraph.ops.elementwise import Exponential, Power, Sine
from specgraph.ops.layout import Reshape
from specgraph.ops.matmul import Matmul
from specgraph.ops.near_zero import ExpMinusOne

CENTRES, BANDWIDTHS = "centres", "bandwidths"


def triangular_bank(
    name: str, corners: Array, heights: Array, bins: int, trainable: frozenset[str], equal_areas: bool = False
) -> Value:
    """(filters, bins): triangles over the bins of a DFT, whose ``corners`` (filters + 2,) are counted in bins.

    ``centres`` (filters,) are how far filters have moved, in units of half their width; ``bandwidths`` (filters,) the logarithms of
    what their widths have grown by. A filter that grows keeps its height, or with ``equal_areas`` its area.
    """
    low, peak, high = (corners[start : len(corners) - 2 + start, None] for start in range(3))
    distance, _ = _distances(peak, (high - low) / 2, bins, trainable)
    growth = _growth(len(peak), trainable)
    left, right, height = (Constant.of(name, array) for array in (peak - low, high - peak, heights[:, None]))
    if growth is not None:
        left, right = Multiply()(left, growth), Multiply()(right, growth)
        height = Divide()(height, growth) if equal_areas else height
    one = Constant.of("one", 1.0)
    rising, falling = Add()(one, Divide()(distance, left)), Subtract()(one, Divide()(distance, right))
    return Multiply()(height, Clip(minimum=0.0)(Minimum()(rising, falling)))


def gammatone_bank(
    centres: Array, sample_rate: float, n_fft: int, trainable: frozenset[str]
) -> Value:
    """(filters, n_fft // 2 + 1): ``design.gammatone.gammatone_filterbank`` of trained centres and bandwidths.

    ``centres`` (filters,) are how far filters have moved, in their own decay bandwidths, 1.019 ERB; ``bandwidths`` (filters,) the
    logarithms of what these have grown by, apart from the centres.

    The filters' four real zeros come in pairs of opposite slopes, so that a response is the same from either end of the spectrum:
    angles are counted from the end that is nearer to the centre, where sines of small angles keep their digits.
    """
    bins, turn = n_fft // 2 + 1, np.pi / n_fft  # half the angle from one bin to the next
    decay = gammatone_decay(centres, sample_rate)[:, None]
    places = centres[:, None] * n_fft / sample_rate
    ends = np.where(places > n_fft / 4, n_fft / 2, 0.0)
    distance, centre = _distances(places, decay / (2 * turn), bins, trainable, ends)
    growth = _growth(len(centres), trainable)
    fall: Value = Constant.of("gammatone", -decay)
    if growth is not None:
        fall = Multiply()(fall, growth)
    radius, gap = Exponential()(fall), _times(-1.0, ExpMinusOne()(fall))

    def half_sine(place: Value) -> Value:  # the squared sine of half the angle
        sine = Sine()(_times(turn, place))
        return Multiply()(sine, sine)

    one = Constant.of("one", 1.0)
    sine, versine = Sine()(_times(2 * turn, centre)), _times(2.0, half_sine(centre))
    squared_gap, reach = Multiply()(gap, gap), _times(4.0, radius)

    def response(place: Value, below: Value, above: Value) -> Value:
        """The magnitude at a bin whose squared half sines are these, of its angle, and of what it is from either pole."""
        product, twice = one, _times(2.0, place)
        height = Multiply()(twice, Subtract()(Constant.of("two", 2.0), twice))  # of the bin above the real axis, squared
        for slope in GAMMATONE_SLOPES:
            short = Add()(gap, Multiply()(radius, Subtract()(versine, _times(slope, sine))))  # 1 less the zero
            along = Subtract()(short, twice)
            product = Multiply()(product, Add()(Multiply()(along, along), height))
        poles = Multiply()(
            Add()(squared_gap, Multiply()(reach, below)), Add()(squared_gap, Multiply()(reach, above))
        )
        return Divide()(Power(0.5)(product), Multiply()(poles, poles))

    numbers = Constant.of("numbers", np.arange(bins) - ends)
    mirrored = Add()(distance, _times(2.0, centre))
    grid = response(half_sine(numbers), half_sine(distance), half_sine(mirrored))
    nothing = Constant.of("gammatone", np.zeros((1, 1)))
    peak = response(half_sine(centre), nothing, half_sine(_times(2.0, centre)))
    return Divide()(grid, _times(float(n_fft), peak))


def shaped_window(window: WindowSpec, samples: int) -> Value:
    """(samples,): a window of trained shape.

    A window that is a sum of cosines has their amplitudes, at least four, as its parameter: ``sum_k shape[k] cos(2 pi k n / samples)``.
    A Gaussian has the logarithm of its standard deviation in samples, (1,).

    Raises:
        ValueError: the window is neither.
    """
    if (deviation := gaussian_width(window)) is not None:
        width = Constant.of("window_shape", [np.log(deviation)], trainable=True)
        squares = -0.5 * (np.arange(samples) - samples / 2) ** 2
        return Exponential()(Multiply()(Exponential()(_times(-2.0, width)), Constant.of("window", squares)))
    terms = cosine_terms(window, samples)
    if terms is None:
        raise ValueError(
            f"window {window!r} has no shape to train: it is no sum of a few cosines, as hann and blackman are, and no gaussian; "
            "train part window instead"
        )
    shape = Constant.of("window_shape", terms, trainable=True)
    waves = np.cos(2 * np.pi / samples * (np.outer(np.arange(len(terms)), np.arange(samples)) % samples))
    return Reshape((samples,))(Matmul()(Reshape((1, len(terms)))(shape), Constant.of("window", waves)))


def _times(factor: float, value: Value) -> Value:
    return Multiply()(value, Constant.of("factor", factor))


def _growth(filters: int, trainable: frozenset[str]) -> Value | None:
    """(filters, 1): what widths are multiplied by, if they are trained."""
    if BANDWIDTHS not in trainable:
        return None
    logarithms = Constant.of(BANDWIDTHS, np.zeros(filters), trainable=True)
    return Exponential()(Reshape((filters, 1))(logarithms))


def _distances(
    centres: Array, units: Array, bins: int, trainable: frozenset[str], ends: Array | float = 0.0
) -> tuple[Value, Value]:
    """(filters, bins) from each centre to each bin, and (filters, 1) from ``ends`` to the centres, in bins.

    ``units`` are what the centres move by.
    """
    whole = np.floor(centres)
    rest: Value = Constant.of("rest", centres - whole)
    if CENTRES in trainable:
        moved = Constant.of(CENTRES, np.zeros(len(centres)), trainable=True)
        rest = Add()(rest, Multiply()(Constant.of("units", units), Reshape(units.shape)(moved)))
    numbers = Constant.of("numbers", np.arange(bins)[None] + 0.0)
    distance = Subtract()(Subtract()(numbers, Constant.of("whole", whole)), rest)
    return distance, Add()(Constant.of("from_end", whole - ends), rest)
