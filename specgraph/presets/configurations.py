"""Which files are configurations of front ends, and the presets that they are."""

from __future__ import annotations

from pathlib import Path

from specgraph.presets.base import Preset
from specgraph.presets.nemo_config import INSIDE, from_nemo
from specgraph.presets.transformers_config import FILES, from_transformers

NEMO = (".yaml", ".yml", ".nemo")


def is_configuration(path: Path) -> bool:
    """Whether a path is named as a configuration is, whether it exists or not; or is a folder that has one."""
    return path.suffix in (".json", *NEMO) or any((path / name).is_file() for name in (*FILES, INSIDE))


def from_configuration(path: Path) -> Preset:
    """``from_nemo`` of a .yaml or .nemo file, ``from_transformers`` of any other, or of a folder's."""
    if path.is_dir() and not any((path / name).is_file() for name in FILES):
        path = path / INSIDE
    return from_nemo(path) if path.suffix in NEMO else from_transformers(path)
