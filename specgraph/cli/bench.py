"""The command that measures: bench."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from specgraph.cli.show import console


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="mel, spectrogram, log-mel, cqt, stft, cqt-complex, asr; the first four if none is named.", show_default=False)
    ] = None,
    sizes: Annotated[
        list[str] | None,
        typer.Option(
            "--sizes",
            "--size",
            help="n_fft/hop_length or n_fft/hop_length@sample_rate; of cqt n_bins x bins_per_octave/hop_length@sample_rate:fmin, such as "
            "84x24/512@44100:55; repeat for more.",
            show_default=False,
        ),
    ] = None,
    batch: Annotated[list[int] | None, typer.Option(help="Clips at once; repeat for more: 1, 8 and 64 if not given.", show_default=False)] = None,
    threads: Annotated[list[int] | None, typer.Option(help="Threads, 0 for all; repeat for more: 1 and 0 if not given.", show_default=False)] = None,
    seconds: Annotated[float, typer.Option(help="Length of a clip.")] = 10.0,
    budget: Annotated[float, typer.Option(help="Seconds for the rounds of a cell, after one run of every runner.")] = 3.0,
    rounds: Annotated[int, typer.Option(help="Most rounds of a cell.")] = 50,
    lowerings: Annotated[str, typer.Option(help="Of specgraph: chosen, or all.")] = "chosen",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    accuracy: Annotated[bool, typer.Option("--accuracy", help="Measure errors on chirps, an impulse, a scale and noise, not speed.")] = False,
    paper: Annotated[bool, typer.Option("--paper", help="The nnAudio paper's experiment, a set of clips; after the rest, if names are given.")] = False,
    start: Annotated[bool, typer.Option("--start", help="Also measure new processes, from importing to the first features.")] = False,
    full: Annotated[bool, typer.Option("--full", help="With --paper: as many clips as there, 1,770.")] = False,
    memory: Annotated[float, typer.Option(help="Gigabytes that runners may use; what needs more is left out, and said to be.")] = 4.0,
    parity: Annotated[bool, typer.Option("--parity", help="Compare presets with independent implementations; -o takes a .md file.")] = False,
    presets: Annotated[bool, typer.Option("--presets", help="Time presets beside independent implementations; -o takes a .md file.")] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Load a server and break it: requests a second, latency, memory; -o takes a .md file.")] = False,
    soak: Annotated[float, typer.Option(help="With --serve: seconds of load for memory; 0 for none.", min=0)] = 60.0,
    attacks: Annotated[bool, typer.Option("--attacks", help="With --serve: attack a server, and nothing else; -o replaces that section of the file.")] = False,
    ranking: Annotated[bool, typer.Option("--ranking", help="Time every lowering and see whether the fastest is chosen.")] = False,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Fit the prices of lowerings to this machine, and keep them for this user.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="A .json file, or a folder for results.json, README.md and pictures.", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Draw the times into this picture.", show_default=False)] = None,
) -> None:
    """Measure specgraph beside librosa, torch, nnAudio and others that are installed: speed, or with --accuracy errors.

    Example: specgraph bench mel --sizes 400/160 --batch 1 --threads 1 -o results.json
    """
    from specgraph.bench import load
    from specgraph.plot import check_picture

    if alone := [option for option, value in (("--parity", parity), ("--presets", presets), ("--serve", serve)) if value]:
        kept = {"--parity": "names of presets, --seconds", "--presets": "names of presets, --seconds, --budget, --batch", "--serve": "--attacks, --budget, --soak"}[alone[0]]
        if device != "cpu" or threads or (batch and not presets) or sizes or plot or accuracy or ranking or calibrate or paper or start or alone[1:] or (serve and names):
            raise ValueError(f"{alone[0]} takes {kept} and -o only; leave out the other options")
        from specgraph.bench import parity as compared
        from specgraph.bench import preset_speed, serving

        if parity:
            return compared.command(names or [], seconds, output)
        return preset_speed.command(names or [], seconds, budget, batch or (), output) if presets else serving.command(budget, soak, output, attacks)
    if attacks:
        raise ValueError("--attacks is of --serve; give both")
    load()
    if lowerings not in ("chosen", "all"):
        raise ValueError(f"--lowerings must be chosen or all, not {lowerings!r}")
    _check_output(output)
    if plot is not None:
        check_picture(plot)
    if modes := [option for option, value in (("--accuracy", accuracy), ("--ranking", ranking), ("--calibrate", calibrate)) if value][1:]:
        raise ValueError(f"one thing at a time: leave out {' and '.join(modes)}")
    if ranking or calibrate:
        if device != "cpu" or threads or plot:
            raise ValueError("--ranking and --calibrate run on one thread of the CPU and draw nothing; leave out --device, --threads and --plot")
        (_calibrate if calibrate else _ranking)(names or [], sizes or [], batch or [1], budget, output)
        return
    if accuracy:
        if given := [option for option, value in (("--plot", plot), ("--sizes", sizes), ("--batch", batch), ("--threads", threads), ("--paper", paper), ("--start", start)) if value]:
            raise ValueError(f"--accuracy has its own signals and sizes; leave out {' and '.join(given)}")
        if device != "cpu":
            raise ValueError(f"--accuracy runs on the CPU, not on {device!r}; leave out --device")
        _accuracy(names or [], output, memory)
        return
    if full and not paper:
        raise ValueError("--full is of --paper; give both")
    if paper and device != "cpu":
        raise ValueError(f"--paper runs on the CPU, not on {device!r}; leave out --device")
    from specgraph.bench.matrix import Settings
    from specgraph.bench.paper import CLIPS, FULL

    usual = Settings()
    settings = Settings(
        names=tuple(names or (() if paper else usual.that_take(sizes or ()))),
        sizes=tuple(sizes or usual.sizes),
        batches=tuple(batch or usual.batches),
        threads=tuple(usual.threads if threads is None else threads),
        seconds=seconds,
        budget=budget,
        rounds=rounds,
        all_lowerings=lowerings == "all",
        device=device,
        memory=memory,
    )
    settings.check()
    _speed(settings, output, plot, clips=(FULL if full else CLIPS) if paper else 0, start=start)


def _speed(settings: Any, output: Path | None, plot: Path | None, clips: int, start: bool) -> None:
    from specgraph.bench import paper, startup
    from specgraph.bench.machine import load_average
    from specgraph.bench.matrix import groups, report
    from specgraph.bench.pictures import speed as draw
    from specgraph.bench.tables import machine_text, speed, speed_markdown

    before = load_average()
    out = _wide_console()
    _missing(out)
    cells: list[dict[str, Any]] = []
    for group in groups(settings):
        cells += group
        out.print(speed(group).rich())
        for cell in group:
            for one in cell["left_out"]:
                out.print(f"batch {cell['batch']} without {escape(one['name'])}: {escape(one['why'])}")
    sets: list[dict[str, Any]] = []
    for cell in paper.experiments(clips, settings) if clips else []:
        sets.append(cell)
        for one in cell["left_out"]:
            out.print(f"{cell['experiment']}, threads: {cell['threads']}, without {escape(one['name'])}: {escape(one['why'])}")
    for found in paper.tables(sets):
        out.print(found.rich())
    started = list(startup.measured()) if start else []
    if started:
        out.print(startup.table(started).rich())
    results = report(settings, cells) | {"paper": sets, "start": started}
    results["machine"]["load_before"] = before
    out.print(machine_text(results["machine"]), markup=False)
    if output is not None:
        _write(output, results, speed_markdown(results))
        if output.suffix != ".json":
            plot = plot or output / "speed.png"
    if plot is not None and cells:
        draw(cells, plot)
        out.print(f"drew [bold]{escape(str(plot))}[/]")


def _ranking(names: list[str], sizes: list[str], batches: list[int], budget: float, output: Path | None) -> None:
    from specgraph.bench.ranking import candidates, report, table

    out = _wide_console()
    cells = list(candidates(names, sizes, batches, budget))
    out.print(table(cells).rich())
    if output is not None:
        _write(output, report(cells), f"# Ranking\n\n{table(cells).markdown()}")


def _calibrate(names: list[str], sizes: list[str], batches: list[int], budget: float, output: Path | None) -> None:
    from specgraph import prices
    from specgraph.bench import calibrate, ranking
    from specgraph.bench.machine import machine

    out = _wide_console()
    cells = list(ranking.candidates(names or calibrate.SUBJECTS, sizes or calibrate.SIZES, batches, budget))
    fit = calibrate.fitted([one for cell in cells for one in cell])
    known = machine("cpu")
    part, times = calibrate.best_part(sizes or calibrate.SIZES, budget)
    path = prices.write({"cpu": fit.numbers | {"most_bytes": part}}, {key: known[key] for key in ("processor", "date", "packages", "command")})
    for name, number in fit.numbers.items():
        out.print(f"{name}: {number:g} (built in: {getattr(calibrate.BUILT_IN, name):g})")
    out.print(f"prices are off by {100 * fit.after:.0f} % of the times measured, in the median; the built-in ones by {100 * fit.before:.0f} %")
    parts = ", ".join(f"{most / 1e6:g} MB {slower:.2f}" for most, slower in times.items())
    out.print(f"large inputs are run in parts of {part / 1e6:g} MB; times of the best: {parts}")
    out.print(f"wrote [bold]{escape(str(path))}[/], by which lowerings and parts are chosen from now on; delete it to go back")
    if output is not None:
        _write(output, ranking.report(cells), f"# Ranking\n\n{ranking.table(cells).markdown()}")


def _accuracy(names: list[str], output: Path | None, memory: float) -> None:
    from specgraph.bench.accuracy import measured, pictures, report, subjects
    from specgraph.bench.accuracy_text import markdown, table

    out = _wide_console()
    _missing(out)
    results, drawn = [], []
    for subject in subjects(names):
        result, shown = measured(subject, memory)
        results.append(result)
        drawn += shown
        out.print(table(result).rich())
        out.print(f"convention: {escape(subject.convention)}")
        for one in result["left_out"]:
            out.print(f"without {escape(one['name'])}: {escape(one['why'])}")
    whole_report = report(results)
    if output is not None:
        _write(output, whole_report, markdown(whole_report))
        if output.suffix != ".json":
            for path in pictures(drawn, output):
                out.print(f"drew [bold]{escape(str(path))}[/]")


def _wide_console() -> Console:
    """Where results go, wide enough for the tables where it is not a terminal."""
    out = console()
    if not out.is_terminal:
        out.width = 120
    return out


def _missing(out: Console) -> None:
    """Say which libraries are not measured."""
    from specgraph.bench.work import PEERS

    for peer in PEERS:
        if peer.missing:
            out.print(f"without {escape(peer.name)}: {escape(peer.missing)}")


def _check_output(output: Path | None) -> None:
    from specgraph.files import check_writable

    if output is None:
        return
    if output.suffix == ".json":
        check_writable(output)
    elif output.suffix:
        raise ValueError(f"-o takes a .json file or a folder, not {output}")
    elif output.exists() and not output.is_dir():
        raise ValueError(f"{output} is a file; name a folder, or a .json file")
    elif not _holds_results(output):
        for path in (output / name for name in ("README.md", "results.json", "speed.png")):
            if path.exists():
                raise FileExistsError(f"{path} is there already, and no benchmark wrote it; name another folder, or a .json file")


def _holds_results(folder: Path) -> bool:
    """Whether a benchmark wrote into the folder before: its results say which command made them."""
    try:
        results = json.loads((folder / "results.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(results, dict) and "command" in results.get("machine", results)


def _write(output: Path, results: dict[str, Any], text: str) -> None:
    """The results as JSON, and into a folder their README too."""
    from specgraph.files import whole

    files = {output: ""}
    if output.suffix != ".json":
        output.mkdir(parents=True, exist_ok=True)
        files = {output / "results.json": "", output / "README.md": text}
    for path, content in files.items():
        with whole(path) as temporary:
            temporary.write_text(content or json.dumps(results, indent=1) + "\n")
        console().print(f"wrote [bold]{escape(str(path))}[/]")
