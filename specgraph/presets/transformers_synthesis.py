"""Feature extractors of transformers for speech synthesis."""

from __future__ import annotations

import math

from specgraph.ops.affine import Affine
from specgraph.ops.pad import Pad
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.transformers_base import BATCH, MASK, MEL_BINS, WINDOWS, builder, made


@builder("SpeechT5FeatureExtractor")
def speecht5_features(f: Fields) -> Preset:
    """The features of what is to be said (``audio_target``); the window is at the beginning of a power of two."""
    rate = f.even("sampling_rate", 16000)
    width, hop = (f.whole(name, ms) * rate // 1000 for name, ms in (("win_length", 64), ("hop_length", 16)))
    for name, samples in (("win_length", width), ("hop_length", hop)):
        if not samples:
            f.refuse(name, f"so many milliseconds are no sample at {rate} Hz; raise it")
    n_fft = 1 << (width - 1).bit_length()
    if n_fft < 2:
        f.refuse("win_length", f"these milliseconds are 1 sample at {rate} Hz; raise it")
    f.must_be("frame_signal_scale", 1.0, "it is no longer used; set it to 1")
    f.changes_nothing(
        BATCH | {"feature_size": "num_mel_bins counts", "do_normalize": "of the waveforms that the encoder takes"}
        | {"reduction_factor": "of the decoder, and no longer used"}
    )  # fmt: skip
    parameters = {
        "sample_rate": rate, "n_fft": n_fft, "win_length": width, "hop_length": hop, "center": False, "align": "start",
        "window": WINDOWS[f.choice("win_function", "hann_window", tuple(WINDOWS))], "n_mels": f.whole("num_mel_bins", 80),
        "fmin": f.number("fmin", 80.0, 0.0), "fmax": f.number("fmax", 7600.0, 1.0, rate / 2, "half the sampling_rate is"),
        "amin": f.above_zero("mel_floor", 1e-10), "allow_empty_filters": True,
    }  # fmt: skip
    return made(f, "speecht5", parameters, MEL_BINS, before=(Pad(width // 2, mode="reflect"),))


@builder("UnivNetFeatureExtractor")
def univnet_features(f: Fields) -> Preset:
    """HiFi-GAN's features with numbers of its own, frames first, without the noise and the padding that its call may add."""
    rate, width, hop = f.even("sampling_rate", 24000), f.even("win_length", 1024), f.whole("hop_length", 256)
    none = f.value("filter_length", 1024) is None
    if (1 << (width - 1).bit_length() if none else f.even("filter_length", 1024)) != width:
        f.refuse("filter_length", f"the window of win_length {width} must fill the frame; set both to the same number")
    if hop > width:
        f.refuse("hop_length", f"it must be at most win_length, {width}")
    high = f.number_or_none("fmax", 12000.0, 1.0, rate / 2)
    least, most = f.number("normalize_min", math.log(1e-5)), f.number("normalize_max", 2.3143386840820312)
    factor = math.log(f.above_zero("compression_factor", 1.0))
    scaled = f.flag("do_normalize", False)
    if scaled and not least < most:
        f.refuse("normalize_max", f"it must be above normalize_min, {least:g}")
    f.changes_nothing(
        BATCH | {"feature_size": "num_mel_bins counts", "model_in_channels": "of the noise", "pad_end_length": "only where the call asks for it"}
        | {"max_length_s": "longer clips are cut, which length does here", "num_max_samples": "computed again"}
    )  # fmt: skip
    parameters = {
        "sample_rate": rate, "n_fft": width, "win_length": width, "hop_length": hop, "center": f.flag("center", False),
        "window": WINDOWS[f.choice("win_function", "hann_window", tuple(WINDOWS))], "n_mels": f.whole("num_mel_bins", 100),
        "fmin": f.number("fmin", 0.0, 0.0), "fmax": high, "power_offset": f.number("mel_floor", 1e-9, 0.0),
        "amin": f.above_zero("compression_clip_val", 1e-5), "allow_empty_filters": True,
    }  # fmt: skip
    scale = 2 / (most - least) if scaled else 1.0
    shift = Affine(scale, (factor - least) * scale - 1 if scaled else factor)
    after = (shift,) if (shift.scale, shift.offset) != (1.0, 0.0) else ()
    return made(f, "univnet", parameters, MEL_BINS, before=(Pad((width - hop) // 2, mode="reflect"),), after=after, frames_first=True)


@builder("ClvpFeatureExtractor")
def clvp_features(f: Fields) -> Preset:
    """Tortoise's: ``default_audio_length`` seconds, HTK's scale up to 8 kHz, each bin divided by its ``mel_norms``."""
    rate = f.even("sampling_rate", 22050, 16000, "its filters reach up to 8000 Hz")
    f.must_be("padding_side", "right", "a clip is filled up on the right; set it to right")
    f.must_be("padding_value", 0.0, "a clip is filled up with zeros; set it to 0")
    bins = f.whole("feature_size", 80)
    norms = f.numbers_or_none("mel_norms", bins)
    if norms and not all(norms):
        f.refuse("mel_norms", "a bin cannot be divided by 0")
    f.changes_nothing(MASK | dict.fromkeys(("chunk_length", "n_samples", "nb_max_frames"), "default_audio_length counts"))
    parameters = {"sample_rate": rate, "n_fft": f.even("n_fft", 1024), "hop_length": f.whole("hop_length", 256), "n_mels": bins, "allow_empty_filters": True}
    return made(
        f, "tortoise", parameters, length=f.whole("default_audio_length", 6) * rate, bin_scale=tuple(1 / norm for norm in norms) if norms else None
    )
