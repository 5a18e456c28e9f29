"""What the protocol sends over HTTP: bodies, their JSON and what stands behind it, and answers."""

from __future__ import annotations

import collections
import io
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from specgraph.runtimes.serving import json_text
from specgraph.runtimes.serving.budget import Holding
from specgraph.runtimes.serving.connections import ABORT
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.service import Answer, Service, check_parameters
from specgraph.runtimes.serving.tensors import datatype_of, to_bytes

HEADER_LENGTH = "inference-header-content-length"
BINARY, NPY = "application/octet-stream", "application/x-npy"
LARGE = 1 << 16  # bytes of JSON above which it is read in a thread, while others are answered
UNPACKED = 1 << 20  # bytes that are unpacked at a time
JOINED = 1 << 20  # bytes of a body above which Python joins parts of it without its lock
SMALL = 1 << 16  # bytes of an answer that is sent at once
PIECE = 1 << 18  # bytes of an answer that are sent at a time
A_NUMBER = 24  # bytes that reading JSON takes for each number
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_body(request: Request, service: Service, holding: Holding) -> bytes:
    """All of a request, uncompressed."""
    most, seconds = service.limits.request_bytes, service.limits.arrival
    stated = request.headers.get("content-length", "")
    if _is_size(stated) and int(stated) > most:
        raise _too_large(most)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", *WINDOWS):
        raise Refusal(Kind.UNSUPPORTED, f"Content-Encoding must be gzip, deflate or none, not {encoding:.40}")
    unpacked = zlib.decompressobj(WINDOWS[encoding]) if encoding in WINDOWS else None
    whole: list[bytes] = []
    found, size = bytearray(), 0
    try:
        async with holding.within(seconds, "the request did not arrive"):
            async for chunk in request.stream():
                async for part in _unpacked(service, unpacked, chunk):
                    size += len(part)
                    if size > most:
                        raise _too_large(most)
                    holding.hold(size)
                    if len(part) < PIECE:  # many small ones would take more memory than what they hold
                        found += part
                    if len(found) > JOINED or (found and len(part) >= PIECE):
                        whole.append(bytes(found))
                        found.clear()
                    if len(part) >= PIECE:
                        whole.append(part)
        if unpacked and (not unpacked.eof or unpacked.unused_data):
            raise zlib.error
    except zlib.error:
        raise invalid(f"the request is not {encoding}, or not all of it or more, which its Content-Encoding says it is") from None
    if not whole:
        return bytes(found)
    holding.add(size)
    joined = await service.aside(b"".join, [*whole, bytes(found)])
    holding.add(-size)
    return joined


async def _unpacked(service: Service, unpacked: Any, chunk: bytes) -> AsyncIterator[bytes]:
    """What a chunk of a request holds, of which little may become much: others are answered in between."""
    if unpacked is None:
        yield chunk
        return
    while True:
        if unpacked.eof and chunk:  # which zlib would keep, however much of it comes
            raise zlib.error
        part = await service.unpack(unpacked.decompress, chunk, UNPACKED)
        yield part
        chunk = unpacked.unconsumed_tail
        if not chunk and len(part) < UNPACKED:
            return


def _too_large(most: int) -> Refusal:
    return Refusal(Kind.TOO_LARGE, f"the request has more than {most:,} bytes, the most that this server takes; send fewer or shorter clips")


def _is_size(text: str) -> bool:
    """Whether it is a number of bytes; Python counts superscripts among digits, and reads no number of thousands of them."""
    return text.isdecimal() and len(text) < 20


async def read_tensors(request: Request, body: bytes, service: Service, holding: Holding) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON of a request, and its inputs; raw bytes, where an input has them, as ``raw``."""
    stated = request.headers.get(HEADER_LENGTH)
    if stated is not None and not (_is_size(stated) and int(stated) <= len(body)):
        raise invalid(f"Inference-Header-Content-Length is {stated!r:.40}, and the request has {len(body)} bytes")
    at = len(body) if stated is None else int(stated)
    text = body[:at]
    if len(text) > LARGE:
        holding.add(A_NUMBER * await service.aside(json_text.commas, text))
        head = await service.aside(_parsed, text)
    else:
        head = _parsed(text)
    tensors = objects(head, "inputs")
    if not tensors:
        raise invalid("the request has no inputs; send {\"inputs\": [{\"name\": ..., \"shape\": ..., \"datatype\": ..., \"data\": ...}]}")
    name, times = collections.Counter(one["name"] for one in tensors).most_common(1)[0]
    if times > 1:
        raise invalid(f"the input {name!r:.60} is sent twice")
    for one in (*tensors, *objects(head, "outputs")):
        check_parameters(one["name"], parameters_of(one))
    for one in tensors:
        size = parameters_of(one).get("binary_data_size")
        if size is None:
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(body) - at:
            raise invalid(f"binary_data_size of {one['name']!r:.60} is {size!r:.40}, and {len(body) - at} bytes follow the inputs before it")
        one["raw"] = memoryview(body)[at : at + size]
        at += size
    if at != len(body):
        raise invalid(f"{len(body) - at} bytes follow the inputs, of which none says that they are its own")
    return head, tensors


def _parsed(text: bytes) -> dict[str, Any]:
    if not text.strip():
        raise invalid("the request is empty; send an audio file, or tensors as JSON")
    try:
        head = json_text.read(text) if len(text) > LARGE else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request is not JSON ({error!s:.100}); an audio file needs a Content-Type such as audio/wav") from None
    if not isinstance(head, dict):
        raise invalid('the request must be a JSON object with "inputs"')
    return head


def objects(head: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The named objects that a request lists under a key."""
    found = head.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in found):
        raise invalid(f'"{key}" must be a list of objects that each have a "name"')
    return [dict(one) for one in found]


