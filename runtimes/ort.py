"""onnxruntime, on a CPU or CUDA."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph import prices
from specgraph.metadata import Metadata
from specgraph.runtimes import slices, split
from specgraph.runtimes.base import AHEAD, Runner, RuntimeUnavailable
from specgraph.runtimes.denormals import without_denormals
from specgraph.runtimes.described import check_described
from specgraph.runtimes.pinned import PinnedModel
from specgraph.runtimes.session import first_line, onnxruntime_module, session
from specgraph.runtimes.workers import available_cores, in_worker, ordered, pool, run_options
from specgraph.shapes import time_axis

Array = npt.NDArray[np.float32]

# Of the largest value in a graph. On a CPU, what one op wrote and the next finds in the cache; on a GPU, what bounds its memory.
MOST_BYTES, MOST_BYTES_CUDA = 2.5e6, 1e9
# What onnxruntime calls the types, and what numpy does.
TYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(int16)": "int16", "tensor(int32)": "int32",
    "tensor(int64)": "int64", "tensor(bool)": "bool",
}  # fmt: skip
FOLDER_OF_TENSORS = "session.model_external_initializers_file_folder_path"  # that names in a model's bytes are relative to
DECODERS = 2  # threads that read files for a GPU


class OrtRunner(Runner):
    """A file in onnxruntime; ``specgraph.load`` makes it.

    A copy, and what a pickle gives, holds the same bytes of the file and has sessions of its own. After a fork the child
    makes its sessions again when it first runs, on a CPU: threads do not survive a fork, nor does CUDA.
    """

    def __init__(
        self, model: PinnedModel, meta: Metadata, device: str, threads: int | None, check_finite: bool, most_bytes: float | None
    ) -> None:
        super().__init__(model.path, meta, check_finite)
        self.device = f"{device}:0" if device == "cuda" else device
        self.most_bytes = most_bytes or (MOST_BYTES_CUDA if device != "cpu" else prices.read().get("cpu", {}).get("most_bytes", MOST_BYTES))
        self.workers = (threads or available_cores()) if device == "cpu" else DECODERS
        self._model, self._threads = model, threads
        self._forked = False
        self._begin()
        inputs, outputs = self.session.get_inputs(), self.session.get_outputs()
        self.input_names = tuple(node.name for node in inputs)
        self.input_sizes = tuple(tuple(node.shape) for node in inputs)
        self.output_names = tuple(node.name for node in outputs)
        self.output_sizes = tuple(tuple(node.shape) for node in outputs)
        self.input_types = tuple(TYPES.get(node.type, node.type) for node in inputs)
        self.output_types = tuple(TYPES.get(node.type, node.type) for node in outputs)
        check_described(self.path, meta, self.output_names, self.output_sizes)
        _runners.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        how = self.device, self._threads, self._check_finite, self.most_bytes
        return type(self), (self._model, self.meta, *how)

    @property
    def session(self) -> Any:
        """The ``onnxruntime.InferenceSession`` of the whole file."""
        return self._session(False)

    def _begin(self) -> None:
        self._sessions: dict[tuple[Any, ...], Any] = {}
        self._making = threading.Lock()
        self._pool = pool(self.workers)

    def after_fork(self) -> None:
        """Begin again in a child process, whose sessions and pool have lost their threads."""
        for made in self._sessions.values():  # to end a session is to wait for its threads: these are kept for good
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
        self._forked = True
        self._begin()

    def _session(self, one_thread: bool, part: Callable[..., bytes] | None = None, *names: Sequence[str]) -> Any:
        """A session of the file, or of a part of it, made when it is first wanted."""
        threads = 1 if one_thread and self.device == "cpu" else self._threads
        key = (threads, part, *map(tuple, names))
        with self._making:
            if key not in self._sessions:
                if self._forked and self.device != "cpu":
                    raise RuntimeUnavailable(
                        f"{self.path} was loaded on {self.device} before a fork, which CUDA does not survive; start processes by spawn"
                    )
                data = self._model.data if part is None else part(self._model.data, *names)
                entries = {FOLDER_OF_TENSORS: self._model.folder} if self._model.files else None
                with self._model.unchanged():
                    self._sessions[key] = session(data, self.device, threads, entries, path=self.path)
            return self._sessions[key]

    def _run(self, arrays: list[Array]) -> list[Any]:
        alone = in_worker()
        many = not alone and self.device == "cpu" and self.workers > 1
        axis = time_axis(self.input_sizes[0])
        shape = arrays[0].shape
        cores = self.workers if many else 1
        plan = [] if axis is None else slices.parts(self.meta, shape[0], shape[axis], self.most_bytes, self.takes_waveforms, cores)
        if len(plan) < 2:
            return self._at_once(self._session(alone), self.input_names, arrays)
        # Parts on all cores at once, each on one thread: it waits for nobody, and finds its data in its own core's cache.
        each = partial(ordered, threads=self._pool, ahead=AHEAD * self.workers) if many else map
        cut, one = self.meta.slicing.cut, many or alone
        if plan[0].stop is None or not cut:
            run = partial(self._at_once, self._session(one), self.input_names)
            lengths = arrays[1] if self.takes_lengths else None
            return slices.joined(plan, arrays, run, [self.meta.outputs[name] for name in self.output_names], each, lengths)
        bounded = {name: output for name, output in self.meta.outputs.items() if output.before is not None} | cut
        rest = {name: output for name, output in self.meta.outputs.items() if output.before is None}
        run = partial(self._at_once, self._session(one, split.before, list(bounded)), self.input_names)
        found = dict(zip(bounded, slices.joined(plan, arrays, run, list(bounded.values()), each), strict=True))
        run = partial(self._at_once, self._session(one, split.after, list(cut), list(rest)), list(cut))
        clips = [slices.Part(slice(clip, clip + 1)) for clip in range(shape[0])]
        found |= zip(rest, slices.joined(clips, [found[name] for name in cut], run, list(rest.values()), each), strict=True)
        return [found[name] for name in self.output_names]

    def _at_once(self, made: Any, names: Sequence[str], arrays: list[Array]) -> list[Any]:
        try:
            feed = dict(zip(names, arrays, strict=True))
            return list(without_denormals(partial(made.run, None, feed, run_options())))
        except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(names, arrays, strict=True))
            raise ValueError(f"{self.path} cannot be run on {shapes}: {first_line(error)}") from None

    def _run_on_device(self, tensors: list[Any]) -> list[Any]:
        """No copy: the tensors' memory is bound as it is, and the outputs stay where onnxruntime wrote them."""
        if not self.device.startswith("cuda"):
            return super()._run_on_device(tensors)
        tensor = tensors[0]
        torch, onnxruntime = sys.modules["torch"], onnxruntime_module()
        if str(tensor.device) != self.device:
            raise ValueError(f"the waveforms are on {tensor.device} and the session on {self.device}; move one")
        torch.cuda.current_stream(tensor.device).synchronize()  # onnxruntime has a stream of its own
        session = self.session
        binding = session.io_binding()
        for name, given in zip(self.input_names, tensors, strict=True):
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.from_dlpack(given))
        for name in self.output_names:
            binding.bind_output(name, "cuda", tensor.device.index)
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [torch.from_dlpack(output) for output in binding.get_outputs()]


_runners: weakref.WeakSet[OrtRunner] = weakref.WeakSet()


def _after_fork() -> None:
    for runner in list(_runners):
        runner.after_fork()
    process = ctypes.CDLL(None)
    # onnxruntime 1.31 waits for a thread of its parent where a forked process ends by exit(). What Python does at its end is
    # done by then, so the process ends there, as multiprocessing's do.
    if _runners and hasattr(process, "on_exit"):
        process.on_exit(process._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
