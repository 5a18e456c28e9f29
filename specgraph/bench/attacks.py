"""A server under attack: what honest clients see of it, and what memory it takes. Linux, by whose /proc memory is measured."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from specgraph.bench.attackers import ATTACKS
from specgraph.bench.clients import Outcome, Request, closed_loop
from specgraph.bench.serving import MEGABYTE, started
from specgraph.bench.tables import Table

CLIENTS = 4  # honest ones
PAUSE = 0.05  # seconds between two looks at /v2/health/live
COLUMNS = "", "answered", "refused", "broken", "wrong", "p50 ms", "p99 ms", "p99, times quiet", "health, longest ms", "peak MB"


def attacked(budget: float, names: list[str] | None = None) -> tuple[str, Table]:
    """Honest clients beside each attack, ``budget`` seconds each: one server with the default limits for all of them."""
    import specgraph as sg

    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "mel.onnx", Path(folder) / "whisper.onnx"
        sg.to_onnx(sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80), paths[0])
        sg.to_onnx(sg.preset("whisper-80"), paths[1])
        run = sg.load(paths[0], threads=1)
        rng = np.random.default_rng(0)
        waves = [(0.1 * rng.standard_normal((1, 16000))).astype(np.float32) for _ in range(8)]
        requests = [Request("mel", wave, run(wave)) for wave in waves]
        rows = list(_rows(paths, requests, budget, names))
    title = f"Attacks: {CLIENTS} honest clients beside each"
    return title, Table(title, COLUMNS, tuple(rows))


def _rows(paths: tuple[Path, Path], requests: list[Request], budget: float, names: list[str] | None) -> Iterator[tuple[str, ...]]:
    with started(paths[0], str(paths[1]), "--grpc-port", "0") as ((port, grpc_port), process):
        closed_loop(port, requests, CLIENTS, 1.0)
        quiet, health, memory = _honest(port, requests, budget, process.pid)
        yield _row("none", quiet, quiet, health, memory)
        for name in names or ATTACKS:
            with _attacking(name, port, grpc_port, budget):
                found, health, memory = _honest(port, requests, budget, process.pid)
            yield _row(ATTACKS[name][0], found, quiet, health, memory)
            time.sleep(0.5)


def _honest(port: int, requests: list[Request], budget: float, process: int) -> tuple[Outcome, float, int]:
    """What honest clients get, the longest wait for /v2/health/live, and the most memory that the server took."""
    waits: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            start = time.perf_counter()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/v2/health/live")
                connection.getresponse().read()
                connection.close()
                waits.append(time.perf_counter() - start)
            except OSError:
                waits.append(float("inf"))
            done.wait(PAUSE)

    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/clear_refs").write_text("5")  # proc(5): the peak begins again
    thread = threading.Thread(target=look)
    thread.start()
    found = closed_loop(port, requests, CLIENTS, budget)
    done.set()
    thread.join()
    return found, max(waits), _peak(process)


def _peak(process: int) -> int:
    """The most bytes that were resident."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


@contextlib.contextmanager
def _attacking(name: str, port: int, grpc_port: int, seconds: float) -> Iterator[None]:
    command = [sys.executable, "-m", "specgraph.bench.attackers", name, str(port), str(grpc_port), str(seconds + 2)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError(f"the attack {name} did not begin")
        time.sleep(0.5)
        yield
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _row(name: str, found: Outcome, quiet: Outcome, health: float, memory: int) -> tuple[str, ...]:
    counts = (len(found.seconds), found.refused, found.broken, found.wrong)
    p99 = found.percentile(0.99)
    return (
        name, *(f"{count:,}" for count in counts), f"{found.percentile(0.5):.1f}", f"{p99:.1f}", f"{p99 / quiet.percentile(0.99):.1f}",
        f"{1e3 * health:.0f}", f"{memory / MEGABYTE:.0f}",
    )  # fmt: skip


if __name__ == "__main__":
    print(attacked(float(sys.argv[1]), sys.argv[2:] or None)[1].markdown())
