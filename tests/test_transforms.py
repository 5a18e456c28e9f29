"""Transforms against librosa, in float64 and float32, in torch and in onnxruntime."""

from __future__ import annotations

import re

import librosa
import numpy as np
import pytest
import scipy.fft
import torch

import specgraph as sg
from specgraph.design.mel import hz_to_mel, mel_filterbank, mel_to_hz
from specgraph.lowering import lower
from specgraph.transforms import Transform, registry
from tests.conftest import check_held, peak_error, session, waves

SAMPLES = 12_345
SIZES = [256, 400, 401, 512, 1000, 1024, 2048, 4096]
HOPS = [160, 220, 441, 512]


def in_onnxruntime(transform: Transform, wave: np.ndarray) -> np.ndarray:
    return session(lower(transform.graph())).run(None, {"waveforms": wave})[0]


def librosa_power(wave: np.ndarray, n_fft: int, hop_length: int, **options) -> np.ndarray:
    spectrum = [
        librosa.stft(row.astype(np.float64), n_fft=n_fft, hop_length=hop_length, pad_mode="reflect", dtype=np.complex128, **options)
        for row in wave
    ]
    return np.abs(np.stack(spectrum)) ** 2


def librosa_mel(transform: sg.MelSpectrogram, wave: np.ndarray) -> np.ndarray:
    bank = librosa.filters.mel(
        sr=transform.sample_rate,
        n_fft=transform.n_fft,
        n_mels=transform.n_mels,
        fmin=transform.fmin,
        fmax=transform.fmax,
        htk=transform.htk,
        norm=transform.norm,
        dtype=np.float64,
    )
    return bank @ librosa_power(wave, transform.n_fft, transform.hop)


@pytest.mark.parametrize("hop_length", [None, *HOPS])
@pytest.mark.parametrize("n_fft", SIZES)
def test_spectrogram_and_mel_are_librosas(n_fft: int, hop_length: int | None) -> None:
    hop = hop_length or n_fft // 4
    signals = waves(SAMPLES)
    wave = np.stack(list(signals.values()))
    spectrogram = sg.Spectrogram(n_fft=n_fft, hop_length=hop, output="power")
    mel = sg.MelSpectrogram(n_fft=n_fft, hop_length=hop, n_mels=20)
    for transform, wanted in (
        (spectrogram, librosa_power(wave, n_fft, hop)),
        (mel, librosa_mel(mel, wave)),
    ):
        exact = transform.module(dtype=torch.float64)(torch.from_numpy(wave).double()).numpy()
        in_torch = transform.module()(torch.from_numpy(wave)).numpy()
        in_onnx = in_onnxruntime(transform, wave)
        for i, name in enumerate(signals):
            assert peak_error(exact[i], wanted[i]) < 1e-12, name
        for got in (in_torch, in_onnx):
            check_held({"features": got}, transform.graph(), wave)


def mel_64(wave: np.ndarray, **options) -> np.ndarray:
    """librosa's mel spectrogram with its bank in float64."""
    return librosa_mel(sg.MelSpectrogram(**options), wave)


@pytest.mark.parametrize("n_fft", [400, 401, 1024, 2048])
def test_log_mel_and_mfcc_are_librosas(n_fft: int) -> None:
    options = {"n_fft": n_fft, "hop_length": 160, "n_mels": 32}
    wave = waves(8000)["noise"][None] * np.linspace(0, 1, 8000, dtype=np.float32)
    level = librosa.power_to_db(mel_64(wave, **options))
    for transform, wanted in (
        (sg.LogMelSpectrogram(**options), level),
        (sg.LogMelSpectrogram(**options, ref=3.0, top_db=None), librosa.power_to_db(mel_64(wave, **options), ref=3.0, top_db=None)),
        (sg.LogMelSpectrogram(**options, log="ln", amin=1e-5), np.log(np.maximum(mel_64(wave, **options), 1e-5))),
        (sg.LogMelSpectrogram(**options, log="log10", amin=0.0, offset=1e-6), np.log10(mel_64(wave, **options) + 1e-6)),
        (sg.MFCC(**options), librosa.feature.mfcc(S=level)),
        (sg.MFCC(**options, n_mfcc=13, lifter=22), librosa.feature.mfcc(S=level, n_mfcc=13, lifter=22)),
    ):
        exact = transform.module(dtype=torch.float64)(torch.from_numpy(wave).double()).numpy()
        assert peak_error(exact, wanted) < 1e-12
        assert peak_error(transform.module()(torch.from_numpy(wave)).numpy(), wanted) < 1e-5
        assert peak_error(in_onnxruntime(transform, wave), wanted) < 1e-5


