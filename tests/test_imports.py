"""Configurations of transformers: their features against transformers' own, where it is installed, and against formulas in float64."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.presets.transformers_base import BUILDERS
from tests.conftest import one_sentence
from tests.preset_formulas import bank, hann, power

# ---- against transformers -----------------------------------------------------------------------------------------------------

# What float32 of theirs may be off, on noise: of logarithms of mel energies, of decibels, of Kaldi's and NeMo's, which pre-emphasise.
LOG, DECIBEL, KALDI, NEMO, GEMMA = 5e-6, 1e-5, 1e-4, 2e-4, 2e-5
TAKEN: dict[str, dict[str, Any]] = {  # how each is called for one clip
    "SpeechT5": {"clip": "audio_target", "output": "input_values", "tensors": "np"},
    "Wav2Vec2": {"output": "input_values"},
    "AST": {"output": "input_values"},
    "Phi4Multimodal": {"output": "audio_input_features"},
    "UnivNet": {"call": {"return_noise": False}, "tensors": "np"},
}
WITHOUT = ("GraniteSpeech", "GraniteSpeech5", "MusicgenMelody", "Pop2Piano")  # which need torchaudio or essentia, and have their formulas below
CONFIGURATIONS: list[tuple[str, float, dict[str, Any]]] = [
    ("Whisper", LOG, {}),
    ("Whisper", LOG, {"feature_size": 128, "hop_length": 200, "chunk_length": 16}),
    ("Whisper", LOG, {"feature_size": 40, "n_fft": 512, "sampling_rate": 22050, "chunk_length": 2, "return_attention_mask": True}),
    ("VoxtralRealtime", LOG, {}),
    ("VoxtralRealtime", LOG, {"feature_size": 64, "n_fft": 512, "hop_length": 128, "global_log_mel_max": 0.5}),
    ("VoxtralRealtime", LOG, {"global_log_mel_max": None, "sampling_rate": 24000, "win_length": 320}),
    ("Wav2Vec2", 2e-6, {}),
    ("Wav2Vec2", 0.0, {"do_normalize": False, "return_attention_mask": True}),
    ("Wav2Vec2", 2e-6, {"sampling_rate": 8000, "return_attention_mask": True, "padding_side": "left"}),
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
    ("Parakeet", NEMO, {}),
    ("Parakeet", NEMO, {"feature_size": 128, "hop_length": 200, "preemphasis": None, "sampling_rate": 24000}),
    ("Parakeet", NEMO, {"feature_size": 64, "n_fft": 400, "win_length": 320, "preemphasis": 0.9}),
    ("NemotronAsrStreaming", NEMO, {}),
    ("NemotronAsrStreaming", NEMO, {"feature_size": 128, "mel_filters_dtype": "bfloat16", "preemphasis": 0.0}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "frequency_min": 50}),
    ("Clap", DECIBEL, {}),
    ("Clap", DECIBEL, {"truncation": "fusion", "padding": "pad", "max_length_s": 2, "feature_size": 32}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "padding": "pad", "feature_size": 80, "hop_length": 320, "sampling_rate": 32000, "max_length_s": 3}),
    ("Clap", DECIBEL, {"truncation": "rand_trunc", "padding": "repeat", "fft_window_size": 512, "max_length_s": 5, "frequency_max": 20000.0}),
    ("Clvp", LOG, {}),
    ("Clvp", LOG, {"feature_size": 40, "sampling_rate": 24000, "default_audio_length": 2, "hop_length": 300, "n_fft": 800, "mel_norms": [1.5] * 39 + [-2.0]}),
    ("Gemma3nAudio", GEMMA, {}),
    ("Gemma3nAudio", GEMMA, {"feature_size": 40, "frame_length_ms": 25.0, "hop_length_ms": 12.5, "preemphasis_htk_flavor": False, "padding_value": 0.1,
     "input_scale_factor": 2.0, "min_frequency": 50.0, "per_bin_mean": list(np.linspace(-3, 2, 40)), "per_bin_stddev": list(np.linspace(1, 2, 40))}),
    ("Gemma3nAudio", GEMMA, {"preemphasis": 0.0, "fft_overdrive": False, "mel_floor": 1e-2, "sampling_rate": 24000, "max_frequency": 12000.0}),
    ("Gemma4Audio", GEMMA, {}),
    ("Gemma4Audio", GEMMA, {"feature_size": 64, "frame_length_ms": 32.0, "preemphasis": 0.9, "fft_overdrive": True, "per_bin_mean": [0.5] * 64}),
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
        clip: Any = {how.get("clip", "raw_speech"): [wave] if kind == "Gemma4Audio" else wave}
        made = extractor(**clip, sampling_rate=extractor.sampling_rate, return_tensors=how.get("tensors", "pt"), **how.get("call", {}))
    features = np.asarray(made[how.get("output", "input_features")][0], np.float64)
    return features[np.asarray(made["input_features_mask"][0], bool)] if kind == "Gemma4Audio" else features


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
    if "frame_length_ms" in options:  # which it does not write, and what it writes it does not read
        with pytest.raises(ValueError, match="transformers does not read it, and takes frame_length_ms"):
            sg.from_transformers(tmp_path)
        return
    again = sg.from_transformers(tmp_path)
    assert again.parameters() == p.parameters()
    assert str(again.graph()) == str(p.graph())


def test_every_extractor_is_compared() -> None:
    compared = {f"{kind}FeatureExtractor" for kind, _, _ in CONFIGURATIONS}
    assert set(BUILDERS) - compared == {f"{kind}FeatureExtractor" for kind in WITHOUT}


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


def granite_5(x: np.ndarray) -> np.ndarray:
    frames = -(-(len(x) // 200) // 2) * 2
    x = np.pad(x, (0, max(0, (frames - 1) * 200 + 1 - len(x))))
    logarithms = np.log10(np.maximum(power(x, 400, 200, hann(320))[:frames] @ bank(16000, 400, 40, 0, 8000, "htk", False).T, 1e-10))
    features = np.maximum(logarithms, logarithms.max() - 6) / 4 + 1
    padded = np.pad(features, ((2, 2), (0, 0)), mode="edge")
    deltas = sum(n * padded[2 + n : len(features) + 2 + n] for n in (-2, -1, 1, 2)) / 10
    return np.hstack([features, deltas]).reshape(-1, 160)


def musicgen(x: np.ndarray) -> np.ndarray:
    import librosa

    chroma = power(x, 8192, 2000, hann(8192)) @ librosa.filters.chroma(sr=24000, n_fft=8192, tuning=0, n_chroma=24, dtype=np.float64).T
    return (np.arange(24) == chroma.argmax(1)[:, None]).astype(float)


def pop2piano(x: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(power(x, 2048, 500, hann(2048)) @ bank(16000, 2048, 64, 50, 8000, "htk", False).T, 1e-6))


FORMULAS = [
    (config("GraniteSpeech5", num_mel_bins=40, n_fft=400, win_length=320, hop_length=200, logmel_floor_db=6.0, delta_win_length=5), granite_5),
    (config("MusicgenMelody", n_fft=8192, hop_length=2000, sampling_rate=24000, num_chroma=24, stem_indices=[3, 2]), musicgen),
    (config("Pop2Piano", window_size=2048, hop_length=500, feature_size=64, sampling_rate=16000, min_frequency=50.0), pop2piano),
    (config("Whisper", feature_size=128, hop_length=200, n_fft=512, chunk_length=16), whisper),
    (config("Parakeet", feature_size=64, hop_length=200, n_fft=1024, win_length=600, sampling_rate=24000, preemphasis=0.9), parakeet),
    (config("GraniteSpeech", n_mels=40, n_fft=400, win_length=320, hop_length=200, melspec_kwargs={"n_mels": 40, "win_length": 320}), granite),
    (config("SpeechT5", win_length=27, hop_length=10, num_mel_bins=40, fmax=7000, win_function="hamming", mel_floor=1e-6), speecht5),
]


@pytest.mark.parametrize(("fields", "formula"), FORMULAS, ids=lambda value: getattr(value, "__name__", ""))
def test_features_are_the_formula(fields: dict[str, Any], formula: Any) -> None:
    p = sg.from_transformers(fields)
    for samples in (p.sample_rate + 77, 16200):  # an odd number of hops of 200
        wave = noise(samples, samples).astype(np.float64)
        got, wanted = p.graph().numpy(wave[None])["features"][0], formula(wave)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-8)


# ---- what a configuration may say ---------------------------------------------------------------------------------------------

WHISPER = {
    "chunk_length": 30, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "hop_length": 160, "mel_filters": [[0.0]],
    "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000, "padding_side": "right", "padding_value": 0.0, "processor_class": "WhisperProcessor",
    "return_attention_mask": False, "sampling_rate": 16000,
}  # fmt: skip


# Files as checkpoints have them, with what else is in them.
CHECKPOINTS = [
    {"chunk_length_s": 10, "feature_extractor_type": "ClapFeatureExtractor", "feature_size": 64, "fft_window_size": 1024, "frequency_max": 14000,
     "frequency_min": 50, "hop_length": 480, "max_length_s": 10, "n_fft": 1024, "nb_frequency_bins": 513, "nb_max_frames": 1000, "nb_max_samples": 480000,
     "padding": "repeatpad", "padding_side": "right", "padding_value": 0.0, "processor_class": "ClapProcessor", "return_attention_mask": False,
     "sampling_rate": 48000, "top_db": None, "truncation": "rand_trunc"},
    {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "feature_size": 80, "num_mel_bins": 80, "padding_side": "right", "padding_value": 1,
     "return_attention_mask": True, "sampling_rate": 16000, "stride": 2, "language_code": ["afr", "amh"], "processor_class": "SeamlessM4TProcessor"},
    {"do_normalize": False, "feature_extractor_type": "SpeechT5FeatureExtractor", "feature_size": 1, "fmax": 7600, "fmin": 80, "frame_signal_scale": 1.0,
     "hop_length": 16, "mel_floor": 1e-10, "num_mel_bins": 80, "padding_side": "right", "padding_value": 0.0, "processor_class": "SpeechT5Processor",
     "reduction_factor": 2, "return_attention_mask": True, "sampling_rate": 16000, "win_function": "hann_window", "win_length": 64},
    {"feature_extractor_type": "GraniteSpeechFeatureExtractor", "melspec_kwargs": {"hop_length": 160, "n_fft": 512, "n_mels": 80, "sample_rate": 16000,
     "win_length": 400}, "processor_class": "GraniteSpeechProcessor", "projector_downsample_rate": 5, "projector_window_size": 15, "sampling_rate": 16000},
]  # fmt: skip


@pytest.mark.parametrize("fields", CHECKPOINTS, ids=lambda fields: fields["feature_extractor_type"])
def test_files_of_checkpoints_are_taken(fields: dict[str, Any]) -> None:
    sg.from_transformers(fields).graph()


def test_files_folders_and_processors(tmp_path: Path) -> None:
    wanted = str(sg.preset("whisper-80").graph()).split("\n", 1)[1]

    def same(source: Any) -> bool:
        return str(sg.from_transformers(source).graph()).split("\n", 1)[1] == wanted

    assert same(WHISPER)
    assert same({"feature_extractor": WHISPER, "processor_class": "WhisperProcessor"})
    path = tmp_path / "processor_config.json"
    path.write_text(json.dumps({"feature_extractor": WHISPER, "processor_class": "WhisperProcessor"}))
    assert same(path)
    assert same(str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(WHISPER | {"feature_size": 128}))
    assert not same(tmp_path)  # which comes first

    class Extractor:
        def to_dict(self) -> dict[str, Any]:
            return WHISPER

    assert same(Extractor())


def test_granite_keeps_its_numbers_in_a_mapping() -> None:
    numbers = {"sample_rate": 16000, "n_fft": 400, "win_length": 400, "hop_length": 200, "n_mels": 40}

    class GraniteSpeechFeatureExtractor:
        def to_dict(self) -> dict[str, Any]:
            return config("GraniteSpeech", feature_size=40, sampling_rate=16000, melspec_kwargs=numbers, projector_window_size=15)

    assert sg.from_transformers(GraniteSpeechFeatureExtractor()).graph().outputs["features"].shape[2] == 80
    with pytest.raises(ValueError, match=re.escape("transformers does not read it, and takes n_fft 512; write n_fft 400 beside it")):
        sg.from_transformers(config("GraniteSpeech", melspec_kwargs=numbers))


# As wav2vec2-base-960h has it, from before the type was written.
WITHOUT_A_TYPE = {"do_normalize": True, "feature_size": 1, "padding_side": "right", "padding_value": 0.0, "return_attention_mask": False, "sampling_rate": 16000}

REFUSED = [
    (config("Wisper"), "feature_extractor_type is 'WisperFeatureExtractor', which is not supported (did you mean 'WhisperFeatureExtractor'?); supported are AST"),
    ({**WITHOUT_A_TYPE, "feature_size": 80}, "the configuration has no feature_extractor_type; add it, one of ASTFeatureExtractor"),
    ({**WITHOUT_A_TYPE, "hop_length": 160}, "the configuration has no feature_extractor_type; add it, one of ASTFeatureExtractor"),
    ({"feature_size": 1, "padding_value": 0.0, "sampling_rate": 16000}, "the configuration has no feature_extractor_type; add it, one of ASTFeatureExtractor"),
    ({"image_processor_type": "CLIP"}, "the configuration has no feature_extractor_type; add it, one of ASTFeatureExtractor"),
    (config("Dac"), "DacFeatureExtractor gives the waveform as it is"),
    (config("Encodec"), "EncodecFeatureExtractor gives the waveform as it is, filled up to whole chunks: there is nothing to compute"),
    (config("Whisper", n_mels=80), "WhisperFeatureExtractor: the field n_mels, 80, is not known; take it out if it changes no features"),
    (config("Whisper", hop_lenght=160), "the field hop_lenght, 160, is not known (did you mean 'hop_length'?)"),
    (config("Whisper", dither=0.1), "WhisperFeatureExtractor: dither is 0.1; noise is not part of the features; set it to 0"),
    (config("Whisper", feature_size="80"), "WhisperFeatureExtractor: feature_size must be int, not '80'"),
    (config("Whisper", feature_size=None), "WhisperFeatureExtractor: feature_size must be int, not None"),
    (config("Whisper", feature_size=True), "WhisperFeatureExtractor: feature_size must be int, not True"),
    (config("Whisper", feature_size=0), "WhisperFeatureExtractor: feature_size must be at least 1, not 0"),
    (config("Whisper", feature_size=5000), "WhisperFeatureExtractor: feature_size must be at most 4096, not 5000"),
    (config("Whisper", n_fft=401), "WhisperFeatureExtractor: n_fft must be even, not 401: otherwise its own filters are not at the DFT's bins"),
    (config("Whisper", sampling_rate=8000), "sampling_rate must be at least 16000, as its filters reach up to 8000 Hz, not 8000"),
    (config("Whisper", padding_side="left"), "padding_side is 'left'; a clip is filled up on the right; set it to right"),
    (config("Whisper", padding_value=1.0), "padding_value is 1.0; a clip is filled up with zeros; set it to 0"),
    (config("VoxtralRealtime", global_log_mel_max="max"), "VoxtralRealtimeFeatureExtractor: global_log_mel_max must be float | none, not 'max'"),
    (config("Wav2Vec2", do_normalize=1), "Wav2Vec2FeatureExtractor: do_normalize must be bool, not 1"),
    (config("Wav2Vec2", feature_size=80), "feature_size is 80; a waveform has one number for each sample; set it to 1"),
    (config("SeamlessM4T", stride=3), "stride is 3; frames are filled up to an even number, and only an even stride keeps all of them; use 2"),
    (config("SeamlessM4T", feature_size=1), "feature_size must be at least 2, as features are filled up in two axes, not 1"),
    (config("SeamlessM4T", padding_side="left"), "padding_side is 'left'; frames are filled up on the right"),
    (config("SeamlessM4T", num_mel_bins=9000), "SeamlessM4TFeatureExtractor: num_mel_bins must be at most 4096, not 9000"),
    (config("Speech2Text", sampling_rate=8000), "sampling_rate is 8000; at other rates than 16000 transformers gives two answers"),
    (config("Speech2Text", dither=1.0), "Speech2TextFeatureExtractor: dither is 1.0; noise is not part of the features"),
    (config("Speech2Text", normalize_means=False), "normalize_means is False; with normalize_vars there is no version that keeps the mean"),
    (config("AST", sampling_rate=32000), "sampling_rate is 32000; at other rates than 16000 transformers gives two answers"),
    (config("AST", std=0.0), "ASTFeatureExtractor: std must be above 0, not 0"),
    (config("Phi4Multimodal", n_fft=1024), "n_fft is 1024; for a win_length of 400 it must be 400 or 512"),
    (config("Phi4Multimodal", sampling_rate=8000), "mel_max_frequency must be at most 4000, as half the sampling_rate is, not 7690"),
    (config("Phi4Multimodal", preemphasis=1.5), "Phi4MultimodalFeatureExtractor: preemphasis must be at most 1, not 1.5"),
    (config("Lasr", sampling_rate=8000), "sampling_rate must be at least 15000, as its filters reach up to 7500 Hz, not 8000"),
    (config("Lasr", win_length=600), "LasrFeatureExtractor: win_length must be at most 512, as n_fft is, not 600"),
    (config("Parakeet", sampling_rate=11025), "ParakeetFeatureExtractor: sampling_rate must be even, not 11025"),
    (config("Parakeet", preemphasis=float("nan")), "ParakeetFeatureExtractor: preemphasis must be float | none, not nan"),
    (config("NemotronAsrStreaming", mel_filters_dtype="float16"), "mel_filters_dtype must be float32 | bfloat16, not 'float16'"),
    (config("GraniteSpeech", melspec_kwargs=[1]), "melspec_kwargs is [1]; it must hold numbers by their names"),
    (config("GraniteSpeech", melspec_kwargs={"power": 1}), "power in it is not known; it holds n_fft, win_length, hop_length, sample_rate, n_mels"),
    (config("Clap", truncation="rand_trunc", padding="wrap"), "ClapFeatureExtractor: padding must be repeatpad | repeat | pad, not 'wrap'"),
    (config("Clap", truncation="rand_trunc", sampling_rate=16000), "frequency_max must be at most 8000, as half the sampling_rate is, not 14000"),
    (config("Clap", truncation="rand_trunc", frequency_min=14000), "ClapFeatureExtractor: frequency_min 14000 Hz is not below frequency_max 14000 Hz"),
    (config("Clvp", mel_norms=[1.0]), "ClvpFeatureExtractor: mel_norms must be 80 numbers, one for each bin, or none, not [1.0]"),
    (config("Clvp", mel_norms=[0.0] * 80), "a bin cannot be divided by 0"),
    (config("Clvp", padding_value=1.0), "padding_value is 1.0; a clip is filled up with zeros; set it to 0"),
    (config("Gemma3nAudio", frame_length=400), "frame_length is 400; transformers does not read it, and takes frame_length_ms 32; write frame_length_ms 25 beside it"),
    (config("Gemma3nAudio", hop_length_ms=0.01), "hop_length_ms is 0.01; that is no sample at 16000 Hz; raise it"),
    (config("Gemma3nAudio", dither=0.5), "Gemma3nAudioFeatureExtractor: dither is 0.5; noise is not part of the features; set it to 0"),
    (config("Gemma3nAudio", per_bin_mean="mean"), "per_bin_mean must be 128 numbers, one for each bin, or none, not 'mean'"),
    (config("Gemma4Audio", per_bin_stddev=[0] * 128), "a bin cannot be divided by 0"),
    (config("Gemma4Audio", sampling_rate=8000), "max_frequency must be at most 4000, as half the sampling_rate is, not 8000"),
    (config("GraniteSpeech5", delta_win_length=4), "delta_win_length is 4; a difference is centred on its frame; use an odd number"),
    (config("MusicgenMelody", num_chroma=5000), "MusicgenMelodyFeatureExtractor: num_chroma must be at most 4096, not 5000"),
    (config("Pop2Piano", min_frequency=12000), "Pop2PianoFeatureExtractor: min_frequency 12000 Hz is not below fmax 11025 Hz"),
    (config("SpeechT5", win_function="povey"), "win_function must be hann_window | hann | hamming_window | hamming | boxcar, not 'povey'"),
    (config("SpeechT5", sampling_rate=600, hop_length=1), "hop_length is 1; so many milliseconds are no sample at 600 Hz; raise it"),
    (config("SpeechT5", frame_signal_scale=2.0), "frame_signal_scale is 2.0; it is no longer used; set it to 1"),
    (config("SpeechT5", mel_floor=0), "SpeechT5FeatureExtractor: mel_floor must be above 0, not 0"),
    (config("UnivNet", win_length=800), "filter_length is None; the window of win_length 800 must fill the frame; set both to the same number"),
    (config("UnivNet", hop_length=2048), "hop_length is 2048; it must be at most win_length, 1024"),
    (config("UnivNet", do_normalize=True, normalize_max=-20.0), "normalize_max is -20.0; it must be above normalize_min, -11.5129"),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED, ids=str)
def test_what_is_not_supported_is_named(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.from_transformers(fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("left_out", [(), ("padding_side",)], ids=str)
def test_a_configuration_from_before_types_were_written(left_out: tuple[str, ...], tmp_path: Path) -> None:
    values = {name: value for name, value in WITHOUT_A_TYPE.items() if name not in left_out} | {"processor_class": "Wav2Vec2Processor"}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    p = sg.from_transformers(tmp_path)
    assert str(p.graph()) == str(sg.from_transformers(config("Wav2Vec2")).graph())
    assert str(p.graph()) != str(sg.from_transformers(values | {"do_normalize": False}).graph())


def test_a_waveform_as_it_is(tmp_path: Path) -> None:
    """As WavLM's extractor gives it: the samples, and zeros behind those of a shorter clip."""
    p = sg.from_transformers(config("Wav2Vec2", do_normalize=False))
    sg.to_onnx(p, tmp_path / "one.onnx", lengths=True)
    clips = [noise(900), noise(500, 1)]
    features, lens = sg.load(tmp_path / "one.onnx")(clips)
    assert lens.tolist() == [900, 500]
    np.testing.assert_array_equal(features, np.stack([clips[0], np.pad(clips[1], (0, 400))]))
    np.testing.assert_array_equal(p.module()(torch.from_numpy(clips[0])).numpy(), clips[0])

    sg.to_onnx(sg.with_input(p, "int16", 48000, 2), tmp_path / "recorded.onnx")
    sound = np.sin(np.arange(4800) * 2 * np.pi * 440 / 48000)
    got = sg.load(tmp_path / "recorded.onnx")(np.stack([np.round(20000 * sound), 0 * sound]).astype(np.int16))
    wanted = 10000 / 32768 * np.sin(np.arange(1600) * 2 * np.pi * 440 / 16000)
    np.testing.assert_allclose(got[200:-200], wanted[200:-200], atol=5e-5)  # rounding to 16 bits is 1.5e-5, the filter's ripple 1e-5


