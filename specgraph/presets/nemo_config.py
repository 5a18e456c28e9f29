"""Preprocessors of NeMo, by the configuration of a model, as presets; NeMo itself is never imported."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specgraph.presets.base import Preset
from specgraph.presets.config_fields import Fields
from specgraph.presets.nemo_builders import BUILDERS

SECTION = "preprocessor"
INSIDE = "model_config.yaml"  # of a .nemo archive


def from_nemo(source: str | Path | Mapping[str, Any]) -> Preset:
    """The front end of a model of NeMo, from its configuration.

    >>> section = {"_target_": "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor", "features": 80, "pad_to": 0}
    >>> from_nemo({"preprocessor": section}).graph().outputs["features"].shape
    (batch, 80, (samples + 160) // 160)

    The features are those of one clip, not in training (so without dither): (batch, bins, frames), the last frame being filled with
    ``pad_value``, as are those that ``pad_to`` adds. ``pad_to`` is 16 where the configuration does not say otherwise; NeMo's own
    ``transcribe`` sets it to 0.

    Args:
        source: the path of a ``model_config.yaml``, of a folder that has it or of a ``.nemo`` archive, the text of such a file, or what it holds as a dict: with a
            section ``preprocessor``, by itself or within ``model``, or that section alone.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no preprocessor, it is of another kind, or a field has a value that is not supported, or is not known; one
            sentence names it, its value and what to do.
        ImportError: a file or text was given, and PyYAML is not installed.
    """
    if isinstance(source, Mapping):
        return _built(source, "the configuration")
    if isinstance(source, Path):
        return _built(_read(_text(source), str(source)), str(source))
    if isinstance(source, str):
        if "\n" in source or source.lstrip().startswith("{"):
            return _built(_read(source, "the text"), "the text")
        return from_nemo(Path(source))
    raise TypeError(f"from_nemo takes a path, the text of a configuration or a dict, not {type(source).__name__}")


def _text(path: Path) -> str:
    """A configuration's text, from its file or from a .nemo archive."""
    if path.is_dir():
        path /= INSIDE
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}; give a .nemo file or its {INSIDE}, as nothing is downloaded")
    try:
        if path.suffix != ".nemo":
            return path.read_text(encoding="utf-8")
        with tarfile.open(path) as archive:
            for member in archive:
                if Path(member.name).name == INSIDE and (held := archive.extractfile(member)) is not None:
                    return held.read().decode("utf-8")
    except tarfile.TarError as error:
        raise ValueError(f"{path} is not an archive ({error}); give a .nemo file or its {INSIDE}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text ({error}); give a {INSIDE}") from None
    raise ValueError(f"{path} has no {INSIDE}; give a .nemo file of a model")


def _read(text: str, where: str) -> Mapping[str, Any]:
    try:
        import yaml
    except ImportError:
        raise ImportError("reading a configuration of NeMo needs PyYAML: pip install 'specgraph[nemo]', or give it as a dict") from None
    try:
        held = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{where} is not YAML ({' '.join(str(error).split())}); give a {INSIDE}") from None
    if isinstance(held, Mapping):
        return held
    raise ValueError(f"{where} holds no fields by their names; give a {INSIDE}")


def _built(config: Mapping[str, Any], where: str) -> Preset:
    model = config.get("model")
    within = config if SECTION in config or not isinstance(model, Mapping) else model
    section = within.get(SECTION, config if "_target_" in config or "cls" in config else None)
    if isinstance(section, Mapping):
        return _preset(section, config)
    raise ValueError(f"{where} has no section {SECTION}; give the configuration of a model with one")


def _preset(section: Mapping[str, Any], config: Mapping[str, Any]) -> Preset:
    kind = section.get("_target_", section.get("cls"))
    if "params" in section and "cls" in section:
        section = section["params"]  # as it was written before NeMo 1.0
    name = str(kind).rpartition(".")[2]
    if name not in BUILDERS:
        raise ValueError(f"the {SECTION}'s _target_ is {kind!r}, which is not supported; supported are {', '.join(BUILDERS)}")
    fields = Fields(name, {str(key): _resolved(value, config) for key, value in section.items()})
    fields.changes_nothing({"_target_": "was looked at", "cls": "was looked at", "params": "was looked at"})
    made = BUILDERS[name](fields)
    fields.done()
    return made


def _resolved(value: Any, config: Mapping[str, Any]) -> Any:
    """A value, an interpolation such as ``${sample_rate}`` being looked up; a number that YAML takes for text (1e-5) is one."""
    for _ in range(10):  # one may lead to another, and at worst to itself
        if not (isinstance(value, str) and (found := re.fullmatch(r"\$\{([\w.]+)\}", value))):
            break
        value = _looked_up(found[1], config, value)
    else:
        raise ValueError(f"{value} leads to itself; write the number")
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value, re.IGNORECASE):
        return float(value)
    return value


def _looked_up(path: str, config: Mapping[str, Any], written: str) -> Any:
    """What stands at ``a.b`` of a configuration; a .nemo file has a model's fields by themselves, which ``model.`` points into."""
    for start in (path, path.removeprefix("model.")):
        held: Any = config
        for part in start.split("."):
            if not isinstance(held, Mapping) or part not in held:
                break
            held = held[part]
        else:
            return held
    raise ValueError(f"{written} is not in the configuration; write the number itself")
