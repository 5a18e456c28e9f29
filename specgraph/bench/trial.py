"""A runner before it is timed: made ready, checked against the definition, refused where it needs too much, warmed up."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.bench import cuda, memory, timing
from specgraph.bench.work import Array, Ready, Work, definition, error, to_array
from specgraph.dims import evaluate

CHECK_SECONDS = 2.0  # of the clip that errors are measured on
MOST_BUDGETS = 5.0  # a run that would take longer than so many budgets of a cell is left out
PART = 8  # the batch is divided by it for the run that shows what the whole needs


class LeftOut(Exception):
    """Why a runner is not measured; empty where it does not compute this at all."""


@dataclass
class Trial:
    """Makes runners ready, checks them on a short clip, and warms them up on the waveforms that are timed."""

    work: Work
    there: Any  # the waveforms, on the device
    clip_there: Any
    waves: Array
    clip: Array
    lap: Callable[..., timing.Lap]
    budget: float
    truths: dict[Any, Array] = dataclasses.field(default_factory=dict)
    held: float = 0.0  # bytes that runners that are kept hold already

    def of(self, build: Callable[[Work], Ready | None]) -> tuple[Ready, dict[str, Any]]:
        """The runner, and what is known of it before it is timed."""
        work = self.work
        on_gpu = work.device == "cuda"
        room = cuda.free() if on_gpu else min(memory.available() or work.memory, work.memory - self.held)
        _refuse(_estimate(work, self.waves), room)
        start = time.perf_counter()
        ready = build(work)
        started = time.perf_counter() - start
        if ready is None:
            raise LeftOut
        truth = ready.definition or work.transform
        if truth not in self.truths:
            self.truths[truth] = definition(truth, self.clip)
        off = error(to_array(ready.features(ready.run(self.clip_there))), self.truths[truth], work.subject.unit)
        in_parts = len(self.waves) >= PART and not on_gpu
        # What a short clip takes may be mostly what any call takes, so it decides alone only where there is no part.
        self._patient(lambda: ready.run(self.clip_there), self.waves.size / self.clip.size, PART if in_parts else 1)
        with memory.Growth() as growth:
            if in_parts:
                self._patient(lambda: ready.run(self.there[: len(self.waves) // PART]), PART)
                _refuse(PART * (growth.so_far() or 0), room)
            ready.run(self.there)  # the first run at this size plans and allocates: it is not timed
        return ready, {
            "frames": frames_of(truth, self.waves), "error": off.largest, "error_rms": off.rms, "bytes": ready.size,
            "start_seconds": started, "memory": None if on_gpu else growth.bytes,
        }  # fmt: skip

    def _patient(self, run: Callable[[], object], times: float, patience: float = 1.0) -> None:
        """Run, and raise where so many times as long is too long."""
        foreseen = self.lap(run).wall * times
        if foreseen > patience * MOST_BUDGETS * max(self.budget, 1.0):
            raise LeftOut(f"a run would take about {foreseen:.0f} s; raise --budget")


def _refuse(need: float, room: float) -> None:
    if need > room:
        raise LeftOut(f"it may need {need / 1e9:.1f} GB, and {room / 1e9:.1f} GB may be used; raise --memory, or take a smaller batch")


def frames_of(transform: Any, waves: Array) -> int:
    """Frames of all the waveforms together."""
    shape = next(iter(transform.graph().outputs.values())).shape
    return len(waves) * evaluate(shape, {"batch": len(waves), "samples": waves.shape[1]})[2]


def on_device(waves: Array, device: str) -> Any:
    """The waveforms as a runner on the device takes them."""
    if device == "cpu":
        return np.ascontiguousarray(waves)
    import torch

    return torch.from_numpy(np.ascontiguousarray(waves)).to(device)


def _estimate(work: Work, waves: Array) -> float:
    """Bytes that the greediest library needs, measured: four float32 spectra of the whole batch."""
    t = work.transform
    t = getattr(t, "transform", t)  # of a preset
    frame, hop = getattr(t, "n_fft", 2048), getattr(t, "hop", None) or t.hop_length
    return 4 * 4 * waves.size * (frame + 2) / hop
