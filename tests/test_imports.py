"""Configurations of transformers: their features against transformers' own, where it is installed, and against formulas in float64."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.presets.transformers_base import BUILDERS
from tests.conftest import one_sentence
from tests.test_presets import bank, hamming, hann, power, standardized

# ---- against transformers -----------------------------------------------------------------------------------------------------

# What float32 of theirs may be off, on noise: of logarithms of mel energies, of decibels, of numbers divided by a deviation.
LOG, DECIBEL, KALDI = 3e-5, 2e-4, 5e-4
TAKEN: dict[str, dict[str, Any]] = {  # how each is called for one clip
    "SpeechT5": {"clip": "audio_target", "output": "input_values", "tensors": "np"},
    "Wav2Vec2": {"output": "input_values"},
    "AST": {"output": "input_values"},
    "Phi4Multimodal": {"output": "audio_input_features"},
    "UnivNet": {"call": {"return_noise": False}, "tensors": "np"},
}
CONFIGURATIONS: list[tuple[str, float, dict[str, Any]]] = [
    ("Whisper", LOG, {}),
    ("Whisper", LOG, {"feature_size": 128, "hop_length": 200, "chunk_length": 16}),
    ("Whisper", LOG, {"feature_size": 40, "n_fft": 512, "sampling_rate": 22050, "chunk_length": 2, "return_attention_mask": True}),
    ("VoxtralRealtime", LOG, {}),
    ("VoxtralRealtime", LOG, {"feature_size": 64, "n_fft": 512, "hop_length": 128, "global_log_mel_max": 0.5}),
    ("VoxtralRealtime", LOG, {"global_log_mel_max": None, "sampling_rate": 24000, "win_length": 320}),
    ("Wav2Vec2", 1e-5, {}),
    ("Wav2Vec2", 1e-5, {"sampling_rate": 8000, "return_attention_mask": True, "padding_side": "left"}),
    ("SeamlessM4T", KALDI, {}),
    ("SeamlessM4T", KALDI, {"num_mel_bins": 40, "feature_size": 40, "stride": 4, "padding_value": 1.0}),
    ("SeamlessM4T", KALDI, {"sampling_rate": 24000, "padding_value": 1}),
    ("Speech2Text", KALDI, {}),
    ("Speech2Text", KALDI, {"num_mel_bins": 40, "normalize_vars": False}),
    ("Speech2Text", KALDI, {"do_ceptral_normalize": False}),
    ("Speech2Text", KALDI, {"normalize_means": False, "normalize_vars": False}),
    ("AST", KALDI, {}),
    ("AST", KALDI, {"num_mel_bins": 64, "max_length": 50, "mean": -6.5, "std": 3.25}),
    ("AST", KALDI, {"do_normalize": False, "max_length": 300}),
    ("Phi4Multimodal", KALDI, {}),
    ("Phi4Multimodal", KALDI, {"feature_size": 64, "win_length": 512, "hop_length": 128, "preemphasis": 0.9}),
    ("Phi4Multimodal", KALDI, {"feature_size": 40, "win_length": 400, "n_fft": 400, "sampling_rate": 24000}),
    ("Lasr", LOG, {}),
    ("Lasr", LOG, {"feature_size": 64, "n_fft": 1024, "win_length": 512, "hop_length": 256, "sampling_rate": 22050}),
    ("Parakeet", 1e-3, {}),
    ("Parakeet", 1e-3, {"feature_size": 128, "hop_length": 200, "preemphasis": None, "sampling_rate": 24000}),
    ("Parakeet", 1e-3, {"feature_size": 64, "n_fft": 400, "win_length": 320, "preemphasis": 0.9}),
    ("NemotronAsrStreaming", 2e-4, {}),
    ("NemotronAsrStreaming", 2e-4, {"feature_size": 128, "mel_filters_dtype": "bfloat16", "preemphasis": 0.0}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "frequency_min": 50}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "padding": "pad", "feature_size": 80, "hop_length": 320, "sampling_rate": 32000, "max_length_s": 3}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "padding": "repeat", "fft_window_size": 512, "max_length_s": 5, "frequency_max": 20000.0}),
    ("SpeechT5", LOG, {}),
    ("SpeechT5", LOG, {"win_length": 50, "hop_length": 10, "num_mel_bins": 64, "win_function": "hamming_window", "mel_floor": 1e-5}),
    ("SpeechT5", LOG, {"win_length": 25, "hop_length": 11, "sampling_rate": 24200, "fmin": 0, "fmax": 12000, "win_function": "boxcar"}),
    ("UnivNet", LOG, {}),
    ("UnivNet", LOG, {"num_mel_bins": 80, "sampling_rate": 22050, "fmax": 8000, "do_normalize": True, "compression_factor": 2.0}),
    ("UnivNet", LOG, {"win_length": 512, "filter_length": None, "hop_length": 100, "center": True, "fmax": None, "mel_floor": 1e-6, "compression_clip_val": 1e-3}),
]  # fmt: skip


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return np.clip(0.2 * np.random.default_rng(seed).standard_normal(samples), -1, 1).astype(np.float32)


def extractor_of(kind: str, options: dict[str, Any]) -> Any:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(transformers, f"{kind}FeatureExtractor")(**options)


def features_of(kind: str, extractor: Any, wave: np.ndarray) -> np.ndarray:
    how = TAKEN.get(kind, {})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clip = {how.get("clip", "raw_speech"): wave}
        made = extractor(**clip, sampling_rate=extractor.sampling_rate, return_tensors=how.get("tensors", "pt"), **how.get("call", {}))
    features = np.asarray(made[how.get("output", "input_features")][0], np.float64)
    return features[0] if kind == "Clap" else features


@pytest.mark.parametrize(("kind", "tolerance", "options"), CONFIGURATIONS, ids=str)
def test_features_are_those_of_transformers(kind: str, tolerance: float, options: dict[str, Any], tmp_path: Path) -> None:
    extractor = extractor_of(kind, options)
    p = sg.from_transformers(extractor)
    for samples in (p.sample_rate + 77, int(0.53 * p.sample_rate)):
        wave = noise(samples, samples)
        got, wanted = p.graph().numpy(wave[None])["features"][0], features_of(kind, extractor, wave)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=tolerance)
    extractor.save_pretrained(tmp_path)
    again = sg.from_transformers(tmp_path)
    assert again.parameters() == p.parameters()
    assert str(again.graph()) == str(p.graph())


def test_every_extractor_is_compared() -> None:
    compared = {f"{kind}FeatureExtractor" for kind, _, _ in CONFIGURATIONS}
    assert set(BUILDERS) - compared == {"GraniteSpeechFeatureExtractor"}  # which needs torchaudio, and has its formula below


def test_a_processor_and_filters_that_were_replaced() -> None:
    extractor = extractor_of("Whisper", {"feature_size": 40})

    class Processor:
        feature_extractor = extractor

    assert sg.from_transformers(Processor()).graph().outputs["features"].shape[1] == 40
    extractor.mel_filters = extractor.mel_filters[:, ::-1]
    with pytest.raises(ValueError, match="its mel_filters are not those that its fields make"):
        sg.from_transformers(extractor)
    with pytest.raises(ValueError, match="its mel_filters are not those"):  # a field that it does not keep
        sg.from_transformers(extractor_of("Phi4Multimodal", {"mel_max_frequency": 6000.0}))


# ---- against formulas ---------------------------------------------------------------------------------------------------------


def config(kind: str, **fields: Any) -> dict[str, Any]:
    return {"feature_extractor_type": f"{kind}FeatureExtractor"} | fields


def floored(mel: np.ndarray, below: float | None) -> np.ndarray:
    logarithms = np.log10(np.maximum(mel, 1e-10))
    return (np.maximum(logarithms, (logarithms.max() if below is None else below) - 8) + 4) / 4


def whisper(x: np.ndarray) -> np.ndarray:
    x = np.pad(x[: 16 * 16000], (0, max(0, 16 * 16000 - len(x))))
    return floored(bank(16000, 512, 128, 0, 8000) @ power(x, 512, 200, hann(512))[:-1].T, None)


def parakeet(x: np.ndarray) -> np.ndarray:
    x = np.concatenate([x[:1], x[1:] - 0.9 * x[:-1]])
    mel = power(x, 1024, 200, hann(600, False), "constant") @ bank(24000, 1024, 64, 0, 12000).T
    valid = np.log(mel + 2.0**-24)[: len(x) // 200]
    return np.vstack([(valid - valid.mean(0)) / (valid.std(0, ddof=1) + 1e-5), np.zeros((1, 64))])


def granite(x: np.ndarray) -> np.ndarray:
    features = floored((power(x, 400, 200, hann(320)) @ bank(16000, 400, 40, 0, 8000, "htk", False).T), None)
    return features[: len(features) // 2 * 2].reshape(-1, 80)


def speecht5(x: np.ndarray) -> np.ndarray:
    width, hop = 432, 160
    x = np.pad(x, width // 2, mode="reflect")
    starts = range(0, len(x) - width + 1, hop)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(width) / width)
    magnitude = np.abs(np.fft.rfft([x[i : i + width] * window for i in starts], 512))
    return np.log10(np.maximum(magnitude @ bank(16000, 512, 40, 80, 7000).T, 1e-6))


FORMULAS = [
    (config("Whisper", feature_size=128, hop_length=200, n_fft=512, chunk_length=16), whisper),
    (config("Parakeet", feature_size=64, hop_length=200, n_fft=1024, win_length=600, sampling_rate=24000, preemphasis=0.9), parakeet),
    (config("GraniteSpeech", n_mels=40, n_fft=400, win_length=320, hop_length=200, melspec_kwargs={"n_mels": 40, "win_length": 320}), granite),
    (config("SpeechT5", win_length=27, hop_length=10, num_mel_bins=40, fmax=7000, win_function="hamming", mel_floor=1e-6), speecht5),
]


@pytest.mark.parametrize(("fields", "formula"), FORMULAS, ids=lambda value: getattr(value, "__name__", ""))
def test_features_are_the_formula(fields: dict[str, Any], formula: Any) -> None:
    p = sg.from_transformers(fields)
    wave = noise(p.sample_rate + 77).astype(np.float64)
    got, wanted = p.graph().numpy(wave[None])["features"][0], formula(wave)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-8)
