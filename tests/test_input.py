"""Sound as it was recorded: int16, of several channels, at another rate. What the file makes of it is what is made of it by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import scipy.signal
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.audio import AudioError, read_audio
from specgraph.export.signals import to_int16
from specgraph.export.verification import with_allowances
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import GraphError
from specgraph.presets import presets
from specgraph.rewrite import rewritten
from specgraph.transforms import registry
from tests.conftest import one_sentence, peak_error
from tests.test_export import all_on_cuda, environment_of_cuda
from tests.test_module import small
from tests.test_ragged import check_clips

MEL = sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, top_db=None)
LINEAR = sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40)
WAYS = [
    {"dtype": "int16"},
    {"channels": 2},
    {"rate": 48000},
    {"dtype": "int16", "channels": 3},
    {"dtype": "int16", "rate": 44100},
    {"dtype": "int16", "rate": 48000, "channels": 2},
    {"rate": 8000, "channels": 6},
]


def recorded(batch: int, samples: int, dtype: str = "float32", rate: int | None = None, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Noise with a tone in it, every channel another, (batch, channels, samples) or (batch, samples); of int16 up to full scale."""
    rng = np.random.default_rng(seed)
    wave = 0.2 * rng.standard_normal((batch, channels, samples)) + 0.5 * np.sin(0.05 * np.arange(samples))
    wave = to_int16(wave) if dtype == "int16" else wave.astype(np.float32)
    return wave if channels > 1 else wave[:, 0]


def by_hand(wave: np.ndarray, model_rate: int, dtype: str = "float32", rate: int | None = None, channels: int = 1) -> np.ndarray:
    """(batch, samples) in float64 at the model's rate: divided by 2^15, the mean of the channels, resampled."""
    mono = wave.astype(np.float64) / (32768 if dtype == "int16" else 1)
    mono = mono.mean(1) if channels > 1 else mono
    return mono if rate in (None, model_rate) else resampled(mono, rate, model_rate)


