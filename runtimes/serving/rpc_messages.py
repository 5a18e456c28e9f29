"""Requests for inference over gRPC, read so that a message of a few bytes never becomes a large object, and answers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from specgraph.runtimes.serving import messages
from specgraph.runtimes.serving.json_text import PAUSE
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.service import Answer
from specgraph.runtimes.serving.tensors import datatype_of, to_bytes
from specgraph.runtimes.wire import VARINT, fields, varint

HEAD_BYTES = 1 << 18  # of a message, besides its tensors
HEAD_FIELDS = 10_000
PIECE = 1 << 16  # bytes of numbers that are read at a time

# Field numbers of messages.py.
REQUEST_INPUTS, REQUEST_RAW = 5, 7
TENSOR_CONTENTS = 5
RESPONSE_RAW = 6
# Where each type's numbers are in a message that has them as numbers and not as raw bytes, and how: as they lie in memory, or as varints.
CONTENTS = {
    "BOOL": 1, "INT8": 2, "INT16": 2, "INT32": 2, "INT64": 3, "UINT8": 4, "UINT16": 4, "UINT32": 4, "UINT64": 5, "FP32": 6, "FP64": 7,
}  # fmt: skip
PLAIN: dict[int, np.dtype[Any]] = {6: np.dtype("<f4"), 7: np.dtype("<f8")}


@dataclass
class InferRequest:
    """A request: ``message`` is all of it but its tensors, ``raw`` and ``contents`` are those, as views of what was received."""

    message: Any
    raw: list[memoryview] = field(default_factory=list)
    contents: list[dict[int, list[memoryview]]] = field(default_factory=list)  # of each input, by field

    def numbers(self, number: int, datatype: str) -> npt.NDArray[Any]:
        """What an input has as numbers."""
        place = CONTENTS[datatype]
        parts = self.contents[number].get(place, [])
        if place in PLAIN:
            if any(len(part) % PLAIN[place].itemsize for part in parts):
                raise ValueError("the numbers of an input end in the midst of one")
            return np.concatenate([np.frombuffer(b"", PLAIN[place]), *(np.frombuffer(part, PLAIN[place]) for part in parts)])
        found = np.concatenate([np.zeros(0, np.uint64), *(_varints(part) for part in parts)])
        return found != 0 if datatype == "BOOL" else found if datatype.startswith("U") else found.view(np.int64)

    @property
    def cost(self) -> int:
        """Bytes that reading the numbers takes."""
        return sum((2 if place in PLAIN else 40) * len(part) for one in self.contents for place, parts in one.items() for part in parts)


def read_request(data: bytes) -> InferRequest:
    """A serialized ``ModelInferRequest``.

    Raises:
        Refusal: it is none, or has too much besides tensors.
    """
    found = InferRequest(None)
    head = _Head()
    try:
        for number, value in fields(memoryview(data)):
            if number == REQUEST_RAW and not isinstance(value, int):
                found.raw.append(value)
                head.count(0)
            elif number == REQUEST_INPUTS and not isinstance(value, int):
                head.add(number, _input(value, found, head))
            else:
                head.add(number, value)
        found.message = messages.message("ModelInferRequest").FromString(bytes(head.encoded))
    except (ValueError, DecodeError) as error:
        raise invalid(f"the message is no ModelInferRequest ({error!s:.100})") from None
    return found


class _Head:
    """What of a message protobuf reads, encoded."""

    def __init__(self) -> None:
        self.encoded = bytearray()
        self.size = self.fields = 0

    def count(self, size: int) -> None:
        self.size, self.fields = self.size + size, self.fields + 1
        if self.size > HEAD_BYTES or self.fields > HEAD_FIELDS:
            raise Refusal(
                Kind.TOO_LARGE, f"the message has more than {HEAD_BYTES:,} bytes or {HEAD_FIELDS:,} fields besides its tensors; "
                "send tensors as raw_input_contents, or packed",
            )  # fmt: skip

    def add(self, number: int, value: int | memoryview | bytes) -> None:
        self.count(10 if isinstance(value, int) else len(value))
        self.encoded += encoded(number, value)


def _input(tensor: memoryview, found: InferRequest, head: _Head) -> bytes:
    """An input without its numbers, which are added to ``found``."""
    kept = bytearray()
    numbers: dict[int, list[memoryview]] = {}
    for number, value in fields(tensor):
        if number == TENSOR_CONTENTS and not isinstance(value, int):
            for place, part in fields(value):
                head.count(10 if isinstance(part, int) else 0)
                numbers.setdefault(place, []).append(memoryview(varint(part)) if isinstance(part, int) else part)
            continue
        head.count(10 if isinstance(value, int) else len(value))
        kept += encoded(number, value)
    found.contents.append(numbers)
    return bytes(kept)


def _varints(data: memoryview) -> npt.NDArray[np.uint64]:
    """Numbers of 7 bits a byte, the lowest first, of which the last byte is below 128."""
    found, begin = [np.zeros(0, np.uint64)], 0
    while begin < len(data):
        piece = np.frombuffer(data[begin : begin + PIECE], np.uint8)
        ends = np.flatnonzero(piece < 128)
        starts = np.concatenate([[0], ends[:-1] + 1]) if ends.size else ends
        lengths = ends - starts + 1
        if not ends.size or lengths.max() > 10:
            raise ValueError("a number does not end")
        values = np.zeros(ends.size, np.uint64)
        for place in range(int(lengths.max())):
            there = lengths > place
            values[there] |= (piece[starts[there] + place] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * place)
        found.append(values)
        begin += int(ends[-1]) + 1
        time.sleep(PAUSE)
    return np.concatenate(found)


def encoded(number: int, value: int | memoryview | bytes) -> bytes:
    """A field of a message."""
    if isinstance(value, int):
        return varint(number << 3 | VARINT) + varint(value)
    return b"".join([varint(number << 3 | 2), varint(len(value)), value])


def write_answer(answer: Answer, identity: str) -> bytes:
    """A serialized ``ModelInferResponse``, whose tensors are copied once."""
    made = messages.message("ModelInferResponse")(model_name=answer.model.name, model_version=answer.model.version, id=identity)
    parts: list[bytes | memoryview] = []
    for name, array in answer.outputs.items():
        made.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        parts += [varint(RESPONSE_RAW << 3 | 2), varint(array.nbytes), to_bytes(array)]
    return b"".join([made.SerializeToString(), *parts])


def parameter(parameters: Mapping[str, Any], name: str) -> Any:
    """The value of a parameter, or None."""
    if name not in parameters:  # asking a map of messages for a key puts it in
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    return getattr(parameters[name], kind) if kind else None
