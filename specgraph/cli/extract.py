"""The command that makes the features of a corpus: extract."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from specgraph.cli.show import console, error_console
from specgraph.folders import passed_over_text
from specgraph.interrupts import raise_on_termination

if TYPE_CHECKING:
    from specgraph.runtimes.extract import Summary

RECENT = 30.0  # seconds that the speeds shown are of


def extract(
    model: Annotated[Path, typer.Argument(help="A file that specgraph wrote.", show_default=False)],
    corpus: Annotated[
        Path, typer.Argument(metavar="FOLDER_OR_MANIFEST", help="A folder of audio; or a .txt, .csv or .jsonl file that names files.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A folder, or a .parquet file that is written at the end.", show_default=False)],
    format: Annotated[str, typer.Option(help="parquet, npy or webdataset.")] = "parquet",
    on_damage: Annotated[
        str, typer.Option(help="Of a damaged file: skip it, salvage what can be decoded, or skip it and fail in the end.")
    ] = "skip",
    channel: Annotated[
        int | None,
        typer.Option(help="The one channel to take, from 0, where a manifest names none; the mix of all if not given.", min=0, show_default=False),
    ] = None,
    max_seconds: Annotated[float, typer.Option(help="Of sound in a file; one that has more is a row with its error.", min=0.001)] = 86400.0,
    max_mb: Annotated[float, typer.Option(help="Of a file's samples as the model takes them, in megabytes.", min=0.001)] = 2147.0,
    workers: Annotated[int | None, typer.Option(help="Processes, or actors with Ray; one for each core if not given.", show_default=False)] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, cuda:N or auto.")] = "cpu",
    engine: Annotated[str, typer.Option(help="local, or ray for one machine or a cluster.")] = "local",
    address: Annotated[str | None, typer.Option(help="Of a Ray cluster; one is started here if not given.", show_default=False)] = None,
    num_gpus: Annotated[float, typer.Option(help="GPUs of each Ray actor, such as 0.25.")] = 0.0,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Do files again that are there with an error; all else stays.")] = False,
) -> None:
    """Compute the features of a corpus: each file exactly once, bad files as rows with their error.

    Kill it whenever you like; run the same command again and it resumes.

    Example: specgraph extract mel.onnx recordings -o features.parquet
    """
    raise_on_termination("stopped; what is done is kept, and the same command goes on from there")
    from specgraph.runtimes import extract as job

    with _progress() as report:
        found = job.extract(
            model, corpus, output, format=format, on_damage=on_damage, channel=channel,
            max_seconds=max_seconds, max_bytes=round(max_mb * 1e6), workers=workers, device=device, engine=engine,
            address=address, num_gpus=num_gpus, retry_errors=retry_errors, report=report,
        )  # fmt: skip
    _tell(found)
    if on_damage == "fail" and found.wrong:
        raise typer.Exit(1)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """A bar with files a second and hours of audio a second, drawn twice a second: the cores are for the workers."""
    columns = (
        SpinnerColumn(), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=error_console(), transient=True, refresh_per_second=2, disable=not error_console().is_terminal) as bar:
        task = bar.add_task("", total=None, speed="")
        seen: list[tuple[float, int, float]] = []

        def report(done: int, files: int, seconds: float) -> None:
            now = time.monotonic()
            if seen and done < files and now - seen[-1][0] < 0.25:
                return
            seen.append((now, done, seconds))
            while now - seen[0][0] > RECENT:
                del seen[0]
            since = max(now - seen[0][0], 1e-9)
            rates = (done - seen[0][1]) / since, (seconds - seen[0][2]) / since / 3600
            speed = f"{rates[0]:.3g} files/s, {rates[1]:.2g} h of audio/s" if len(seen) > 1 else ""
            bar.update(task, completed=done, total=files, speed=speed)

        yield report


def _tell(found: Summary) -> None:
    out = console()
    again = f" ({found.duplicates} more were named twice)" if found.duplicates else ""
    out.print(f"{found.files - found.failed} of {found.files} files{again}, {found.seconds / 3600:.2f} hours of audio, in [bold]{escape(str(found.output))}[/]")
    if found.now_files:
        of = "" if found.now_files == found.files else f"{found.now_files} of them now, "
        out.print(
            f"{of}{found.elapsed:.1f} s: {found.now_files / found.elapsed:.3g} files/s, {found.now_seconds / found.elapsed:.0f} times real time"
        )
    else:
        out.print("all of it was there already")
    complaints = error_console()
    if over := passed_over_text(found.passed_over):
        complaints.print(f"passed over: {over}", markup=False, highlight=False)
    if found.wrong:
        kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.items())
        complaints.print(f"[bold red]{found.wrong} files with errors:[/] {escape(kinds)}")
        for sentence in found.errors:
            complaints.print(f"  {sentence}", markup=False)
        if found.wrong > len(found.errors):
            complaints.print(f"  and {found.wrong - len(found.errors)} more: the rows whose error is not null")
