"""Runners in other processes and threads: pickled, copied, forked, and streams that threads share."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.runtimes import load
from tests.conftest import peak_error

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def power_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A front end that streams."""
    path = tmp_path_factory.mktemp("copies") / "mel.onnx"
    sg.to_onnx(sg.MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=100, n_mels=10), path)
    return path


def noise(*shape: int) -> np.ndarray:
    return (0.1 * np.random.default_rng(3).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize("of", [copy.deepcopy, copy.copy, lambda run: pickle.loads(pickle.dumps(run))], ids=["deepcopy", "copy", "pickle"])
def test_a_copy_computes_the_same(device: str, of: Callable[[Any], Any], mel_file: Path, tmp_path: Path) -> None:
    """Of the bytes that were loaded, whatever the file holds later."""
    path = tmp_path / "m.onnx"
    path.write_bytes(mel_file.read_bytes())
    run = load(path, device=device, **({} if device == "torch" else {"threads": 1, "most_bytes": 1e5}))
    wave = noise(2, 30_000)
    wanted = run(wave)
    path.write_bytes(b"")
    other = of(run)
    np.testing.assert_array_equal(other(wave), wanted)
    assert (other.path, other.meta, other.device, other.most_bytes, other.workers) == (run.path, run.meta, run.device, run.most_bytes, run.workers)
    with pytest.raises(ValueError, match="not finite"):
        other(np.full(3000, np.nan, np.float32))


def test_a_stream_is_copied_with_what_it_keeps(power_file: Path) -> None:
    run, wave = load(power_file, threads=1), noise(8000)
    stream = run.stream()
    first = stream.push(wave[:5000])
    for other in (copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        rest = [first, other.push(wave[5000:]), other.finish()]
        assert peak_error(np.concatenate(rest, -1), run(wave)) < 1e-5
    assert stream.received == 5000


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    found: list[Any] = [None] * count
    start = threading.Barrier(count)

    def begin(number: int) -> None:
        start.wait()
        found[number] = work(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return found


def test_threads_share_a_stream(power_file: Path) -> None:
    """Of a constant, so that the order of the chunks does not matter: no sample is lost, and no frame twice or never."""
    run = load(power_file, threads=1)
    stream, chunk = run.stream(), np.full(777, 0.5, np.float32)
    pushed = in_threads(8, lambda _: [stream.push(chunk) for _ in range(10)])
    whole = np.full(80 * 777, 0.5, np.float32)
    assert stream.received == len(whole)
    frames = sum(piece.shape[-1] for pieces in pushed for piece in pieces)
    assert frames + stream.finish().shape[-1] == run(whole).shape[-1]
    assert [isinstance(found, ValueError) for found in in_threads(4, lambda _: _failure(stream.finish))] == [True] * 4


def _failure(function: Callable[[], Any]) -> Exception | None:
    try:
        function()
    except ValueError as error:
        return error
    return None


def test_threads_push_many_streams_and_map_at_once(power_file: Path) -> None:
    run, chunk = load(power_file, threads=2), np.full(777, 0.5, np.float32)
    streams = [run.stream() for _ in range(4)]

    def work(number: int) -> int:
        order = streams if number % 2 else streams[::-1]
        frames = sum(piece.shape[-1] for _ in range(5) for piece in run.push_all(order, [chunk] * 4))
        clips = [noise(3000 + 100 * i) for i in range(4)]
        for clip, features in zip(clips, run.map(clips), strict=True):
            assert peak_error(features, run(clip)) < 1e-5
        return frames

    frames = sum(in_threads(4, work)) + sum(stream.finish().shape[-1] for stream in streams)
    assert [stream.received for stream in streams] == [20 * 777] * 4
    assert frames == 4 * run(np.full(20 * 777, 0.5, np.float32)).shape[-1]


PROCESSES = """
import multiprocessing, os, sys
import numpy as np
import specgraph as sg

def work(queue, run, wave):
    queue.put((run(wave), len(list(run.map([wave, wave])))))

if __name__ == "__main__":
    run = sg.load({path!r}, threads=2, most_bytes=1e5)
    wave = (0.1 * np.random.default_rng(0).standard_normal((4, 40_000))).astype(np.float32)
    wanted = run(wave)                      # on several threads of its own
    run(wave[:, :100]), list(run.map([wave, wave]))   # and of onnxruntime
    for how in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(how)
        queue = context.Queue()
        process = context.Process(target=work, args=(queue, run, wave))
        process.start()
        found, mapped = queue.get(timeout=60)
        process.join(60)
        assert (found == wanted).all() and mapped == 2 and process.exitcode == 0, how
    if os.fork() == 0:
        assert (run(wave) == wanted).all()
        sys.exit(3)                         # the way Python ends, not os._exit
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 3
    if {torch}:
        import torch
        in_torch = sg.load({path!r}, device="torch")
        in_torch(wave)
        class Clips(torch.utils.data.Dataset):
            def __init__(self, run): self.run = run
            def __len__(self): return 4
            def __getitem__(self, i): return self.run(wave[i])
        for runner in (run, in_torch):
            loader = torch.utils.data.DataLoader(Clips(runner), num_workers=2, multiprocessing_context="fork")
            for got, row in zip(loader, wanted):
                assert np.abs(np.asarray(got)[0] - row).max() <= 1e-5 * np.abs(row).max()
        if os.fork() == 0:
            in_torch(wave)                  # torch's own threads are gone
            os._exit(4)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 4
    print("all the same")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
@pytest.mark.parametrize("with_torch", [False, True], ids=["numpy", "torch"])
def test_processes(with_torch: bool, mel_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES.format(path=str(mel_file), torch=with_torch))
    done = subprocess.run([sys.executable, script], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "all the same", done.stderr


def test_modules_of_several_kinds_are_copied() -> None:
    for transform in (sg.MFCC(n_mfcc=5, n_mels=20), sg.preset("whisper-80"), sg.CQT(n_bins=24)):
        module, wave = transform.module(), torch.from_numpy(noise(1, 9000))
        wanted = module(wave)
        for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
            torch.testing.assert_close(other(wave), wanted, rtol=0, atol=0)
