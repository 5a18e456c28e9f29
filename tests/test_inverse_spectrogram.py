"""The inverse STFT: against librosa and torch, back to where it came from, and at the sizes that are easy to get wrong."""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.lowering import lower
from specgraph.ops.istft import Istft
from tests.conftest import peak_error, session, waves

CASES = [
    {"n_fft": 2048},
    {"n_fft": 400, "hop_length": 160},
    {"n_fft": 401, "hop_length": 100},
    {"n_fft": 512, "hop_length": 100, "win_length": 333, "window": "hamming"},
    {"n_fft": 513, "hop_length": 77, "win_length": 400},
    {"n_fft": 512, "hop_length": 500, "window": ("kaiser", 4.0)},
    {"n_fft": 256, "hop_length": 3},
]


def spectra(n_fft: int, frames: int = 9, batch: int = 2) -> np.ndarray:
    """Noise that is no clip's spectrum, with imaginary parts at DC and Nyquist that an inverse must not use."""
    return np.random.default_rng(0).standard_normal((batch, n_fft // 2 + 1, frames, 2))


def complexes(parts: np.ndarray) -> np.ndarray:
    return parts[..., 0] + 1j * parts[..., 1]


def librosas(options: dict, parts: np.ndarray) -> np.ndarray:
    return np.stack([librosa.istft(item, dtype=np.float64, **options) for item in complexes(parts)])


@pytest.mark.parametrize("length", [None, 700, 5000])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_equal_to_librosas(options: dict, length: int | None) -> None:
    transform = sg.InverseSpectrogram(length=length, **options)
    for frames in (2, 3, 9):
        parts = spectra(options["n_fft"], frames)
        wanted = librosas(options | {"length": length}, parts)
        exact = transform.graph().numpy(parts)["waveforms"]
        # With a length the last samples of the last window count, which weigh almost nothing.
        assert peak_error(exact, wanted) < (1e-12 if length is None else 1e-9)
        assert peak_error(transform.module(dtype=torch.float64)(torch.from_numpy(parts)).numpy(), exact) < 1e-12
        if length is None:
            single = parts.astype(np.float32)
            assert peak_error(transform.module()(torch.from_numpy(single)).numpy(), wanted) < 3e-6
            assert peak_error(session(lower(transform.graph())).run(None, {"features": single})[0], wanted) < 3e-6


@pytest.mark.parametrize("options", CASES, ids=str)
def test_not_centred(options: dict) -> None:
    options = options | {"center": False}
    parts = spectra(options["n_fft"])
    exact = sg.InverseSpectrogram(**options).graph().numpy(parts)["waveforms"]
    wanted = librosas(options, parts)
    assert exact.shape == wanted.shape
    edge = 2  # samples of a window that begin at zero: the reference's own precision is gone there
    assert np.abs(exact - wanted)[:, edge:-edge].max() < 1e-10 * np.abs(wanted).max()
    if options.get("window", "hann") != "hann":
        assert peak_error(exact, wanted) < 1e-12


@pytest.mark.parametrize("length", [None, 1000])
@pytest.mark.parametrize(("n_fft", "win_length", "hop"), [(512, 512, 128), (401, 401, 100), (512, 400, 90)])
def test_equal_to_torchs(n_fft: int, win_length: int, hop: int, length: int | None) -> None:
    parts = spectra(n_fft, 12)
    window = torch.hann_window(win_length, dtype=torch.float64)
    wanted = torch.istft(torch.from_numpy(complexes(parts)), n_fft, hop, win_length, window, length=length).numpy()
    got = sg.InverseSpectrogram(n_fft=n_fft, win_length=win_length, hop_length=hop, length=length).graph().numpy(parts)["waveforms"]
    assert peak_error(got, wanted) < 1e-11


@pytest.mark.parametrize("options", CASES, ids=str)
def test_there_and_back(options: dict, tmp_path: Path) -> None:
    samples = 4000
    forward = sg.Spectrogram(output="complex", **options)
    inverse = sg.InverseSpectrogram(length=samples, **options)
    for transform, path in ((forward, "there.onnx"), (inverse, "back.onnx")):
        sg.to_onnx(transform, tmp_path / path)
    there, back = sg.load(tmp_path / "there.onnx"), sg.load(tmp_path / "back.onnx")
    for name, wave in waves(samples).items():
        spectrum = forward.graph().numpy(wave[None])["features"]
        if "kaiser" not in str(options):  # hop 500 of 512: half of what is left weighs 1e-2
            assert peak_error(inverse.graph().numpy(spectrum)["waveforms"][0], wave) < 1e-12, name
        assert peak_error(back(there(wave)), wave) < 1e-5, name


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("options", [*CASES, {"n_fft": 64, "center": False}, {"n_fft": 64, "length": 100}], ids=str)
def test_one_export_runs_at_every_batch_and_length(options: dict, target: str, tmp_path: Path) -> None:
    transform = sg.InverseSpectrogram(**options)
    report = sg.to_onnx(transform, tmp_path / "m.onnx", target=target)
    assert report.error < 2e-6
    run, exact = sg.load(tmp_path / "m.onnx"), transform.graph()
    for batch, frames in ((1, 2), (3, 3), (8, 40), (1, 300)):
        magnitude = sg.Spectrogram(output="complex", n_fft=options["n_fft"], hop_length=transform.hop).graph()
        wave = np.random.default_rng(frames).standard_normal((batch, transform.hop * (frames - 1)))
        parts = magnitude.numpy(wave)["features"].astype(np.float32)
        if transform.center and transform.length is None:  # the edges of windows weigh almost nothing
            assert peak_error(run(parts), exact.numpy(parts)["waveforms"]) < 5e-6
    meta = run.meta.outputs["waveforms"]
    assert (meta.axes, meta.hop, meta.centre) == (("batch", "samples"), 1.0, 0.0)
    assert meta.count(parts.shape[2]) == run(parts).shape[1]
    np.testing.assert_allclose(run(parts[0]), run(parts)[0])


@pytest.mark.parametrize("lowering", list(Istft.lowerings))
def test_every_lowering_can_be_asked_for(lowering: str, tmp_path: Path) -> None:
    transform = sg.InverseSpectrogram(n_fft=400, hop_length=160)
    if lowering == "fft":
        with pytest.raises(ValueError, match="needs FFT"):
            sg.to_onnx(transform, tmp_path / "m.onnx", prefer={"Istft": lowering})
        return
    assert sg.to_onnx(transform, tmp_path / "m.onnx", prefer={"Istft": lowering}).error < 2e-6


def test_a_window_that_begins_with_rounding_divides_by_nothing() -> None:
    # scipy's Blackman window begins with -1.4e-17: librosa divides by its square.
    wave = waves(2000)["noise"][None]
    forward = sg.Spectrogram(n_fft=64, hop_length=16, window="blackman", center=False, output="complex")
    back = sg.InverseSpectrogram(n_fft=64, hop_length=16, window="blackman", center=False).graph()
    got = back.numpy(forward.graph().numpy(wave)["features"])["waveforms"]
    assert got[0, 0] == pytest.approx(0, abs=1e-15)
    assert np.abs(got - wave[:, : got.shape[1]])[0, 1:-1].max() < 1e-9


def test_gaps_between_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="hop_length 40 leaves 24 of each 40 samples without a window, of 16 samples"):
        sg.InverseSpectrogram(n_fft=16, hop_length=40, window="boxcar", center=False)


def test_trained_and_exported(tmp_path: Path) -> None:
    torch.manual_seed(0)
    transform = sg.InverseSpectrogram(n_fft=64, hop_length=16)
    module = transform.module("fourier")
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"fourier": (66, 64)}
    parts = torch.from_numpy(spectra(64)).float()
    torch.testing.assert_close(module(parts), transform.module()(parts), rtol=1e-5, atol=1e-5)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-4)
    module(parts).square().mean().backward()
    optimizer.step()
    sg.to_onnx(module, tmp_path / "m.onnx")
    assert peak_error(sg.load(tmp_path / "m.onnx")(parts.numpy()), module(parts).detach().numpy()) < 5e-6


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((1, 32, 3, 2), "axis 1 has 32 instead of 33"),
        ((33, 3), r"not of shape \(33, 3\)"),
        ((1, 33, 1, 2), "features has 1 frames and needs at least 2"),
        ((0, 33, 3, 2), "which is empty"),
    ],
)
def test_wrong_features_are_refused_in_a_sentence(shape: tuple, sentence: str, tmp_path: Path) -> None:
    transform = sg.InverseSpectrogram(n_fft=64)
    sg.to_onnx(transform, tmp_path / "m.onnx")
    for run in (sg.load(tmp_path / "m.onnx"), sg.load(tmp_path / "m.onnx", device="torch")):
        with pytest.raises(ValueError, match=sentence):
            run(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match=sentence):
        transform.module()(torch.zeros(shape))


def test_one_frame_with_a_length() -> None:
    transform = sg.InverseSpectrogram(n_fft=64, length=1)
    wave = np.array([[0.5]], np.float32)
    spectrum = sg.Spectrogram(n_fft=64, output="complex").graph().numpy(wave)["features"]
    assert transform.graph().numpy(spectrum)["waveforms"] == pytest.approx(wave)
    assert transform.module()(torch.from_numpy(spectrum).float()).numpy() == pytest.approx(wave)
