"""Half precision: features in float16 are those of float32, rounded once, never NaN or infinite; what float16 cannot hold is refused."""

from __future__ import annotations

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.export.verification import VerificationError, checked
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import GraphError
from specgraph.presets import presets
from specgraph.transforms import registry
from tests.conftest import one_sentence, opened, session
from tests.test_export import all_on_cuda, environment_of_cuda
from tests.test_module import small

MEL = sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40)
EVERY = {
    **{name: preset.with_parameters(length=8000) if preset.length else preset for name, preset in presets().items()},
    **{name: small(name) for name in registry()},
}
FULL_SCALE = {
    "silence": np.zeros((1, 12000), np.float32),
    "full scale": np.where(np.arange(12000) % 50 < 25, 1.0, -1.0).astype(np.float32)[None],
    "constant": np.ones((1, 12000), np.float32),
    "one step": np.eye(1, 12000, 600, dtype=np.float32) / 32768,
}


def half_step(values: np.ndarray) -> np.ndarray:
    """Half a unit in the last place of float16: a sign, 5 bits of exponent from 2^-14 on, 10 of fraction."""
    return 2.0 ** (np.maximum(np.floor(np.log2(np.maximum(np.abs(values), 2.0**-24))), -14) - 11)


@pytest.mark.parametrize("name", EVERY)
def test_features_are_float32s_rounded_once(name: str, tmp_path: Path) -> None:
    source = EVERY[name]
    report = sg.to_onnx(source, tmp_path / "half.onnx", dtype="float16")
    assert report.half_error is not None
    assert report.half_error <= 2.0**-10
    graph = source.graph()
    single, half = session(lower(graph.frozen())), opened(tmp_path / "half.onnx")
    for signal, wave in (FULL_SCALE if graph.takes_waveforms else {}).items():
        wave = np.tile(wave, (1, -(-graph.least() // wave.shape[1])))
        for wanted, got in zip(single.run(None, {"waveforms": wave}), half.run(None, {"waveforms": wave}), strict=True):
            assert got.dtype == np.float16
            assert np.isfinite(got).all(), signal
            assert (np.abs(got.astype(np.float64) - wanted) <= half_step(wanted)).all(), signal


def test_what_is_before_the_end_is_float32(tmp_path: Path) -> None:
    sg.to_onnx(MEL, tmp_path / "m.onnx", dtype="float16")
    model = onnx.load(tmp_path / "m.onnx")
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT16
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert not [array.name for array in model.graph.initializer if array.data_type == onnx.TensorProto.FLOAT16]
    assert [list(node.output) for node in model.graph.node if node.op_type == "Cast"] == [["features"]]


# --- what float16 does not hold ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "sentence"),
    [
        (sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40), None),
        (sg.Spectrogram(n_fft=2048, output="power"), r"on \w+ features reaches .*, and float16 ends at 65504; take the logarithm"),
    ],
    ids=["mel", "power"],
)
def test_large_spectra_are_refused(transform: object, sentence: str | None, tmp_path: Path) -> None:
    if sentence is None:
        sg.to_onnx(transform, tmp_path / "m.onnx", dtype="float16")
        return
    with pytest.raises(VerificationError, match=sentence) as raised:
        sg.to_onnx(transform, tmp_path / "m.onnx", dtype="float16")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "m.onnx").exists()


def scaled(scale: float) -> Graph:
    """A linear power spectrum of samples times ``scale``."""
    b = sg.Builder(sample_rate=16000)
    wave = b.affine(b.input("waveforms"), scale)
    return b.build(power=b.magnitude(b.stft(b.pad(wave, 200), n_fft=400, hop_length=160), power=2.0))


def test_power_at_kaldis_scale_and_far_below_are_refused(tmp_path: Path) -> None:
    for scale, sentence in (
        (32768.0, r"on \w+ power reaches \d.*e\+\d+, and float16 ends at 65504"),
        (1e-5, r"on .* the features are so small that float16 rounds them by .* of their peak, having steps of 6e-08 there; take the logarithm"),
    ):
        with pytest.raises(VerificationError, match=sentence) as raised:
            sg.to_onnx(scaled(scale), tmp_path / "m.onnx", dtype="float16")
        assert "\n" not in str(raised.value)
        assert not (tmp_path / "m.onnx").exists()
        sg.to_onnx(scaled(scale), tmp_path / "m.onnx")
        (tmp_path / "m.onnx").unlink()


