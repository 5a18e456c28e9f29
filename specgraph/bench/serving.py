"""A server under load and under faults: requests a second, latency, memory, what is refused and what is lost."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.bench.clients import Outcome, Request, closed_loop, open_loop
from specgraph.bench.machine import load_average, machine
from specgraph.bench.tables import Table, machine_text
from specgraph.bench.timing import cores

SECONDS = 1.0  # of a clip
CLIENTS = (1, 4, 16, 64)
FLOOD_CLIENTS = 256
QUEUE = 64
HALF = 20  # clients that send half a request
MEGABYTE = 1e6


def command(budget: float, soak: float, output: Path | None, attacks: bool) -> None:
    """What ``specgraph bench --serve`` does."""
    from specgraph.bench.attacks import attacked
    from specgraph.cli.show import console
    from specgraph.files import whole

    out = console()
    if output is not None and output.suffix != ".md":
        raise ValueError(f"-o takes a .md file with --serve, not {output}")
    before = load_average()
    sections = []
    for title, table in [attacked(budget)] if attacks else measured(budget, soak):
        out.print(table.rich())
        sections.append(f"## {title}\n\n{table.markdown()}")
    host = machine("cpu") | {"load_before": before}
    out.print(machine_text(host), markup=False)
    if output is not None:
        if attacks:
            text = _with_section(output.read_text() if output.exists() else f"# Serving\n\n{INTRODUCTION}\n", sections[0], host)
        else:
            text = f"# Serving\n\n{INTRODUCTION}\n\n`{host['command']}`\n\n{machine_text(host)}\n" + "\n".join(sections)
        with whole(output) as temporary:
            temporary.write_text(text)
        out.print(f"wrote {output}")


def _with_section(text: str, section: str, host: dict[str, Any]) -> str:
    """A page with its section on attacks, which is the last one, replaced."""
    title, _, table = section.partition("\n")
    return f"{text.partition('## Attacks')[0].rstrip()}\n\n{title}\n\n`{host['command']}`\n\n{machine_text(host).rstrip()}\n\n{table.strip()}\n"


INTRODUCTION = """\
`specgraph serve` and its clients on one machine, over HTTP with raw tensors: log-mel features (400/160, 80 bands) of clips of a second at
16 kHz, 64 KB there and 32 KB back. The clients share the cores with the server; every answer is compared with `run(wave)`."""


def measured(budget: float, soak: float) -> Iterator[tuple[str, Table]]:
    """Each table as it is done: ``budget`` seconds for a row, ``soak`` seconds of load for memory."""
    import specgraph as sg

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mel.onnx"
        sg.to_onnx(sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80), path)
        run = sg.load(path, threads=1)
        rng = np.random.default_rng(0)
        waves = [(0.1 * rng.standard_normal((1, int(16000 * SECONDS)))).astype(np.float32) for _ in range(8)]
        requests = [Request("mel", wave, run(wave)) for wave in waves]
        start = time.perf_counter()
        count = 0
        while time.perf_counter() - start < budget / 2:
            run(waves[count % len(waves)])
            count += 1
        bare = count / (time.perf_counter() - start)
        title = f"Load: {bare:,.0f} clips a second in a bare session on one thread"
        rows = [row for pinned in (True, False) for row in _load(path, requests, budget, pinned)]
        yield title, Table(title, ("cores", "batching", "clients", "requests/s", "p50 ms", "p95 ms", "p99 ms", "wrong, broken or refused"), tuple(rows))
        title = "Faults"
        yield title, Table(title, ("", "answered", "refused", "broken", "wrong", "p50 ms", "p99 ms"), tuple(_faults(path, requests, budget)))
        if soak:
            title = f"Memory under load for {soak:g} s"
            yield title, Table(title, ("", "MB"), tuple(_soak(path, requests, soak)))


def _load(path: Path, requests: list[Request], budget: float, pinned: bool) -> Iterator[tuple[str, ...]]:
    for batch in (32, 1):
        with served(path, "--max-batch", str(batch), *(("--workers", "1") if pinned else ()), pinned=pinned) as (port, _):
            closed_loop(port, requests, 4, 0.5)
            for clients in CLIENTS:
                found = closed_loop(port, requests, clients, budget)
                bad = found.wrong + found.broken + found.refused
                times = (f"{found.percentile(share):.1f}" for share in (0.5, 0.95, 0.99))
                yield "1" if pinned else f"all {cores()}", "yes" if batch > 1 else "no", str(clients), f"{found.rate:,.0f}", *times, str(bad)


def _faults(path: Path, requests: list[Request], budget: float) -> Iterator[tuple[str, ...]]:
    with served(path, "--queue", str(QUEUE)) as (port, _):
        capacity = closed_loop(port, requests, 16, budget).rate
        for share in (0.5, 2.0):
            found = open_loop(port, requests, share * capacity, FLOOD_CLIENTS, budget)
            yield _row(f"{share:g} times the capacity, {share * capacity:,.0f} requests/s; queue of {QUEUE}", found)
    with served(path, "--timeout", "1") as (port, _):
        halves = [socket.create_connection(("127.0.0.1", port)) for _ in range(HALF)]
        for half in halves:
            half.sendall(requests[0].sent[: len(requests[0].sent) // 2])
        yield _row(f"beside {HALF} clients that sent half a request", closed_loop(port, requests, 4, budget))
        for half in halves:
            half.close()
    if hasattr(socket, "SO_REUSEPORT"):
        with served(path, "--replicas", "2", "--workers", "1") as (port, process):
            killer = threading.Timer(budget / 2, _kill_a_replica, (process.pid,))
            killer.start()
            found = closed_loop(port, requests, 8, budget)
            killer.join()
            yield _row("two replicas, one killed on the way", found)


def _soak(path: Path, requests: list[Request], seconds: float) -> Iterator[tuple[str, ...]]:
    with served(path) as (port, process):
        closed_loop(port, requests, 16, 2)
        for part in range(5):
            found = closed_loop(port, requests, 16, seconds / 5)
            bad = found.wrong + found.broken + found.refused
            yield f"after {seconds * (part + 1) / 5:g} s: {len(found.seconds):,} answers, {bad} others", f"{resident(process.pid) / MEGABYTE:.1f}"


def _row(name: str, found: Outcome) -> tuple[str, ...]:
    counts = (len(found.seconds), found.refused, found.broken, found.wrong)
    return name, *(f"{count:,}" for count in counts), f"{found.percentile(0.5):.1f}", f"{found.percentile(0.99):.1f}"


@contextlib.contextmanager
def served(path: Path, *options: str, pinned: bool = False) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server in a process of its own, without gRPC: its port and it; ``pinned`` to one core."""
    with started(path, "--no-grpc", *options, pinned=pinned) as (ports, process):
        yield ports[0], process


@contextlib.contextmanager
def started(path: Path, *options: str, pinned: bool = False) -> Iterator[tuple[list[int], subprocess.Popen[str]]]:
    """A server in a process of its own: its ports and it; ``pinned`` to one core."""
    pin = ["taskset", "-c", "0"] if pinned and shutil.which("taskset") else []
    command = [*pin, sys.executable, "-m", "specgraph", "serve", str(path), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = next((line for line in process.stdout if line.startswith("listening at")), None)
        if line is None:
            raise RuntimeError("the server did not start")
        yield [int(place.rsplit(":", 1)[1]) for place in line.split(";")[0].removeprefix("listening at ").split(" and ")], process
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def _kill_a_replica(parent: int) -> None:
    for child in _children(parent):
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes():
            return os.kill(child, signal.SIGKILL)


def resident(process: int) -> int:
    """Bytes that a process holds in memory."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
