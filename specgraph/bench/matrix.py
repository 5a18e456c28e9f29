"""The speed matrix: subject x size x threads x batch, every runner beside specgraph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from specgraph.bench import cuda, timing
from specgraph.bench.peers_own import OWN, PLAIN, exported, in_onnxruntime, in_runner, lowerings, torch_module
from specgraph.bench.trial import CHECK_SECONDS, LeftOut, Trial, on_device
from specgraph.bench.work import GIGABYTES, PEERS, Array, Ready, Work, subject_named

HELD = 1 / 3  # of the memory allowed: what runners that take turns may hold together; one beyond it is timed alone
Build = Callable[[Work], Ready | None]


@dataclass(frozen=True)
class Settings:
    """What to measure. ``threads`` 0 means all; ``sizes`` empty means each subject's own."""

    names: tuple[str, ...] = ("mel", "spectrogram", "log-mel", "cqt")
    sizes: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8, 64)
    threads: tuple[int, ...] = (1, 0)
    seconds: float = 10.0
    budget: float = 3.0
    rounds: int = timing.MOST_ROUNDS
    all_lowerings: bool = False
    device: str = "cpu"
    memory: float = GIGABYTES

    def that_take(self, sizes: Sequence[str]) -> tuple[str, ...]:
        """Of the names those that know all of these sizes; all of them if none does."""

        def takes(name: str) -> bool:
            try:
                return all(subject_named(name).at(size) for size in sizes)
            except ValueError:
                return False

        return tuple(name for name in self.names if takes(name)) or self.names

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
        if not self.memory > 0:
            raise ValueError(f"--memory must be above 0, not {self.memory:g}")
        cuda.checked_device(self.device)


def groups(settings: Settings) -> Iterator[list[dict[str, Any]]]:
    """Cells as they are measured: for each subject, size and number of threads, a cell for every batch."""
    for name in settings.names:
        subject = subject_named(name)
        for size in settings.sizes or subject.sizes:
            transform = subject.at(size)
            models: dict[str, bytes] = {}
            for threads, tf32 in _modes(settings):
                work = Work(subject, size, transform, settings.device, threads, tf32, memory=1e9 * settings.memory)
                yield [_cell(work, batch, settings, models) for batch in settings.batches]


def _modes(settings: Settings) -> list[tuple[int, bool]]:
    """(threads, TF32): on a CPU every number of threads, on CUDA without TF32 and with it."""
    if settings.device == "cuda":
        return [(1, False), (1, True)]
    return [(threads, False) for threads in dict.fromkeys(count or timing.cores() for count in settings.threads)]


def runners(work: Work, all_lowerings: bool, models: dict[str, bytes], timed: bool = True) -> dict[str, tuple[Build, str]]:
    """(how to build it, what differs) of everything that may compute the work, specgraph first; ``timed``: for a table of times."""

    start = in_onnxruntime if work.device == "cuda" else in_runner

    def own(label: str, prefer: dict[str, str] | None, work: Work = work, start: Callable[[bytes, Work], Ready] = start) -> Build:
        if label not in models:
            try:
                models[label] = exported(work, prefer)
            except ValueError as problem:  # a lowering that is not exact enough, or does not go with the others
                if prefer is None:
                    raise
                return _refusal(problem)
        return lambda work: start(models[label], work)

    found: dict[str, tuple[Build, str]] = {OWN: (own(OWN, None), "the exported file, run by specgraph.load")}
    if work.device == "cpu" and timed:
        found[PLAIN] = own(OWN, None, start=in_onnxruntime), "the same file in an onnxruntime session, all at once"
    if closer := work.subject.closer:
        label = f"{OWN} {', '.join(f'{name}={value:g}' for name, value in closer.items())}"
        exact = dataclasses.replace(work, transform=dataclasses.replace(work.transform, **closer))
        found[label] = own(label, None, exact), "the exported file, with another tolerance"
    for op, name in lowerings(work) if all_lowerings else []:
        label = f"{OWN} {op}={name}"
        found[label] = own(label, {op: name}), "another lowering"
    found[f"{OWN} in torch"] = torch_module, "the torch module, as it is trained"
    for peer in PEERS:
        if work.subject.name in peer.computes and not peer.missing and work.device in peer.devices and (peer.timed or not timed):
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
    laps: dict[str, list[timing.Lap]] = {}
    clip = waves[:1, : max(int(CHECK_SECONDS * work.transform.sample_rate), work.transform.graph().least())]
    trial = Trial(work, on_device(waves, work.device), on_device(clip, work.device), waves, clip, lap, settings.budget)
    found = runners(work, settings.all_lowerings, models)
    for name, (build, note) in found.items():
        try:
            ready, row = trial.of(build)
        except LeftOut as reason:
            left_out += [{"name": name, "why": str(reason)}] if str(reason) else []
            continue
        except Exception as problem:  # a library that cannot do this must not end the measurement
            if name == OWN:
                raise
            left_out.append({"name": name, "why": f"{type(problem).__name__}: {str(problem).strip().splitlines()[0][:200]}"})
            continue
        holds = (row["memory"] or 0) + (ready.size or 0)
        alone = trial.held + holds > HELD * work.memory
        rows[name] = {"name": name, "note": note, "alone": alone} | row
        if alone:
            laps |= timing.alternate({name: partial(ready.run, trial.there)}, settings.budget / len(found), settings.rounds, lap)
            del ready
        else:
            trial.held += holds
            runs[name] = partial(ready.run, trial.there)
    laps |= timing.alternate(runs, settings.budget, settings.rounds, lap)
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
