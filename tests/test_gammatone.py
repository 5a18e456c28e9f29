"""The gammatone spectrogram against scipy's filters and nnAudio."""

from __future__ import annotations

import re

import nnAudio.features
import numpy as np
import pytest
import scipy.signal
import torch

import specgraph as sg
from specgraph.design.gammatone import erb_centres, gammatone_filterbank, gammatone_response
from specgraph.lowering import lower
from tests.conftest import peak_error, session, waves


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100])
def test_response_is_that_of_scipys_filter(sample_rate: int) -> None:
    # scipy's gammatone is Slaney's filter too. It is one polynomial of order 8, which loses digits where the poles are close
    # together, all of them at 50 Hz: as many as moving its coefficients by the roundings of its evaluation does.
    rng = np.random.default_rng(0)
    frequencies = np.linspace(0, sample_rate / 2, 400)
    for centre in (1000.0, 3000.0, 0.9 * sample_rate / 2):
        b, a = scipy.signal.gammatone(centre, "iir", fs=sample_rate)
        wanted = np.abs(scipy.signal.freqz(b, a, frequencies, fs=sample_rate)[1])
        digits = 0.0
        for _ in range(16):
            moved = [part * (1 + rng.choice([-1, 1], part.shape) * 8 * 2.0**-53) for part in (b, a)]
            digits = max(digits, np.abs(np.abs(scipy.signal.freqz(*moved, frequencies, fs=sample_rate)[1]) - wanted).max())
        assert np.abs(gammatone_response([centre], frequencies, sample_rate)[0] - wanted).max() < digits


@pytest.mark.parametrize("centre", [50.0, 150.0, 440.0, 1000.0, 3000.0])
def test_response_is_that_of_a_gammatone(centre: float) -> None:
    # t**3 exp(-2 pi 1.019 ERB t) cos(2 pi f t), sampled. Slaney's filter sections alias a little otherwise: 0.5 % at most.
    sample_rate, erb = 16000, 24.7 + centre / 9.26449
    t = np.arange(8000) / sample_rate
    tone = t**3 * np.exp(-2 * np.pi * 1.019 * erb * t) * np.cos(2 * np.pi * centre * t)
    frequencies = np.maximum(centre + np.linspace(-3, 3, 101) * erb, 0)
    wanted = np.abs(np.exp(-2j * np.pi * np.append(frequencies, centre)[:, None] * t) @ tone)
    got = gammatone_response([centre], frequencies, sample_rate)[0]
    assert np.abs(got - wanted[:-1] / wanted[-1]).max() < 6e-3


def test_centres_and_bandwidths() -> None:
    centres = erb_centres(64, 50.0, 8000.0)
    assert centres[0] == pytest.approx(50.0)
    steps = np.diff(np.log(np.append(centres, 8000.0) + 9.26449 * 24.7))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
    # The equivalent rectangular bandwidth of a gammatone filter of order 4 with b = 1.019 ERB is 1 ERB (Patterson).
    fine = np.linspace(0, 8000, 400_001)
    for centre in (200.0, 1000.0, 3000.0):
        area = (gammatone_response([centre], fine, 16000)[0] ** 2).sum() * (fine[1] - fine[0])
        assert area == pytest.approx(24.7 + centre / 9.26449, rel=5e-3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n_fft": 512, "hop_length": 100, "n_bins": 40, "fmin": 50.0, "fmax": 7000.0, "power": 1.0},
        {"n_fft": 1024, "win_length": 800, "window": "hamming", "pad_mode": "constant"},
        {"n_fft": 400, "hop_length": 160, "center": False, "power": 1.5},
    ],
    ids=str,
)
def test_is_nnaudios(options: dict) -> None:
    signals = waves(9000)
    wave = np.stack(list(signals.values()))
    transform = sg.Gammatonegram(**options)
    reference = nnAudio.features.Gammatonegram(sr=22050, verbose=False, **options).double()
    # nnAudio's bank with its float32 rounding taken away is compared by itself below.
    reference.gammatone_basis = torch.from_numpy(transform.bank())
    window = scipy.signal.get_window(transform.window, transform.window_samples)
    with torch.no_grad():
        wanted = np.stack([
            transform.bank() @ np.abs(exact_stft(row.astype(np.float64), transform, window)) ** transform.power for row in wave
        ])
        theirs = reference(torch.from_numpy(wave).double()).numpy()
    exact = transform.module(dtype=torch.float64)(torch.from_numpy(wave).double()).numpy()
    single = transform.module()(torch.from_numpy(wave)).numpy()
    for i, name in enumerate(signals):
        assert peak_error(exact[i], wanted[i]) < 1e-12, name
        assert peak_error(exact[i], theirs[i]) < 3e-6, name  # nnAudio's Fourier kernels are float32
        assert peak_error(single[i], wanted[i]) < 3e-6, name
    for target in ("cpu", "cuda"):
        run = session(lower(transform.graph(), target))
        for rows in ([0], [0, 1, 2], [*range(6), 0, 1]):
            got = run.run(None, {"waveforms": wave[rows]})[0]
            for row, i in zip(got, rows, strict=True):
                assert peak_error(row, wanted[i]) < 3e-6, target


