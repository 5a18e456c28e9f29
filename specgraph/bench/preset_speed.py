"""The speed table of presets: every one beside whoever else computes its features, on one thread, taking turns."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.bench import timing
from specgraph.bench.machine import load_average, machine, version
from specgraph.bench.peers_onnx_asr import shipped
from specgraph.bench.peers_own import OWN
from specgraph.bench.references import load
from specgraph.bench.tables import Table, machine_text
from specgraph.presets import Preset, preset, presets

Row = dict[str, Any]
BATCHES = (1, 8)
ROUNDS = 200
COMMAND = "specgraph bench --presets -o docs/benchmarks/presets.md"
TIMES_AS_FAST = {"onnx-asr": 3.0, "kaldi-native-fbank": 5.0}  # what is wanted; 1 of the others
SHIPPED = {  # the quickest graph of onnx-asr for a preset; that of WeSpeaker has the STFT op, the others a convolution with the whole basis
    "whisper-80": "whisper80_conv", "whisper-128": "whisper128_conv", "nemo-80": "nemo80_conv", "nemo-128": "nemo128_conv",
    "gigaam-v2": "gigaam_v2_conv", "gigaam-v3": "gigaam_v3_conv", "icefall": "kaldi_conv", "wespeaker": "wespeaker",
}  # fmt: skip
EXPLAINED = """The file that `specgraph export` writes, run by `specgraph.load` with `threads=1`, and the references, on one thread each, take turns in one
run; a time is the least processor time of the whole process, in microseconds for all the clips of a batch, and the ratio is the reference's to specgraph's.
Where a reference takes one clip at a time, it is given the clips of a batch one after another. It computes the features whole, as the preset gives them: from what
the package has, in the precision that its users have, with what follows in numpy or torch. librosa designs its filters anew in every call, as it does for its users.
Clips are noise; presets that cut clips to one length, or fill them up to it, do so here too. **difference** is the largest between the two on the clip that is timed: they compute
the same, but for onnx-asr's graphs of Kaldi's features, which differ in low bins from its own numpy code and from kaldi-native-fbank. **wanted** is 3 for a graph of onnx-asr, 5 for kaldi-native-fbank and 1 for the others.
"""


@dataclass(frozen=True)
class Contestant:
    """Who else computes a preset: its name and version, and (batch, samples) float32 -> features."""

    package: str
    text: str
    run: Callable[[Any], Any]

    @property
    def wanted(self) -> float:
        """How many times as fast specgraph should be."""
        return TIMES_AS_FAST.get(self.package, 1.0)


def contestants(p: Preset) -> Iterator[Contestant]:
    """The reference of the parity table, where it is installed, and a graph of onnx-asr, where it ships one."""
    found = load().get(p.name)
    if found and not found.missing and found.package != "onnx-asr":
        yield Contestant(found.package, found.text, partial(_one_by_one, found.timed(p)))
    if p.name in SHIPPED and version("onnx-asr"):
        yield Contestant("onnx-asr", f"onnx-asr {version('onnx-asr')} {SHIPPED[p.name]}.onnx", _shipped(SHIPPED[p.name]))


def _shipped(name: str) -> Callable[[Any], Any]:
    """(batch, samples) float32 -> features, by a graph of onnx-asr's on one thread."""
    run = shipped(name, threads=1).run
    if name != "wespeaker":
        return run

    def as_wespeaker(waves: Any) -> Any:  # which takes 16-bit samples, and subtracts the mean itself
        features = run(waves * np.float32(2**15))
        return features - features.mean(1, keepdims=True)

    return as_wespeaker


def _one_by_one(run: Callable[[Any], Any], waves: Any) -> list[Any]:
    return [run(wave) for wave in waves]