def test_a_wrong_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match="dtype must be 'float32' or 'float16', not 'bfloat16'"):
        sg.to_onnx(MEL, tmp_path / "m.onnx", dtype="bfloat16")
    model = torch.nn.Sequential(MEL.module(), torch.nn.Conv1d(40, 2, 1))
    with pytest.raises(TypeError, match="dtype is of front ends, and a whole model is written in float32"):
        sg.to_onnx(model, tmp_path / "m.onnx", dtype="float16")


def test_what_is_not_rounded_to_the_nearest_is_not_verified() -> None:
    graph = dataclasses.replace(MEL.graph(), dtype="float16")

    def rounded(inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        return {"features": graph.numpy(*inputs)["features"].astype(np.float16)}

    def truncated(inputs: tuple[np.ndarray, ...]) -> dict[str, np.ndarray]:
        exact, near = graph.numpy(*inputs)["features"], rounded(inputs)["features"]
        return {"features": np.where(np.abs(near) > np.abs(exact), np.nextafter(near, np.float16(0)), near)}

    checks = checked(graph, rounded, (), 2e-6, torch=False)
    assert max(check.error for check in checks) < 1e-12
    with pytest.raises(VerificationError, match="differs from its float64 definition by"):
        checked(graph, truncated, (), 2e-6, torch=False)


# --- what is read back ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "half.onnx"
    sg.to_onnx(dataclasses.replace(MEL, top_db=None).graph(trainable=("mel",)), path, dtype="float16")
    return path


def test_definition_is_float32_and_exports_to_the_same_bytes(half: Path, tmp_path: Path) -> None:
    graph = sg.read_graph(half)
    assert graph.dtype == "float16"
    net = graph.module()
    features = net(torch.from_numpy(0.1 * np.random.default_rng(0).standard_normal((2, 9000)).astype(np.float32)))
    assert features.dtype == torch.float32  # to be trained
    features.square().mean().backward()
    assert net.mel.grad.abs().sum() > 0
    sg.to_onnx(graph, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == half.read_bytes()
    sg.to_onnx(net, tmp_path / "trained.onnx")  # in float32, as torch holds it
    sg.to_onnx(sg.read_graph(tmp_path / "trained.onnx").module(), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "trained.onnx").read_bytes()
    assert sg.load(tmp_path / "trained.onnx").output_types == ("float16",)
    sg.to_onnx(graph, tmp_path / "single.onnx", dtype="float32")
    assert sg.load(tmp_path / "single.onnx").output_types == ("float32",)
    assert sg.read_graph(tmp_path / "single.onnx").dtype == "float32"
    report = sg.verify(half)
    assert 1e-4 < report.half_error <= 2.0**-11
    assert "in half precision: beside that, float16 rounds the features by up to" in str(report)
    assert sg.load(half).meta.verified["half_error"] == pytest.approx(report.half_error, rel=0.1)


def test_other_files_say_nothing_of_it(mel_file: Path) -> None:
    names = {entry.key for entry in onnx.load(mel_file).metadata_props}
    assert not names & {"specgraph.dtype", "specgraph.input_dtype", "specgraph.channels"}
    assert sg.verify(mel_file).half_error is None
    assert "half_error" not in sg.load(mel_file).meta.verified


# --- runtimes -----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(1, 60_000), batch=st.integers(1, 3))
def test_parts_streams_and_torch(half: Path, samples: int, batch: int) -> None:
    wave = 0.2 * np.random.default_rng(samples).standard_normal((batch, samples)).astype(np.float32)
    whole = sg.load(half, most_bytes=np.inf, threads=1)(wave)
    assert whole.dtype == np.float16
    step = 2 * half_step(whole.astype(np.float64)).max() * 1.01  # one in the last place
    stream = sg.load(half, threads=1).stream(batch)
    ends = [*range(0, samples, 7000), samples]
    pieces = [stream.push(wave[:, begin:end]) for begin, end in itertools.pairwise(ends)]
    for others in (
        sg.load(half, most_bytes=2e4, threads=1)(wave),
        np.concatenate([*pieces, stream.finish()], -1),
        sg.load(half, device="torch")(wave),
    ):
        assert others.dtype == np.float16
        assert others.shape == whole.shape
        assert np.abs(others.astype(np.float64) - whole).max() <= step


def test_what_looks_at_the_whole_clip_is_still_run_in_parts(tmp_path: Path) -> None:
    # Two outputs: the rest reads the one in float32, which the other is the rounding of.
    b = sg.Builder(sample_rate=16000)
    mel = b.log(b.clip(b.magnitude(b.stft(b.pad(b.input("waveforms"), 200), n_fft=400, hop_length=160), power=2.0), minimum=1e-5))
    graph = b.build(features=b.normalize(mel, 2.0, axis=2), plain=mel)
    sg.to_onnx(graph, tmp_path / "m.onnx", dtype="float16")
    whole, parts = sg.load(tmp_path / "m.onnx", most_bytes=np.inf, threads=1), sg.load(tmp_path / "m.onnx", most_bytes=1e5, threads=1)
    assert parts.meta.slicing.cut
    wave = 0.2 * np.random.default_rng(0).standard_normal((2, 60_000)).astype(np.float32)
    got, wanted = parts(wave), whole(wave)
    for name, value in wanted.items():
        assert got[name].dtype == value.dtype == np.float16
        assert np.abs(got[name].astype(np.float64) - value).max() <= 2.02 * half_step(value.astype(np.float64)).max()


def test_lengths_are_whole_numbers_still(half: Path, tmp_path: Path) -> None:
    sg.to_onnx(sg.read_graph(half), tmp_path / "m.onnx", lengths=True)
    run = sg.load(tmp_path / "m.onnx")
    clips = [0.1 * np.random.default_rng(size).standard_normal(size).astype(np.float32) for size in (9000, 1, 4000)]
    features, counts = run(clips)
    assert (features.dtype, counts.dtype) == (np.float16, np.int64)
    for clip, found, count in zip(clips, features, counts, strict=True):
        wanted = sg.load(half)(clip)
        assert wanted.shape[1] == count
        step = 2 * half_step(wanted.astype(np.float64)).max() * 1.01
        assert np.abs(found[:, :count].astype(np.float64) - wanted).max() <= step
        assert not found[:, count:].any()
    results = list(sg.load(half).map(clips))
    assert [result.dtype for result in results] == [np.float16] * 3


def test_state_of_a_stream_stays_float32(half: Path, tmp_path: Path) -> None:
    sg.to_onnx(sg.read_graph(half), tmp_path / "s.onnx", streaming=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    assert {node.name: node.type for node in session.get_outputs()} == {"features": "tensor(float16)", "next_state": "tensor(float)"}


def test_with_recorded_sound(half: Path, tmp_path: Path) -> None:
    sg.to_onnx(sg.with_input(sg.read_graph(half), "int16", 48000, 2), tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx")
    assert (run.input_types, run.output_types) == (("int16",), ("float16",))
    loudest = np.full((1, 2, 48000), -32768, np.int16)
    for wave in (loudest, np.zeros_like(loudest), np.where(np.arange(48000) % 100 < 50, loudest, 32767).astype(np.int16)):
        assert np.isfinite(run(wave)).all()


@pytest.mark.parametrize("output", ["complex", "magnitude", "log-mel"])
def test_cuda_runs_every_node_without_a_copy(output: str, tmp_path: Path) -> None:
    environment = environment_of_cuda()
    transform = MEL if output == "log-mel" else sg.Spectrogram(n_fft=512, hop_length=128, output=output)
    sg.to_onnx(transform, tmp_path / "m.onnx", target="cuda", dtype="float16", lengths=output == "log-mel")
    all_on_cuda(tmp_path / "m.onnx", environment)


def test_command_line(cli) -> None:
    code, _, err = cli("export", "log-mel", "-o", "m.onnx", "--dtype", "float16")
    assert code == 0, err
    code, out, _ = cli("inspect", "m.onnx")
    assert code == 0
    assert "float32 -> float16" in out
    code, out, _ = cli("verify", "m.onnx")
    assert code == 0
    assert "float16 rounds the features by up to" in out
    soundfile.write("a.wav", 0.1 * np.sin(0.1 * np.arange(22050)), 22050)
    code, _, err = cli("run", "m.onnx", "a.wav", "-o", "f.npy", "--plot", "f.png")
    assert code == 0, err
    assert np.load("f.npy").dtype == np.float16
    assert os.path.getsize("f.png") > 5000
    code, _, err = cli("export", "log-mel", "-o", "n.onnx", "--dtype", "half")
    assert code != 0
    assert "dtype must be 'float32' or 'float16', not 'half'" in one_sentence(err)
    assert not os.path.exists("n.onnx")
