"""A server that is told to stop under load, and one that fails itself."""

from __future__ import annotations

import collections
import concurrent.futures
import http.client
import json
import logging
import signal
import threading
import time
from pathlib import Path

import pytest

grpc = pytest.importorskip("grpc")
pytest.importorskip("tritonclient.grpc")

from specgraph.runtimes.serving import audio, http_bodies, messages, rpc
from tests.test_serving import (
    Running,
    asked,
    clients,
    files,  # noqa: F401
    noise,
    rpc_clients,
    started,
)

CLIENTS = 12


def over_grpc(port: int, told: threading.Event) -> collections.Counter[str]:
    """Requests one after the other at a connection of its own, until some fail."""
    wave = noise(4000)
    request = messages.message("ModelInferRequest")(model_name="mel", raw_input_contents=[wave.tobytes()])
    request.inputs.add(name="waveforms", datatype="FP32", shape=wave.shape)
    data, ends = request.SerializeToString(), collections.Counter[str]()
    with grpc.insecure_channel(f"127.0.0.1:{port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
        while not told.is_set() and ends.total() - ends["right"] < 3:
            try:
                call(data, timeout=20)
                ends["right"] += 1
            except grpc.RpcError as error:
                ends[error.code().name] += 1
    return ends


def over_http(port: int, told: threading.Event) -> collections.Counter[str]:
    wave = noise(4000)
    head = json.dumps({"inputs": [{"name": "waveforms", "shape": wave.shape, "datatype": "FP32", "parameters": {"binary_data_size": wave.nbytes}}]}).encode()
    ends, connection = collections.Counter[str](), None
    while not told.is_set() and ends.total() - ends["200"] < 3:
        try:
            if connection is None:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
                connection.connect()
            connection.request("POST", "/v2/models/mel/infer", head + wave.tobytes(), {"Inference-Header-Content-Length": str(len(head))})
            answer = connection.getresponse()
            answer.read()
            ends[str(answer.status)] += 1
            ended = answer.will_close
        except OSError as error:
            ends[type(error).__name__] += 1
            ended = True
        if ended and connection is not None:
            connection.close()
            connection = None
    return ends


def asking(threads: concurrent.futures.ThreadPoolExecutor, http_port: int, grpc_port: int, told: threading.Event) -> list[concurrent.futures.Future]:
    return [threads.submit(ask, port, told) for _ in range(CLIENTS // 2) for ask, port in ((over_http, http_port), (over_grpc, grpc_port))]


def check_none_was_lost(asked: list[concurrent.futures.Future]) -> None:
    ends = sum((one.result(30) for one in asked), collections.Counter[str]())
    assert ends.keys() == {"right", "200", "UNAVAILABLE", "ConnectionRefusedError"}, ends


@pytest.mark.parametrize("run", range(8))
def test_a_server_that_stops_under_load_answers_all_that_reached_it(files: dict[str, Path], run: int) -> None:  # noqa: F811
    told = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        with Running({"mel": files["mel"]}) as running:
            answers = asking(threads, running.server.http_port or 0, running.server.grpc_port or 0, told)
            time.sleep(0.2 + 0.01 * run)
        start = time.monotonic()
        while not all(one.done() for one in answers) and time.monotonic() - start < 20:
            time.sleep(0.01)
        told.set()
        check_none_was_lost(answers)


@pytest.mark.parametrize("replicas", [1, 2])
def test_sigterm_under_load_loses_no_request(files: dict[str, Path], replicas: int) -> None:  # noqa: F811
    process, http_port, grpc_port = started(str(files["mel"]), "--workers", "1", "--replicas", str(replicas))
    told = threading.Event()
    try:
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
            answers = asking(threads, http_port, grpc_port, told)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            told.set()
            check_none_was_lost(answers)
    finally:
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]


def test_answers_are_held_no_longer_than_a_request_has_time(files: dict[str, Path]) -> None:  # noqa: F811
    with Running({"mel": files["mel"]}) as running, running.rpc_client() as client:
        running.server.service.gate._open.clear()
        start = time.perf_counter()
        answer = client.infer("mel", [asked(rpc_clients, noise(800))], client_timeout=1.0)
        assert answer.as_numpy("features").shape == (1, 20, 11)
        assert 0.3 < time.perf_counter() - start < 0.9


def test_what_nobody_foresaw_is_one_sentence_counted_and_logged(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture  # noqa: F811
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a mistake\nof two lines")

    with Running({"mel": files["mel"]}) as running:
        monkeypatch.setattr(running.models[0], "wanted", broken)
        sentence = "the server itself failed on this request, by KeyError; its log says where"
        with caplog.at_level(logging.ERROR, "specgraph.serving"):
            sent = {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}]}
            assert running.send("/v2/models/mel/infer", sent) == (500, {"error": sentence})
            with pytest.raises(clients.InferenceServerException, match=sentence):
                running.client().infer("mel", [asked(clients, noise(800))])
            with running.rpc_client() as client, pytest.raises(rpc_clients.InferenceServerException, match=sentence) as raised:
                client.infer("mel", [asked(rpc_clients, noise(800))])
            assert "INTERNAL" in raised.value.status()
            monkeypatch.setattr(running.server.service, "server_metadata", broken)
            assert running.send("/v2") == (500, {"error": sentence})
        assert len(caplog.records) == 4
        assert all(record.exc_info and "a mistake" in str(record.exc_info[1]) for record in caplog.records)
        monkeypatch.undo()
        counted = running.server.service.metrics.text().decode()
        assert 'specgraph_requests_total{model="mel",protocol="http",status="500",version="1"} 2.0' in counted
        assert 'specgraph_requests_total{model="mel",protocol="grpc",status="500",version="1"} 1.0' in counted
        assert running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)


@pytest.mark.parametrize(("module", "name"), [(audio, "Decoder"), (http_bodies, "to_bytes"), (rpc, "write_answer")])
def test_a_failure_anywhere_leaves_the_server_serving(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch, module: object, name: str) -> None:  # noqa: F811
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    with Running({"mel": files["mel"]}) as running:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, broken)
            if module is rpc:
                with running.rpc_client() as client, pytest.raises(rpc_clients.InferenceServerException, match="by MemoryError"):
                    client.infer("mel", [asked(rpc_clients, noise(800))])
            elif module is audio:
                assert "by MemoryError" in running.send("/v2/models/mel/infer", b"RIFF", Content_Type="audio/wav")[1]["error"]
            else:
                with pytest.raises(clients.InferenceServerException, match="by MemoryError"):
                    running.client().infer("mel", [asked(clients, noise(800))])
        assert running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)
        assert running.metric("specgraph_requests_total", "mel") == 2


def test_a_queue_goes_on_behind_a_request_that_breaks_it(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def broken(*_: object) -> bool:
        raise RuntimeError

    with Running({"mel": files["mel"]}, workers=1, slow=0.3) as running, concurrent.futures.ThreadPoolExecutor(3) as threads:
        with monkeypatch.context() as patch:
            patch.setattr(running.models[0], "together", broken)
            answers = [threads.submit(running.send, "/v2/models/mel/infer", {"inputs": [
                {"name": "waveforms", "shape": [1, 800], "datatype": "FP32", "data": [0.0] * 800}]}) for _ in range(3)]  # fmt: skip
            assert collections.Counter(answer.result(20)[0] for answer in answers) == {200: 2, 500: 1}  # the first, and the last, with which none could share
        assert running.send("/v2/health/ready")[0] == 200
        assert running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)
        assert running.metric("specgraph_waiting_requests", "mel") == 0
