"""How a clip may be cut into pieces that give what the whole gives: from the reach of the graph, and of its lowerings."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import onnx_ir as ir

from specgraph.cost import FLOAT
from specgraph.dims import Dim, evaluate
from specgraph.export.describe import TIME_AXIS, described
from specgraph.graph import About, Graph, clip_by_clip
from specgraph.lowering import SECONDS
from specgraph.metadata import Slicing
from specgraph.op import Constant, Input, Value
from specgraph.ops.layout import is_time
from specgraph.ragged import has_lengths
from specgraph.reach import WHOLE_CLIP, Reach, common_step, margins


def cut(graph: Graph) -> dict[str, Value]:
    """The last values that read a bounded stretch of the clip, where some output looks at all of it; nothing if that is no help.

    The names are those that they have in the file.
    """
    reach = graph.reach()
    if all(_finite(reach, value) for value in graph.outputs.values()):
        return {}
    last = dict.fromkeys(
        operand
        for value in graph.values()
        if value in reach and not reach[value].finite
        for operand in value.inputs
        if _finite(reach, operand)
    )
    if any(isinstance(value.op, Input) or not _along_the_clip(value) for value in last) or len(graph.inputs) > 1:
        return {}
    # In half precision an output is not what the rest reads.
    outputs = {value: name for name, value in graph.outputs.items() if graph.gives(name) != "float16"}
    return {outputs.get(value, f"before_the_whole_clip_{number}"): value for number, value in enumerate(last)}


def slicing(graph: Graph, lowered: Graph, model: ir.Model, last: Mapping[str, Value]) -> Slicing:
    """The pieces that a file may be run in: ``model``, made of ``lowered``; ``last`` is what ``cut`` found in ``graph``.

    Where a frame depends on the whole clip, and nothing large comes before that, only batches can be cut.
    """
    if not all(map(clip_by_clip, graph.values())):
        return Slicing()
    reach = graph.reach()
    held = bytes_a_step(lowered)
    if not held:  # no size varies
        return Slicing()
    if has_lengths(graph):  # a piece does not know where its clip ends
        return Slicing(bytes=held)
    bounded = {name: value for name, value in graph.outputs.items() if _finite(reach, value)}
    whole = graph.outputs.keys() - bounded.keys()
    first = next((str(value.op) for value in graph.values() if not _finite(reach, value) and value in reach), "")
    if whole and not (last and _separates(model, last.keys(), whole)):
        return Slicing(bytes=held, whole=first)
    bounded |= last
    approximate = any(choice.tolerance is not None for choice in lowered.choices)
    before, after = margins([reach[value] for value in bounded.values()], approximate)
    return Slicing(
        step=common_step(reach.values()),
        before=before,
        after=after,
        bytes=held,
        cut={name: described(value, reach[value], About()) for name, value in last.items()},
        whole=first,
    )


def _separates(model: ir.Model, names: Collection[str], whole: Collection[str]) -> bool:
    """Whether the outputs named in ``whole`` are made of the values of these names alone, not of the model's inputs."""
    left: list[ir.Value | None] = [value for value in model.graph.outputs if value.name in whole]
    seen: set[ir.Value | None] = {None}
    while left:
        value = left.pop()
        if value is None or value in seen or value.name in names:
            continue
        seen.add(value)
        if value in model.graph.inputs:
            return False
        producer = value.producer()
        left += producer.inputs if producer is not None else []
    return True


def _finite(reach: Mapping[Value, Reach], value: Value) -> bool:
    return reach.get(value, WHOLE_CLIP).finite


def _along_the_clip(value: Value) -> bool:
    """Whether a value is laid out as outputs are: the batch in front, and one axis along the clip where it is looked for."""
    places = [axis for axis, size in enumerate(value.shape) if is_time(size)]
    return len(places) == 1 and places[0] == TIME_AXIS.get(len(value.shape))


def bytes_a_step(lowered: Graph) -> float:
    """Bytes of the largest value, for each step along a clip of ten seconds, to which a model may cut or fill up what is given."""
    steps = int(SECONDS * lowered.sample_rate)
    sizes = dict.fromkeys(lowered.axes(), steps) | {"batch": 1}
    shapes = [
        evaluate(value.shape, sizes)
        for value in lowered.values()
        if not isinstance(value.op, Constant) and any(isinstance(size, Dim) for size in value.shape)
    ]
    return FLOAT * max(map(math.prod, shapes), default=0) / steps
