"""What a server does with requests and clients that would take it from others: each costs its own answer."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import io
import json
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

import specgraph as sg
from tests.test_serving import RATE, Running, asked, clients, files, noise, rpc_clients, started  # noqa: F401

grpc = pytest.importorskip("grpc")

from specgraph.bench.attackers import _call_frames
from specgraph.bench.machine import machine
from specgraph.bench.serving import _with_section
from specgraph.runtimes.serving import connections, rpc_messages
from specgraph.runtimes.serving.batching import Limits
from specgraph.runtimes.serving.budget import Budget, Holding
from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.problems import Refusal
from specgraph.runtimes.session import stoppable_options
from specgraph.runtimes.wire import varint
from specgraph.runtimes.workers import stoppable


@pytest.fixture(scope="module")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "whisper.onnx"
    sg.to_onnx(sg.preset("whisper-80"), path)
    return path


def binary(shape: tuple[int, ...]) -> tuple[bytes, dict[str, str]]:
    """A request for a clip of zeros with raw tensors both ways: its body and headers."""
    size = 4 * int(np.prod(shape))
    one = {"name": "waveforms", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [one], "parameters": {"binary_data_output": True}}).encode()
    return head + bytes(size), {"Inference_Header_Content_Length": str(len(head))}


@contextlib.contextmanager
def connected(running: Running, sent: bytes = b"", count: int = 1) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_connection(("127.0.0.1", running.server.http_port or 0), 10)) for _ in range(count)]
        for one in made:
            one.sendall(sent)
        yield made


def post(model: str, body: bytes, length: int, **headers: str) -> bytes:
    named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\n{named}Content-Length: {length}\r\n\r\n".encode() + body


def everything(connection: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    held = b""
    with contextlib.suppress(ConnectionResetError):
        while found := connection.recv(1 << 16):
            held += found
    return held


def alive(running: Running) -> float:
    """Seconds until /v2/health/live answers."""
    start = time.perf_counter()
    assert running.send("/v2/health/live") == (200, {"live": True})
    return time.perf_counter() - start


def test_small_requests_for_much_are_refused_before_they_are_run(whisper: Path) -> None:
    with Running({"whisper": whisper}) as running:
        body, headers = binary((1000, 40))
        status, answer = running.send("/v2/models/whisper/infer", body, **headers)
        sentence = "whisper would need an answer of 960 MB for this request, and 128 MB are the most here (--max-answer); send fewer or shorter clips"
        assert (status, answer) == (413, {"error": sentence})
        with running.rpc_client() as client, pytest.raises(rpc_clients.InferenceServerException, match="would need an answer of 960 MB") as raised:
            client.infer("whisper", [asked(rpc_clients, np.zeros((1000, 40), np.float32))])
        assert "RESOURCE_EXHAUSTED" in raised.value.status()
        body, headers = binary((10, 1))  # of large work, and allowed
        status, answer = running.send("/v2/models/whisper/infer", body, **headers)
        assert (status, len(answer) > 10 * 80 * 3000 * 4) == (200, True)
        assert alive(running) < 2


@pytest.mark.parametrize("lengths", [False, True])
def test_a_call_of_much_memory_is_refused(files: dict[str, Path], lengths: bool) -> None:  # noqa: F811
    name = "ragged" if lengths else "mel"
    with Running({name: files[name]}, Limits(memory=20_000_000)) as running:
        body, headers = binary((1, 1_000_000))
        status, answer = running.send(f"/v2/models/{name}/infer", body, **headers)
        if lengths:  # a file with lengths runs a clip at once
            assert (status, "ragged would need memory of " in answer["error"], "--memory" in answer["error"]) == (413, True, True), answer
        else:  # and one without runs it in parts
            assert status == 200


def test_what_an_answer_takes_is_known_before(files: dict[str, Path], whisper: Path) -> None:  # noqa: F811
    for path, shapes in ((files["mel"], [(2, 800), (1, 12345)]), (files["ragged"], [(3, 999)]), (files["inverse"], [(2, 33, 7, 2)]), (whisper, [(2, 1), (1, 500_000)])):
        runner = sg.load(path)
        model = ServedModel("x", "1", runner)  # type: ignore[arg-type]
        for shape in shapes:
            inputs, _ = model.checked({runner.input_names[0]: np.zeros(shape, np.float32)})
            cost = model.cost(inputs)
            assert cost.answer == sum(array.nbytes for array in runner.run_checked(inputs).values())
            assert cost.peak >= cost.work // shape[0] > 0
    assert ServedModel("x", "1", sg.load(whisper)).cost([np.zeros((1, 1), np.float32)]).work > 4_000_000  # type: ignore[arg-type]  # filled up to 30 s


def silence(seconds: int) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", 48000, 2, "PCM_16", format="FLAC") as sound:
        for _ in range(seconds // 60):
            sound.write(np.zeros((60 * 48000, 2), np.int16))
    return file.getvalue()


def test_decoding_ends_with_the_time_of_a_request_and_with_its_size(files: dict[str, Path]) -> None:  # noqa: F811
    body = silence(1800)
    assert len(body) < 500_000
    with Running({"mel": files["mel"]}, Limits(seconds=0.2, request_bytes=10**9, memory=10**9)) as running, concurrent.futures.ThreadPoolExecutor(4) as threads:
        start = time.perf_counter()
        answers = [threads.submit(running.send, "/v2/models/mel/infer", body, Content_Type="audio/flac") for _ in range(4)]
        assert alive(running) < 2
        for answer in answers:
            assert answer.result(20) == (504, {"error": "the request was not decoded within 0.2 s; send a shorter clip"})
        assert time.perf_counter() - start < 5
    with Running({"mel": files["mel"]}, Limits(request_bytes=1_000_000)) as running:
        status, answer = running.send("/v2/models/mel/infer", body, Content_Type="audio/flac")
        assert (status, "decodes to more than 1,000,000 bytes" in answer["error"]) == (413, True)


def test_sigterm_ends_decoding(files: dict[str, Path]) -> None:  # noqa: F811
    process, http_port, _ = started(str(files["mel"]), "--drain", "0", "--max-request", "1000", "--memory", "1000")
    body = silence(1800)
    try:
        with socket.create_connection(("127.0.0.1", http_port), 10) as connection:
            connection.sendall(post("mel", body, len(body), Content_Type="audio/flac"))
            time.sleep(0.2)
            start = time.perf_counter()
            process.send_signal(signal.SIGTERM)
            assert process.wait(15) == 0
            assert time.perf_counter() - start < 10
    finally:
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]


def test_a_call_is_ended_when_nobody_waits_for_it(files: dict[str, Path]) -> None:  # noqa: F811
    options, run = stoppable_options(release=True), sg.load(files["mel"])
    wanted = run(noise(800))
    np.testing.assert_array_equal(stoppable(options, run, noise(800)), wanted)
    options.terminate = True
    with pytest.raises(ValueError, match="terminate"):
        stoppable(options, run, noise(800))
    np.testing.assert_array_equal(run(noise(800)), wanted)


def test_connections_that_wait_for_their_client_are_ended(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.setattr(connections, "KEEP_ALIVE", 1.0)
    parts = {
        b"": b"",
        b"GET /v2 HT": b"408 Request Timeout",
        b"GET /v2 HTTP/1.1\r\nHost: x\r\nX-Half: a": b"408 Request Timeout",
        post("mel", b"half", 1000): b"408 Request Timeout",
        post("nothing", b"half", 1000): b"404 Not Found",
        post("mel", b"", 0, Content_Encoding="gzip").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"5\r\n\x1f\x8b": b"408 Request Timeout",
        b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n": b"200 OK",
    }
    with Running({"mel": files["mel"]}, Limits(arrival=0.4)) as running, contextlib.ExitStack() as stack:
        start = time.perf_counter()
        made = {part: stack.enter_context(connected(running, part))[0] for part in parts}
        for part, connection in made.items():
            connection.settimeout(10)
            found = everything(connection)
            assert (found.split(b"\r\n")[0].removeprefix(b"HTTP/1.1 "), part) == (parts[part], part)
        assert time.perf_counter() - start < 5


@pytest.mark.parametrize(("begin", "piece"), [
    (b"GET /v2 HTTP/1.1\r\nX-Large: ", b"a" * 65536), (b"GET /v2 HTTP/1.1\r\n", b"X-Many: b\r\n" * 6000), (b"GET /", b"a" * 65536),
    (b"POST /v2/models/mel/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    (b"POST /v2/models/mel/infer HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-T: ", b"a" * 65536),
])  # fmt: skip
def test_headers_have_a_limit(files: dict[str, Path], begin: bytes, piece: bytes) -> None:  # noqa: F811
    with Running({"mel": files["mel"]}) as running, connected(running, begin) as (connection,):
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 100 << 20:
                connection.sendall(piece)
                sent += len(piece)
        assert sent < 20 << 20
        assert not running.server._uvicorn.server_state.connections or alive(running) < 2
    with Running({"mel": files["mel"]}) as running, connected(running, begin) as (connection,):
        time.sleep(0.05)
        connection.sendall(piece)
        assert everything(connection).startswith(b"HTTP/1.1 431 Request Header Fields Too Large")


def test_pipelined_requests_have_a_limit(files: dict[str, Path]) -> None:  # noqa: F811
    one = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    with Running({"mel": files["mel"]}) as running:
        with connected(running, one * 10) as (connection,):
            held = b""
            while held.count(b'{"live":true}') < 10:
                held += connection.recv(1 << 16)
        with connected(running, one * 5000) as (connection,):
            assert everything(connection).count(b'{"live":true}') < 5000
        assert alive(running) < 2


def test_one_connection_more_ends_the_one_that_waited_longest(files: dict[str, Path]) -> None:  # noqa: F811
    with Running({"mel": files["mel"]}, Limits(connections=8)) as running, connected(running, b"GET /v2 HTTP/1.1\r\nX: ", 30) as made:
        client = running.client()
        for _ in range(3):
            assert client.infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)
        assert len(running.server._uvicorn.server_state.connections) <= 8
        assert everything(made[0]) == b""


def test_memory_goes_from_slow_clients_to_others(files: dict[str, Path]) -> None:  # noqa: F811
    """Half-sent bodies and unread answers hold memory up to the limit, small requests are answered, and large ones from a second on."""
    limits = Limits(memory=12_000_000, free_bytes=100_000)
    body, headers = binary((1, 600_000))  # 2.4 MB, and 0.6 MB back
    half = post("mel", body[:2_000_000], len(body), **headers)
    with Running({"mel": files["mel"]}, limits) as running, concurrent.futures.ThreadPoolExecutor(1) as threads:
        budget = running.server.service.budget
        with connected(running, half, 8) as made:
            deadline = time.monotonic() + 10
            while budget.used < 9_000_000 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert 9_000_000 <= budget.used <= limits.memory
            early = threads.submit(running.send, "/v2/models/mel/infer", body, **headers)
            wave = noise(800)
            assert running.client().infer("mel", [asked(clients, wave)]).as_numpy("features").shape == (1, 20, 11)
            status, answer = early.result(10)
            assert status in (200, 503)
            assert status == 200 or "already hold" in answer["error"]
            time.sleep(1.1)
            for _ in range(2):
                assert running.send("/v2/models/mel/infer", body, **headers)[0] == 200
            assert made[0].recv(1000).startswith(b"HTTP/1.1 503 Service Unavailable")
        while budget.used and time.monotonic() < deadline + 10:
            time.sleep(0.01)
        assert budget.used == 0


def test_answers_that_are_not_read_are_held_within_the_limit(whisper: Path) -> None:
    body, headers = binary((3, 1))  # 2.9 MB back
    with Running({"whisper": whisper}, Limits(memory=16_000_000, arrival=1.0)) as running:
        budget = running.server.service.budget
        with contextlib.ExitStack() as stack:
            for _ in range(12):
                one = stack.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                one.connect(("127.0.0.1", running.server.http_port or 0))
                one.sendall(post("whisper", body, len(body), **headers))
            deadline = time.monotonic() + 10
            while budget.used < 5_000_000 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert 5_000_000 < budget.used <= 16_000_000
            while budget.used and time.monotonic() < deadline:  # the connections are ended, though their clients are there
                time.sleep(0.05)
            assert budget.used == 0
        assert running.send("/v2/models/whisper/infer", body, **headers)[0] == 200


def test_bodies_that_unpack_to_much_are_held_within_the_limit(files: dict[str, Path]) -> None:  # noqa: F811
    sent = gzip.compress(bytes(6_000_000))
    with Running({"mel": files["mel"]}, Limits(memory=14_000_000)) as running, concurrent.futures.ThreadPoolExecutor(12) as threads:
        answers = [threads.submit(running.send, "/v2/models/mel/infer", sent, Content_Encoding="gzip") for _ in range(12)]
        used = 0
        while not all(answer.done() for answer in answers):
            used = max(used, running.server.service.budget.used)
            time.sleep(0.001)
        assert {answer.result()[0] for answer in answers} <= {400, 413, 503}
        assert used <= 14_000_000
        assert running.server.service.budget.used == 0


def test_a_budget_counts_what_is_held() -> None:
    budget = Budget(100, 10)
    first, second = Holding(budget), Holding(budget)
    first.hold(60)
    assert budget.used == 50
    second.hold(10)
    assert budget.used == 50
    second.add(50)
    assert budget.used == 100
    with pytest.raises(Refusal, match="already hold") as raised:
        first.add(1)
    assert raised.value.kind.http == 503
    with pytest.raises(Refusal, match="all requests together have") as raised:
        first.hold(1000)
    assert raised.value.kind.http == 413
    second.close()
    first.hold(20)
    assert (budget.used, budget.taken) == (10, 100)
    first.close()
    assert budget.used == 0


def test_numbers_over_grpc_are_what_raw_bytes_are(files: dict[str, Path]) -> None:  # noqa: F811
    encoded, wave = rpc_messages.encoded, noise(30_000)
    tensor = encoded(1, b"waveforms") + encoded(2, b"FP32") + encoded(3, b"\1\xb0\xea\1")
    call = "/inference.GRPCInferenceService/ModelInfer"
    loose = b"".join(b"\x35" + wave[0, at : at + 1].tobytes() for at in range(100))  # a field for each number, as older protobuf writes them
    forms = {
        "raw": encoded(1, b"mel") + encoded(5, tensor) + encoded(7, wave.tobytes()),
        "packed": encoded(1, b"mel") + encoded(5, tensor + encoded(5, encoded(6, wave.tobytes()))),
        "mixed": encoded(1, b"mel") + encoded(5, tensor + encoded(5, loose + encoded(6, wave[0, 100:200].tobytes()) + encoded(6, wave[0, 200:].tobytes()))),
    }
    with Running({"mel": files["mel"]}) as running, grpc.insecure_channel(f"127.0.0.1:{running.server.grpc_port}") as channel:
        answers = {form: channel.unary_unary(call)(sent) for form, sent in forms.items()}
        assert len(set(answers.values())) == 1
        assert len(answers["raw"]) > 20 * 376 * 4
        many = encoded(1, b"mel") + encoded(5, tensor + encoded(5, loose * 200))
        for sent, code, sentence in (
            (b"\xff\xff", "INVALID_ARGUMENT", "is no ModelInferRequest"), (encoded(1, b"\xff"), "INVALID_ARGUMENT", "is no ModelInferRequest"),
            (encoded(1, b"mel") + encoded(5, tensor + encoded(5, encoded(6, b"abc"))), "INVALID_ARGUMENT", "end in the midst of one"),
            (many, "RESOURCE_EXHAUSTED", "10,000 fields besides its tensors"), (b"\x22\0" * 200_000, "RESOURCE_EXHAUSTED", "10,000 fields besides"),
            (encoded(1, b"a" * 300_000), "RESOURCE_EXHAUSTED", "more than 262,144 bytes"),
        ):  # fmt: skip
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(call)(sent)
            assert (raised.value.code().name, sentence in raised.value.details()) == (code, True), raised.value.details()
        with pytest.raises(grpc.RpcError) as raised:
            channel.unary_unary(call)(bytes(9_000_000))
        assert raised.value.code().name == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("values", [[], [0, 1, 127, 128, 2**31 - 1, 2**63 - 1, 300] * 30_000, [2**64 - 1, 5]])
def test_varints(values: list[int]) -> None:
    data = b"".join(varint(value) for value in values)
    assert rpc_messages._varints(memoryview(data)).tolist() == values
    if data:
        with pytest.raises(ValueError, match="does not end"):
            rpc_messages._varints(memoryview(data + b"\x80"))


def test_half_messages_and_unread_answers_over_grpc_end(files: dict[str, Path]) -> None:  # noqa: F811
    encoded = rpc_messages.encoded
    tensor = encoded(1, b"waveforms") + encoded(2, b"FP32") + encoded(3, b"\1\xc0\x3e")
    whole = encoded(1, b"mel") + encoded(5, tensor) + encoded(7, bytes(32_000))
    limits = Limits(arrival=2.0, message_bytes=1_000_000, memory=4_000_000)  # two messages arrive at once
    with Running({"mel": files["mel"]}, limits) as running, contextlib.ExitStack() as stack:
        for sent in [_call_frames(65535, bytes(30_000), 900_000)] * 6 + [_call_frames(0, whole, len(whole))] * 6:
            one = stack.enter_context(socket.create_connection(("127.0.0.1", running.server.grpc_port or 0), 10))
            one.sendall(sent)
        start = time.perf_counter()
        assert running.rpc_client().infer("mel", [asked(rpc_clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)
        assert time.perf_counter() - start < 5
        deadline = time.monotonic() + 10
        while running.metric("specgraph_requests_total", "mel") < 7 and time.monotonic() < deadline:
            time.sleep(0.05)
        while running.server.service.budget.used and time.monotonic() < deadline:
            time.sleep(0.05)
        assert running.server.service.budget.used == 0


def test_half_a_character_in_a_name(running: Running) -> None:
    for sent, status in (
        ({"inputs": [{"name": "\ud800", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}]}, 400),
        ({"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0], "parameters": {"shared_memory\ud800": 1}}]}, 400),
        ({"inputs": [{"name": "waveforms", "shape": [1, 800], "datatype": "\udfff", "data": [0] * 800}]}, 400),
        ({"inputs": [{"name": "waveforms", "shape": [1, 800], "datatype": "FP32", "data": [0] * 800}], "outputs": [{"name": "\ud800"}]}, 400),
        ({"id": "\ud800", "inputs": [{"name": "waveforms", "shape": [1, 800], "datatype": "FP32", "data": [0] * 800}]}, 200),
    ):
        found, answer = running.send("/v2/models/mel/infer", sent)
        assert (found, "error" in answer) == (status, status != 200), answer


@pytest.fixture(scope="module")
def running(files: dict[str, Path]) -> Iterator[Running]:  # noqa: F811
    with Running({name: files[name] for name in ("mel", "ragged")}) as server:
        yield server


ODD: list[Any] = [
    None, True, -1, 0, 1, 2**31, 2**63, 2**70, 1e308, float("nan"), float("inf"), "", "\ud800", "x" * 1000, "\0", [], [[]], [1, [2]], {}, {"a": 1}, "waveforms",
    "features", "FP32", "INT64", "BYTES", [1, 800], [800], [0], [-1, 2], [1] * 40, [2**40, 2**40],
]  # fmt: skip


def mutated(value: Any, rng: random.Random) -> Any:
    """A value of JSON with something changed somewhere."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        found = dict(value)
        if rng.random() < 0.15:
            del found[key]
        else:
            found[rng.choice([key, key, key, str(rng.choice(ODD))])] = mutated(value[key], rng)
        return found
    if isinstance(value, list) and value and rng.random() < 0.8:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(value[place], rng), *value[place + (rng.random() < 0.9) :]]
    return rng.choice(ODD)


