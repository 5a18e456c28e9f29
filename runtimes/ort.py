"""onnxruntime, on a CPU or CUDA."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata
from specgraph.runtimes.base import Runner, RuntimeUnavailable

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"

# TF32 puts the noise floor at -80 dB. A cuDNN plan is made anew for every length; the heuristic search is the quickest.
CUDA_OPTIONS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}


def onnxruntime_module() -> Any:
    """onnxruntime, or ``RuntimeUnavailable`` saying how to install it."""
    try:
        import onnxruntime
    except ImportError as error:
        if error.name not in (None, "onnxruntime"):
            raise
        raise RuntimeUnavailable(
            "onnxruntime is not installed: pip install 'specgraph[cpu]', or 'specgraph[gpu]' for NVIDIA"
        ) from None
    return onnxruntime


def session(
    data: bytes,
    device: str = "cpu",
    threads: int | None = None,
    entries: Mapping[str, str] | None = None,
    cuda: Mapping[str, str] | None = None,
    path: str = "the model",
) -> Any:
    """An ``onnxruntime.InferenceSession`` that runs where it was asked to, or ``RuntimeUnavailable``.

    Args:
        data: the model.
        device: "cpu", "cuda" or "cuda:1".
        threads: threads of an operator on the CPU; None leaves it to onnxruntime.
        entries: configuration entries of the session, for measurements.
        cuda: options of the CUDA provider that replace the usual ones, for measurements.
        path: what errors call the model.
    """
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.enable_mem_pattern = False  # patterns are for one shape, and lengths vary
    if threads is not None:
        options.intra_op_num_threads = threads
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    if device == "cpu":
        try:
            return onnxruntime.InferenceSession(data, options, providers=[CPU])
        except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
            raise ValueError(f"{path} is not a model that onnxruntime loads: {_first_line(error)}") from None
    if CUDA not in onnxruntime.get_available_providers():
        raise RuntimeUnavailable(
            f"this onnxruntime {onnxruntime.__version__} has no CUDA provider: "
            "pip uninstall onnxruntime, then pip install 'specgraph[gpu]'"
        )
    if reason := _no_gpu():
        raise RuntimeUnavailable(f"CUDA cannot be used: {reason}")
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does not find; what matters is said below
            onnxruntime.preload_dlls()
    _, _, index = device.partition(":")
    providers = [(CUDA, CUDA_OPTIONS | {"device_id": index or "0"} | dict(cuda or {})), CPU]
    try:
        made = onnxruntime.InferenceSession(data, options, providers=providers)
    except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
        raise RuntimeUnavailable(f"CUDA cannot be used: {_no_library() or _first_line(error)}") from None
    if CUDA not in made.get_providers():  # it fell back to the CPU without a word
        raise RuntimeUnavailable(f"CUDA cannot be used: {_no_library() or 'the CUDA provider did not load'}")
    made.disable_fallback()
    return made


def _no_gpu() -> str | None:
    """Why there is no GPU to use, if that can be told."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1 was not found)"
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return "the NVIDIA driver finds no GPU"
    return None


def _no_library() -> str | None:
    """Which CUDA library is missing, if one is."""
    if not sys.platform.startswith("linux"):
        return None
    for library in ("libcudart.so.13", "libcublas.so.13"):
        try:
            ctypes.CDLL(library)
        except OSError:
            return f"{library} was not found; install CUDA 13, or import a torch that was built for it first"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class OrtRunner(Runner):
    """A file in onnxruntime; ``specgraph.load`` makes it."""

    def __init__(
        self, data: bytes, path: str, meta: Metadata, device: str, threads: int | None, check_finite: bool
    ) -> None:
        super().__init__(path, meta, check_finite)
        self.session = session(data, device, threads, path=path)
        self.device = f"{device}:0" if device == "cuda" else device
        self.input_names = tuple(node.name for node in self.session.get_inputs())
        self.input_sizes = tuple(tuple(node.shape) for node in self.session.get_inputs())
        self.output_names = tuple(node.name for node in self.session.get_outputs())

    def _run(self, arrays: list[npt.NDArray[np.float32]]) -> list[Any]:
        try:
            outputs = self.session.run(None, dict(zip(self.input_names, arrays, strict=True)))
        except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(self.input_names, arrays, strict=True))
            raise ValueError(f"{self.path} cannot be run on {shapes}: {_first_line(error)}") from None
        return list(outputs)

    def _run_on_device(self, tensor: Any) -> list[Any]:
        """No copy: the tensor's memory is bound as it is, and the outputs stay where onnxruntime wrote them."""
        if not self.device.startswith("cuda"):
            return super()._run_on_device(tensor)
        torch, onnxruntime = sys.modules["torch"], onnxruntime_module()
        if str(tensor.device) != self.device:
            raise ValueError(f"the waveforms are on {tensor.device} and the session on {self.device}; move one")
        torch.cuda.current_stream(tensor.device).synchronize()  # onnxruntime has a stream of its own
        binding = self.session.io_binding()
        binding.bind_ortvalue_input(self.input_names[0], onnxruntime.OrtValue.from_dlpack(tensor))
        for name in self.output_names:
            binding.bind_output(name, "cuda", tensor.device.index)
        self.session.run_with_iobinding(binding)
        binding.synchronize_outputs()
        return [torch.from_dlpack(output) for output in binding.get_outputs()]