def test_every_extractor_refuses_what_it_does_not_know() -> None:
    for kind in BUILDERS:
        fields = {"feature_extractor_type": kind}
        sg.from_transformers(fields)
        with pytest.raises(ValueError, match=f"{kind}: the field brightness, 2, is not known"):
            sg.from_transformers(fields | {"brightness": 2})


def test_what_is_no_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="takes a feature extractor, its configuration or a file of it, not int"):
        sg.from_transformers(3)
    with pytest.raises(ValueError, match="has no preprocessor_config.json and no processor_config.json"):
        sg.from_transformers(tmp_path)
    path = tmp_path / "preprocessor_config.json"
    for text, sentence in (("{", "is not JSON (Expecting"), ("[1]", "holds a list, not fields by their names"), ("{}", "has no feature_extractor_type")):
        path.write_text(text)
        with pytest.raises(ValueError, match=re.escape(sentence)):
            sg.from_transformers(path)
    with pytest.raises(FileNotFoundError, match="there is no file openai/whisper-tiny; give a preprocessor_config.json or the folder of a model"):
        sg.from_transformers("openai/whisper-tiny")


@settings(max_examples=40, deadline=None)
@given(
    n_fft=st.integers(8, 400).map(lambda half: 2 * half), hop=st.integers(1, 500), bins=st.integers(1, 200), rate=st.integers(8000, 24000).map(lambda half: 2 * half),
    samples=st.integers(1, 40000), seconds=st.integers(1, 3),
)  # fmt: skip
def test_valid_numbers_give_bins_and_frames(n_fft: int, hop: int, bins: int, rate: int, samples: int, seconds: int) -> None:
    numbers = {"feature_size": bins, "hop_length": hop, "n_fft": n_fft, "sampling_rate": rate}
    shape = sg.from_transformers(config("Whisper", **numbers, chunk_length=seconds)).graph().outputs["features"].shape
    assert shape[1:] == (bins, seconds * rate // hop)
    for kind in ("Parakeet", "GraniteSpeech"):
        own = numbers | ({"n_mels": bins} if kind == "GraniteSpeech" else {})
        graph = sg.from_transformers(config(kind, **own, win_length=n_fft // 2)).graph()
        shape, total = graph.outputs["features"].shape, 1 + samples // hop
        if samples >= graph.least_along_the_clip():
            assert shape[1].at(samples) == (total if kind == "Parakeet" else total // 2)
        assert shape[2] == (bins if kind == "Parakeet" else 2 * bins)


@settings(max_examples=5, deadline=None)
@given(n_fft=st.integers(16, 300).map(lambda half: 2 * half), hop=st.integers(20, 400), bins=st.integers(1, 90), rate=st.integers(8000, 16000), samples=st.integers(1, 12000))
def test_any_numbers_give_the_features_of_transformers(n_fft: int, hop: int, bins: int, rate: int, samples: int) -> None:
    wave = noise(samples, samples)
    for kind, options in (("Whisper", {"n_fft": n_fft, "chunk_length": 1}), ("Parakeet", {"n_fft": n_fft, "win_length": n_fft // 2 + 1, "preemphasis": 0.5})):
        extractor = extractor_of(kind, options | {"hop_length": hop, "feature_size": bins, "sampling_rate": 2 * rate})
        graph = sg.from_transformers(extractor).graph()
        if samples < graph.least_along_the_clip() + (hop if kind == "Parakeet" else 0):  # of a single frame Parakeet's deviation is no number
            continue
        got, wanted = graph.numpy(wave[None])["features"][0], features_of(kind, extractor, wave)
        np.testing.assert_allclose(got, wanted, atol=KALDI if kind == "Whisper" else 5e-3)  # a deviation of two frames may be small


@settings(max_examples=40, deadline=None)
@given(width=st.integers(2, 3000), hop=st.integers(1, 3000), rate=st.integers(100, 96000), samples=st.integers(1, 96000))
def test_durations_are_whole_numbers_of_samples(width: int, hop: int, rate: int, samples: int) -> None:
    fields = config("Phi4Multimodal", win_length=width, n_fft=2 ** int(np.ceil(np.log2(width))), hop_length=hop, sampling_rate=rate, mel_max_frequency=rate / 2)
    graph = sg.from_transformers(fields).graph()
    assert graph.least_along_the_clip() == width
    assert graph.outputs["features"].shape[1].at(width + samples) == samples // hop + 1


# ---- files --------------------------------------------------------------------------------------------------------------------


def test_exported_from_the_command_line(cli: Any, tmp_path: Path) -> None:
    Path("preprocessor_config.json").write_text(json.dumps(WHISPER | {"chunk_length": 2, "feature_size": 40, "hop_length": 200}))
    code, out, _ = cli("export", "preprocessor_config.json", "-o", "x.onnx")
    assert code == 0, out
    wave = noise(20000)
    wanted = sg.from_transformers("preprocessor_config.json").graph().numpy(wave[None])["features"][0]
    assert wanted.shape == (40, 160)
    np.testing.assert_allclose(sg.load("x.onnx")(wave), wanted, atol=2e-5)
    assert sg.load("x.onnx").meta.name == "WhisperFeatureExtractor"
    code, out, _ = cli("list", "preprocessor_config.json")
    assert code == 0
    assert "specgraph export preprocessor_config.json -o WhisperFeatureExtractor.onnx" in out
    code, _, err = cli("export", "preprocessor_config.json", "-o", "x.onnx", "--set", "n_mel=3")
    assert code == 1
    assert "WhisperFeatureExtractor has no parameter 'n_mel' (did you mean 'n_mels'?)" in one_sentence(err)
    Path("preprocessor_config.json").write_text(json.dumps(WHISPER | {"dither": 1.0}))
    for name, sentence in (("preprocessor_config.json", "dither is 1.0"), (".", "dither is 1.0"), ("other.json", "there is no file other.json; give a preprocessor_config.json")):
        code, _, err = cli("export", name, "-o", "y.onnx")
        assert code == 1
        assert sentence in one_sentence(err)


CLAP = {"truncation": "rand_trunc", "sampling_rate": 16000, "frequency_max": 8000, "max_length_s": 2, "fft_window_size": 512, "hop_length": 160, "feature_size": 40}
EXPORTED = [
    (config("Clap", **CLAP), 3e-4),
    (config("Clap", **CLAP, padding="repeat"), 3e-4),
    (config("SeamlessM4T", padding_value=1.0), 5e-4),
    (config("UnivNet", do_normalize=True, hop_length=200), 5e-5),
    (config("NemotronAsrStreaming", mel_filters_dtype="bfloat16"), 2e-4),
    (config("SpeechT5", win_length=25, hop_length=11, sampling_rate=24200), 5e-5),
    (config("Clap", **CLAP | {"truncation": "fusion"}), 3e-4),
    (config("Gemma3nAudio", per_bin_mean=[0.5] * 128, per_bin_stddev=[2.0] * 128, input_scale_factor=0.5), 3e-4),
    (config("Gemma4Audio", preemphasis=0.9, preemphasis_htk_flavor=False), 1e-4),
    (config("Clvp", default_audio_length=1, mel_norms=[2.0] * 80), 5e-5),
    (config("GraniteSpeech5", hop_length=200), 5e-5),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "tolerance"), EXPORTED, ids=lambda value: str(value)[:60])
def test_files_give_the_features(fields: dict[str, Any], tolerance: float, tmp_path: Path) -> None:
    p = sg.from_transformers(fields)
    for target in ("cpu", "cuda"):
        path = tmp_path / f"{target}.onnx"
        assert sg.to_onnx(p, path, target=target).error < 2e-6
        for samples in (int(0.3 * p.sample_rate), p.sample_rate + 1, 3 * p.sample_rate):
            wave = noise(samples)
            np.testing.assert_allclose(sg.load(path, device="cpu")(wave), p.graph().numpy(wave[None])["features"][0], atol=tolerance)
