"""Configurations of NeMo: features against FilterbankFeatures, normalize_batch and torchaudio's MFCC, written here from their formulas in float64."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from tests.conftest import one_sentence
from tests.test_presets import bank, frames
from tests.test_imports import noise

MEL = "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor"
MFCC = "nemo.collections.asr.modules.AudioToMFCCPreprocessor"
SYMMETRIC = {"hann": np.hanning, "hamming": np.hamming, "blackman": np.blackman, "bartlett": np.bartlett}
GUARDS = {"tiny": np.finfo(np.float32).tiny, "eps": np.finfo(np.float32).eps}


def section(target: str = MEL, **fields: Any) -> dict[str, Any]:
    return {"preprocessor": {"_target_": target} | fields}


def in_frame(window: np.ndarray, n_fft: int) -> np.ndarray:
    """torch.stft puts a shorter window into the middle."""
    left = (n_fft - len(window)) // 2
    return np.pad(window, (left, n_fft - len(window) - left))


def filterbank_features(
    x: np.ndarray, sample_rate: int = 16000, window_size: float = 0.02, window_stride: float = 0.01, n_window_size: int | None = None,
    n_window_stride: int | None = None, window: str = "hann", normalize: Any = "per_feature", n_fft: int | None = None, preemph: float | None = 0.97,
    features: int = 64, lowfreq: float = 0, highfreq: float | None = None, log: bool = True, log_zero_guard_type: str = "add",
    log_zero_guard_value: float | str = 2**-24, pad_to: int = 16, frame_splicing: int = 1, exact_pad: bool = False, pad_value: float = 0,
    mag_power: float = 2.0, mel_norm: str | None = "slaney", **training: Any,
) -> np.ndarray:  # fmt: skip
    """(features, frames): FilterbankFeatures.forward in evaluation, line by line."""
    width = int(window_size * sample_rate) if window_size else n_window_size
    hop = int(window_stride * sample_rate) if window_stride else n_window_stride
    assert width
    assert hop
    n_fft = n_fft or 2 ** int(np.ceil(np.log2(width)))
    amount = (n_fft - hop) // 2 if exact_pad else None
    valid = (len(x) + (2 * amount if amount is not None else n_fft // 2 * 2) - n_fft) // hop
    samples = len(x)
    if amount is not None:
        x = np.pad(x, amount)
    if preemph is not None:
        x = np.concatenate([x[:1], x[1:] - preemph * x[:-1]])
        x[samples:] = 0
    if amount is None:
        x = np.pad(x, n_fft // 2)
    spectrum = np.fft.rfft(frames(x, n_fft, hop) * in_frame(SYMMETRIC[window](width), n_fft)).T
    mel = bank(sample_rate, n_fft, features, lowfreq, highfreq or sample_rate / 2, norm=mel_norm == "slaney") @ np.abs(spectrum) ** mag_power
    guard = GUARDS[log_zero_guard_value] if isinstance(log_zero_guard_value, str) else log_zero_guard_value
    if log:
        mel = np.log(mel + guard) if log_zero_guard_type == "add" else np.log(np.maximum(mel, guard))
    mel = np.concatenate([mel] * frame_splicing)
    if normalize == "per_feature":
        mel = (mel - mel[:, :valid].mean(1, keepdims=True)) / (mel[:, :valid].std(1, ddof=1, keepdims=True) + 1e-5)
    elif normalize == "all_features":
        mel = (mel - mel[:, :valid].mean()) / (mel[:, :valid].std(ddof=1) + 1e-5)
    mel[:, valid:] = pad_value
    over = mel.shape[1] % pad_to if pad_to else 0
    return np.pad(mel, ((0, 0), (0, pad_to - over if over else 0)), constant_values=pad_value)


def torchaudio_mfcc(
    x: np.ndarray, sample_rate: int = 16000, window_size: float = 0.02, window_stride: float = 0.01, window: str | None = "hann", n_fft: int | None = None,
    lowfreq: float = 0.0, highfreq: float | None = None, n_mels: int = 64, n_mfcc: int = 64, log: bool = True,
) -> np.ndarray:  # fmt: skip
    """(n_mfcc, frames): torchaudio.transforms.MFCC with a periodic window and an orthonormal DCT-II."""
    width, hop = int(window_size * sample_rate), int(window_stride * sample_rate)
    n_fft = n_fft or 2 ** int(np.ceil(np.log2(width)))
    shape = np.ones(width) if window in (None, "ones") else SYMMETRIC[window](width + 1)[:-1]
    spectrum = np.fft.rfft(frames(np.pad(x, n_fft // 2, mode="reflect"), n_fft, hop) * in_frame(shape, n_fft)).T
    mel = bank(sample_rate, n_fft, n_mels, lowfreq, highfreq or sample_rate / 2, "htk", False) @ np.abs(spectrum) ** 2
    level = np.log(mel + 1e-6) if log else 10 * np.log10(np.maximum(mel, 1e-10))
    if not log:
        level = np.maximum(level, level.max() - 80)
    n = np.arange(n_mels) + 0.5
    dct = np.array([np.sqrt((1 if k == 0 else 2) / n_mels) * np.cos(np.pi * k * n / n_mels) for k in range(n_mfcc)])
    return dct @ level


OPTIONS: list[dict[str, Any]] = [
    {},
    {"features": 80, "window_size": 0.025, "n_fft": 512, "pad_to": 0, "dither": 1e-5, "frame_splicing": 1},
    {"features": 128, "window_size": 0.025, "n_fft": 512, "pad_to": 2, "normalize": "NA", "pad_value": -1.5},
    {"features": 64, "normalize": "all_features", "pad_to": 8, "window": "hamming"},
    {"features": 40, "normalize": None, "log_zero_guard_type": "clamp", "log_zero_guard_value": 1e-5, "preemph": None, "mag_power": 1.0, "pad_to": 1},
    {"features": 80, "sample_rate": 22050, "n_window_size": 1024, "n_window_stride": 256, "window_size": None, "window_stride": None, "n_fft": 1024,
     "lowfreq": 0, "highfreq": 8000, "exact_pad": True, "preemph": None, "normalize": None, "pad_to": 1, "mag_power": 1.0, "mel_norm": None},
    {"exact_pad": True, "normalize": "per_feature", "window": "blackman", "pad_to": 4, "log_zero_guard_value": "eps"},
    {"frame_splicing": 3, "window": "bartlett", "lowfreq": 50, "highfreq": 7000, "normalize": "per_feature", "log_zero_guard_value": "tiny"},
    {"log": False, "normalize": "None", "sample_rate": 8000, "pad_to": 0, "nb_augmentation_prob": 0.5, "rng": None},
]  # fmt: skip
CEPSTRA: list[dict[str, Any]] = [
    {},
    {"n_mfcc": 20, "n_mels": 40, "window": "hamming", "lowfreq": 20.0, "highfreq": 7600, "n_fft": 1024},
    {"log": False, "n_mfcc": 40, "sample_rate": 8000, "window_size": 0.025, "window": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_are_the_formula(options: dict[str, Any]) -> None:
    p = sg.from_nemo(section(**options))
    for samples in (p.sample_rate + 77, p.sample_rate // 2):
        wave = noise(samples, samples).astype(np.float64)
        got, wanted = p.graph().numpy(wave[None])["features"][0], filterbank_features(wave.copy(), **options)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("options", CEPSTRA, ids=str)
def test_cepstra_are_the_formula(options: dict[str, Any]) -> None:
    p = sg.from_nemo(section(MFCC, **options))
    wave = noise(p.sample_rate + 77).astype(np.float64)
    got, wanted = p.graph().numpy(wave[None])["features"][0], torchaudio_mfcc(wave, **options)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-8)
