"""Rewrites: small rules that make simple lowerings fast, without changing what a graph computes.

Each rule takes a value, sees what made it, and returns an equal one, or None. They let lowerings end in the plain layout
(batch, bins, frames, 2): what a consumer does not need of that layout moves past it and is folded away.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specgraph.bands import banded
from specgraph.graph import Graph
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Clip
from specgraph.ops.decibel import Decibel
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.fir_blocks import fir_blocks
from specgraph.ops.fir_downsample import FirDownsample
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Reshape, Take, Transpose
from specgraph.ops.log import Log, Log10
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.matmul import Matmul
from specgraph.ops.select_bins import SelectBins
from specgraph.padding import one_pad, pad_to_blocks, slice_of_pad, trim_alone
from specgraph.parts_first import parts_first
from specgraph.unread import without_unread_bins

Rule = Callable[[Value], Value | None]
POINTWISE = (Log, Log10, Clip)


def real_kernels(value: Value) -> Value | None:
    """A bank of complex kernels is one of real kernels.

    Before: ``frame_conv(x, kernels (2, bins, width))``.
    After: ``transpose(reshape(frame_conv(x, [re; -im] (2 * bins, width))))``, whose transpose can move on.
    """
    if not isinstance(value.op, FrameConv) or len(value.inputs[1].shape) != 3:
        return None
    signal, kernels = value.inputs
    if not isinstance(kernels.op, Constant):
        return None
    bank, (_, bins, width) = kernels.op, kernels.op.shape
    stacked = bank.derived("stacked", (2 * bins, width), lambda array: np.concatenate([array[0], -array[1]]))
    return Transpose((0, 2, 3, 1))(Reshape((0, 2, bins, -1))(value.op(signal, stacked)))


def fir_in_blocks(value: Value) -> Value | None:
    """A convolution with one channel is slow everywhere; over blocks of samples it is a matrix product.

    Before: ``fir_downsample(x, taps)``. After: ``trim(reshape(blocks of x times a matrix with the taps on its diagonals))``.
    """
    if not isinstance(value.op, FirDownsample) or not isinstance(value.inputs[1].op, Constant):
        return None
    return fir_blocks(value.op, *value.inputs)


def magnitude_first(value: Value) -> Value | None:
    """The magnitude is taken before anything that only moves bins about.

    Before: ``magnitude(select_bins(transpose(z)))``. After: ``take(transpose(magnitude(z)))``: half the data to move.
    """
    if not isinstance(value.op, Magnitude):
        return None
    (source,) = value.inputs
    power, axis = value.op.power, value.op.axis % len(source.shape)
    moved = _magnitude(source, power, axis)
    return None if isinstance(moved.op, Magnitude) else moved


def _magnitude(source: Value, power: float, axis: int) -> Value:
    op, last = source.op, len(source.shape) - 1
    if isinstance(op, SelectBins):
        return Take(tuple(op.places.tolist()), axis=1)(_magnitude(source.inputs[0], power, axis))
    if isinstance(op, Transpose):
        inner = op.order[axis]
        order = [old - (old > inner) for old in op.order if old != inner]
        return Transpose(tuple(order))(_magnitude(source.inputs[0], power, inner))
    if isinstance(op, Reshape) and axis == last and op.shape[-1] == 2 and source.inputs[0].shape[-1] == 2:
        before = source.inputs[0]
        return Reshape(op.shape[:-1])(_magnitude(before, power, len(before.shape) - 1))
    return Magnitude(power, axis)(source)


def bins_into_bank(value: Value) -> Value | None:
    """A selection of bins folds into the columns of the filterbank that reads them.

    Before: ``filterbank(take(x, indices), bank)``. After: ``filterbank(x, bank')`` with the columns where the bins are.
    """
    if type(value.op) is not Filterbank:
        return None
    taken, bank = value.inputs
    if not isinstance(taken.op, Take) or taken.op.axis != 1 or not isinstance(bank.op, Constant) or bank.op.trainable:
        return None
    source, constant, indices = taken.inputs[0], bank.op, list(taken.op.indices)
    slots = source.shape[1]
    assert isinstance(slots, int)

    def scattered() -> np.ndarray:
        columns = np.zeros((len(constant.array), slots))
        if len(set(indices)) == len(indices):
            columns[:, indices] = constant.array
        else:  # a bin that is taken twice counts twice
            np.add.at(columns.T, indices, constant.array.T)
        return columns

    return value.op(source, Constant.lazy(constant.name, (constant.shape[0], slots), scattered))


def transposes_last(value: Value) -> Value | None:
    """A transpose moves behind what works element by element, where it may meet another.

    Before: ``log(transpose(x))``. After: ``transpose(log(x))``.
    """
    per_item = isinstance(value.op, Decibel)
    if not isinstance(value.op, POINTWISE) and not per_item:
        return None
    (source,) = value.inputs
    if not isinstance(source.op, Transpose) or (per_item and source.op.order[0] != 0):
        return None
    return source.op(value.op(source.inputs[0]))


def one_transpose(value: Value) -> Value | None:
    """Two transposes are one, and one that leaves the order is none."""
    if not isinstance(value.op, Transpose):
        return None
    (source,), order = value.inputs, value.op.order
    if order == tuple(range(len(order))):
        return source
    if not isinstance(source.op, Transpose):
        return None
    joined = Transpose(tuple(source.op.order[axis] for axis in order))(source.inputs[0])
    return one_transpose(joined) or joined


def constant_right(value: Value) -> Value | None:
    """For CUDA: the bank stands on the right, so that cuBLAS runs one matrix product for the whole batch.

    Before: ``filterbank(x, bank)``. After: ``transpose(matmul(transpose(x), bank.T))``; the transposes meet others.
    """
    if not isinstance(value.op, Filterbank) or not isinstance(value.inputs[1].op, Constant):
        return None
    features, bank = value.inputs[0], value.inputs[1].op
    right = bank.derived("transposed", bank.shape[::-1], lambda array: array.T.copy())
    flipped = Transpose((0, 2, 1))(features)
    product = Matmul()(one_transpose(flipped) or flipped, right)
    return Transpose((0, 2, 1))(product)


def frames_and_matmul(value: Value) -> Value | None:
    """For CUDA: framing and a matrix product instead of a convolution, whose cuDNN plan is made anew for every length.

    Before: ``frame_conv(x, kernels)``. After: ``transpose(matmul(frame(x), kernels.T))``.
    """
    if not isinstance(value.op, FrameConv) or len(value.inputs[1].shape) != 2:
        return None
    signal, kernels = value.inputs
    if not isinstance(kernels.op, Constant):
        return None
    bank = kernels.op
    right = bank.derived("transposed", bank.shape[::-1], lambda array: array.T.copy())
    frames = Frame(bank.shape[1], value.op.hop_length)(signal)
    return Transpose((0, 2, 1))(Matmul()(frames, right))


def reshape_of_transpose(value: Value) -> Value | None:
    """Splitting the bins of a transposed product is a split before the transpose.

    Before: ``reshape(transpose(x (batch, frames, 2 * bins)), (0, 2, bins, -1))``, as complex kernels leave it.
    After: ``transpose(reshape(x, (0, 0, 2, bins)))``.
    """
    if not isinstance(value.op, Reshape) or not isinstance(value.inputs[0].op, Transpose):
        return None
    shape, transpose = value.op.shape, value.inputs[0].op
    if len(shape) != 4 or shape[0] != 0 or shape[3] != -1 or transpose.order != (0, 2, 1):
        return None
    return Transpose((0, 2, 3, 1))(Reshape((0, 0, *shape[1:3]))(value.inputs[0].inputs[0]))


def transpose_of_reshape(value: Value) -> Value | None:
    """Bins that were merged and are then put last are put last before they are merged, so that two transposes meet.

    Before: ``transpose(reshape(x (batch, a, b, frames), (0, a * b, -1)), (0, 2, 1))``.
    After: ``reshape(transpose(x, (0, 3, 1, 2)), (0, 0, a * b))``.
    """
    if not isinstance(value.op, Transpose) or value.op.order != (0, 2, 1) or not isinstance(value.inputs[0].op, Reshape):
        return None
    shape, (source,) = value.inputs[0].op.shape, value.inputs[0].inputs
    if len(shape) != 3 or shape[0] != 0 or shape[2] != -1 or value.inputs[0].shape[2] != source.shape[-1]:
        return None
    rank = len(source.shape)
    return Reshape((0, 0, shape[1]))(Transpose((0, rank - 1, *range(1, rank - 1)))(source))


RULES: dict[str, tuple[Rule, ...]] = {
    "cpu": (
        slice_of_pad,
        one_pad,
        trim_alone,
        pad_to_blocks,
        real_kernels,
        fir_in_blocks,
        magnitude_first,
        parts_first,
        bins_into_bank,
        one_transpose,
        transposes_last,
    ),
    "cuda": (
        slice_of_pad,
        one_pad,
        trim_alone,
        real_kernels,
        fir_in_blocks,
        frames_and_matmul,
        reshape_of_transpose,
        transpose_of_reshape,
        magnitude_first,
        bins_into_bank,
        constant_right,
        one_transpose,
        transposes_last,
    ),
    "torch": (),  # torch transposes by strides, and its graph keeps the arrays that are trained
}


def rewritten(graph: Graph, target: str) -> Graph:
    """The graph with the target's rules applied until none changes anything."""
    rules = RULES.get(target, RULES["cpu"])

    def first_that_applies(value: Value) -> Value | None:
        changed = None
        while (better := next((made for rule in rules if (made := rule(changed or value))), None)) is not None:
            changed = better
        return changed

    while (better := graph.rewrite(first_that_applies)) is not graph:
        graph = better
    return without_unread_bins(graph).rewrite(banded) if rules is RULES["cpu"] else graph
