"""Feature extractors of transformers with Kaldi's frames."""

from __future__ import annotations

from specgraph.op import Op
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.pad import Pad
from specgraph.ops.stack_frames import StackFrames
from specgraph.ops.standardize import Standardize
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.kaldi import normal
from specgraph.presets.transformers_base import BATCH, MASK, MEL_BINS, NO_NOISE, builder, made


def milliseconds(samples: int, sample_rate: int) -> float:
    """The duration of which Kaldi's rounding down makes so many samples."""
    exact = 1000 * samples / sample_rate
    return exact if int(sample_rate * 0.001 * exact) == samples else 1000 * (samples + 0.5) / sample_rate


@builder("SeamlessM4TFeatureExtractor")
def seamless_features(f: Fields) -> Preset:
    """Kaldi's frames of 400 samples every 160, whatever the rate, filled up to an even number; ``stride`` of them as one."""
    rate, stride = f.whole("sampling_rate", 16000), f.whole("stride", 2)
    if stride % 2:
        f.refuse("stride", "frames are filled up to an even number, and only an even stride keeps all of them; use 2")
    f.must_be("padding_side", "right", "frames are filled up on the right; set it to right")
    last = Pad(0, 1, "constant", f.number("padding_value", 0.0), axis=2)
    f.whole("feature_size", 80, 2, reason="features are filled up in two axes")
    f.changes_nothing(MASK | {"language_code": "the languages of the tokenizer"})
    parameters = {"sample_rate": rate, "frame_length": milliseconds(400, rate), "frame_shift": milliseconds(160, rate), "n_mels": f.whole("num_mel_bins", 80)}
    return made(
        f, "seamless-m4t", parameters | {"fmax": float(rate // 2)}, MEL_BINS, after=(Standardize(ddof=1, epsilon=1e-7), last, StackFrames(stride))
    )


def kaldi_at_16_khz(f: Fields) -> None:
    """With torchaudio a frame is 25 ms, and without it 400 samples: only at 16 kHz is that the same."""
    f.must_be("sampling_rate", 16000, "at other rates than 16000 transformers gives two answers, with torchaudio and without it; resample to 16000")


@builder("Speech2TextFeatureExtractor")
def speech2text_features(f: Fields) -> Preset:
    """Kaldi's filterbank, normalised over the clip."""
    kaldi_at_16_khz(f)
    f.must_be("dither", 0.0, NO_NOISE)
    f.changes_nothing(BATCH | {"feature_size": "num_mel_bins counts"})
    normalized, means, variances = f.flag("do_ceptral_normalize", True), f.flag("normalize_means", True), f.flag("normalize_vars", True)
    if normalized and variances and not means:
        f.refuse("normalize_means", "with normalize_vars there is no version that keeps the mean; set both to true or normalize_vars to false")
    after: tuple[Op, ...] = ()
    if normalized and means:
        after = (Standardize(),) if variances else (Cmvn(norm_vars=False),)
    return made(f, "speech2text", {"n_mels": f.whole("num_mel_bins", 80)}, MEL_BINS, after=after)


@builder("ASTFeatureExtractor")
def ast_features(f: Fields) -> Preset:
    """Kaldi's filterbank of samples as they are, ``max_length`` frames."""
    kaldi_at_16_khz(f)
    f.changes_nothing(BATCH | {"feature_size": "num_mel_bins counts", "padding_value": "frames are filled up with zeros, whatever it is"})
    mean, deviation = f.number("mean", -4.2677393), f.above_zero("std", 4.5689974)
    fixed = FixedLength(f.whole("max_length", 1024), axis=2)
    after = (fixed, normal(mean, deviation)) if f.flag("do_normalize", True) else (fixed,)
    return made(f, "ast", {"n_mels": f.whole("num_mel_bins", 128)}, MEL_BINS, after=after)


@builder("Phi4MultimodalFeatureExtractor")
def phi4_features(f: Fields) -> Preset:
    """Kaldi's filterbank without the mean taken away, and ln(max(energy, 1))."""
    rate, width, hop = f.whole("sampling_rate", 16000), f.whole("win_length", 400, 2), f.whole("hop_length", 160)
    n_fft, power = f.even("n_fft", 512), 1 << (width - 1).bit_length()
    if n_fft not in (width, power):
        f.refuse("n_fft", f"for a win_length of {width} it must be {' or '.join(map(str, sorted({width, power})))}")
    low, high = f.number("mel_min_frequency", 0.0, 0.0), f.number("mel_max_frequency", 7690.0, 1.0, rate / 2, "half the sampling_rate is")
    f.changes_nothing(BATCH | dict.fromkeys(("audio_compression_rate", "audio_downsample_rate", "audio_feat_stride"), "counts the model's tokens"))
    parameters = {
        "sample_rate": rate, "frame_length": milliseconds(width, rate), "frame_shift": milliseconds(hop, rate), "fmin": low, "fmax": high,
        "round_to_power_of_two": n_fft == power, "n_mels": f.whole("feature_size", 80), "preemphasis": f.number("preemphasis", 0.97, 0.0, 1.0),
    }  # fmt: skip
    return made(f, "phi-4-multimodal", parameters, {"fmin": "mel_min_frequency", "fmax": "mel_max_frequency"})