def measured(names: Sequence[str] = (), seconds: float = 10.0, budget: float = 3.0, batches: Sequence[int] = BATCHES) -> Iterator[Row]:
    """A row for every preset and reference: microseconds by batch, and the difference; or why there is none."""
    from specgraph.export import to_onnx
    from specgraph.runtimes import load as load_model

    for p in map(preset, names) if names else presets().values():
        with timing.limited(1), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            others = list(contestants(p))
            if not others:
                reference = load().get(p.name)
                yield {"preset": p.name, "why": f"{reference.text}: {reference.missing}" if reference and reference.missing else f"no package: {p.reference}"}
                continue
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.onnx"
                to_onnx(p, path)
                run = load_model(path, threads=1)
            waves = (0.1 * np.random.default_rng(0).standard_normal((max(batches), int(seconds * p.sample_rate)))).astype(np.float32)
            rows = {other.text: _compared(p, run(waves[:1]), other, waves[:1]) for other in others}
            runs: dict[str, Callable[[Any], Any]] = {OWN: run} | {other.text: other.run for other in others}
            for batch in batches:
                laps = timing.alternate({name: partial(each, waves[:batch]) for name, each in runs.items()}, budget, ROUNDS)
                least = {name: 1e6 * min(lap.busy for lap in each) for name, each in laps.items()}
                for name, row in rows.items():
                    row["times"][batch] = least[OWN], least[name]
        yield from rows.values()


def _compared(p: Preset, own: Any, other: Contestant, waves: Any) -> Row:
    """A row without its times."""
    theirs = np.asarray(other.run(waves)[0])
    if theirs.shape != own[0].shape:
        raise ValueError(f"{p.name} gives {own[0].shape} and {other.text} {theirs.shape}, on {waves.shape[1]} samples")
    return {"preset": p.name, "reference": other.text, "wanted": other.wanted, "difference": float(np.abs(own[0] - theirs).max()), "times": {}}


def table(rows: Sequence[Row]) -> Table:
    """A line for every preset and reference."""
    batches = next((tuple(row["times"]) for row in rows if "times" in row), ())
    columns = ["preset", "reference"]
    for batch in batches:
        columns += [f"batch {batch}: specgraph, us", "reference, us", "ratio"]
    lines: list[tuple[str, ...]] = []
    for row in rows:
        if "why" in row:
            lines.append((row["preset"], row["why"], *[""] * (3 * len(batches) + 2)))
            continue
        times = [text for own, other in row["times"].values() for text in (f"{own:.0f}", f"{other:.0f}", f"{other / own:.1f}")]
        lines.append((row["preset"], row["reference"], *times, f"{row['wanted']:g}", f"{row['difference']:.0e}"))
    return Table("presets beside their references: processor time", (*columns, "wanted", "difference"), tuple(lines))


def short_of(rows: Sequence[Row]) -> str:
    """In a sentence, where less was measured than is wanted."""
    kept = [row for row in rows if "times" in row]
    short = [
        f"{row['preset']} beside {row['reference']}, batch {batch} ({other / own:.2f})"
        for row in kept for batch, (own, other) in row["times"].items() if other < row["wanted"] * own
    ]  # fmt: skip
    return f"{len(kept)} comparisons; short of what is wanted: {'; '.join(short) or 'none'}."


def command(names: Sequence[str], seconds: float, budget: float, batches: Sequence[int], output: Path | None) -> None:
    """What ``specgraph bench --presets`` does."""
    from rich.markup import escape

    from specgraph.cli.show import console
    from specgraph.files import check_writable, whole

    if output is not None:
        if output.suffix != ".md":
            raise ValueError(f"--presets writes a .md file, not {output}; name one with -o")
        check_writable(output)
    before = load_average()
    rows = list(measured(names, seconds, budget, batches or BATCHES))
    out = console()
    if not out.is_terminal:
        out.width = 160
    out.print(table(rows).rich())
    out.print(short_of(rows), markup=False)
    if output is not None:
        head = f"# Presets: speed\n\nWritten by `{COMMAND}`.\n\n{machine_text(machine('cpu') | {'load_before': before})}"
        with whole(output) as temporary:
            temporary.write_text(f"{head}\nClips of {seconds:g} s. {EXPLAINED}\n{short_of(rows)}\n\n{table(rows).markdown()}")
        out.print(f"wrote [bold]{escape(str(output))}[/]")
