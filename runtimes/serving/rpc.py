"""The protocol over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np

from specgraph.runtimes.serving import messages
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid, unforeseen
from specgraph.runtimes.serving.service import (
    Answer,
    Service,
    check_parameters,
    checked_seconds,
)
from specgraph.runtimes.serving.tensors import (
    checked_datatype,
    checked_shape,
    datatype_of,
    from_bytes,
    from_values,
    to_bytes,
)

# Where each type's numbers stand in a message that has them as numbers and not as raw bytes.
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip
OVERHEAD = 1 << 16  # of a message, besides its tensors


def server(service: Service, shared: bool = False) -> grpc.aio.Server:
    """A gRPC server without an address yet, which with ``shared`` other processes may have too."""
    most = service.limits.request_bytes + OVERHEAD
    made = grpc.aio.server(options=[("grpc.max_receive_message_length", most), ("grpc.max_send_message_length", -1), ("grpc.so_reuseport", int(shared))])
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            _method(service, name), messages.message(f"{name}Request").FromString, messages.message(f"{name}Response").SerializeToString
        )
        for name in messages.METHODS
    }
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, handlers),))
    return made


def _method(service: Service, name: str) -> Callable[[Any, Any], Awaitable[Any]]:
    answers: dict[str, Callable[[Service, Any, Any], Awaitable[Any]]] = {
        "ServerLive": _live, "ServerReady": _ready, "ModelReady": _model_ready, "ServerMetadata": _server, "ModelMetadata": _model,
        "ModelInfer": _infer_counted,
    }  # fmt: skip

    async def method(request: Any, context: Any) -> Any:
        try:
            return await answers[name](service, request, context)
        except Refusal as found:
            refusal = found
        except Exception as error:  # noqa: BLE001
            refusal = unforeseen(error)
        await context.abort(grpc.StatusCode[refusal.kind.grpc], str(refusal))

    return method


async def _live(_: Service, __: Any, ___: Any) -> Any:
    return messages.message("ServerLiveResponse")(live=True)


async def _ready(service: Service, _: Any, __: Any) -> Any:
    return messages.message("ServerReadyResponse")(ready=not service.closing)


async def _model_ready(service: Service, request: Any, _: Any) -> Any:
    service.repository.get(request.name, request.version)
    return messages.message("ModelReadyResponse")(ready=not service.closing)


async def _server(service: Service, _: Any, __: Any) -> Any:
    return messages.message("ServerMetadataResponse")(**service.server_metadata())


async def _model(service: Service, request: Any, _: Any) -> Any:
    return messages.message("ModelMetadataResponse")(**service.model_metadata(request.name, request.version))


async def _infer_counted(service: Service, request: Any, context: Any) -> Any:
    status = Kind.INTERNAL.http
    service.gate.arrive()
    try:
        answer = await _infer(service, request, context)
        status = 200
        return answer
    except Refusal as refusal:
        status = refusal.kind.http
        raise
    except asyncio.CancelledError:  # as over HTTP: the client went away
        status = Kind.INVALID.http
        raise
    finally:
        service.count("grpc", request.model_name, request.model_version, status)
        left = context.time_remaining()
        await service.gate.leave(None if left is None else left / 2)


async def _infer(service: Service, request: Any, context: Any) -> Any:
    model = service.repository.get(request.model_name, request.model_version)
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise invalid(f"raw_input_contents has {len(raw)} tensors and {len(request.inputs)} inputs are named")
    for one in (*request.inputs, *request.outputs):
        check_parameters(one.name, one.parameters)
    arrays: dict[str, np.ndarray] = {}
    for number, sent in enumerate(request.inputs):
        wanted_type = model.datatype(sent.name)
        if sent.name in arrays:
            raise invalid(f"the input {sent.name} is sent twice")
        shape, dtype = checked_shape(sent.name, list(sent.shape)), checked_datatype(sent.name, sent.datatype, wanted_type)
        if raw:
            arrays[sent.name] = from_bytes(sent.name, raw[number], shape, dtype)
        elif sent.datatype in CONTENTS:
            arrays[sent.name] = from_values(sent.name, np.array(getattr(sent.contents, CONTENTS[sent.datatype])), shape, dtype)
        else:
            raise invalid(f"{sent.name} is {sent.datatype}, which gRPC takes as raw_input_contents only")
    wanted = [one.name for one in request.outputs]
    seconds = checked_seconds(_parameter(request.parameters, "timeout"))
    left = context.time_remaining()
    if left is not None:
        seconds = left if seconds is None else min(left, seconds)
    if not arrays:
        raise invalid(f"the request has no inputs; {model.name} takes {', '.join(model.runner.input_names)}")
    return _written(await service.infer(model, arrays, wanted, seconds), request.id)


def _parameter(parameters: Any, name: str) -> Any:
    if name not in parameters:  # asking a map of messages for a key puts it in
        return None
    kind = parameters[name].WhichOneof("parameter_choice")
    return getattr(parameters[name], kind) if kind else None


def _written(answer: Answer, identity: str) -> Any:
    made = messages.message("ModelInferResponse")(model_name=answer.model.name, model_version=answer.model.version, id=identity)
    for name, array in answer.outputs.items():
        made.outputs.add(name=name, datatype=datatype_of(array), shape=array.shape)
        made.raw_output_contents.append(to_bytes(array))
    return made
