"""The protocol over HTTP, with audio files and .npy besides: an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from specgraph.runtimes.serving import audio
from specgraph.runtimes.serving.budget import Holding
from specgraph.runtimes.serving.http_bodies import (
    BINARY,
    HEADER_LENGTH,
    LARGE,
    NPY,
    objects,
    parameters_of,
    read_body,
    read_tensors,
    response,
)
from specgraph.runtimes.serving.models import Arrays, ServedModel
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid, unforeseen
from specgraph.runtimes.serving.service import Answer, Service, checked_seconds
from specgraph.runtimes.serving.tensors import (
    checked_datatype,
    checked_shape,
    from_bytes,
    from_values,
)

RETRY_SECONDS = "1"

Handler = Callable[[Request], Awaitable[Response]]


def application(service: Service) -> Starlette:
    """The application for uvicorn, or any other ASGI server."""

    def answering(handler: Callable[[Service, Request], Awaitable[Response]]) -> Handler:
        async def answered(request: Request) -> Response:
            try:
                return await handler(service, request)
            except Refusal as refusal:
                return _refused(refusal)
            except Exception as error:  # noqa: BLE001
                return _refused(unforeseen(error))

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
    made = Starlette(routes=routes, exception_handlers={HTTPException: _no_such_path})
    made.router.redirect_slashes = False
    return made


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
    service.gate.arrive()
    holding = Holding(service.budget)
    answered = False
    try:
        answer = await _infer(service, request, holding)
        answered = True
    except Refusal as refusal:
        answer = _refused(refusal)
    except ClientDisconnect:
        answer = _refused(invalid("the client went away"))
    except Exception as error:  # noqa: BLE001
        answer = _refused(unforeseen(error))
    finally:
        if not answered:
            holding.close()
    service.count("http", *_named(request), answer.status_code)
    await service.gate.leave()
    return answer


async def _infer(service: Service, request: Request, holding: Holding) -> Response:
    model = service.repository.get(*_named(request))
    body = await read_body(request, service, holding)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind.startswith(("audio/", "video/")) or (kind == BINARY and HEADER_LENGTH not in request.headers):
        answer = await _unless_gone(request, _of_audio(service, model, body, holding))
        return await response(answer, "", {}, _accepted(request), service, holding)
    if kind == "multipart/form-data":
        raise Refusal(Kind.UNSUPPORTED, "a form is not taken; send the file alone, as curl --data-binary does, with a Content-Type such as audio/wav")
    head, tensors = await read_tensors(request, body, service, holding)
    seconds = checked_seconds(parameters_of(head).get("timeout"))
    slow = len(body) > LARGE and any("raw" not in sent for sent in tensors)
    arrays = await service.aside(_arrays, model, tensors) if slow else _arrays(model, tensors)
    wanted = objects(head, "outputs")
    answer = await _unless_gone(request, service.infer(model, arrays, [one["name"] for one in wanted], seconds, holding))
    everything = bool(parameters_of(head).get("binary_data_output", False))
    binary = {one["name"]: bool(parameters_of(one).get("binary_data", everything)) for one in wanted}
    binary = binary or dict.fromkeys(answer.outputs, everything)
    accepted = NPY if _accepted(request) == NPY else ""
    return await response(answer, "" if head.get("id") is None else str(head["id"]), binary, accepted, service, holding)


async def _of_audio(service: Service, model: ServedModel, body: bytes, holding: Holding) -> Answer:
    return await service.infer(model, await audio.decoded(service, model, body, holding), None, None, holding)


def _arrays(model: ServedModel, tensors: Sequence[Mapping[str, Any]]) -> Arrays:
    """The inputs of a request as arrays, by name."""
    found = {}
    for sent in tensors:
        name = sent["name"]
        wanted_type = model.datatype(name)
        shape, dtype = checked_shape(name, sent.get("shape")), checked_datatype(name, sent.get("datatype"), wanted_type)
        raw = sent.get("raw")
        found[name] = from_values(name, sent.get("data"), shape, dtype) if raw is None else from_bytes(name, raw, shape, dtype)
    return found


def _accepted(request: Request) -> str:
    """How features of an audio file are wanted: .npy, raw bytes, or nothing for JSON."""
    accept = request.headers.get("accept", "")
    return next((kind for kind in (NPY, BINARY) if kind in accept), "")


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
        del task  # or its error, whose traceback has this frame, would keep the request until the next search for cycles


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _named(request: Request) -> tuple[str, str]:
    return request.path_params["name"], request.path_params.get("version", "")


def _refused(refusal: Refusal) -> Response:
    headers = {"Retry-After": RETRY_SECONDS} if refusal.kind in (Kind.FULL, Kind.BUSY) else None
    return JSONResponse({"error": str(refusal)}, refusal.kind.http, headers)


async def _no_such_path(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.scope['path']:.200} is not part of the protocol; inference is POST /v2/models/NAME/infer"
    return JSONResponse({"error": sentence}, error.status_code)
