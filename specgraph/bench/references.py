"""Independent implementations of what presets compute, each under the name of the preset."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from specgraph.bench.machine import version
from specgraph.presets import Preset, preset

Run = Callable[[Any], Any]  # a clip (samples,) float32 -> its features, as the preset gives them


@dataclass(frozen=True)
class Reference:
    """Who else computes a preset's features: a class or function of an installed package."""

    package: str
    called: str
    make: Callable[[Preset], Run]

    @property
    def missing(self) -> str | None:
        """Why it cannot be used here, or None."""
        module = self.package.replace("-", "_")
        return None if importlib.util.find_spec(module) else f"{self.package} is not installed"

    @property
    def text(self) -> str:
        """Package, version and what is called."""
        return f"{self.package} {version(self.package) or ''} {self.called}".replace("  ", " ")


REFERENCES: dict[str, Reference] = {}


def reference(*names: str, package: str, called: str) -> Callable[[Callable[[Preset], Run]], Callable[[Preset], Run]]:
    """Register what makes the reference of these presets; it gets the preset."""

    def register(make: Callable[[Preset], Run]) -> Callable[[Preset], Run]:
        for name in names:
            preset(name)
            REFERENCES[name] = Reference(package, called, make)
        return make

    return register


def _transformers(
    *names: str, called: str, output: str = "input_features", options: Callable[[Preset], dict[str, Any]] = lambda p: {}, **call: Any
) -> None:
    """Register a feature extractor of transformers, made with ``options`` and called with ``call``; it reads no files."""

    def make(p: Preset) -> Run:
        import transformers

        transformers.logging.set_verbosity_error()
        extractor = getattr(transformers, called)(**options(p))
        key, feed = ("audio_target", {}) if called == "SpeechT5FeatureExtractor" else (None, {})

        def run(wave: Any) -> Any:
            arguments = {key: wave} if key else {"raw_speech": wave}
            made = extractor(**arguments, **feed, sampling_rate=p.sample_rate, return_tensors="np" if key else "pt", **call)
            return np.asarray(made[output][0])

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
_transformers(
    "clap", called="ClapFeatureExtractor", options=lambda p: {"frequency_min": 50}, truncation="rand_trunc", padding="pad",
)  # fmt: skip


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


def knf_features(t: Any, wave: Any) -> Any:
    """(bins, frames): a Kaldi transform by kaldi-native-fbank."""
    import kaldi_native_fbank as knf

    mfcc = hasattr(t, "n_mfcc")
    options = knf.MfccOptions() if mfcc else knf.FbankOptions()
    frames, mel = options.frame_opts, options.mel_opts
    frames.samp_freq, frames.dither, frames.window_type, frames.snip_edges = t.sample_rate, 0.0, t.window, t.snip_edges
    frames.preemph_coeff, frames.remove_dc_offset, frames.round_to_power_of_two = t.preemphasis, t.remove_dc_offset, t.round_to_power_of_two
    frames.frame_length_ms, frames.frame_shift_ms = t.frame_length, t.frame_shift
    mel.num_bins, mel.low_freq, mel.high_freq = t.n_mels, t.fmin, t.fmax
    options.use_energy, options.raw_energy, options.energy_floor, options.htk_compat = t.use_energy, t.raw_energy, t.energy_floor, t.htk_compat
    if mfcc:
        options.num_ceps, options.cepstral_lifter = t.n_mfcc, t.lifter
    else:
        options.use_log_fbank, options.use_power = t.use_log_fbank, t.use_power
    computer = (knf.OnlineMfcc if mfcc else knf.OnlineFbank)(options)
    computer.accept_waveform(t.sample_rate, np.asarray(wave * np.float32(t.scale), np.float32))
    computer.input_finished()
    return np.stack([computer.get_frame(i) for i in range(computer.num_frames_ready)], 1)


