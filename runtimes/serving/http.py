"""The protocol over HTTP, with audio files and .npy besides: an ASGI application."""

from __future__ import annotations

import asyncio
import io
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specgraph.runtimes.serving import audio
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.service import Answer, Service, checked_seconds
from specgraph.runtimes.serving.tensors import (
    checked_datatype,
    checked_shape,
    datatype_of,
    from_bytes,
    from_values,
    to_bytes,
)

HEADER_LENGTH = "inference-header-content-length"
BINARY, NPY = "application/octet-stream", "application/x-npy"
LARGE = 1 << 16  # bytes of JSON above which it is read in a thread, while others are answered
RETRY_SECONDS = "1"
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

Handler = Callable[[Request], Awaitable[Response]]


def application(service: Service) -> Starlette:
    """The application for uvicorn, or any other ASGI server."""

    def answering(handler: Callable[[Service, Request], Awaitable[Response]]) -> Handler:
        async def answered(request: Request) -> Response:
            try:
                return await handler(service, request)
            except Refusal as refusal:
                return _refused(refusal)

        return answered

    paths: list[tuple[str, Callable[[Service, Request], Awaitable[Response]], str]] = [
        ("/v2", _server, "GET"),
        ("/v2/health/live", _live, "GET"),
        ("/v2/health/ready", _ready, "GET"),
        ("/metrics", _metrics, "GET"),
    ]
    for prefix in ("/v2/models/{name}", "/v2/models/{name}/versions/{version}"):
        paths += [(prefix, _model, "GET"), (f"{prefix}/ready", _model_ready, "GET"), (f"{prefix}/infer", _infer_counted, "POST")]
    routes = [Route(path, answering(handler), methods=[method]) for path, handler, method in paths]
    return Starlette(routes=routes, exception_handlers={HTTPException: _no_such_path})


async def _server(service: Service, _: Request) -> Response:
    return JSONResponse(service.server_metadata())


async def _live(_: Service, __: Request) -> Response:
    return JSONResponse({"live": True})


async def _ready(service: Service, _: Request) -> Response:
    return JSONResponse({"ready": not service.closing}, 503 if service.closing else 200)


async def _metrics(service: Service, _: Request) -> Response:
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


async def _model(service: Service, request: Request) -> Response:
    return JSONResponse(service.model_metadata(*_named(request)))


async def _model_ready(service: Service, request: Request) -> Response:
    name, version = _named(request)
    service.repository.get(name, version)
    return JSONResponse({"name": name, "ready": not service.closing}, 503 if service.closing else 200)


async def _infer_counted(service: Service, request: Request) -> Response:
    try:
        response = await _infer(service, request)
    except Refusal as refusal:
        response = _refused(refusal)
    except ClientDisconnect:
        response = _refused(invalid("the client went away"))
    service.count("http", *_named(request), response.status_code)
    return response


async def _infer(service: Service, request: Request) -> Response:
    model = service.repository.get(*_named(request))
    body = await _body(request, service.limits.request_bytes, service.limits.arrival)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(("audio/", "video/")) or (kind == BINARY and HEADER_LENGTH not in request.headers):
        clip = await _in_thread(audio.decoded, model, body)
        answer = await _unless_gone(request, service.infer(model, clip, None, None))
        return await _in_thread(_written, answer, "", {}, _accepted(request))
    head, tensors = await _read(request, body)
    seconds = checked_seconds(_parameters(head).get("timeout"))
    declared = {one["name"]: one["datatype"] for one in model.inputs}
    arrays = {}
    for sent in tensors:
        name = sent["name"]
        if name not in declared:
            raise invalid(f"{model.name} has no input {name!r:.60}; it takes {', '.join(declared)}")
        shape, dtype = checked_shape(name, sent.get("shape")), checked_datatype(name, sent.get("datatype"), declared[name])
        raw = sent.get("raw")
        arrays[name] = from_values(name, sent.get("data"), shape, dtype) if raw is None else from_bytes(name, raw, shape, dtype)
    wanted = _objects(head, "outputs")
    answer = await _unless_gone(request, service.infer(model, arrays, [one["name"] for one in wanted], seconds))
    everything = bool(_parameters(head).get("binary_data_output", False))
    binary = {one["name"]: bool(_parameters(one).get("binary_data", everything)) for one in wanted}
    binary = binary or dict.fromkeys(answer.outputs, everything)
    accepted = NPY if _accepted(request) == NPY else ""
    return await _in_thread(_written, answer, str(head.get("id", "")), binary, accepted)


