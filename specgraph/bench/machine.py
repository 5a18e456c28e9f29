"""What was measured on: processor, system, versions, date, command."""

from __future__ import annotations

import datetime
import os
import platform
import shlex
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from specgraph.bench.timing import cores

PACKAGES = (
    "specgraph", "numpy", "scipy", "torch", "onnx", "onnxruntime", "onnxruntime-gpu", "librosa", "nnAudio", "torchlibrosa",
    "kaldi-native-fbank",
)  # fmt: skip


def machine(device: str) -> dict[str, Any]:
    """The machine and the software."""
    found = {
        "processor": processor(),
        "cores": cores(),
        "memory": _memory(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": {name: text for name in PACKAGES if (text := version(name))},
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": load_average(),
        "command": shlex.join(["specgraph", *sys.argv[1:]]),
    }
    if device == "cuda":
        import torch

        found |= {"gpu": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    return found


def load_average() -> float | None:
    """Of the last minute, or None where the system does not tell."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def processor() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def version(package: str) -> str | None:
    """The version that is installed, or None."""
    if package == "specgraph":
        from specgraph import __version__

        return __version__
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _memory() -> int | None:
    names = os.sysconf_names if hasattr(os, "sysconf_names") else {}
    if "SC_PHYS_PAGES" not in names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
