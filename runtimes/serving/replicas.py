"""Several server processes at one address: one that is killed is replaced, and costs what it was working on alone."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import connection
from typing import Any

from specgraph.runtimes.serving.metrics import FOLDER, gone
from specgraph.runtimes.serving.server import Addresses, Server, bound

STEADY = 10.0  # seconds after which a replica that ends is simply replaced
MOST_FAILURES = 5  # in a row, of replicas that ended sooner


@dataclass(frozen=True)
class Replicas:
    """``make`` makes a server for addresses; it must be a function of a module, since each process calls it anew."""

    make: Callable[..., Server]
    arguments: tuple[Any, ...]
    addresses: Addresses
    count: int

    def run(self, started: Callable[[Addresses], None] = lambda addresses: None) -> None:
        """Serve until SIGINT or SIGTERM; called in the main thread.

        Raises:
            OSError: a port is taken.
            RuntimeError: the replicas end again and again.
        """
        if not hasattr(socket, "SO_REUSEPORT"):
            raise OSError(f"several replicas need SO_REUSEPORT, which {sys.platform} lacks; use one")
        told: list[int] = []
        addresses = self.addresses
        if addresses.grpc is not None:
            bound(addresses.host, addresses.grpc).close()  # refused where other replicas listen, with whom ours would share the port unasked
        listening = bound(addresses.host, addresses.http) if addresses.http is not None else None
        reserved = bound(addresses.host, addresses.grpc, shared=True) if addresses.grpc is not None else None
        ports = [None if held is None else held.getsockname()[1] for held in (listening, reserved)]
        addresses = replace(addresses, http=ports[0], grpc=ports[1])
        before = {number: signal.signal(number, lambda number, _: told.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
        with tempfile.TemporaryDirectory(prefix="specgraph-") as folder:
            os.environ[FOLDER] = folder  # where the processes count together
            try:
                self._watch(addresses, listening, told, started)
            finally:
                del os.environ[FOLDER]
                for number, handler in before.items():
                    signal.signal(number, handler)
                for held in (listening, reserved):
                    if held is not None:
                        held.close()

    def _watch(self, addresses: Addresses, listening: socket.socket | None, told: list[int], started: Callable[[Addresses], None]) -> None:
        spawn = multiprocessing.get_context("spawn")
        ready, failures = spawn.Semaphore(0), 0
        listens = spawn.RawArray("b", [True] * self.count)  # which replicas do; each writes its own place alone, so none needs a lock
        running: dict[Any, float] = {}
        places: dict[Any, int] = {}

        def begin(place: int) -> None:
            listens[place] = True
            receiving, sending = spawn.Pipe(duplex=False)
            process = spawn.Process(target=_serve, args=(receiving, addresses, listening, ready, listens, place))
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of the terminal, whose Ctrl-C goes to all: the parent tells
            try:
                process.start()  # which inherits the mask, from its first moment
            finally:
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
            receiving.close()
            threading.Thread(target=_send, args=(sending, (self.make, self.arguments)), daemon=True).start()
            running[process], places[process] = time.monotonic(), place

        try:
            for place in range(self.count):
                begin(place)
            waiting = self.count
            while not told:
                while waiting and ready.acquire(block=False):
                    waiting -= 1
                    if not waiting:
                        started(addresses)
                connection.wait([process.sentinel for process in running], timeout=0.1)
                for process in [process for process in running if process.exitcode is not None]:
                    failures = 0 if time.monotonic() - running.pop(process) > STEADY else failures + 1
                    gone(process.pid)
                    listens[place := places.pop(process)] = False
                    if failures > MOST_FAILURES:
                        raise RuntimeError(f"replicas end as soon as they begin, the last with exit code {process.exitcode}")
                    if not told:
                        begin(place)
        finally:
            if listening is not None:
                listening.close()  # or clients would be let in when no replica listens any more
            for process in running:
                process.terminate()
            for process in running:
                process.join()


def _send(sending: connection.Connection, given: Any) -> None:
    """Send a replica what it serves. As arguments of its process, models would block the parent for good where it dies unread."""
    with sending, suppress(OSError):
        sending.send(given)


def _serve(receiving: connection.Connection, addresses: Addresses, listening: socket.socket | None, ready: Any, listens: Any, place: int) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with receiving:
        make, arguments = receiving.recv()
    try:
        server = make(*arguments, addresses)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"a replica cannot start: {error}")

    def deaf() -> bool:
        listens[place] = False
        return not any(listens)

    server.share(listening, deaf)
    asyncio.run(server.run(lambda _: ready.release()))


def _end_with_parent() -> None:
    """A parent that was killed tells nobody, and replicas without one would hold its ports for good."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
