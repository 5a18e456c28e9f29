"""The little of an ONNX file that must be known before onnxruntime opens it, read without the onnx package.

A file is protocol buffers: fields of a number, a wire type and a value. This walks only the fields that say whether
tensors are kept in other files, and the metadata. No length is trusted beyond the bytes that are there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Field numbers of onnx.proto3.
MODEL_IR_VERSION, MODEL_GRAPH, MODEL_OPSETS, MODEL_METADATA, MODEL_FUNCTIONS = 1, 7, 8, 14, 25
MODEL_LAST = 30  # a few above the last field that there is
# producer_name, producer_version, domain, model_version, doc_string: they decide no result
MODEL_NOTES = (2, 3, 4, 5, 6)
GRAPH_NODES, GRAPH_INITIALIZERS, GRAPH_SPARSE = 1, 5, 15
NODE_ATTRIBUTES = 5
FUNCTION_NODES = 7
ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = (5, 10), (6, 11)
TENSOR_EXTERNAL, TENSOR_LOCATION = 13, 14
DEEPEST = 32  # graphs within graphs
FIRST = 4096  # bytes at the start of a file that show whether it can be a model
MOST_FIELDS = 10_000_000  # that are walked: a graph of 100,000 nodes has about a million


@dataclass(frozen=True)
class Header:
    """What the file says before it is run; ``external`` names the files that hold its other tensors, from its folder."""

    properties: dict[str, str] = field(default_factory=dict)
    opsets: dict[str, int] = field(default_factory=dict)
    ir_version: int = 0
    external: frozenset[str] = frozenset()


def read_header(data: bytes, path: str) -> Header:
    """The header of a model; raises ``ValueError`` in one sentence where ``data`` is not one."""
    try:
        header = _Walk().model(memoryview(data))
    except (ValueError, UnicodeDecodeError):
        header = None
    if header is None or not header.opsets or not header.ir_version:
        raise _no_model(data, len(data), path)
    return header


def check_start(start: bytes, size: int, path: str) -> None:
    """Raise ``ValueError`` where the first field of a file of ``size`` bytes is none of a model's."""
    try:
        key, _ = _varint(memoryview(start), 0)
    except ValueError:
        raise _no_model(start, size, path) from None
    number, kind = key >> 3, key & 7
    if not 1 <= number <= MODEL_LAST or kind not in (VARINT, BYTES):
        raise _no_model(start, size, path)


def _no_model(start: bytes, size: int, path: str) -> ValueError:
    what = "it is empty" if not size else f"it begins with {bytes(start[:12])!r}"
    return ValueError(f"{path} is not a whole ONNX model: {what} and holds {size} bytes")


def checksum(data: bytes, properties: Mapping[str, str]) -> str:
    """SHA-256 over ``properties`` and all of a model that decides a result: graph, functions, opsets and IR version.

    Left out are the notes on who wrote it, and the metadata in ``data``: a note that is added changes no result.
    """
    found = hashlib.sha256()

    def add(*parts: bytes | memoryview) -> None:
        for part in parts:
            found.update(len(part).to_bytes(8, "little"))  # so that no two lists of parts are the same bytes
            found.update(part)

    for key in sorted(properties):
        add(key.encode(), properties[key].encode())
    left_out = (*MODEL_NOTES, MODEL_METADATA)
    counted = [(number, value) for number, value in fields(memoryview(data)) if number not in left_out]
    for number, value in sorted(counted, key=lambda one: one[0]):  # writers may put fields in any order
        add(str(number).encode(), str(value).encode() if isinstance(value, int) else value)
    return found.hexdigest()


def metadata_entry(key: str, text: str) -> bytes:
    """A property of a model as its file holds it: it may be appended to one."""
    entry = b"".join(_bytes_field(number, value.encode()) for number, value in ((1, key), (2, text)))
    return _bytes_field(MODEL_METADATA, entry)


def varint(number: int) -> bytes:
    """A number as protocol buffers hold it."""
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    return bytes([*result, number])


def _bytes_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | BYTES) + varint(len(value)) + value


class _Walk:
    """What is found in a model; the number of fields that are looked at is bounded."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self.opsets: dict[str, int] = {}
        self.ir_version = 0
        self.external: set[str] = set()
        self._left = MOST_FIELDS

    def model(self, model: memoryview) -> Header:
        for number, value in self._fields(model):
            if number == MODEL_IR_VERSION and isinstance(value, int):
                self.ir_version = value
            elif isinstance(value, int):
                continue
            elif number == MODEL_GRAPH:
                self._graph(value, 0)
            elif number == MODEL_FUNCTIONS:
                self._nodes(value, FUNCTION_NODES, 0)
            elif number == MODEL_METADATA:
                key, text = _entry(value)
                self.properties[key] = text
            elif number == MODEL_OPSETS:
                self._opset(value)
        return Header(self.properties, self.opsets, self.ir_version, frozenset(self.external))

    def _fields(self, message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
        for one in fields(message):
            self._left -= 1
            if self._left < 0:
                raise ValueError("there are too many fields")
            yield one

    def _opset(self, opset: memoryview) -> None:
        domain, version = "", 0
        for number, value in self._fields(opset):
            if number == 1 and not isinstance(value, int):
                domain = str(value, "utf-8")
            elif number == 2 and isinstance(value, int):
                version = value
        self.opsets[domain] = version

    def _graph(self, graph: memoryview, depth: int) -> None:
        if depth > DEEPEST:
            raise ValueError("graphs are nested too deeply")
        self._nodes(graph, GRAPH_NODES, depth)
        for number, value in self._fields(graph):
            if isinstance(value, int):
                continue
            if number == GRAPH_INITIALIZERS:
                self._tensor(value)
            elif number == GRAPH_SPARSE:
                for inner, part in self._fields(value):
                    if inner in (1, 2) and not isinstance(part, int):
                        self._tensor(part)

    def _nodes(self, owner: memoryview, nodes: int, depth: int) -> None:
        for number, node in self._fields(owner):
            if number != nodes or isinstance(node, int):
                continue
            for inner, attribute in self._fields(node):
                if inner == NODE_ATTRIBUTES and not isinstance(attribute, int):
                    self._attribute(attribute, depth)

    def _attribute(self, attribute: memoryview, depth: int) -> None:
        for kind, value in self._fields(attribute):
            if isinstance(value, int):
                continue
            if kind in ATTRIBUTE_TENSORS:
                self._tensor(value)
            elif kind in ATTRIBUTE_GRAPHS:
                self._graph(value, depth + 1)

    def _tensor(self, tensor: memoryview) -> None:
        elsewhere, location = False, ""
        for number, value in self._fields(tensor):
            if number == TENSOR_EXTERNAL:
                key, text = ("", "") if isinstance(value, int) else _entry(value)
                elsewhere, location = True, text if key == "location" else location
            elif number == TENSOR_LOCATION and value == 1:
                elsewhere = True
        if elsewhere:
            self.external.add(location)


def _entry(entry: memoryview) -> tuple[str, str]:
    """A key and its value."""
    texts = {number: str(value, "utf-8") for number, value in fields(entry) if not isinstance(value, int)}
    return texts.get(1, ""), texts.get(2, "")


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(number, value) of every field: a number for a varint, else the bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has number 0")
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise ValueError(f"wire type {kind}")
        if place + size > len(message):
            raise ValueError("a field is longer than the file")
        yield number, message[place : place + size]
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
