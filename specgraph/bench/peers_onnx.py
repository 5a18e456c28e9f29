"""Other ONNX graphs in onnxruntime: the STFT op, which exporters of torch.stft write, and one Conv with the whole basis."""

from __future__ import annotations

from typing import Any

import numpy as np

from specgraph.bench.peers_own import in_onnxruntime
from specgraph.bench.subjects import FOURIER
from specgraph.bench.work import Ready, Work, peer


class _Graph:
    """Nodes and constants of a model with one input, waveforms (batch, samples), and one output."""

    def __init__(self) -> None:
        from onnx import helper

        self.helper: Any = helper
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}

    def const(self, array: Any) -> str:
        """The name of a constant: floats as float32, whole numbers as int64."""
        fixed = np.asarray(array)
        name = f"c{len(self.constants)}"
        self.constants[name] = fixed.astype(np.int64 if fixed.dtype.kind == "i" else np.float32)
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; returns its result."""
        self.nodes.append(self.helper.make_node(op, inputs, [f"v{len(self.nodes)}"], **attributes))
        return f"v{len(self.nodes) - 1}"

    def model(self, output: str, rank: int) -> bytes:
        """The whole model, at the opset that specgraph writes."""
        from onnx import TensorProto, numpy_helper

        def info(name: str, axes: list[Any]) -> Any:
            return self.helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)

        graph = self.helper.make_graph(
            self.nodes,
            "peer",
            [info("waveforms", ["batch", "samples"])],
            [info(output, [None] * rank)],
            [numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )
        model = self.helper.make_model(graph, opset_imports=[self.helper.make_opsetid("", 18)], ir_version=8)
        return bytes(model.SerializeToString())


def _padded(g: _Graph, n_fft: int) -> str:
    return g.add("Pad", "waveforms", g.const([0, n_fft // 2, 0, n_fft // 2]), mode="reflect")


def _window(n_fft: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def _after_power(g: _Graph, work: Work, power: str) -> str:
    """From the power (batch, bins, frames) to the subject's features."""
    if work.subject.name == "spectrogram":
        return g.add("Sqrt", power)
    mel = g.add("MatMul", g.const(work.transform.bank()), power)
    if work.subject.name == "mel":
        return mel
    floored = g.add("Max", mel, g.const(np.float32(1e-10)))
    return g.add("Mul", g.add("Log", floored), g.const(np.float32(10 / np.log(10))))


@peer(
    "ONNX STFT op",
    package="onnx",
    computes=FOURIER,
    devices=("cpu", "cuda"),
    note="what exporting torch.stft or torchaudio gives; onnxruntime has no CUDA kernel for it",
)
def stft_op(work: Work) -> Ready:
    """Pad, STFT, ReduceSumSquare, MatMul."""
    t, g = work.transform, _Graph()
    signal = g.add("Unsqueeze", _padded(g, t.n_fft), g.const([2]))
    inputs = (g.const(np.int64(t.hop)), g.const(_window(t.n_fft)), g.const(np.int64(t.n_fft)))
    spectrum = g.add("STFT", signal, *inputs, onesided=1)  # (batch, frames, bins, 2)
    if work.subject.name == "stft":
        return in_onnxruntime(g.model(g.add("Transpose", spectrum, perm=[0, 2, 1, 3]), 4), work)
    power = g.add("ReduceSumSquare", spectrum, g.const([3]), keepdims=0)
    return in_onnxruntime(g.model(_after_power(g, work, g.add("Transpose", power, perm=[0, 2, 1])), 3), work)


@peer(
    "ONNX one Conv",
    package="onnx",
    computes=FOURIER,
    devices=("cpu", "cuda"),
    note="nnAudio's way as a graph, with both parts in one convolution, as onnx-asr ships it",
)
def one_conv(work: Work) -> Ready:
    """Pad, Conv with the windowed basis, ReduceSumSquare, MatMul."""
    t, g = work.transform, _Graph()
    bins = t.n_fft // 2 + 1
    angle = 2 * np.pi * (np.outer(np.arange(bins), np.arange(t.n_fft)) % t.n_fft) / t.n_fft
    basis = np.concatenate([np.cos(angle), -np.sin(angle)]) * _window(t.n_fft)
    signal = g.add("Unsqueeze", _padded(g, t.n_fft), g.const([1]))
    planes = g.add("Conv", signal, g.const(basis[:, None]), strides=[t.hop])
    planes = g.add("Reshape", planes, g.const([0, 2, bins, -1]))
    if work.subject.name == "stft":
        return in_onnxruntime(g.model(g.add("Transpose", planes, perm=[0, 2, 3, 1]), 4), work)
    power = g.add("ReduceSumSquare", planes, g.const([1]), keepdims=0)
    return in_onnxruntime(g.model(_after_power(g, work, power), 3), work)
