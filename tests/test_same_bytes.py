"""The same export gives the same bytes, whatever threads, kernels and hash seeds the process has."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import solveh_banded

from specgraph.design import multirate
from specgraph.ops import frame_conv
from specgraph.threads import one_thread

EXPORT = """
import sys
import specgraph as sg
small = dict(sample_rate=8000, hop_length=128, fmin=130.0, n_bins=24)
for name, transform in {
    "cqt": sg.CQT(**small), "inverse": sg.InverseCQT(**small), "harmonic": sg.HarmonicCQT(**small | {"harmonics": (0.5, 1, 2)}),
    "mfcc": sg.MFCC(), "deltas": sg.preset("fsmn-vad"),
}.items():
    sg.to_onnx(transform, f"{sys.argv[1]}/{name}.onnx")
"""
ENVIRONMENTS = (
    {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "default"},
    {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2", "PYTHONHASHSEED": "7", "OPENBLAS_CORETYPE": "Nehalem"},
)


def test_exports_are_byte_equal_in_other_environments(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) for number in range(len(ENVIRONMENTS))]
    for folder, environment in zip(folders, ENVIRONMENTS, strict=True):
        folder.mkdir()
        subprocess.run([sys.executable, "-c", EXPORT, str(folder)], env=os.environ | environment, check=True, timeout=300)
    files = sorted(path.name for path in folders[0].iterdir())
    assert len(files) == 5
    assert [name for name in files if (folders[0] / name).read_bytes() != (folders[1] / name).read_bytes()] == []


@pytest.mark.parametrize("count", [1, 2, 9, 60])
def test_banded_normal_equations_are_solved_as_lapack_does(count: int) -> None:
    rng = np.random.default_rng(count)
    products = np.array([2.0, -0.7, 0.2, 0.05])[:count]
    right = rng.standard_normal((count, 3)) + 1j * rng.standard_normal((count, 3))
    band = np.zeros((len(products), count))
    band[:] = products[:, None]
    wanted = solveh_banded(band, right, lower=True)
    assert np.abs(multirate._solved(products, right) - wanted).max() < 1e-14 * np.abs(wanted).max()


@pytest.mark.parametrize("at_once", [1, 100, 2**20])
def test_products_of_frames_are_those_of_strided_views(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    rng = np.random.default_rng(0)
    monkeypatch.setattr(frame_conv, "FRAMES_AT_ONCE", at_once)
    for samples, width, hop in ((40, 40, 7), (200, 30, 1), (200, 17, 50)):
        signal, rows = rng.standard_normal((3, samples)), rng.standard_normal((5, width))
        frames = np.lib.stride_tricks.sliding_window_view(signal, width, axis=1)[:, ::hop]
        wanted = np.einsum("nw,bfw->bnf", rows, frames)
        assert np.abs(frame_conv.frame_products(signal, rows, hop) - wanted).max() < 1e-12 * np.abs(wanted).max()


def test_threads_are_given_back_when_the_last_has_left() -> None:
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with one_thread():
            with one_thread():
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 3
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
