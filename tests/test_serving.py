"""A server and its clients: the protocol, batching, limits, faults."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import gzip
import http.client
import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

import specgraph as sg
from tests.conftest import peak_error

pytest.importorskip("uvicorn")
clients = pytest.importorskip("tritonclient.http")
rpc_clients = pytest.importorskip("tritonclient.grpc")

from specgraph.runtimes.serving import messages
from specgraph.runtimes.serving.batching import Batcher, Limits
from specgraph.runtimes.serving.metrics import Metrics
from specgraph.runtimes.serving.models import Job, ServedModel
from specgraph.runtimes.serving.problems import Refusal
from specgraph.runtimes.serving.replicas import Replicas
from specgraph.runtimes.serving.server import Addresses, Server

RATE = 8000
CLOSE = 1e-5  # of the peak: what a clip is in a batch and alone


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    mel = sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20)
    made = {name: folder / f"{name}.onnx" for name in ("mel", "ragged", "inverse")}
    sg.to_onnx(mel, made["mel"])
    sg.to_onnx(mel, made["ragged"], lengths=True)
    sg.to_onnx(sg.InverseSpectrogram(sample_rate=RATE, n_fft=64, hop_length=16), made["inverse"])
    return made


class Running:
    """A server in a thread of its own, as long as the ``with`` block lasts."""

    def __init__(self, files: dict[str, Path], limits: Limits | None = None, workers: int = 2, slow: float = 0.0) -> None:
        self.models = [ServedModel(name, "1", sg.load(path)) for name, path in files.items()]
        if slow:
            for model in self.models:
                model.run = self._slowed(model.run, slow)  # type: ignore[method-assign]
        self.server = Server(self.models, Addresses(http=0, grpc=0), limits, workers)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)

    @staticmethod
    def _slowed(run: Callable[[Any], Any], seconds: float) -> Callable[[Any], Any]:
        def slowly(jobs: list[Job]) -> Any:
            time.sleep(seconds)
            return run(jobs)

        return slowly

    def __enter__(self) -> Self:
        self._thread.start()
        self.do(self.server.start())
        return self

    def __exit__(self, *_: object) -> None:
        self.do(self.server.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    def do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def send(self, path: str, body: bytes | dict | None = None, method: str | None = None, **headers: str) -> tuple[int, Any]:
        """One request; JSON in an answer is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.http_port or 0, timeout=20)
        try:
            sent = json.dumps(body).encode() if isinstance(body, dict) else body
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, sent, named)
            answer = connection.getresponse()
            data = answer.read()
            return answer.status, json.loads(data) if "json" in answer.getheader("content-type", "") else data
        finally:
            connection.close()

    def metric(self, name: str, model: str) -> float:
        text = self.server.service.metrics.text().decode()
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name}{{") and f'model="{model}"' in line)

    def client(self) -> Any:
        return clients.InferenceServerClient(f"127.0.0.1:{self.server.http_port}", concurrency=24)

    def rpc_client(self) -> Any:
        return rpc_clients.InferenceServerClient(f"127.0.0.1:{self.server.grpc_port}")


@pytest.fixture(scope="module")
def running(files: dict[str, Path]) -> Iterator[Running]:
    with Running(files) as server:
        yield server


def noise(samples: int, batch: int = 1, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal((batch, samples))).astype(np.float32)


def asked(module: Any, wave: np.ndarray, name: str = "waveforms") -> Any:
    made = module.InferInput(name, list(wave.shape), "FP32")
    made.set_data_from_numpy(wave)
    return made


def test_a_pool_of_messages_is_that_of_the_protocol() -> None:
    theirs = rpc_clients.service_pb2

    def same(ours: Any, reference: Any) -> None:
        for field in ours.fields:
            found = reference.fields_by_name[field.name]
            assert (field.number, field.type, field.is_repeated) == (found.number, found.type, found.is_repeated), field.full_name
            if field.message_type:
                same(field.message_type, found.message_type)

    for method in messages.METHODS:
        for end in ("Request", "Response"):
            same(messages.message(method + end).DESCRIPTOR, getattr(theirs, method + end).DESCRIPTOR)


@pytest.mark.parametrize("binary", [True, False])
def test_a_client_over_http(running: Running, files: dict[str, Path], binary: bool) -> None:
    client, wave = running.client(), noise(4000, 3)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mel")
    assert client.get_server_metadata()["name"] == "specgraph"
    assert client.get_model_metadata("mel")["inputs"] == [{"name": "waveforms", "datatype": "FP32", "shape": [-1, -1]}]
    sent = clients.InferInput("waveforms", [3, 4000], "FP32")
    sent.set_data_from_numpy(wave, binary_data=binary)
    answer = client.infer("mel", [sent], request_id="7", outputs=[clients.InferRequestedOutput("features", binary_data=binary)], headers={"Content-Type": "application/json"})
    assert answer.get_response()["id"] == "7"
    np.testing.assert_array_equal(answer.as_numpy("features"), sg.load(files["mel"])(wave))


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_a_compressed_request(running: Running, files: dict[str, Path], compression: str) -> None:
    wave = noise(4000)
    answer = running.client().infer("mel", [asked(clients, wave)], request_compression_algorithm=compression)
    np.testing.assert_array_equal(answer.as_numpy("features"), sg.load(files["mel"])(wave))


def test_a_client_over_grpc(running: Running, files: dict[str, Path]) -> None:
    client, wave = running.rpc_client(), noise(4000, 3)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mel", "1")
    assert client.get_server_metadata().name == "specgraph"
    assert list(client.get_model_metadata("ragged").inputs[1].shape) == [-1]
    answer = client.infer("mel", [asked(rpc_clients, wave)], request_id="7")
    assert answer.get_response().id == "7"
    np.testing.assert_array_equal(answer.as_numpy("features"), sg.load(files["mel"])(wave))


def test_features_in(running: Running, files: dict[str, Path]) -> None:
    spectra = noise(33 * 50 * 2).reshape(1, 33, 50, 2)
    name = sg.load(files["inverse"]).input_names[0]
    answer = running.rpc_client().infer("inverse", [asked(rpc_clients, spectra, name)])
    (output,) = sg.load(files["inverse"]).output_names
    np.testing.assert_allclose(answer.as_numpy(output), sg.load(files["inverse"])(spectra), atol=1e-6)


def test_a_single_clip_needs_no_batch_axis(running: Running, files: dict[str, Path]) -> None:
    wave = noise(800)[0]
    sent = {"inputs": [{"name": "waveforms", "shape": [800], "datatype": "FP32", "data": wave.tolist()}]}
    status, answer = running.send("/v2/models/mel/infer", sent)
    assert status == 200
    wanted = sg.load(files["mel"])(wave)
    assert answer["outputs"][0]["shape"] == list(wanted.shape)
    np.testing.assert_array_equal(np.float32(answer["outputs"][0]["data"]).reshape(wanted.shape), wanted)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("model", ["mel", "ragged"])
def test_24_requests_of_4_lengths_at_once(running: Running, files: dict[str, Path], model: str, protocol: str) -> None:
    run = sg.load(files["mel"])
    waves = [noise((800, 1234, 4000, 9999)[number % 4], seed=number) for number in range(24)]
    module, client = (clients, running.client()) if protocol == "http" else (rpc_clients, running.rpc_client())
    with concurrent.futures.ThreadPoolExecutor(24) as threads:
        call = client.infer if protocol == "grpc" else lambda name, sent: running.client().infer(name, sent)
        answers = list(threads.map(lambda wave: call(model, [asked(module, wave)]).as_numpy("features"), waves))
    for wave, answer in zip(waves, answers, strict=True):
        wanted = run(wave)
        assert answer.shape == wanted.shape
        assert peak_error(answer, wanted) < CLOSE


def test_lengths_are_sent_along(running: Running, files: dict[str, Path]) -> None:
    wave, lengths = noise(4000, 2), np.array([4000, 1000])
    sent = clients.InferInput("waveforms_lens", [2], "INT64")
    sent.set_data_from_numpy(lengths)
    answer = running.client().infer("ragged", [asked(clients, wave), sent])
    features, ends = sg.load(files["ragged"])(wave, lengths)
    np.testing.assert_array_equal(answer.as_numpy("features_lens"), ends)
    assert peak_error(answer.as_numpy("features"), features) < CLOSE


@pytest.mark.parametrize(("model", "lengths"), [("mel", (4000,)), ("ragged", (4000, 3900, 3800))])
def test_requests_that_wait_share_a_call(files: dict[str, Path], model: str, lengths: tuple[int, ...]) -> None:
    run = sg.load(files["mel"])
    with Running({model: files[model]}, workers=1, slow=0.2) as running, concurrent.futures.ThreadPoolExecutor(12) as threads:
        waves = [noise(lengths[number % len(lengths)], seed=number) for number in range(12)]
        client = running.rpc_client()
        answers = list(threads.map(lambda wave: client.infer(model, [asked(rpc_clients, wave)]).as_numpy("features"), waves))
        calls = running.metric("specgraph_call_clips_count", model)
        assert running.metric("specgraph_call_clips_sum", model) == 12
    assert calls <= 3  # the first, and then all that waited
    for wave, answer in zip(waves, answers, strict=True):
        assert answer.shape == run(wave).shape
        assert peak_error(answer, run(wave)) < CLOSE


def test_clips_of_very_different_lengths_do_not_share_a_call(files: dict[str, Path]) -> None:
    model = ServedModel("ragged", "1", sg.load(files["ragged"]))

    def job(samples: int) -> Job:
        return Job(*model.checked({"waveforms": noise(samples)}), 0.0, 0.0, None)  # type: ignore[arg-type]

    assert model.together([job(4000)], job(3000), 32)
    assert not model.together([job(4000)], job(400), 32)
    assert not model.together([job(4000)] * 32, job(4000), 32)


class Doubling:
    """A model of which a call takes some time, and fails with any clip below 0."""

    name, version = "doubling", "1"

    def together(self, jobs: list[Job], job: Job, most: int) -> bool:
        return sum(one.clips for one in jobs) + job.clips <= most and job.samples == jobs[0].samples

    def run(self, jobs: list[Job]) -> list[dict[str, np.ndarray]]:
        time.sleep(0.002)
        if any((job.inputs[0] < 0).any() for job in jobs):
            raise MemoryError("below 0")
        return [{"doubled": 2 * job.inputs[0]} for job in jobs]


@pytest.mark.parametrize("seed", range(6))
def test_a_queue_holds_what_it_says_and_is_empty_in_the_end(seed: int) -> None:
    rng = random.Random(seed)
    workers = rng.choice([1, 3])
    limits = Limits(clips=rng.choice([1, 4, 8]), delay=rng.choice([0.0, 0.003]), queue=rng.choice([2, 10]))
    metrics, ends = Metrics(), collections.Counter[str]()

    async def ask(batcher: Batcher, value: float) -> None:
        loop = asyncio.get_running_loop()
        wave = np.full((rng.randint(1, 3), rng.choice([2, 5])), value, np.float32)
        job = Job([wave], False, loop.time() + rng.choice([0.002, 0.01, 5.0]), loop.time(), loop.create_future())
        task = asyncio.ensure_future(batcher.answer(job))
        if rng.random() < 0.15:
            loop.call_later(0.005 * rng.random(), task.cancel)
        try:
            np.testing.assert_array_equal((await task)["doubled"], 2 * wave)
            ends["right"] += 1
        except Refusal as refusal:
            ends[refusal.kind.name] += 1
        except asyncio.CancelledError:
            ends["gone"] += 1
        waiting = batcher._waiting
        assert len(waiting) <= limits.queue
        assert batcher._busy <= workers
        assert metrics.waiting.labels("doubling", "1")._value.get() == len(waiting)

    async def flood(threads: concurrent.futures.ThreadPoolExecutor) -> None:
        batcher = Batcher(Doubling(), threads, workers, limits, metrics)  # type: ignore[arg-type]
        asking = []
        for number in range(200):
            asking.append(asyncio.ensure_future(ask(batcher, -1.0 if rng.random() < 0.1 else number)))
            if rng.random() < 0.3:
                await asyncio.sleep(0.004 * rng.random())
        await asyncio.wait_for(asyncio.gather(*asking), 20)
        await asyncio.wait_for(asyncio.gather(*batcher._calls), 20)
        assert (len(batcher._waiting), batcher._busy) == (0, 0)

    with concurrent.futures.ThreadPoolExecutor(workers) as threads:
        asyncio.run(flood(threads))
    assert ends.total() == 200
    assert ends["right"] > 0


def test_the_gauge_says_what_waits(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, Limits(clips=1), workers=1) as running, concurrent.futures.ThreadPoolExecutor(3) as threads:
        release, run = threading.Event(), running.models[0].run

        def held(jobs: list[Job]) -> Any:
            release.wait(20)
            return run(jobs)

        running.models[0].run = held  # type: ignore[method-assign]
        try:
            answers = [threads.submit(lambda: running.rpc_client().infer("mel", [asked(rpc_clients, noise(800))])) for _ in range(3)]
            deadline = time.monotonic() + 10
            while running.metric("specgraph_waiting_requests", "mel") < 2:  # the first call is held: nothing leaves the queue
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            release.set()
        assert all(answer.result(20).as_numpy("features").shape == (1, 20, 11) for answer in answers)


def test_a_call_that_fails_costs_only_the_request_that_fails_it(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, workers=1, slow=0.2) as running, concurrent.futures.ThreadPoolExecutor(6) as threads:
        inner = running.models[0].run

        def failing(jobs: list[Job]) -> Any:
            if any((job.inputs[0] == 0.123).all() for job in jobs):
                raise MemoryError("no memory for it")
            return inner(jobs)

        running.models[0].run = failing  # type: ignore[method-assign]
        waves = [noise(2000, seed=number) if number != 3 else np.full((1, 2000), 0.123, np.float32) for number in range(6)]

        def attempt(wave: np.ndarray) -> np.ndarray | str:
            try:
                return running.rpc_client().infer("mel", [asked(rpc_clients, wave)]).as_numpy("features")
            except rpc_clients.InferenceServerException as error:
                return str(error)

        answers = list(threads.map(attempt, waves))
    assert "no memory for it" in answers[3]
    assert all(isinstance(answer, np.ndarray) for number, answer in enumerate(answers) if number != 3)


WRONG: list[tuple[str, dict | bytes, int, str]] = [
    ("other", {"inputs": []}, 404, "there is no model 'other'; there are mel, ragged, inverse"),
    ("mel/versions/3", {"inputs": []}, 404, "mel has no version '3'; it has 1"),
    ("mel", b"hello", 400, "the request is not JSON"),
    ("mel", b"", 400, "the request is empty; send an audio file"),
    ("mel", b"[1]", 400, "must be a JSON object"),
    ("mel", b"[" * 5000, 400, "the request is not JSON"),
    ("mel", {"inputs": 3}, 400, '"inputs" must be a list of objects'),
    ("mel", {"inputs": []}, 400, "the request has no inputs"),
    ("mel", {"inputs": [{"name": "wave", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}]}, 400, "mel has no input 'wave'; it takes waveforms"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP64", "data": [0, 0]}]}, 400, "waveforms must be FP32 and was sent as 'FP64'"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 3], "datatype": "FP32", "data": [0, 0]}]}, 400, "takes 3 numbers and 2 were sent"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": "x", "datatype": "FP32", "data": [0, 0]}]}, 400, "must be a list of whole numbers"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": ["a", "b"]}]}, 400, "must be a list of FP32 numbers"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32"}]}, 400, "the data of waveforms must be a list"),
    ("mel", b'{"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, NaN]}]}', 400, "1 values that are not finite"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2, 1], "datatype": "FP32", "data": [0, 0]}]}, 400, "not of shape (1, 2, 1)"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 0], "datatype": "FP32", "data": []}]}, 400, "there are no samples"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [10**6, 10**6], "datatype": "FP32", "data": []}]}, 400, "more than"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 9], "datatype": "FP32", "parameters": {"binary_data_size": 36}}]}, 400, "0 bytes follow"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}], "outputs": [{"name": "mfcc"}]}, 400, "no output 'mfcc'"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}], "parameters": {"timeout": 5}}, 400, "microseconds"),
    ("ragged", {"inputs": [
        {"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}, {"name": "waveforms_lens", "shape": [1], "datatype": "INT64", "data": [5]},
    ]}, 400, "says that clip 0 has 5 samples"),
    ("ragged", {"inputs": [
        {"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}, {"name": "waveforms_lens", "shape": [1], "datatype": "INT64", "data": [1.5]},
    ]}, 400, "must be a list of INT64 numbers"),
    ("ragged", {"inputs": [{"name": "waveforms_lens", "shape": [1], "datatype": "INT64", "data": [5]}]}, 400, "waveforms was not sent"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [0, 2**70], "datatype": "FP32", "data": []}]}, 400, "elements"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1] * 66, "datatype": "FP32", "data": [0]}]}, 400, "has 66 axes, more than 16"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, int("9" * 4000)], "datatype": "FP32", "data": [0]}]}, 400, "999, more than"),
    ("mel", {"inputs": [{"name": "\ud800"}, {"name": "\ud800"}]}, 400, "the input '\\ud800' is sent twice"),
    ("mel", {"inputs": [{"name": "\ud800", "parameters": {"binary_data_size": 1}}]}, 400, "binary_data_size of '\\ud800' is 1"),
    ("mel", {"inputs": [{"name": "waveforms", "parameters": {"binary_data_size": True}}]}, 400, "binary_data_size of 'waveforms' is True"),
    ("mel", {"inputs": [{"name": "waveforms", "shape": [1, 2], "datatype": "FP32", "data": [0, 0]}], "parameters": {"timeout": True}}, 400, "not True"),
    ("m" * 5000, {"inputs": []}, 404, "there is no model 'mmm"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "body", "status", "sentence"), WRONG, ids=[f"{row[0][:20]}-{row[3][:30]}" for row in WRONG])
