"""The accuracy report: every runner against the float64 definition of the same convention, on chirps, an impulse, a scale and noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specgraph.bench.matrix import runners
from specgraph.bench.tables import Table, machine_text
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
    about = describe(transform.graph(), "cpu", (), {}).outputs["features"]
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
        "unit": subject.unit, "inside": subject.inside, "chosen": [f"{c.op.split('(')[0]}: {c.chosen}" for c in lower(transform.graph()).choices],
        "rows": rows, "left_out": left_out,
    }  # fmt: skip
    return result, pictures


def _difference(usual: Any, other: Any) -> dict[str, Any]:
    """The parameters in which two transforms differ."""
    if type(usual) is not type(other):
        return {"transform": type(other).__name__}
    return {name: value for name, value in vars(other).items() if getattr(usual, name, None) != value}


def table(result: dict[str, Any], whole: bool = False) -> Table:
    """The largest errors of one subject, and with ``whole`` the root mean square and the largest away from the ends too."""
    fields = ["largest", *(["rms"] if whole else []), *(["inside"] if whole and result["inside"] else [])]
    rows = []
    for row in result["rows"]:
        mark = f" ({', '.join(f'{name}={value}' for name, value in row['compared_with'].items())})" if row["compared_with"] else ""
        rows.append((row["name"] + mark, *(" / ".join(f"{row[field][s]:.1e}" for field in fields) for s in SIGNALS)))
    title = f"{result['subject']} {result['size']}: largest error against float64, as a fraction of the peak"
    return Table(title, ("", *SIGNALS), tuple(rows))


def report(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """All of it, as JSON holds it."""
    from specgraph.bench.machine import machine

    return {"format": 1, "machine": machine("cpu"), "results": list(results)}


def markdown(results: dict[str, Any]) -> str:
    """docs/accuracy/README.md."""
    parts = [
        "# Accuracy\n",
        f"Written by `{results['machine']['command']}`; the numbers are in [results.json](results.json).\n",
        machine_text(results["machine"]),
        ("Signals at 44.1 kHz: chirps from 55 to 22,050 Hz, linear and logarithmic, an impulse (1 s each), a chromatic scale of decaying "
        "harmonics (25 tones of 0.25 s), white noise (1 s). Every library is given the same float32 samples, and is compared with the float64 "
        "definition of the convention that it follows, all frames, those at the ends included. Two numbers: the largest difference as a fraction of "
        "the definition's peak, and the root mean square of the difference as a fraction of the definition's. float32 holds 6e-8.\n"),
    ]
    for result in results["results"]:
        parts += [f"## {result['subject']}, {result['size']}\n", f"Convention: {result['convention']}.\n", f"`{result['transform']}`\n"]
        parts.append(table(result, whole=True).markdown())
        parts += [f"![{result['subject']} of a {signal}]({picture_name(result['subject'], signal)})\n" for signal in DRAWN]
        if result["left_out"]:
            parts.append("Left out:\n\n" + "\n".join(f"- {one['name']}: {one['why']}" for one in result["left_out"]) + "\n")
    return "\n".join(parts)


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