def test_a_fuzz_of_requests(running: Running) -> None:
    rng, seen = random.Random(0), {}
    tensor = {"name": "waveforms", "shape": [1, 300], "datatype": "FP32", "data": [0.1] * 300, "parameters": {"binary_data_size": 1200}}
    whole = {"id": "7", "inputs": [tensor], "outputs": [{"name": "features", "parameters": {"binary_data": True}}], "parameters": {"timeout": 10**6}}
    paths = ["/v2/models/mel/infer"] * 6 + ["/v2/models/ragged/infer", "/v2/models/x/infer", "/v2/", "/%ff%00", "/v2/models/mel/versions/9/infer"]
    for number in range(500):
        sent: Any = whole
        for _ in range(rng.randint(1, 4)):
            sent = mutated(sent, rng)
        body = json.dumps(sent).encode()
        headers = {}
        if rng.random() < 0.3:
            headers["Inference_Header_Content_Length"] = rng.choice([str(len(body)), "0", "-1", "\u00b2", "9" * 5000, "1e3"])
            body += bytes(rng.choice([0, 1, 1200, 1200]))
        if rng.random() < 0.2:
            headers["Content_Encoding"] = rng.choice(["gzip", "deflate", "br", "identity", "gzip, gzip"])
            body = gzip.compress(body)[: rng.choice([10**6, 20])]
        if rng.random() < 0.3:
            headers["Content_Type"] = rng.choice(["audio/wav", "application/octet-stream", "multipart/form-data", "application/json", "video/x", ";"])
        if rng.random() < 0.2:
            headers["Accept"] = rng.choice(["application/x-npy", "application/octet-stream", "*/*", "\u00ff"])
        if rng.random() < 0.2:
            place = rng.randrange(len(body) + 1)
            body = body[:place] + rng.randbytes(rng.randint(0, 30)) + body[place + rng.randint(0, 30) :]
        status, answer = running.send(rng.choice(paths), body, rng.choice(["POST"] * 9 + ["GET", "PUT"]), **headers)
        assert status in (200, 400, 404, 405, 408, 413, 415, 429, 503, 504), (number, status, answer, sent)
        assert status == 200 or not answer or answer["error"], (number, answer)
        seen[status] = seen.get(status, 0) + 1
    assert {200, 400, 404} <= seen.keys()
    assert alive(running) < 2


