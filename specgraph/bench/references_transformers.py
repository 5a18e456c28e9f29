"""Feature extractors of transformers, made without any file of a model."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np

from specgraph.bench.references import REFERENCES, Run, reference
from specgraph.presets import Preset


def _transformers(
    *names: str, called: str, output: str = "input_features", options: Callable[[Preset], dict[str, Any]] = lambda p: {},
    given: str = "raw_speech", needs: tuple[str, ...] = (), **call: Any,
) -> None:  # fmt: skip
    """Register a feature extractor of transformers, made with ``options``, given a clip and called with ``call``; it reads no files."""

    def make(p: Preset) -> Run:
        import transformers

        transformers.logging.set_verbosity_error()
        extractor = getattr(transformers, called)(**options(p))
        tensors = "np" if given == "audio_target" else "pt"

        def run(wave: Any) -> Any:
            made = extractor(**{given: wave}, sampling_rate=p.sample_rate, return_tensors=tensors, **call)
            features = np.asarray(made[output][0])
            return features[0] if p.name == "clap" else features  # which has a channel

        return run

    reference(*names, package="transformers", called=called, needs=needs)(make)


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
_transformers("speecht5", called="SpeechT5FeatureExtractor", output="input_values", given="audio_target")
_transformers("clap", called="ClapFeatureExtractor", options=lambda p: {"frequency_min": 50}, truncation="rand_trunc", padding="pad")
_transformers("clap-fused", called="ClapFeatureExtractor", options=lambda p: {"frequency_min": 50}, truncation="fusion", padding="repeatpad")
_transformers("clap-unfused", called="ClapFeatureExtractor", options=lambda p: {"frequency_min": 50}, truncation="rand_trunc", padding="repeatpad")
_transformers("gemma-3n", called="Gemma3nAudioFeatureExtractor")
_transformers("tortoise", called="ClvpFeatureExtractor")
_transformers("granite-speech-5", called="GraniteSpeech5FeatureExtractor", needs=("torchaudio",))
_transformers("musicgen-melody", called="MusicgenMelodyFeatureExtractor", given="audio", needs=("torchaudio",))


@reference("gemma-4", package="transformers", called="Gemma4AudioFeatureExtractor, its frames that are not masked")
def gemma_4(p: Preset) -> Run:
    """It fills clips up to a multiple of 128 samples, and masks the frames that read those; a list is what it takes."""
    import transformers

    extractor = transformers.Gemma4AudioFeatureExtractor()

    def run(wave: Any) -> Any:
        made = extractor([wave], return_tensors="np")
        return made["input_features"][0][made["input_features_mask"][0]]

    return run


@reference("pop2piano", package="transformers", called="Pop2PianoFeatureExtractor.mel_spectrogram, then its logarithm")
def pop2piano(p: Preset) -> Run:
    """The method that makes features, and the line after it; a call of the extractor looks for beats."""
    import transformers

    method = transformers.Pop2PianoFeatureExtractor.mel_spectrogram
    extractor: Any = SimpleNamespace(
        window_size=4096, hop_length=1024, mel_filters=transformers.audio_utils.mel_filter_bank(2049, 512, 10.0, 11025.0, 22050, norm=None, mel_scale="htk")
    )
    return lambda wave: np.log(np.clip(method(extractor, wave[None]), 1e-6, None))[0].T


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
