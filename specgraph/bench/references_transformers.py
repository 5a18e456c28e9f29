"""Feature extractors of transformers, made without any file of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from specgraph.bench.references import REFERENCES, Run, reference
from specgraph.presets import Preset


def _transformers(
    *names: str, called: str, output: str = "input_features", options: Callable[[Preset], dict[str, Any]] = lambda p: {}, **call: Any
) -> None:
    """Register a feature extractor of transformers, made with ``options`` and called with ``call``; it reads no files."""

    def make(p: Preset) -> Run:
        import transformers

        transformers.logging.set_verbosity_error()
        extractor = getattr(transformers, called)(**options(p))
        target = called == "SpeechT5FeatureExtractor"  # whose features are those of what it is to say

        def run(wave: Any) -> Any:
            clip = {"audio_target" if target else "raw_speech": wave}
            made = extractor(**clip, sampling_rate=p.sample_rate, return_tensors="np" if target else "pt", **call)
            features = np.asarray(made[output][0])
            return features[0] if called == "ClapFeatureExtractor" else features  # which has a channel

        return run

    reference(*names, package="transformers", called=called)(make)


def _mels(p: Preset) -> dict[str, Any]:
    return {"feature_size": getattr(p.transform, "n_mels", 0)}


def _univnet(p: Preset) -> dict[str, Any]:
    t: Any = p.transform
    sizes = {"filter_length": t.n_fft, "win_length": t.n_fft, "hop_length": t.hop, "num_mel_bins": t.n_mels}
    return {"sampling_rate": t.sample_rate, "fmin": t.fmin, "fmax": t.highest, "return_end_pad": False} | sizes


_transformers("whisper-80", "whisper-128", called="WhisperFeatureExtractor", options=_mels)
_transformers("wav2vec2", called="Wav2Vec2FeatureExtractor", output="input_values")
_transformers("parakeet", called="ParakeetFeatureExtractor", options=_mels)
_transformers("nemotron-streaming", called="NemotronAsrStreamingFeatureExtractor", options=_mels)
_transformers("seamless-m4t", called="SeamlessM4TFeatureExtractor")
_transformers("speech2text", called="Speech2TextFeatureExtractor")
_transformers("ast", called="ASTFeatureExtractor", output="input_values")
_transformers("phi-4-multimodal", called="Phi4MultimodalFeatureExtractor", output="audio_input_features")
_transformers("medasr", called="LasrFeatureExtractor")
_transformers("voxtral-realtime", called="VoxtralRealtimeFeatureExtractor")
_transformers("speecht5", called="SpeechT5FeatureExtractor", output="input_values")
_transformers("clap", called="ClapFeatureExtractor", options=lambda p: {"frequency_min": 50}, truncation="rand_trunc", padding="pad")


@reference("hifi-gan", "univnet", "bigvgan-24k", "bigvgan-v2-44k", package="transformers", called="UnivNetFeatureExtractor.mel_spectrogram")
def univnet(p: Preset) -> Run:
    """The extractor of UnivNet with the preset's parameters; its call adds noise, so the method that makes features is called."""
    import transformers

    extractor = transformers.UnivNetFeatureExtractor(**_univnet(p))
    return lambda wave: extractor.mel_spectrogram(wave).T


@reference("nemo-80", "nemo-128", package="transformers", called="ParakeetFeatureExtractor, transposed")
def nemo(p: Preset) -> Run:
    """NeMo's layout is Parakeet's transposed."""
    run = REFERENCES["parakeet"].make(p)
    return lambda wave: run(wave).T


@reference("beats", package="transformers", called="audio_utils.spectrogram")
def beats(p: Preset) -> Run:
    """Kaldi's filterbank as transformers has it in numpy: kaldi-native-fbank refuses 128 filters, of which one is empty."""
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    bank = mel_filter_bank(257, 128, 20, 8000, 16000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True)
    frames: dict[str, Any] = {"frame_length": 400, "hop_length": 160, "fft_length": 512, "center": False}
    kaldi: dict[str, Any] = frames | {"preemphasis": 0.97, "remove_dc_offset": True, "mel_floor": 1.192092955078125e-07, "log_mel": "log"}
    window = window_function(400, "povey", periodic=False)

    def run(wave: Any) -> Any:
        return (spectrogram(wave.astype(np.float64) * 2**15, window, power=2.0, mel_filters=bank, **kaldi).T - 15.41663) / (2 * 6.55582)

    return run
