"""Model repositories for Triton: what they say, and, where its binary is at hand, that it serves them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import specgraph as sg
from specgraph.runtimes.triton import Options, write_repository
from tests.conftest import peak_error

proto = pytest.importorskip("tritonclient.grpc.model_config_pb2")
text_format = pytest.importorskip("google.protobuf.text_format")

RATE = 8000


@pytest.fixture(scope="module")
def mel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "mel.onnx"
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20), path)
    return path


def mean_over_time(path: Path, bins: int = 20, output: str = "means", batch: str | int = "batch") -> Path:
    """A model behind a front end: (batch, bins, frames) -> (batch, bins)."""
    features = helper.make_tensor_value_info("features_in", TensorProto.FLOAT, [batch, bins, "frames"])
    means = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, bins])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [2])
    node = helper.make_node("ReduceMean", ["features_in", "axes"], [output], keepdims=0)
    graph = helper.make_graph([node], "means", [features], [means], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def read(folder: Path) -> Any:
    return text_format.Parse((folder / "config.pbtxt").read_text(), proto.ModelConfig())


def test_what_a_repository_says(mel: Path, tmp_path: Path) -> None:
    options = Options(max_batch=16, delay=0.001, queue=50, timeout=2.0, instances=3)
    (folder,) = write_repository(mel, tmp_path / "repository", options=options)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == ["1/model.onnx", "config.pbtxt"]
    assert (folder / "1" / "model.onnx").read_bytes() == mel.read_bytes()
    config = read(folder)
    assert (config.name, config.backend, config.max_batch_size) == ("mel", "onnxruntime", 16)
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("waveforms", proto.TYPE_FP32, [-1])]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.output] == [("features", proto.TYPE_FP32, [20, -1])]
    policy = config.dynamic_batching.default_queue_policy
    assert (config.dynamic_batching.max_queue_delay_microseconds, policy.max_queue_size, policy.default_timeout_microseconds) == (1000, 50, 2_000_000)
    assert policy.allow_timeout_override
    assert [(group.count, group.kind) for group in config.instance_group] == [(3, proto.ModelInstanceGroup.KIND_CPU)]
    assert [(warm.batch_size, list(warm.inputs["waveforms"].dims)) for warm in config.model_warmup] == [(1, [8000]), (16, [8000])]


def test_gpus_and_versions(mel: Path, tmp_path: Path) -> None:
    write_repository(mel, tmp_path, name="front")
    (folder,) = write_repository(mel, tmp_path, name="front", version=2, options=Options(gpu=True, warm_up=False))
    config = read(folder)
    assert config.instance_group[0].kind == proto.ModelInstanceGroup.KIND_GPU
    assert "intra_op_thread_count" not in config.parameters
    assert not config.model_warmup
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "config.pbtxt"]
    with pytest.raises(FileExistsError, match="2 exists already; give another --version"):
        write_repository(mel, tmp_path, name="front", version=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["front"]  # nothing temporary is left


def test_lengths_are_numbers_of_a_clip(tmp_path: Path) -> None:
    path = tmp_path / "ragged.onnx"
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20), path, lengths=True)
    (folder,) = write_repository(path, tmp_path / "repository")
    config = read(folder)
    for tensor in (config.input[1], config.output[1]):
        assert (tensor.data_type, list(tensor.dims), tensor.HasField("reshape"), list(tensor.reshape.shape)) == (proto.TYPE_INT64, [1], True, [])
    assert not config.input[0].HasField("reshape")


def test_an_ensemble(mel: Path, tmp_path: Path) -> None:
    then = mean_over_time(tmp_path / "means.onnx")
    folders = write_repository(mel, tmp_path / "repository", then=then)
    assert [folder.name for folder in folders] == ["mel", "means", "mel_pipeline"]
    assert (folders[2] / "1").is_dir()
    config = read(folders[2])
    assert (config.platform, config.max_batch_size) == ("ensemble", 32)
    assert [tensor.name for tensor in (*config.input, *config.output)] == ["waveforms", "means"]
    first, second = config.ensemble_scheduling.step
    assert first.output_map["features"] == second.input_map["features_in"]
    assert (first.input_map["waveforms"], second.output_map["means"]) == ("waveforms", "means")


@pytest.mark.parametrize(("make", "sentence"), [
    (lambda path: mean_over_time(path, bins=30), r"gives features TYPE_FP32 \(20, -1\), and then takes features_in TYPE_FP32 \(30, -1\)"),
    (lambda path: mean_over_time(path, batch=1), "gives features"),
    (lambda path: path, "there is no file"),
    (lambda path: path.write_text("hello") and path, "is not a whole ONNX model"),
])  # fmt: skip
def test_what_does_not_fit(mel: Path, tmp_path: Path, make: Any, sentence: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        write_repository(mel, tmp_path / "repository", then=make(tmp_path / "then.onnx"))
    assert not (tmp_path / "repository").exists()


@pytest.mark.parametrize("name", ["a\nb", "a\0b", "x" * 300, "\udcff", ".."])
def test_names_that_no_folder_can_have(mel: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be one; give --name"):
        write_repository(mel, tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_one_configuration_is_of_all_versions(mel: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=30), other)
    (folder,) = write_repository(mel, tmp_path / "repository", name="front")
    held = (folder / "config.pbtxt").read_text()
    with pytest.raises(ValueError, match="have other inputs or outputs"):
        write_repository(other, tmp_path / "repository", name="front", version=2)
    assert (folder / "config.pbtxt").read_text() == held
    with pytest.raises(ValueError, match="version must be from 1"):
        write_repository(mel, tmp_path / "repository", version=2**63)
    (tmp_path / "repository" / "file").touch()
    with pytest.raises(ValueError, match="is a file, where a folder is to be written"):
        write_repository(mel, tmp_path / "repository", name="file")


def test_an_output_that_does_not_begin_with_the_batch_is_not_cut_by_triton(tmp_path: Path) -> None:
    features = helper.make_tensor_value_info("f", TensorProto.FLOAT, ["batch", 20, "frames"])
    turned = helper.make_tensor_value_info("turned", TensorProto.FLOAT, ["frames", "batch", 20])
    graph = helper.make_graph([helper.make_node("Transpose", ["f"], ["turned"], perm=[2, 0, 1])], "turn", [features], [turned])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "turn.onnx")
    sg.attach(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20), tmp_path / "turn.onnx", tmp_path / "joined.onnx")
    (folder,) = write_repository(tmp_path / "joined.onnx", tmp_path / "repository")
    config = read(folder)
    assert config.max_batch_size == 0
    assert [list(tensor.dims) for tensor in (*config.input, *config.output)] == [[-1, -1], [-1, -1, 20]]


def test_other_refusals(mel: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is the front end itself"):
        write_repository(mel, tmp_path / "r", then=mel)
    with pytest.raises(ValueError, match="would both be called means"):
        write_repository(mel, tmp_path / "r", name="means", then=mean_over_time(tmp_path / "means.onnx"))
    with pytest.raises(ValueError, match="give --name"):
        write_repository(mel, tmp_path / "r", name="a/b")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        write_repository(tmp_path / "no.onnx", tmp_path / "r")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        write_repository(mel, mel)


BACKEND = """
import json, numpy as np, onnxruntime, triton_python_backend_utils as utils

