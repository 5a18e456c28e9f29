"""Random sets of parameters for any transform and preset: plausible values, and such as nobody means."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np

from specgraph.design.windows import WindowSpec
from specgraph.presets import Preset, presets
from specgraph.presets.base import OWN
from specgraph.transforms import parse, registry
from specgraph.transforms.base import Transform
from tests.test_module import small

ROWS: list[Any] = [
    None, True, False, float("nan"), float("inf"), -float("inf"), 0, -1, 1, -0.0, 0.5, 5e-324, 1e-30, 1e30, 1e308, -1e308, 2**31, 2**63, -(2**63),
    10**30, 10**400, "", "hann", "none", "\ud800", b"x", 1 + 2j, [], (), [1, 2], (float("nan"),), (10**400,), ("kaiser", float("nan")), ("kaiser", 1e9),
    ("gaussian", 0), ("gaussian", "x"), ("symmetric",), ("symmetric", "povey"), {}, object(), np.array([]), np.ones(7), np.array(1.0), np.full(3, np.inf),
    np.float32(0.1), np.int64(7), np.array(["x"], object), [[1.0, 2.0]], 3.0000001, {"a": 1}, [None],
]  # fmt: skip
WINDOWS = ["hann", "boxcar", "hamming", "blackman", "povey", ("kaiser", 8.0), ("symmetric", "hann"), ("gaussian", 4.0), ("tukey", 0.3), "kaiser", 2.5]


def front_ends() -> list[Transform | Preset]:
    """Every transform, at small sizes, and every preset."""
    return [*(small(name) for name in sorted(registry())), *presets().values()]


def annotations(front_end: Transform | Preset) -> dict[str, Any]:
    """The types of its parameters, by name."""
    transform = front_end.transform if isinstance(front_end, Preset) else front_end
    own = {name: kind for name, (kind, _) in OWN.items()} if isinstance(front_end, Preset) else {}
    return {parameter.name: parse.field_types(type(transform))[parameter.name] for parameter in transform.parameters()} | own


def plausible(annotation: Any, rng: np.random.Generator) -> Any:
    """A value of a type, of a size that may be meant."""
    if annotation == WindowSpec:
        return WINDOWS[rng.integers(len(WINDOWS))]
    options = get_args(annotation) if get_origin(annotation) in (types.UnionType, Union) else (annotation,)
    option = options[rng.integers(len(options))]
    if get_origin(option) is Literal:
        return get_args(option)[rng.integers(len(get_args(option)))]
    if option is types.NoneType:
        return None
    if option is bool:
        return bool(rng.integers(2))
    if option is str:
        return "hann"
    if option is int:
        return int(10 ** rng.uniform(0, rng.choice([2, 4, 9])))
    size = lambda: float(rng.choice([-1, 1, 1, 1]) * 10 ** rng.uniform(-4, 4))
    return size() if option is float else tuple(size() for _ in range(rng.integers(1, 6)))


def parameter_set(front_end: Transform | Preset, rng: np.random.Generator) -> dict[str, Any]:
    """Values of one to four parameters."""
    kinds = annotations(front_end)
    chosen = rng.choice(list(kinds), min(int(rng.integers(1, 5)), len(kinds)), replace=False)
    return {str(name): ROWS[rng.integers(len(ROWS))] if rng.random() < 0.4 else plausible(kinds[str(name)], rng) for name in chosen}
