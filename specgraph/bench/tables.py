"""Results as tables: the same rows for a terminal and for markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from specgraph.bench.peers_own import OWN
from specgraph.listing import bytes_text

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Cell = dict[str, Any]
QUIET = 0.3  # load average by core up to which a machine is at rest
CLOCKS = {"cpu": "processor time", "wall": "time", "gpu": "GPU time"}


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and rows of text, the first of each a name."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def rich(self) -> RichTable:
        """For a terminal."""
        from rich.markup import escape
        from rich.table import Table as Rich

        table = Rich(title=escape(self.title), title_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(escape(column), justify="right" if i else "left")
        for row in self.rows:
            table.add_row(*map(escape, row), style="green" if row[0] == OWN else None)
        return table

    def markdown(self) -> str:
        """For a file: the table, without its title."""
        lines = [self.columns, ("---", *["---:"] * (len(self.columns) - 1)), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def speed(group: Sequence[Cell]) -> Table:
    """One subject, size and number of threads; a column for every batch."""
    first = group[0]
    clock = first["clock"]
    names = list(dict.fromkeys(row["name"] for cell in group for row in cell["rows"]))
    batches = tuple(f"batch {cell['batch']}" for cell in group)
    unit = "" if first["error_unit"] == "of the peak" else f" ({first['error_unit']})"
    columns = ("", *batches, f"error{unit}", "holds", "start ms", "memory")
    rows = []
    for name in names:
        found = [next((row for row in cell["rows"] if row["name"] == name), None) for cell in group]
        last = next(row for row in reversed(found) if row is not None)
        rows.append(
            (
                name,
                *("-" if row is None else _time(row, clock) for row in found),
                f"{last['error']:.1e}",
                "-" if last["bytes"] is None else bytes_text(last["bytes"]),
                f"{1e3 * last['start_seconds']:.1f}",
                "-" if found[-1] is None or found[-1]["memory"] is None else bytes_text(found[-1]["memory"]),
            )
        )
    title = f"{first['subject']} {first['size']} at {first['sample_rate']} Hz, {where(first)}: {CLOCKS[clock]} in microseconds a frame (times specgraph's)"
    return Table(title, columns, tuple(rows))


def _time(row: dict[str, Any], clock: str) -> str:
    ratio = row[clock]["ratio"]
    return f"{row[clock]['us_per_frame']:.3g}" + ("" if ratio is None else f" ({ratio:.2f})")


def where(cell: Cell) -> str:
    """The device and how it is used, for a title."""
    if cell["device"] == "cuda":
        return "CUDA with TF32" if cell["tf32"] else "CUDA without TF32"
    return "1 thread" if cell["threads"] == 1 else f"{cell['threads']} threads"


def summaries(cells: Sequence[Cell]) -> Iterator[Table]:
    """For each subject and mode, sizes side by side: what a README shows."""
    for subject, mode in dict.fromkeys((cell["subject"], where(cell)) for cell in cells):
        chosen = [cell for cell in cells if (cell["subject"], where(cell)) == (subject, mode)]
        clock = chosen[0]["clock"]
        sizes = tuple(dict.fromkeys(cell["size"] for cell in chosen))
        batches = " / ".join(map(str, dict.fromkeys(cell["batch"] for cell in chosen)))
        rows = []
        for name in dict.fromkeys(row["name"] for cell in chosen for row in cell["rows"]):
            errors: list[float] = []
            texts = []
            for size in sizes:
                found = [next((row for row in cell["rows"] if row["name"] == name), None) for cell in chosen if cell["size"] == size]
                errors += [row["error"] for row in found if row]
                times = [f"{row[clock]['us_per_frame']:.1f}" if row else "-" for row in found]
                texts.append(" / ".join(times) if any(found) else "-")
            rows.append((name, *texts, f"{max(errors):.0e}"))
        title = f"{subject}, {mode}: {CLOCKS[clock]} in microseconds a frame, batch {batches}"
        unit = chosen[0]["error_unit"]
        yield Table(title, (f"{subject}, batch {batches}", *sizes, f"largest error, {unit}"), tuple(rows))


def machine_text(machine: dict[str, Any]) -> str:
    """The machine in a few lines."""
    memory = "" if machine["memory"] is None else f", {bytes_text(machine['memory'])} of memory"
    gpu = f" {machine['gpu']}, CUDA {machine['cuda']}." if "gpu" in machine else ""
    load = "" if machine["load"] is None else f" Load average at the end: {machine['load']}."
    versions = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    before = machine.get("load_before")
    if before is not None and before > QUIET * machine["cores"]:
        load += f"\n\n**Provisional**: others were using the machine (load average {before} before the measurement began); times are to be taken anew.\n"
    return (
        f"{machine['date']}. {machine['processor']}, {machine['cores']} cores{memory}.{gpu}{load}\n"
        f"{machine['system']}, Python {machine['python']}, {versions}.\n"
    )


def speed_markdown(results: dict[str, Any]) -> str:
    """docs/benchmarks/README.md."""
    from specgraph.bench import paper, startup

    cells, settings = results["cells"], results["settings"]
    missing = [f"- {peer['name']}: {peer['missing']}" for peer in results["peers"] if peer["missing"]]
    notes = {row["name"]: row["note"] for cell in [*cells, *results.get("paper", [])] for row in cell["rows"] if row["note"]}
    left = sorted({f"{cell['subject']} {cell['size']}, batch {cell['batch']}: {one['name']}, {one['why']}" for cell in cells for one in cell["left_out"]})
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell["subject"], cell["size"], where(cell)), []).append(cell)
    full = [speed(group) for group in groups.values()]
    parts = [
        "# Speed\n",
        f"Written by `{results['machine']['command']}`; the numbers are in [results.json](results.json).\n",
        machine_text(results["machine"]),
        (f"Clips of {settings['seconds']:g} s of noise. Every runner is warmed up by a run, then they take turns until {settings['budget']:g} s are "
        f"spent or {settings['rounds']} rounds done; a time is the least of its rounds (results.json has the median too). One thread: processor "
        "time of the whole process. More threads: time on the wall. "
        "An error is the largest difference from the float64 definition, as a fraction of its peak or in its own unit. A runner "
        "holds the bytes of its file or of its constants; it starts from that file, or by its constructor. Memory is by how much the first run "
        "at the largest batch raised the peak of what is resident, a lower bound. "
        f"Runners may use {settings['memory']:g} GB (`--memory`): those that together would hold more than a third of that are timed one after "
        "another, and those that need more are left out.\n"),
        *(f"## {table.title}\n\n{table.markdown()}" for table in summaries(cells)),
        *([paper.markdown(results["paper"])] if results.get("paper") else []),
        *([f"## {found.title}\n\n{found.markdown()}" for found in (startup.table(results["start"]),)] if results.get("start") else []),
        "## Who is who\n",
        "\n".join(f"- **{name}**: {note}" for name, note in notes.items()) + "\n",
        *(["Not installed:\n", "\n".join(missing) + "\n"] if missing else []),
        *(["Left out:\n", "\n".join(f"- {one}" for one in left) + "\n"] if left else []),
        "## In full\n",
        *(f"**{table.title}**\n\n{table.markdown()}" for table in full),
    ]
    return "\n".join(parts)
