"""Front ends put where a model that torch exported has their stand-ins."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir
from onnx_ir.passes import common

from specgraph.export.emit import IR_VERSION, tidied

DOMAIN = "specgraph.stand_in"  # of the nodes that torch's exporter is given for front ends; no file has it


def stand_in_type(number: int) -> str:
    """The operator that stands for a front end."""
    return f"FrontEnd{number}"


def join(model: ir.Model, front_ends: Sequence[ir.Model]) -> ir.Model:
    """``model`` with every node ``stand_in_type(i)`` replaced by the nodes of ``front_ends[i]``, checked by ONNX's own checker.

    A front end that is called several times has its nodes as often, and its arrays once. What torch says of where nodes came
    from, paths of this machine among it, and of shapes in between, which it fixes here and there, is left out. ``front_ends``
    are used up.
    """
    for number, part in enumerate(front_ends):
        _as_function(model, number, part)
    model.ir_version, model.producer_name = IR_VERSION, "specgraph"
    model = tidied(model, common.ClearMetadataAndDocStringPass(), common.InlinePass())
    outputs = set(model.graph.outputs)
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if value not in outputs:
                value.shape = None
    return common.CheckerPass()(model).model


def _as_function(model: ir.Model, number: int, part: ir.Model) -> None:
    """Make a function of a front end, whose arrays its calls hand to it: a function has none of its own."""
    body, op_type = part.graph, stand_in_type(number)
    held = list(body.initializers.values())
    body.initializers.clear()
    arrays = []
    for value in held:
        array = ir.Value(name=f"{op_type}/{value.name}", shape=value.shape, type=value.type, const_value=value.const_value)
        model.graph.register_initializer(array)
        arrays.append(array)
        value.const_value = None
        body.inputs.append(value)
    function = ir.Function(DOMAIN, op_type, graph=body, attributes=[])
    model.functions[function.identifier()] = function
    model.opset_imports.setdefault(DOMAIN, 1)
    for node in model.graph.all_nodes():
        if node.domain == DOMAIN and node.op_type == op_type:
            given = len(node.inputs)
            node.resize_inputs(given + len(arrays))
            for place, array in enumerate(arrays):
                node.replace_input_with(given + place, array)
