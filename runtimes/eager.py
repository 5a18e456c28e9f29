"""torch: the file's graph, rebuilt from its metadata."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy.typing as npt

from specgraph.metadata import Metadata
from specgraph.runtimes.base import Runner, RuntimeUnavailable
from specgraph.runtimes.described import check_described


class TorchRunner(Runner):
    """A file in torch, with the interface of the others; ``specgraph.load(path, device="torch")`` makes it."""

    def __init__(self, path: str, meta: Metadata, device: str, check_finite: bool) -> None:
        super().__init__(path, meta, check_finite)
        try:
            import torch
        except ImportError:
            raise RuntimeUnavailable("torch is not installed: pip install torch, or use device='cpu'") from None
        from specgraph.export.read import read_graph
        from specgraph.op import Input

        _, _, place = device.partition(":")
        if place.startswith("cuda") and not torch.cuda.is_available():
            raise RuntimeUnavailable("torch finds no CUDA device here; use device='torch' or 'cpu'")
        graph = read_graph(path)
        self.module = graph.module().to(place or "cpu").eval()
        self.device = device
        self._place, self._process = place or "cpu", os.getpid()
        self.input_names = tuple(value.op.label for value in graph.inputs)
        self.input_sizes = tuple(value.op.sizes for value in graph.inputs if isinstance(value.op, Input))
        self.output_names = tuple(graph.outputs)
        self.input_types = tuple("float32" if value.dtype == "float" else value.dtype for value in graph.inputs)
        self.output_types = tuple(map(graph.gives, graph.outputs))
        self.output_sizes = tuple(tuple(size if isinstance(size, int) else str(size) for size in value.shape) for value in graph.outputs.values())
        check_described(path, meta, self.output_names, self.output_sizes)

    def _run(self, arrays: list[npt.NDArray[Any]]) -> list[Any]:
        import torch

        return [tensor.cpu().numpy() for tensor in self._features([torch.from_numpy(array) for array in arrays])]

    def _run_on_device(self, tensors: list[Any]) -> list[Any]:
        return [output.to(tensors[0].device) for output in self._features(tensors)]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_process"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _process=os.getpid())

    def _features(self, tensors: list[Any]) -> list[Any]:
        import torch

        with torch.no_grad(), nullcontext() if self._process == os.getpid() else _one_thread():
            result = self.module.outputs(*(tensor.to(self._place) for tensor in tensors))
        return [result[name].to(getattr(torch, dtype)) for name, dtype in zip(self.output_names, self.output_types, strict=True)]


@contextmanager
def _one_thread() -> Iterator[None]:
    """One thread for torch: its others do not survive a fork, and what is run on them would wait for good."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
