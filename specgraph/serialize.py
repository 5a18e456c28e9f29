"""A graph as JSON and back, arrays included: a file can be verified, lowered anew, and trained on, from itself alone."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import math
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from specgraph import __version__
from specgraph import ops as _ops  # noqa: F401  (registers every op)
from specgraph.graph import About, Graph
from specgraph.op import Array, Constant, GraphError, Op, Value

ARRAY, TUPLE = "__array__", "__tuple__"

MOST_TEXT = 2**28  # characters of a definition
MOST_NODES = 100_000
MOST_UNPACKED = 2**29  # bytes of all arrays that a definition holds itself, in float64
FLOAT64 = 8  # bytes
MOST_VIEWS = 4  # of one initializer, in other shapes and forms
DEEPEST = 32  # lists and objects in one another

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
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    if len(text) > MOST_TEXT:
        raise GraphError(
            f"the definition of {graph.name} has {len(text):,} characters, and a file holds at most {MOST_TEXT:,}; "
            "choose smaller parameters"
        )
    own = sum(math.prod(node["array"]["shape"]) * FLOAT64 for node in nodes if ARRAY in node.get("array", ()))
    if own > MOST_UNPACKED:
        raise GraphError(
            f"the definition of {graph.name} holds {own:,} bytes of arrays in float64, and at most {MOST_UNPACKED:,} are read "
            "back; give them in float32"
        )
    return text


def from_json(text: str, initializers: Callable[[str], Array] | None = None) -> Graph:
    """The graph that ``to_json`` wrote; ``initializers`` gives the file's arrays by name.

    Raises:
        GraphError: the text is no graph, or its arrays would take more than ``MOST_UNPACKED`` bytes.
    """
    try:
        return _Reader(initializers).graph(text)
    except Exception as error:  # noqa: BLE001  (whatever an op or a library raises where its fields are made up)
        first = (str(error).splitlines() or [""])[0]
        raise GraphError(f"the graph in the file's metadata cannot be read ({type(error).__name__}: {first:.300})") from None


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


class _Reader:
    """Reads one definition, of which nothing is trusted: sizes are counted before memory is taken."""

    def __init__(self, initializers: Callable[[str], Array] | None) -> None:
        self._initializers = initializers
        self._left = MOST_UNPACKED
        self._shared: dict[tuple[str, str, tuple[int, ...]], Array] = {}

    def graph(self, text: str) -> Graph:
        if len(text) > MOST_TEXT:
            raise GraphError(f"it has {len(text):,} characters, and at most {MOST_TEXT:,} are read")
        content = json.loads(text)
        if len(content["nodes"]) > MOST_NODES:
            raise GraphError(f"it has {len(content['nodes']):,} nodes, and at most {MOST_NODES:,} are read")
        if type(content["sample_rate"]) is not int or content["sample_rate"] < 1:
            raise GraphError(f"its sample rate is {content['sample_rate']!r:.100}")
        values: list[Value] = []
        for node in content["nodes"]:
            values.append(self._op(node)(*(_at(values, i) for i in node["inputs"])))
        return Graph(
            tuple(_at(values, i) for i in content["inputs"]),
            {name: _at(values, i) for name, i in content["outputs"].items()},
            content["sample_rate"],
            content["name"],
            self._decoded(content["parameters"]),
            {name: About(**_tuples(about)) for name, about in content["about"].items()},
            dtype=content.get("dtype", "float32"),
        )

    def _op(self, node: dict[str, Any]) -> Op:
        if node["op"] == "Constant":
            array = self._shared_array(node["array"]) if "initializer" in node["array"] else self._decoded(node["array"])
            return Constant(node["name"], array.shape, array, node["trainable"])
        if node["op"] not in Op.registry:
            raise GraphError(f"{node['op']!s:.100} is not an op of specgraph {__version__}; import the module that defines it first")
        return Op.registry[node["op"]](**{name: self._decoded(value) for name, value in node["fields"].items()})

    def _shared_array(self, stored: dict[str, Any]) -> Array:
        """An array that is in the model's initializers, in float64 once however often it is named."""
        key = (stored["initializer"], stored["form"], tuple(stored["shape"]))
        name, form, shape = key
        if self._initializers is None:
            raise GraphError("its arrays are in the model's initializers; read it with specgraph.read_graph")
        if key not in self._shared:
            if sum(one[0] == name for one in self._shared) == MOST_VIEWS:
                raise GraphError(f"initializer {name!r:.100} is named in more than {MOST_VIEWS} shapes")
            self._shared[key] = np.ascontiguousarray(FORMS[form][1](self._initializers(name), shape), np.float64)
        return self._shared[key]

    def _decoded(self, value: Any, depth: int = 0) -> Any:
        if depth > DEEPEST:
            raise GraphError(f"lists and objects are nested more than {DEEPEST} deep")
        if not isinstance(value, dict):
            return value
        if ARRAY in value:
            return self._unpacked(value)
        if TUPLE in value:
            return tuple(self._decoded(item, depth + 1) for item in value[TUPLE])
        return {key: self._decoded(item, depth + 1) for key, item in value.items()}

    def _unpacked(self, stored: dict[str, Any]) -> Array:
        dtype, shape = np.dtype(stored["dtype"]), stored["shape"]
        if dtype.kind not in "fiub" or not all(type(size) is int and size >= 0 for size in shape):
            raise GraphError(f"an array is of dtype {dtype} and shape {shape!r:.100}")
        size = math.prod(shape) * dtype.itemsize
        self._left -= max(size, math.prod(shape) * FLOAT64 if dtype.kind == "f" else 0)
        if self._left < 0:
            raise GraphError(f"its arrays take more than {MOST_UNPACKED >> 20} MiB, which are not unpacked")
        raw = zlib.decompressobj().decompress(base64.b64decode(stored[ARRAY]), size + 1)
        if len(raw) != size:
            raise GraphError(f"an array of {size} bytes holds {'more' if len(raw) > size else len(raw)}")
        array = np.frombuffer(raw, dtype).reshape(shape)
        return array.astype(np.float64) if dtype.kind == "f" else array


def _at(values: list[Value], number: Any) -> Value:
    if type(number) is not int or not 0 <= number < len(values):
        raise GraphError(f"a node reads node {number!r:.100}, and {len(values)} come before it")
    return values[number]


def _tuples(about: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in about.items()}
