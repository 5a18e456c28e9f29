"""Feature extractors of transformers for Gemma's audio towers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from specgraph.op import Op
from specgraph.ops.affine import Affine
from specgraph.ops.cut_to_multiple import CutToMultiple
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.transformers_base import AS_MADE, FAMILIES, MASK, NO_NOISE, builder, made

OF_IMAGES = dict.fromkeys(  # which stand in the same file in older checkpoints, beside the sounds'
    (
        "image_processor_type", "crop_size", "data_format", "default_to_square", "device", "disable_grouping", "do_center_crop", "do_convert_rgb",
        "do_normalize", "do_pad", "do_pan_and_scan", "do_rescale", "do_resize", "image_mean", "image_seq_length", "image_std", "input_data_format",
        "pad_size", "pan_and_scan_max_num_crops", "pan_and_scan_min_crop_size", "pan_and_scan_min_ratio_to_activate", "resample", "rescale_factor",
        "return_tensors", "size",
    ),
    "of the image processor",
)  # fmt: skip


def samples_of(f: Fields, name: str, default: float, rate: int) -> int:
    """A duration, ``{name}_ms``, in samples; the same by ``name``, which transformers writes and does not read, must agree."""
    duration = f.number(f"{name}_ms", default, 0.0)
    count = round(rate * duration / 1000)
    if count < 1:
        f.refuse(f"{name}_ms", f"that is no sample at {rate} Hz; raise it")
    if (written := f.whole(name, count)) != count:
        f.refuse(name, f"transformers does not read it, and takes {name}_ms {duration:g}; write {name}_ms {1000 * written / rate:g} beside it")
    return count


def gemma(f: Fields, family: str, frame: float, band: tuple[float, float], emphasis: float, doubled: bool, filled: Callable[[int], tuple[Op, ...]]) -> Preset:
    """A tower's preset; ``filled`` gives what is padded, from the samples of a frame."""
    rate = f.even("sampling_rate", 16000)
    width, hop, bins = samples_of(f, "frame_length", frame, rate), samples_of(f, "hop_length", 10.0, rate), f.whole("feature_size", 128)
    n_fft = (1 << (width - 1).bit_length()) * (2 if f.flag("fft_overdrive", doubled) else 1)
    if n_fft < 2:
        f.refuse("frame_length_ms", f"that is 1 sample at {rate} Hz; raise it")
    f.must_be("dither", 0.0, NO_NOISE)
    f.must_be("padding_side", "right", "a clip is filled up on the right; set it to right")
    share, htk = f.number("preemphasis", emphasis, 0.0, 1.0), f.flag("preemphasis_htk_flavor", True)
    mean, deviation = f.numbers_or_none("per_bin_mean", bins), f.numbers_or_none("per_bin_stddev", bins)
    if deviation and not all(deviation):
        f.refuse("per_bin_stddev", "a bin cannot be divided by 0")
    f.changes_nothing(MASK | OF_IMAGES | {"fft_length": "computed again from frame_length_ms", "chunk_length": "of the processor"})
    parameters: dict[str, Any] = {
        "sample_rate": rate, "n_fft": n_fft, "win_length": width, "hop_length": hop, "n_mels": bins, "preemphasis": share if htk else 0.0,
        "fmin": f.number("min_frequency", band[0], 0.0), "fmax": f.number("max_frequency", band[1], 1.0, rate / 2, "half the sampling_rate is"),
        **({"amin": f.above_zero("mel_floor", 1e-5)} if family == "gemma-3n" else {"offset": f.above_zero("mel_floor", 1e-3)}),
    }  # fmt: skip
    scaled = () if (scale := f.above_zero("input_scale_factor", 1.0)) == 1 else (Affine(scale),)
    # A frame has a sample more than the window: HTK's pre-emphasis leaves the last one out, and the other one reads it.
    last: Op = Slice(0, -1) if htk or not share else PreEmphasis(share, "drop")
    return made(
        f, family, parameters, {"fmin": "min_frequency", "fmax": "max_frequency"}, before=(*filled(width), *scaled, last),
        bin_shift=tuple(-number for number in mean) if mean else None, bin_scale=tuple(1 / number for number in deviation) if deviation else None,
    )  # fmt: skip


@builder("Gemma3nAudioFeatureExtractor")
def gemma_3n_features(f: Fields) -> Preset:
    """A clip filled up to a multiple of 128 samples."""
    value = f.number("padding_value", 0.0)
    multiple = (Pad(0, 127, "constant", value), CutToMultiple(128)) if value else FAMILIES["gemma-3n"].before[:1]
    return gemma(f, "gemma-3n", 32.0, (125.0, 7600.0), 0.97, True, lambda width: multiple)


@builder("Gemma4AudioFeatureExtractor")
def gemma_4_features(f: Fields) -> Preset:
    """The valid frames, half a frame of zeros being before the clip."""
    f.changes_nothing({"padding_value": "what follows the clip is masked"})
    return gemma(f, "gemma-4", 20.0, (0.0, 8000.0), 0.0, False, lambda width: (Pad(width // 2, 0, "constant"),))


def in_milliseconds(values: Mapping[str, Any]) -> dict[str, Any]:
    """What an extractor says of itself, with the durations that it was made with: it keeps samples only."""
    return {f"{name}_ms": 1000 * values[name] / values["sampling_rate"] for name in ("frame_length", "hop_length") if name in values} | dict(values)


AS_MADE.update(dict.fromkeys(("Gemma3nAudioFeatureExtractor", "Gemma4AudioFeatureExtractor"), in_milliseconds))