def test_a_fuzz_of_bytes(running: Running) -> None:
    """Whatever comes over a connection, the answers to it are 2xx, 4xx or 503, and others are answered."""
    rng = random.Random(1)
    body, headers = binary((1, 300))
    whole = post("mel", body, len(body), **headers)
    for _ in range(300):
        sent = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            place = rng.randrange(min(len(sent), 400))
            sent[place : place + rng.randint(0, 4)] = rng.choice([rng.randbytes(3), b"\r\n", b"\0", b":", b" ", b"\xff", b"Host: [\r\n", b"Transfer-Encoding: chunked\r\n"])
        with connected(running, bytes(sent)) as (connection,):
            connection.shutdown(socket.SHUT_WR)
            for line in everything(connection).split(b"HTTP/1.1 ")[1:]:
                assert line[:1] in b"24" or line[:3] == b"503", (bytes(sent)[:400], line[:300])
    assert alive(running) < 2


def test_a_fuzz_of_messages(running: Running) -> None:
    rng, encoded = random.Random(2), rpc_messages.encoded
    tensor = encoded(1, b"waveforms") + encoded(2, b"FP32") + encoded(3, b"\1\xac\2")
    whole = encoded(1, b"mel") + encoded(5, tensor + encoded(5, encoded(6, bytes(1200)))) + encoded(6, encoded(1, b"features"))
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{running.server.grpc_port}") as channel:
        for _ in range(300):
            sent = bytearray(whole)
            for _ in range(rng.randint(0, 5)):
                place = rng.randrange(len(sent))
                sent[place : place + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
            method = rng.choice(["ModelInfer"] * 8 + ["ModelMetadata", "ModelReady", "ServerLive"])
            try:
                channel.unary_unary(f"/inference.GRPCInferenceService/{method}")(bytes(sent), timeout=20)
                codes.add("OK")
            except grpc.RpcError as error:
                codes.add(error.code().name)
    assert {"OK", "INVALID_ARGUMENT"} <= codes <= {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"}
    assert alive(running) < 2


@pytest.mark.parametrize("name", ["headers-drip", "header", "grpc-half"])
def test_an_attack_of_the_benchmark_ends_by_itself(running: Running, name: str) -> None:
    ports = str(running.server.http_port), str(running.server.grpc_port)
    with subprocess.Popen([sys.executable, "-m", "specgraph.bench.attackers", name, *ports, "0.5"], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "attacking\n"
            assert running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)
            assert process.wait(20) == 0
        finally:
            process.kill()


def test_the_section_on_attacks_is_replaced() -> None:
    host = {"command": "specgraph bench", **machine("cpu"), "load_before": 0.0}
    once = _with_section("# Serving\n\n## Load\n\n| a |\n", "## Attacks: first\n\n| b |\n", host)
    twice = _with_section(once, "## Attacks: second\n\n| c |\n", host)
    assert (once.count("| b |"), twice.count("| b |"), twice.count("| a |"), twice.count("| c |"), twice.count("## Attacks")) == (1, 0, 1, 1, 1)
