"""The experiments under docs/experiments at their smallest size, and that what they measure with is right."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import specgraph as sg

FOLDER = Path(__file__).parents[1] / "docs" / "experiments"
WRITTEN = {
    "frequency": {"frequency.onnx", "errors.png", "kernels.png"},
    "representations": {"transcriber.onnx", "accuracy.png"},
    "on_the_fly": {"pitch.onnx", "throughput.png"},
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """Imports a script of the folder as running it does, whose modules are found beside it."""
    monkeypatch.syspath_prepend(FOLDER)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == FOLDER:
            del sys.modules[name]


@pytest.mark.parametrize("name", WRITTEN)
def test_the_smallest_size(name: str, load, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)  # which would be of all tests that follow
    only = ["--only", "STFT", "mel"] if name == "frequency" else []
    found = load(name).main(["--tiny", "--seed", "3", "-o", str(tmp_path), *only])
    assert {path.name for path in tmp_path.iterdir()} == {"results.json", "results.md"} | WRITTEN[name]
    assert found["shipped"]["difference"] < 1e-5
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["seed"] == 3
    assert written["machine"]["packages"]["torch"]
    assert "Seed 3" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "results.md").read_text() in capsys.readouterr().out
    for path in tmp_path.glob("*.onnx"):
        assert {node.op_type for node in onnx.load(path).graph.node} & {"Gemm", "MatMul"}


def test_every_script_is_listed_and_has_its_command() -> None:
    text = (FOLDER / "README.md").read_text()
    for name in WRITTEN:
        assert f"python docs/experiments/{name}.py" in text
        assert f"python docs/experiments/{name}.py" in (FOLDER / f"{name}.py").read_text()


def test_tones_are_the_papers(load) -> None:
    frequency = load("frequency")
    tones = frequency.Tones(frequency.Size(500, 10, 1, 1, 1, 1))
    assert len(range(frequency.LOW, frequency.HIGH + 2, 2)) * 10 == 109_250
    wave, target = tones(torch.tensor([13]))  # the second frequency, 1,200 Hz, at 0.3 of a turn
    seconds = np.linspace(0, 0.2, 8820)
    np.testing.assert_allclose(wave[0], np.sin(2 * np.pi * (1200 * seconds + 0.3)), atol=1e-6)
    assert float(target) == pytest.approx(1200 / 0.2 / 110_240)
    model_selection = pytest.importorskip("sklearn.model_selection")
    train, test = model_selection.train_test_split(np.arange(len(tones.targets)), test_size=0.2, random_state=101)
    np.testing.assert_array_equal(tones.split[0], train)
    np.testing.assert_array_equal(tones.split[1], test)


def test_a_trained_front_end_learns_what_a_fixed_one_cannot(load) -> None:
    experiment = load("experiment")
    front_end = sg.Spectrogram(sample_rate=8000, n_fft=16, hop_length=16).module(trainable=("fourier",))
    rates = list(experiment.relative_rates(front_end, 0.01))
    assert [group["lr"] for group in rates] == pytest.approx([0.01 * np.sqrt(3 / 16)])  # of a Hann window times a cosine
    head = nn.Sequential(nn.Flatten(), nn.Linear(9 * 5, 1), nn.Flatten(0))
    waves = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))

    def data(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return waves[numbers], waves[numbers].square().sum(1)

    split = (torch.arange(48), torch.arange(48, 64))
    basis = front_end.fourier.detach().clone()
    whole = nn.Sequential(front_end, head)
    curve = experiment.train(
        whole, data, split, nn.functional.mse_loss, [*rates, {"params": head.parameters(), "lr": 0.1}], 8, 16, seed=0
    )
    assert curve.train[-1] < 0.2 * curve.train[0]
    assert len(curve.test) == 8
    assert not torch.equal(front_end.fourier, basis)
    inputs, targets = data(split[1])
    assert curve.test[-1] == pytest.approx(float(nn.functional.mse_loss(whole(inputs), targets).detach()), rel=1e-5)


def test_shipping_refuses_predictions_that_differ(load, tmp_path: Path) -> None:
    experiment = load("experiment")

    class Unsteady(nn.Module):
        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features.mean((1, 2)) + float(not torch.compiler.is_exporting())

    front_end = sg.Spectrogram(sample_rate=8000, n_fft=16, hop_length=16).module()
    with pytest.raises(ValueError, match="differs from"):
        experiment.ship(front_end, Unsteady(), tmp_path / "m.onnx", torch.randn(2, 64))


def test_scores_are_mir_evals(load) -> None:
    representations = load("representations")
    rng = np.random.default_rng(0)
    wanted, found = (rng.random((50, 128)) < 0.03).astype(float), (rng.random((50, 128)) < 0.03).astype(float)
    found = np.where(rng.random(found.shape) < 0.5, wanted, found)
    for roll in (wanted, found):
        roll[:, :28] = roll[:, 109:] = 0  # mir_eval takes no pitch above 5 kHz
    accuracy, error = representations.scores(wanted, found)
    common = sum(int((a * b).sum()) for a, b in zip(wanted, found, strict=True))
    assert accuracy == pytest.approx(100 * common / (wanted.sum() + found.sum() - common))
    assert representations.scores(wanted, wanted) == (100.0, 0.0)
    assert representations.scores(wanted, 0 * wanted) == (0.0, 100.0)
    multipitch = pytest.importorskip("mir_eval.multipitch")
    times = np.arange(len(wanted)) * 512 / 44100
    hertz = [[440 * 2 ** ((np.flatnonzero(frame) - 69) / 12) for frame in frames] for frames in (wanted, found)]
    theirs = multipitch.evaluate(times, hertz[0], times, hertz[1])
    assert accuracy == pytest.approx(100 * theirs["Accuracy"])
    assert error == pytest.approx(100 * theirs["Total Error"])


def test_average_precision_is_sklearns(load) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    wanted, probabilities = (rng.random((20, 128)) < 0.1).astype(float), rng.random((20, 128))
    found = load("representations").average_precision(wanted, probabilities)
    assert found == pytest.approx(100 * metrics.average_precision_score(wanted.ravel(), probabilities.ravel()))


def test_made_music_sounds_as_its_score_says(load) -> None:
    music = load("music")
    song = music.synthesised([(0.1, 0.6, 69)], 1.0, seed=0)
    spectrum = np.abs(np.fft.rfft(song.wave[8820:17640] * np.hanning(8820)))
    assert abs(spectrum.argmax() * 5 - 440) <= 5
    assert song.sounding(int(0.3 * music.RATE)).nonzero()[0].tolist() == [69]
    assert song.sounding(int(0.7 * music.RATE)).sum() == 0
    window = song.window(100, 4096)  # which begins before the song does
    assert window.shape == (4096,)
    assert not window[: 2048 - 100].any()
    assert np.linalg.norm(window) == pytest.approx(1, rel=1e-5)


def test_fluidsynth_plays_what_the_score_says(load) -> None:
    pytest.importorskip("mido")
    fonts = sorted(Path("/usr/share/sounds/sf2").glob("*.sf2"))  # where Debian's fluid-soundfont-gm puts it
    if not fonts or shutil.which("fluidsynth") is None:
        pytest.skip("no FluidSynth with a sound font")
    music = load("music")
    song = music.played([(0.1, 0.6, 69)], 1.0, 0, fonts[0])
    spectrum = np.abs(np.fft.rfft(song.wave[8820:17640] * np.hanning(8820)))
    harmonic = spectrum.argmax() * 5 / 440
    assert abs(harmonic - round(harmonic)) < 0.03
    assert len(song.wave) == music.RATE
    assert np.abs(song.wave[:2000]).max() < 0.01 * np.abs(song.wave).max()


def test_fluidsynth_says_what_it_lacks(load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mido")
    music = load("music")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="fluidsynth, which is not installed"):
        music.made(1, 1.0, 0, tmp_path / "no.sf2")
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/fluidsynth")
    with pytest.raises(ValueError, match="there is no sound font"):
        music.made(1, 1.0, 0, tmp_path / "no.sf2")


def test_the_representations_are_the_papers_34(load) -> None:
    assert len(load("representations").representations()) == 34


def test_musicnet_is_read(load, tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    music: ModuleType = load("music")
    for name in ("train_data", "train_labels"):
        (tmp_path / name).mkdir()
    soundfile.write(tmp_path / "train_data" / "1.wav", 0.1 * np.ones((4410, 1)), 44100)
    (tmp_path / "train_labels" / "1.csv").write_text("start_time,end_time,instrument,note,start_beat\n100,900,1,60,0\n")
    (song,) = music.musicnet(tmp_path, "train")
    assert song.sounding(500)[60] == 1
    assert song.sounding(900).sum() == 0
    with pytest.raises(ValueError, match="has no .wav files"):
        music.musicnet(tmp_path, "test")
