"""Files read back: the graph that a file was made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.graph import Graph
from specgraph.metadata import PREFIX, Metadata, MetadataError
from specgraph.op import Array, GraphError
from specgraph.serialize import digest, from_json


@dataclass(frozen=True)
class ReadModel:
    """What a file holds."""

    graph: Graph
    metadata: Metadata
    nodes: int
    operators: dict[str, int]


def read_graph(path: str | Path) -> Graph:
    """The graph that ``path`` was made from: to verify, to lower for another target, or, by ``.module()``, to train on.

    Raises:
        ValueError: the file is not an ONNX model, or not one that specgraph wrote, or was changed since; its arrays are unpacked up to
            512 MiB in all.
        FileNotFoundError: there is no such file.
    """
    return read_model(path).graph


def read_model(path: str | Path) -> ReadModel:
    """The graph, the metadata, and the ONNX operators by how often each is used."""
    import onnx
    import onnx_ir as ir

    from specgraph.runtimes.loading import checked_file  # the same checks and sentences as load's

    path = Path(path)
    data, metadata, header = checked_file(path)
    properties = header.properties
    if any("attached" in front_end for front_end in metadata.front_ends):
        names = " and ".join(front_end["name"] for front_end in metadata.front_ends)
        raise ValueError(
            f"{path} is {names} joined with the model {metadata.name}, not a graph of specgraph alone: it runs with specgraph.load on 'cpu' or "
            "'cuda', and was compared with the two apart when it was attached"
        )
    if metadata.front_ends:
        raise ValueError(
            f"{path} holds a whole torch model, {metadata.name}, not a graph of specgraph alone: it runs with specgraph.load on 'cpu' or "
            "'cuda', and can be compared only with the torch model that it came from, as was done when it was exported"
        )
    if PREFIX + "graph" not in properties:
        raise MetadataError(f"{path} has damaged specgraph metadata: graph is missing; export it again")
    model = ir.from_proto(onnx.ModelProto.FromString(data))

    def initializer(name: str) -> Array:
        tensor = model.graph.initializers[name].const_value
        if tensor is None:
            raise ValueError(f"{path} has no array for initializer {name!r}")
        return np.asarray(tensor.numpy())

    try:
        graph = from_json(properties[PREFIX + "graph"], initializer)
        changed = digest(graph) != metadata.hash
    except GraphError as error:
        raise MetadataError(f"{path} has damaged specgraph metadata: {error}; export it again") from None
    if changed:
        raise MetadataError(f"{path} was changed after it was written: its definition is not the one that its hash is of; export it again")
    return ReadModel(graph, metadata, *_operators(model))


def read_operators(path: str | Path) -> tuple[int, dict[str, int]]:
    """The number of nodes in any model, and the ONNX operators by how often each is used."""
    return _operators(_loaded(Path(path)))


def _loaded(path: Path) -> Any:
    import onnx_ir as ir

    try:
        return ir.load(path)
    except Exception as error:  # noqa: BLE001  (onnx and onnx_ir have many words for what they cannot read)
        raise ValueError(f"{path} cannot be read as an ONNX model ({type(error).__name__}: {(str(error).splitlines() or [''])[0]:.200})") from None


def _operators(model: Any) -> tuple[int, dict[str, int]]:
    operators: dict[str, int] = {}
    for node in model.graph.all_nodes():
        operators[node.op_type] = operators.get(node.op_type, 0) + 1
    return sum(operators.values()), operators
