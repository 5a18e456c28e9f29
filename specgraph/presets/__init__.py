"""Presets: the front ends of known models, each a transform with the model's parameters between a few ops.

To add one, add a file here, or an entry to a family's file, with a ``Preset`` in its ``PRESETS``; ``presets`` finds it, and
``tests/test_presets.py`` asks for its reference.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from specgraph.presets.base import Preset as Preset
from specgraph.transforms.parse import like

_REGISTRY: dict[str, Preset] = {}
_NAMES: dict[str, str] = {}  # every name, and the preset's own
for _module in iter_modules(__path__):
    for _preset in getattr(import_module(f"{__name__}.{_module.name}"), "PRESETS", ()):
        for _name in (_preset.name, *_preset.aliases):
            if _name in _REGISTRY or _name in _NAMES:
                raise TypeError(f"there are two presets named {_name}")
            _NAMES[_name] = _preset.name
        _REGISTRY[_preset.name] = _preset


def presets() -> dict[str, Preset]:
    """Every preset by its name, in alphabetical order."""
    return dict(sorted(_REGISTRY.items()))


def preset_names() -> tuple[str, ...]:
    """Every name that ``preset`` takes: the presets' own, and those of models whose front end is another's."""
    return tuple(sorted(_NAMES))


def preset(name: str, **parameters: Any) -> Preset:
    """The front end of a known model, to be used as a transform is.

    >>> preset("whisper-80").graph().outputs["features"].shape
    (batch, 80, 3000)

    Args:
        name: such as "whisper-80", or the name of a model with the same front end, such as "hubert"; ``specgraph list --presets``
            shows all of them.
        parameters: values other than the model's, such as ``length=None`` for clips of any length.

    Raises:
        ValueError: there is no such preset, or it has no such parameter; the nearest name is suggested.
    """
    if name not in _NAMES:
        raise ValueError(f"there is no preset {name!r}{like(str(name), preset_names())}; specgraph list --presets shows all of them")
    found = _REGISTRY[_NAMES[name]]
    return found.with_parameters(**parameters) if parameters else found
