"""Candidates timed by onnxruntime on this machine, instead of priced."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from specgraph.dims import evaluate
from specgraph.export.emit import emit
from specgraph.graph import Graph

SECONDS = 10.0
ROUNDS = 7
MOST_SAMPLES = 2_000_000


def timed(candidates: Mapping[str, Graph], target: str) -> dict[str, float | None]:
    """Seconds for ten seconds of audio at batch 1 on the target's provider: the least of several alternating rounds.

    On a CPU each is timed on a clip as long as the parts that ``load`` runs it in.

    Raises:
        RuntimeUnavailable: the target's provider is not available here.
    """
    from specgraph.export.slicing import bytes_a_step
    from specgraph.runtimes.ort import MOST_BYTES
    from specgraph.runtimes.session import session

    runs = {}
    for name, graph in candidates.items():
        data = ir.to_proto(emit(graph)).SerializeToString()
        made = session(data, device=target)
        whole = int(SECONDS * graph.sample_rate)
        most = min(MOST_BYTES / (bytes_a_step(graph) or 1), MOST_SAMPLES) if target == "cpu" else MOST_SAMPLES
        samples = max(int(min(whole, most)), graph.least())
        sizes = dict.fromkeys(graph.axes(), 1000) | {"batch": 1, "samples": samples}
        rng = np.random.default_rng(0)
        feed = {
            value.op.label: rng.standard_normal(evaluate(value.shape, sizes)).astype(np.float32)
            if value.dtype == "float"
            else np.zeros(evaluate(value.shape, sizes), np.int16)
            if value.dtype == "int16"
            else np.full(sizes["batch"], sizes["samples"])
            for value in graph.inputs
        }
        runs[name] = made, feed, max(whole / samples, 1.0) if "samples" in graph.axes() else 1.0
    least: dict[str, float | None] = {}
    for _ in range(ROUNDS):
        for name, (made, feed, times) in runs.items():
            start = time.perf_counter()
            made.run(None, feed)
            seconds = times * (time.perf_counter() - start)
            least[name] = min(seconds, least.get(name) or seconds)
    return least
