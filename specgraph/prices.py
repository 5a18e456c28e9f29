"""What this machine takes for each kind of work: measured by ``specgraph bench --calibrate``, kept in the user's configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from specgraph.files import whole

NAME = "prices.json"


def path() -> Path:
    """Where the prices are kept: ``$XDG_CONFIG_HOME/specgraph`` or what stands for it; deleting the file brings the built-in ones back."""
    given = os.environ.get("XDG_CONFIG_HOME")
    if given:
        folder = Path(given)
    elif sys.platform == "win32":
        folder = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    else:
        folder = Path.home() / ".config"
    return folder / "specgraph" / NAME


def read() -> dict[str, dict[str, float]]:
    """By target, the numbers of ``specgraph.cost.Target`` that were measured here; empty if there is no such file.

    Raises:
        ValueError: the file is not what ``write`` makes.
    """
    file = path()
    try:
        content = json.loads(file.read_text())
        prices = {str(name): {str(field): float(number) for field, number in fields.items()} for name, fields in content["targets"].items()}
        if not all(number > 0 for fields in prices.values() for number in fields.values()):
            raise ValueError("a price is not above 0")
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        raise ValueError(f"{file} cannot be read ({problem}); delete it, or run specgraph bench --calibrate again") from None
    return prices


def write(targets: Mapping[str, Mapping[str, float]], measured: Mapping[str, Any]) -> Path:
    """Keep these numbers, and how they were measured; returns the file."""
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    with whole(file) as temporary:
        temporary.write_text(json.dumps({"format": 1, "targets": targets, "measured": measured}, indent=1) + "\n")
    return file
