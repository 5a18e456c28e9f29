"""Is the lowering that the prices choose the fastest one? Every candidate timed, beside what it was priced at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from specgraph.bench import timing
from specgraph.bench.tables import Table
from specgraph.bench.work import Array, subject_named
from specgraph.cost import Cost, target_named
from specgraph.lowering import SECONDS, lower, work
from specgraph.metadata import Metadata
from specgraph.runtimes import slices
from specgraph.runtimes.ort import MOST_BYTES

Run = Callable[[Array], None]
CLOSE = 1.15  # a choice is right that takes at most so many times as long as the best
SLOW = 4.0  # what takes so many times as long as the best in its first runs is not timed further
SUBJECTS = ("mel", "spectrogram", "stft")
SIZES = ("400/160", "512/160", "1024/256", "2048/512", "4096/1024", "2048/441")


@dataclass(frozen=True)
class Candidate:
    """A lowering of the subject's transform: what it does, what that is priced at, and the least time measured, in seconds."""

    subject: str
    size: str
    batch: int
    lowering: str
    chosen: bool
    frames: int
    cost: Cost
    price: float
    seconds: float


def candidates(names: Sequence[str], sizes: Sequence[str], batches: Sequence[int], budget: float) -> Iterator[list[Candidate]]:
    """For every subject, size and batch, the lowerings of its spectrum that run on a CPU, timed on one thread in turns."""
    for name in names or SUBJECTS:
        subject = subject_named(name)
        for size in sizes or SIZES:
            made = _made(subject.at(size))
            for batch in batches:
                yield list(_timed(subject.name, size, subject.at(size), made, batch, budget))


def _made(transform: Any) -> dict[str, tuple[bool, float, Cost, Run]]:
    """By name: whether it is chosen, its price, its cost, and a function of waveforms that runs it as ``load`` does."""
    import onnx_ir as ir

    from specgraph.export.describe import describe
    from specgraph.export.emit import emit
    from specgraph.export.slicing import slicing
    from specgraph.runtimes.session import session

    target, graph = target_named("cpu"), transform.graph()
    choice = lower(graph, target).choices[0]
    made: dict[str, tuple[bool, float, Cost, Run]] = {}
    for name, price in choice.prices.items():
        if price is not None:
            lowered = lower(graph, target, {"Stft": name})
            cost = work(lowered, target)
            assert cost is not None
            model = emit(lowered)
            meta = describe(graph, slicing=slicing(graph, lowered, model, {}))
            once = session(ir.to_proto(model).SerializeToString(), "cpu", 1)
            made[name] = (name == choice.chosen, price, cost, partial(_in_parts, meta, once))
    return made


def _in_parts(meta: Metadata, session: Any, wave: Array) -> None:
    clips, samples = wave.shape
    plan = slices.parts(meta, clips, samples, MOST_BYTES, apart=True)
    slices.joined(plan, [wave], lambda arrays: session.run(None, {"waveforms": arrays[0]}), list(meta.outputs.values()))


def _timed(
    subject: str, size: str, transform: Any, made: dict[str, tuple[bool, float, Cost, Run]], batch: int, budget: float
) -> Iterator[Candidate]:
    from specgraph.bench.trial import frames_of

    wave = (0.1 * np.random.default_rng(0).standard_normal((batch, int(SECONDS * transform.sample_rate)))).astype(np.float32)
    runs = {name: partial(run, wave) for name, (*_, run) in made.items()}
    least = {name: min(timing.cpu_lap(run).busy for _ in range(2)) for name, run in runs.items()}
    quick = {name: run for name, run in runs.items() if least[name] <= SLOW * min(least.values())}
    for name, laps in timing.alternate(quick, budget).items():
        least[name] = min([least[name], *(lap.busy for lap in laps)])
    for name, (chosen, price, cost, _) in made.items():
        yield Candidate(subject, size, batch, name, chosen, frames_of(transform, wave), cost, price, least[name])


def slower(cell: Sequence[Candidate]) -> float:
    """How many times as long as the best the chosen one takes."""
    return next(one.seconds for one in cell if one.chosen) / min(one.seconds for one in cell)


def table(cells: Sequence[Sequence[Candidate]]) -> Table:
    """A row for each cell: what was chosen, what was best, and the times of all."""
    rows = []
    for cell in cells:
        ranked = sorted(cell, key=lambda one: one.seconds)
        chosen = next(one for one in cell if one.chosen)
        times = ", ".join(f"{one.lowering} {_us(one.seconds, one):.3g} ({_us(one.price * one.batch, one):.3g})" for one in ranked[:4])
        rows.append((f"{chosen.subject} {chosen.size}", str(chosen.batch), chosen.lowering, f"{slower(cell):.2f}", times))
    good = sum(slower(cell) <= CLOSE for cell in cells)
    title = f"{good} of {len(cells)} choices take at most {CLOSE:g} times as long as the best: processor time, one thread"
    return Table(title, ("", "batch", "chosen", "times the best", "fastest, us a frame (priced)"), tuple(rows))


def _us(seconds: float, candidate: Candidate) -> float:
    return 1e6 * seconds / candidate.frames


def report(cells: Sequence[Sequence[Candidate]]) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    from specgraph.bench.machine import machine

    good = sum(slower(cell) <= CLOSE for cell in cells) / max(len(cells), 1)
    return {
        "format": 1,
        "machine": machine("cpu"),
        "close": CLOSE,
        "share": good,
        "candidates": [asdict(one) for cell in cells for one in cell],
    }
