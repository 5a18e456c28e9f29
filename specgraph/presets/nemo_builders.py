"""What builds the presets of NeMo's preprocessors, by their fields; defaults and formulas are NeMo 2's, in evaluation."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from specgraph.graph import About
from specgraph.op import Op, Value
from specgraph.ops.layout import Reshape, Slice, Take, Transpose
from specgraph.ops.log import Log
from specgraph.ops.pad import Pad
from specgraph.ops.pre_emphasis import PreEmphasis
from specgraph.ops.stack_frames import StackFrames
from specgraph.ops.standardize import Standardize
from specgraph.presets import nemo
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.transforms.mel import LogMelSpectrogram, MelSpectrogram
from specgraph.transforms.mfcc import MFCC

SOURCE = "NVIDIA/NeMo collections/asr/parts/preprocessing/features.py, FilterbankFeatures and normalize_batch in evaluation"
WINDOWS = ("hann", "hamming", "blackman", "bartlett")
NOT_NORMALIZED = (None, False, "NA", "None", "none", "null", "")
SMALL = {"tiny": float(np.finfo(np.float32).tiny), "eps": float(np.finfo(np.float32).eps)}
NO_TORCH_STFT = "NeMo 2 no longer looks at it; set it to false for the features that NeMo 2 gives"
IN_TRAINING = dict.fromkeys(("dither", "nb_augmentation_prob", "nb_max_freq", "rng"), "only in training")


def _samples(f: Fields, name: str, default: float | None, rate: int) -> int:
    """A duration in seconds, or by ``n_`` before its name in samples; with a ``default`` of None in samples only."""
    if default is None:
        return f.whole(f"n_{name}", 320 if name == "window_size" else 160)
    given = None if f.value(name, default) is False else f.number_or_none(name, default, 0.0)
    samples = f.value(f"n_{name}", None)
    if samples:
        if given and name in f:
            f.refuse(name, f"n_{name} {samples!r} is given too; take one of them out")
        if given:
            f.refuse(f"n_{name}", f"{name} is {given:g} where it is not there; set {name} to null beside it")
        return f.whole(f"n_{name}", 0)
    count = int((given or 0) * rate)
    if count < 1:
        f.refuse(name, f"that is no sample at {rate} Hz; raise it")
    return count


def _framing(f: Fields, seconds: bool = True, even: bool = False) -> dict[str, Any]:
    """What all of them say in the same way; torchaudio's filters are where they should be for ``even`` sizes only."""
    number = f.even if even else f.whole
    rate = number("sample_rate", 16000, 2)
    width, hop = (_samples(f, name, default if seconds else None, rate) for name, default in (("window_size", 0.02), ("window_stride", 0.01)))
    n_fft = 2 ** math.ceil(math.log2(width)) if not f.value("n_fft", None) else number("n_fft", 512)
    if n_fft < max(width, 2):
        f.refuse("n_fft", f"it must be at least the window, {width} samples, and 2")
    low, high = f.number("lowfreq", 0.0, 0.0, rate / 2), f.number_or_none("highfreq", None, 0.0, rate / 2)
    if not low < (high or rate / 2):
        f.refuse("lowfreq", f"it must be below highfreq, {high or rate / 2:g}")
    sizes = {"sample_rate": rate, "n_fft": n_fft, "win_length": width, "hop_length": hop, "fmin": low, "fmax": high or None}
    return sizes | {"allow_empty_filters": True}


def _padded(p: int, emphasis: float | None) -> tuple[Op, ...]:
    """Zeros at both ends, ``p`` each, and then pre-emphasis, after which NeMo keeps as many samples as the clip has, from the left."""
    if not emphasis:
        return (Pad(p, mode="constant"),) if p else ()
    if not p:
        return (PreEmphasis(emphasis, "keep"),)
    return (Pad(p, 0, "constant"), PreEmphasis(emphasis, "keep"), Slice(0, -p), Pad(0, 2 * p, "constant"))


def _multiple(frames: int, bins: int) -> tuple[Op, ...]:
    """Frames cut to a multiple: stacked, and laid out again."""
    return (StackFrames(frames), Transpose((0, 2, 1)), Reshape((0, -1, bins)), Transpose((0, 2, 1)))


def _log_mel(f: Fields) -> Preset:
    """The preprocessor: FilterbankFeatures, by other names and in seconds."""
    f.must_be("use_torchaudio", False, "those features differ from NeMo's own; set it to false if the model was trained with these")
    return _filterbank(f, _framing(f), "features", 0.0)


def _features(f: Fields) -> Preset:
    """FilterbankFeatures itself, which a vocoder may take for gradients: then 1e-5 is added to the power."""
    f.changes_nothing({"max_duration": "only of pad_to max"})
    return _filterbank(f, _framing(f, seconds=False), "nfilt", 1e-5 if f.flag("use_grads", False) else 0.0)


