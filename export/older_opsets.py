"""The nodes that specgraph writes, as opsets before 18 have them."""

from __future__ import annotations

import onnx_ir as ir

OLDEST = 13  # from which only the ops below differ
AXES_ARE_OPERANDS = 18  # of reductions but ReduceSum
SHAPE_HAS_ENDS = 15
REDUCTIONS = ("ReduceMax", "ReduceMin", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceProd", "ReduceSumSquare")


def rewrite_for(graph: ir.Graph, opset: int) -> None:
    """Change a graph that was written for opset 18 into one of ``opset``, 13 or later, in place."""
    for node in list(graph):
        if node.op_type in REDUCTIONS and opset < AXES_ARE_OPERANDS and len(node.inputs) > 1:
            operand = node.inputs[1]
            axes = None if operand is None else ir.convenience.get_const_tensor(operand)
            if axes is None:
                raise ValueError(f"{node.op_type} over axes that are computed cannot be written for opset {opset}")
            node.resize_inputs(1)
            node.attributes["axes"] = ir.AttrInt64s("axes", axes.numpy().tolist())
        elif node.op_type == "Shape" and opset < SHAPE_HAS_ENDS and ("start" in node.attributes or "end" in node.attributes):
            _slice_of_shape(graph, node)
    for name, value in list(graph.initializers.items()):
        if not value.uses():
            del graph.initializers[name]


def _slice_of_shape(graph: ir.Graph, node: ir.Node) -> None:
    result = node.outputs[0]
    start, end = (node.attributes[name].as_int() if name in node.attributes else default for name, default in (("start", 0), ("end", 2**31)))
    whole = ir.node("Shape", node.inputs, name=f"{node.name}/whole")
    ends = []
    for name, number in (("start", start), ("end", end)):
        value = ir.Value(name=f"{result.name}/{name}", const_value=ir.tensor([number], dtype=ir.DataType.INT64, name=f"{result.name}/{name}"))
        value.shape, value.type = ir.Shape([1]), ir.TensorType(ir.DataType.INT64)
        graph.register_initializer(value)
        ends.append(value)
    whole.outputs[0].name = f"{result.name}/whole"
    part = ir.node("Slice", [whole.outputs[0], *ends], name=node.name)
    called = result.name
    ir.convenience.replace_nodes_and_values(graph, node, [node], [whole, part], [result], [part.outputs[0]])
    part.outputs[0].name = called
