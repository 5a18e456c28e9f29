"""Load on a server: clients that send one request after another, or at a given rate, and check every answer."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

TIMEOUT = 60.0


@dataclass
class Outcome:
    """What became of requests: seconds of those that were answered rightly, and how many were not."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0  # with a sentence: the queue was full, or the answer would have been late
    broken: int = 0  # the connection ended without an answer
    wrong: int = 0
    elapsed: float = 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds that a share of the answers took at most."""
        return 1e3 * float(np.percentile(self.seconds, 100 * share)) if self.seconds else float("nan")

    @property
    def rate(self) -> float:
        """Right answers a second."""
        return len(self.seconds) / self.elapsed

    def merged(self, others: Sequence[Outcome]) -> Outcome:
        """With what other clients saw in the same time."""
        every = (self, *others)
        refused, broken, wrong = (sum(getattr(one, name) for one in every) for name in ("refused", "broken", "wrong"))
        return Outcome([second for one in every for second in one.seconds], refused, broken, wrong, max(one.elapsed for one in every))


class Request:
    """A request for features of a clip, as bytes, and what its answer must be."""

    def __init__(self, model: str, wave: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]) -> None:
        tensor = {"name": "waveforms", "shape": list(wave.shape), "datatype": "FP32", "parameters": {"binary_data_size": wave.nbytes}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        self.sent = (
            f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\nInference-Header-Content-Length: {len(head)}\r\n"
            f"Content-Type: application/octet-stream\r\nContent-Length: {len(head) + wave.nbytes}\r\n\r\n"
        ).encode() + head + wave.tobytes()
        self.wanted = wanted

    def right(self, body: bytes) -> bool:
        """Whether an answer holds the features, but for rounding in another batch."""
        if len(body) < self.wanted.nbytes:
            return False
        found = np.frombuffer(body[-self.wanted.nbytes :], "<f4").reshape(self.wanted.shape)
        return bool(np.abs(found - self.wanted).max() <= 1e-4 * np.abs(self.wanted).max())


class Client:
    """One connection, which is opened again where it ended."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection: socket.socket | None = None

    def ask(self, request: Request, outcome: Outcome) -> None:
        """Send a request and count what became of it."""
        start = time.perf_counter()
        try:
            if self._connection is None:
                self._connection = socket.create_connection(("127.0.0.1", self._port), TIMEOUT)
                self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection.sendall(request.sent)
            status, body = self._answer(self._connection)
        except OSError:
            self.close()
            outcome.broken += 1
            return
        if status == 200:
            if request.right(body):
                outcome.seconds.append(time.perf_counter() - start)
            else:
                outcome.wrong += 1
        else:
            outcome.refused += 1

    @staticmethod
    def _answer(connection: socket.socket) -> tuple[int, bytes]:
        held = bytearray()
        while (end := held.find(b"\r\n\r\n")) < 0:
            held += Client._received(connection)
        lines = bytes(held[:end]).decode().lower().split("\r\n")
        length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
        while len(held) < end + 4 + length:
            held += Client._received(connection)
        return int(lines[0].split()[1]), bytes(held[end + 4 :])

    @staticmethod
    def _received(connection: socket.socket) -> bytes:
        found = connection.recv(1 << 18)
        if not found:
            raise ConnectionResetError
        return found

    def close(self) -> None:
        """End the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def closed_loop(port: int, requests: Sequence[Request], clients: int, seconds: float) -> Outcome:
    """Clients that each send their next request when the last was answered."""

    def client(number: int, outcome: Outcome) -> None:
        one = Client(port)
        end, at = time.perf_counter() + seconds, number
        while time.perf_counter() < end:
            one.ask(requests[at % len(requests)], outcome)
            at += 1
        one.close()

    return _threads(client, clients)


def open_loop(port: int, requests: Sequence[Request], rate: float, clients: int, seconds: float) -> Outcome:
    """Requests that come ``rate`` a second, over so many connections, whether the server keeps up or not."""
    begin = time.perf_counter()
    turn, lock = iter(range(round(rate * seconds))), threading.Lock()

    def client(_: int, outcome: Outcome) -> None:
        one = Client(port)
        while True:
            with lock:
                number = next(turn, None)
            if number is None:
                return one.close()
            time.sleep(max(0.0, begin + number / rate - time.perf_counter()))
            one.ask(requests[number % len(requests)], outcome)

    return _threads(client, clients)


def _threads(client: Callable[[int, Outcome], Any], count: int) -> Outcome:
    outcomes = [Outcome() for _ in range(count)]
    start = time.perf_counter()
    threads = [threading.Thread(target=client, args=(number, outcome)) for number, outcome in enumerate(outcomes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes[0].elapsed = time.perf_counter() - start
    return outcomes[0].merged(outcomes[1:])