def test_mfcc_is_librosas_end_to_end() -> None:
    wave = waves(9000)["sweep"]
    wanted = librosa.feature.mfcc(y=wave.astype(np.float64), sr=22050, pad_mode="reflect")
    assert peak_error(sg.MFCC().graph().numpy(wave[None])["features"][0], wanted) < 1e-7  # librosa's bank is float32


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "edge"])
@pytest.mark.parametrize(
    ("win_length", "window"),
    [(None, "hann"), (400, "hann"), (333, "hamming"), (None, ("kaiser", 9.0)), (64, "boxcar"), (51, np.hanning(51))],
    ids=str,
)
def test_windows_and_padding_are_librosas(win_length, window, pad_mode: str, center: bool) -> None:
    wave = waves(5000)["noise"]
    spec = np.pad(window, 0) if isinstance(window, np.ndarray) else window
    wanted = librosa.stft(
        wave.astype(np.float64),
        n_fft=512,
        hop_length=100,
        win_length=win_length,
        window=spec,
        center=center,
        pad_mode=pad_mode,
        dtype=np.complex128,
    )
    transform = sg.Spectrogram(
        n_fft=512, hop_length=100, win_length=win_length, window=window, center=center, pad_mode=pad_mode, output="complex"
    )
    definition = transform.graph().numpy(wave[None])["features"][0]
    assert np.abs(definition[..., 0] + 1j * definition[..., 1] - wanted).max() < 1e-12 * np.abs(wanted).max()
    for got in (in_onnxruntime(transform, wave[None]), transform.module()(torch.from_numpy(wave)[None]).numpy()):
        assert peak_error(got[0], definition) < 2e-6


def test_phase_and_exponents() -> None:
    wave = waves(4000)["noise"]
    spectrum = librosa.stft(wave.astype(np.float64), n_fft=256, pad_mode="reflect", dtype=np.complex128)
    turns = np.exp(1j * sg.Spectrogram(n_fft=256, output="phase").graph().numpy(wave[None])["features"][0])
    inner = np.s_[1:-1, 3:-3]
    assert np.abs(turns - spectrum / np.abs(spectrum))[inner].max() < 1e-9
    cubed = sg.Spectrogram(n_fft=256, power=3.0).graph().numpy(wave[None])["features"][0]
    assert peak_error(cubed, np.abs(spectrum) ** 3) < 1e-12
    amplitude = sg.MelSpectrogram(n_fft=256, n_mels=10, power=1.0, hop_length=64).graph().numpy(wave[None])["features"][0]
    bank = librosa.filters.mel(sr=22050, n_fft=256, n_mels=10, dtype=np.float64)
    assert peak_error(amplitude, bank @ np.abs(spectrum)) < 1e-12


@pytest.mark.parametrize("htk", [False, True])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize(("n_fft", "n_mels", "fmin", "fmax"), [(400, 40, 0, None), (2048, 128, 20.5, 7600.0), (513, 10, 300, 5000)])
def test_mel_bank_is_librosas(n_fft: int, n_mels: int, fmin: float, fmax: float | None, norm, htk: bool) -> None:
    wanted = librosa.filters.mel(
        sr=16000, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm, dtype=np.float64
    )
    np.testing.assert_allclose(mel_filterbank(16000, n_fft, n_mels, fmin, fmax, htk, norm), wanted, atol=1e-14)
    transform = sg.MelSpectrogram(sample_rate=16000, n_fft=n_fft, n_mels=n_mels, fmin=fmin, fmax=fmax, htk=htk, norm=norm)
    np.testing.assert_allclose(
        transform.centres(), librosa.mel_frequencies(n_mels + 2, fmin=fmin, fmax=fmax or 8000, htk=htk)[1:-1]
    )


@pytest.mark.parametrize("htk", [False, True])
def test_mel_scale_and_its_inverse(htk: bool) -> None:
    hz = np.linspace(0, 20000, 500)
    np.testing.assert_allclose(hz_to_mel(hz, htk), librosa.hz_to_mel(hz, htk=htk), rtol=1e-13)
    np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, htk), htk), hz, rtol=1e-12, atol=1e-9)


def test_dct_is_scipys() -> None:
    from specgraph.design.dct import dct_matrix

    x = np.random.default_rng(0).standard_normal((40, 7))
    np.testing.assert_allclose(dct_matrix(13, 40) @ x, scipy.fft.dct(x, axis=0, norm="ortho")[:13], atol=1e-13)


