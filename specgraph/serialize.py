"""A graph as JSON and back, arrays included: a file can be verified, lowered anew, and trained on, from itself alone."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from specgraph import ops as _ops  # noqa: F401  (registers every op)
from specgraph.graph import About, Graph
from specgraph.op import Array, Constant, GraphError, Op, Value

ARRAY, TUPLE = "__array__", "__tuple__"

Find = Callable[[Array], tuple[str, str] | None]  # an initializer's name, and the form that it is in


def _stacked(array: Array) -> Array | None:
    """Complex kernels (2, bins, width) as ``rewrite.real_kernels`` stacks them."""
    return np.concatenate([array[0], -array[1]]) if array.ndim == 3 and len(array) == 2 else None


def _unstacked(flat: Array, shape: tuple[int, ...]) -> Array:
    real, negated = flat.reshape(shape)
    return np.stack([real, -negated])


# How an array of the definition may stand in an initializer: what is done to it, and how that is undone.
FORMS: dict[str, tuple[Callable[[Array], Array | None], Callable[[Array, tuple[int, ...]], Array]]] = {
    "same": (lambda array: array, lambda flat, shape: flat.reshape(shape)),
    "transposed": (
        lambda array: array.T if array.ndim == 2 else None,
        lambda flat, shape: flat.reshape(shape[::-1]).T.copy(),
    ),
    "stacked": (_stacked, _unstacked),
    "stacked, transposed": (
        lambda array: None if (stacked := _stacked(array)) is None else stacked.T,
        lambda flat, shape: _unstacked(flat.reshape(shape[2], 2 * shape[1]).T, shape),
    ),
}


def to_json(graph: Graph, find: Find | None = None) -> str:
    """The graph's definition as text, the same text for the same graph.

    ``find`` may name an initializer of the file that equals an array in float32: large ones are then not written twice,
    and read back as float32, which is what they were trained or exported in.
    """
    number = {value: i for i, value in enumerate(graph.values())}
    nodes = [_node(value, [number[operand] for operand in value.inputs], find) for value in number]
    content = {
        "name": graph.name,
        "sample_rate": graph.sample_rate,
        "parameters": _encoded(dict(graph.parameters)),
        "nodes": nodes,
        "inputs": [number[value] for value in graph.inputs],
        "outputs": {name: number[value] for name, value in graph.outputs.items()},
        "about": {name: dataclasses.asdict(about) for name, about in graph.about.items()},
    }
    if graph.dtype != "float32":
        content["dtype"] = graph.dtype
    return json.dumps(content, separators=(",", ":"), allow_nan=False)


def from_json(text: str, initializers: Callable[[str], Array] | None = None) -> Graph:
    """The graph that ``to_json`` wrote; ``initializers`` gives the file's arrays by name."""
    try:
        content = json.loads(text)
        values: list[Value] = []
        for node in content["nodes"]:
            values.append(_op(node, initializers)(*(values[i] for i in node["inputs"])))
        return Graph(
            tuple(values[i] for i in content["inputs"]),
            {name: values[i] for name, i in content["outputs"].items()},
            content["sample_rate"],
            content["name"],
            _decoded(content["parameters"]),
            {name: About(**_tuples(about)) for name, about in content["about"].items()},
            dtype=content.get("dtype", "float32"),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise GraphError(f"the graph in the file's metadata cannot be read ({type(error).__name__}: {error})") from None


def digest(graph: Graph) -> str:
    """SHA-256 of the definition, in hexadecimal."""

    def hashed(array: Array) -> tuple[str, str]:
        return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest(), "same"

    return hashlib.sha256(to_json(graph, hashed).encode()).hexdigest()


def _node(value: Value, inputs: list[int], find: Find | None) -> dict[str, Any]:
    op = value.op
    if isinstance(op, Constant):
        found = find(op.array) if find else None
        array = {"initializer": found[0], "form": found[1], "shape": list(op.shape)} if found else _encoded(op.array)
        return {"op": "Constant", "inputs": [], "name": op.name, "trainable": op.trainable, "array": array}
    fields = {field.name: _encoded(getattr(op, field.name)) for field in dataclasses.fields(op)}
    return {"op": type(op).__name__, "inputs": inputs, "fields": fields}


def _op(node: dict[str, Any], initializers: Callable[[str], Array] | None) -> Op:
    if node["op"] == "Constant":
        stored = node["array"]
        if "initializer" in stored:
            if initializers is None:
                raise GraphError("its arrays are in the model's initializers; read it with specgraph.read_graph")
            restored = FORMS[stored["form"]][1]
            flat = initializers(stored["initializer"])
            array = np.ascontiguousarray(restored(flat, tuple(stored["shape"])), np.float64)
        else:
            array = _decoded(stored)
        return Constant(node["name"], array.shape, array, node["trainable"])
    if node["op"] not in Op.registry:
        raise GraphError(f"op {node['op']} is not known here; upgrade specgraph")
    return Op.registry[node["op"]](**{name: _decoded(value) for name, value in node["fields"].items()})


def _encoded(value: Any) -> Any:
    """Arrays compressed, tuples marked, so that what is read back is of the same types."""
    if isinstance(value, np.ndarray):
        kept = value.astype(np.float32) if value.dtype == np.float64 and _fits(value) else value
        data = base64.b64encode(zlib.compress(np.ascontiguousarray(kept).tobytes(), 9)).decode()
        return {ARRAY: data, "dtype": kept.dtype.str, "shape": list(kept.shape)}
    if isinstance(value, tuple):
        return {TUPLE: [_encoded(item) for item in value]}
    if isinstance(value, dict):
        return {key: _encoded(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _fits(array: Array) -> bool:
    """Whether float32 holds every element exactly, as it does what torch trained."""
    with np.errstate(over="ignore"):
        return bool((array.astype(np.float32) == array).all())


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and ARRAY in value:
        raw = np.frombuffer(zlib.decompress(base64.b64decode(value[ARRAY])), value["dtype"])
        array = raw.reshape(value["shape"])
        return array.astype(np.float64) if array.dtype.kind == "f" else array
    if isinstance(value, dict) and TUPLE in value:
        return tuple(_decoded(item) for item in value[TUPLE])
    return {key: _decoded(item) for key, item in value.items()} if isinstance(value, dict) else value


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
