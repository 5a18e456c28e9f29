"""HTTP connections: what a client may send before a request is whole, and how long it may keep a connection waiting."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from specgraph.runtimes.serving.batching import Limits

HEAD_BYTES = 32 << 10  # of the request line, headers and trailers
HEAD_FIELDS = 128
PIPELINED = 16  # requests that a client sends before it has the answer to the first
KEEP_ALIVE = 30.0  # seconds between requests
SWEEP = 0.5  # seconds from one look at all connections to the next
ABORT = "specgraph.abort"  # the ASGI extension by which an application ends a connection


class BadRequest(Exception):
    """What a parser's callback raises; the parser turns it into an error of its own."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with bounds on what it takes. At most ``limits.connections`` are open: one more ends the one that waited longest for its client."""

    def __init__(self, limits: Limits, oldest: dict[Connection, None], **others: Any) -> None:
        super().__init__(**others)
        self._limits, self._oldest = limits, oldest
        self._since = time.monotonic()  # when the connection, its request or its pause between requests began
        self._paused: float | None = None  # since when the client reads no more of an answer
        self._arriving = self._heads = False
        self._unparsed = self._head_bytes = self._head_fields = 0
        self._problem = 400, "the request is not HTTP/1.1"

    @property
    def waiting_since(self) -> float | None:
        """Since when the connection waits for its client; None while the server works."""
        if self._paused is not None:
            return self._paused
        if self._arriving or self.cycle is None or self.cycle.response_complete or self.transport.is_closing():
            return self._since
        return None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            if victim := next((one for one in self._oldest if one.waiting_since is not None), None):
                victim.abort()
            else:
                self._refuse(503, f"{self._limits.connections} connections are open already; try again later")
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        self._oldest.pop(self, None)
        super().connection_lost(exc)

    def _begin(self) -> None:
        """Note that the connection, its request or its pause begins now."""
        self._since = time.monotonic()
        self._oldest.pop(self, None)
        self._oldest[self] = None

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the headers have more than {HEAD_BYTES:,} bytes; send fewer or shorter ones")

    def on_message_begin(self) -> None:
        self._arriving = self._heads = True
        self._begin()
        self._head_bytes = self._head_fields = 0
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: {"call": self.abort}}

    def on_url(self, url: bytes) -> None:
        self._count(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(len(name) + len(value), 1)
        if self._heads:  # a trailer is no header of the request
            super().on_header(name, value)

    def _count(self, count: int, fields: int) -> None:
        self._head_bytes += count
        self._head_fields += fields
        if self._head_bytes > HEAD_BYTES or self._head_fields > HEAD_FIELDS:
            self._problem = 431, f"the headers are more than {HEAD_FIELDS}, or have more than {HEAD_BYTES:,} bytes; send fewer or shorter ones"
            raise BadRequest

    def on_headers_complete(self) -> None:
        self._heads, self._unparsed = False, 0
        if len(self.pipeline) >= PIPELINED:
            self._problem = 400, f"more than {PIPELINED} requests came before the answer to the first; wait for answers"
            raise BadRequest
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._arriving, self._unparsed = False, 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        if not self._arriving:
            self._begin()
        super().on_response_complete()

    def pause_writing(self) -> None:
        self._paused = time.monotonic()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._paused = None
        super().resume_writing()

    def abort(self) -> None:
        """End the connection at once, with what it has not sent."""
        self.connections.discard(self)
        self._oldest.pop(self, None)
        self.transport.abort()

    def expire(self, now: float) -> None:
        """End the connection where its client has kept it waiting for too long."""
        since = self.waiting_since
        if since is None:
            return
        idle = not self._arriving and self.cycle is not None and self._paused is None
        if now - since <= (max(KEEP_ALIVE, self._limits.arrival) if idle else self._limits.arrival + SWEEP):  # read_body refuses in time
            return
        if self._heads and not self.transport.is_closing():
            self._begin()
            self._refuse(408, f"the headers did not arrive within {self._limits.arrival:g} s")
        else:
            self.abort()

    def timeout_keep_alive_handler(self) -> None:
        self.abort()

    def send_400_response(self, msg: str) -> None:
        self._refuse(*self._problem)

    def _refuse(self, status: int, sentence: str) -> None:
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            return self.abort()  # in the midst of another answer
        body = json.dumps({"error": sentence}).encode()
        line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(line + head + body)
        self.transport.close()


async def sweep(connections: Iterable[Connection]) -> None:
    """Expire connections until cancelled."""
    while True:
        await asyncio.sleep(SWEEP)
        now = time.monotonic()
        for connection in list(connections):
            connection.expire(now)