def parameters_of(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters of a request, or of a tensor in it."""
    found = part.get("parameters") or {}
    if not isinstance(found, dict):
        raise invalid('"parameters" must be an object')
    return found


async def response(answer: Answer, identity: str, binary: Mapping[str, bool], accepted: str, service: Service, holding: Holding) -> Response:
    """An answer as JSON, with what ``binary`` names as raw bytes after it; or its first output as .npy. It closes ``holding`` when it is sent."""
    size = sum(array.nbytes for array in answer.outputs.values())
    if size <= SMALL:
        kind, parts, headers = written(answer, identity, binary, accepted)
        holding.close()
        return Response(b"".join(pieces(parts)), media_type=kind, headers=headers)
    kind, parts, headers = await service.aside(written, answer, identity, binary, accepted)
    holding.hold(size)
    lengths = [len(part) for part in parts if not isinstance(part, np.ndarray)]
    if len(lengths) == len(parts):
        headers["content-length"] = str(sum(lengths))
    return Pieces(pieces(parts), kind, headers, service, holding)


class Pieces(Response):
    """An answer that is sent piece by piece as its client reads it, and holds memory until then."""

    def __init__(self, parts: Iterator[bytes | memoryview], kind: str, headers: dict[str, str], service: Service, holding: Holding) -> None:
        super().__init__(media_type=kind)
        del self.headers["content-length"]
        self.headers.update(headers)
        self._parts, self._service, self._holding = parts, service, holding

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send it."""
        abort = scope.get("extensions", {}).get(ABORT, {}).get("call", lambda: None)
        try:
            with self._holding.waits(abort):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while not self._holding.evicted and (piece := await self._service.aside(next, self._parts, None)) is not None:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                if not self._holding.evicted:
                    await send({"type": "http.response.body", "body": b""})
        finally:
            self._holding.close()


Part = bytes | memoryview | np.ndarray  # an array is sent as JSON numbers


def written(answer: Answer, identity: str, binary: Mapping[str, bool], accepted: str) -> tuple[str, list[Part], dict[str, str]]:
    """The content type of an answer, the parts of its body, and headers."""
    model, outputs = answer.model, answer.outputs
    if accepted == NPY:
        array = np.ascontiguousarray(next(iter(outputs.values())))
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        return NPY, [file.getvalue(), to_bytes(array)], {}
    head = {"model_name": model.name, "model_version": model.version} | ({"id": identity} if identity else {})
    parts: list[Part] = [_compact(head)[:-1] + b',"outputs":[']
    raw: list[Part] = []
    for name, array in outputs.items():
        one: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        parts += [b","] * (len(parts) > 1)
        if binary.get(name, accepted == BINARY):
            raw.append(to_bytes(array))
            parts.append(_compact(one | {"parameters": {"binary_data_size": len(raw[-1])}}))
            continue
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise invalid("an output has values that are not finite, which JSON has no numbers for; ask for binary data")
        parts += [_compact(one)[:-1] + b',"data":', array, b"}"]
    parts.append(b"]}")
    if not raw:
        return "application/json", parts, {}
    text = b"".join(pieces(parts))
    return BINARY, [text, *raw], {HEADER_LENGTH: str(len(text))}


def pieces(parts: Sequence[Part]) -> Iterator[bytes | memoryview]:
    """The parts of a body, none of them long."""
    for part in parts:
        if isinstance(part, np.ndarray):
            yield from json_text.pieces(part)
            continue
        for at in range(0, len(part), PIECE):
            yield part[at : at + PIECE]


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
