"""Feature extractors of transformers for speech models with mel spectrograms, or with the waveform itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from specgraph.design.bfloat16 import bfloat16
from specgraph.design.windows import analysis_window
from specgraph.op import Op
from specgraph.ops.affine import Affine
from specgraph.ops.append_deltas import AppendDeltas
from specgraph.ops.arithmetic import Clip
from specgraph.ops.cut_to_multiple import CutToMultiple
from specgraph.ops.layout import Slice
from specgraph.ops.limit_range import LimitRange
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.ops.stack_frames import StackFrames
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.speech import one_more_at_odd_hops
from specgraph.presets.transformers_base import AS_MADE, BATCH, MASK, MEL_BINS, NO_NOISE, builder, made, short_time
from specgraph.transforms.waveform import Waveform

FILTERS_END = "its filters reach up to 8000 Hz"


@builder("WhisperFeatureExtractor")
def whisper_features(f: Fields) -> Preset:
    """Chunks of ``chunk_length`` seconds; the filters end at 8 kHz whatever the rate."""
    rate = f.even("sampling_rate", 16000, 16000, FILTERS_END)
    f.must_be("dither", 0.0, NO_NOISE)
    f.must_be("padding_side", "right", "a clip is filled up on the right; set it to right")
    f.must_be("padding_value", 0.0, "a clip is filled up with zeros; set it to 0")
    f.changes_nothing(
        MASK
        | {"n_samples": "computed again from chunk_length", "nb_max_frames": "computed again from chunk_length"}
        | {"mel_filters": "computed again from feature_size", "do_normalize": "only an argument of the call is looked at"}
    )
    parameters = {"sample_rate": rate, "n_fft": f.even("n_fft", 400), "hop_length": f.whole("hop_length", 160), "n_mels": f.whole("feature_size", 80)}
    return made(f, "whisper-80", parameters | {"fmax": 8000.0, "allow_empty_filters": True}, length=f.whole("chunk_length", 30) * rate)


@builder("VoxtralRealtimeFeatureExtractor")
def voxtral_features(f: Fields) -> Preset:
    """Whisper's without chunks, above a floor that is fixed, or without ``global_log_mel_max`` the clip's own."""
    rate = f.even("sampling_rate", 16000, 16000, FILTERS_END)
    largest = f.number_or_none("global_log_mel_max", 1.5)
    f.changes_nothing(BATCH | {"win_length": "the window has n_fft samples; this only makes the mask"})
    parameters = {"sample_rate": rate, "n_fft": f.even("n_fft", 400), "hop_length": f.whole("hop_length", 160), "n_mels": f.whole("feature_size", 128)}
    floor = LimitRange(8.0) if largest is None else Clip(minimum=largest - 8.0)
    return made(
        f, "voxtral-realtime", parameters | {"fmax": 8000.0, "allow_empty_filters": True}, after=(Slice(0, -1, axis=2), floor, Affine(0.25, 1.0))
    )


@builder("Wav2Vec2FeatureExtractor")
def wav2vec2_features(f: Fields) -> Preset:
    """The waveform, standardized or, as WavLM's smaller models take it, as it is."""
    f.must_be("feature_size", 1, "a waveform has one number for each sample; set it to 1")
    f.changes_nothing(BATCH)
    found = made(f, "wav2vec2", {"sample_rate": f.whole("sampling_rate", 16000)})
    if f.flag("do_normalize", True):
        return found
    return replace(found, source="transformers Wav2Vec2FeatureExtractor.__call__", transform=Waveform(sample_rate=found.sample_rate))


@builder("LasrFeatureExtractor")
def lasr_features(f: Fields) -> Preset:
    """Filters from 125 to 7500 Hz, whatever the rate."""
    rate = f.whole("sampling_rate", 16000, 15000, reason="its filters reach up to 7500 Hz")
    f.changes_nothing(BATCH)
    return made(f, "medasr", short_time(f, 512, 160, 400) | {"sample_rate": rate, "n_mels": f.whole("feature_size", 128)})


