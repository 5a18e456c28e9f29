"""Clocks, and rounds in which every runner takes its turn."""

from __future__ import annotations

import contextlib
import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from specgraph.runtimes.workers import available_cores as cores  # noqa: F401  (where clocks are, they are looked for)

MOST_ROUNDS = 50


@dataclass(frozen=True)
class Lap:
    """One run: seconds by the clock on the wall, and of processor time over all threads; on CUDA, of the GPU instead."""

    wall: float
    busy: float


def cpu_lap(run: Callable[[], object]) -> Lap:
    """Time one run on a CPU."""
    busy, wall = time.process_time(), time.perf_counter()
    run()
    return Lap(time.perf_counter() - wall, time.process_time() - busy)


def alternate(
    runs: Mapping[str, Callable[[], object]],
    budget: float,
    most: int = MOST_ROUNDS,
    lap: Callable[[Callable[[], object]], Lap] = cpu_lap,
    clean: bool = True,
) -> dict[str, list[Lap]]:
    """Laps of every runner: rounds until ``budget`` seconds are spent, at least one, each in an order of its own.

    What ran before leaves the caches to the next, so nobody may always follow the same one. Garbage
    is not collected meanwhile, but, if ``clean``, before.
    """
    names = list(runs)
    laps: dict[str, list[Lap]] = {name: [] for name in names}
    shuffle = random.Random(0)
    deadline = time.perf_counter() + budget
    was_enabled = gc.isenabled()
    if clean:
        gc.collect()
    gc.disable()
    try:
        for order in (shuffle.sample(names, len(names)) for _ in range(most)):
            for name in order:
                laps[name].append(lap(runs[name]))
            if time.perf_counter() > deadline:
                break
    finally:
        if was_enabled:
            gc.enable()
    return laps


def summary(seconds: list[float]) -> dict[str, float]:
    """The least and the median."""
    return {"min": min(seconds), "median": statistics.median(seconds)}


@contextlib.contextmanager
def limited(threads: int) -> Iterator[bool]:
    """torch, and numpy's BLAS where threadpoolctl is installed, on so many threads; yields whether BLAS is limited too."""
    import torch

    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        threadpool_limits = None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    pools: Any = threadpool_limits(limits=threads) if threadpool_limits else contextlib.nullcontext()
    try:
        with pools:
            yield threadpool_limits is not None
    finally:
        torch.set_num_threads(before)