async def _body(request: Request, most: int, seconds: float) -> bytes:
    """All of a request, uncompressed."""
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > most:
        raise _too_large(most)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding not in ("identity", *WINDOWS):
        raise Refusal(Kind.UNSUPPORTED, f"Content-Encoding must be gzip, deflate or none, not {encoding:.40}")
    unpacked = zlib.decompressobj(WINDOWS[encoding]) if encoding in WINDOWS else None
    found = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                found += unpacked.decompress(chunk, most + 1 - len(found)) if unpacked else chunk
                if len(found) > most or (unpacked and unpacked.unconsumed_tail):
                    raise _too_large(most)
    except TimeoutError:
        raise Refusal(Kind.SLOW, f"the request did not arrive within {seconds:g} s") from None
    except zlib.error:
        raise invalid(f"the request is not {encoding}, which its Content-Encoding says it is") from None
    return bytes(found)


def _too_large(most: int) -> Refusal:
    return Refusal(Kind.TOO_LARGE, f"the request has more than {most:,} bytes, the most that this server takes; send fewer or shorter clips")


async def _read(request: Request, body: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON of a request, and its inputs; raw bytes, where an input has them, as ``raw``."""
    stated = request.headers.get(HEADER_LENGTH)
    if stated is not None and not (stated.isdigit() and int(stated) <= len(body)):
        raise invalid(f"Inference-Header-Content-Length is {stated!r:.40}, and the request has {len(body)} bytes")
    at = len(body) if stated is None else int(stated)
    text = body[:at]
    head = await _in_thread(_parsed, text) if len(text) > LARGE else _parsed(text)
    tensors = _objects(head, "inputs")
    if not tensors:
        raise invalid("the request has no inputs; send {\"inputs\": [{\"name\": ..., \"shape\": ..., \"datatype\": ..., \"data\": ...}]}")
    names = [one["name"] for one in tensors]
    if len(set(names)) < len(names):
        raise invalid(f"an input is sent twice: {', '.join(names)}")
    for one in tensors:
        size = _parameters(one).get("binary_data_size")
        if size is None:
            continue
        if not isinstance(size, int) or not 0 <= size <= len(body) - at:
            raise invalid(f"binary_data_size of {one['name']} is {size!r:.40}, and {len(body) - at} bytes follow the inputs before it")
        one["raw"] = memoryview(body)[at : at + size]
        at += size
    if at != len(body):
        raise invalid(f"{len(body) - at} bytes follow the inputs, of which none says that they are its own")
    return head, tensors


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise invalid(f"the request is not JSON ({error!s:.100}); an audio file needs a Content-Type such as audio/wav") from None
    if not isinstance(head, dict):
        raise invalid('the request must be a JSON object with "inputs"')
    return head


def _objects(head: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = head.get(key) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in found):
        raise invalid(f'"{key}" must be a list of objects that each have a "name"')
    return [dict(one) for one in found]


def _parameters(part: Mapping[str, Any]) -> Mapping[str, Any]:
    found = part.get("parameters") or {}
    if not isinstance(found, dict):
        raise invalid('"parameters" must be an object')
    return found


def _accepted(request: Request) -> str:
    """How features of an audio file are wanted: .npy, raw bytes, or nothing for JSON."""
    accept = request.headers.get("accept", "")
    return next((kind for kind in (NPY, BINARY) if kind in accept), "")


def _written(answer: Answer, identity: str, binary: Mapping[str, bool], accepted: str) -> Response:
    model, outputs = answer.model, answer.outputs
    if accepted == NPY:
        file = io.BytesIO()
        np.save(file, next(iter(outputs.values())), allow_pickle=False)
        return Response(file.getvalue(), media_type=NPY)
    described: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for name, array in outputs.items():
        one: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if binary.get(name, accepted == BINARY):
            raw.append(to_bytes(array))
            one["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            one["data"] = array.ravel().tolist()
        described.append(one)
    head = {"model_name": model.name, "model_version": model.version, "outputs": described} | ({"id": identity} if identity else {})
    try:
        text = json.dumps(head, separators=(",", ":"), allow_nan=False).encode()
    except ValueError:
        raise invalid("an output has values that are not finite, which JSON has no numbers for; ask for binary data") from None
    if not raw:
        return Response(text, media_type="application/json")
    return Response(b"".join([text, *raw]), media_type=BINARY, headers={HEADER_LENGTH: str(len(text))})


async def _unless_gone(request: Request, answer: Any) -> Answer:
    """An answer, given up where the client closes the connection before it is there."""
    task = asyncio.ensure_future(answer)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((task, gone), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function, *arguments)


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": RETRY_SECONDS} if refusal.kind is Kind.FULL else None
    return JSONResponse({"error": str(refusal)}, refusal.kind.http, headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.url.path} is not part of the protocol; inference is POST /v2/models/NAME/infer"
    return JSONResponse({"error": sentence}, error.status_code)
