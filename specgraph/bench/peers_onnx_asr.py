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


def _shipped(form: str) -> Callable[[Work], Ready]:
    """A graph of the wheel in onnxruntime: ``waveforms, waveforms_lens -> features, features_lens``."""

    def build(work: Work) -> Ready:
        from importlib.resources import files

        import numpy as np

        from specgraph.runtimes.session import session

        data = (files("onnx_asr") / "preprocessors" / "data" / f"{GRAPHS[work.size]}{form}.onnx").read_bytes()
        made = session(data, "cpu", work.threads)

        def run(waves: Any) -> Any:
            return made.run(None, {"waveforms": waves, "waveforms_lens": np.full(len(waves), waves.shape[1])})[0]

        return Ready(run, size=len(data))

    return build


peer("onnx-asr Conv", package="onnx-asr", computes=("asr",), note="its graph for CUDA: a convolution with the whole basis")(_shipped("_conv"))
peer("onnx-asr STFT", package="onnx-asr", computes=("asr",), note="its graph with the STFT op; on a CPU the package itself uses numpy")(_shipped(""))
