"""wav2vec 2.0 and its relatives, which take the waveform itself."""

from specgraph.presets.base import Preset
from specgraph.transforms.waveform import StandardizedWaveform

PRESETS = (
    Preset(
        name="wav2vec2",
        models="wav2vec 2.0, HuBERT, WavLM, data2vec-audio, SEW and UniSpeech",
        source="transformers Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm",
        reference="transformers.Wav2Vec2FeatureExtractor",
        transform=StandardizedWaveform(sample_rate=16000),
        aliases=("hubert", "wavlm", "data2vec-audio", "sew", "unispeech"),
    ),
)
