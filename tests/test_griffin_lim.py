"""Griffin-Lim: against librosa from the same phases, how near it comes, and one file for every length."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.audio import demo_signals
from specgraph.ops.starting_phase import StartingPhase
from tests.conftest import peak_error

RATE = 22050


def vowel(samples: int) -> np.ndarray:
    """A voice: a gliding buzz through four formants, in syllables."""
    from scipy.signal import lfilter

    t = np.arange(samples) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.7 * t) + 3 * np.sin(2 * np.pi * 5.5 * t)) / RATE
    sound = sum(np.cos(k * phase) / k for k in range(1, 30)) + 0.02 * np.random.default_rng(0).standard_normal(samples)
    for frequency, width in ((700, 90), (1200, 110), (2600, 160), (3500, 200)):
        r = np.exp(-np.pi * width / RATE)
        sound = lfilter([1 - r], [1, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r], sound)
    sound = sound * np.clip(np.sin(2 * np.pi * 1.3 * t) * 3 + 0.5, 0, 1)
    return 0.5 * sound / np.abs(sound).max()


def magnitudes(wave: np.ndarray, n_fft: int, hop: int) -> np.ndarray:
    return np.abs(librosa.stft(wave, n_fft=n_fft, hop_length=hop, pad_mode="reflect", dtype=np.complex128))


def convergence(wave: np.ndarray, wanted: np.ndarray, n_fft: int, hop: int) -> float:
    """Spectral convergence in decibels: the norm of what the magnitudes are off by, over theirs."""
    return float(20 * np.log10(np.linalg.norm(magnitudes(wave, n_fft, hop) - wanted) / np.linalg.norm(wanted)))


@pytest.mark.parametrize("n_iter", [8, 32])
@pytest.mark.parametrize(("n_fft", "hop"), [(1024, 256), (2048, 512)])
def test_comes_as_near_as_librosa(n_fft: int, hop: int, n_iter: int) -> None:
    ours, theirs = [], []
    clips = {name: np.asarray(wave, np.float64)[:RATE] for name, wave in demo_signals(RATE).items()} | {"vowel": vowel(2 * RATE)}
    for name, wave in clips.items():
        wanted = magnitudes(wave, n_fft, hop)
        module = sg.GriffinLim(n_fft=n_fft, hop_length=hop, n_iter=n_iter).module(dtype=torch.float64)
        ours.append(convergence(module(torch.from_numpy(wanted)).numpy(), wanted, n_fft, hop))
        seeds = [
            librosa.griffinlim(wanted, n_iter=n_iter, hop_length=hop, n_fft=n_fft, random_state=seed, pad_mode="reflect")
            for seed in range(3)
        ]
        theirs.append([convergence(wave, wanted, n_fft, hop) for wave in seeds])
        assert ours[-1] < max(theirs[-1]) + 1.0, name  # random phases differ by as much among themselves
    assert np.mean(ours) < np.mean(theirs) + 0.2


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
@pytest.mark.parametrize("options", [{"center": True}, {"center": False, "window": "hamming"}, {"win_length": 200}], ids=str)
def test_is_librosas_iteration(options: dict, momentum: float, monkeypatch: pytest.MonkeyPatch) -> None:
    # librosa begins at ones: with our phases already in the magnitudes it takes the same first step.
    wanted = magnitudes(vowel(9000), 256, 64)
    start = StartingPhase().numpy(np.ones((1, *wanted.shape)))[0]
    phases = start[..., 0] + 1j * start[..., 1]
    monkeypatch.setattr(librosa.util, "phasor", lambda angles, **_: phases)
    theirs = librosa.griffinlim(
        wanted, n_iter=6, hop_length=64, n_fft=256, momentum=momentum, init="random", pad_mode="reflect", dtype=np.float64, **options
    )
    ours = sg.GriffinLim(n_fft=256, n_iter=6, hop_length=64, momentum=momentum, **options).graph().numpy(wanted[None])
    inner = np.s_[2:-2]  # uncentred, the first and last samples weigh nothing
    assert peak_error(ours["waveforms"][0][inner], theirs[inner]) < 1e-6  # librosa's own rounding, widened by six iterations


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("options", [{"n_fft": 400, "hop_length": 160}, {"n_fft": 255, "hop_length": 64}, {"n_fft": 128, "center": False}], ids=str)
def test_one_export_runs_at_every_batch_and_length(options: dict, target: str, tmp_path: Path) -> None:
    transform = sg.GriffinLim(n_iter=8, **options)
    assert sg.to_onnx(transform, tmp_path / "m.onnx", target=target).error < 2e-6
    run, module, double = sg.load(tmp_path / "m.onnx"), transform.module(), transform.module(dtype=torch.float64)
    for batch, frames in ((1, 2), (3, 3), (8, 30), (1, 200)):
        wave = np.random.default_rng(frames).standard_normal((batch, transform.hop * (frames + 3))) * np.hanning(transform.hop * (frames + 3))
        given = sg.Spectrogram(n_fft=transform.n_fft, hop_length=transform.hop).graph().numpy(wave)["features"].astype(np.float32)
        wanted = transform.graph().numpy(given)["waveforms"]
        got = run(given)
        assert got.shape == wanted.shape == (batch, run.meta.outputs["waveforms"].count(given.shape[2]))
        assert peak_error(double(torch.from_numpy(given).double()).numpy(), wanted) < 1e-6
        assert np.isfinite(got).all()
        if transform.center:
            for result in (got, module(torch.from_numpy(given)).numpy()):
                off = np.linalg.norm(result - wanted) / np.linalg.norm(wanted)
                assert off < 1e-3  # a sign of a symmetric frame may go the other way
    assert run.meta.outputs["waveforms"].before is None
    np.testing.assert_allclose(run(given[0]), run(given)[0], atol=1e-4)


def test_silence_and_gradients() -> None:
    module = sg.GriffinLim(n_fft=64, n_iter=3).module()
    for given in (torch.zeros(1, 33, 5), torch.ones(2, 33, 4), torch.full((1, 33, 2), 1e-30)):
        given.requires_grad_()
        result = module(given)
        assert torch.isfinite(result).all()
        result.square().sum().backward()
        assert given.grad is not None
        assert torch.isfinite(given.grad).all()
    assert (module(torch.zeros(1, 33, 5)) == 0).all()


def test_gradcheck() -> None:
    given = torch.rand(1, 9, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.5
    module = sg.GriffinLim(n_fft=16, n_iter=2).module(dtype=torch.float64)
    assert torch.autograd.gradcheck(module, (given.requires_grad_(),), atol=1e-5)


def test_a_length_and_one_frame() -> None:
    transform = sg.GriffinLim(n_fft=64, n_iter=2, length=500)
    given = torch.rand(2, 33, 20)
    whole = sg.GriffinLim(n_fft=64, n_iter=2).module()(given)
    assert whole.shape == (2, 16 * 19)
    result = transform.module()(given)
    assert result.shape == (2, 500)
    torch.testing.assert_close(result[:, : 16 * 19 - 64], whole[:, :-64])
    with pytest.raises(ValueError, match="features has 1 frames and needs at least 2"):
        sg.GriffinLim(n_fft=64).module()(torch.rand(1, 33, 1))


def test_from_mel_to_sound() -> None:
    # Two inverses in a row.
    mel = sg.MelSpectrogram(n_mels=80, n_fft=1024, hop_length=256)
    wave = vowel(RATE)
    features = mel.graph().numpy(wave[None])["features"]
    spectrum = sg.InverseMelSpectrogram(n_mels=80, n_fft=1024, hop_length=256).graph().numpy(features)["spectrogram"]
    sound = sg.GriffinLim(n_fft=1024, hop_length=256).graph().numpy(spectrum)["waveforms"]
    again = mel.graph().numpy(sound)["features"]
    assert np.linalg.norm(np.sqrt(again) - np.sqrt(features)) < 0.15 * np.linalg.norm(np.sqrt(features))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_iter": 0}, "n_iter must be at least 1, not 0"),
        ({"n_iter": 1000}, "n_iter must be at most 200"),
        ({"momentum": 1.5}, "momentum must be at most 1"),
        ({"momentum": -0.5}, "momentum must be at least 0"),
        ({"length": 0}, "length must be at least 1"),
        ({"win_length": 4096}, "win_length 4096 is longer than n_fft 2048"),
    ],
)
def test_wrong_parameters_are_named(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        sg.GriffinLim(**options)
