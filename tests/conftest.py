"""What tests share: signals, running a graph in all three ways, and the command line."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from pathlib import Path

# Arrays are small here, and threads that wait for one another cost more than they give; BLAS and torch read this when they are imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from specgraph.bench.memory import available
from specgraph.dims import Dim, evaluate
from specgraph.export import verification
from specgraph.export.emit import emit
from specgraph.export.signals import spread_lengths
from specgraph.graph import Graph

WORKERS = 2
MEMORY_OF_A_WORKER = 3e9  # bytes


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks
def pytest_cmdline_main(config: pytest.Config) -> None:
    """The whole suite runs in two processes where the machine has room for them; files that are named, in one.

    A file's tests stay together and in order, so that what its fixtures make is made once. ``-n 0`` runs all in this process.
    """
    asked = config.getoption("numprocesses", "without pytest-xdist")
    if asked is not None or config.args_source is not pytest.Config.ArgsSource.TESTPATHS or hasattr(config, "workerinput"):
        return
    if config.getoption("usepdb") or config.getoption("collectonly") or config.getoption("capture") == "no":
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < WORKERS or (available() or WORKERS * MEMORY_OF_A_WORKER) < WORKERS * MEMORY_OF_A_WORKER:
        return
    config.option.numprocesses, config.option.dist = WORKERS, "loadfile"


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def built_in_prices(tmp_path_factory: pytest.TempPathFactory):
    """What the user of this machine calibrated is not read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


def session(graph: Graph) -> onnxruntime.InferenceSession:
    """A lowered graph in plain onnxruntime, on the CPU."""
    return opened(ir.to_proto(emit(graph)).SerializeToString())


def opened(model: bytes | Path) -> onnxruntime.InferenceSession:
    """A model in plain onnxruntime, on one thread of the CPU: with another number of them sums are rounded otherwise."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def arrays_for(graph: Graph, sizes: Mapping[str, int], seed: int = 0) -> list[np.ndarray]:
    """Float32 noise for every input of a graph, or 16-bit, with its axes at these sizes; lengths of clips from the longest to 1."""
    rng = np.random.default_rng(seed)
    longest = sizes.get("samples", 0) if "samples" in axes(graph) else sizes.get("frames", 1)
    return [
        rng.standard_normal(evaluate(value.shape, sizes)).astype(np.float32)
        if value.dtype == "float"
        else rng.integers(-32768, 32768, evaluate(value.shape, sizes)).astype(np.int16)
        if value.dtype == "int16"
        else spread_lengths(sizes["batch"], longest)
        for value in graph.inputs
    ]


def given(graph: Graph, wave: np.ndarray, frames: int = 5) -> np.ndarray:
    """The wave (batch, samples), or where a graph takes features, those numbers in their shape: at least 0 but for complex ones."""
    sizes = getattr(graph.inputs[0].op, "sizes", ())
    if sizes == ("batch", "samples"):
        return wave
    made = np.resize(wave, evaluate(graph.inputs[0].shape, {"batch": len(wave), "frames": frames}))
    return made if sizes[-1] == 2 else np.abs(made)


def axes(graph: Graph) -> set[str]:
    """The names of the axes that vary."""
    return {size.root for value in graph.inputs for size in value.shape if isinstance(size, Dim)}


def peak_error(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference, as a fraction of the largest value wanted; 0 where both are silent."""
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    assert np.isfinite(got).all()
    difference = float(np.abs(got - wanted).max(initial=0.0))
    return difference and difference / max(float(np.abs(wanted).max()), 1e-30)


def check_held(
    got: Mapping[str, np.ndarray],
    graph: Graph,
    wave: np.ndarray,
    tolerance: float = verification.TOLERANCE,
    wanted: Mapping[str, np.ndarray] | None = None,
    share: float = 0.0,
) -> None:
    """Assert that results differ from ``wanted``, or the definition's, by no more than rounding explains, whatever processor computed them.

    Each bin of the spectrum may be off by ``tolerance`` of the item's peak, which float32 holds by default, and what that makes of each
    element of the outputs is what the ops say themselves: a small root of nearly nothing may be off by far more than a loud bin. So no
    number is fitted to the kernels of one processor. For ``wanted`` that was computed in the same precision, each is allowed as much, and ``share``
    of its largest value by which its last step is off.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "TOLERANCE", tolerance)
        defined, allowed = verification.with_allowances(graph, (wave,))
    for name, result in got.items():
        other, times = (defined[name], 1) if wanted is None else (wanted[name], 2)
        assert result.shape == other.shape
        assert np.isfinite(result).all()
        difference, room = np.abs(result - other), times * allowed[name] + share * np.abs(other).max()
        beyond = np.divide(difference, room, out=np.where(difference > 0, np.inf, 0.0), where=room > 0).max()
        assert beyond <= 1, f"{name} differs by {beyond:.3g} times what is allowed"


def dft_rounding(size: int) -> float:
    """What each bin of a DFT in float64 may be off by, as a fraction of the peak: log2(size) stages, each rounded twice."""
    return 2 * float(np.log2(size)) * 2.0**-53


def waves(samples: int, sample_rate: int = 22050) -> dict[str, np.ndarray]:
    """Signals that hurt, float32: noise, a sweep, an impulse, silence, a full-scale square wave, drift."""
    t = np.arange(samples)
    impulse = np.zeros(samples)
    impulse[samples // 2] = 1
    made = {
        "noise": 0.3 * np.random.default_rng(1).standard_normal(samples),
        "sweep": 0.8 * np.sin(np.pi * 0.45 * t**2 / max(samples, 1)),
        "impulse": impulse,
        "silence": np.zeros(samples),
        "square": np.where(t // 40 % 2, 1.0, -1.0),
        "drift": 0.5 + 0.3 * t / max(samples, 1) + 1e-3 * np.sin(2 * np.pi * 440 / sample_rate * t),
    }
    return {name: wave.astype(np.float32) for name, wave in made.items()}


@pytest.fixture(scope="session")
def mel_file(tmp_path_factory: pytest.TempPathFactory):
    """A log-mel front end as a file."""
    import specgraph as sg

    path = tmp_path_factory.mktemp("models") / "mel.onnx"
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40), path)
    return path


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Runs a command in a folder of its own: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SPECGRAPH_TRACEBACK", raising=False)

    from specgraph.cli import main

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["specgraph", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = int(exit.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def one_sentence(stderr: str) -> str:
    """The error, which is one line without a traceback."""
    assert stderr.startswith("error: "), stderr
    assert stderr.count("\n") == 1, stderr
    return stderr[7:-1]
