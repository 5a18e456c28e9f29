"""A lowered graph and a model that someone else exported as one model: opset, axes and dtype made to fit."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from specgraph.export.connect import Connection
from specgraph.export.emit import IR_VERSION, Emitter, emit
from specgraph.export.foreign import Foreign, raised
from specgraph.export.older_opsets import OLDEST, rewrite_for
from specgraph.export.splice import put_after, put_before
from specgraph.graph import Graph

EMITTED = 18  # the oldest opset that graphs are emitted for


def joined(source: Foreign, lowered: Graph, connections: Sequence[Connection], after: bool, keep: bool) -> tuple[ir.Model, dict[str, str]]:
    """The model, and what the inputs and outputs of the graph are called in it. ``source.model`` is used up."""
    if source.opset < OLDEST:
        raised(source, OLDEST)
    model, opset = source.model, source.opset
    part = emit(lowered, max(opset, EMITTED))
    if after:
        _adapt_inputs(part, connections)
    else:
        _adapt_outputs(part, connections)
    if opset < EMITTED:
        rewrite_for(part.graph, opset)
        part.graph.opset_imports[""] = opset
    common.CheckerPass()(part)
    model.ir_version = max(model.ir_version, IR_VERSION)
    if after:
        return model, put_after(model, part, {one.theirs.name: one.ours.name for one in connections}, keep)
    return model, put_before(model, part, {one.ours.name: one.theirs.name for one in connections}, keep)


def _adapt_outputs(part: ir.Model, connections: Sequence[Connection]) -> None:
    """The outputs of a part in the layout and dtype of the model's inputs."""
    onnx = _adapter()
    places = {str(value.name): place for place, value in enumerate(part.graph.outputs)}
    for one in connections:
        old = part.graph.outputs[places[one.ours.name]]
        new = one.arrangement.onnx(onnx, old)
        if one.dtype != old.dtype:
            new = onnx.Cast(new, to=one.dtype)
        if new is not old:
            new.name, old.name = old.name, f"{old.name}/before_layout"
            new.type, new.shape = ir.TensorType(one.dtype), ir.Shape([None] * len(one.arrangement.order))
            part.graph.outputs[places[one.ours.name]] = new
    part.graph.extend(_taken(onnx, part))


def _adapt_inputs(part: ir.Model, connections: Sequence[Connection]) -> None:
    """The inputs of a part in the layout and dtype of the model's outputs."""
    onnx = _adapter()
    places = {str(value.name): place for place, value in enumerate(part.graph.inputs)}
    for one in connections:
        old = part.graph.inputs[places[one.ours.name]]
        new = ir.val(one.ours.name, one.dtype, ir.Shape([None] * len(one.arrangement.order)))
        value = one.arrangement.back().onnx(onnx, new)
        if one.dtype != old.dtype:
            value = onnx.Cast(value, to=ir.DataType(old.dtype or ir.DataType.FLOAT))
        if value is not new:
            ir.convenience.replace_all_uses_with(old, value)
            part.graph.inputs[places[one.ours.name]] = new
            old.name = None
    if nodes := _taken(onnx, part):
        part.graph.insert_before(part.graph[0], nodes)


def _adapter() -> Emitter:
    onnx = Emitter()
    onnx.stage = "layout"
    return onnx


def _taken(onnx: Emitter, part: ir.Model) -> list[ir.Node]:
    for value in onnx.initializers:
        part.graph.register_initializer(value)
    return list(onnx.nodes)
