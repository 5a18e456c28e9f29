"""The speed experiment of the nnAudio paper: seconds for a set of clips of 80,000 samples at 44.1 kHz.

Cheuk and others, "nnAudio: an on-the-fly GPU audio to spectrogram conversion toolbox using 1D convolutional neural networks", 2020:
1,770 clips; STFT (2048/512), 128 mel bands, constant-Q of 84 bins, 24 an octave from 55 Hz. Here the clips are made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from specgraph.bench import memory, timing
from specgraph.bench.matrix import Settings, runners
from specgraph.bench.tables import CLOCKS, Table
from specgraph.bench.work import Array, Ready, Work, definition, error, subject_named, to_array

RATE, SAMPLES = 44100, 80_000
CLIPS, FULL = 100, 1770
EXPERIMENTS = {
    "STFT": ("spectrogram", "2048/512@44100"),
    "mel": ("mel", "2048/512@44100"),
    "CQT": ("cqt", "84x24/512@44100:55"),
}
SYSTEMS = ("specgraph", "librosa", "nnAudio")
BATCHES = (1, 10, 50)
MOST_SECONDS = 2.0  # a clip


def clips(count: int) -> Array:
    """(count, SAMPLES) float32: each a chord of decaying harmonics on a floor of noise."""
    rng = np.random.default_rng(0)
    t = np.arange(SAMPLES) / RATE
    made = np.empty((count, SAMPLES), np.float32)
    for clip in made:
        tones = np.zeros(SAMPLES)
        for pitch in 55.0 * 2 ** (rng.integers(0, 60, 4) / 12):
            for harmonic in range(1, 5):
                tones += 0.2 / harmonic * np.exp(-t * harmonic) * np.sin(2 * np.pi * pitch * harmonic * t)
        clip[:] = tones / 4 + 1e-3 * rng.standard_normal(SAMPLES)
    return made


def experiments(count: int, settings: Settings) -> Iterator[dict[str, Any]]:
    """For each transform and number of threads the seconds that every runner takes for ``count`` clips.

    Of ``settings`` the memory, and the rounds and seconds that a runner has for the set.
    """
    waves = clips(count)
    for label, (name, size) in EXPERIMENTS.items():
        subject = subject_named(name)
        transform = subject.at(size)
        models: dict[str, bytes] = {}
        truths: dict[Any, Array] = {}
        for threads in dict.fromkeys((1, timing.cores())):
            work = Work(subject, size, transform, threads=threads, memory=1e9 * settings.memory)
            rows, left_out = [], []
            with timing.limited(threads):
                for runner, (build, note) in runners(work, name == "cqt", models).items():
                    if not runner.startswith(SYSTEMS):
                        continue
                    try:
                        if (ready := build(work)) is None:
                            continue
                        rows.append({"name": runner, "note": note} | _measured(ready, work, waves, truths, settings))
                    except Exception as problem:  # noqa: BLE001  (a library that cannot do this must not end the measurement)
                        left_out.append({"name": runner, "why": str(problem).strip().splitlines()[0][:200]})
            yield {
                "experiment": label, "subject": name, "size": size, "transform": str(transform), "threads": threads, "clips": count,
                "samples": SAMPLES, "rows": rows, "left_out": left_out,
            }  # fmt: skip


def _measured(ready: Ready, work: Work, waves: Array, truths: dict[Any, Array], settings: Settings) -> dict[str, Any]:
    """The batch that is quickest on the first clips, of those that fit the memory, and the seconds for all clips with it."""
    of = ready.definition or work.transform
    if of not in truths:
        truths[of] = definition(of, waves[:1])
    off = error(to_array(ready.features(ready.run(waves[:1]))), truths[of], work.subject.unit)
    pace: dict[int, float] = {}
    need, room = 0.0, min(work.memory, memory.available() or work.memory)
    for batch in BATCHES:
        trial = waves[: max(batch, BATCHES[1])]
        if batch > len(waves) or need * batch > room:
            break
        with memory.Growth() as growth:
            ready.run(trial[:batch])  # plans and allocates
        need = (growth.bytes or 0) / batch
        pace[batch] = min(timing.cpu_lap(partial(_through, ready.run, trial, batch)).wall for _ in range(2)) / len(trial)
        if pace[batch] > MOST_SECONDS:
            raise ValueError(f"it takes {pace[batch]:.1f} s a clip")
    best = min(pace, key=lambda batch: pace[batch])
    laps = timing.alternate({"set": partial(_through, ready.run, waves, best)}, settings.budget, settings.rounds, clean=False)["set"]
    seconds = {"cpu": timing.summary([lap.busy for lap in laps]), "wall": timing.summary([lap.wall for lap in laps])}
    return {"batch": best, "seconds_a_clip": pace, "rounds": len(laps), "error": off.largest} | seconds


def _through(run: Callable[[Any], object], waves: Array, batch: int) -> None:
    for start in range(0, len(waves), batch):
        run(waves[start : start + batch])


def table(group: list[dict[str, Any]]) -> Table:
    """One transform: a row for every runner, a column for every number of threads."""
    first = group[0]
    columns = [f"{cell['threads']} thread{'s' if cell['threads'] > 1 else ''}, {CLOCKS[_clock(cell)]} (batch)" for cell in group]
    rows = []
    for name in dict.fromkeys(row["name"] for cell in group for row in cell["rows"]):
        found = [next((row for row in cell["rows"] if row["name"] == name), None) for cell in group]
        texts = ["-" if row is None else f"{row[_clock(cell)]['min']:.3g} ({row['batch']})" for cell, row in zip(group, found, strict=True)]
        rows.append((name, *texts, f"{max(row['error'] for row in found if row):.0e}"))
    title = f"{first['experiment']} {first['size']}: seconds for {first['clips']} clips of {first['samples']} samples"
    return Table(title, ("", *columns, "largest error, of the peak"), tuple(rows))


def tables(cells: list[dict[str, Any]]) -> list[Table]:
    """A table for each transform."""
    labels = dict.fromkeys(cell["experiment"] for cell in cells)
    return [table([cell for cell in cells if cell["experiment"] == label]) for label in labels]


def _clock(cell: dict[str, Any]) -> str:
    return "cpu" if cell["threads"] == 1 else "wall"


def markdown(cells: list[dict[str, Any]]) -> str:
    """A section of docs/benchmarks/README.md."""
    left = sorted({f"- {cell['experiment']}: {one['name']}, {one['why']}" for cell in cells for one in cell["left_out"]})
    parts = [
        "## The experiment of the nnAudio paper\n",
        (f"Seconds for {cells[0]['clips']} clips of {SAMPLES:,} samples at 44.1 kHz (the paper's were {FULL:,} recordings; these are made: chords of "
        "decaying harmonics on noise), the least of several rounds, in batches of the size in parentheses: of 1, 10 and 50, as far as they fit the "
        "memory, the one that was quickest on the first clips (the paper gave librosa one clip at a time). STFT is the magnitude, mel has 128 bands, CQT is the magnitude of 84 bins, 24 an "
        "octave from 55 Hz. One thread: processor time; more: time on the wall.\n"),
        *(f"**{table.title}**\n\n{table.markdown()}" for table in tables(cells)),
        *(["Left out:\n", "\n".join(left) + "\n"] if left else []),
    ]
    return "\n".join(parts)
