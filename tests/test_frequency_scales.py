"""The STFT at frequencies of one's own: against nnAudio, against a direct sum, and trained."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import specgraph as sg
from tests.conftest import peak_error, waves

SCALES = ["linear", "log", "log2"]


def direct(transform: sg.Spectrogram, wave: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """(bins, frames), complex: the defining sum, every frame by itself."""
    from scipy.signal import get_window

    n_fft, width = transform.n_fft, transform.window_samples
    window = np.zeros(n_fft)
    window[(n_fft - width) // 2 :][:width] = get_window(transform.window, width)
    padded = np.pad(wave.astype(np.float64), n_fft // 2, mode="reflect") if transform.center else wave.astype(np.float64)
    kernels = np.exp(-2j * np.pi * np.outer(frequencies, np.arange(n_fft)) / transform.sample_rate)
    starts = range(0, len(padded) - n_fft + 1, transform.hop)
    return np.stack([kernels @ (window * padded[start : start + n_fft]) for start in starts], 1)


@pytest.mark.parametrize("freq_scale", SCALES)
@pytest.mark.parametrize("options", [{}, {"win_length": 300, "freq_bins": 50}, {"n_fft": 401, "center": False}], ids=str)
def test_bins_are_where_they_say(freq_scale: str, options: dict) -> None:
    options = {"n_fft": 512, "hop_length": 200, "sample_rate": 16000, "fmin": 80.0, "fmax": 7000.0} | options
    transform = sg.Spectrogram(freq_scale=freq_scale, output="complex", **options)
    count = options.get("freq_bins", options["n_fft"] // 2 + 1)
    k = np.arange(count)
    wanted = 80 + k * (7000 - 80) / count if freq_scale == "linear" else 80 * np.exp(k * np.log(7000 / 80) / count)
    np.testing.assert_allclose(transform.about().frequencies, wanted, rtol=1e-12)
    for name, wave in waves(3000).items():
        spectrum = direct(transform, wave, wanted)
        parts = np.stack([spectrum.real, spectrum.imag], -1)[None]
        batch = torch.from_numpy(wave)[None]
        assert peak_error(transform.module(dtype=torch.float64)(batch.double()).numpy(), parts) < 1e-10
        assert error32(name, wave, options["n_fft"], transform.module()(batch).numpy(), parts) < 2e-6


def error32(name: str, wave: np.ndarray, n_fft: int, got: np.ndarray, wanted: np.ndarray) -> float:
    """Of the peak; of the sum without signs for a drift, which lies below every bin and cancels in all of them."""
    if name != "drift":
        return peak_error(got, wanted)
    return float(np.abs(got - wanted).max() / np.convolve(np.abs(wave), np.hanning(n_fft)).max())


def nnaudio_stft(**options):
    warnings.filterwarnings("ignore")
    nnaudio = pytest.importorskip("nnAudio.features.stft")
    return nnaudio.STFT(verbose=False, **options)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("freq_scale", ["no", *SCALES])
def test_equal_to_nnaudios(freq_scale: str, tmp_path: Path) -> None:
    for bins in (None, 100):
        other = nnaudio_stft(n_fft=1024, hop_length=256, sr=22050, freq_scale=freq_scale, freq_bins=bins, fmin=50, fmax=6000)
        parts = sg.Spectrogram(n_fft=1024, freq_scale=freq_scale, freq_bins=bins, output="complex")
        magnitude = sg.Spectrogram(n_fft=1024, freq_scale=freq_scale, freq_bins=bins)
        sg.to_onnx(parts, tmp_path / "parts.onnx")
        sg.to_onnx(magnitude, tmp_path / "magnitude.onnx")
        for name, wave in waves(9000).items():
            batch = torch.from_numpy(wave)[None]
            wanted = other(batch, output_format="Complex").numpy(), other(batch, output_format="Magnitude").numpy()
            for ours, theirs in (
                (parts.module()(batch).numpy(), wanted[0]),
                (magnitude.module()(batch).numpy(), wanted[1]),
                (sg.load(tmp_path / "parts.onnx")(wave[None]), wanted[0]),
                (sg.load(tmp_path / "magnitude.onnx")(wave[None]), wanted[1]),
            ):
                assert error32(name, wave, 1024, ours, theirs) < 2e-6, name


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("freq_scale", SCALES)
def test_exported_once_and_trained(freq_scale: str, target: str, tmp_path: Path) -> None:
    transform = sg.Spectrogram(n_fft=256, hop_length=100, sample_rate=8000, freq_scale=freq_scale, freq_bins=40, fmax=3000)
    module = transform.module("fourier")
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    module(torch.randn(2, 1000)).square().mean().backward()
    optimizer.step()
    for source, expected in ((transform, transform.module()), (module, module)):
        sg.to_onnx(source, tmp_path / "m.onnx", target=target)
        run = sg.load(tmp_path / "m.onnx")
        np.testing.assert_allclose(run.frequencies, transform.bins())
        for batch, samples in ((1, 1), (3, 255), (8, 4000)):
            wave = torch.randn(batch, samples)
            assert peak_error(run(wave.numpy()), expected(wave).detach().numpy()) < 5e-6
    again = sg.read_graph(tmp_path / "m.onnx").module()
    torch.testing.assert_close(again(wave), module(wave), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fmin": 20}, "fmin 20 goes with freq_scale linear or log"),
        ({"freq_bins": 2000}, "freq_bins must be at most 1025, not 2000"),
        ({"freq_scale": "log", "fmin": 0}, "fmin must be above 0, not 0"),
        ({"freq_scale": "linear", "fmin": -1}, "fmin must be at least 0, not -1"),
        ({"freq_scale": "log", "fmax": 12000}, "fmax 12000 Hz is above half the sample rate, 11025 Hz"),
        ({"freq_scale": "log", "fmin": 6000}, "fmin 6000 Hz is not below fmax 6000 Hz"),
        ({"freq_scale": "mel"}, "freq_scale must be no | linear | log | log2, not 'mel'"),
        ({"freq_scale": "log", "freq_bins": 0}, "freq_bins must be at least 1, not 0"),
    ],
)
def test_wrong_scales_are_named(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence.replace("|", r"\|")):
        sg.Spectrogram(**options)