@pytest.mark.parametrize(
    ("cls", "parameters", "sentence"),
    [
        (sg.MelSpectrogram, {"fmax": 20000}, "fmax 20000 Hz is above half the sample rate, 11025 Hz"),
        (sg.MelSpectrogram, {"n_mels": 512, "n_fft": 400}, "217 of 512 mel filters are empty"),
        (sg.MelSpectrogram, {"fmin": 900, "fmax": 900}, "fmin 900 Hz is not below fmax 900 Hz"),
        (sg.MelSpectrogram, {"hop_length": 0}, "hop_length must be at least 1, not 0"),
        (sg.MelSpectrogram, {"n_fft": 2.5}, "n_fft must be int, not 2.5"),
        (sg.MelSpectrogram, {"n_fft": True}, "n_fft must be int, not True"),
        (sg.MelSpectrogram, {"win_length": 4096}, "win_length 4096 is longer than n_fft 2048"),
        (sg.MelSpectrogram, {"window": "hnn"}, "window 'hnn' is not one"),
        (sg.MelSpectrogram, {"window": np.ones(7)}, "give 2048 samples or set win_length"),
        (sg.MelSpectrogram, {"pad_mode": "wrap"}, "pad_mode must be reflect | constant | edge | symmetric, not 'wrap'"),
        (sg.MelSpectrogram, {"power": 0}, "power must be above 0"),
        (sg.MelSpectrogram, {"sample_rate": 0}, "sample_rate must be at least 1, not 0"),
        (sg.MelSpectrogram, {"fmin": float("nan")}, "fmin must be float, not nan"),
        (sg.LogMelSpectrogram, {"amin": 0}, "amin must be above 0"),
        (sg.LogMelSpectrogram, {"offset": 1e-6}, "offset 1e-06 goes with log ln or log10"),
        (sg.LogMelSpectrogram, {"log": "bel"}, "log must be db | ln | log10, not 'bel'"),
        (sg.MelSpectrogram, {"n_fft": 10**9}, "n_fft must be at most 1048576, not 1000000000"),
        (sg.MelSpectrogram, {"n_mels": 10**9}, "n_mels must be at most 4096, not 1000000000"),
        (sg.MFCC, {"n_mfcc": 200}, "n_mfcc 200 is more than the 128 mel filters"),
        (sg.Spectrogram, {"power": 2, "output": "phase"}, "output phase has no exponent"),
        (sg.Spectrogram, {"n_fft": 3}, "has no quarter to hop by"),
    ],
)
def test_wrong_parameters_are_named(cls: type[Transform], parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        cls(**parameters)
    assert "\n" not in str(caught.value)


def test_unknown_part_to_train() -> None:
    with pytest.raises(ValueError, match="no part 'mels' to train; it has fourier, mel"):
        sg.MelSpectrogram().graph(trainable=("mels",))


def test_parameters_from_text() -> None:
    given = {"n_mels": "40", "fmax": "none", "window": "('kaiser', 8.0)", "center": "no", "htk": "true", "power": "1"}
    transform = sg.MelSpectrogram.from_strings(given)
    assert transform == sg.MelSpectrogram(n_mels=40, window=("kaiser", 8.0), center=False, htk=True, power=1.0)
    with pytest.raises(ValueError, match=r"no parameter 'n_mel' \(did you mean 'n_mels'\?\)"):
        sg.MelSpectrogram.from_strings({"n_mel": "40"})
    with pytest.raises(ValueError, match="n_mels must be int, not 'many'"):
        sg.MelSpectrogram.from_strings({"n_mels": "many"})


@pytest.mark.parametrize("name", sorted(registry()))
def test_every_transform_describes_itself(name: str) -> None:
    cls = registry()[name]
    assert cls.command
    assert cls.help().endswith(".")
    assert all(parameter.help for parameter in cls.parameters())
    for part in cls.trainable_parts:
        assert f"``{part}``" in (cls.__doc__ or "")


def test_one_sample_and_clips_shorter_than_a_frame() -> None:
    for samples in (1, 7, 200, 399):
        wave = waves(samples)["noise"][None]
        wanted = np.abs(np.fft.rfft(np.pad(wave.astype(np.float64), ((0, 0), (200, 200)), mode="reflect")[:, :400] * np.hanning(401)[:-1]))
        got = sg.Spectrogram(n_fft=400, hop_length=160).graph().numpy(wave)["features"]
        assert got.shape == (1, 201, samples // 160 + 1)
        assert peak_error(got[..., 0], wanted) < 1e-12
