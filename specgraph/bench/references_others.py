"""librosa, torchlibrosa, torchvggish, SpeechBrain and the graphs of onnx-asr."""

from __future__ import annotations

from typing import Any

import numpy as np

from specgraph.bench.references import Run, reference
from specgraph.presets import Preset


@reference("granite-speech", package="librosa", called="feature.melspectrogram", takes_dtype=True)
def granite(p: Preset, dtype: Any = np.float64) -> Run:
    """librosa, and what the extractor of transformers does after torchaudio's, which needs torchaudio."""
    import librosa

    def run(wave: Any) -> Any:
        power = librosa.feature.melspectrogram(
            y=wave.astype(dtype), sr=16000, n_fft=512, win_length=400, hop_length=160, n_mels=80, htk=True, norm=None, pad_mode="reflect",
            dtype=dtype,
        )  # fmt: skip
        logarithms = np.log10(np.maximum(power, 1e-10)).T
        features = np.maximum(logarithms, logarithms.max() - 8) / 4 + 1
        return features[: len(features) // 2 * 2].reshape(-1, 160)

    return run


@reference("musicnn", package="librosa", called="feature.melspectrogram", takes_dtype=True)
def musicnn(p: Preset, dtype: Any = np.float64) -> Run:
    """The extractor's two lines; librosa of its day reflected the clip's ends."""
    import librosa

    def run(wave: Any) -> Any:
        power = librosa.feature.melspectrogram(y=wave.astype(dtype), sr=16000, hop_length=256, n_fft=512, n_mels=96, pad_mode="reflect", dtype=dtype)
        return np.log10(10000 * power.T + 1)

    return run


@reference("passt", package="transformers", called="audio_utils.mel_filter_bank, and librosa.stft", takes_dtype=True)
def passt(p: Preset, dtype: Any = np.float64) -> Run:
    """AugmentMelSTFT at evaluation, with the same filters of another library."""
    import librosa
    from transformers.audio_utils import mel_filter_bank

    bank = mel_filter_bank(513, 128, 0, 15000, 32000, norm=None, mel_scale="kaldi", triangularize_in_mel_space=True).astype(dtype)

    def run(wave: Any) -> Any:
        wave = np.convolve(wave.astype(dtype), np.array([1, -0.97], dtype), "valid")
        spectrum = librosa.stft(wave, n_fft=1024, hop_length=320, win_length=800, window=np.hanning(800), pad_mode="reflect")
        return (np.log(bank.T @ np.abs(spectrum) ** 2 + 1e-5) + 4.5) / 5

    return run


@reference("onsets-and-frames", "tacotron2", "vocos", package="librosa", called="feature.melspectrogram", takes_dtype=True)
def librosa_log_mel(p: Preset, dtype: Any = np.float64) -> Run:
    """librosa, then numpy's logarithm."""
    import librosa

    t: Any = p.transform
    options = {"n_fft": t.n_fft, "hop_length": t.hop, "power": t.power, "pad_mode": "reflect"}
    mel = {"n_mels": t.n_mels, "fmin": t.fmin, "fmax": t.highest, "htk": t.htk, "norm": t.norm, "dtype": dtype}

    def run(wave: Any) -> Any:
        features = np.log(np.maximum(librosa.feature.melspectrogram(y=wave.astype(dtype), sr=t.sample_rate, **options, **mel), t.amin))
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


@reference("gigaam-v2", "gigaam-v3", package="onnx-asr", called="preprocessors/data/gigaam_v*_conv.onnx")
def gigaam(p: Preset) -> Run:
    """The graph that onnx-asr ships."""
    from importlib.resources import files

    from specgraph.runtimes.session import session

    path = files("onnx_asr") / "preprocessors" / "data" / f"{p.name.replace('-', '_')}_conv.onnx"
    made = session(path.read_bytes(), threads=1)
    return lambda wave: made.run(None, {"waveforms": wave[None], "waveforms_lens": np.array([len(wave)])})[0][0]


@reference("speechbrain-fbank", "ecapa", package="speechbrain", called="lobes.features.Fbank, InputNormalization", needs=("torchaudio", "hyperpyyaml"))
def speechbrain(p: Preset) -> Run:
    """The lobe, and for ECAPA what its recipe does to the features."""
    import torch
    from speechbrain.lobes.features import Fbank
    from speechbrain.processing.features import InputNormalization

    t: Any = p.transform
    fbank, normal = Fbank(n_mels=t.n_mels), InputNormalization(norm_type="sentence", std_norm=False)

    def run(wave: Any) -> Any:
        features = fbank(torch.from_numpy(wave)[None])
        return (normal(features, torch.ones(1)) if p.name == "ecapa" else features)[0].numpy()

    return run
