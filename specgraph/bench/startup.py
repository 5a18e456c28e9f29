"""From a new process to its first features: seconds, and the most memory that was resident."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from specgraph.bench.tables import Table
from specgraph.bench.work import PEERS, subject_named

SIZE = "400/160"  # of a mel spectrogram
SECONDS = 1.0  # of sound
ROUNDS = 3
AFTER = """
seconds = time.perf_counter() - start
import json
from specgraph.bench.memory import peak
print(json.dumps({"seconds": seconds, "bytes": peak()}))
"""
# What a user of each writes, for a wave (samples,) in numpy. The file is there already.
PROGRAMS = {
    "specgraph": ("onnxruntime", "import specgraph as sg; sg.load({path!r})(wave)"),
    "specgraph in plain onnxruntime": (
        "onnxruntime",
        ("import onnxruntime; onnxruntime.InferenceSession({path!r}, providers=['CPUExecutionProvider'])"
        ".run(None, {{'waveforms': wave[None]}})"),
    ),
    "specgraph in torch": (
        "torch",
        ("import specgraph as sg, torch; sg.MelSpectrogram(n_fft=400, hop_length=160, sample_rate=16000, n_mels=80)"
        ".module()(torch.from_numpy(wave))"),
    ),
    "librosa": (
        "librosa",
        "import librosa; librosa.feature.melspectrogram(y=wave, sr=16000, n_fft=400, hop_length=160, n_mels=80, pad_mode='reflect')",
    ),
    "nnAudio": (
        "nnAudio",
        ("import torch, nnAudio.features as f; f.MelSpectrogram(sr=16000, n_fft=400, hop_length=160, n_mels=80, verbose=False)"
        "(torch.from_numpy(wave))"),
    ),
    "kaldi-native-fbank": (
        "kaldi-native-fbank",
        ("import kaldi_native_fbank as k; f = k.OnlineFbank(k.FbankOptions()); f.accept_waveform(16000, wave); f.input_finished(); "
        "[f.get_frame(i) for i in range(f.num_frames_ready)]"),
    ),
}  # fmt: skip


def measured() -> Iterator[dict[str, Any]]:
    """For everything that is installed, the least of several new processes; the time of starting Python itself is not in it."""
    from specgraph import to_onnx

    missing = {peer.package for peer in PEERS if peer.missing}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "mel.onnx")
        to_onnx(subject_named("mel").at(SIZE), path)
        for name, (package, program) in PROGRAMS.items():
            if package in missing:
                continue
            before = f"import time, numpy; wave = 0.1 * numpy.random.default_rng(0).standard_normal({int(16000 * SECONDS)}, numpy.float32)\n"
            code = f"{before}start = time.perf_counter()\n{program.format(path=path)}\n{AFTER}"
            runs = [_run(code) for _ in range(ROUNDS)]
            if failed := next((run["error"] for run in runs if "error" in run), None):
                yield {"name": name, "error": failed}
                continue
            yield {"name": name, "seconds": min(run["seconds"] for run in runs), "bytes": runs[0]["bytes"]}


def _run(code: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1][:200]}
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def table(rows: list[dict[str, Any]]) -> Table:
    """A row for each program."""
    shown = tuple(
        (row["name"], f"{row['seconds']:.3f}", f"{row['bytes'] / 1e6:.0f}" if row["bytes"] else "-") if "seconds" in row else (row["name"], row["error"], "-") for row in rows
    )
    title = f"From importing to the first mel spectrogram, {SIZE}, of {SECONDS:g} s, in a new process with numpy"
    return Table(title, ("", "seconds", "most memory, MB"), shown)
