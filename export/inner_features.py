"""Features inside of a whole model: what its file makes of them, held against what its front ends define.

A torch model and its file differ by more than their layers do where a front end divides by what is next to nothing, as one that
normalises quiet bands: the rounding of float32 is then a thousand times what it is elsewhere, in torch as in the file. How much of that
a front end may do is known, and so the two are compared in parts: what front ends are given and what they make of it, and what the
layers behind them make of the same features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import onnx_ir as ir

from specgraph.export.compare import TORCH, Run, differences, relative
from specgraph.export.emit import emit, serialized
from specgraph.export.join import DOMAIN, join, stand_in_type
from specgraph.export.layer_rounding import layer_rounding
from specgraph.export.report import VerificationError
from specgraph.export.torch_export import Exported
from specgraph.export.verification import explained, with_allowances
from specgraph.graph import Graph
from specgraph.lowering import Choice, lower
from specgraph.op import Array

Arrays = tuple[Array, ...]


@dataclass(frozen=True)
class Call:
    """A call of a front end: its number, what it was given, and what it made of that, in the order of its graph."""

    number: int
    given: Arrays
    made: Arrays


@dataclass(frozen=True)
class InnerFeatures:
    """A torch model on the features that its file has.

    ``front_ends`` are its modules and ``graphs`` what they define, each with how the file builds it, ``choices``. ``torch`` computes
    the model's outputs by name, ``file`` the calls of front ends in the file, in order.
    """

    front_ends: tuple[Any, ...]
    graphs: tuple[Graph, ...]
    choices: tuple[tuple[Choice, ...], ...]
    torch: Run
    file: Callable[[Arrays], tuple[Call, ...]]
    tolerance: float

    def __call__(self, inputs: Arrays) -> dict[str, Array] | None:
        """The outputs, where the file's features and the torch model's own are within what the front ends may be off by.

        None where the torch model calls its front ends otherwise than the file does, so that nothing can be said.

        Raises:
            VerificationError: features are beyond that, or a front end is given something else in the file than in the torch model.
        """
        held = self.file(inputs)
        with _computed_by(self.front_ends, held) as calls:
            outputs = self.torch(inputs)
        if Counter(call.number for call in calls) != Counter(call.number for call in held):
            return None
        by_number = attrgetter("number")
        for theirs, ours in zip(sorted(calls, key=by_number), sorted(held, key=by_number), strict=True):
            self._check(theirs, ours)
        return outputs

    def rounding(self, inputs: Arrays) -> dict[str, float]:
        """By how much each output may differ, on the features that the file has, by the rounding of the layers."""
        held = self.file(inputs)

        def on_features() -> dict[str, Array]:
            with _computed_by(self.front_ends, held):
                return self.torch(inputs)

        return layer_rounding(on_features)

    def _check(self, theirs: Call, ours: Call) -> None:
        number, graph = ours.number, self.graphs[ours.number]
        for value, got, wanted in zip(graph.inputs, ours.given, theirs.given, strict=True):
            share = relative(differences(got, wanted), wanted) if got.shape == wanted.shape else np.inf
            if not share <= self.tolerance:
                raise VerificationError(
                    f"{value.op.label} of {graph.name}, before any feature is computed, differs from {TORCH} by {share:.1e} of its peak, "
                    f"and {self.tolerance:.1e} is allowed"
                )
        module = self.front_ends[number]
        in_torch = lower(module.definition, "torch", module.prefer).choices
        changed = "; what is no parameter of a front end must stay as it was made"
        for made_by, call, choices, hint in (("the file", ours, self.choices[number], ""), (TORCH, theirs, in_torch, changed)):
            defined, allowed = with_allowances(graph, call.given, choices)
            for (name, value), made in zip(graph.outputs.items(), call.made, strict=True):
                share = explained(value, made, defined[name], allowed[name])
                if not share <= 1:
                    raise VerificationError(
                        f"{name} of {graph.name} in {made_by} are {share:.2g} times as far from their float64 definition as they may be{hint}"
                    )


def inner_features(
    exported: Exported, graphs: Sequence[Graph], lowered: Sequence[Graph], torch: Run, runner: Callable[[bytes], Run], tolerance: float
) -> InnerFeatures:
    """For a model as it was exported, before front ends are put in; ``runner`` loads a file.

    The file that gives the features is made when they are first asked for: most models never need it.
    """
    model = exported.model.clone()
    opset = int(model.graph.opset_imports[""])
    return InnerFeatures(
        exported.front_ends,
        tuple(graphs),
        tuple(graph.choices for graph in lowered),
        torch,
        _Calls(model, tuple(lowered), runner, opset),
        tolerance,
    )


class _Calls:
    """What front ends are given in a file, and make of it: the same file, with that as its only outputs."""

    def __init__(self, model: ir.Model, lowered: tuple[Graph, ...], runner: Callable[[bytes], Run], opset: int) -> None:
        self._model, self._lowered, self._runner, self._opset = model, lowered, runner, opset
        self._places: list[tuple[int, list[int], list[int]]] = []
        self._run: Run | None = None

    def __call__(self, inputs: Arrays) -> tuple[Call, ...]:
        if self._run is None:
            data = self._file()
            self._run = self._runner(data) if self._places else _nothing  # calls in a branch or a loop are not looked for
        arrays = [*inputs, *self._run(inputs).values()]
        return tuple(Call(number, _at(arrays, given), _at(arrays, made)) for number, given, made in self._places)

    def _file(self) -> bytes:
        graph = self._model.graph
        numbers = {stand_in_type(number): number for number in range(len(self._lowered))}
        place = {value: number for number, value in enumerate(graph.inputs)}
        graph.outputs.clear()
        for node in graph:
            if node.domain != DOMAIN:
                continue
            part = self._lowered[number := numbers[node.op_type]]
            for value, like in zip((*node.inputs, *node.outputs), (*part.inputs, *part.outputs.values()), strict=True):
                assert value is not None
                if value not in place:
                    place[value] = len(graph.inputs) + len(graph.outputs)
                    value.shape = ir.Shape([None] * len(like.shape))
                    graph.outputs.append(value)
            self._places.append((number, [place[v] for v in node.inputs if v is not None], [place[v] for v in node.outputs]))
        return serialized(join(self._model, [emit(one, self._opset) for one in self._lowered]))


def _at(arrays: Sequence[Array], places: Sequence[int]) -> Arrays:
    return tuple(arrays[place] for place in places)


def _nothing(inputs: Arrays) -> dict[str, Array]:
    return {}


@contextmanager
def _computed_by(front_ends: Sequence[Any], held: Sequence[Call]) -> Iterator[list[Call]]:
    """While a torch model runs, its front ends give what they make in ``held``; the calls, with what they would have given."""
    import torch

    calls: list[Call] = []
    left = {number: iter([call for call in held if call.number == number]) for number in range(len(front_ends))}

    def replaced(number: int, own: Callable[[Any], list[Any]]) -> Callable[[Any], list[Any]]:
        def run(tensors: Any) -> list[Any]:
            made = own(tensors)
            calls.append(Call(number, tuple(tensor.numpy() for tensor in tensors), tuple(tensor.numpy() for tensor in made)))
            call = next(left[number], None)
            if call is None or [array.shape for array in call.made] != [tuple(tensor.shape) for tensor in made]:
                return made
            return [torch.from_numpy(array) for array in call.made]

        return run

    for number, module in enumerate(front_ends):
        module._run = replaced(number, module._run)
    try:
        yield calls
    finally:
        for module in front_ends:
            del module._run
