"""A front end and a model as two steps, the first in onnxruntime, the second in onnxruntime, numpy in between."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.export.connect import Connection
from specgraph.graph import Graph
from specgraph.op import Array


@dataclass(frozen=True)
class Apart:
    """What the joined model is to give for its inputs, which are named in ``takes``.

    ``run`` runs the graph by itself and ``model`` the model, whose inputs are ``names``; ``called`` is what the graph's ends are
    called in the joined model; ``after`` says which of the two comes first.
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
        by_input = {one.ours.name: one.arrangement.back().numpy(found[one.theirs.name]).astype(np.float32) for one in self.connections}
        made = self.run(tuple(by_input[value.op.label] for value in self.graph.inputs))
        if not self.keep:
            found = {name: array for name, array in found.items() if name not in {one.theirs.name for one in self.connections}}
        return found | {self.called[name]: array for name, array in made.items()}

    @staticmethod
    def _to_model(one: Connection, array: Array) -> Array:
        return np.ascontiguousarray(one.arrangement.numpy(array).astype(one.dtype.numpy()))