def low_frame_rate(frames: Any, size: int, step: int) -> Any:
    """(frames, bins) -> FunASR's ``apply_lfr``, row by row as it is written there."""
    count = -(-len(frames) // step)
    padded = np.vstack([np.tile(frames[:1], ((size - 1) // 2, 1)), frames])
    rows = []
    for i in range(count):
        row = padded[i * step : i * step + size]
        rows.append(np.vstack([row, np.tile(padded[-1:], (size - len(row), 1))]).ravel())
    return np.stack(rows)


AFTER: dict[str, Callable[[Any], Any]] = {  # (frames, bins) -> the preset's features
    "kaldi-fbank": lambda f: f.T,
    "kaldi-mfcc": lambda f: f.T,
    "wespeaker": lambda f: f - f.mean(0),
    "paraformer": lambda f: low_frame_rate(f, 7, 6),
    "fsmn-vad": lambda f: low_frame_rate(f, 5, 1),
    "fsmn-kws": lambda f: low_frame_rate(f, 5, 3),
    "beats": lambda f: (f - 15.41663) / (2 * 6.55582),
}


@reference(
    "kaldi-fbank", "kaldi-mfcc", "icefall", "wenet", "wespeaker", "paraformer", "fsmn-vad", "fsmn-kws", "telespeech", "beats",
    package="kaldi-native-fbank", called="OnlineFbank, OnlineMfcc",
)  # fmt: skip
def kaldi_native_fbank(p: Preset) -> Run:
    """kaldi-native-fbank with the transform's options, and what follows in numpy."""
    after = AFTER.get(p.name, lambda f: f)
    return lambda wave: after(knf_features(p.transform, wave).T)


@reference("onsets-and-frames", "tacotron2", "vocos", package="librosa", called="feature.melspectrogram")
def librosa_log_mel(p: Preset) -> Run:
    """librosa in float64, then numpy's logarithm."""
    import librosa

    t: Any = p.transform
    options = {"n_fft": t.n_fft, "hop_length": t.hop, "power": t.power, "pad_mode": "reflect"}
    mel = {"n_mels": t.n_mels, "fmin": t.fmin, "fmax": t.highest, "htk": t.htk, "norm": t.norm, "dtype": np.float64}

    def run(wave: Any) -> Any:
        features = np.log(np.maximum(librosa.feature.melspectrogram(y=wave.astype(np.float64), sr=t.sample_rate, **options, **mel), t.amin))
        return features.T if p.frames_first else features

    return run


@reference("panns", package="torchlibrosa", called="Spectrogram, LogmelFilterBank")
def torchlibrosa(p: Preset) -> Run:
    """As Cnn14 makes them, without what trains."""
    import torch
    from torchlibrosa.stft import LogmelFilterBank, Spectrogram

    spectrogram = Spectrogram(n_fft=1024, hop_length=320, win_length=1024, window="hann", center=True, pad_mode="reflect", freeze_parameters=True)
    logmel = LogmelFilterBank(sr=32000, n_fft=1024, n_mels=64, fmin=50, fmax=14000, ref=1.0, amin=1e-10, top_db=None, freeze_parameters=True)
    return lambda wave: logmel(spectrogram(torch.from_numpy(wave)[None]))[0, 0].numpy()


@reference("vggish", "yamnet", package="torchvggish", called="mel_features")
def vggish(p: Preset) -> Run:
    """The reference implementation in numpy that VGGish came with."""
    from torchvggish.mel_features import frame, log_mel_spectrogram

    t: Any = p.transform
    step = 96 if p.name == "vggish" else 48

    def run(wave: Any) -> Any:
        if p.name == "yamnet":
            whole = 15600 + 7680 * max(0, -(-(len(wave) - 15600) // 7680))
            wave = np.pad(wave, (0, whole - len(wave)))
        features = log_mel_spectrogram(
            wave.astype(np.float64), audio_sample_rate=16000, log_offset=t.offset, window_length_secs=0.025, hop_length_secs=0.010,
            num_mel_bins=64, lower_edge_hertz=125, upper_edge_hertz=7500,
        )  # fmt: skip
        return frame(features, window_length=96, hop_length=step)

    return run


@reference("gigaam-v2", package="onnx-asr", called="preprocessors/data/gigaam_v2_conv.onnx")
def gigaam(p: Preset) -> Run:
    """The graph that onnx-asr ships."""
    from importlib.resources import files

    import onnxruntime

    session = _session(str(files("onnx_asr") / "preprocessors" / "data" / f"{p.name.replace('-', '_')}_conv.onnx"), onnxruntime)
    return lambda wave: session.run(None, {"waveforms": wave[None], "waveforms_lens": np.array([len(wave)])})[0][0]


@cache
def _session(path: str, onnxruntime: Any) -> Any:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
