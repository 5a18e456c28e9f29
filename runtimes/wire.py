"""The little of an ONNX file that must be known before onnxruntime opens it, read without the onnx package.

A file is protocol buffers: fields of a number, a wire type and a value. This walks only the fields that say whether
tensors are kept in other files, and the metadata. No length is trusted beyond the bytes that are there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto3.
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA, MODEL_FUNCTIONS = 1, 7, 8, 14, 25
GRAPH_NODES, GRAPH_INITIALIZERS, GRAPH_SPARSE = 1, 5, 15
NODE_ATTRIBUTES = 5
FUNCTION_NODES = 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
DEEPEST = 32  # graphs within graphs


@dataclass(frozen=True)
class Header:
    """What the file says before it is run; ``locations`` are the files beside it that hold tensors, in order, each once."""

    properties: dict[str, str]
    opsets: dict[str, int]
    ir_version: int
    locations: tuple[str, ...]

    @property
    def external(self) -> bool:
        """Whether tensors are in other files."""
        return bool(self.locations)


def read_header(data: bytes, path: str) -> Header:
    """The header of a model; raises ``ValueError`` in one sentence where ``data`` is not one."""
    try:
        header = _header(memoryview(data))
    except (ValueError, UnicodeDecodeError):
        header = None
    if header is None or not header.opsets or not header.ir_version:
        what = "it is empty" if not data else f"it begins with {bytes(data[:12])!r}"
        raise ValueError(f"{path} is not a whole ONNX model: {what} and holds {len(data)} bytes")
    return header


def _header(model: memoryview) -> Header:
    properties: dict[str, str] = {}
    opsets: dict[str, int] = {}
    ir_version = 0
    locations: dict[str, None] = {}
    for field, value in fields(model):
        if field == MODEL_IR_VERSION and isinstance(value, int):
            ir_version = value
        elif isinstance(value, int):
            continue
        elif field == MODEL_GRAPH:
            locations |= dict.fromkeys(_locations(value, 0))
        elif field == MODEL_FUNCTIONS:
            locations |= dict.fromkeys(_locations_of_nodes(value, FUNCTION_NODES, 0))
        elif field == MODEL_METADATA:
            key, text = _entry(value)
            properties[key] = text
        elif field == MODEL_OPSETS:
            domain, version = "", 0
            for inner, content in fields(value):
                if inner == 1 and not isinstance(content, int):
                    domain = str(content, "utf-8")
                elif inner == 2 and isinstance(content, int):
                    version = content
            opsets[domain] = version
    return Header(properties, opsets, ir_version, tuple(locations))


def _entry(entry: memoryview) -> tuple[str, str]:
    """A key and its value."""
    texts = {field: str(value, "utf-8") for field, value in fields(entry) if not isinstance(value, int)}
    return texts.get(1, ""), texts.get(2, "")


def _locations(graph: memoryview, depth: int) -> Iterator[str]:
    """The files that hold tensors of a graph."""
    if depth > DEEPEST:
        raise ValueError("graphs are nested too deeply")
    yield from _locations_of_nodes(graph, GRAPH_NODES, depth)
    for field, value in fields(graph):
        if isinstance(value, int):
            continue
        if field == GRAPH_INITIALIZERS:
            yield from _location(value)
        elif field == GRAPH_SPARSE:
            for inner, part in fields(value):
                if inner in (1, 2) and not isinstance(part, int):
                    yield from _location(part)


def _locations_of_nodes(owner: memoryview, nodes: int, depth: int) -> Iterator[str]:
    for field, node in fields(owner):
        if field != nodes or isinstance(node, int):
            continue
        for inner, attribute in fields(node):
            if inner != NODE_ATTRIBUTES or isinstance(attribute, int):
                continue
            for kind, value in fields(attribute):
                if isinstance(value, int):
                    continue
                if kind in ATTRIBUTE_TENSORS:
                    yield from _location(value)
                elif kind in ATTRIBUTE_GRAPHS:
                    yield from _locations(value, depth + 1)


def _location(tensor: memoryview) -> Iterator[str]:
    """The file that holds a tensor, "" where the tensor does not name it; nothing where the model holds the tensor itself."""
    external, location = False, ""
    for field, value in fields(tensor):
        external |= field == TENSOR_EXTERNAL or (field == TENSOR_LOCATION and value == 1)
        if field == TENSOR_EXTERNAL and not isinstance(value, int):
            key, text = _entry(value)
            location = text if key == "location" else location
    if external:
        yield location


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field: a number for a varint, else the bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == VARINT:
            number, place = _varint(message, place)
            yield field, number
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if field == 0 or place + size > len(message):
            raise ValueError("a field is longer than the file")
        yield field, message[place : place + size]
        place += size


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    number = shift = 0
    while place < len(message) and shift < 70:
        byte = message[place]
        place += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, place
        shift += 7
    raise ValueError("a number does not end")
