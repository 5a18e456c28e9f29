"""What the protocol sends over HTTP: bodies, their JSON and what stands behind it, and answers."""

from __future__ import annotations

import asyncio
import collections
import io
import json
import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from specgraph.runtimes.serving import json_text
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.service import Answer, check_parameters
from specgraph.runtimes.serving.tensors import datatype_of, to_bytes

HEADER_LENGTH = "inference-header-content-length"
BINARY, NPY = "application/octet-stream", "application/x-npy"
LARGE = 1 << 16  # bytes of JSON above which it is read in a thread, while others are answered
UNPACKED = 1 << 20  # bytes that are unpacked at a time
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


async def read_body(request: Request, most: int, seconds: float) -> bytes:
    """All of a request, uncompressed."""
    stated = request.headers.get("content-length", "")
    if _is_size(stated) and int(stated) > most:
        raise _too_large(most)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", *WINDOWS):
        raise Refusal(Kind.UNSUPPORTED, f"Content-Encoding must be gzip, deflate or none, not {encoding:.40}")
    unpacked = zlib.decompressobj(WINDOWS[encoding]) if encoding in WINDOWS else None
    found = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                async for part in _unpacked(unpacked, chunk):
                    found += part
                    if len(found) > most:
                        raise _too_large(most)
        if unpacked and (not unpacked.eof or unpacked.unused_data):
            raise zlib.error
    except TimeoutError:
        raise Refusal(Kind.SLOW, f"the request did not arrive within {seconds:g} s") from None
    except zlib.error:
        raise invalid(f"the request is not {encoding}, or not all of it or more, which its Content-Encoding says it is") from None
    return bytes(found)


async def _unpacked(unpacked: Any, chunk: bytes) -> AsyncIterator[bytes]:
    """What a chunk of a request holds, of which little may become much: others are answered in between."""
    if unpacked is None:
        yield chunk
        return
    while True:
        if unpacked.eof and chunk:  # which zlib would keep, however much of it comes
            raise zlib.error
        part = unpacked.decompress(chunk, UNPACKED)
        yield part
        chunk = unpacked.unconsumed_tail
        if not chunk and len(part) < UNPACKED:
            return
        await asyncio.sleep(0)


def _too_large(most: int) -> Refusal:
    return Refusal(Kind.TOO_LARGE, f"the request has more than {most:,} bytes, the most that this server takes; send fewer or shorter clips")


def _is_size(text: str) -> bool:
    """Whether it is a number of bytes; Python counts superscripts among digits, and reads no number of thousands of them."""
    return text.isdecimal() and len(text) < 20


async def read_tensors(request: Request, body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON of a request, and its inputs; raw bytes, where an input has them, as ``raw``."""
    stated = request.headers.get(HEADER_LENGTH)
    if stated is not None and not (_is_size(stated) and int(stated) <= len(body)):
        raise invalid(f"Inference-Header-Content-Length is {stated!r:.40}, and the request has {len(body)} bytes")
    at = len(body) if stated is None else int(stated)
    text = body[:at]
    head = await in_thread(_parsed, text) if len(text) > LARGE else _parsed(text)
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


def written(answer: Answer, identity: str, binary: Mapping[str, bool], accepted: str) -> Response:
    """An answer as JSON, with what ``binary`` names as raw bytes behind it; or its first output as .npy."""
    model, outputs = answer.model, answer.outputs
    if accepted == NPY:
        file = io.BytesIO()
        np.save(file, next(iter(outputs.values())), allow_pickle=False)
        return Response(file.getvalue(), media_type=NPY)
    described: list[bytes] = []
    raw: list[bytes] = []
    for name, array in outputs.items():
        one: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if binary.get(name, accepted == BINARY):
            raw.append(to_bytes(array))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
            described.append(_compact(one))
            continue
        try:
            described.append(b'%b,"data":%b}' % (_compact(one)[:-1], json_text.numbers(array)))
        except ValueError:
            raise invalid("an output has values that are not finite, which JSON has no numbers for; ask for binary data") from None
    head = _compact({"model_name": model.name, "model_version": model.version} | ({"id": identity} if identity else {}))
    text = b'%b,"outputs":[%b]}' % (head[:-1], b",".join(described))
    if not raw:
        return Response(text, media_type="application/json")
    return Response(b"".join([text, *raw]), media_type=BINARY, headers={HEADER_LENGTH: str(len(text))})


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


async def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function that takes long while others are answered."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)