def test_what_is_wrong_is_said_in_a_sentence(running: Running, model: str, body: dict | bytes, status: int, sentence: str) -> None:
    found, answer = running.send(f"/v2/models/{model}/infer", body)
    assert found == status
    assert sentence in answer["error"]
    assert "\n" not in answer["error"]
    assert len(answer["error"]) < 300


@pytest.mark.parametrize("length", ["\xb2", "0" * 5000, "-1", "3", "1" * 19])
def test_a_length_of_the_json_that_is_none(running: Running, length: str) -> None:
    status, answer = running.send("/v2/models/mel/infer", b"{}", Inference_Header_Content_Length=length)
    assert status == 400
    assert "Inference-Header-Content-Length is" in answer["error"]


def test_shapes_and_names_over_grpc_are_refused_in_a_short_sentence_and_counted(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}) as running, running.rpc_client() as client:
        for shape, sentence in (([0, 2**62], "more than"), ([9] * 20000, "has 20000 axes")):
            sent = rpc_clients.InferInput("waveforms", shape, "FP32")
            sent._raw_content = b""
            with pytest.raises(rpc_clients.InferenceServerException, match=sentence) as raised:
                client.infer("mel", [sent])
            assert "INVALID_ARGUMENT" in raised.value.status()
        with pytest.raises(rpc_clients.InferenceServerException, match="there is no model 'mmm"):
            client.infer("m" * 100_000, [asked(rpc_clients, noise(800))])
        assert b'specgraph_requests_total{model="mel",protocol="grpc",status="400",version="1"} 2.0' in running.server.service.metrics.text()


