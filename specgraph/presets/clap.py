"""LAION-CLAP, in the two ways that its checkpoints take shorter clips than 10 s."""

from specgraph.design.mel import MelNorm
from specgraph.ops.layout import Reshape, Take, Transpose
from specgraph.ops.repeat_to_length import RepeatToLength
from specgraph.presets.base import Preset
from specgraph.transforms.mel import LogMelSpectrogram

SECONDS, FRAMES = 10, 1001


def clap(name: str, models: str, mode: str, htk: bool, norm: MelNorm | None, channels: int) -> Preset:
    """Decibels of the mel power of a clip that is repeated as often as it fits into 10 s, and then zeros."""
    return Preset(
        name=name,
        models=models,
        source=f"transformers ClapFeatureExtractor(truncation='{mode}', padding='repeatpad', frequency_min=50); longer clips end after 10 s, "
        "where it takes stretches at random",
        reference="transformers.ClapFeatureExtractor",
        before=(RepeatToLength(SECONDS * 48000),),
        transform=LogMelSpectrogram(
            sample_rate=48000, n_fft=1024, hop_length=480, n_mels=64, fmin=50.0, fmax=14000.0, htk=htk, norm=norm, amin=1e-10, top_db=None
        ),
        after=(Reshape((0, 1, 64, FRAMES)), Take((0,) * channels), Transpose((0, 1, 3, 2))),
        axes=("batch", "channels", "frames", "bins"),
    )


PRESETS = (
    clap("clap-fused", "LAION-CLAP with fusion (clap-htsat-fused): four equal channels, is_longer being false", "fusion", True, None, 4),
    clap("clap-unfused", "LAION-CLAP without fusion, as its checkpoints are configured (clap-htsat-unfused, larger_clap)", "rand_trunc", False, "slaney", 1),
)
