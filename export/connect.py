"""Which output of a front end feeds which input of a model, or the other way round, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from specgraph.dims import Dim
from specgraph.export.arrange import Arrangement, LayoutError, Port, arranged, layout_text
from specgraph.export.describe import AXES, describe
from specgraph.export.foreign import FLOATS, WHOLE, Foreign
from specgraph.graph import About, Graph
from specgraph.op import Value
from specgraph.ops.layout import is_time
from specgraph.ragged import has_lengths, with_lengths
from specgraph.shapes import LENGTHS, WAVEFORMS
from specgraph.transforms.parse import nearest

IMAGE = 4  # axes, of a batch of them
SOUND = 1e-3  # seconds, from one position to the next, up to which an output is sound and not features


@dataclass(frozen=True)
class Connection:
    """An output or input of a graph, ``ours``, and the model's input or output that it is connected to.

    ``arrangement`` is from our axes to the model's, ``dtype`` what the model has.
    """

    ours: Port
    theirs: Port
    arrangement: Arrangement
    dtype: ir.DataType


def feeding(
    graph: Graph, source: Foreign, output: str | None, input: str | None, lengths: str | None, inputs: Mapping[str, str] | None, layout: str | None
) -> tuple[Graph, tuple[Connection, ...]]:
    """For a front end in front: the graph with the outputs that are connected, and each with an input of the model."""
    pairs = dict(inputs or {})
    if lengths is not None or any(name.endswith(LENGTHS) and name not in graph.outputs for name in pairs):
        graph = with_lengths(graph)
    features = [name for name in graph.outputs if name.removesuffix(LENGTHS) not in graph.outputs or not name.endswith(LENGTHS)]
    given = _inputs(source)
    if not pairs:
        ours = _chosen(output, features, f"{graph.name} has no output", features[0])
        pairs[ours] = _input_for(graph, _ours(graph, ours), source, input, layout)
    first = next(iter(pairs))
    if lengths is None and has_lengths(graph) and len(pairs) == 1 and first + LENGTHS in graph.outputs:
        whole = [name for name, value in given.items() if value.dtype in WHOLE and value.shape is not None and len(value.shape) == 1]
        lengths = whole[0] if len(whole) == 1 else None
    if lengths is not None:
        pairs[first + LENGTHS] = lengths
    found = []
    for ours, theirs in pairs.items():
        _chosen(ours, [*graph.outputs], f"{graph.name} has no output")
        value = given[_chosen(theirs, [*given], f"{source.path} has no input")]
        counts = graph.outputs[ours].dtype != "float"
        found.append(_connection(_ours(graph, ours), value, source, None if counts else layout, WHOLE if counts else FLOATS))
    if len({one.theirs.name for one in found}) < len(found):
        raise ValueError(f"an input of {source.path} is given twice, in {pairs}; an input takes one output")
    kept = {name: graph.outputs[name] for name in pairs}
    return dataclasses.replace(graph, outputs=kept), tuple(found)


def fed(
    graph: Graph, source: Foreign, output: str | None, input: str | None, inputs: Mapping[str, str] | None, layout: str | None
) -> tuple[Connection, ...]:
    """For a graph behind a model: each of its inputs with an output of the model."""
    made = {str(value.name): value for value in source.model.graph.outputs}
    takes = {value.op.label: value for value in graph.inputs}
    pairs = dict(inputs or {})
    if not pairs:
        ours = _chosen(input, [*takes], f"{graph.name} has no input", next(iter(takes)))
        floats = {name: value for name, value in made.items() if value.dtype in FLOATS}
        theirs = _fitting(_port(ours, takes[ours], graph, None), floats, source, output, layout, "output")
        pairs[theirs] = ours
    if missing := [name for name in takes if list(pairs.values()).count(name) != 1]:
        raise ValueError(f"{graph.name} takes {', '.join(takes)}, and {missing[0]} needs one output of the model: inputs={{OUTPUT: {missing[0]!r}}}")
    found = []
    for theirs, ours in pairs.items():
        value = made[_chosen(theirs, [*made], f"{source.path} has no output")]
        taken = takes[_chosen(ours, [*takes], f"{graph.name} has no input")]
        found.append(_connection(_port(ours, taken, graph, None), value, source, layout, FLOATS))
    return tuple(found)


def _inputs(source: Foreign) -> dict[str, ir.Value]:
    return {str(value.name): value for value in source.model.graph.inputs}


def _connection(ours: Port, value: ir.Value, source: Foreign, layout: str | None, fits: Sequence[ir.DataType]) -> Connection:
    if value.dtype not in fits:
        kind = "numbers with a fraction" if fits is FLOATS else "whole numbers"
        raise ValueError(f"{ours} are {kind}, and {value.name} of {source.path} holds {str(value.dtype).lower()}; connect another")
    if value.dtype == ir.DataType.BFLOAT16:
        raise ValueError(
            f"{value.name} of {source.path} holds bfloat16, which onnxruntime has no operators for on a CPU, where files are verified; "
            "export the model in float16 or float32"
        )
    theirs = source.port(value, layout)
    try:
        arrangement = arranged(ours, theirs, layout)
    except LayoutError as error:
        raise ValueError(f"{error}{_already(source, value)}") from None
    if layout is None:
        _refuse_windows(ours, theirs, arrangement)
    return Connection(ours, theirs, arrangement, ir.DataType(value.dtype or ir.DataType.FLOAT))


def _refuse_windows(ours: Port, theirs: Port, arrangement: Arrangement) -> None:
    """Raise where a model's batch may be one of windows: any number of images, of a fixed number of frames each."""
    pairs = [(ours.sizes[axis], size) for axis, size in zip(arrangement.order, theirs.sizes, strict=True) if axis is not None]
    frames = [size for our, size in pairs if isinstance(size, int) and isinstance(our, Dim) and is_time(our)]
    if len(theirs.sizes) >= IMAGE and not isinstance(theirs.sizes[0], int) and frames:
        raise ValueError(
            f"{theirs} takes windows of {frames[0]} frames, and a longer clip would be several of them; "
            f"give layout={layout_text(arrangement, ours)!r} for a file that takes clips of one window each, and cut longer ones before it"
        )


