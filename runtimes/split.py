"""A model in two: what comes before some of its values, and what comes after them. Without the onnx package.

A file is protocol buffers, and a model without some nodes, with other inputs or outputs, is the same fields less some.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from specgraph.runtimes.wire import BYTES, GRAPH_INITIALIZERS, GRAPH_NODES, MODEL_GRAPH, MODEL_METADATA, fields, varint

NODE_INPUTS, NODE_OUTPUTS = 1, 2
TENSOR_NAME = 8
GRAPH_INPUTS, GRAPH_OUTPUTS, GRAPH_VALUES = 11, 12, 13
FLOAT = b"\x12\x04\x0a\x02\x08\x01"  # ValueInfoProto.type = {tensor_type = {elem_type = FLOAT}}


def before(data: bytes, values: Collection[str]) -> bytes:
    """The model whose outputs are these values of ``data``, and its outputs of these names."""
    model = _Model(data)
    return model.with_nodes(model.needed(values, ()), None, values)


def after(data: bytes, values: Collection[str], outputs: Collection[str]) -> bytes:
    """The model that makes ``outputs`` of ``data`` of these values.

    ``values`` must be all that the outputs read of what comes before: exporting sees to that.
    """
    model = _Model(data)
    nodes = model.needed(outputs, values)
    return model.with_nodes(nodes, values, outputs)


class _Model:
    def __init__(self, data: bytes) -> None:
        self._fields = list(fields(memoryview(data)))
        self._graph = next(value for field, value in self._fields if field == MODEL_GRAPH and not isinstance(value, int))
        nodes = [value for field, value in fields(self._graph) if field == GRAPH_NODES and not isinstance(value, int)]
        self.reads = [_texts(node, NODE_INPUTS) for node in nodes]
        makes = [_texts(node, NODE_OUTPUTS) for node in nodes]
        self._maker = {name: number for number, names in enumerate(makes) for name in names}

    def needed(self, wanted: Iterable[str], given: Collection[str]) -> set[int]:
        """The nodes that make what is wanted of what is given."""
        found: set[int] = set()
        left = [name for name in wanted if name not in given]
        while left:
            number = self._maker.get(left.pop())
            if number is not None and number not in found:
                found.add(number)
                left += [name for name in self.reads[number] if name not in given]
        return found

    def with_nodes(self, nodes: Collection[int], inputs: Collection[str] | None, outputs: Collection[str]) -> bytes:
        """The model with some of its nodes and other ends; ``inputs`` None keeps them as they are.

        What is no output of the model is float32, of any shape.
        """
        read = {name for number in nodes for name in self.reads[number]}
        graph = bytearray()
        number = -1
        for field, value in fields(self._graph):
            number += field == GRAPH_NODES
            left_out = (
                field in (GRAPH_OUTPUTS, GRAPH_VALUES)
                or (field == GRAPH_INPUTS and inputs is not None)
                or (field == GRAPH_NODES and number not in nodes)
                or (field == GRAPH_INITIALIZERS and not read & set(_texts(value, TENSOR_NAME)))
            )
            if not left_out:
                graph += _field(field, value)
        known = {_texts(value, 1)[0]: value for field, value in fields(self._graph) if field == GRAPH_OUTPUTS}
        for field, names in ((GRAPH_INPUTS, inputs or ()), (GRAPH_OUTPUTS, outputs)):
            for name in names:
                graph += _field(field, known.get(name, _field(1, name.encode()) + FLOAT))
        kept = ((field, value) for field, value in self._fields if field != MODEL_METADATA)
        return b"".join(_field(field, graph if field == MODEL_GRAPH else value) for field, value in kept)


def _texts(message: int | memoryview, wanted: int) -> list[str]:
    """The strings in a field of a message."""
    assert not isinstance(message, int)
    return [str(value, "utf-8") for field, value in fields(message) if field == wanted and not isinstance(value, int)]


def _field(number: int, value: int | bytes | bytearray | memoryview) -> bytes:
    """A field as it is written; models and graphs have numbers and bytes only."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | BYTES) + varint(len(value)) + bytes(value)
