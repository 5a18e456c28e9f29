"""Feature extractors of transformers for audio tagging and music."""

from __future__ import annotations

from typing import Any

from specgraph.op import Op
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.layout import Reshape, Take, Transpose
from specgraph.ops.repeat_to_length import RepeatToLength
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.transformers_base import BATCH, builder, made


@builder("ClapFeatureExtractor")
def clap_features(f: Fields) -> Preset:
    """(batch, channels, frames, bins); of a longer clip the beginning, where transformers takes stretches at random."""
    rate, n_fft = f.even("sampling_rate", 48000), f.even("fft_window_size", 1024)
    fused = f.choice("truncation", "fusion", ("fusion", "rand_trunc")) == "fusion"
    size, padding = f.whole("max_length_s", 10) * rate, f.choice("padding", "repeatpad", ("repeatpad", "repeat", "pad"))
    low, high = f.number("frequency_min", 0.0, 0.0), f.number("frequency_max", 14000.0, 1.0, rate / 2, "half the sampling_rate is")
    f.changes_nothing(
        BATCH | {"padding_value": "clips are filled up with zeros, whatever it is", "top_db": "kept, and never looked at"}
        | dict.fromkeys(("nb_frequency_bins", "nb_max_samples"), "computed again")
        | dict.fromkeys(("chunk_length_s", "n_fft", "nb_max_frames"), "in the files of LAION's checkpoints, and never looked at")
    )  # fmt: skip
    parameters: dict[str, Any] = {
        "sample_rate": rate, "n_fft": n_fft, "hop_length": f.whole("hop_length", 480), "n_mels": f.whole("feature_size", 64), "fmin": low, "fmax": high,
        "allow_empty_filters": True,
    }  # fmt: skip
    names = {"fmin": "frequency_min", "fmax": "frequency_max", "n_fft": "fft_window_size"}
    # a clip that is shorter than size fits into twice the size so often that the copies reach beyond size
    ways: dict[str, tuple[Op, ...]] = {
        "pad": (FixedLength(size),), "repeatpad": (RepeatToLength(size),), "repeat": (RepeatToLength(2 * size), FixedLength(size)),
    }  # fmt: skip
    channels = (Reshape((0, 1, parameters["n_mels"], 1 + size // parameters["hop_length"])), Take((0,) * (4 if fused else 1)), Transpose((0, 1, 3, 2)))
    return made(f, "clap-fused" if fused else "clap-unfused", parameters, names, before=ways[padding], after=channels)


@builder("MusicgenMelodyFeatureExtractor")
def musicgen_features(f: Fields) -> Preset:
    """The loudest pitch class of each frame; a clip needs the ``n_fft`` samples that its extractor would fill it up to."""
    f.changes_nothing(
        BATCH | {"feature_size": "num_chroma counts", "stem_indices": "of stems, which a clip is not"}
        | dict.fromkeys(("chunk_length", "n_samples"), "longer clips are cut, which length does here")
    )  # fmt: skip
    parameters = {"sample_rate": f.whole("sampling_rate", 32000), "n_fft": f.even("n_fft", 16384, 4), "hop_length": f.whole("hop_length", 4096)}
    return made(f, "musicgen-melody", parameters | {"n_chroma": f.whole("num_chroma", 12, 2)}, {"n_chroma": "num_chroma"})


@builder("Pop2PianoFeatureExtractor")
def pop2piano_features(f: Fields) -> Preset:
    """Of a stretch of beats, which its extractor finds by other means."""
    rate = f.even("sampling_rate", 22050)
    f.changes_nothing(BATCH | {"num_bars": "how a clip is cut into stretches"})
    parameters = {
        "sample_rate": rate, "n_fft": f.even("window_size", 4096), "hop_length": f.whole("hop_length", 1024), "n_mels": f.whole("feature_size", 512),
        "fmin": f.number("min_frequency", 10.0, 0.0), "fmax": None,
    }  # fmt: skip
    return made(f, "pop2piano", parameters, {"n_fft": "window_size", "fmin": "min_frequency"})