def _input_for(graph: Graph, ours: Port, source: Foreign, wanted: str | None, layout: str | None) -> str:
    floats = {name: value for name, value in _inputs(source).items() if value.dtype in FLOATS}
    chosen = _fitting(ours, floats, source, wanted, layout, "input")
    hop = describe(graph).outputs[ours.name].hop
    if hop > SOUND * graph.sample_rate and (has := _already(source, floats.get(chosen))):
        raise ValueError(f"{chosen} of {source.path} takes waveforms, not features{has}")
    return chosen


def _already(source: Foreign, value: ir.Value | None) -> str:
    """What is said where an input of a model has a front end behind it already."""
    if source.metadata is None or value is None or tuple(map(str, value.shape or ())) != WAVEFORMS:
        return ""
    names = " and ".join(str(one["name"]) for one in source.metadata.front_ends)
    return f": the file has a front end in it already, {names}; attach to the model that it was made from"


def _fitting(ours: Port, values: Mapping[str, ir.Value], source: Foreign, wanted: str | None, layout: str | None, kind: str) -> str:
    """The input or output of a model that is meant: the one named, the only one, or the only one whose sizes fit."""
    everything = [str(value.name) for value in (source.model.graph.inputs if kind == "input" else source.model.graph.outputs)]
    if wanted is not None:
        return _chosen(wanted, everything, f"{source.path} has no {kind}")
    if not values:
        raise ValueError(f"{source.path} has no {kind} of floating-point numbers for {ours}; it has {', '.join(everything)}")
    fits = [name for name, value in values.items() if _fits(ours, source, value, layout)]
    names = fits or list(values)
    if len(names) > 1:
        shown = " or ".join(str(source.port(values[name], layout)) for name in names)
        raise ValueError(f"{ours} may go with {shown}; name one, {kind}={names[0]!r}")
    return names[0]


def _fits(ours: Port, source: Foreign, value: ir.Value, layout: str | None) -> bool:
    try:
        arranged(ours, source.port(value, layout), layout)
    except LayoutError as error:
        return bool(error.layouts)
    return True


def _chosen(name: str | None, names: Sequence[str], what: str, default: str | None = None) -> str:
    """The name, which must be one of ``names``; None is the default."""
    if name is None and default is not None:
        return default
    if name not in names:
        raise ValueError(f"{what} {name!r}{nearest(str(name), names)}; it has {', '.join(names)}")
    return str(name)


def _ours(graph: Graph, name: str) -> Port:
    return _port(name, graph.outputs[name], graph, graph.about.get(name, About()).axes)


def _port(name: str, value: Value, graph: Graph, axes: tuple[str, ...] | None) -> Port:
    rank = len(value.shape)
    return Port(name, value.shape, graph.name, axes or AXES.get(rank, tuple(f"axis_{axis}" for axis in range(rank))))
