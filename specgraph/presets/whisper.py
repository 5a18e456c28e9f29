"""Whisper and what took over its features."""

from specgraph.ops.affine import Affine
from specgraph.ops.layout import Slice
from specgraph.ops.limit_range import LimitRange
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

SECONDS = 30


def whisper(n_mels: int, models: str, aliases: tuple[str, ...] = ()) -> Preset:
    """log10 mel power of 30 s, at most 8 below the clip's maximum, then (x + 4) / 4; the last frame is dropped."""
    return Preset(
        name=f"whisper-{n_mels}",
        models=models,
        source="openai/whisper audio.py, log_mel_spectrogram; the maximum is each clip's own, as in transformers, not the batch's",
        reference="transformers.WhisperFeatureExtractor",
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=400, hop_length=160, n_mels=n_mels, log="log10", amin=1e-10, top_db=None
        ),
        after=(Slice(0, -1, axis=2), LimitRange(8.0), Affine(0.25, 1.0)),
        length=SECONDS * 16000,
        aliases=aliases,
    )


PRESETS = (
    whisper(80, "Whisper tiny to large-v2 and Distil-Whisper"),
    whisper(128, "Whisper large-v3 and turbo, Qwen2-Audio, Qwen2.5-Omni and Voxtral", ("whisper-large-v3", "whisper-turbo", "qwen2-audio")),
)
