"""Clips that fade out: numbers below the least normal one are zeros in onnxruntime, and stay what they are everywhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import specgraph as sg
from specgraph.runtimes.denormals import FUNCTIONS, without_denormals
from tests.conftest import peak_error

ROOT = Path(__file__).resolve().parent.parent
TINY = float(np.finfo(np.float32).tiny)
TRANSFORMS = {
    "mel": sg.MelSpectrogram(n_fft=512, hop_length=128, n_mels=20),
    "log_mel": sg.LogMelSpectrogram(n_fft=512, hop_length=128, n_mels=20),
    "mfcc": sg.MFCC(n_fft=512, hop_length=128, n_mels=20, n_mfcc=10),
    "pcen": sg.PCEN(n_fft=512, hop_length=128, n_mels=20),
    "cqt": sg.CQT(fmin=220.0, n_bins=24),
}

pytestmark = pytest.mark.skipif(FUNCTIONS is None, reason="this processor's mode cannot be set")


def fading(samples: int) -> np.ndarray:
    """Noise of 0.1 that fades through all that float32 holds, and ends in denormals."""
    noise = 0.1 * np.random.default_rng(5).standard_normal(samples)
    return (noise * np.logspace(0, -43, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def runners(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("denormals")
    made = {}
    for name, transform in TRANSFORMS.items():
        sg.to_onnx(transform, folder / f"{name}.onnx")
        made[name] = sg.load(folder / f"{name}.onnx", threads=2)
    return made


def test_denormals_are_zero_inside_and_nowhere_else() -> None:
    least = np.full(4, 1e-40, np.float32)
    assert (least * np.float32(1)).all()
    assert not without_denormals(lambda: (least * np.float32(1)).any())
    assert (least * np.float32(1)).all()
    with pytest.raises(ZeroDivisionError):
        without_denormals(lambda: 1 / 0)
    assert (least * np.float32(1)).all()


def test_a_clip_of_denormals_is_silence(runners: dict[str, Any]) -> None:
    """In the calling thread, in onnxruntime's, in those of parts and of map, and in a stream."""
    run = runners["mel"]
    wave = np.random.default_rng(5).choice(np.float32([-1e-40, 1e-40, 1e-42, 1e-45]), (3, 30_000))
    assert wave.any()
    for most_bytes in (1e5, float("inf")):
        run.most_bytes = most_bytes
        assert not run(wave).any()
        assert not any(features.any() for features in run.map(wave))
    stream = run.stream()
    assert not stream.push(wave[0]).any()
    assert not stream.finish().any()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_clip_that_fades_out_is_that_of_the_definition(name: str, runners: dict[str, Any]) -> None:
    """As a whole; and its end by itself, all of it below 1e-36, as near as numbers in float32 are that far down."""
    wave = fading(30_000)[None]
    (wanted,) = TRANSFORMS[name].graph().numpy(wave).values()
    assert peak_error(runners[name](wave), wanted) < max(1e-5, runners[name].meta.verified["tolerance"])  # a constant-Q transform's is larger
    end = wave[:, -5000:]
    (wanted,) = TRANSFORMS[name].graph().numpy(end).values()
    assert np.abs(runners[name](end) - wanted).max() < (1e3 * TINY if name in ("mel", "cqt") else 1e-4)


PROCESS = """
import threading
import numpy as np
import specgraph as sg

def held():
    return bool((np.full(4, 1e-40, np.float32) * np.float32(1)).all())

wave = np.zeros(3000, np.float32)
{first}
found = [held()]
thread = threading.Thread(target=lambda: found.append(held()))
thread.start(), thread.join()
print(found)
"""


@pytest.mark.parametrize("first", ["run = sg.load({path!r}); run(wave); list(run.map([wave] * 3))", "sg.to_onnx(sg.MelSpectrogram(n_mels=10), {other!r})"])
def test_the_first_session_of_a_process_leaves_numpy_as_it_was(first: str, mel_file: Path, tmp_path: Path) -> None:
    code = PROCESS.format(first=first.format(path=str(mel_file), other=str(tmp_path / "m.onnx")))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[True, True]", done.stderr
