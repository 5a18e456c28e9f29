"""specgraph itself: the exported file in onnxruntime, with the lowering that is chosen or another, and the torch module."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from specgraph.bench.work import Ready, Work

OWN = "specgraph"
PLAIN = "specgraph in plain onnxruntime"


def exported(work: Work, prefer: dict[str, str] | None = None) -> bytes:
    """The file that ``to_onnx`` writes, verified."""
    from specgraph import to_onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        to_onnx(work.transform, path, target=work.device, prefer=prefer)
        return path.read_bytes()


def lowerings(work: Work) -> list[tuple[str, str]]:
    """Every (compound op, lowering) that the transform could be computed with on the device, the chosen ones apart."""
    from specgraph import lower
    from specgraph.compound import Compound

    graph = work.transform.graph()
    chosen = lower(graph, work.device).choices
    taken = {(choice.op, choice.chosen) for choice in chosen}
    found: dict[tuple[str, str], None] = {}
    for value in graph.values():
        op = value.op
        if isinstance(op, Compound):
            prices = next((choice.prices for choice in chosen if choice.op == str(op)), {})
            names = [name for name, seconds in prices.items() if seconds is not None and (str(op), name) not in taken]
            found |= dict.fromkeys((type(op).__name__, name) for name in names)
    return list(found)


def in_runner(data: bytes, work: Work) -> Ready:
    """specgraph's file as ``specgraph.load`` runs it on a CPU: with its checks, and large inputs in parts."""
    from specgraph import load

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(data)
        return Ready(load(path, threads=work.threads), size=len(data))


def in_onnxruntime(data: bytes, work: Work) -> Ready:
    """A model in plain onnxruntime: the same session options for specgraph's file and for other graphs."""
    from specgraph.runtimes.session import session

    if work.device == "cpu":
        made = session(data, "cpu", work.threads)
        (name,) = (node.name for node in made.get_inputs())
        return Ready(lambda waves: made.run(None, {name: waves})[0], size=len(data))
    import torch

    made = session(data, "cuda", cuda={"use_tf32": str(int(work.tf32)), "user_compute_stream": str(work.stream)})
    return Ready(_bound(made), torch.from_dlpack, len(data))


def _bound(session: Any) -> Any:
    """Runs a session on torch tensors where they are; outputs stay on the GPU."""
    import onnxruntime

    (name,) = (node.name for node in session.get_inputs())
    output = session.get_outputs()[0].name

    def run(waves: Any) -> Any:
        binding = session.io_binding()
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.from_dlpack(waves))
        binding.bind_output(output, "cuda", waves.device.index)
        session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    return run


def torch_module(work: Work) -> Ready:
    """The same graph as a torch module, as it is trained."""
    from specgraph.bench.peers_torch import in_torch

    return in_torch(work.transform.module(), work)
