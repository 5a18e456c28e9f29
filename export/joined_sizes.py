"""The sizes of a joined model's inputs: which vary, which are fixed by the other part, which follow from others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from specgraph.dims import Dim
from specgraph.export.connect import Connection
from specgraph.export.emit import DTYPES
from specgraph.export.foreign import Foreign, known
from specgraph.export.made_inputs import InputSpec
from specgraph.export.torch_export import Axes
from specgraph.graph import Graph
from specgraph.op import Array, Input

BATCH = Dim("batch")
TRIED = 2, 1  # clips of a batch, until a model works
SECONDS = 1, 5, 30  # of a clip, or hundreds of frames
FRAMES = 100


@dataclass(frozen=True)
class JoinedSizes:
    """The inputs of a joined model, and the sizes in them that are known from others; ``sample_rate`` is that of a first input of waveforms."""

    specs: tuple[InputSpec, ...]
    derived: Mapping[str, Dim | int]
    sample_rate: int | None

    @property
    def axes(self) -> Axes:
        """The axes of the first input that vary: the batch, and the one along the clip."""
        sizes = self.specs[0].sizes
        named = [axis for axis, size in enumerate(sizes) if isinstance(size, str)]
        first = {axis: str(sizes[axis]) for axis in dict.fromkeys([*named[:1], *named[-1:]]) if sizes[axis] not in self.derived}
        return first, *({} for _ in self.specs[1:])

    def tried(self, example: Array | None) -> list[dict[str, int]]:
        """Sizes at which the model may work, the best to compare at first; those of an example of the first input, where there is one."""
        if example is not None:
            return [{name: example.shape[axis] for axis, name in self.axes[0].items()}]
        varying = self.axes[0].values()
        lengths = [second * (self.sample_rate or FRAMES) for second in SECONDS]
        found = [{name: batch if name == "batch" else length for name in varying} for batch in TRIED for length in lengths]
        return [sizes for number, sizes in enumerate(found) if sizes not in found[:number]]

    def fixed(self, numbers: Mapping[str, int]) -> JoinedSizes:
        """The same with some sizes as numbers."""
        specs = [
            InputSpec(spec.name, spec.dtype, tuple(numbers.get(size, size) if isinstance(size, str) else size for size in spec.sizes))
            for spec in self.specs
        ]
        return JoinedSizes(tuple(specs), self.derived, self.sample_rate)


def sizes_before(
    graph: Graph, source: Foreign, names: Sequence[str], connections: Sequence[Connection], called: Mapping[str, str], examples: Mapping[str, Array]
) -> JoinedSizes:
    """For a front end in front of a model that took ``names``; ``called`` is what the front end's inputs are called in the joined model.

    Where the model takes one number of frames, clips are as long as in ``examples``, or the shortest that give so many.
    """
    asked = _sizes_of(graph, called, examples)
    fixed: dict[str, int] = {}
    derived: dict[str, Dim | int] = {}
    batches: set[str] = set()
    for one in connections:
        if BATCH in one.ours.sizes and one.ours.sizes.index(BATCH) not in one.arrangement.order:
            fixed["batch"] = 1
        for place, axis in enumerate(one.arrangement.order):
            our, their = (1 if axis is None else one.ours.sizes[axis]), one.theirs.sizes[place]
            if isinstance(our, Dim) and isinstance(their, int):
                _fix(fixed, our, their, one, asked.get(our.root))
            elif our == BATCH and isinstance(their, str):
                batches.add(their)
            elif isinstance(our, Dim | int):
                derived[_free(their, graph.axes()) if isinstance(their, str) else f"axis {place} of {one.theirs.name}"] = our
    specs = []
    for value in graph.inputs:
        assert isinstance(value.op, Input)
        sizes = tuple(fixed.get(size, size) if isinstance(size, str) else size for size in value.op.sizes)
        specs.append(InputSpec(called[value.op.name], DTYPES[value.dtype], sizes))
    left = {*names} - {one.theirs.name for one in connections}
    specs += _others([value for value in source.model.graph.inputs if value.name in left], batches, derived, fixed.get("batch", "batch"), graph.axes())
    return JoinedSizes(tuple(specs), derived, graph.sample_rate if graph.takes_waveforms else None)


def sizes_after(source: Foreign, names: Sequence[str]) -> JoinedSizes:
    """For a model with something behind it: the sizes of its own inputs, which are ``names``."""
    rate = None if source.metadata is None else source.metadata.sample_rate
    values = [value for value in source.model.graph.inputs if value.name in names]
    return JoinedSizes(tuple(_others(values, set(), {}, "batch", ())), {}, rate)


def _sizes_of(graph: Graph, called: Mapping[str, str], examples: Mapping[str, Array]) -> dict[str, int]:
    """The sizes along the clip of the examples of a graph's own inputs, by name."""
    found: dict[str, int] = {}
    for value in graph.inputs:
        assert isinstance(value.op, Input)
        array = examples.get(called[value.op.name])
        if array is not None and array.ndim == len(value.op.sizes):
            found |= {size: array.shape[axis] for axis, size in enumerate(value.op.sizes) if isinstance(size, str) and size != "batch"}
    return found


def _fix(fixed: dict[str, int], size: Dim, wanted: int, one: Connection, asked: int | None) -> None:
    """The size of the root at which ``size`` is what a model wants: the one that is asked for, or the least."""
    least = size.least(wanted)
    root = least if asked is None else asked
    if size.at(least) != wanted or fixed.get(size.root, root) != root:
        raise ValueError(f"{one.theirs} takes {wanted} only, and {one.ours} never has {size} = {wanted}")
    if size.at(root) != wanted:
        raise ValueError(
            f"{one.theirs} takes {wanted} only, and {root} {size.root}, as in examples, give {size.at(root)}; "
            f"from {least} to {_most(size, least)} give {wanted}"
        )
    fixed[size.root] = root


def _most(size: Dim, least: int) -> int:
    """The largest root size at which ``size`` is what it is at ``least``; ``least`` itself where there is no largest one."""
    try:
        return max(size.least(size.at(least) + 1) - 1, least)
    except ValueError:
        return least


def _others(values: Sequence[ir.Value], batches: set[str], derived: Mapping[str, Dim | int], batch: int | str, others: Collection[str]) -> list[InputSpec]:
    """A model's own inputs: the first axis is the batch where it varies and nothing else is known of it; ``others`` are names of other sizes."""
    for value in values:
        first = known(value.shape[0]) if value.shape is not None and len(value.shape) else 0
        if isinstance(first, str) and _free(first, others) not in derived:
            batches.add(first)
    specs = []
    for value in values:
        sizes: list[int | str] = []
        for axis, size in enumerate(map(known, value.shape or ())):
            if isinstance(size, int):
                sizes.append(size)
            elif size in batches or (not axis and size in (None, "batch")):
                sizes.append(batch)
            else:
                sizes.append(f"{value.name}_axis_{axis}" if size is None else _free(size, others))
        specs.append(InputSpec(str(value.name), ir.DataType(value.dtype or ir.DataType.FLOAT), tuple(sizes)))
    return specs


def _free(name: str, others: Collection[str]) -> str:
    """The name of a size of the model's own, which another size may have."""
    return f"{name}_" if name in others else name
