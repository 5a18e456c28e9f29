"""Independent implementations of what presets compute: the registry; ``references_*`` fill it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.bench.machine import version
from specgraph.presets import Preset, preset

Run = Callable[[Any], Any]  # a clip (samples,) float32 -> its features, as the preset gives them


@dataclass(frozen=True)
class Reference:
    """Who else computes a preset's features: a class or function of an installed package."""

    package: str
    called: str
    make: Callable[..., Run]
    needs: tuple[str, ...] = ()  # other packages, which it does not work without
    takes_dtype: bool = False  # ``make`` takes one to compute in, float64 unless told

    def timed(self, p: Preset) -> Run:
        """What its users call: in float32, where parity asks for more digits than they do."""
        return self.make(p, np.float32) if self.takes_dtype else self.make(p)

    @property
    def missing(self) -> str | None:
        """Why it cannot be used here, or None."""
        lacking = (name for name in (self.package, *self.needs) if importlib.util.find_spec(name.replace("-", "_")) is None)
        return next((f"{name} is not installed" for name in lacking), None)

    @property
    def text(self) -> str:
        """Package, version and what is called."""
        return f"{self.package} {version(self.package) or ''} {self.called}".replace("  ", " ")


REFERENCES: dict[str, Reference] = {}


def reference(
    *names: str, package: str, called: str, needs: tuple[str, ...] = (), takes_dtype: bool = False
) -> Callable[[Callable[..., Run]], Callable[..., Run]]:
    """Register what makes the reference of these presets; it gets the preset, and with ``takes_dtype`` what to compute in."""

    def register(make: Callable[..., Run]) -> Callable[..., Run]:
        for name in names:
            preset(name)
            REFERENCES[name] = Reference(package, called, make, needs, takes_dtype)
        return make

    return register


def load() -> dict[str, Reference]:
    """All of them by the names of their presets. No other library is imported before a reference is made."""
    for part in ("transformers", "kaldi", "others", "music"):
        importlib.import_module(f"specgraph.bench.references_{part}")
    return REFERENCES
