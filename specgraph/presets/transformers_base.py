"""What builds the presets of transformers' feature extractors: the registry, and what the builders share.

The formulas are those of transformers 5. A builder reads the fields that change features, and says of the rest why they do not.
To add an extractor, add a function with ``@builder`` to a ``transformers_*`` file, or add such a file.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from specgraph.presets import clap, gemma, kaldi, music, nemo, speech, vocoders, wav2vec2, whisper
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields

Builder = Callable[[Fields], Preset]
BUILDERS: dict[str, Builder] = {}
AS_MADE: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {}  # of an object's fields, by its class, those that it was made with
FAMILIES = {p.name: p for family in (clap, gemma, kaldi, music, nemo, speech, vocoders, wav2vec2, whisper) for p in family.PRESETS}

MASK = {"return_attention_mask": "whether a mask comes beside the features"}
BATCH = MASK | {
    "padding_side": "the side on which shorter clips of a batch are filled up",
    "padding_value": "what shorter clips of a batch are filled up with",
}
USUAL = {"sample_rate": "sampling_rate", "n_mels": "feature_size", "frame_length": "win_length", "frame_shift": "hop_length"}
MEL_BINS = {"n_mels": "num_mel_bins"}
NO_NOISE = "noise is not part of the features; set it to 0"
WINDOWS = {"hann_window": "hann", "hann": "hann", "hamming_window": "hamming", "hamming": "hamming", "boxcar": "boxcar"}


def builder(name: str) -> Callable[[Builder], Builder]:
    """Register what builds the extractor of this class name."""

    def register(make: Builder) -> Builder:
        BUILDERS[name] = make
        return make

    return register


def made(f: Fields, family: str, parameters: Mapping[str, Any], names: Mapping[str, str] = USUAL, **own: Any) -> Preset:
    """The family's preset with other parameters of its transform, and other fields of its own; ``names`` are the parameters' here."""
    base = FAMILIES[family]
    with f.named(**{**USUAL, **names}):
        transform = dataclasses.replace(base.transform, **parameters)
        return dataclasses.replace(base, name=f.owner, models=f"the model whose {f.owner} this is", transform=transform, **own)


def short_time(f: Fields, n_fft: int, hop: int, win: int) -> dict[str, int]:
    """``n_fft``, ``win_length`` and ``hop_length``, by the same names here and there."""
    size = f.even("n_fft", n_fft)
    return {
        "n_fft": size,
        "win_length": f.whole("win_length", win, most=size, reason="n_fft is"),
        "hop_length": f.whole("hop_length", hop),
    }
