"""The speed matrix: subject x size x threads x batch, every runner beside specgraph."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.bench import cuda, memory, timing
from specgraph.bench.peers_own import OWN, exported, in_onnxruntime, lowerings, torch_module
from specgraph.bench.work import PEERS, Array, Ready, Work, definition, error, subject_named, to_array
from specgraph.dims import evaluate

CHECK_SECONDS = 2.0  # of the clip that errors are measured on
MOST_BUDGETS = 5.0  # a run that would take longer than so many budgets of a cell is left out
Build = Callable[[Work], Ready | None]


@dataclass(frozen=True)
class Settings:
    """What to measure. ``threads`` 0 means all; ``sizes`` empty means each subject's own."""

    names: tuple[str, ...] = ("mel", "spectrogram", "log-mel")
    sizes: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8, 64)
    threads: tuple[int, ...] = (1, 0)
    seconds: float = 10.0
    budget: float = 3.0
    rounds: int = timing.MOST_ROUNDS
    all_lowerings: bool = False
    device: str = "cpu"

    def check(self) -> None:
        """Raise ``ValueError``, in a sentence, where something cannot be measured."""
        for name in self.names:
            found = subject_named(name)
            for size in self.sizes or found.sizes:
                found.at(size)
        for option, values, least in (("batch", self.batches, 1), ("threads", self.threads, 0), ("rounds", (self.rounds,), 1)):
            if min(values) < least:
                raise ValueError(f"--{option} must be at least {least}, not {min(values)}")
        if not (self.seconds > 0 and self.budget >= 0):
            raise ValueError(f"--seconds must be above 0 and --budget at least 0, not {self.seconds:g} and {self.budget:g}")
        cuda.checked_device(self.device)


