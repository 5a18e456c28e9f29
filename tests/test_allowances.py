"""How verification carries what a spectrum may be off by through ops of two operands, quotients, norms and normalisation."""

from __future__ import annotations

import numpy as np
import pytest

import specgraph as sg
from specgraph.export.verification import with_allowances
from specgraph.op import Op, Value
from specgraph.ops.arithmetic import Add, Divide, Multiply, Subtract
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.cumulative_sum import CumulativeSum
from specgraph.ops.delta import Delta
from specgraph.ops.elementwise import Absolute
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.layout import Take
from specgraph.ops.normalize import Normalize
from specgraph.ops.sliding_cmvn import SlidingCmvn
from specgraph.ops.smooth import Smooth
from specgraph.ops.top_k import TopK
from tests.sealing import resealed

BINS, WIDTH, HOP, FRAMES = 6, 16, 8, 40
KERNELS = np.random.default_rng(0).standard_normal((BINS, WIDTH))
FROM_BINS = [
    Normalize("inf"),
    Normalize(1.0),
    Normalize(2.0),
    Cmvn(),
    Cmvn(False),
    SlidingCmvn(9, 4),
    SlidingCmvn(9, 4, center=True),
    SlidingCmvn(9, 4, norm_vars=False),
    Delta(5, 1),
    Delta(5, 2, "nearest"),
    Delta(5, 2, "regression"),
    Smooth(0.3),
    TopK(3),
    CumulativeSum(),
]


def built(make) -> sg.Graph:
    """A graph of features that verification takes to be a spectrum, and what ``make`` makes of it."""
    b = sg.Builder(8000)
    bands = b.frame_conv(b.input("waveforms"), KERNELS, hop_length=HOP)
    return b.build(features=make(bands), bands=bands)


def pair(op: Op):
    def make(bands: Value) -> Value:
        return op(Take((0, 1, 2))(bands), Take((3, 4, 5))(bands))

    return make


@pytest.mark.parametrize("op", FROM_BINS, ids=str)
def test_no_error_of_the_spectrum_moves_a_result_further_than_allowed(op: Op) -> None:
    check(built(op), op.numpy)


@pytest.mark.parametrize("op", [Add(), Subtract(), Multiply(), Divide()], ids=str)
def test_nor_one_of_two_operands(op: Op) -> None:
    check(built(pair(op)), lambda bands: op.numpy(bands[:, :3], bands[:, 3:]))


def test_nor_a_product_with_a_constant_behind_a_quotient() -> None:
    matrix = np.random.default_rng(1).standard_normal((2, BINS))
    b = sg.Builder(8000)
    bands = b.frame_conv(b.input("waveforms"), KERNELS, hop_length=HOP)
    share = Divide()(bands, b.clip(b.reduce(Absolute()(bands), "sum"), 1e-3))
    graph = b.build(features=Filterbank()(share, b.constant(matrix)), bands=bands)
    check(graph, lambda x: matrix @ (x / np.maximum(np.abs(x).sum(1, keepdims=True), 1e-3)))


def check(graph: sg.Graph, numpy) -> None:
    rng = np.random.default_rng(2)
    wave = rng.standard_normal((2, WIDTH + HOP * (FRAMES - 1)))
    wave[:, 100:180] *= 1e-9  # quiet: where a quotient or a norm is uncertain
    wanted, allowed = with_allowances(graph, (wave,))
    bands, room = wanted["bands"], allowed["bands"]
    largest = np.zeros(wanted["features"].shape)
    for trial in range(200):
        direction = rng.choice([-1.0, 1.0], bands.shape) if trial % 2 else rng.uniform(-1, 1, bands.shape)
        largest = np.maximum(largest, np.abs(numpy(bands + direction * room) - wanted["features"]))
    assert (largest <= 1.000001 * allowed["features"]).all()
    loud = np.r_[0:10, 30:40]
    assert np.median(allowed["features"][..., loud] / np.maximum(largest[..., loud], 1e-300)) < 20  # and not much further


def test_a_constant_that_was_changed_is_found_behind_a_norm(tmp_path) -> None:
    import onnx

    path = tmp_path / "m.onnx"
    sg.to_onnx(sg.ChromaSTFT(n_fft=1024), path)
    model = onnx.load(path)
    held = next(i for i in model.graph.initializer if i.name == "chroma")
    array = onnx.numpy_helper.to_array(held).copy()
    array[np.unravel_index(array.argmax(), array.shape)] *= 1.01
    held.CopyFrom(onnx.numpy_helper.from_array(array, "chroma"))
    path.write_bytes(resealed(model.SerializeToString()))  # as if it had been written so
    with pytest.raises(ValueError, match="differs from its float64 definition by"):
        sg.verify(path)
