"""Feature extractors of transformers, and their configurations, as presets; transformers itself is never imported."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.presets import (
    transformers_audio,
    transformers_gemma,
    transformers_kaldi,
    transformers_speech,
    transformers_synthesis,
)
from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.transformers_base import AS_MADE, BUILDERS
from specgraph.transforms.parse import nearest

TYPE = "feature_extractor_type"
FILES = ("preprocessor_config.json", "processor_config.json")
BUILT_BY = (transformers_audio, transformers_gemma, transformers_kaldi, transformers_speech, transformers_synthesis)  # importing them has filled BUILDERS
WAVEFORMS = ("EncodecFeatureExtractor", "DacFeatureExtractor")
WAV2VEC2 = {"do_normalize", "feature_size", "padding_value", "return_attention_mask", "sampling_rate"}  # all of its fields, and of no other's
ANYWHERE = {  # fields that any configuration may have, and why they change no features
    "processor_class": "the class that holds the extractor and a tokenizer",
    "_commit_hash": "where the file is from",
    "_name_or_path": "where the file is from",
    "transformers_version": "what wrote the file",
}


def from_transformers(source: Any) -> Preset:
    """The front end that a feature extractor of transformers is, with its own numbers.

    >>> config = {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128, "chunk_length": 15}
    >>> from_transformers(config).graph().outputs["features"].shape
    (batch, 128, 1500)

    The features are those that the extractor gives for one clip, called with its defaults: the model's layout, without the mask beside
    them, and for Gemma 4 without the frames that the mask leaves out. Where an extractor cuts a longer clip, which ``length`` does here, CLAP
    has its beginning, not a random part; UnivNet, MusicGen melody and Gemma do not cut. Pop2Piano's features are those of one stretch of beats.

    Args:
        source: a feature extractor or a processor that has one, its configuration as a dict, the path of a ``preprocessor_config.json`` or
            ``processor_config.json``, or the folder that has it. A field that is not there has the class's own default.

    Raises:
        ValueError: the extractor is of another kind, or a field has a value that is not supported, or is not known; one sentence
            names it, its value and what to do.
    """
    extractor = getattr(source, "feature_extractor", source)
    if hasattr(extractor, "to_dict"):
        values = dict(extractor.to_dict())
        values.setdefault(TYPE, type(extractor).__name__)
        if (as_made := AS_MADE.get(str(values[TYPE]))) is not None:
            values = as_made(values)
        found = _built(values, type(extractor).__name__)
        _check_filters(extractor, found)
        return found
    if isinstance(source, Mapping):
        return _built(source, "the configuration")
    if isinstance(source, str | Path):
        return _from_file(Path(source))
    raise TypeError(f"from_transformers takes a feature extractor, its configuration or a file of it, not {type(source).__name__}")


def _from_file(path: Path) -> Preset:
    if path.is_dir():
        inside = [path / name for name in FILES if (path / name).is_file()]
        if not inside:
            raise ValueError(f"{path} has no {' and no '.join(FILES)}; give the folder of a model of transformers")
        path = inside[0]
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}; give a preprocessor_config.json or the folder of a model, as nothing is downloaded")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON ({error}); give a preprocessor_config.json") from None
    if isinstance(values, dict):
        return _built(values, str(path))
    raise ValueError(f"{path} holds a {type(values).__name__}, not fields by their names; give a preprocessor_config.json")


def _built(values: Mapping[str, Any], where: str) -> Preset:
    """The preset of a configuration; ``where`` it is from is for the sentences before its type is known."""
    if TYPE not in values and isinstance(inner := values.get("feature_extractor"), Mapping):
        values = inner  # a processor's configuration
    kind = values.get(TYPE) or _known_by_its_fields(values)
    if kind is None:
        raise ValueError(f"{where} has no {TYPE}; add it, one of {', '.join(sorted(BUILDERS))}")
    if kind in WAVEFORMS:
        raise ValueError(f"{kind} gives the waveform as it is, filled up to whole chunks: there is nothing to compute; give the model the waveform")
    if kind not in BUILDERS:
        raise ValueError(f"{TYPE} is {kind!r}, which is not supported{nearest(str(kind), BUILDERS)}; supported are {', '.join(sorted(BUILDERS))}")
    fields = Fields(kind, {str(name): value for name, value in values.items()})
    fields.changes_nothing(ANYWHERE | {TYPE: "was looked at"})
    made = BUILDERS[kind](fields)
    fields.done()
    return made


def _known_by_its_fields(values: Mapping[str, Any]) -> str | None:
    """The type of a configuration that does not name it, where its fields are those of one type alone.

    Files from before the type was written, wav2vec2-base-960h's among them, for which transformers itself looks at the model's type.
    """
    own = values.keys() - ANYWHERE.keys() - {"padding_side"}
    return "Wav2Vec2FeatureExtractor" if own == WAV2VEC2 and values["feature_size"] == 1 else None


def _check_filters(extractor: Any, made: Preset) -> None:
    """Raise where an extractor holds other filters than its fields make: some fields are not kept, and filters may be replaced."""
    bank = getattr(made.transform, "bank", None)
    held = [getattr(extractor, name, None) for name in ("mel_filters", "mel_filters_slaney")]  # CLAP has both
    matrices = [np.asarray(filters, np.float64) for filters in held if filters is not None and not callable(filters)]
    if bank is None or not matrices:
        return
    ours = bank()
    for theirs in matrices:
        for filters in (theirs, theirs.T):
            if filters.shape == ours.shape and np.abs(filters - ours).max() <= 0.005 * ours.max():  # bfloat16 rounds to 0.4 %
                return
    raise ValueError(f"{made.name}: its mel_filters are not those that its fields make; give its configuration as a dict, with the fields that they were made with")