def _filterbank(f: Fields, sizes: dict[str, Any], filters: str, added: float) -> Preset:
    """FilterbankFeatures and normalize_batch, in evaluation; ``filters`` is the field of how many there are."""
    bins = f.whole(filters, 64)
    window = f.choice("window", "hann", WINDOWS)
    f.changes_nothing(IN_TRAINING)
    for name in ("stft_exact_pad", "stft_conv"):
        f.must_be(name, False, NO_TORCH_STFT)
    emphasis = f.number_or_none("preemph", 0.97, 0.0, 1.0)
    exact = f.flag("exact_pad", False)
    if exact and sizes["hop_length"] % 2:
        f.refuse("exact_pad", f"it goes with an even window_stride, not {sizes['hop_length']} samples")
    if exact and sizes["hop_length"] > sizes["n_fft"]:
        f.refuse("exact_pad", f"it goes with a window_stride of at most n_fft, {sizes['n_fft']} samples")
    parameters = sizes | {
        "window": ("symmetric", window), "pad_mode": "constant", "center": not exact, "n_mels": bins, "power": f.above_zero("mag_power", 2.0),
        "power_offset": added, "norm": f.choice("mel_norm", "slaney", ("slaney", None)),
    }  # fmt: skip
    guard, kind = f.value("log_zero_guard_value", 2.0**-24), f.choice("log_zero_guard_type", "add", ("add", "clamp"))
    least = SMALL[guard] if isinstance(guard, str) and guard in SMALL else f.above_zero("log_zero_guard_value", 2.0**-24)
    with f.named(n_mels=filters, fmin="lowfreq", fmax="highfreq"):
        if f.flag("log", True):
            levels: dict[str, Any] = {"amin": 0.0, "offset": least} if kind == "add" else {"amin": least}
            transform: LogMelSpectrogram | MelSpectrogram = LogMelSpectrogram(**parameters, log="ln", top_db=None, **levels)
        else:
            transform = MelSpectrogram(**parameters)
    copies, multiple, value = f.whole("frame_splicing", 1), f.whole("pad_to", 16, 0), f.number("pad_value", 0.0)
    spliced = (Take(tuple(range(bins)) * copies),) if copies > 1 else ()  # NeMo's splicing shifts by nothing
    filled = Pad(0, max(multiple, 1), "constant", value, axis=2)
    return dataclasses.replace(
        nemo.PRESETS[0], name=f.owner, models="a model of NeMo, by its configuration", source=SOURCE, transform=transform,
        before=_padded((sizes["n_fft"] - sizes["hop_length"]) // 2 if exact else 0, emphasis),
        after=(Slice(0, -1, axis=2), *spliced, *_normalized(f, copies * bins), filled, *(_multiple(multiple, copies * bins) if multiple > 1 else ())),
    )  # fmt: skip


def _normalized(f: Fields, bins: int) -> tuple[Op, ...]:
    """What ``normalize`` says: each bin over the frames, all of them over bins and frames, or nothing."""
    how = f.value("normalize", "per_feature")
    if how == "per_feature":
        return nemo.NORMALIZED
    if how == "all_features":
        return (Reshape((0, -1)), Standardize(ddof=1, epsilon=1e-5, added_to="deviation"), Reshape((0, bins, -1)))
    if isinstance(how, Mapping):
        f.refuse("normalize", "fixed means are given by bin_shift and bin_scale here; set it to NA")
    if how not in NOT_NORMALIZED:
        f.refuse("normalize", "it must be per_feature, all_features or NA")
    return ()


@dataclass(frozen=True, kw_only=True)
class NaturalMfcc(MFCC):
    """Mel-frequency cepstral coefficients of ``ln(mel power + 1e-6)``, as torchaudio's MFCC with ``log_mels``."""

    command: ClassVar[str] = ""  # it is no transform of its own on the command line

    def levels(self, mel: Value) -> Value:
        return Log(0.0, 1e-6)(mel)

    def about(self) -> About:
        return About("MFCC", self.unit("ln"))


def _mfcc(f: Fields) -> Preset:
    """torchaudio's MFCC, with HTK's filters and a periodic window."""
    sizes, bins = _framing(f, even=True), f.whole("n_mels", 64)
    if f.value("highfreq", None) == 0:
        f.refuse("highfreq", "set it to null for half the sample_rate")
    window = f.choice("window", "hann", (*WINDOWS, "ones", None))
    f.choice("dct_type", 2, (2,))
    f.choice("norm", "ortho", ("ortho",))
    kind = NaturalMfcc if f.flag("log", True) else MFCC
    with f.named(fmin="lowfreq", fmax="highfreq"):
        transform = kind(
            **sizes, window="boxcar" if window in ("ones", None) else window, n_mels=bins, htk=True, norm=None, n_mfcc=f.whole("n_mfcc", 64)
        )
    return Preset(
        name=f.owner, models="a model of NeMo, by its configuration", source="NVIDIA/NeMo audio_preprocessing.py: torchaudio.transforms.MFCC",
        reference="the formula in float64 numpy", transform=transform,
    )  # fmt: skip


BUILDERS: dict[str, Callable[[Fields], Preset]] = {
    "AudioToMelSpectrogramPreprocessor": _log_mel,
    "AudioToMFCCPreprocessor": _mfcc,
    "FilterbankFeatures": _features,
}
