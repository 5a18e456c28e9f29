"""The front ends of speech recognisers, and the graphs of the same features that onnx-asr ships."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from specgraph.bench.work import Ready, Subject, Work, peer, subject

GRAPHS = {"whisper-80": "whisper80", "nemo-80": "nemo80", "whisper-128": "whisper128", "nemo-128": "nemo128"}  # by preset


def _preset(size: str) -> Any:
    from specgraph.presets import preset

    if size not in GRAPHS:
        raise ValueError(f"a size of asr is one of {', '.join(GRAPHS)}, not {size!r}")
    return preset(size)


subject(Subject("asr", "log-mel features of speech recognisers; Whisper's are those of 30 s", tuple(GRAPHS), _preset, unit="of the features"))


def shipped(name: str, threads: int) -> Ready:
    """A graph of onnx-asr's wheel in onnxruntime: ``waveforms, waveforms_lens -> features, features_lens``."""
    from importlib.resources import files

    import numpy as np

    from specgraph.runtimes.session import session

    data = (files("onnx_asr") / "preprocessors" / "data" / f"{name}.onnx").read_bytes()
    made = session(data, "cpu", threads)

    def run(waves: Any) -> Any:
        return made.run(None, {"waveforms": waves, "waveforms_lens": np.full(len(waves), waves.shape[1])})[0]

    return Ready(run, size=len(data))


def _form(form: str) -> Callable[[Work], Ready]:
    return lambda work: shipped(f"{GRAPHS[work.size]}{form}", work.threads)


peer("onnx-asr Conv", package="onnx-asr", computes=("asr",), note="its graph for CUDA: a convolution with the whole basis")(_form("_conv"))
peer("onnx-asr STFT", package="onnx-asr", computes=("asr",), note="its graph with the STFT op; on a CPU the package itself uses numpy")(_form(""))
