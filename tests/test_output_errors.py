"""What a file says of its outputs' errors, in their own units: a number that other sounds keep to."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

import specgraph as sg
from specgraph.export import verification
from specgraph.export.report import OutputError
from specgraph.lowering import lower
from specgraph.presets import presets
from specgraph.transforms import registry
from tests.conftest import session
from tests.held_out import sounds

EVERY = {name: kind() for name, kind in registry().items()} | {f"preset {name}": preset for name, preset in presets().items()}
ALWAYS = ("Spectrogram", "LogMelSpectrogram", "MFCC", "SpectralFlatness", "PCEN", "KaldiFbank", "preset nemo-80", "preset speecht5", "preset gigaam-v3")
WHOLE = "SPECGRAPH_HELD_OUT"  # in the environment: every transform and preset, which takes half an hour


@pytest.mark.parametrize("name", EVERY)
def test_other_sounds_are_within_three_times_of_what_a_file_says(name: str, tmp_path: Path) -> None:
    if name not in ALWAYS and WHOLE not in os.environ:
        pytest.skip(f"set {WHOLE}=1 for every transform and preset")
    graph = EVERY[name].graph()
    if not graph.takes_waveforms:
        pytest.skip("takes spectra")
    report = sg.to_onnx(EVERY[name], tmp_path / "m.onnx")
    runner = sg.load(tmp_path / "m.onnx")
    seconds = max(1.5, 1.05 * graph.least_along_the_clip() / graph.sample_rate)
    for sound, wave in sounds(graph.sample_rate, seconds).items():
        got, wanted = runner.outputs(wave[None]), graph.numpy(wave[None])
        for output, array in wanted.items():
            off = float(np.abs(got[output] - array).max())
            assert off <= 3 * report.output_errors[output], f"{output} on {sound}: {off:.2e}, and {report.output_errors[output]:.2e} is said"


def test_the_file_and_the_report_say_the_same(mel_file: Path) -> None:
    report, said = sg.verify(mel_file), sg.load(mel_file).meta.verified
    assert list(report.output_errors) == list(said["output_errors"]) == ["features"]
    assert report.output_errors["features"] == max(check.output_errors["features"].largest for check in report.checks)
    assert report.output_errors["features"] <= said["output_errors"]["features"] <= 1.12 * report.output_errors["features"]
    for check, written in zip(report.checks, said["checks"], strict=True):
        error = check.output_errors["features"]
        assert 0 <= error.percentile <= error.largest
        assert written["output_errors"]["features"] == pytest.approx(asdict(error), rel=0.12, abs=1e-30)
    assert {"low tone", "tone on a bin", "high tone", "vibrato on drift", "voice", "chords"} <= {check.signal for check in report.checks}
    assert f"features: at most {report.output_errors['features']:.1e} off in its own unit" in str(report)


def test_a_tone_through_cfp_is_what_the_file_says(tmp_path: Path) -> None:
    """A power of 0.24 of bins near zero makes 1e-2 of the rounding of a sample; 6e-8, the error of the spectrum, says nothing of that."""
    cfp = sg.CFP(sample_rate=8000, hop_length=400, win_length=1025)
    report = sg.to_onnx(cfp, tmp_path / "m.onnx")
    assert report.error < 1e-6
    assert report.output_errors["features"] > 1e-4
    runner, graph = sg.load(tmp_path / "m.onnx"), cfp.graph()
    for hertz in (97, 440):
        wave = 0.5 * np.sin(2 * np.pi * hertz / 8000 * np.arange(8000))[None].astype(np.float32)
        assert np.abs(runner(wave) - graph.numpy(wave)["features"]).max() <= 3 * report.output_errors["features"]


SMALL = sg.LogMelSpectrogram(sample_rate=16000, n_fft=256, hop_length=128, n_mels=12, top_db=None)


@pytest.mark.parametrize(
    ("source", "options", "outputs"),
    [
        (SMALL, {"lengths": True}, ["features", "features_lens"]),
        (SMALL, {"streaming": True}, ["features", "next_state"]),
        (SMALL, {"dtype": "float16"}, ["features"]),
        (sg.with_input(SMALL, "int16"), {}, ["features"]),
        (sg.with_input(SMALL, channels=2), {}, ["features"]),
        (sg.Spectrogram(n_fft=256, output="complex"), {}, ["features"]),
        (sg.InverseSpectrogram(n_fft=256), {}, ["waveforms"]),
    ],
)
def test_every_kind_of_file_says_it(source, options: dict, outputs: list[str], tmp_path: Path) -> None:
    report = sg.to_onnx(source, tmp_path / "m.onnx", **options)
    said = sg.load(tmp_path / "m.onnx").meta.verified["output_errors"]
    assert list(said) == list(report.output_errors) == outputs
    assert all(np.isfinite(error) for error in said.values())
    assert said[outputs[0]] > 0
    assert said.get("features_lens", 0) == said.get("next_state", 0) == 0
    if options.get("dtype") == "float16":
        assert said["features"] > 1e-2  # decibels of some tens, rounded to 11 bits


def test_a_whole_model_and_an_attached_one_say_it(tmp_path: Path) -> None:
    model = torch.nn.Sequential(SMALL.module(), torch.nn.Conv1d(12, 3, 1)).eval()
    report = sg.to_onnx(model, tmp_path / "whole.onnx", output_names=["scores"])
    assert 0 < report.output_errors["scores"] == max(check.output_errors["scores"].largest for check in report.checks)
    assert list(sg.load(tmp_path / "whole.onnx").meta.verified["output_errors"]) == ["scores"]

    node = onnx.helper.make_node("Neg", ["mel"], ["negative"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 12, "frames"]) for name in ("mel", "negative")]
    graph = onnx.helper.make_graph([node], "other", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8), tmp_path / "other.onnx")
    sg.attach(SMALL, tmp_path / "other.onnx", tmp_path / "joined.onnx", keep=True)
    said = sg.load(tmp_path / "joined.onnx").meta.verified
    assert said["output_errors"]["negative"] < said["front_end_output_errors"]["features"]  # from the two apart
    assert said["output_errors"]["features"] == said["front_end_output_errors"]["features"] > 1e-5  # from float64


def test_inspect_shows_both_errors(mel_file: Path, cli) -> None:
    code, text, _ = cli("inspect", mel_file)
    shown = " ".join(text.replace("│", " ").split())
    said = sg.load(mel_file).meta.verified
    assert code == 0
    assert f"largest error {said['error']:.1e} of the spectrum's peak" in shown
    assert f"at most {said['output_errors']['features']:.1e} dB, on" in shown
    assert "99.9 % of its values within" in shown


def test_files_do_not_depend_on_torchs_threads(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            sg.to_onnx(sg.Spectrogram(n_fft=512, hop_length=128), tmp_path / f"{count}.onnx")
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "1.onnx").read_bytes() == (tmp_path / "2.onnx").read_bytes()


def test_errors_that_are_no_numbers_are_infinite() -> None:
    assert OutputError.of(np.array([0.0, np.nan])).largest == np.inf
    assert OutputError.of(np.zeros((0, 3))) == OutputError(0.0, 0.0)


def test_griffin_lim_may_end_at_another_solution() -> None:
    """The magnitudes of a full-scale square wave do not determine the clip: float32 may find another one than float64."""
    graph = sg.GriffinLim(n_fft=400).graph()
    square = np.where(np.arange(20_601) % 50 < 25, 1.0, -1.0)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(square, (200, 400)), 400)[::100][:207]
    magnitudes = np.abs(np.fft.rfft(frames * np.hanning(401)[:-1])).T[None].astype(np.float32)
    got = session(lower(graph.frozen(), "cpu")).run(None, {"features": magnitudes})[0]
    wanted, allowed = verification.with_allowances(graph, (magnitudes,))
    assert (np.abs(got - wanted["waveforms"]) <= allowed["waveforms"]).all()
    assert allowed["waveforms"].max() > np.abs(wanted["waveforms"]).max()


@pytest.mark.parametrize("library", ["numpy", "torch", "onnx"])
def test_unit_range_makes_nothing_of_rounding(library: str, tmp_path: Path) -> None:
    """Equal to within rounding is equal: zeros, of which the division by one rounding would have made ones."""
    b = sg.Builder(sample_rate=16000)
    graph = b.build(scaled=b.unit_range(b.input("features", ("batch", 3, "frames"))))
    level = np.float32(-100.0)
    features = np.full((2, 3, 4), level)
    features[0, 1, 2] = np.nextafter(level, np.float32(0))
    features[1] += np.linspace(0, 20, 12, dtype=np.float32).reshape(3, 4)
    if library == "numpy":
        result = graph.numpy(features)["scaled"]
    elif library == "torch":
        result = graph.module()(torch.from_numpy(features)).numpy()
    else:
        sg.to_onnx(graph, tmp_path / "m.onnx")
        result = sg.load(tmp_path / "m.onnx")(features)
    assert (result[0] == 0).all()
    assert result[1].min() == 0
    assert result[1].max() == 1
