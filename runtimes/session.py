"""Sessions of onnxruntime that run where they were asked to, on a CPU or CUDA, or say why not."""

from __future__ import annotations

import contextlib
import ctypes
import io
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

from specgraph.runtimes.base import RuntimeUnavailable
from specgraph.runtimes.denormals import OPTIONS, without_denormals

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
    data: bytes | str,
    device: str = "cpu",
    threads: int | None = None,
    entries: Mapping[str, str] | None = None,
    cuda: Mapping[str, str] | None = None,
    path: str = "the model",
) -> Any:
    """An ``onnxruntime.InferenceSession`` that runs where it was asked to, or ``RuntimeUnavailable``.

    Args:
        data: the model, or the path of its file.
        device: "cpu", "cuda" or "cuda:1".
        threads: threads of an operator on the CPU; None leaves it to onnxruntime.
        entries: configuration entries of the session beside the usual ones, for measurements.
        cuda: options of the CUDA provider that replace the usual ones, for measurements.
        path: what errors call the model.
    """
    onnxruntime = onnxruntime_module()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised
    options.enable_mem_pattern = False  # patterns are for one shape, and lengths vary
    if threads is not None:
        options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # idle threads leave the cores to others
    for key, value in (OPTIONS | dict(entries or {})).items():
        options.add_session_config_entry(key, value)
    if device == "cpu":
        try:
            return without_denormals(partial(onnxruntime.InferenceSession, data, options, providers=[CPU]))
        except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
            raise ValueError(f"{path} is not a model that onnxruntime loads on a CPU: {first_line(error)}") from None
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
        made = without_denormals(partial(onnxruntime.InferenceSession, data, options, providers=providers))
    except Exception as error:  # noqa: BLE001  (onnxruntime's own types and bare RuntimeError alike)
        raise RuntimeUnavailable(f"CUDA cannot be used: {_no_library() or first_line(error)}") from None
    if CUDA not in made.get_providers():  # it fell back to the CPU without a word
        raise RuntimeUnavailable(f"CUDA cannot be used: {_no_library() or 'the CUDA provider did not load'}")
    made.disable_fallback()
    return made


def stoppable_options(release: bool) -> Any:
    """``RunOptions`` for one call; with ``release`` the memory that it took on the CPU is given back after it."""
    options = onnxruntime_module().RunOptions()
    if release:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


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


def first_line(error: Exception) -> str:
    """What onnxruntime says, without its lines on where in its source."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
