"""A server process: its addresses, its signals, and how it ends without losing what it was asked."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvicorn

from specgraph.runtimes.serving import connections, http, rpc
from specgraph.runtimes.serving.batching import Limits
from specgraph.runtimes.serving.gate import MOST
from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.service import Service
from specgraph.runtimes.workers import available_cores

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections that the system holds until they are accepted
ACCEPTED = 16  # connections that are accepted at once, while others wait

SWITCH = 5e-4  # seconds after which a thread lets another have Python's lock
M_ARENA_MAX, ARENAS = -8, 2  # of glibc's malloc; each arena keeps what was freed in it
M_MMAP_THRESHOLD, MAPPED = -3, 1 << 18  # bytes from which memory that is freed goes back to the system
TRIM, TRIM_BYTES = 0.5, 50_000_000  # seconds from one to the next, and bytes that requests took in between


@dataclass(frozen=True)
class Addresses:
    """Where a server listens; a port of 0 takes a free one, None none."""

    host: str = LOOPBACK
    http: int | None = 8000
    grpc: int | None = 8001


class _Uvicorn(uvicorn.Server):
    """uvicorn, which leaves signals to us: gRPC and the queues end with it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.deaf = asyncio.Event()  # it listens no more, and ends each connection with the answer that is under way

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_soon(self.deaf.set)  # uvicorn stops listening before it waits for anything
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Serves models until it is told to stop.

    ``run`` does all of it in a process of its own; ``start`` and ``stop`` are for a program that has an event loop.
    """

    def __init__(
        self, models: Sequence[ServedModel], addresses: Addresses | None = None, limits: Limits | None = None, workers: int | None = None
    ) -> None:
        self.addresses, self.limits = addresses or Addresses(), limits or Limits()
        self.service = Service(models, workers or available_cores(), self.limits)
        self._listening: socket.socket | None = None
        self._shared = False
        self._deaf: Callable[[], bool] | None = None
        self.http_port: int | None = None
        self.grpc_port: int | None = None

    def share(self, listening: socket.socket | None, deaf: Callable[[], bool]) -> None:
        """Listen where other processes do: for HTTP at a socket that they have too, for gRPC at the port of ``addresses``.

        ``deaf`` is called when this one has stopped listening, until it says that all of them have, or for ``MOST`` seconds: answers
        are held so long, since clients that have theirs turn to who still listens, and would not be heard any more.
        """
        self._listening, self._shared, self._deaf = listening, True, deaf

    async def start(self) -> None:
        """Listen; ``http_port`` and ``grpc_port`` are set after it.

        Raises:
            OSError: a port is taken.
        """
        await asyncio.get_running_loop().run_in_executor(None, self.service.warm)
        host = self.addresses.host
        if self.addresses.http is not None:
            listening = self._listening or bound(host, self.addresses.http)
            self.http_port = listening.getsockname()[1]
            made: Any = partial(connections.Connection, self.limits, {})  # uvicorn calls it as it would the class
            config = uvicorn.Config(
                http.application(self.service), log_level="warning", access_log=False, lifespan="off", backlog=ACCEPTED,
                http=made, ws="none", timeout_graceful_shutdown=None, timeout_keep_alive=round(connections.KEEP_ALIVE),
            )  # fmt: skip
            self._uvicorn = _Uvicorn(config)
            self._sweeping = asyncio.create_task(connections.sweep(self._uvicorn.server_state.connections))  # type: ignore[arg-type]
            self._serving = asyncio.create_task(self._uvicorn.serve([listening]))
            while not self._uvicorn.started and not self._serving.done():
                await asyncio.sleep(0.005)
            listening.listen(BACKLOG)
        if self.addresses.grpc is not None:
            self._grpc = rpc.server(self.service, self._shared)
            bound(host, self.addresses.grpc, self._shared).close()  # gRPC's own complaint about a port that is taken has three lines
            self.grpc_port = self._grpc.add_insecure_port(f"[{host}]:{self.addresses.grpc}" if ":" in host else f"{host}:{self.addresses.grpc}")
            await self._grpc.start()

    async def stop(self) -> None:
        """Take no new requests, answer those that are here, and end; after ``limits.drain`` seconds without them."""
        self.service.closing = True
        await self.service.gate.close()
        ending: list[asyncio.Future[None]] = []
        if self.http_port is not None:
            self._uvicorn.config.timeout_graceful_shutdown = max(1, round(self.limits.drain))
            self._uvicorn.should_exit = True
            ending.append(self._serving)
            deaf = asyncio.ensure_future(self._uvicorn.deaf.wait())
            await asyncio.wait((deaf, self._serving), return_when=asyncio.FIRST_COMPLETED)
            deaf.cancel()
        if self.grpc_port is not None:
            ending.append(asyncio.ensure_future(self._grpc.stop(self.limits.drain)))
            await asyncio.sleep(0.01)  # in which it tells its clients
        latest = asyncio.get_running_loop().time() + MOST
        while self._deaf is not None and not self._deaf() and asyncio.get_running_loop().time() < latest:
            await asyncio.sleep(0.005)
        self.service.gate.open()
        await asyncio.gather(*ending)
        if self.http_port is not None:
            self._sweeping.cancel()
        self.service.close()

    async def run(self, started: Callable[[Server], None] = lambda server: None) -> None:
        """Start, call ``started``, and serve until SIGINT or SIGTERM."""
        _own_process()
        trimming = asyncio.create_task(self._trim())
        told, loop = asyncio.Event(), asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, told.set)
        await self.start()
        started(self)
        await told.wait()
        trimming.cancel()
        await self.stop()

    async def _trim(self) -> None:
        """Give memory that requests held back to the system: glibc keeps what is free between what is not, and gRPC's messages are many pieces."""
        libc = _glibc()
        trimmed = 0
        while libc is not None:
            await asyncio.sleep(TRIM)
            if self.service.budget.taken - trimmed > TRIM_BYTES:
                trimmed = self.service.budget.taken
                await self.service.aside(libc.malloc_trim, 0)


def _own_process() -> None:
    """Set what a process that does nothing but serve is better off with."""
    sys.setswitchinterval(SWITCH)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if libc := _glibc():
        libc.mallopt(M_ARENA_MAX, ARENAS)
        libc.mallopt(M_MMAP_THRESHOLD, MAPPED)


def _glibc() -> Any:
    """The C library, where its malloc is the one that Python uses; None elsewhere."""
    with contextlib.suppress(OSError):
        libc = ctypes.CDLL("libc.so.6")
        if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
            return libc
    return None


def bound(host: str, port: int, shared: bool = False) -> socket.socket:
    """A socket at an address, which with ``shared`` other processes may have too, or an ``OSError`` that names it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # of protocol 0, asyncio would leave Nagle's delay on: 40 ms
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT if shared else socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise OSError(f"cannot listen at {host}, port {port}: {getattr(error, 'strerror', None) or error}; give another --port, --grpc-port or --host") from None
    return made