RECORDED = [("int16", 1, False), ("int16", 2, True), ("float32", 2, False), ("float32", 2, True)]


@pytest.mark.parametrize(("dtype", "channels", "lengths"), RECORDED)
def test_sound_as_it_was_recorded(tmp_path: Path, dtype: str, channels: int, lengths: bool) -> None:
    mel = sg.MelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20)
    sg.to_onnx(sg.with_input(mel, dtype=dtype, channels=channels), tmp_path / "mel.onnx", lengths=lengths)
    run = sg.load(tmp_path / "mel.onnx")
    kind = "INT16" if dtype == "int16" else "FP32"

    def wave(number: int) -> np.ndarray:
        made = noise((4000, 3900, 3800)[number % 3] * channels, seed=number)
        made = (made * 10_000).astype(np.int16) if dtype == "int16" else made
        return made.reshape(1, channels, -1) if channels > 1 else made

    with Running({"mel": tmp_path / "mel.onnx"}, workers=1, slow=0.1) as running, concurrent.futures.ThreadPoolExecutor(12) as threads:

        def attempt(number: int) -> np.ndarray:
            module = rpc_clients if number % 2 else clients
            sent = module.InferInput("waveforms", list(wave(number).shape), kind)
            sent.set_data_from_numpy(wave(number), **({} if number % 2 else {"binary_data": number % 4 == 0}))
            return (running.rpc_client() if number % 2 else running.client()).infer("mel", [sent]).as_numpy("features")

        answers = list(threads.map(attempt, range(12)))
        assert running.metric("specgraph_call_clips_count", "mel") < 12
        file = io.BytesIO()
        soundfile = pytest.importorskip("soundfile")
        soundfile.write(file, wave(0).reshape(channels, -1).T, RATE, format="WAV", subtype="PCM_16" if dtype == "int16" else "FLOAT")
        status, body = running.send("/v2/models/mel/infer", file.getvalue(), Content_Type="audio/wav", Accept="application/x-npy")
        assert (status, np.load(io.BytesIO(body)).shape) == (200, answers[0].shape)
    for number, answer in enumerate(answers):
        wanted = run.outputs(wave(number))["features"]
        assert answer.shape == wanted.shape
        assert peak_error(answer, wanted) < CLOSE


