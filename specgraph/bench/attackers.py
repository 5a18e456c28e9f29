"""Clients that try to take a server on this machine from others: each sends one kind of request, in a process of its own.

``python -m specgraph.bench.attackers NAME HTTP_PORT GRPC_PORT SECONDS`` prints "attacking" when it begins, and ends by itself. It
connects to 127.0.0.1 alone.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

import numpy as np

HOST = "127.0.0.1"
NICE = 10  # a real attacker has a machine of its own
LARGE, MESSAGE = 30_000_000, 7_500_000  # bytes, below the most that a server takes by default, over HTTP and over gRPC
RATE = 16000

Attack = Callable[[int, int, float], None]
ATTACKS: dict[str, tuple[str, Attack]] = {}


def attack(name: str, text: str) -> Callable[[Attack], Attack]:
    """Register an attack: a function of the ports of HTTP and gRPC, and of when it ends."""

    def register(function: Attack) -> Attack:
        ATTACKS[name] = text, function
        return function

    return register


def main(name: str, http_port: str, grpc_port: str, seconds: str) -> None:
    """Attack for some seconds."""
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    ATTACKS[name][1](int(http_port), int(grpc_port), float(seconds))


def _post(model: str, body: bytes, **headers: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: bench\r\n{named}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _tensor(model: str, shape: tuple[int, ...], **headers: str) -> bytes:
    """A request for a clip of zeros, and its answer as raw tensors."""
    size = 4 * int(np.prod(shape))
    one = {"name": "waveforms", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    return _post(model, head + bytes(size), Inference_Header_Content_Length=str(len(head)), **headers)


def _connected(port: int) -> socket.socket:
    made = socket.create_connection((HOST, port), 5)
    made.settimeout(60)
    return made


def _together(count: int, seconds: float, do: Callable[[int, float], None]) -> None:
    """``do(number, end)`` again and again, in threads, until the end."""
    end = time.monotonic() + seconds

    def again(number: int) -> None:
        while time.monotonic() < end:
            try:
                do(number, end)
            except OSError:
                time.sleep(0.05)

    threads = [threading.Thread(target=again, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    print("attacking", flush=True)
    for thread in threads:
        thread.join(max(end + 1 - time.monotonic(), 0))
    os._exit(0)  # threads may wait for answers that do not come


def _asking(port: int, count: int, seconds: float, request: bytes) -> None:
    """Clients that send a request and read its answer, over a connection each."""

    def ask(number: int, end: float) -> None:
        with _connected(port) as connection:
            while time.monotonic() < end:
                connection.sendall(request)
                held = b""
                while b"\r\n\r\n" not in held:
                    held += connection.recv(1 << 16) or _gone()
                head, _, rest = held.partition(b"\r\n\r\n")
                length: int = next((int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")), 0)
                left = length - len(rest)
                while left > 0:
                    left -= len(connection.recv(min(left, 1 << 18)) or _gone())

    _together(count, seconds, ask)


def _gone() -> bytes:
    raise ConnectionResetError


@attack("batch", "4 clients: 1,000 clips of one sample each to whisper, 4 KB")
def _(http: int, _: int, seconds: float) -> None:
    _asking(http, 4, seconds, _tensor("whisper", (1000, 1)))


@attack("short", "4 clients: 1,000 clips of 40 samples each to whisper, 160 KB")
def _(http: int, _: int, seconds: float) -> None:
    _asking(http, 4, seconds, _tensor("whisper", (1000, 40)))


@attack("largest", "4 clients: 100 clips of 40 samples each to whisper, which is not refused")
def _(http: int, _: int, seconds: float) -> None:
    _asking(http, 4, seconds, _tensor("whisper", (100, 40)))


@attack("long", "4 clients: 8 minutes of sound, 30 MB")
def _(http: int, _: int, seconds: float) -> None:
    _asking(http, 4, seconds, _tensor("mel", (1, LARGE // 4)))


@attack("flac", "8 clients: FLAC files of 1.7 MB or less that hold an hour of silence in 8 channels")
def _(http: int, _: int, seconds: float) -> None:
    import soundfile

    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 48000, 8, "PCM_16", format="FLAC") as sound:
        for _block in range(600):
            sound.write(np.zeros((6 * 48000, 8), np.int16))
    _asking(http, 8, seconds, _post("whisper", file.getvalue()[:1_700_000], Content_Type="audio/flac"))


@attack("idle", "1,500 connections that send nothing")
def _(http: int, _: int, seconds: float) -> None:
    _kept(http, 1500, seconds, b"", b"")


@attack("headers-drip", "1,000 connections that send a byte of a header each second")
def _(http: int, _: int, seconds: float) -> None:
    _kept(http, 1000, seconds, b"GET /v2 HTTP/1.1\r\nHost: bench\r\nX-Slow: ", b"a")


@attack("body-drip", "400 connections that send a byte of a body each second, after 300 KB of it")
def _(http: int, _: int, seconds: float) -> None:
    _kept(http, 400, seconds, _post("mel", bytes(1_000_000))[:300_000], b"a")


def _kept(port: int, count: int, seconds: float, first: bytes, more: bytes) -> None:
    """Connections that are kept open, and opened again where the server ends them."""
    held: dict[int, socket.socket] = {}
    share = max(count // 8, 1)

    def keep(number: int, end: float) -> None:
        for place in range(number * share, number * share + share):
            if time.monotonic() > end:
                return
            try:
                if place not in held:
                    held[place] = _connected(port)
                    held[place].sendall(first)
                elif more:
                    held[place].sendall(more)
            except OSError:
                if place in held:
                    held.pop(place).close()
        time.sleep(1.0)

    _together(8, seconds, keep)


@attack("header", "4 connections: a header of 100 MB, and 1,000,000 headers, in turn")
def _(http: int, _: int, seconds: float) -> None:
    def send(number: int, end: float) -> None:
        piece = b"a" * 65536 if number % 2 else b"X-A: b\r\n" * 8192
        with _connected(http) as connection:
            connection.sendall(b"GET /v2 HTTP/1.1\r\nX-Large: ")
            for _piece in range(1600):
                if time.monotonic() > end:
                    return
                connection.sendall(piece)

    _together(4, seconds, send)


@attack("gzip", "25 clients: bodies of 31 KB that unpack to 31 MB")
def _(http: int, _: int, seconds: float) -> None:
    _asking(http, 25, seconds, _post("mel", gzip.compress(bytes(31_000_000)), Content_Encoding="gzip"))


@attack("json", "4 clients: 16 MB of JSON, numbers and brackets in turn")
def _(http: int, _: int, seconds: float) -> None:
    rows = b'{"inputs":[{"name":"waveforms","shape":[1,1000000],"datatype":"FP32","data":[' + b"0.0123456789012," * 999_999 + b"0]}]}"
    brackets = b'{"inputs":[' + b"[]," * 5_000_000 + b"[]]}"

    def ask(number: int, end: float) -> None:
        with _connected(http) as connection:
            connection.sendall(_post("mel", rows if number % 2 else brackets))
            while time.monotonic() < end and connection.recv(1 << 18):
                pass

    _together(4, seconds, ask)


@attack("unread", "100 connections that ask for an answer of 96 MB and do not read it")
def _(http: int, _: int, seconds: float) -> None:
    _kept(http, 100, seconds, _tensor("whisper", (100, 40)), b"")


@attack("pipelined", "4 connections that send 200,000 requests without reading an answer")
def _(http: int, _: int, seconds: float) -> None:
    def send(_: int, end: float) -> None:
        with _connected(http) as connection:
            connection.settimeout(1)
            for _piece in range(100):
                if time.monotonic() > end:
                    return
                connection.sendall(b"GET /v2 HTTP/1.1\r\nHost: bench\r\n\r\n" * 2000)

    _together(4, seconds, send)


def _message(field: int, body: bytes, shape: int, kind: bytes = b"FP32") -> bytes:
    from specgraph.runtimes.serving.rpc_messages import encoded

    tensor = encoded(1, b"waveforms") + encoded(2, kind) + encoded(3, 1) + encoded(3, shape)
    if field == 7:
        return encoded(1, b"mel") + encoded(5, tensor) + encoded(7, body)
    return encoded(1, b"mel") + encoded(5, tensor + encoded(5, encoded(field, body)))


def _calling(port: int, count: int, seconds: float, message: bytes) -> None:
    import grpc

    def call(_: int, end: float) -> None:
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"{HOST}:{port}", options) as channel:
            method = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while time.monotonic() < end:
                try:
                    method(message, timeout=max(end - time.monotonic(), 0.1))
                except grpc.RpcError:
                    time.sleep(0.01)

    _together(count, seconds, call)


@attack("grpc", "12 clients over gRPC: messages of 7.5 MB")
def _(_: int, grpc: int, seconds: float) -> None:
    _calling(grpc, 12, seconds, _message(7, bytes(MESSAGE), MESSAGE // 4))


@attack("grpc-too-large", "4 clients over gRPC: messages of 30 MB, more than is taken")
def _(_: int, grpc: int, seconds: float) -> None:
    _calling(grpc, 4, seconds, _message(7, bytes(LARGE), LARGE // 4))


@attack("grpc-contents", "4 clients over gRPC: 7.5 MB as fp32_contents")
def _(_: int, grpc: int, seconds: float) -> None:
    _calling(grpc, 4, seconds, _message(6, bytes(MESSAGE), MESSAGE // 4))


@attack("grpc-integers", "4 clients over gRPC: 7.5 MB as int64_contents")
def _(_: int, grpc: int, seconds: float) -> None:
    _calling(grpc, 4, seconds, _message(3, b"\1" * MESSAGE, MESSAGE, b"INT64"))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _call_frames(window: int, message: bytes, said: int) -> bytes:
    """HTTP/2 of one call: the preface, a window for the answer, headers without compression, and a message said to have ``said`` bytes."""
    named = {
        ":method": "POST", ":scheme": "http", ":path": "/inference.GRPCInferenceService/ModelInfer", ":authority": "bench",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    head = b"".join(b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode() for name, value in named.items())
    frames = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", _frame(4, 0, 0, struct.pack(">HI", 4, window)), _frame(1, 4, 1, head)]
    data = b"\0" + struct.pack(">I", said) + message
    frames += [_frame(0, int(at + 16384 >= len(data) == said + 5), 1, data[at : at + 16384]) for at in range(0, len(data), 16384)]
    return b"".join(frames)


@attack("grpc-half", "200 connections over gRPC that send 30 KB of a message of 7.5 MB")
def _(_: int, grpc: int, seconds: float) -> None:
    _kept(grpc, 200, seconds, _call_frames(65535, bytes(30_000), MESSAGE), b"")


@attack("grpc-unread", "200 connections over gRPC whose answers are never read")
def _(_: int, grpc: int, seconds: float) -> None:
    message = _message(7, bytes(60_000), 15_000)
    _kept(grpc, 200, seconds, _call_frames(0, message, len(message)), b"")


if __name__ == "__main__":
    main(*sys.argv[1:])
