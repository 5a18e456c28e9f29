"""Presets against float64 transcriptions of the models' own code, and against whoever else is installed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.bench.parity import measured, shorts, signals
from specgraph.bench.references import load
from specgraph.bench.references_kaldi import knf_features
from specgraph.export import verify
from specgraph.op import GraphError
from specgraph.ops.append_deltas import AppendDeltas
from specgraph.ops.cut_to_multiple import CutToMultiple
from specgraph.ops.fill_up import FillUp
from specgraph.ops.one_hot_largest import OneHotLargest
from specgraph.ops.stack_harmonics import StackHarmonics
from specgraph.presets import preset_names, presets
from tests.conftest import one_sentence
from tests.preset_formulas import FORMULAS, kaldi, whisper
from tests.preset_formulas_more import MORE, hybrid_inverse
from tests.test_export import all_on_cuda, environment_of_cuda

TRANSCRIBED = FORMULAS | MORE
INVERSES = {"htdemucs-inverse"}
NAMES = sorted(TRANSCRIBED)


def test_every_preset_is_transcribed_and_in_the_table() -> None:
    assert set(presets()) == set(TRANSCRIBED) | INVERSES
    assert set(presets()) - set(load()) == {"crepe", *INVERSES}
    table = (Path(__file__).parents[1] / "docs" / "parity.md").read_text()
    assert not [name for name in presets() if f"| {name} |" not in table]


@pytest.mark.parametrize("name", NAMES)
def test_the_definition_is_the_models_formula(name: str) -> None:
    p = sg.preset(name)
    for size in {p.graph().least_along_the_clip(), *shorts(p), p.sample_rate + 77}:
        wave = 0.2 * np.random.default_rng(size).standard_normal(size)
        got, wanted = p.graph().numpy(wave[None])["features"][0], TRANSCRIBED[name](wave)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=2e-8, rtol=1e-9)


# ---- files, in float32 --------------------------------------------------------------------------------------------------------

# What features may be off, in their unit: the logarithm of mel energies 5e-5 nats, or that in decibels; Kaldi's 3e-4, as its own
# implementations differ among each other, pre-emphasis leaving little in the lowest bands, which are of a single bin; with NeMo's that is a
# share of a deviation, and with PaSST's a fifth.
LOG, DECIBEL, KALDI, EMPHASISED = 5e-5, 2.2e-4, 3e-4, 1e-4
TOLERANCE = dict.fromkeys(NAMES, LOG) | {"whisper-80": 1.5e-5, "whisper-128": 1.5e-5, "wav2vec2": 2e-6} | dict.fromkeys(("panns", "clap", "ecapa"), DECIBEL)
TOLERANCE |= dict.fromkeys(("ced", "clap-fused", "clap-unfused", "speechbrain-fbank"), DECIBEL) | dict.fromkeys(("crepe", "torchcrepe", "htdemucs"), 2e-6)
TOLERANCE |= dict.fromkeys(("nemo-80", "nemo-128", "parakeet", "nemotron-streaming", "passt", "gemma-3n"), EMPHASISED)
TOLERANCE |= {"musicgen-melody": 0.0, "basic-pitch": 4e-4}
TOLERANCE |= {name: KALDI for name, p in presets().items() if isinstance(p.transform, sg.KaldiFbank | sg.KaldiMfcc)}
# Near silence NeMo's logarithms are all nearly -16.6, and an ulp of that is a large share of their deviation.
FAINT = dict.fromkeys(("nemo-80", "nemo-128", "parakeet"), 2e-3)
# The quietest bin of a clip, 80 to 100 dB down, is 0 and moves all of basic-pitch's others: of a voice on a drift float32 holds a tenth of a dB there.
# A clip of 256 samples that CLAP repeats is a comb, of which the bins between are rounding.
QUIETEST, COMB = {"basic-pitch": 0.01}, {"clap-fused": 5e-3}
LOW_FLOORS = {"vocos": math.e, "speecht5": 10.0}  # below what float32 holds of a frame; the base of their logarithm
FREQUENT = ("basic-pitch", "crepe", "gemma-3n", "htdemucs", "musicgen-melody", "wenet", "paraformer", "nemo-80", "whisper-80", "vggish", "hifi-gan", "wav2vec2", "icefall")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory):
    """A preset as a file, opened; made once."""
    folder = tmp_path_factory.mktemp("presets")

    @cache
    def opened(name: str, target: str = "cpu"):
        path = folder / f"{name}-{target}.onnx"
        report = sg.to_onnx(sg.preset(name), path, target=target)
        assert report.error < 2e-6
        assert report.torch_error is None or report.torch_error < 2e-6
        return sg.load(path, device="cpu")

    return opened


@pytest.mark.parametrize("name", NAMES)
def test_the_file_gives_the_models_features(name: str, model) -> None:
    run, p = model(name), sg.preset(name)
    for signal, wave in signals(p.sample_rate, p.sample_rate).items():
        got, wanted = run(wave), TRANSCRIBED[name](wave.astype(np.float64))
        assert got.shape == wanted.shape
        off = np.abs(got - wanted)
        if signal == "speech" and name in QUIETEST:
            assert off.max() <= QUIETEST[name]
        elif signal == "speech":  # has bands 80 dB below its peak, of which float32 holds fewer digits
            assert np.quantile(off, 0.99) <= TOLERANCE[name]
            assert off.max() <= 4 * TOLERANCE[name]
        else:
            assert off.max() <= (FAINT.get(name, TOLERANCE[name]) if signal == "near-silence" else TOLERANCE[name]), signal


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_does_not_depend_on_its_batch(name: str, model) -> None:
    run, p = model(name), sg.preset(name)
    wave = signals(p.sample_rate, p.sample_rate)["noise"]
    alone, together = run(wave), run(np.stack([wave, 100 * wave[::-1], np.zeros_like(wave)]))
    np.testing.assert_allclose(together[0], alone, atol=TOLERANCE[name] / 5)
    assert np.isfinite(together).all()


@pytest.mark.parametrize("name", ["basic-pitch", "clap-fused", "crepe", "gemma-3n", "granite-speech-5", "htdemucs", "htdemucs-inverse", "musicgen-melody"])
def test_cuda_runs_every_node_without_a_copy(name: str, tmp_path: Path) -> None:
    environment = environment_of_cuda()
    sg.to_onnx(sg.preset(name), tmp_path / "m.onnx", target="cuda")
    all_on_cuda(tmp_path / "m.onnx", environment)


@pytest.mark.parametrize("name", FREQUENT)
def test_for_cuda_the_numbers_are_the_same(name: str, model) -> None:
    wave = signals(16000, 16000)["noise"]
    np.testing.assert_allclose(model(name, "cuda")(wave), model(name)(wave), atol=2 * TOLERANCE[name])


def test_htdemucs_there_and_back(tmp_path: Path) -> None:
    forward, back = sg.preset("htdemucs"), sg.preset("htdemucs-inverse")
    t = np.arange(343980)
    wave = (np.sin(0.06 * t) + 0.5 * np.sin(0.9 * t + 1))[None]  # nothing near half the rate, whose bin is dropped
    restored = back.graph().numpy(forward.graph().numpy(wave)["features"])["waveforms"]
    inner = np.s_[:, 4096:-4096]  # near the ends frames are dropped, and where the clip is mirrored it has a kink, with all frequencies
    np.testing.assert_allclose(restored[inner], wave[inner], atol=1e-7)
    separated = np.random.default_rng(0).standard_normal((2, 2048, 336))  # of no clip
    wanted = hybrid_inverse(separated)
    np.testing.assert_allclose(back.graph().numpy(separated[None])["waveforms"][0], wanted, atol=1e-11)
    spectrum = torch.view_as_complex(torch.from_numpy(np.pad(separated, ((0, 0), (0, 1), (2, 2)))).permute(1, 2, 0).contiguous())
    whole = torch.istft(spectrum, 4096, 1024, window=torch.hann_window(4096, dtype=torch.float64), normalized=True, length=(336 + 3) * 1024)
    np.testing.assert_allclose(whole[1536 : 1536 + 343980].numpy(), wanted, atol=1e-11)
    for target in ("cpu", "cuda"):
        sg.to_onnx(back, tmp_path / "back.onnx", target=target)
        got = sg.load(tmp_path / "back.onnx")(separated.astype(np.float32))
        assert np.abs(got - wanted).max() < 2e-6 * np.abs(wanted).max()
    assert sg.load(tmp_path / "back.onnx").meta.outputs["waveforms"].axes == ("batch", "samples")
    shorter = sg.preset("htdemucs", length=None), sg.preset("htdemucs-inverse", length=None)
    for samples in (20000, 19456):  # as many whole hops as hold the clip
        restored = shorter[1].graph().numpy(shorter[0].graph().numpy(wave[:, :samples])["features"])["waveforms"]
        assert restored.shape == (1, -(-samples // 1024) * 1024)
        np.testing.assert_allclose(restored[:, 4096 : samples - 4096], wave[:, 4096 : samples - 4096], atol=1e-7)


def test_thirty_seconds_of_whisper(model) -> None:
    wave = signals(33 * 16000, 16000)["noise"]
    assert np.abs(model("whisper-80")(wave) - whisper(80)(wave.astype(np.float64))).max() < 1.5e-5


@pytest.mark.parametrize("name", [name for name, reference in load().items() if not reference.missing])
def test_independent_implementations(name: str) -> None:
    (row,) = measured([name], seconds=1.0)
    for signal, off in row["signals"].items():
        allowed = FAINT.get(name, TOLERANCE[name]) if signal == "near-silence" else TOLERANCE[name]
        allowed = QUIETEST.get(name, allowed) if signal == "speech" else allowed
        # The other's own distance from float64 is not ours, and adds up with ours.
        assert off["largest"] <= 4 * allowed + off["theirs"], signal
        assert off["ours"] <= 4 * allowed, signal
    assert row["short"] is None or name in LOW_FLOORS or row["short"] <= COMB.get(name, 4 * TOLERANCE[name])
    assert row["batch"] <= TOLERANCE[name]


def test_a_length_that_is_too_short_is_named() -> None:
    with pytest.raises(GraphError, match="whisper-80 with length=100: .* leaves nothing of axis 2 .*; a longer one, or none, may do"):
        sg.preset("whisper-80", length=100).graph()


@pytest.mark.parametrize("name", LOW_FLOORS)
def test_one_sample_is_a_constant(name: str, model) -> None:
    """Mirrored, it is a constant, whose bins above the window's are 0 but for float32's rounding, which is above these floors."""
    graph, clip = sg.preset(name).graph(), np.array([[0.5]], np.float32)
    got, wanted = (LOW_FLOORS[name] ** features.astype(np.float64) for features in (model(name)(clip), graph.numpy(clip)["features"]))
    (bank,) = graph.constants()
    assert np.abs(got - wanted).max() <= 2e-6 * 0.5 * np.hanning(1025).sum() * bank.array.sum(1).max()  # of the peak, as a filter sees it


def test_silence_is_finite_everywhere(model) -> None:
    for name in NAMES:
        p = sg.preset(name)
        assert np.isfinite(model(name)(np.zeros(p.sample_rate, np.float32))).all(), name
    assert (model("nemo-80")(np.zeros(16000, np.float32)) == 0).all()  # where a mean that rounds gives others 0.2


# ---- Kaldi's options -----------------------------------------------------------------------------------------------------------

OPTIONS: list[dict[str, object]] = [
    {"window": "hamming", "n_mels": 80},
    {"window": "sine", "snip_edges": False},
    {"window": "blackman", "use_energy": True, "raw_energy": False},
    {"window": "hanning", "use_energy": True, "energy_floor": 1e9, "htk_compat": True},
    {"window": "rectangular", "round_to_power_of_two": False, "remove_dc_offset": False, "fmin": 100.0, "fmax": -300.0},
    {"preemphasis": 0.0, "use_power": False},
    {"preemphasis": 0.0, "remove_dc_offset": False, "window": "hamming"},
    {"preemphasis": 0.5, "sample_rate": 8000, "frame_length": 32.0, "frame_shift": 8.0, "snip_edges": False},
    {"sample_rate": 22050, "use_log_fbank": False, "scale": 1.0},
]
CEPSTRA: list[dict[str, object]] = [
    {"use_energy": False},
    {"htk_compat": True},
    {"use_energy": False, "htk_compat": True, "lifter": 0.0, "n_mfcc": 20},
    {"raw_energy": False, "snip_edges": False},
]


@pytest.mark.parametrize("t", [*(sg.KaldiFbank(**o) for o in OPTIONS), *(sg.KaldiMfcc(**o) for o in CEPSTRA)], ids=str)  # type: ignore[arg-type]
def test_kaldis_options(t: sg.KaldiFbank | sg.KaldiMfcc) -> None:
    wave = signals(t.sample_rate // 2 + 33, t.sample_rate)["speech"].astype(np.float64)
    got, wanted = t.graph().numpy(wave[None])["features"][0], kaldi(t)(wave).T
    np.testing.assert_allclose(got, wanted, atol=1e-7 * max(1.0, np.abs(wanted).max()))
    pytest.importorskip("kaldi_native_fbank")
    single = wave.astype(np.float32)
    np.testing.assert_allclose(knf_features(t, single), wanted, atol=5e-3 * max(1.0, np.abs(wanted).max() / 20))


def test_kaldi_trains_and_exports_what_was_learned(tmp_path: Path) -> None:
    t = sg.KaldiFbank(n_mels=40, window="hamming")
    net = t.module(trainable=("fourier", "mel"))
    wave = torch.from_numpy(signals(8000, 16000)["speech"])[None].requires_grad_()
    fixed = t.graph().numpy(wave.detach().numpy())["features"]
    assert np.abs(net(wave).detach().numpy() - fixed).max() < 2e-2  # kernels that hold all of it lose digits to the drift
    net(wave).mean().backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in net.parameters())
    with torch.no_grad():
        net.mel.mul_(2.0)
    sg.to_onnx(net, tmp_path / "learned.onnx")
    learned = sg.load(tmp_path / "learned.onnx")(wave.detach().numpy())
    assert np.abs(learned - fixed - np.log(2)).max() < 2e-2


# ---- as transforms, and on the command line -----------------------------------------------------------------------------------


def test_a_preset_is_used_as_a_transform(tmp_path: Path) -> None:
    p = sg.preset("wespeaker")
    assert p.input().name == "waveforms"
    assert p.trainable_parts == ("fourier", "mel")
    wave = signals(8000, 16000)["noise"]
    wanted = p.graph().numpy(wave[None])["features"]
    assert np.abs(p.module()(torch.from_numpy(wave)[None]).numpy() - wanted).max() < 3e-4
    sg.to_onnx(p, tmp_path / "p.onnx")
    run = sg.load(tmp_path / "p.onnx")
    assert run(wave).shape == wanted.shape[1:]
    assert run.meta.name == "wespeaker"
    assert run.meta.outputs["features"].axes == ("batch", "frames", "bins")
    assert run.meta.outputs["features"].hop == 160
    assert verify(tmp_path / "p.onnx").error < 2e-6
    hash_ = run.meta.hash
    sg.to_onnx(sg.read_graph(tmp_path / "p.onnx"), tmp_path / "again.onnx")
    assert sg.load(tmp_path / "again.onnx").meta.hash == hash_


def test_a_preset_trains_as_a_transform_does(tmp_path: Path) -> None:
    p, wave = sg.preset("whisper-80", length=None), torch.from_numpy(signals(8000, 16000)["speech"])[None]
    fixed = p.module()(wave)
    net = p.module(trainable=("mel",), constraints={"mel": "non-negative"})
    assert torch.allclose(net(wave), fixed, atol=1e-4)
    net(wave).sum().backward()
    torch.optim.SGD(net.parameters(), 1.0).step()
    assert (net.mel >= 0).all()
    assert not torch.allclose(net(wave), fixed, atol=1e-2)
    sg.to_onnx(net, tmp_path / "learned.onnx")
    assert np.abs(sg.load(tmp_path / "learned.onnx")(wave[0].numpy()) - net(wave).detach().numpy()[0]).max() < 1e-3
    assert set(p.smooth_parts) == {"centres", "bandwidths", "window_shape"}
    smooth = p.module(trainable=("centres", "bandwidths", "window_shape"))
    assert {name for name, _ in smooth.named_parameters()} == {"centres", "bandwidths", "window_shape"}
    assert torch.allclose(smooth(wave), fixed, atol=1e-4)
    with pytest.raises(ValueError, match="part centres makes mel, so that mel cannot be trained beside it"):
        p.module(trainable=("centres", "mel"))


FIXED = {"basic-pitch", "htdemucs", "tortoise"}  # whose clips are of one length, unless asked otherwise


@pytest.mark.parametrize("name", ["basic-pitch", "ced", "clap-fused", "clap-unfused", "crepe", "granite-speech-5", "htdemucs", "musicgen-melody", "tortoise"])
def test_clips_of_different_lengths(name: str) -> None:
    p = sg.preset(name, **({"length": None} if name in FIXED else {}))
    lengths = np.array([9000, 5001, 1440])
    batch = 0.2 * np.random.default_rng(0).standard_normal((3, 9000))
    for clip, length in zip(batch, lengths, strict=True):
        clip[length:] = 1e3
    together = p.graph(lengths=True).numpy(batch, lengths)
    for i, length in enumerate(lengths):
        alone, got = p.graph().numpy(batch[i : i + 1, :length])["features"][0], together["features"][i]
        if "features_lens" in together:
            axis = next((axis for axis, (have, want) in enumerate(zip(got.shape, alone.shape, strict=True)) if have != want), None)
            got, rest = (got, got[:0]) if axis is None else np.split(got, [together["features_lens"][i]], axis)
            assert not rest.any()
        np.testing.assert_allclose(got, alone, atol=1e-9)


def test_an_output_that_is_also_made_on_the_way_keeps_its_type(tmp_path: Path) -> None:
    sg.to_onnx(sg.preset("granite-speech-5"), tmp_path / "m.onnx", lengths=True)  # its lengths are half of what its deltas have
    features, lengths = sg.load(tmp_path / "m.onnx")(np.zeros((2, 3200), np.float32), np.array([3200, 1600]))
    assert features.shape == (2, 10, 320)
    assert lengths.tolist() == [10, 5]


def test_granite_5_at_whole_hops() -> None:
    for size in (1600, 1759, 1760, 1761, 1920, 2080, 2081):
        wave = 0.2 * np.random.default_rng(size).standard_normal(size)
        got, wanted = sg.preset("granite-speech-5").graph().numpy(wave[None])["features"][0], TRANSCRIBED["granite-speech-5"](wave)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-9)


def test_other_names_find_a_preset() -> None:
    assert sg.preset("hubert") is sg.preset("wav2vec2")
    assert sg.preset("efficientat").name == "passt"
    assert set(presets()).isdisjoint(alias for p in presets().values() for alias in p.aliases)
    assert set(preset_names()) == {name for p in presets().values() for name in (p.name, *p.aliases)}


def test_octaves_are_nnaudios() -> None:
    features = pytest.importorskip("nnAudio.features")
    for options in ({"hop_length": 64, "fmin": 110.0, "n_bins": 70}, {"hop_length": 256, "fmin": 100.0, "n_bins": 60, "bins_per_octave": 24, "filter_scale": 0.5}):
        wave = 0.2 * np.random.default_rng(0).standard_normal((2, 30001))
        theirs = features.CQT2010v2(sr=22050, earlydownsample=False, verbose=False, **options)
        wanted = theirs(torch.from_numpy(wave).float()).numpy()
        got = sg.OctavewiseCQT(sample_rate=22050, **options).graph().numpy(wave)["features"]
        assert got.shape == wanted.shape
        assert np.abs(got - wanted).max() < 3e-6 * wanted.max()
        assert np.abs(sg.CQT(sample_rate=22050, convention="nnaudio", **options).graph().numpy(wave)["features"] - wanted).max() > 0.01 * wanted.max()


def test_a_long_clip_runs_in_pieces_with_frames_first(model) -> None:
    wave = signals(160 * 16000, 16000)["noise"]
    for name in ("wenet", "paraformer", "yamnet"):
        whole = sg.preset(name).module()(torch.from_numpy(wave)[None])[0].numpy()
        off = np.abs(model(name)(wave) - whole)
        assert off.max() < 0.01  # of a million bins some are 100 dB down
        assert np.quantile(off, 0.999) < TOLERANCE[name]


def test_parameters() -> None:
    assert sg.preset("whisper-80", length=None).graph().outputs["features"].shape[2].at(16000) == 100
    assert sg.preset("parakeet", n_mels=128).graph().outputs["features"].shape[2] == 128
    wave = signals(8000, 16000)["noise"][None]
    shift, scale = np.linspace(-1, 1, 80), np.linspace(0.5, 2, 80)
    plain = sg.preset("wenet").graph().numpy(wave)["features"]
    moved = sg.preset("wenet", bin_shift=shift, bin_scale=scale).graph().numpy(wave)["features"]
    np.testing.assert_allclose(moved, (plain + shift) * scale)
    assert sg.preset("wenet").from_strings({"snip_edges": "no", "length": "16000"}).length == 16000


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: sg.preset("wisper-80"), "there is no preset 'wisper-80' (did you mean 'whisper-80'"),
        (lambda: sg.preset("basic-pich"), "there is no preset 'basic-pich' (did you mean 'basic-pitch'"),
        (lambda: sg.preset("huburt"), "there is no preset 'huburt' (did you mean 'hubert'"),
        (lambda: sg.OctavewiseCQT(hop_length=100), "hop_length 100 is not a multiple of 64, by which the signal is decimated"),
        (lambda: sg.OctavewiseCQT(fmin=4000.0), "is above half the sample rate"),
        (lambda: sg.OctavewiseCQT(power=0.0), "power must be above 0, not 0"),
        (lambda: FillUp(((1, 0, 2),)), "the steps make 0 of 1 samples; they must not make fewer"),
        (lambda: FillUp(((0, 1, 1),)), "steps are (multiply, add, divide), whole numbers, the first and the last above 0, not (0, 1, 1)"),
        (lambda: CutToMultiple(4, -1), "rest must be a whole number of at least 0, not -1"),
        (lambda: StackHarmonics((), 12, 10), "harmonics must be numbers above 0, one at least, not ()"),
        (lambda: OneHotLargest(2)(sg.Builder(16000).input("x", ("batch", 3, "frames"))), "varies; one_hot_largest compares along an axis of fixed size"),
        (lambda: AppendDeltas(4), "width must be odd and at least 3, not 4"),
        (lambda: sg.WaveformFrames(hop_length=0), "hop_length must be at least 1, not 0"),
        (lambda: sg.MelSpectrogram(preemphasis=0.97), "preemphasis 0.97 goes with align start"),
        (lambda: sg.preset("gemma-3n").graph(trainable="window"), "with preemphasis 0.97 the part window cannot be trained by itself"),
        (lambda: sg.preset("whisper-80", n_mel=80), "whisper-80 has no parameter 'n_mel' (did you mean 'n_mels'?)"),
        (lambda: sg.preset("whisper-80", length=0), "length must be from 1 to 67108864 samples or none, not 0"),
        (lambda: sg.preset("whisper-80", length="long"), "length must be int | none, not 'long'"),
        (lambda: sg.preset("wenet", bin_shift=(1.0,)).graph(), "bin_shift has 1 numbers, and wenet has 80 bins"),
        (lambda: sg.preset("wenet").graph(trainable="mels"), "wenet has no part 'mels' to train"),
        (lambda: sg.KaldiFbank(frame_length=0.01), "frame_length of 0.01 ms is 0 samples"),
        (lambda: sg.KaldiFbank(fmax=-8000.0), "fmax must be above fmin, 20 Hz"),
        (lambda: sg.KaldiFbank(snip_edges=False, frame_length=5.0), "snip_edges false goes with frames that overlap"),
        (lambda: sg.KaldiFbank(preemphasis=1.5), "preemphasis must be between 0 and 1, not 1.5"),
        (lambda: sg.KaldiFbank(window="hann"), "window must be povey | hanning"),  # type: ignore[arg-type]
        (lambda: sg.LogMelSpectrogram(align="start"), "align start goes with center false"),
    ],
)
def test_what_is_wrong_is_named(call: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_command_line(cli) -> None:
    code, out, _ = cli("list", "--presets")
    assert code == 0
    assert all(name in out for name in NAMES)
    code, out, _ = cli("list", "wespeaker")
    assert code == 0
    assert "kaldi_native_fbank" in out
    assert "snip_edges" in out
    code, out, _ = cli("export", "wespeaker", "-o", "w.onnx", "--set", "snip_edges=no", "--set", "length=16000")
    assert code == 0, out
    assert sg.load("w.onnx")(np.zeros(4000, np.float32)).shape == (100, 80)
    code, _, err = cli("export", "wespaker", "-o", "w.onnx")
    assert code == 1
    assert "did you mean 'wespeaker'?" in one_sentence(err)
    code, _, err = cli("list", "mel", "--presets")
    assert code == 1
    assert "leave it out to see mel" in one_sentence(err)


def test_frames_first_are_drawn_in_time() -> None:
    from matplotlib.figure import Figure

    from specgraph.metadata import OutputMetadata
    from specgraph.plot import Panel, _draw

    about = OutputMetadata(axes=("batch", "frames", "bins"), hop=160.0, centre=0.0, quantity="log-mel", unit="ln")
    axes, bar = Figure().subplots(1, 2)
    _draw(axes, bar, Panel(np.zeros((50, 8)), about, 16000, "x"))
    assert axes.images[0].get_array().shape == (8, 50)


def test_the_parity_table_is_written(cli) -> None:
    pytest.importorskip("kaldi_native_fbank")
    code, out, _ = cli("bench", "--parity", "wenet", "--seconds", "0.5", "-o", "parity.md")
    assert code == 0, out
    text = Path("parity.md").read_text()
    assert "| wenet | kaldi-native-fbank " in text
    assert "| near-silence |" in text
    for wrong, sentence in ((("-o", "parity.json"), "writes a .md file"), (("--threads", "1"), "leave out the other options"), (("wenett",), "did you mean 'wenet'")):
        code, _, err = cli("bench", "--parity", *wrong)
        assert code == 1
        assert sentence in one_sentence(err)