def attached(folder: Path, inputs: list[Any], outputs: list[Any], nodes: list[Any], constants: list[Any], **how: Any) -> Path:
    """A mel front end joined with a model of (batch, 20, frames) ``f`` and other inputs."""
    onnx = pytest.importorskip("onnx")
    features = onnx.helper.make_tensor_value_info("f", onnx.TensorProto.FLOAT, ["batch", 20, "frames"])
    graph = onnx.helper.make_graph(nodes, "model", [features, *inputs], outputs, constants)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8), folder / "model.onnx")
    sg.attach(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20), folder / "model.onnx", folder / "joined.onnx", **how)
    return folder / "joined.onnx"


def test_outputs_without_a_batch_axis_in_front(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    outputs = [value("turned", onnx.TensorProto.FLOAT, ["frames", "batch", 20]), value("means", onnx.TensorProto.FLOAT, [20])]
    nodes = [node("Transpose", ["f"], ["turned"], perm=[2, 0, 1]), node("ReduceMean", ["f", "axes"], ["means"], keepdims=0)]
    axes = onnx.helper.make_tensor("axes", onnx.TensorProto.INT64, [2], [0, 2])
    path = attached(tmp_path, [], outputs, nodes, [axes], examples={"waveforms": noise(800)[:1]})  # means are of one clip
    wave = noise(800)[0]
    with Running({"joined": path}) as running:
        answer = running.client().infer("joined", [asked(clients, wave)])
    for name, wanted in sg.load(path).outputs(wave).items():
        np.testing.assert_array_equal(answer.as_numpy(name), wanted, strict=True)


def test_an_input_of_one_beside_several_clips_is_not_joined_with_others(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    value, node, number = onnx.helper.make_tensor_value_info, onnx.helper.make_node, onnx.helper.make_tensor
    nodes = [
        node("ReduceMean", ["f", "axes"], ["means"], keepdims=0), node("Cast", ["prompt"], ["floats"], to=onnx.TensorProto.FLOAT),
        node("Unsqueeze", ["floats", "one"], ["column"]), node("Add", ["means", "column"], ["sums"]),
    ]  # fmt: skip
    constants = [number("axes", onnx.TensorProto.INT64, [1], [2]), number("one", onnx.TensorProto.INT64, [1], [1])]
    inputs, outputs = [value("prompt", onnx.TensorProto.INT64, ["batch"])], [value("sums", onnx.TensorProto.FLOAT, ["batch", 20])]
    model = ServedModel("joined", "1", sg.load(attached(tmp_path, inputs, outputs, nodes, constants)))

    def job(clips: int, *prompts: int) -> Job:
        return Job(*model.checked({"waveforms": noise(800, clips), "prompt": np.array(prompts)}), 0.0, 0.0, None)  # type: ignore[arg-type]

    assert model.together([job(1, 5)], job(2, 6, 7), 32)
    assert not model.together([job(2, 5)], job(1, 6, 7), 32)  # 3 clips and 3 numbers, but none is where it belongs
    assert not model.together([job(1, 5)], job(2, 6), 32)


def test_a_type_that_is_not_served(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    output = onnx.helper.make_tensor_value_info("bytes", onnx.TensorProto.UINT8, ["batch", 20, "frames"])
    path = attached(tmp_path, [], [output], [onnx.helper.make_node("Cast", ["f"], ["bytes"], to=onnx.TensorProto.UINT8)], [])
    with pytest.raises(ValueError, match=r"bytes is tensor\(uint8\), which is not served"):
        ServedModel("joined", "1", sg.load(path))


def test_what_is_wrong_over_grpc(running: Running) -> None:
    client = running.rpc_client()
    for model, wave, sentence, code in (
        ("other", noise(800), "there is no model 'other'", "NOT_FOUND"),
        ("mel", np.full((1, 800), np.nan, np.float32), "800 values that are not finite", "INVALID_ARGUMENT"),
        ("mel", noise(800)[None], "not of shape (1, 1, 800)", "INVALID_ARGUMENT"),
    ):
        with pytest.raises(rpc_clients.InferenceServerException) as raised:
            client.infer(model, [asked(rpc_clients, wave)])
        assert sentence in raised.value.message()
        assert code in raised.value.status()
    with pytest.raises(rpc_clients.InferenceServerException, match="has no input 'wave'"):
        client.infer("mel", [asked(rpc_clients, noise(800), "wave")])


def test_other_paths_and_methods(running: Running) -> None:
    assert running.send("/v1/models")[0] == 404
    assert running.send("/v2/models/mel/infer")[0] == 405
    assert running.send("/v2/models/other/ready")[0] == 404
    status, answer = running.send("/nothing")
    assert status == 404
    assert "POST /v2/models/NAME/infer" in answer["error"]


def test_a_request_has_a_most_size(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, Limits(request_bytes=10_000)) as running:
        path = "/v2/models/mel/infer"
        assert running.send(path, bytes(10_001))[0] == 413
        bomb = gzip.compress(bytes(10_000_000))
        assert len(bomb) < 10_000
        status, answer = running.send(path, bomb, Content_Encoding="gzip")
        assert (status, "10,000 bytes" in answer["error"]) == (413, True)
        assert running.send(path, b"not gzip", Content_Encoding="gzip")[0] == 400
        cut = gzip.compress(b'{"inputs": []}')[:-4]
        assert "or not all of it" in running.send(path, cut, Content_Encoding="gzip")[1]["error"]
        for more in (b"more", gzip.compress(b" "), bytes(5_000)):
            assert "or more" in running.send(path, gzip.compress(b'{"inputs": []}') + more, Content_Encoding="gzip")[1]["error"]
        assert running.send(path, b"x", Content_Encoding="br")[0] == 415
        with pytest.raises(rpc_clients.InferenceServerException, match="larger than max"):
            running.rpc_client().infer("mel", [asked(rpc_clients, noise(100_000))])
        assert running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features").shape == (1, 20, 11)


def test_a_flood_is_refused_and_what_is_accepted_is_right(files: dict[str, Path]) -> None:
    run, wave = sg.load(files["mel"]), noise(2000)
    wanted = run(wave)
    with Running({"mel": files["mel"]}, Limits(queue=4, clips=1), workers=1, slow=0.1) as running:
        def attempt(_: int) -> str:
            sent = {"inputs": [{"name": "waveforms", "shape": [1, 2000], "datatype": "FP32", "data": wave.ravel().tolist()}]}
            status, answer = running.send("/v2/models/mel/infer", sent)
            if status == 200:
                got = np.float32(answer["outputs"][0]["data"]).reshape(answer["outputs"][0]["shape"])
                return "right" if peak_error(got, wanted) < CLOSE else "wrong"
            assert "wait for mel already" in answer["error"]
            return str(status)

        with concurrent.futures.ThreadPoolExecutor(30) as threads:
            found = list(threads.map(attempt, range(30)))
        assert set(found) == {"right", "429"}
        assert 5 <= found.count("right") < 30
        with concurrent.futures.ThreadPoolExecutor(20) as threads, pytest.raises(rpc_clients.InferenceServerException, match="RESOURCE_EXHAUSTED"):
            list(threads.map(lambda _: running.rpc_client().infer("mel", [asked(rpc_clients, wave)]), range(20)))
        assert running.metric("specgraph_requests_total", "mel") == 50


def test_a_late_request_is_given_up(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, Limits(clips=1), workers=1, slow=0.3) as running:
        client, rpc_client = running.client(), running.rpc_client()
        with pytest.raises(clients.InferenceServerException, match="no answer in time"):
            client.infer("mel", [asked(clients, noise(800))], timeout=50_000)
        with pytest.raises(rpc_clients.InferenceServerException, match="no answer in time"):
            rpc_client.infer("mel", [asked(rpc_clients, noise(800))], timeout=50_000)
        with pytest.raises(rpc_clients.InferenceServerException, match="(?i)deadline"):
            rpc_client.infer("mel", [asked(rpc_clients, noise(800))], client_timeout=0.05)
        assert client.infer("mel", [asked(clients, noise(800))], timeout=5_000_000).as_numpy("features").shape == (1, 20, 11)


def test_a_client_that_goes_away_is_not_computed_for(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, Limits(clips=1), workers=1, slow=0.3) as running:
        body = json.dumps({"inputs": [{"name": "waveforms", "shape": [1, 800], "datatype": "FP32", "data": [0.1] * 800}]}).encode()
        gone = [socket.create_connection(("127.0.0.1", running.server.http_port or 0)) for _ in range(5)]
        for connection in gone:
            connection.sendall(b"POST /v2/models/mel/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(0.1)
        for connection in gone:
            connection.close()
        start = time.perf_counter()
        running.client().infer("mel", [asked(clients, noise(800))])
        assert time.perf_counter() - start < 1.0  # of the five one was begun
        assert running.metric("specgraph_call_clips_count", "mel") <= 2


def test_half_a_request(files: dict[str, Path]) -> None:
    with Running({"mel": files["mel"]}, Limits(arrival=0.3)) as running:
        with socket.create_connection(("127.0.0.1", running.server.http_port or 0)) as connection:
            connection.settimeout(10)
            connection.sendall(b"POST /v2/models/mel/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf of it")
            answer = b""
            while b"}" not in answer:
                answer += connection.recv(1000) or b"}"
        assert b"408" in answer.splitlines()[0]
        assert b"did not arrive within 0.3 s" in answer
        with socket.create_connection(("127.0.0.1", running.server.http_port or 0)) as connection:
            connection.sendall(b"POST /v2/models/mel/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf of it")
        assert running.send("/v2/health/ready")[0] == 200


def test_audio_files_are_answered(running: Running, files: dict[str, Path]) -> None:
    soundfile = pytest.importorskip("soundfile")
    run, wave = sg.load(files["mel"]), noise(4000)[0]
    for form, subtype in (("WAV", "FLOAT"), ("FLAC", "PCM_24")):
        file = io.BytesIO()
        soundfile.write(file, wave, RATE, format=form, subtype=subtype)
        wanted = run(soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")[0])
        status, answer = running.send("/v2/models/mel/infer", file.getvalue(), Content_Type="audio/wav", Accept="application/x-npy")
        assert status == 200
        np.testing.assert_array_equal(np.load(io.BytesIO(answer))[0], wanted)
        status, answer = running.send("/v2/models/ragged/infer", file.getvalue(), Content_Type="application/octet-stream")
        features = answer["outputs"][0]
        assert peak_error(np.float32(features["data"]).reshape(features["shape"])[0], wanted) < CLOSE


def test_a_small_file_of_hours_is_refused(files: dict[str, Path]) -> None:
    soundfile = pytest.importorskip("soundfile")
    file = io.BytesIO()
    soundfile.write(file, np.zeros(RATE * 3600, np.int16), RATE, format="FLAC", subtype="PCM_16")
    with Running({"mel": files["mel"]}, Limits(request_bytes=200_000)) as running:
        assert len(file.getvalue()) < 200_000
        status, answer = running.send("/v2/models/mel/infer", file.getvalue(), Content_Type="audio/flac")
        assert (status, "decodes to more than 200,000 bytes" in answer["error"]) == (413, True)


@pytest.mark.parametrize(("dtype", "channels"), [("int16", 1), ("float32", 2), ("int16", 2)])
def test_models_of_what_was_recorded(dtype: str, channels: int, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    mel = sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20)
    sg.to_onnx(sg.with_input(mel, dtype=dtype, channels=channels), tmp_path / "m.onnx")
    file, held = io.BytesIO(), np.round(noise(4000, channels) * 3000).astype(np.int16)
    soundfile.write(file, held.T, RATE, format="WAV", subtype="PCM_16")
    wanted = mel.graph().numpy(held.mean(0, keepdims=True) / 32768)["features"]
    with Running({"m": tmp_path / "m.onnx"}) as running:
        status, answer = running.send("/v2/models/m/infer", file.getvalue(), Content_Type="audio/wav", Accept="application/x-npy")
    assert status == 200
    assert peak_error(np.load(io.BytesIO(answer)), wanted) < CLOSE


@pytest.mark.parametrize(("model", "body", "sentence"), [
    ("mel", b"", "the request is empty"), ("mel", b"this is text", "the request cannot be read as audio"), ("inverse", b"RIFF", "takes features, not audio"),
])  # fmt: skip
def test_what_is_not_audio(running: Running, model: str, body: bytes, sentence: str) -> None:
    status, answer = running.send(f"/v2/models/{model}/infer", body, Content_Type="audio/wav")
    assert status == 400
    assert sentence in answer["error"]


def test_a_form_is_refused(running: Running) -> None:
    status, answer = running.send("/v2/models/mel/infer", b"--x--", Content_Type="multipart/form-data; boundary=x")
    assert (status, "a form is not taken; send the file alone" in answer["error"]) == (415, True)


@pytest.mark.parametrize("module", [clients, rpc_clients])
def test_what_the_server_lacks_is_refused(running: Running, module: Any) -> None:
    client = running.client() if module is clients else running.rpc_client()
    with pytest.raises(module.InferenceServerException, match="'features' has the parameter classification, which this server lacks"):
        client.infer("mel", [asked(module, noise(800))], outputs=[module.InferRequestedOutput("features", class_count=3)])
    sent = module.InferInput("waveforms", [1, 800], "FP32")
    sent.set_shared_memory("region", 3200)
    with pytest.raises(module.InferenceServerException, match="'waveforms' has the parameter shared_memory_"):
        client.infer("mel", [sent])


def test_metrics(running: Running) -> None:
    running.client().infer("mel", [asked(clients, noise(800))])
    running.send("/v2/models/made-up-name/infer", b"{}")
    status, text = running.send("/metrics")
    assert status == 200
    assert b'specgraph_requests_total{model="mel",protocol="http",status="200",version="1"}' in text
    assert b"made-up-name" not in text
    assert b'specgraph_waiting_requests{model="mel",version="1"} 0.0' in text


def test_what_was_accepted_is_answered_before_the_end(files: dict[str, Path]) -> None:
    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        with Running({"mel": files["mel"]}, Limits(clips=1), workers=2, slow=0.3) as running:
            rpc_client = running.rpc_client()

            def over_http(_: int) -> Any:
                return running.client().infer("mel", [asked(clients, noise(800))]).as_numpy("features")

            def over_grpc(_: int) -> Any:
                return rpc_client.infer("mel", [asked(rpc_clients, noise(800))]).as_numpy("features")

            answers = [threads.submit(function, number) for number in range(6) for function in (over_http, over_grpc)]
            while running.metric("specgraph_call_clips_count", "mel") + running.metric("specgraph_waiting_requests", "mel") < 12:
                assert not all(answer.done() for answer in answers)
                time.sleep(0.005)
            assert not all(answer.done() for answer in answers)
            port = running.server.http_port or 0
        for answer in answers:
            assert answer.result(10).shape == (1, 20, 11)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def started(*arguments: str) -> tuple[subprocess.Popen[str], int, int]:
    process = subprocess.Popen([sys.executable, "-m", "specgraph", "serve", *arguments, "--port", "0", "--grpc-port", "0"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("listening at"):
            http_port, grpc_port = (int(place.split(":")[-1].rstrip(";")) for place in (line.split()[2], line.split()[4]))
            return process, http_port, grpc_port
    raise AssertionError("it did not start")


def test_the_command_serves_on_loopback_alone_until_sigterm(files: dict[str, Path]) -> None:
    process, http_port, grpc_port = started(str(files["mel"]), f"other:2={files['ragged']}")
    try:
        if Path("/proc/net/tcp").exists():
            tables = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
            places = {row[1].split(":")[0] for row in tables if row[3] == "0A" and int(row[1].split(":")[1], 16) in (http_port, grpc_port)}
            assert places <= {"0100007F", "0000000000000000FFFF00000100007F"}
        client = clients.InferenceServerClient(f"127.0.0.1:{http_port}", concurrency=8)
        assert client.get_model_metadata("other")["versions"] == ["2"]
        long = asked(clients, noise(RATE * 600))
        with concurrent.futures.ThreadPoolExecutor(6) as threads:
            answers = [threads.submit(lambda: clients.InferenceServerClient(f"127.0.0.1:{http_port}").infer("mel", [long])) for _ in range(6)]
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline and not any(answer.done() for answer in answers):
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            for answer in answers:
                assert answer.result(30).as_numpy("features").shape == (1, 20, 1 + RATE * 600 // 80)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="replicas need SO_REUSEPORT")
def test_a_replica_that_is_killed_is_replaced_by_one_of_the_same_model(files: dict[str, Path], tmp_path: Path) -> None:
    served = tmp_path / "mel.onnx"
    shutil.copy(files["mel"], served)
    process, http_port, grpc_port = started(str(served), "--replicas", "2", "--workers", "1")
    shutil.copy(files["inverse"], tmp_path / "new")
    (tmp_path / "new").replace(served)
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        if not children.exists():
            pytest.skip("the system does not list a process' children")

        def replicas() -> set[int]:
            return {int(child) for child in children.read_text().split() if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}

        first = replicas()
        assert len(first) == 2
        os.kill(min(first), signal.SIGKILL)
        wanted, wave = sg.load(files["mel"])(noise(800)), noise(800)
        deadline = time.monotonic() + 30
        right = refused = 0
        while time.monotonic() < deadline and (right < 20 or len(replicas() - {min(first)}) < 2):
            try:
                answer = clients.InferenceServerClient(f"127.0.0.1:{http_port}").infer("mel", [asked(clients, wave)])
                rpc_clients.InferenceServerClient(f"127.0.0.1:{grpc_port}").infer("mel", [asked(rpc_clients, wave)])
            except (OSError, rpc_clients.InferenceServerException):
                refused += 1
                continue
            np.testing.assert_array_equal(answer.as_numpy("features"), wanted)
            right += 1
        assert right >= 20
        assert refused <= 2  # those that the killed one had accepted
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.skipif(not hasattr(socket, "SO_REUSEPORT"), reason="replicas need SO_REUSEPORT")
def test_replicas_share_no_port_with_others_and_end_with_their_parent(files: dict[str, Path]) -> None:
    process, http_port, grpc_port = started(str(files["mel"]), "--replicas", "2", "--workers", "1")
    try:
        with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1, port {grpc_port}"):
            Replicas(Server, (), Addresses(http=0, grpc=grpc_port), 2).run()
        process.kill()
        deadline = time.monotonic() + 20
        for port in (http_port, grpc_port):  # which are closed one after the other
            while time.monotonic() < deadline:
                try:
                    socket.create_connection(("127.0.0.1", port)).close()
                except ConnectionRefusedError:
                    break
                time.sleep(0.05)
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port)).close()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]


@pytest.mark.parametrize(("arguments", "sentence"), [
    (("nothing.onnx",), "there is no file nothing.onnx"), (("a:=x.onnx",), "none of them"), (("x/y=mel.onnx",), "none of them"),
    (("mel.onnx", "--drain", "inf"), "--drain must be a finite number"),
])  # fmt: skip
def test_the_command_refuses_in_a_sentence(arguments: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from specgraph.cli import main

    monkeypatch.setattr(sys, "argv", ["specgraph", "serve", *arguments])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 1
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_port_that_is_taken(files: dict[str, Path]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        model = ServedModel("mel", "1", sg.load(files["mel"]))
        for addresses in (Addresses(http=port, grpc=None), Addresses(http=None, grpc=port)):
            with pytest.raises(OSError, match=f"cannot listen at 127.0.0.1, port {port}: Address already in use"):
                asyncio.run(Server([model], addresses).start())
    with pytest.raises(ValueError, match="is given twice"):
        Server([model, model])