def groups(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """Cells as they are measured: for each subject, size and number of threads, a cell for every batch."""
    for name in settings.names:
        subject = subject_named(name)
        for size in settings.sizes or subject.sizes:
            transform = subject.at(size)
            models: dict[str, bytes] = {}
            for threads, tf32 in _modes(settings):
                work = Work(subject, size, transform, settings.device, threads, tf32)
                yield [_cell(work, batch, settings, models) for batch in settings.batches]


def _modes(settings: Settings) -> list[tuple[int, bool]]:
    """(threads, TF32): on a CPU every number of threads, on CUDA without TF32 and with it."""
    if settings.device == "cuda":
        return [(1, False), (1, True)]
    return [(threads, False) for threads in dict.fromkeys(count or timing.cores() for count in settings.threads)]


def runners(work: Work, all_lowerings: bool, models: dict[str, bytes]) -> dict[str, tuple[Build, str]]:
    """(how to build it, what differs) of everything that may compute the work, specgraph first."""

    def own(label: str, prefer: dict[str, str] | None) -> Build:
        if label not in models:
            try:
                models[label] = exported(work, prefer)
            except ValueError as problem:  # a lowering that is not exact enough, or does not go with the others
                if prefer is None:
                    raise
                return _refusal(problem)
        return lambda work: in_onnxruntime(models[label], work)

    found: dict[str, tuple[Build, str]] = {OWN: (own(OWN, None), "the exported file in onnxruntime")}
    for op, name in lowerings(work) if all_lowerings else []:
        label = f"{OWN} {op}={name}"
        found[label] = own(label, {op: name}), "another lowering"
    found[f"{OWN} in torch"] = torch_module, "the torch module, as it is trained"
    for peer in PEERS:
        if work.subject.name in peer.computes and not peer.missing and work.device in peer.devices:
            found[peer.name] = peer.build, peer.note
    return found


def _refusal(problem: ValueError) -> Build:
    def build(work: Work) -> Ready:
        raise problem

    return build


def _cell(work: Work, batch: int, settings: Settings, models: dict[str, bytes]) -> dict[str, Any]:
    samples = max(int(settings.seconds * work.transform.sample_rate), work.transform.graph().least())
    waves = (0.1 * np.random.default_rng(0).standard_normal((batch, samples))).astype(np.float32)
    cell = {
        "subject": work.subject.name, "size": work.size, "device": work.device, "threads": work.threads, "tf32": work.tf32,
        "batch": batch, "sample_rate": work.transform.sample_rate, "samples": samples, "error_unit": work.subject.unit,
    }  # fmt: skip
    if work.device == "cuda":
        stream = cuda.Stream()
        work = dataclasses.replace(work, stream=stream.handle)
        with cuda.precision(work.tf32), stream.current():
            return cell | _measured(work, waves, settings, models, stream.lap)
    with timing.limited(work.threads) as blas_too:
        return cell | {"blas_limited": blas_too} | _measured(work, waves, settings, models, timing.cpu_lap)


def _measured(
    work: Work, waves: Array, settings: Settings, models: dict[str, bytes], lap: Callable[..., timing.Lap]
) -> dict[str, Any]:
    rows: dict[str, dict[str, Any]] = {}
    left_out: list[dict[str, str]] = []
    runs: dict[str, Callable[[], object]] = {}
    clip = waves[:1, : max(int(CHECK_SECONDS * work.transform.sample_rate), work.transform.graph().least())]
    trial = _Trial(work, _on_device(waves, work.device), _on_device(clip, work.device), waves, clip, lap, settings.budget)
    for name, (build, note) in runners(work, settings.all_lowerings, models).items():
        try:
            ready, row = trial.of(build)
        except _LeftOut as reason:
            left_out += [{"name": name, "why": str(reason)}] if str(reason) else []
            continue
        except Exception as problem:  # a library that cannot do this must not end the measurement
            if name == OWN:
                raise
            left_out.append({"name": name, "why": f"{type(problem).__name__}: {str(problem).strip().splitlines()[0][:200]}"})
            continue
        rows[name] = {"name": name, "note": note} | row
        runs[name] = lambda ready=ready: ready.run(trial.there)  # type: ignore[misc]
    laps = timing.alternate(runs, settings.budget, settings.rounds, lap)
    busy = "gpu" if work.device == "cuda" else "cpu"
    for name, row in rows.items():
        row["rounds"] = len(laps[name])
        for clock, field in (("wall", "wall"), (busy, "busy")):
            seconds = timing.summary([getattr(lap, field) for lap in laps[name]])
            row[clock] = seconds | {"us_per_frame": 1e6 * seconds["min"] / row["frames"]}
    for row in rows.values():
        for clock in ("wall", busy):
            own = rows[OWN][clock]["us_per_frame"] if OWN in rows else 0.0
            row[clock]["ratio"] = row[clock]["us_per_frame"] / own if own > 0 else None
    shown = "gpu" if busy == "gpu" else "cpu" if work.threads == 1 else "wall"
    return {"clock": shown, "rows": list(rows.values()), "left_out": left_out}


class _LeftOut(Exception):
    """Why a runner is not measured; empty where it does not compute this at all."""


@dataclass(frozen=True)
class _Trial:
    """Makes runners ready, checks them on a short clip, and warms them up on the waveforms that are timed."""

    work: Work
    there: Any  # the waveforms, on the device
    clip_there: Any
    waves: Array
    clip: Array
    lap: Callable[..., timing.Lap]
    budget: float
    truths: dict[Any, Array] = dataclasses.field(default_factory=dict)

    def of(self, build: Build) -> tuple[Ready, dict[str, Any]]:
        """The runner, and what is known of it before it is timed."""
        work = self.work
        room, need = (cuda.free() if work.device == "cuda" else memory.available()), _estimate(work, self.waves)
        if room is not None and need > room:
            raise _LeftOut(f"it may need {need / 1e9:.1f} GB and {room / 1e9:.1f} GB are free")
        start = time.perf_counter()
        ready = build(work)
        started = time.perf_counter() - start
        if ready is None:
            raise _LeftOut
        truth = ready.definition or work.transform
        if truth not in self.truths:
            self.truths[truth] = definition(truth, self.clip)
        off = error(to_array(ready.features(ready.run(self.clip_there))), self.truths[truth], work.subject.unit)
        foreseen = self.lap(lambda: ready.run(self.clip_there)).wall * self.waves.size / self.clip.size
        if foreseen > MOST_BUDGETS * max(self.budget, 1.0):
            raise _LeftOut(f"a run would take about {foreseen:.0f} s; raise --budget")
        with memory.Growth() as growth:
            ready.run(self.there)  # the first run at this size plans and allocates: it is not timed
        return ready, {
            "frames": frames_of(truth, self.waves), "error": off.largest, "error_rms": off.rms, "bytes": ready.size,
            "start_seconds": started, "memory": growth.bytes if work.device == "cpu" else None,
        }  # fmt: skip


def frames_of(transform: Any, waves: Array) -> int:
    """Frames of all the waveforms together."""
    shape = next(iter(transform.graph().outputs.values())).shape
    return len(waves) * evaluate(shape, {"batch": len(waves), "samples": waves.shape[1]})[2]


def _on_device(waves: Array, device: str) -> Any:
    if device == "cpu":
        return np.ascontiguousarray(waves)
    import torch

    return torch.from_numpy(np.ascontiguousarray(waves)).to(device)


def _estimate(work: Work, waves: Array) -> float:
    """Bytes that the greediest library may need: several float32 spectra of the whole batch."""
    t = work.transform
    frame, hop = getattr(t, "n_fft", 2048), getattr(t, "hop", 512)
    return 6 * 4 * waves.size * (frame + 2) / hop


def report(settings: Settings, cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    from specgraph.bench.machine import machine, version

    return {
        "format": 1,
        "machine": machine(settings.device),
        "settings": dataclasses.asdict(settings),
        "peers": [
            {"name": peer.name, "package": peer.package, "version": version(peer.package), "computes": sorted(peer.computes),
             "missing": peer.missing, "note": peer.note}
            for peer in PEERS
        ],
        "cells": list(cells),
    }
