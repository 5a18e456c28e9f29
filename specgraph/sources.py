"""The graph of whatever has one: a transform, a preset, a module."""

from __future__ import annotations

from typing import Any

from specgraph.graph import Graph


def as_graph(source: Any, call: str = "to_onnx") -> Graph:
    """The graph of whatever can be exported; a ``TypeError`` says what ``call`` takes."""
    if isinstance(source, Graph):
        return source
    graph = None if isinstance(source, type) else getattr(source, "graph", None)
    if callable(graph):
        graph = graph()
    if isinstance(graph, Graph):
        return graph
    if isinstance(source, type):
        raise TypeError(f"{call} takes a transform with its parameters: {source.__name__}(...), not the class")
    raise TypeError(
        f"{call} takes a specgraph transform, graph or module, not {type(source).__module__}.{type(source).__qualname__}"
    )
