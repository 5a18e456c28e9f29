"""Gemma's audio towers."""

from specgraph.ops.fill_up import FillUp
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

PRESETS = (
    Preset(
        name="gemma-3n",
        models="Gemma 3n and the Universal Speech Model; its extractor ends after 30 s (length=480000 cuts there)",
        source="transformers Gemma3nAudioFeatureExtractor: a clip filled up to a multiple of 128 samples, frames of 513 of which 512 are read",
        reference="transformers.Gemma3nAudioFeatureExtractor",
        before=(FillUp(((1, 127, 128), (128, 0, 1))), Slice(0, -1)),
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=1024, win_length=512, hop_length=160, center=False, align="start", preemphasis=0.97, power=1.0,
            n_mels=128, fmin=125.0, fmax=7600.0, htk=True, norm=None, allow_empty_filters=True, log="ln", amin=1e-5, top_db=None,
        ),
        frames_first=True,
        aliases=("usm",),
    ),
    Preset(
        name="gemma-4",
        models="Gemma 4: its valid frames, without those that its extractor masks; it ends after 30 s (length=480000 cuts there)",
        source="transformers Gemma4AudioFeatureExtractor: 160 zeros before the clip, frames of 321 of which 320 are read",
        reference="transformers.Gemma4AudioFeatureExtractor",
        before=(Pad(160, 0, "constant"), Slice(0, -1)),
        transform=LogMelSpectrogram(
            sample_rate=16000, n_fft=512, win_length=320, hop_length=160, center=False, align="start", power=1.0,
            n_mels=128, fmax=8000.0, htk=True, norm=None, allow_empty_filters=True, log="ln", amin=0.0, offset=1e-3, top_db=None,
        ),
        frames_first=True,
    ),
)  # fmt: skip
