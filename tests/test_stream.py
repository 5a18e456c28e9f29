"""Streams: chunks of any size give what the whole clip gives, when they say, or a sentence why not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.presets import presets
from specgraph.runtimes.base import Runner
from specgraph.transforms import registry
from tests.conftest import peak_error
from tests.test_module import small

RATE = 8000
TRANSFORMS = {
    "mel": sg.MelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=20),
    "short window": sg.Spectrogram(sample_rate=RATE, n_fft=128, win_length=50, hop_length=200, pad_mode="constant"),
    "not centred": sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=20, center=False, top_db=None),
    "deltas": sg.MFCC(sample_rate=RATE, n_fft=200, hop_length=80, n_mels=20, n_mfcc=10, top_db=None, deltas=2),
    "constant-q": sg.CQT(sample_rate=RATE, fmin=110.0, n_bins=40, hop_length=96),
    "resample": sg.Resample(sample_rate=RATE, new_freq=11025),
}
STEPS = {"mel": 100, "short window": 200, "not centred": 64, "deltas": 80, "constant-q": 96, "resample": 320}


def streamed(run: Runner, wave: np.ndarray, chunks: list[int], batch: int | None = None) -> Any:
    """The whole clip, chunk by chunk, put together; the last one is what is left."""
    stream = run.stream(batch)
    parts = []
    for end in [*np.cumsum(chunks).tolist(), wave.shape[-1]]:
        begin = min(stream.received, wave.shape[-1])
        parts.append(stream.push(wave[..., begin : max(min(end, wave.shape[-1]), begin)]))
    parts.append(stream.finish())
    along = {name: [axis for axis in run.meta.outputs[name].axes if axis != "batch" or batch] for name in run.output_names}
    axes = {name: next(i for i, axis in enumerate(named) if axis in ("frames", "samples")) for name, named in along.items()}
    if isinstance(parts[0], dict):
        return {name: np.concatenate([part[name] for part in parts], axis) for name, axis in axes.items()}
    return np.concatenate(parts, axes[run.output_names[0]])


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Runner]:
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for number, (name, transform) in enumerate(TRANSFORMS.items()):
        sg.to_onnx(transform, folder / f"{number}.onnx")
        made[name] = sg.load(folder / f"{number}.onnx", threads=1)
    return made


@pytest.mark.parametrize("name", TRANSFORMS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(samples=st.integers(1, 12_000), chunks=st.lists(st.one_of(st.integers(0, 50), st.integers(0, 5000)), max_size=12), seed=st.integers(0, 9))
def test_chunks_give_what_the_whole_gives(name: str, runners: dict[str, Runner], samples: int, chunks: list[int], seed: int) -> None:
    run = runners[name]
    wave = np.random.default_rng(seed).standard_normal(max(samples, run.meta.min_samples)).astype(np.float32)
    wanted = run(wave)
    got = streamed(run, wave, chunks)
    if "Log" in type(TRANSFORMS[name]).__name__ or name == "deltas":
        np.testing.assert_allclose(got, wanted, atol=2e-3)  # a logarithm shows what float32 cannot hold
    else:
        assert peak_error(got, wanted) < 1e-6


EVERY = {
    **{name: made for name, made in presets().items() if made.input().name == "waveforms"},
    **{name: small(name, sample_rate=RATE) for name in registry() if small(name).input().sizes == ("batch", "samples")},
}
WHOLE = {  # what looks at the whole clip: it is of one length, filled up by the clip's, normalised over it, or recursive over it
    "ast", "basic-pitch", "ced", "clap", "clap-fused", "clap-unfused", "ecapa", "gemma-3n", "granite-speech", "granite-speech-5", "htdemucs",
    "nemo-80", "nemo-128", "parakeet", "seamless-m4t", "speech2text", "speechbrain-fbank", "tortoise", "wav2vec2", "wespeaker", "whisper-80",
    "whisper-128", "LFCC", "LogMelSpectrogram", "MFCC", "PCEN", "SpectralContrast", "StandardizedWaveform",
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_every_front_end_streams_or_says_why(name: str, tmp_path: Path) -> None:
    sg.to_onnx(EVERY[name], tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx", threads=1)
    if name in WHOLE:
        with pytest.raises(ValueError, match=r"cannot stream: \w+.* looks at the whole clip"):
            run.stream()
        return
    rng = np.random.default_rng(len(name))
    samples = max(run.meta.min_samples, round(run.sample_rate * 0.7) + 13)
    wave = (0.2 * rng.standard_normal(samples) + 0.3 * np.sin(0.1 * np.arange(samples))).astype(np.float32)
    wanted = run.outputs(wave)
    for most in (samples // 7, samples):
        got = streamed(run, wave, rng.integers(0, most, 20).tolist())
        for output, array in (got if isinstance(got, dict) else {next(iter(wanted)): got}).items():
            assert array.shape == wanted[output].shape
            assert peak_error(array, wanted[output]) < 2e-6


def test_a_frame_comes_as_soon_as_it_can(runners: dict[str, Runner]) -> None:
    run = runners["mel"]
    stream = run.stream()
    assert stream.latency_samples == 127
    assert stream.latency == 127 / RATE
    arrived = [stream.push(np.zeros(1, np.float32)).shape[-1] for _ in range(400)]
    assert [place for place, frames in enumerate(arrived) if frames] == [128, 227, 327]  # the first mirrors sample 128
    assert set(arrived) == {0, 1}


def test_little_is_kept(runners: dict[str, Runner]) -> None:
    stream = runners["mel"].stream()
    for _ in range(50):
        stream.push(np.zeros(1000, np.float32))
        assert stream._kept.shape[1] < 1000 + 2000


def test_several_streams_and_several_outputs(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=RATE)
    wave = b.input("waveforms")
    power = b.magnitude(b.stft(wave, n_fft=256, hop_length=100), power=2.0)
    sg.to_onnx(b.build(power=power, low=b.fir_downsample(wave, np.ones(5) / 5, factor=3), level=b.log(power)), tmp_path / "m.onnx")
    clips = np.random.default_rng(0).standard_normal((3, 5003)).astype(np.float32)
    for device in ("cpu", "torch"):
        run = sg.load(tmp_path / "m.onnx", device=device)
        got, wanted = streamed(run, clips, [7, 0, 1000, 55, 2000], batch=3), run(clips)
        for name in ("power", "low", "level"):
            assert peak_error(got[name], wanted[name]) < 1e-5


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=15, deadline=None)
@given(rounds=st.lists(st.lists(st.integers(0, 700), min_size=4, max_size=4), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_many_streams_share_calls(runners: dict[str, Runner], rounds: list[list[int]], seed: int) -> None:
    run = next(iter(runners.values()))
    rng = np.random.default_rng(seed)
    streams, alone = [run.stream() for _ in range(4)], [run.stream() for _ in range(4)]
    for lengths in rounds:
        chunks = [0.1 * rng.standard_normal(length).astype(np.float32) for length in lengths]
        for got, one, chunk in zip(run.push_all(streams, chunks), alone, chunks, strict=True):
            np.testing.assert_allclose(got, one.push(chunk), rtol=1e-6, atol=1e-6)
    assert [stream.received for stream in streams] == [stream.received for stream in alone]


def test_streams_that_stand_alike_are_one_call(runners: dict[str, Runner], monkeypatch: pytest.MonkeyPatch) -> None:
    run = next(iter(runners.values()))
    calls: list[tuple[int, ...]] = []
    at_once = run.at_once
    monkeypatch.setattr(run, "at_once", lambda wave: calls.append(wave.shape) or at_once(wave))
    streams = [run.stream() for _ in range(6)]
    chunk = np.zeros(2000, np.float32)
    run.push_all(streams, [chunk] * 6)
    assert [shape[0] for shape in calls] == [6]
    with pytest.raises(ValueError, match="a chunk for each stream, not 1 for 2"):
        run.push_all(streams[:2], [chunk])
    with pytest.raises(ValueError, match="one of them is there twice"):
        run.push_all([streams[0], streams[0]], [chunk, chunk])
    for other in (sg.load(run.path).stream(), None):
        with pytest.raises(ValueError, match="and one is not"):
            run.push_all([other], [chunk])
    with pytest.raises(ValueError, match="not finite"):
        run.push_all(streams[:2], [chunk, np.full(10, np.nan)])
    assert streams[0].received == 2000


def test_pcm_is_taken(runners: dict[str, Runner]) -> None:
    wave = (1000 * np.sin(np.arange(3000))).astype(np.int16)
    assert peak_error(streamed(runners["mel"], wave, [100, 1000]), runners["mel"](wave)) < 1e-6


def test_what_cannot_stream_says_why(tmp_path: Path) -> None:
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, n_mels=20), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match=r"m\.onnx cannot stream: decibel\(top_db=80.0\) looks at the whole clip; give top_db=None, or run whole clips"):
        sg.load(tmp_path / "m.onnx").stream()
    sg.to_onnx(sg.InverseSpectrogram(n_fft=256), tmp_path / "i.onnx")
    with pytest.raises(ValueError, match=r"i\.onnx takes features, not waveforms"):
        sg.load(tmp_path / "i.onnx").stream()


def test_wrong_chunks_are_refused(runners: dict[str, Runner]) -> None:
    run = runners["mel"]
    stream = run.stream()
    with pytest.raises(ValueError, match=r"a chunk of this stream is \(samples,\), not of shape \(1, 5\)"):
        stream.push(np.zeros((1, 5), np.float32))
    with pytest.raises(ValueError, match="2 values that are not finite"):
        stream.push(np.array([0, np.nan, np.inf]))
    with pytest.raises(TypeError, match="must be float32, float64 or int16"):
        stream.push(np.zeros(5, np.int64))
    with pytest.raises(ValueError, match="the stream had 0 samples and .* needs at least 1"):
        stream.finish()
    stream.push(np.zeros(5, np.float32))
    assert stream.finish().shape == (20, 1)
    for call in (stream.finish, lambda: stream.push(np.zeros(5, np.float32))):
        with pytest.raises(ValueError, match="this stream is finished"):
            call()
    with pytest.raises(ValueError, match=r"a chunk of this stream is \(2, samples\), not of shape \(3, 5\)"):
        run.stream(batch=2).push(np.zeros((3, 5), np.float32))
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"batch must be a whole number above 0 or None, not {wrong}"):
            run.stream(batch=wrong)


# The file whose state is an input and an output, driven by plain onnxruntime.


@pytest.mark.parametrize("chunk", [None, 400, 4800])
@pytest.mark.parametrize("name", ["mel", "short window", "not centred", "constant-q", "resample"])
def test_the_file_with_a_state_gives_what_the_whole_gives(name: str, chunk: int | None, tmp_path: Path) -> None:
    transform = TRANSFORMS[name]
    if hasattr(transform, "pad_mode"):
        transform = dataclasses.replace(transform, pad_mode="constant")
    alike = {"ConstantQ": "multirate"}  # for short chunks another one is cheaper, and as near to the definition
    sg.to_onnx(transform, tmp_path / "whole.onnx", prefer=alike)
    sg.to_onnx(transform, tmp_path / "stream.onnx", prefer=alike, streaming=True, chunk=chunk and -(-chunk // STEPS[name]) * STEPS[name])
    plain = onnxruntime.InferenceSession(tmp_path / "stream.onnx", providers=["CPUExecutionProvider"])
    sizes = {node.name: node.shape[1] for node in plain.get_inputs()}
    assert {node.name: node.shape[0] for node in plain.get_inputs()} == {"chunk": "batch", "state": "batch"}
    said = sg.load(tmp_path / "stream.onnx").meta.parameters
    assert (said["stream_chunk"], said["stream_state"]) == (sizes["chunk"], sizes["state"])
    wave = np.random.default_rng(0).standard_normal((2, 11 * 4800 + 17)).astype(np.float32)
    wanted = sg.load(tmp_path / "whole.onnx")(wave)
    zeros = np.zeros((2, sizes["state"] + 2 * sizes["chunk"]), np.float32)
    sound, state, found = np.concatenate([wave, zeros], 1), zeros[:, : sizes["state"]], []
    for begin in range(0, sound.shape[1] - sizes["chunk"] + 1, sizes["chunk"]):
        features, state = plain.run(None, {"chunk": sound[:, begin : begin + sizes["chunk"]], "state": state})
        found.append(features)
    got = np.concatenate(found, -1)[..., said["stream_delay"][plain.get_outputs()[0].name] :]
    if name == "not centred":
        np.testing.assert_allclose(got[..., : wanted.shape[-1]], wanted, atol=2e-3)
    else:
        assert peak_error(got[..., : wanted.shape[-1]], wanted) < 1e-6


def test_a_streaming_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    mel = TRANSFORMS["mel"]
    with pytest.raises(ValueError, match="chunk must be a multiple of 100 samples, the hop, and not 150"):
        sg.to_onnx(mel, tmp_path / "m.onnx", streaming=True, chunk=150)
    with pytest.raises(ValueError, match="chunk is of streaming=True; give both"):
        sg.to_onnx(mel, tmp_path / "m.onnx", chunk=100)
    with pytest.raises(ValueError, match=r"whisper-80 cannot stream: fixed_length\(size=480000\) looks at the whole clip; give length=None; so does limit_range\(\): use fixed limits.*, or export it without"):
        sg.to_onnx(sg.preset("whisper-80"), tmp_path / "m.onnx", streaming=True)
    with pytest.raises(ValueError, match=r"LogMelSpectrogram cannot stream: decibel\(top_db=80.0\) looks at the whole clip"):
        sg.to_onnx(sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256), tmp_path / "m.onnx", streaming=True)
    with pytest.raises(ValueError, match="a stream is of waveforms"):
        sg.to_onnx(sg.InverseSpectrogram(n_fft=256), tmp_path / "m.onnx", streaming=True)
    assert not list(tmp_path.iterdir())
