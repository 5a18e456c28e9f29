"""A front end and a model as two steps, the first in onnxruntime, the second in onnxruntime, numpy in between."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from specgraph.export.compare import SIGNALS, Sizes, differences, relative
from specgraph.export.connect import Connection
from specgraph.graph import Graph
from specgraph.op import Array


@dataclass(frozen=True)
class Apart:
    """What the joined model is to give for its inputs, which are named in ``takes``.

    ``run`` runs the graph by itself and ``model`` the model, whose inputs are ``names``; ``called`` is what the graph's ends are
    called in the joined model; ``after`` says which of the two comes first. Numbers of 16 bits between the two are ``moved`` to a
    neighbour: up or down, where those infinities are, one after the other.
    """

    graph: Graph
    run: Any
    model: Any
    names: tuple[str, ...]
    connections: tuple[Connection, ...]
    called: Mapping[str, str]
    after: bool
    keep: bool
    takes: tuple[str, ...]
    moved: tuple[float, ...] = ()

    def __call__(self, arrays: tuple[Array, ...]) -> dict[str, Array]:
        """The outputs by name."""
        given = dict(zip(self.takes, arrays, strict=True))
        return self._after(given) if self.after else self._before(given)

    def _before(self, given: dict[str, Array]) -> dict[str, Array]:
        features = self.run(tuple(given[self.called[value.op.label]] for value in self.graph.inputs))
        fed = {one.theirs.name: self._to_model(one, features[one.ours.name]) for one in self.connections}
        found: dict[str, Array] = self.model(tuple((given | fed)[name] for name in self.names))
        kept = {self.called[one.ours.name]: fed[one.theirs.name] for one in self.connections if self.keep}
        return found | kept

    def _after(self, given: dict[str, Array]) -> dict[str, Array]:
        found: dict[str, Array] = self.model(tuple(given[name] for name in self.names))
        between = {one.ours.name: self._neighbours(found[one.theirs.name]) for one in self.connections}
        by_input = {one.ours.name: one.arrangement.back().numpy(between[one.ours.name]).astype(np.float32) for one in self.connections}
        made = self.run(tuple(by_input[value.op.label] for value in self.graph.inputs))
        if not self.keep:
            found = {name: array for name, array in found.items() if name not in {one.theirs.name for one in self.connections}}
        return found | {self.called[name]: array for name, array in made.items()}

    def rounding(self, made: Callable[[str, Sizes], tuple[Array, ...]], sizes: Sizes) -> float:
        """What rounding to 16 bits in between may make of the outputs, as a fraction of an output's peak: onnxruntime leaves it out
        where it computes in 32 bits on both sides.
        """
        largest = 0.0
        for name in SIGNALS:
            arrays = made(name, sizes)
            wanted = self(arrays)
            for moved in ((np.inf,), (-np.inf,), (np.inf, -np.inf)):
                got = replace(self, moved=moved)(arrays)
                largest = max([largest, *(relative(differences(got[output], array), array) for output, array in wanted.items())])
        return largest

    def _to_model(self, one: Connection, array: Array) -> Array:
        return np.ascontiguousarray(self._neighbours(one.arrangement.numpy(array).astype(one.dtype.numpy())))

    def _neighbours(self, array: Array) -> Array:
        if not self.moved or array.dtype != np.float16:
            return array
        return np.nextafter(array, np.resize(np.array(self.moved, np.float16), array.shape))
