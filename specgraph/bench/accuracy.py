"""The accuracy report: every runner against the float64 definition of the same convention, on chirps, an impulse, a scale and noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specgraph.bench.matrix import runners
from specgraph.bench.tones import DRAWN, SIGNALS, wave
from specgraph.bench.work import GIGABYTES, SUBJECTS, Array, Subject, Work, definition, error, subject_named, to_array
from specgraph.export.describe import describe
from specgraph.lowering import lower


@dataclass(frozen=True)
class Drawn:
    """What a picture shows: of one signal, the definition, and for each runner its features and its own definition."""

    subject: str
    signal: str
    definition: Array
    features: dict[str, tuple[Array, Array]]
    frequencies: tuple[float, ...] | None
    step: float  # seconds a frame
    faults: tuple[float, float]  # decimal logarithms of the errors that are drawn


def subjects(names: Sequence[str] = ()) -> list[Subject]:
    """Those that are part of the report, all of them if none is named."""
    if not names:
        return [subject for subject in SUBJECTS.values() if subject.accuracy]
    chosen = [subject_named(name) for name in names]
    for subject in chosen:
        if not subject.accuracy:
            raise ValueError(f"{subject.name} is not part of the accuracy report; there are {', '.join(s.name for s in subjects())}")
    return chosen


def measured(subject: Subject, gigabytes: float = GIGABYTES) -> tuple[dict[str, Any], list[Drawn]]:
    """The errors of every runner on every signal, and what is drawn of them."""
    assert subject.accuracy
    transform = subject.at(subject.accuracy)
    work = Work(subject, subject.accuracy, transform, memory=1e9 * gigabytes)
    waves = {name: wave(name) for name in SIGNALS}
    truths: dict[Any, dict[str, Array]] = {}
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    drawn: dict[str, dict[str, tuple[Array, Array]]] = {name: {} for name in DRAWN}
    about = describe(transform.graph()).outputs["features"]
    edge = -(-max(about.before or 0, about.after or 0) // int(about.hop))  # frames that reach beyond an end
    for name, (build, note) in runners(work, True, {}, timed=False).items():
        try:
            ready = build(work)
            if ready is None:
                continue
            of = ready.definition or transform
            if of not in truths:
                truths[of] = {signal: definition(of, clip) for signal, clip in waves.items()}
            got = {signal: to_array(ready.features(ready.run(clip))) for signal, clip in waves.items()}
            off = {signal: error(got[signal], truths[of][signal], subject.unit, slice(edge, -edge or None)) for signal in waves}
        except Exception as problem:  # noqa: BLE001  (a library that cannot do this must not end the others' measurement)
            left_out.append({"name": name, "why": f"{type(problem).__name__}: {str(problem).strip().splitlines()[0][:200]}"})
            continue
        changed = {} if of is transform else _difference(transform, of)
        rows.append(
            {"name": name, "note": note, "compared_with": changed}
            | {field: {signal: getattr(e, field) for signal, e in off.items()} for field in ("largest", "rms", "inside")}
        )
        if not subject.pictured or name in subject.pictured:
            for signal in DRAWN:
                drawn[signal][name] = got[signal][0], truths[of][signal][0]
    if transform not in truths:
        truths[transform] = {signal: definition(transform, waves[signal]) for signal in DRAWN}
    step = about.hop / transform.sample_rate
    pictures = [
        Drawn(subject.name, signal, truths[transform][signal][0], features, about.frequencies, step, subject.faults)
        for signal, features in drawn.items()
    ]
    result = {
        "subject": subject.name, "size": subject.accuracy, "transform": str(transform), "convention": subject.convention,
        "unit": subject.unit, "inside": subject.inside, "chosen": [f"{c.chosen} of {c.op.split('(')[0]}" for c in lower(transform.graph()).choices],
        "rows": rows, "left_out": left_out,
    }  # fmt: skip
    return result, pictures


def _difference(usual: Any, other: Any) -> dict[str, Any]:
    """The parameters in which two transforms differ."""
    if type(usual) is not type(other):
        return {"transform": type(other).__name__}
    return {name: value for name, value in vars(other).items() if getattr(usual, name, None) != value}


def report(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    from specgraph.bench.machine import machine

    return {"format": 1, "machine": machine("cpu"), "results": list(results)}


def picture_name(subject: str, signal: str) -> str:
    """The file of a picture."""
    return f"{subject}-{signal.replace(' ', '-')}.png"


def pictures(drawn: Sequence[Drawn], folder: Path) -> Iterator[Path]:
    """Draw them into the folder."""
    from specgraph.bench.pictures import side_by_side

    for one in drawn:
        path = folder / picture_name(one.subject, one.signal)
        side_by_side(one, path)
        yield path
