"""One model put before or after another, in one graph: the other's names stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir


def put_before(model: ir.Model, part: ir.Model, inputs: Mapping[str, str], keep: bool) -> dict[str, str]:
    """``part`` in front of ``model``: its output named by a key makes what the model's input named by the value was.

    Its inputs come first; with ``keep`` its connected outputs are the model's too. ``part`` is used up.

    Returns:
        What its inputs and outputs are called now, by the names that they had.
    """
    graph, replaced = model.graph, {str(value.name): value for value in model.graph.inputs}
    starts, outputs = list(part.graph.inputs), {str(value.name): value for value in part.graph.outputs}
    nodes, called = _taken_over(model, part, "front_end")
    for ours, theirs in inputs.items():
        old, new = replaced[theirs], outputs[ours]
        if keep:
            same = ir.node("Identity", [new], name=f"{called[ours]}/Identity")
            same.outputs[0].name, same.outputs[0].type = called[ours], new.type
            nodes.append(same)
            graph.outputs.append(same.outputs[0])
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        graph.inputs.remove(old)
        old.name, new.name, new.shape = None, theirs, None
    if len(graph):
        graph.insert_before(graph[0], nodes)
    else:
        graph.extend(nodes)
    for place, value in enumerate(starts):
        graph.inputs.insert(place, value)
    return called


def put_after(model: ir.Model, part: ir.Model, inputs: Mapping[str, str], keep: bool) -> dict[str, str]:
    """``part`` behind ``model``: its input named by a value reads the model's output named by the key, which is left out unless ``keep``.

    Its outputs come first. ``part`` is used up.

    Returns:
        What its inputs and outputs are called now, by the names that they had.
    """
    graph, made = model.graph, {str(value.name): value for value in model.graph.outputs}
    starts, results = {str(value.name): value for value in part.graph.inputs}, list(part.graph.outputs)
    nodes, called = _taken_over(model, part, "back_end")
    for theirs, ours in inputs.items():
        ir.convenience.replace_all_uses_with(starts[ours], made[theirs])
        if not keep:
            graph.outputs.remove(made[theirs])
    graph.extend(nodes)
    for place, value in enumerate(results):
        graph.outputs.insert(place, value)
    return called


def _taken_over(model: ir.Model, part: ir.Model, prefix: str) -> tuple[list[ir.Node], dict[str, str]]:
    """The nodes of ``part``, whose arrays are the model's now, all named with a prefix that no name of the model has.

    Inputs and outputs keep their names where the model has none of these; what they are called comes second.
    """
    graph, taken = part.graph, _names_in(model)
    inner = next(start for start in _numbered(prefix) if not any(name.startswith(f"{start}/") for name in taken))
    ends, called = [*graph.inputs, *graph.outputs], {}
    for value in ends:
        name = str(value.name)
        free = (start for start in _numbered(f"{prefix}_{name}") if start not in taken)
        called[name] = value.name = next(free) if name in taken else name
    for value in list(graph.initializers.values()):
        del graph.initializers[str(value.name)]
        value.name = f"{inner}/{value.name}"
        model.graph.register_initializer(value)
    nodes = list(graph)
    graph.inputs.clear()
    graph.outputs.clear()
    graph.remove(nodes)
    for node in nodes:
        node.name = f"{inner}/{node.name}"
        for value in node.outputs:
            if value not in ends:
                value.name = f"{inner}/{value.name}"
    return nodes, called


def _names_in(model: ir.Model) -> set[str]:
    """Every name of a value or a node in a model's graphs, those within its nodes too."""
    found: set[str | None] = set()
    for graph in model.graphs():
        found |= {value.name for value in graph.inputs} | set(graph.initializers)
        for node in graph:
            found |= {node.name, *(value.name for value in node.outputs)}
    return {name for name in found if name}


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1
