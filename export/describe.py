"""A graph's metadata: what a runtime must know of the file, from the graph itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from specgraph import __version__
from specgraph.dims import Dim, Shape
from specgraph.graph import About, Graph
from specgraph.metadata import Metadata, OutputMetadata, Slicing
from specgraph.op import Value
from specgraph.ops.layout import is_time
from specgraph.reach import WHOLE_CLIP, Reach
from specgraph.serialize import digest

AXES = {
    1: ("batch",),
    2: ("batch", "samples"),
    3: ("batch", "bins", "frames"),
    4: ("batch", "bins", "frames", "parts"),
}

TIME_AXIS = {2: 1, 3: 2, 4: 2}  # by rank: where an output that is laid out as above runs along the clip


def describe(
    graph: Graph, target: str = "cpu", lowering: tuple[dict[str, Any], ...] = (), verified: Mapping[str, Any] | None = None,
    slicing: Slicing | None = None,
) -> Metadata:  # fmt: skip
    """The metadata of a file made from ``graph``."""
    reach = graph.reach()
    wave = graph.inputs[0]
    return Metadata(
        name=graph.name,
        version=__version__,
        sample_rate=graph.sample_rate,
        target=target,
        min_samples=graph.least_along_the_clip(),
        parameters=dict(graph.parameters),
        outputs={
            name: described(value, reach.get(value, WHOLE_CLIP), graph.about.get(name, About()))
            for name, value in graph.outputs.items()
        },
        lowering=lowering,
        verified=dict(verified or {}),
        slicing=slicing or Slicing(),
        hash=digest(graph),
        input_dtype="int16" if wave.dtype == "int16" else "float32",
        channels=channels(wave.shape) if graph.takes_waveforms else 1,
        dtype=graph.dtype,
    )


def channels(waveforms: Shape) -> int:
    """How many channels waveforms have, of which one has no axis."""
    return size if len(waveforms) == 3 and isinstance(size := waveforms[1], int) else 1


def described(value: Value, reach: Reach, about: About) -> OutputMetadata:
    """What a file says of a value."""
    times = [size for size in value.shape if isinstance(size, Dim) and is_time(size)]
    axes = about.axes or AXES.get(len(value.shape), tuple(f"axis_{i}" for i in range(len(value.shape))))
    return OutputMetadata(
        axes=axes,
        hop=float(reach.hop),
        centre=float(reach.centre),
        before=math.ceil(reach.centre - reach.first) if reach.finite else None,
        after=math.ceil(reach.last - reach.centre) if reach.finite else None,
        quantity=about.quantity,
        unit=about.unit,
        frequencies=about.frequencies,
        frames=times[0].steps if times else _fixed(value, axes),
    )


def _fixed(value: Value, axes: tuple[str, ...]) -> tuple[tuple[int, int, int], ...]:
    """The step to a size along the clip that does not vary: ``n -> n * 0 + size``."""
    named = [axis for axis, name in enumerate(axes) if name in ("frames", "samples")]
    size = value.shape[named[0] if named else TIME_AXIS.get(len(value.shape), -1)]
    return ((0, size, 1),) if isinstance(size, int) else ()
