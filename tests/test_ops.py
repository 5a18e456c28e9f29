"""Every op by its own examples: numpy, torch and onnxruntime agree, at several sizes after a single export."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import specgraph.ops
from specgraph.compound import Compound
from specgraph.cost import TARGETS
from specgraph.dims import evaluate
from specgraph.graph import Graph
from specgraph.lowering import lower, price
from specgraph.module import GraphModule
from specgraph.op import Constant, Input, Op, Value
from specgraph.ops.from_int16 import Int16Input
from specgraph.ops.layout import axis_along_the_clip
from specgraph.ops.lengths import Lengths, LengthsInput, Mask
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.ops.phase import Phase
from tests.conftest import arrays_for, axes, peak_error, session

SIZES = [(1, 97, 11), (3, 160, 4), (2, 331, 25)]  # batch, samples, frames
WITHOUT_EXAMPLES = {Input, Int16Input, LengthsInput, Constant}
EXAMPLES = [(op, operands) for cls in Op.registry.values() for op, *operands in cls.examples()]
LOWERINGS = [(op, operands, name) for op, operands in EXAMPLES if isinstance(op, Compound) for name in op.lowerings]


def label(value: object) -> str | None:
    return str(value) if isinstance(value, Op | str) else ""


def graph_of(op: Op, operands: list) -> Graph:
    values = [
        Constant.of(f"c{i}", operand)
        if isinstance(operand, np.ndarray)
        else (LengthsInput if i == op.lengths_at else Int16Input if op.reads == "int16" else Input)(f"x{i}", operand)()
        for i, operand in enumerate(operands)
    ]
    inputs = tuple(value for value in values if isinstance(value.op, Input))
    return Graph(inputs, {"y": within(op(*values))}, sample_rate=16000)


def within(result: Value) -> Value:
    """A result for clips of different lengths, with zeros beyond those: what an op leaves there is arbitrary."""
    axis = axis_along_the_clip(result.shape)
    if result.op.lengths_at in (None, 0) or len(result.inputs) < 2 or axis is None or result.op.clears:
        return result
    steps = getattr(result.shape[axis], "steps", ())
    return Mask(axis)(result, Lengths(steps)(result.inputs[1]) if steps else result.inputs[1])


def made_by(op: Op, graph: Graph) -> Value:
    """What an op makes in its graph."""
    return next(value for value in graph.values() if value.op is op)


def sizes_of(graph: Graph):
    for batch, samples, frames in SIZES:
        sizes = {"batch": batch, "samples": samples, "frames": frames}
        yield {axis: max(sizes[axis], graph.least(axis)) for axis in axes(graph)}


def check(graph: Graph, lowered: Graph, tolerance: float, onnx: bool = True) -> None:
    """Run ``lowered`` everywhere and compare it with the definition of ``graph``."""
    exact = 1e-12
    if rougher := [choice.tolerance for choice in lowered.choices if choice.tolerance]:  # a lowering that approximates
        tolerance = exact = max(rougher)
    module, run = GraphModule(lowered, dtype=torch.float64), session(lowered) if onnx else None
    for seed, sizes in enumerate(sizes_of(graph)):
        arrays = arrays_for(graph, sizes, seed)
        wanted = graph.numpy(*arrays)["y"]
        assert wanted.shape == evaluate(graph.outputs["y"].shape, sizes)
        assert peak_error(lowered.numpy(*arrays)["y"], wanted) < exact
        tensors = (torch.from_numpy(a).double() if a.dtype == np.float32 else torch.from_numpy(a) for a in arrays)
        assert peak_error(module(*tensors).numpy(), wanted) < exact
        if run is not None:
            feed = {value.op.label: array for value, array in zip(graph.inputs, arrays, strict=True)}
            assert peak_error(run.run(None, feed)[0], wanted) < tolerance


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=label)
def test_op(op: Op, operands: list) -> None:
    graph = graph_of(op, operands)
    runs_in_onnx = op.requires != "FFT"
    check(graph, lower(graph, "cpu") if runs_in_onnx else graph, 1e-6, runs_in_onnx)
    seconds = price(graph, TARGETS["torch"])
    assert seconds is not None
    assert (seconds > 0 or isinstance(op, Compound))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize(("op", "operands", "name"), LOWERINGS, ids=label)
def test_lowering(op: Compound, operands: list, name: str, target: str) -> None:
    graph = graph_of(op, operands)
    if op.lowerings[name](op, *made_by(op, graph).inputs) is None:
        pytest.skip("does not apply to these parameters")
    lowered = lower(graph, "torch" if name == "fft" else target, prefer={type(op).__name__: name})
    assert lowered.choices[0].chosen == name
    check(graph, lowered, 1e-6, onnx=name != "fft")


def test_every_op_has_examples() -> None:
    bare = [cls.__name__ for cls in Op.registry.values() if cls not in WITHOUT_EXAMPLES and not list(cls.examples())]
    assert not bare


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 50, 51, 200])
@pytest.mark.parametrize("mode", ["reflect", "constant", "edge"])
def test_pad_is_numpys_however_short_the_clip(mode: str, samples: int) -> None:
    graph = graph_of(Pad(50, 33, mode=mode), [("batch", "samples")])
    wave = np.random.default_rng(samples).standard_normal((2, samples)).astype(np.float32)
    wanted = np.pad(wave, ((0, 0), (50, 33)), mode=mode)
    np.testing.assert_array_equal(session(graph).run(None, {"x0": wave})[0], wanted)
    np.testing.assert_array_equal(GraphModule(graph)(torch.from_numpy(wave)).numpy(), wanted)


@pytest.mark.parametrize("op", [Magnitude(1.0), Magnitude(2.0), Magnitude(0.5), Magnitude(3.0), Phase()], ids=str)
def test_gradient_is_zero_at_zero_and_right_elsewhere(op: Op) -> None:
    z = torch.zeros(1, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    op.torch(z).sum().backward()
    assert z.grad is not None
    assert (z.grad == 0).all()
    z = torch.randn(1, 3, 2, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(op.torch, (z,))


def test_phase_of_every_direction() -> None:
    parts = np.array([0.0, -0.0, 1.0, -1.0, 1e-20, -1e-20, 1e20, -1e20, 0.3, -7.0], np.float32)
    z = np.stack(np.meshgrid(parts, parts), -1)[None]  # (1, 10, 10, 2)
    graph = graph_of(Phase(), [("batch", 10, "frames", 2)])
    wanted = graph.numpy(z)["y"]
    assert wanted.min() >= -np.pi
    assert wanted.max() == np.pi
    assert wanted[0, 1, 1] == 0
    np.testing.assert_allclose(session(graph).run(None, {"x0": z})[0], wanted, atol=4e-7)
    np.testing.assert_allclose(GraphModule(graph)(torch.from_numpy(z)).numpy(), wanted, atol=4e-7)


@pytest.mark.parametrize(("width", "factor"), [(63, 2), (32, 2), (1, 3), (501, 4)])
def test_fir_downsample_in_blocks_is_the_convolution(width: int, factor: int) -> None:
    taps = np.random.default_rng(width).standard_normal(width)
    graph = graph_of(specgraph.ops.fir_downsample.FirDownsample(factor), [("batch", "samples"), taps])
    blocked = lower(graph, "cpu")
    assert not any(value.op.requires for value in blocked.values())
    for samples in (1, 2, 63, 64, 65, 4000):
        wave = np.random.default_rng(samples).standard_normal((3, samples)).astype(np.float32)
        wanted = graph.numpy(wave)["y"]
        for lowered in (graph, blocked):
            assert peak_error(session(lowered).run(None, {"x0": wave})[0], wanted) < 1e-6
    single = torch.from_numpy(taps).requires_grad_()
    wave = torch.randn(1, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    if width < 64:
        assert torch.autograd.gradcheck(graph.outputs["y"].op.torch, (wave, single))


def test_fir_downsample_keeps_a_tone_in_place() -> None:
    # A tone far below the cut-off comes out where it was: the delay of odd and even filters is accounted for.
    from scipy.signal import firwin

    t = np.arange(4000)
    for width in (63, 64):
        graph = graph_of(specgraph.ops.fir_downsample.FirDownsample(4), [("batch", "samples"), firwin(width, 0.2)])
        reach = graph.reach()[graph.outputs["y"]]
        assert (reach.hop, reach.centre) == (4, 0.0 if width % 2 else -0.5)
        low = graph.numpy(np.sin(0.01 * t)[None])["y"][0]
        wanted = np.sin(0.01 * (np.arange(len(low)) * reach.hop + reach.centre))
        assert np.abs(low - wanted)[50:-50].max() < 2e-3