def exact_stft(row: np.ndarray, transform: sg.Gammatonegram, window: np.ndarray) -> np.ndarray:
    n_fft = transform.n_fft
    before = (n_fft - len(window)) // 2
    window = np.pad(window, (before, n_fft - len(window) - before))
    padded = np.pad(row, n_fft // 2, mode=transform.pad_mode) if transform.center else row
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[:: transform.hop]
    return np.fft.rfft(frames * window).T


@pytest.mark.parametrize(("sample_rate", "n_fft", "n_bins", "fmin", "fmax"), [(22050, 2048, 64, 0.0, None), (16000, 513, 80, 20.0, 7000.0)])
def test_bank_is_nnaudios(sample_rate: int, n_fft: int, n_bins: int, fmin: float, fmax: float | None) -> None:
    from nnAudio.librosa_functions import get_gammatone

    theirs = get_gammatone(sample_rate, n_fft, n_bins, fmin, fmax)
    ours = gammatone_filterbank(sample_rate, n_fft, n_bins, fmin, fmax)
    assert peak_error(ours, theirs.astype(np.float64)) < 2e-7


def test_one_sample_and_silence(tmp_path) -> None:
    transform = sg.Gammatonegram(sample_rate=16000, n_fft=512, hop_length=160)
    report = sg.to_onnx(transform, tmp_path / "gammatone.onnx")
    assert report.error < 1e-6
    run = sg.load(tmp_path / "gammatone.onnx")
    for batch, samples in ((1, 1), (3, 511), (8, 5000)):
        wave = np.random.default_rng(0).standard_normal((batch, samples)).astype(np.float32)
        wanted = transform.graph().numpy(wave)["features"]
        assert wanted.shape == (batch, 64, 1 + samples // 160)
        assert peak_error(run(wave), wanted) < 3e-6
    assert (run(np.zeros((1, 700), np.float32)) == 0).all()


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_gradients(power: float) -> None:
    net = sg.Gammatonegram(n_fft=16, hop_length=5, n_bins=3, power=power).module(("fourier", "gammatone"), torch.float64)
    wave = torch.randn(1, 23, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    names, parts = zip(*net.named_parameters(), strict=True)
    assert sorted(names) == ["fourier", "gammatone"]

    def run(wave, *parts):
        return torch.func.functional_call(net, dict(zip(names, parts, strict=True)), (wave,))

    assert torch.autograd.gradcheck(run, (wave, *(part.detach().clone().requires_grad_() for part in parts)))
    silent = torch.zeros(1, 23, dtype=torch.float64, requires_grad=True)
    net(silent).sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (silent, *net.parameters()))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"fmax": 20000}, "fmax 20000 Hz is above half the sample rate, 11025 Hz"),
        ({"fmin": 900, "fmax": 900}, "fmin 900 Hz is not below fmax 900 Hz"),
        ({"fmin": -1}, "fmin must be at least 0, not -1.0"),
        ({"n_bins": 0}, "n_bins must be at least 1, not 0"),
        ({"power": 0}, "power must be above 0"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        sg.Gammatonegram(**parameters)