def resampled(wave: np.ndarray, rate: int, model_rate: int) -> np.ndarray:
    """The filter of with_input's docstring at every instant of both rates, and scipy's upsampling, filtering and downsampling."""
    orig, new = (each // math.gcd(rate, model_rate) for each in (rate, model_rate))
    base = min(orig, new) * 0.9475937167399596
    half = orig * math.ceil(64 / base * new)
    t = np.arange(-half, half + 1) / (orig * new) * base
    inside = np.abs(t) <= 64
    window = np.i0(14.769656459379492 * np.sqrt(1 - (np.where(inside, t, 0) / 64) ** 2)) / np.i0(14.769656459379492)
    taps = np.where(inside, np.sinc(t) * window, 0.0) * base / orig
    count = -(-wave.shape[1] * new // orig)
    full = scipy.signal.upfirdn(taps, np.pad(wave, ((0, 0), (0, 2 * half // new + 1))), new, orig, axis=1)
    return full[:, half // orig : half // orig + count]


# --- the definition, and what is made of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("samples", [1, 2, 441, 1500])
def test_definition_is_what_is_done_by_hand(way: dict, samples: int) -> None:
    plain = small("RMS", sample_rate=16000).graph()
    graph = sg.with_input(plain, **way)
    assert graph.sample_rate == way.get("rate", 16000)
    wave = recorded(2, samples, **way)
    wanted = plain.numpy(by_hand(wave, 16000, **way))["features"]
    assert peak_error(graph.numpy(wave)["features"], wanted) < 1e-12


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_module_gives_the_definition(way: dict) -> None:
    graph = sg.with_input(LINEAR, **way)
    wave = recorded(3, 5000, **way)
    wanted = LINEAR.graph().numpy(by_hand(wave, 16000, **way))["features"]
    for dtype, tolerance in ((torch.float32, 2e-6), (torch.float64, 1e-12)):
        given = torch.from_numpy(wave)
        given = given if wave.dtype == np.int16 else given.to(dtype)
        net = graph.module(dtype)
        features = net(given)
        assert features.dtype == dtype
        assert peak_error(features.numpy(), wanted) < tolerance
        assert peak_error(net(given[0]).numpy(), wanted[0]) < tolerance


def test_module_refuses_what_it_would_cast_in_silence() -> None:
    net = sg.with_input(MEL, "int16", 48000, 2).module()
    with pytest.raises(TypeError, match=r"waveforms must be int16 \(16-bit PCM\) here, not torch.float32: the graph divides by 32768 itself"):
        net(torch.zeros(1, 2, 9000))
    with pytest.raises(ValueError, match=r"waveforms must be \(batch, 2, samples\), and axis 1 has 9000 .*; channels come before samples"):
        net(torch.zeros(9000, 2, dtype=torch.int16))
    with pytest.raises(TypeError, match="floating-point, not torch.int16; divide"):
        MEL.module()(torch.zeros(1, 9000, dtype=torch.int16))
    with pytest.raises(TypeError, match="waveforms must be int16 .*, not float64"):
        sg.with_input(MEL, "int16").numpy(np.zeros((1, 100)))


def test_parts_are_chosen_before_the_graph_is_made(tmp_path: Path) -> None:
    sentence = r"what is trained is part of a graph, of this one {}, and trainable=\('mel',\) cannot change it; choose the parts where the graph is made"
    with pytest.raises(TypeError, match=sentence.format("nothing")):
        sg.with_input(MEL, "int16").module(trainable=("mel",))
    trained = sg.with_input(MEL.module(trainable=("fourier", "mel")), "int16")
    with pytest.raises(TypeError, match=sentence.format("fourier, mel")):
        trained.module(trainable=("mel",))
    sg.to_onnx(trained, tmp_path / "mel.onnx")
    with pytest.raises(TypeError, match=sentence.format("fourier, mel")):
        sg.read_graph(tmp_path / "mel.onnx").module(trainable=("mel",))
    assert {name for name, _ in sg.read_graph(tmp_path / "mel.onnx").module().named_parameters()} == {"fourier", "mel"}


def test_module_of_a_graph_with_lengths() -> None:
    graph = sg.with_input(MEL, "int16")
    wave, lens = torch.from_numpy(recorded(2, 5000, "int16")), torch.tensor([5000, 3000])
    got, wanted = graph.module(lengths=True)(wave, lens), sg.with_lengths(graph).module()(wave, lens)
    assert torch.equal(got[0], wanted[0])
    assert torch.equal(got[1], wanted[1])


def test_module_is_trained_through_the_input() -> None:
    net = sg.with_input(MEL.graph(trainable=("mel",)), "int16", 48000, 2).module()
    net(torch.from_numpy(recorded(2, 5000, "int16", channels=2))).sum().backward()
    assert net.mel.grad.abs().sum() > 0
    again = net.graph
    assert again.sample_rate == 48000
    assert again.inputs[0].dtype == "int16"


def test_module_is_exported_by_torch_as_it_is() -> None:
    net = sg.with_input(LINEAR, "int16", 48000, 2).module()
    wave = torch.from_numpy(recorded(2, 9000, "int16", channels=2))
    traced = torch.export.export(net, (wave,)).module()
    assert peak_error(traced(wave).detach().numpy(), net(wave).detach().numpy()) < 2e-6


def test_filter_keeps_what_is_below_and_drops_what_is_above() -> None:
    # As the docstring of with_input says of the filter: by the response of its first phase to a tone.
    graph = sg.with_input(sg.StandardizedWaveform(sample_rate=16000), rate=48000)
    (op,) = (value.op for value in graph.values() if value.op.method == "resample")
    starts, weights = op.taps
    places = starts[0] + np.arange(weights.shape[1])
    gain = {share: abs(weights[0] @ np.exp(-1j * np.pi * share / 3 * places)) for share in (0.01, 0.5, 0.88, 1.02, 1.5)}
    assert max(abs(gain[share] - 1) for share in (0.01, 0.5, 0.88)) < 1e-5
    assert max(gain[share] for share in (1.02, 1.5)) < 10 ** (-140 / 20)


def test_resampled_tones_are_where_scipy_puts_them() -> None:
    t = np.arange(48000)
    stereo = to_int16(np.stack([0.6 * np.sin(0.1 * t), 0.2 * np.sin(0.1 * t) + 0.1])[None])
    b = sg.Builder(sample_rate=16000)
    graph = sg.with_input(b.build(wave=b.affine(b.input("waveforms"), 1.0)), "int16", 48000, 2)
    got = graph.numpy(stereo)["wave"][0]
    mono = stereo[0].mean(0) / 32768
    wanted = scipy.signal.resample_poly(mono, 1, 3, window=("kaiser", 14.0))
    assert got.shape == wanted.shape
    assert np.abs(got - wanted)[200:-200].max() < 1e-3  # scipy's filter is 0.1 % off
    assert np.abs(got - (0.4 * np.sin(0.3 * np.arange(16000)) + 0.05))[200:-200].max() < 2e-5  # 16 bits


def test_kaldis_scale_and_ours_cancel_exactly() -> None:
    # Kaldi works on samples up to 32768: divided by that in the file and multiplied by it again, they are what they were.
    graph = sg.with_input(sg.preset("kaldi-fbank"), "int16")
    b = sg.Builder(sample_rate=16000)
    scaled = b.build(y=b.affine(b.input("waveforms"), 32768.0))
    every = np.arange(-32768, 32768).astype(np.int16)[None]
    run = session_of(sg.with_input(scaled, "int16"))
    np.testing.assert_array_equal(run.run(None, {"waveforms": every})[0], every.astype(np.float32))
    wave = recorded(1, 4000, "int16")
    plain = lower(sg.preset("kaldi-fbank").graph())
    pcm, unit = session_of(lower(graph)), session_of(plain)
    same = unit.run(None, {"waveforms": wave.astype(np.float32) / np.float32(32768)})[0]
    np.testing.assert_array_equal(pcm.run(None, {"waveforms": wave})[0], same)


def session_of(graph: Graph) -> onnxruntime.InferenceSession:
    from tests.conftest import session

    return session(graph)


def test_nothing_is_added_where_nothing_is_asked() -> None:
    graph = MEL.graph()
    assert sg.with_input(graph) is graph
    assert sg.with_input(graph, "float32", 16000, 1) is graph
    assert sg.with_input(MEL.module(), rate=48000).sample_rate == 48000
    only = [value.op.method for value in sg.with_input(graph, "int16").values()]
    assert only[1:3] == ["from_int16", "affine"]
    assert "resample" not in only


def test_lengths_times_and_frequencies_are_of_the_input() -> None:
    graph = sg.with_input(MEL, "int16", 44100, 2)
    features = graph.outputs["features"]
    for samples in (1, 441, 442, 44100):
        assert features.shape[2].at(samples) == -(-samples * 160 // 441) // 160 + 1
    reach = graph.reach()[features]
    assert (reach.hop, reach.centre) == (441, 0)
    assert graph.about["features"].frequencies == MEL.graph().about["features"].frequencies
    uncentred = sg.with_input(sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, center=False), rate=48000)
    assert uncentred.least() == 399 * 3 + 1  # of which 400 samples are left


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"dtype": "int8"}, ValueError, "the input's dtype must be 'float32' or 'int16', not 'int8'"),
        ({"rate": 0}, ValueError, "rate must be from 1 to 2147483648, not 0"),
        ({"rate": 44100.0}, TypeError, "rate must be a whole number, not 44100.0"),
        ({"channels": 0}, ValueError, "channels must be from 1 to 64, not 0"),
        ({"channels": True}, TypeError, "channels must be a whole number, not True"),
        ({"rate": 4410001}, GraphError, "4410001 Hz to 16000 Hz .* choose rates with a larger common divisor"),
    ],
    ids=str,
)
def test_wrong_arguments(arguments: dict, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as raised:
        sg.with_input(MEL, **arguments)
    assert "\n" not in str(raised.value)


def test_what_is_no_graph_of_waveforms_is_refused() -> None:
    with pytest.raises(GraphError, match=r"for a graph of waveforms .*, and InverseSpectrogram takes features"):
        sg.with_input(sg.InverseSpectrogram(), "int16")
    with pytest.raises(GraphError, match=r"with_input is for .* in floating point, and LogMelSpectrogram takes waveforms, int16"):
        sg.with_input(sg.with_input(MEL, "int16"), rate=48000)
    with pytest.raises(TypeError, match="with_input takes a specgraph transform, graph or module, not builtins.int"):
        sg.with_input(3, "int16")
    graph = sg.with_input(MEL, "int16")
    with pytest.raises(GraphError, match=r"operand 0 is int16 and must be float"):
        sg.Builder(16000).log(graph.inputs[0])


def test_channels_may_cancel() -> None:
    # The allowance of what follows a mix is that of the channels, not of their sum, which is nothing but rounding.
    b = sg.Builder(sample_rate=16000)
    graph = sg.with_input(b.build(y=b.affine(b.input("waveforms"), 2.0)), channels=3)
    one, two = recorded(1, 400), recorded(1, 400, seed=1)
    wave = np.stack([one, two, -(one + two)], 1)
    run = session_of(rewritten(graph, "cpu")).run(None, {"waveforms": wave})[0]
    wanted, allowed = with_allowances(graph, (wave,))
    assert np.abs(run).max() < 1e-6
    assert np.abs(run - wanted["y"]).max() > 0
    assert (np.abs(run - wanted["y"]) <= allowed["y"]).all()
    assert allowed["y"].max() < 1e-6


# --- every preset and transform, as a file ----------------------------------------------------------------------------

EVERY = {
    **{name: made.with_parameters(length=8000) if made.length else made for name, made in presets().items() if made.input().name == "waveforms"},
    **{name: small(name, sample_rate=16000) for name in registry() if small(name).input().sizes == ("batch", "samples")},
}


@pytest.mark.parametrize("name", EVERY)
def test_every_front_end_takes_what_was_recorded(name: str, tmp_path: Path) -> None:
    """Exported, and so verified; what the file gives is the front end's own definition, of what is made of the sound by hand."""
    source = EVERY[name]
    rate = 3 * source.sample_rate if name != "bigvgan-v2-44k" else 48000
    graph = sg.with_input(source, "int16", rate, 2)
    report = sg.to_onnx(graph, tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx")
    assert (run.sample_rate, run.channels, run.input_types[0]) == (rate, 2, "int16")
    assert (run.meta.input_dtype, run.meta.channels) == ("int16", 2)
    assert report.error <= report.tolerance
    plain = source.graph()
    wave = recorded(2, max(graph.least(), 9001), "int16", channels=2)
    made = by_hand(wave, source.sample_rate, "int16", rate, 2)
    wanted, got = plain.numpy(made), run.outputs(wave)
    for output, value in wanted.items():
        assert got[output].shape == value.shape
    _, allowed = with_allowances(graph, (wave,), lower(graph.frozen()).choices)
    for output, value in wanted.items():
        off = np.abs(got[output] - value)
        assert (off <= allowed[output] + 1e-5 * np.abs(value).max()).all()


# --- one session: the issue's own words -------------------------------------------------------------------------------


class Acoustic(torch.nn.Module):
    """A made-up acoustic model with Whisper's front end attached."""

    def __init__(self, front_end: torch.nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.front_end = front_end
        self.layers = torch.nn.Sequential(torch.nn.Conv1d(80, 16, 3, stride=2, padding=1), torch.nn.GELU(), torch.nn.Conv1d(16, 5, 1))

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.layers(self.front_end(waveforms))


def test_one_session_gives_what_the_two_steps_give_apart(tmp_path: Path) -> None:
    whisper = sg.preset("whisper-80", length=None)
    model = Acoustic(sg.with_input(whisper, "int16", 48000, 2).module()).eval()
    sg.to_onnx(model, tmp_path / "whole.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "whole.onnx"), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == ("waveforms", "tensor(int16)", ["batch", 2, "samples"])
    wave = recorded(2, 48000, "int16", channels=2)
    (got,) = session.run(None, {"waveforms": wave})
    mono = by_hand(wave, 16000, "int16", 48000, 2)  # the two steps apart: sound as Whisper takes it, then the model
    features = whisper.graph().numpy(mono)["features"].astype(np.float32)
    with torch.no_grad():
        wanted = model.layers(torch.from_numpy(features)).numpy()
    assert np.abs(got - wanted).max() <= 1e-5
    run = sg.load(tmp_path / "whole.onnx")
    assert (run.meta.input_dtype, run.meta.channels, run.sample_rate) == ("int16", 2, 48000)
    np.testing.assert_array_equal(run(wave), got)
    with pytest.raises(TypeError, match="waveforms must be int16"):
        run(wave.astype(np.float32))


# --- the file -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "stereo.onnx"
    sg.to_onnx(sg.with_input(MEL, "int16", 48000, 2), path)
    return path


@pytest.fixture(scope="module")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "mono.onnx"
    sg.to_onnx(sg.with_input(MEL, "int16", 44100), path)
    return path


@pytest.mark.parametrize(
    ("wave", "error", "sentence"),
    [
        (np.zeros((1, 2, 9000), np.float32), TypeError, r"must be int16 \(16-bit PCM\), .* not float32; give the samples as they were recorded"),
        (np.zeros((1, 2, 9000)), TypeError, "must be int16 .* not float64"),
        (np.zeros((1, 2, 9000), np.int32), TypeError, "must be int16 .* not int32"),
        (torch.zeros(1, 2, 9000), TypeError, "must be int16 .* not float32"),
        (np.zeros(9000, np.int16), ValueError, r"waveforms must be \(batch, 2, samples\) or \(2, samples\), not of shape \(9000,\)"),
        (np.zeros((1, 9000), np.int16), ValueError, r"waveforms must be \(batch, 2, samples\), and axis 1 has 1 instead of 2"),
        (np.zeros((9000, 2), np.int16), ValueError, "axis 1 has 9000 instead of 2: .*; channels come before samples, so transpose it"),
        (np.zeros((1, 3, 9000), np.int16), ValueError, "axis 1 has 3 instead of 2"),
        (np.zeros((1, 2, 0), np.int16), ValueError, r"waveforms has shape \(1, 2, 0\), which is empty"),
    ],
    ids=lambda x: str(getattr(x, "shape", x)),
)
def test_wrong_input(stereo: Path, wave: object, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as raised:
        sg.load(stereo)(wave)
    assert "\n" not in str(raised.value)


def test_other_files_take_what_they_took(mel_file: Path, mono: Path) -> None:
    run = sg.load(mel_file)
    wave = recorded(1, 9000, "int16")
    np.testing.assert_array_equal(run(wave), run(wave / np.float32(32768)))  # int16 is PCM where floats are taken
    pair = recorded(2, 9000, "int16")
    for file in (run, sg.load(mono)):  # leading axes stay as they are
        np.testing.assert_array_equal(file(pair[None]), file(pair)[None])


def test_a_wrong_rate_is_refused_with_both_rates_named(stereo: Path, mel_file: Path) -> None:
    run = sg.load(stereo)
    wave = recorded(1, 9000, "int16", channels=2)
    np.testing.assert_array_equal(run(wave, sample_rate=48000), run(wave))
    for call in (lambda: run(wave, sample_rate=44100), lambda: run.stream(sample_rate=44100)):
        with pytest.raises(ValueError, match=r"the sound has 44100 Hz and .*stereo.onnx takes 48000 Hz; .* --input-rate 44100"):
            call()
    with pytest.raises(ValueError, match="the sound has 48000 Hz and .* takes 16000 Hz"):
        sg.load(mel_file)(np.zeros(9000, np.float32), sample_rate=48000)


def test_file_is_read_back_as_it_was(stereo: Path, tmp_path: Path) -> None:
    graph = sg.read_graph(stereo)
    assert (graph.sample_rate, graph.inputs[0].dtype) == (48000, "int16")
    assert graph.parameters["input_rate"] == 48000
    sg.to_onnx(graph, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == stereo.read_bytes()
    assert sg.verify(stereo).error < 2e-6
    wave = recorded(2, 7000, "int16", channels=2)
    torch_run = sg.load(stereo, device="torch")
    assert np.abs(torch_run(wave) - sg.load(stereo)(wave)).max() < 1e-3
    tensor = sg.load(stereo)(torch.from_numpy(wave))
    assert isinstance(tensor, torch.Tensor)


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 40_000), batch=st.integers(1, 3), most=st.sampled_from([2e4, 1e5, 4e5]))
def test_parts_give_what_the_whole_gives(stereo: Path, samples: int, batch: int, most: float) -> None:
    wave = recorded(batch, samples, "int16", channels=2)
    whole, parts = sg.load(stereo, most_bytes=np.inf)(wave), sg.load(stereo, most_bytes=most, threads=1)(wave)
    assert whole.shape == parts.shape
    assert np.abs(whole - parts).max() < 1e-3  # decibels of noise that is far above rounding


def test_long_clips_are_cut(stereo: Path) -> None:
    from specgraph.runtimes import slices

    run = sg.load(stereo)
    plan = slices.parts(run.meta, 1, 480_000, 1e5, run.takes_waveforms)
    assert len(plan) > 3
    assert all(part.start % run.meta.slicing.step == 0 for part in plan)
    assert run.meta.slicing.step == 480


@settings(max_examples=25, deadline=None)
@given(chunks=st.lists(st.integers(0, 6000), min_size=1, max_size=8), batch=st.sampled_from([None, 1, 2]))
def test_streams_give_what_the_whole_gives(stereo: Path, chunks: list[int], batch: int | None) -> None:
    run = sg.load(stereo, threads=1)
    wave = recorded(batch or 1, sum(chunks) + 1, "int16", channels=2)
    wave = wave if batch else wave[0]
    stream = run.stream(batch)
    ends = [*np.cumsum(chunks).tolist(), wave.shape[-1]]
    parts = [stream.push(wave[..., begin:end]) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    got = np.concatenate([*parts, stream.finish()], -1)
    wanted = run(wave)
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).max() < 1e-3


def test_stream_refuses_other_chunks(stereo: Path) -> None:
    stream = sg.load(stereo).stream()
    with pytest.raises(ValueError, match=r"a chunk of this stream is \(2, samples\), not of shape \(100,\)"):
        stream.push(np.zeros(100, np.int16))
    with pytest.raises(TypeError, match="must be int16"):
        stream.push(np.zeros((2, 100), np.float32))


def test_model_of_a_stream_keeps_its_state_in_int16(tmp_path: Path) -> None:
    graph = sg.with_input(sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, pad_mode="constant"), "int16", 48000, 2)
    sg.to_onnx(graph, tmp_path / "s.onnx", streaming=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "s.onnx"), providers=["CPUExecutionProvider"])
    chunk, state = session.get_inputs()
    assert (chunk.type, state.type, chunk.shape[:2], state.shape[:2]) == ("tensor(int16)", "tensor(int16)", ["batch", 2], ["batch", 2])
    held = np.zeros((1, *state.shape[1:]), np.int16)
    sizes, read = chunk.shape[2], sg.load(tmp_path / "s.onnx").meta.parameters
    wave = recorded(1, 6 * sizes, "int16", channels=2)
    found = []
    for begin in range(0, 9 * sizes, sizes):
        piece = np.zeros((1, 2, sizes), np.int16)
        piece[..., : max(min(wave.shape[2] - begin, sizes), 0)] = wave[..., begin : begin + sizes]
        features, held = session.run(None, {"chunk": piece, "state": held})
        found.append(features)
    wanted = graph.numpy(wave)["features"]
    got = np.concatenate(found, -1)[..., read["stream_delay"]["features"] :][..., : wanted.shape[-1]]
    assert peak_error(got[..., 3:-3], wanted[..., 3:-3]) < 2e-6
    assert peak_error(got, wanted) < 5e-3  # at the ends the resampler rings on into the silence, where a clip is cut off


# --- clips of different lengths -----------------------------------------------------------------------------------------

RAGGED = ["LogMelSpectrogram", "RMS", "CQT", "ZeroCrossingRate", "PCEN"]


@pytest.mark.parametrize("name", RAGGED)
@pytest.mark.parametrize("way", [{"dtype": "int16"}, {"rate": 12000}, {"dtype": "int16", "rate": 24000, "channels": 2}], ids=str)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_clip_is_what_it_is_alone(name: str, way: dict, data: st.DataObject) -> None:
    graph = sg.with_input(small(name, sample_rate=8000), **way)
    lengths = data.draw(st.lists(st.integers(graph.least(), 700), min_size=1, max_size=4))
    both = [sg.with_lengths(graph), sg.with_input(small(name, sample_rate=8000).graph(lengths=True), **way)]
    wave = recorded(len(lengths), 700, **way)
    for clip, length in zip(wave, lengths, strict=True):
        clip[..., length:] = 30_000 if wave.dtype == np.int16 else 1e3  # what stands behind a clip is never read
    alone = [graph.numpy(clip[None, ..., :length]) for clip, length in zip(wave, lengths, strict=True)]
    for ragged in both:
        check_clips(graph, ragged.numpy(wave, np.array(lengths)), alone)


@pytest.mark.parametrize("before", [False, True], ids=["lengths after", "lengths before"])
def test_file_with_lengths(before: bool, stereo: Path, tmp_path: Path) -> None:
    if before:
        sg.to_onnx(sg.with_input(MEL.graph(lengths=True), "int16", 48000, 2), tmp_path / "m.onnx")
    else:
        sg.to_onnx(sg.with_input(MEL, "int16", 48000, 2), tmp_path / "m.onnx", lengths=True)
    run, single = sg.load(tmp_path / "m.onnx"), sg.load(stereo)
    clips = [recorded(1, size, "int16", channels=2, seed=size)[0] for size in (9000, 1, 4801, 7000)]
    features, counts = run(clips)
    for clip, found, count in zip(clips, features, counts, strict=True):
        wanted = single(clip)
        assert count == wanted.shape[1]
        assert np.abs(found[:, :count] - wanted).max() < 1e-3
        assert not found[:, count:].any()
    with pytest.raises(ValueError, match=r"a list of clips holds waveforms \(2, samples\), and clip 0 has shape \(9000,\)"):
        run([clips[0][0]])
    with pytest.raises(TypeError, match="must be int16"):
        run([clips[0].astype(np.float32)])
    assert run(clips[0])[1] == len(single(clips[0])[0])
    net = sg.read_graph(tmp_path / "m.onnx").module()
    lens = torch.tensor([4000, 100])
    pair = net(torch.from_numpy(recorded(2, 4000, "int16", channels=2)), lens)
    assert pair[1].tolist() == [9, 1]


@pytest.mark.parametrize("way", [*WAYS, {"dtype": "int16", "rate": 44100, "channels": 2}], ids=str)
@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
def test_cuda_runs_every_node_without_a_copy(way: dict, lengths: bool, tmp_path: Path) -> None:
    environment = environment_of_cuda()
    sg.to_onnx(sg.with_input(MEL, **way), tmp_path / "m.onnx", target="cuda", lengths=lengths)
    all_on_cuda(tmp_path / "m.onnx", environment)


# --- the command line ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "subtype"), [("wav", "PCM_16"), ("flac", "PCM_16"), ("wav", "PCM_U8"), ("wav", "PCM_24"), ("wav", "FLOAT")])
def test_files_are_read_as_int16(suffix: str, subtype: str, tmp_path: Path) -> None:
    every = np.arange(-32768, 32768).astype(np.int16)
    stereo = np.stack([every, every[::-1]], 1)
    exact = {"PCM_16": stereo, "PCM_U8": stereo & ~255}.get(subtype)
    if exact is None:  # halves between two 16-bit numbers, and beyond full scale
        held = np.clip((stereo + 0.25) / 32768 * (1.0 if subtype == "PCM_24" else 1.5), *((-1.0, 1.0) if subtype == "PCM_24" else (-2.0, 2.0)))
        soundfile.write(tmp_path / f"s.{suffix}", held, 48000, subtype=subtype)
        exact = np.clip(np.rint(held * 32768), -32768, 32767).astype(np.int16)
    else:
        soundfile.write(tmp_path / f"s.{suffix}", exact, 48000, subtype=subtype)
    clip = read_audio(tmp_path / f"s.{suffix}", 48000, 2, "int16")
    np.testing.assert_array_equal(clip.samples, exact.T)
    assert clip.samples.dtype == np.int16
    clipped = np.count_nonzero(np.abs(np.rint(held * 32768)) > 32768) if subtype == "FLOAT" else 0
    said = "rounded to 16 bits" + (f", {clipped} samples beyond -1 ... 1 clipped" if clipped else "")
    assert clip.changes == ("" if subtype in ("PCM_16", "PCM_U8") else said)
    assert (clipped > 0) == (subtype == "FLOAT")


def test_what_is_not_finite_is_refused_by_name(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "nan.wav", np.array([0.0, np.nan, 0.0]), 48000, subtype="FLOAT")
    with pytest.raises(AudioError, match="nan.wav has samples that are not finite"):
        read_audio(tmp_path / "nan.wav", 48000, 1, "int16")


def test_command_line(cli, tmp_path: Path) -> None:
    code, out, err = cli("export", "log-mel", "-o", "m.onnx", "-s", "sample_rate=16000", "--input-dtype", "int16", "--input-rate", 48000, "--channels", 2)
    assert code == 0, err
    assert "next: specgraph run m.onnx" in out
    code, out, _ = cli("inspect", "m.onnx")
    assert code == 0
    assert "int16, 2 channels -> float32" in out
    assert "48000 Hz" in out
    run = sg.load("m.onnx")
    wave = recorded(1, 48000, "int16", channels=2)[0]
    soundfile.write("stereo.wav", wave.T, 48000, subtype="PCM_16")
    code, out, err = cli("run", "m.onnx", "stereo.wav", "-o", "f.npy")
    assert code == 0, err
    assert out.splitlines()[0] == f"stereo.wav: 1.00 s -> features {run(wave).shape}"  # and nothing done to it
    np.testing.assert_array_equal(np.load("f.npy"), run(wave))  # the very samples of the file
    soundfile.write("mono.wav", wave[0], 48000, subtype="PCM_16")
    code, out, err = cli("run", "m.onnx", "mono.wav", "-o", "g.npy")
    assert code == 0, err
    assert "(repeated for 2 channels)" in out
    np.testing.assert_array_equal(np.load("g.npy"), run(wave[[0, 0]]))
    soundfile.write("other.wav", wave[0] / 40000, 44100, subtype="FLOAT")
    code, out, err = cli("run", "m.onnx", "other.wav", "-o", "h.npy")
    assert code == 0, err
    assert "(repeated for 2 channels, resampled from 44100 to 48000 Hz, rounded to 16 bits)" in out
    six = recorded(1, 48000, channels=6)[0] / 2
    soundfile.write("six.wav", six.T, 48000, subtype="FLOAT")
    code, out, err = cli("run", "m.onnx", "six.wav", "-o", "i.npy")
    assert code == 0, err
    assert "(mixed 6 channels to mono, repeated for 2 channels, rounded to 16 bits)" in out
    mixed = to_int16(six.mean(0, dtype=np.float64))
    assert np.abs(np.load("i.npy") - run(np.stack([mixed, mixed]))).max() < 0.02  # decibels: a mean may be rounded the other way
    results = list(run.map(["stereo.wav", "mono.wav"]))
    assert np.abs(results[0] - np.load("f.npy")).max() < 1e-4  # on one thread each: products round differently
    assert np.abs(results[1] - np.load("g.npy")).max() < 1e-4


def test_command_line_refuses_in_a_sentence(cli) -> None:
    for arguments, sentence in (
        (("--input-dtype", "int8"), "the input's dtype must be 'float32' or 'int16', not 'int8'"),
        (("--input-rate", 4410001), "4410001 Hz to 22050 Hz"),
        (("--channels", 0), "channels must be from 1 to 64, not 0"),
    ):
        code, _, err = cli("export", "mel", "-o", "m.onnx", *arguments)
        assert code != 0
        assert sentence in one_sentence(err)


def test_preset_of_the_issue(cli) -> None:
    code, _, err = cli("export", "whisper-80", "-o", "w.onnx", "-s", "length=16000", "--input", "int16", "--input-rate", 48000)
    assert code == 0, err
    assert "--input is called --input-dtype now" in err
    run = sg.load("w.onnx")
    assert run.input_sizes == (("batch", "samples"),)
    assert (run.sample_rate, run.input_types) == (48000, ("int16",))