def nemo_parameters(f: Fields) -> tuple[dict[str, Any], tuple[Op, ...]]:
    """What Parakeet and Nemotron share: the transform's parameters, and what comes before it."""
    f.changes_nothing(BATCH)
    emphasis = f.number_or_none("preemphasis", 0.97, 0.0, 1.0)
    parameters = short_time(f, 512, 160, 400) | {"sample_rate": f.even("sampling_rate", 16000), "n_mels": f.whole("feature_size", 80)}
    return parameters | {"allow_empty_filters": True}, (PreEmphasis(emphasis, "keep"),) if emphasis else ()


@builder("ParakeetFeatureExtractor")
def parakeet_features(f: Fields) -> Preset:
    """NeMo's features, frames first."""
    parameters, before = nemo_parameters(f)
    return made(f, "parakeet", parameters, before=before)


@builder("NemotronAsrStreamingFeatureExtractor")
def nemotron_features(f: Fields) -> Preset:
    """The same without normalisation, of a whole clip; window and filters may be rounded to bfloat16."""
    parameters, before = nemo_parameters(f)
    if f.choice("mel_filters_dtype", "float32", ("float32", "bfloat16")) == "bfloat16":
        width = parameters["win_length"]
        window = tuple(bfloat16(analysis_window(("symmetric", "hann"), width, width)).tolist())
        parameters |= {"window": window, "filter_dtype": "bfloat16"}
    return made(f, "nemotron-streaming", parameters, before=before)


@builder("GraniteSpeechFeatureExtractor")
def granite_speech_features(f: Fields) -> Preset:
    """torchaudio's log-mel spectrogram, two frames as one."""
    parameters = short_time(f, 512, 160, 400) | {"sample_rate": f.even("sampling_rate", 16000), "n_mels": f.whole("n_mels", 80)}
    inner = f.value("melspec_kwargs", {})
    if not isinstance(inner, Mapping):
        f.refuse("melspec_kwargs", "it must hold numbers by their names")
    for name, value in inner.items():
        if name not in parameters:
            f.refuse("melspec_kwargs", f"{name} in it is not known; it holds {', '.join(parameters)}")
        if value != parameters[name]:
            field = {"sample_rate": "sampling_rate"}.get(name, name)
            f.refuse("melspec_kwargs", f"transformers does not read it, and takes {field} {parameters[name]}; write {field} {value} beside it")
    f.changes_nothing(
        BATCH | {"feature_size": "n_mels counts"} | dict.fromkeys(("projector_window_size", "projector_downsample_rate"), "count the model's tokens")
    )
    return made(f, "granite-speech", parameters | {"allow_empty_filters": True}, {"n_mels": "n_mels"})


def at_the_top(values: Mapping[str, Any]) -> dict[str, Any]:
    """What an extractor says of itself, with the numbers that it was made with where a configuration has them."""
    return {name: number for name, number in values.get("melspec_kwargs", {}).items() if name != "sample_rate"} | dict(values)


AS_MADE["GraniteSpeechFeatureExtractor"] = at_the_top


@builder("GraniteSpeech5FeatureExtractor")
def granite_speech_5_features(f: Fields) -> Preset:
    """The same with differences over frames beside."""
    width = f.whole("delta_win_length", 3, 3)
    if width % 2 == 0:
        f.refuse("delta_win_length", "a difference is centred on its frame; use an odd number")
    f.changes_nothing(BATCH | {"feature_size": "computed again from num_mel_bins"})
    parameters = short_time(f, 512, 160, 400) | {"sample_rate": f.even("sampling_rate", 16000), "n_mels": f.whole("num_mel_bins", 80)}
    below = LimitRange(f.number("logmel_floor_db", 8.0, 0.0))
    after = (CutToMultiple(2, axis=2), below, Affine(0.25, 1.0), AppendDeltas(width, "regression"), StackFrames(2))
    before = (one_more_at_odd_hops(parameters["hop_length"]),)
    return made(f, "granite-speech-5", parameters | {"allow_empty_filters": True}, MEL_BINS, before=before, after=after)
