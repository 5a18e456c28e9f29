"""The protocol over gRPC."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from grpc._cython import cygrpc

from specgraph.runtimes.serving import messages
from specgraph.runtimes.serving.budget import Holding, expire
from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid, unforeseen
from specgraph.runtimes.serving.rpc_messages import CONTENTS, InferRequest, parameter, read_request, write_answer
from specgraph.runtimes.serving.service import Service, check_parameters, checked_seconds
from specgraph.runtimes.serving.tensors import checked_datatype, checked_shape, from_bytes, from_values

OVERHEAD = 1 << 16  # bytes of a message, besides its tensors
SMALL = 1 << 16  # bytes of a message that is read at once, and not in a thread
AT_ONCE = 8  # messages that arrive at once, since those that end together are copied one after the other while nothing is answered
TURN = 0.25  # seconds that a message may take to arrive where others wait for their turn
STREAMS = 256  # calls at once of one connection
HANDSHAKE = 10.0  # seconds until a connection must have spoken HTTP/2
IDLE = 60.0  # seconds without a call after which a connection is closed


def server(service: Service, shared: bool = False) -> grpc.aio.Server:
    """A gRPC server without an address yet, which with ``shared`` other processes may have too."""
    options = {
        "grpc.max_receive_message_length": min(service.limits.message_bytes, service.limits.request_bytes) + OVERHEAD, "grpc.max_send_message_length": -1, "grpc.so_reuseport": int(shared),
        "grpc.max_concurrent_streams": STREAMS, "grpc.max_connection_idle_ms": round(1e3 * IDLE),
        "grpc.server_handshake_timeout_ms": round(1e3 * HANDSHAKE), "grpc.keepalive_time_ms": round(1e3 * IDLE),
    }  # fmt: skip
    made = grpc.aio.server(options=list(options.items()))
    arrivals = Arrivals(service)
    # As a client sees them, streams of one message are single messages; here they are read and written when there is room for them.
    handlers = {name: grpc.stream_stream_rpc_method_handler(_method(service, arrivals, name)) for name in messages.METHODS}
    made.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(messages.SERVICE, handlers),))
    return made


class Arrivals:
    """Messages that arrive. gRPC holds those that are not whole, so few are read at once: those may have half of ``limits.memory`` together."""

    def __init__(self, service: Service) -> None:
        self._limits = service.limits
        self._turns = asyncio.Semaphore(min(max(self._limits.memory // self._limits.message_bytes // 2, 1), AT_ONCE))
        self._waiting: dict[asyncio.Timeout, float] = {}  # in the order of their calls, and since when they are read

    async def read(self, context: Any) -> bytes:
        """The message of a call.

        Raises:
            Refusal: it did not arrive in time, or others wait and it arrives slowly.
        """
        try:
            async with asyncio.timeout(self._limits.arrival) as limit:
                if len(self._waiting) >= self._limits.calls:
                    expire(next(iter(self._waiting)))
                self._waiting[limit] = math.inf
                try:
                    await self._turn()
                    self._waiting[limit] = time.monotonic()
                    try:
                        found = await context.read()
                    finally:
                        self._turns.release()
                finally:
                    del self._waiting[limit]
        except TimeoutError:
            raise Refusal(Kind.SLOW, f"the message did not arrive within {self._limits.arrival:g} s, or within {TURN:g} s while others waited") from None
        if found is grpc.aio.EOF:  # it is larger than allowed, which gRPC tells the client, or the client is gone
            raise asyncio.CancelledError
        return bytes(found)

    async def _turn(self) -> None:
        while True:
            try:
                async with asyncio.timeout(TURN):
                    await self._turns.acquire()
                    return
            except TimeoutError:
                limit, since = min(self._waiting.items(), key=lambda one: one[1])
                if time.monotonic() - since >= TURN:
                    expire(limit)


def _method(service: Service, arrivals: Arrivals, name: str) -> Callable[[Any, Any], Awaitable[None]]:
    answers: dict[str, Callable[[Service, Any], dict[str, Any]]] = {
        "ServerLive": _live, "ServerReady": _ready, "ModelReady": _model_ready, "ServerMetadata": _server, "ModelMetadata": _model,
    }  # fmt: skip

    async def method(_: Any, context: Any) -> None:
        holding = Holding(service.budget)
        try:
            await _send(service, context, await answered(context, holding), holding)
            return
        except Refusal as refusal:
            kind, sentence = refusal.kind, str(refusal)
        except Exception as error:  # noqa: BLE001
            kind, sentence = Kind.INTERNAL, str(unforeseen(error))
        finally:
            holding.close()
        await context.abort(grpc.StatusCode[kind.grpc], sentence)  # whose error keeps this frame, which therefore has no name for the request

    async def answered(context: Any, holding: Holding) -> bytes:
        data = await arrivals.read(context)
        return await (_infer_counted(service, data, context, holding) if name == "ModelInfer" else _small(answers[name], service, name, data))

    return method


async def _send(service: Service, context: Any, answer: bytes, holding: Holding) -> None:
    """Write an answer; a ``Refusal`` where its client does not read it."""
    async with holding.within(service.limits.arrival, "the answer was not read"):
        try:
            await context.write(answer)
        except cygrpc.ExecuteBatchError:  # the client is gone
            raise asyncio.CancelledError from None


async def _small(answer: Callable[[Service, Any], dict[str, Any]], service: Service, name: str, data: bytes) -> bytes:
    if len(data) > SMALL:
        raise Refusal(Kind.TOO_LARGE, f"{name} has {len(data):,} bytes, more than {SMALL:,}")
    try:
        request = messages.message(f"{name}Request").FromString(data)
    except DecodeError as error:
        raise invalid(f"the message is no {name}Request ({error!s:.100})") from None
    return messages.message(f"{name}Response")(**answer(service, request)).SerializeToString()


def _live(_: Service, __: Any) -> dict[str, Any]:
    return {"live": True}


def _ready(service: Service, _: Any) -> dict[str, Any]:
    return {"ready": not service.closing}


def _model_ready(service: Service, request: Any) -> dict[str, Any]:
    service.repository.get(request.name, request.version)
    return {"ready": not service.closing}


def _server(service: Service, _: Any) -> dict[str, Any]:
    return service.server_metadata()


def _model(service: Service, request: Any) -> dict[str, Any]:
    return service.model_metadata(request.name, request.version)


async def _infer_counted(service: Service, data: bytes, context: Any, holding: Holding) -> bytes:
    status, name, version = Kind.INTERNAL.http, "", ""
    service.gate.arrive()
    try:
        holding.hold(len(data))
        request = await service.aside(read_request, data) if len(data) > SMALL else read_request(data)
        name, version = request.message.model_name, request.message.model_version
        answer = await _infer(service, request, context, holding, len(data) > SMALL)
        status = 200
        return answer
    except Refusal as refusal:
        status = refusal.kind.http
        raise
    except asyncio.CancelledError:  # as over HTTP: the client went away
        status = Kind.INVALID.http
        raise
    finally:
        service.count("grpc", name, version, status)
        left = context.time_remaining()
        await service.gate.leave(None if left is None else left / 2)


async def _infer(service: Service, request: InferRequest, context: Any, holding: Holding, large: bool) -> bytes:
    message = request.message
    model = service.repository.get(message.model_name, message.model_version)
    if request.raw and len(request.raw) != len(message.inputs):
        raise invalid(f"raw_input_contents has {len(request.raw)} tensors and {len(message.inputs)} inputs are named")
    for one in (*message.inputs, *message.outputs):
        check_parameters(one.name, one.parameters)
    if large and not request.raw:
        holding.add(request.cost)
        arrays = await service.aside(_arrays, model, request)
    else:
        arrays = _arrays(model, request)
    wanted = [one.name for one in message.outputs]
    seconds = checked_seconds(parameter(message.parameters, "timeout"))
    left = context.time_remaining()
    if left is not None:
        seconds = left if seconds is None else min(left, seconds)
    if not arrays:
        raise invalid(f"the request has no inputs; {model.name} takes {', '.join(model.runner.input_names)}")
    answer = await service.infer(model, arrays, wanted, seconds, holding)
    size = sum(array.nbytes for array in answer.outputs.values())
    holding.hold(2 * size)
    return await service.aside(write_answer, answer, message.id) if size > SMALL else write_answer(answer, message.id)


def _arrays(model: ServedModel, request: InferRequest) -> dict[str, np.ndarray]:
    """The inputs of a request by name."""
    arrays: dict[str, np.ndarray] = {}
    for number, sent in enumerate(request.message.inputs):
        wanted_type = model.datatype(sent.name)
        if sent.name in arrays:
            raise invalid(f"the input {sent.name} is sent twice")
        shape, dtype = checked_shape(sent.name, list(sent.shape)), checked_datatype(sent.name, sent.datatype, wanted_type)
        if request.raw:
            arrays[sent.name] = from_bytes(sent.name, request.raw[number], shape, dtype)
        elif sent.datatype in CONTENTS:
            try:
                numbers = request.numbers(number, sent.datatype)
            except ValueError as error:
                raise invalid(f"the data of {sent.name} cannot be read: {error}") from None
            arrays[sent.name] = from_values(sent.name, numbers, shape, dtype)
        else:
            raise invalid(f"{sent.name} is {sent.datatype}, which gRPC takes as raw_input_contents only")
    return arrays
