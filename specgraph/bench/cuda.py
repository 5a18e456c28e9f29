"""Timing on CUDA: torch's events on one stream, on which onnxruntime is made to work too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from specgraph.bench.timing import Lap


def checked_device(device: str) -> str:
    """``"cpu"`` or ``"cuda"``; raises in a sentence where CUDA cannot be used."""
    if device == "cpu":
        return device
    if device != "cuda":
        raise ValueError(f"device must be cpu or cuda, not {device!r}")
    import torch

    from specgraph.runtimes import RuntimeUnavailable

    if not torch.cuda.is_available():
        why = "it was built without CUDA" if torch.version.cuda is None else "it finds no GPU"
        raise RuntimeUnavailable(
            f"the benchmark on cuda needs a torch that can use a GPU, and torch {torch.__version__} cannot: {why}"
        )
    return device


def free() -> int:
    """Bytes of the GPU's memory that are free, those that torch holds in reserve not counted."""
    import torch

    return int(torch.cuda.mem_get_info()[0])


@contextlib.contextmanager
def precision(tf32: bool) -> Iterator[None]:
    """torch's matrix products and convolutions with TF32 or without; onnxruntime is told when its session is made."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


class Stream:
    """The stream that everything runs on, and laps of it.

    An event is recorded before and after the run, on the stream; both are waited for, so a lap is the time from the first
    kernel to the last, launches between them included. The wall's time is of the host, from a GPU at rest to the result.
    """

    def __init__(self) -> None:
        import torch

        self._torch: Any = torch
        self._stream: Any = torch.cuda.Stream()

    @property
    def handle(self) -> int:
        """What onnxruntime takes as ``user_compute_stream``."""
        return int(self._stream.cuda_stream)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """torch works on this stream within."""
        with self._torch.cuda.stream(self._stream):
            yield
        self._stream.synchronize()

    def lap(self, run: Callable[[], object]) -> Lap:
        """Time one run."""
        start, end = (self._torch.cuda.Event(enable_timing=True) for _ in range(2))
        self._torch.cuda.synchronize()
        before = time.perf_counter()
        start.record(self._stream)
        result = run()
        end.record(self._stream)
        end.synchronize()
        wall = time.perf_counter() - before
        del result
        return Lap(wall, start.elapsed_time(end) / 1000)