class TritonPythonModel:
    def initialize(self, args):
        self.session = onnxruntime.InferenceSession(f"{args['model_repository']}/{args['model_version']}/model.onnx", providers=["CPUExecutionProvider"])

    def execute(self, requests):
        answers = []
        for request in requests:
            given = {node.name: utils.get_input_tensor_by_name(request, node.name).as_numpy() for node in self.session.get_inputs()}
            names = [node.name for node in self.session.get_outputs()]
            answers.append(utils.InferenceResponse([utils.Tensor(n, a) for n, a in zip(names, self.session.run(names, given))]))
        return answers
"""


@pytest.mark.skipif("SPECGRAPH_TRITON" not in os.environ, reason="SPECGRAPH_TRITON names a Python environment with nvidia-pytriton and onnxruntime")
def test_triton_serves_it(mel: Path, tmp_path: Path) -> None:
    # The package's binary has no backend for onnxruntime: its Python backend runs the same file instead.
    clients = pytest.importorskip("tritonclient.http")
    repository, ragged = tmp_path / "repository", tmp_path / "ragged.onnx"
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20), ragged, lengths=True)
    for folder in write_repository(mel, repository, then=mean_over_time(tmp_path / "means.onnx")) + write_repository(ragged, repository):
        config = read(folder)
        if config.backend:
            config.backend = "python"
            del config.model_warmup[:]  # which it runs before the environment is ready
            config.ClearField("default_model_filename")
            (folder / "1" / "model.py").write_text(BACKEND)
            (folder / "config.pbtxt").write_text(text_format.MessageToString(config))
    environment = Path(os.environ["SPECGRAPH_TRITON"])
    (package,) = environment.glob("lib/python3*/site-packages/pytriton")
    server = package / "tritonserver"
    backends = shutil.copytree(server / "backends", tmp_path / "backends")
    for stub in server.glob("python_backend_stubs/*/triton_python_backend_stub"):
        if stub.parent.name == package.parents[1].name.removeprefix("python"):
            shutil.copy(stub, backends / "python")
    libraries = str(package.parent / "nvidia_pytriton.libs")
    process = subprocess.Popen(
        [server / "bin" / "tritonserver", f"--model-repository={repository}", f"--backend-directory={backends}", "--http-port=18000",
         "--allow-grpc=false", "--allow-metrics=false", "--http-address=127.0.0.1"],
        env=os.environ | {"LD_LIBRARY_PATH": libraries, "PATH": f"{environment / 'bin'}:{os.environ['PATH']}"}, stdout=sys.stderr, stderr=sys.stderr,
    )  # fmt: skip
    try:
        client = clients.InferenceServerClient("127.0.0.1:18000")
        deadline = time.monotonic() + 60
        while True:
            try:
                if client.is_server_ready():
                    break
            except OSError:
                pass
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        wave = (0.3 * np.random.default_rng(0).standard_normal((2, 4000))).astype(np.float32)
        sent = clients.InferInput("waveforms", [2, 4000], "FP32")
        sent.set_data_from_numpy(wave)
        wanted = sg.load(mel)(wave)
        assert peak_error(client.infer("mel", [sent]).as_numpy("features"), wanted) < 1e-6
        assert peak_error(client.infer("mel_pipeline", [sent]).as_numpy("means"), wanted.mean(-1)) < 1e-5
        lengths = clients.InferInput("waveforms_lens", [2, 1], "INT64")
        lengths.set_data_from_numpy(np.array([[4000], [1000]]))
        answer = client.infer("ragged", [sent, lengths])
        features, ends = sg.load(ragged)(wave, np.array([4000, 1000]))
        assert peak_error(answer.as_numpy("features"), features) < 1e-5
        assert answer.as_numpy("features_lens").ravel().tolist() == ends.tolist()
        client.close()
    finally:
        process.terminate()
        process.wait(30)


def test_a_configuration_that_was_edited_is_not_replaced(mel_file: Path, tmp_path: Path) -> None:
    write_repository(mel_file, tmp_path / "repository", "mel")
    write_repository(mel_file, tmp_path / "repository", "mel", version=2)
    config = tmp_path / "repository" / "mel" / "config.pbtxt"
    config.write_text(config.read_text() + "# tuned\n")
    held = config.read_text()
    with pytest.raises(ValueError, match="config.pbtxt was edited, or not written by specgraph, and would be replaced"):
        write_repository(mel_file, tmp_path / "repository", "mel", version=3)
    assert config.read_text() == held
    assert sorted(path.name for path in config.parent.iterdir()) == ["1", "2", "config.pbtxt"]


def test_arrays_in_other_files_come_along(mel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a joined model, and of one behind a front end: onnxruntime loads both from where Triton would."""
    from specgraph.export import joined_file

    means = onnx.load(mean_over_time(tmp_path / "means.onnx", 8, batch="batch"))
    means.graph.initializer.append(numpy_helper.from_array(np.full(8, 2.0, np.float32), "scale"))
    means.graph.node.append(helper.make_node("Mul", ["means", "scale"], ["scaled"]))
    means.graph.output[0].name = "scaled"
    folder = tmp_path / "apart"
    folder.mkdir()
    onnx.save_model(means, folder / "means.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.setattr(joined_file, "MOST_BYTES", 100)
    transform = sg.MelSpectrogram(sample_rate=RATE, n_fft=64, hop_length=32, n_mels=8)
    sg.attach(transform, folder / "means.onnx", tmp_path / "joined.onnx")
    assert (tmp_path / "joined.onnx_data").exists()
    wave = np.sin(np.arange(4000, dtype=np.float32))[None]
    wanted = sg.load(tmp_path / "joined.onnx")(wave)
    write_repository(tmp_path / "joined.onnx", tmp_path / "models")
    there = tmp_path / "models" / "joined" / "1"
    assert sorted(file.name for file in there.iterdir()) == ["joined.onnx_data", "model.onnx"]
    session = onnxruntime.InferenceSession(there / "model.onnx", providers=["CPUExecutionProvider"])
    assert peak_error(session.run(None, {"waveforms": wave})[0], wanted) < 1e-6
    sg.to_onnx(transform, tmp_path / "mel8.onnx")
    write_repository(tmp_path / "mel8.onnx", tmp_path / "two", then=folder / "means.onnx")
    assert sorted(file.name for file in (tmp_path / "two" / "means" / "1").iterdir()) == ["model.onnx", "weights.bin"]
    onnxruntime.InferenceSession(tmp_path / "two" / "means" / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    (folder / "weights.bin").unlink()
    with pytest.raises(FileNotFoundError, match="means.onnx needs weights.bin beside it; copy both"):
        write_repository(tmp_path / "mel8.onnx", tmp_path / "three", then=folder / "means.onnx")
    assert not (tmp_path / "three").exists()
