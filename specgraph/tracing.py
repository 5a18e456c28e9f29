"""What a front end does while torch exports a model that holds it: ops that every exporter knows, at any length.

``torch.fft`` exports as ``DFT``, which onnxruntime runs on no GPU and inaccurately on a CPU. While ``torch.export`` or
``torch.onnx.export`` traces, a module therefore computes the same in the lowering that is the cheapest without an FFT.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from specgraph.cost import target_named
from specgraph.dims import Dim
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import Constant, GraphError, Input, Value

if TYPE_CHECKING:
    from specgraph.module import GraphModule

StandIn = Callable[["GraphModule", tuple[Any, ...]], list[Any]]

stand_in: ContextVar[StandIn | None] = ContextVar("stand_in", default=None)  # what computes the outputs instead, if anything


@dataclass(frozen=True, eq=False)
class _Traceable:
    """A lowered graph, and how its constants were cast: ``arrays`` holds those that are not trained."""

    graph: Graph
    arrays: dict[Value, np.ndarray]


_made: WeakKeyDictionary[GraphModule, _Traceable] = WeakKeyDictionary()  # by the module: most are never exported


def any_length() -> bool:
    """Whether what runs now is being recorded, by ``torch.export``, ``torch.onnx`` or ``torch.jit``, to be run at other lengths."""
    import torch

    return torch.compiler.is_exporting() or torch.jit.is_tracing()


def as_script(module: GraphModule) -> Any:
    """What ``torch.jit.script`` compiles in place of ``module``: a call of the module as traced, which is for any batch and length."""
    import torch
    from torch import fx

    definition = module.definition
    along = max(definition.least_along_the_clip(), 2)
    device = next((tensor.device for tensor in (*module.parameters(), *module.buffers())), torch.device("cpu"))
    example = []
    for value in definition.inputs:
        sizes = [size.at(2 if size.root == "batch" else along) if isinstance(size, Dim) else size for size in value.shape]
        held = along if value.dtype == "int64" else 0
        example.append(torch.full(sizes, held, dtype=getattr(torch, value.dtype), device=device))
    with torch.no_grad():
        recorded = torch.jit.trace(module, tuple(example), check_trace=False)
    graph = fx.Graph()
    graph.output(graph.call_module("traced", tuple(graph.placeholder(value.op.label) for value in definition.inputs)))
    return fx.GraphModule({"traced": recorded}, graph)


def traced(module: GraphModule, inputs: tuple[Any, ...]) -> list[Any]:
    """The outputs, in the order of the graph's, for checked inputs with a batch axis, while torch exports."""
    replaced = stand_in.get()
    if replaced is not None:
        return replaced(module, inputs)
    made = _made.get(module)
    if made is None:
        made = _made[module] = _traceable(module)
    with _without_guards(inputs):
        return _run(made, module, inputs)


def _without_guards(inputs: tuple[Any, ...]) -> AbstractContextManager[Any]:
    """A context in which ``torch.export`` restricts no size.

    It would record each comparison that torch itself makes of sizes, such as whether there is one frame only, as what holds of all
    inputs. The ops that are traced are right at any length.
    """
    import torch
    from torch._guards import detect_fake_mode

    mode = None if torch.compiler.is_dynamo_compiling() else detect_fake_mode(inputs)
    sizes = None if mode is None else mode.shape_env
    return nullcontext() if sizes is None else sizes.suppress_guards()


def _traceable(module: GraphModule) -> _Traceable:
    # "torch" is what its ops run in, and so what rewrites are for; the prices are of where the model will run.
    target = replace(target_named("cpu"), name="torch")
    try:
        lowered = lower(module.definition, target, module.prefer)
    except GraphError:  # the FFT was asked for by name
        lowered = lower(module.definition, target)
    fixed = [value for value in lowered.values() if isinstance(value.op, Constant) and not value.op.trainable]
    return _Traceable(lowered, {value: _array(value) for value in fixed})


def _array(value: Value) -> np.ndarray:
    assert isinstance(value.op, Constant)
    array = value.op.array
    return array if array.dtype.kind in "iu" else array.astype(np.float64)


def _run(made: _Traceable, module: GraphModule, inputs: tuple[Any, ...]) -> list[Any]:
    import torch

    dtype = inputs[0].dtype if inputs[0].is_floating_point() else module.working_dtype or torch.float32
    env: dict[Value, Any] = dict(zip(made.graph.inputs, inputs, strict=True))
    for value in made.graph.values():
        op = value.op
        if isinstance(op, Constant):
            # from_numpy, unlike tensor(), makes a real tensor inside of the trace too, and so a constant of the model.
            held = module.trained(op) if op.trainable else torch.from_numpy(made.arrays[value])
            env[value] = held.to(inputs[0].device, dtype) if held.is_floating_point() else held.to(inputs[0].device)
        elif not isinstance(op, Input):
            env[value] = op.torch(*(env[operand] for operand in value.inputs))
            if op.reads == "int16":
                env[value] = env[value].to(dtype)
    return [env[value] for value in made.graph.outputs.values()]
