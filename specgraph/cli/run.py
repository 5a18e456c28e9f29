"""The command that runs a model on audio: run; and what plot shares with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from specgraph.cli.show import console, error_console
from specgraph.cli.sink import Features, Named, Sink

if TYPE_CHECKING:
    import numpy as np

    from specgraph.runtimes import Runner

Model = Annotated[Path, typer.Argument(help="A file that specgraph wrote.", show_default=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, auto or torch.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw the features, into this picture.", show_default=False)]

MOST_PANELS = 12  # of a picture with many inputs


def run(
    model: Model,
    audio: Annotated[list[Path], typer.Argument(help="Audio files, or folders of them.", show_default=False)],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .npy file for one input; a .npz file or a folder for many.", show_default=False)
    ],
    plot: Plot = None,
    device: Device = "cpu",
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU: for one file, or for as many files at once.", show_default=False)] = None,
) -> None:
    """Compute the features of audio files: wav, flac, ogg, mp3; mixed to mono and resampled to the model's rate.

    For a model whose input is features, such as an inverse, give .npy files that hold them.

    Example: specgraph run mel.onnx speech.wav -o features.npy --plot features.png
    """
    from specgraph.runtimes import load

    files = inputs(audio)
    runner = load(model, device=device, threads=threads)
    refuse_several_inputs(runner)
    sink = Sink(output, files, runner)
    failed = run_all(runner, sink.files, plot, sink.add)
    sink.close()
    if sink.written:
        console().print(f"wrote features of {sink.written} of {len(files)} files to [bold]{escape(str(output))}[/]")
    end(failed, len(files))


def refuse_several_inputs(runner: Runner) -> None:
    """Raise where a model takes more than what is in one file."""
    names = runner.input_names
    if len(names) == 1 or runner.takes_lengths:
        return
    from specgraph.graph import NEXT_STATE

    if NEXT_STATE in runner.output_names:
        raise ValueError(
            f"{runner.path} is for sound in chunks, {', '.join(names)} -> {', '.join(runner.output_names)}, which this command does not cut; "
            "export the front end without --streaming for whole files, and for chunks as well: specgraph.load(path).stream()"
        )
    raise ValueError(f"{runner.path} takes {', '.join(names)}, and this command gives it one input; use specgraph.load")


def inputs(audio: list[Path]) -> list[tuple[Path, Path]]:
    """Every file once, with its name relative to the folder that it was found in."""
    from specgraph.audio import audio_files
    from specgraph.folders import audio_below

    for folder in filter(Path.is_dir, audio):
        if (below := audio_below(folder)).passed_over:
            error_console().print(f"passed over in {folder}: {below}", markup=False, highlight=False)
    files = list({file.resolve(): (file, name) for file, name in reversed(audio_files(audio))}.values())[::-1]
    if not files:
        raise ValueError(f"there is no audio in {', '.join(map(str, audio))}")
    return files


def run_all(
    runner: Runner, files: list[Named], picture: Path | None, keep: Callable[[str, Features], None]
) -> list[str]:
    """Run every file, going on after a bad one unless it is the only one; returns what was wrong with the bad ones."""
    from rich.progress import track

    from specgraph.plot import check_picture, save

    if picture is not None:
        check_picture(picture)
    failed: list[str] = []
    panels: list[Any] = []
    left_out = 0

    def attempt(named: Named) -> tuple[Features, str] | ValueError | OSError:
        try:
            return _features(runner, named[0])
        except (ValueError, OSError) as error:
            return error

    single = len(files) == 1  # which has all threads to itself
    results = map(attempt, files) if single else runner.map(files, function=attempt)
    for (_, name), result in zip(
        track(files, "running", console=error_console(), disable=single, transient=True), results, strict=True
    ):
        if isinstance(result, Exception):
            if single:
                raise result
            failed.append(str(result))
            continue
        features, note = result
        keep(name, features)
        console().print(f"{name}: {note}", markup=False)
        if picture is not None and len(panels) + len(features) <= MOST_PANELS:
            panels += _panels(runner, features, name)
        else:
            left_out += 1
    if picture is not None and panels:
        save(panels, picture)
        rest = f", without the last {left_out} files" if left_out else ""
        console().print(f"drew [bold]{escape(str(picture))}[/]{rest}")
    return failed


def end(failed: list[str], files: int) -> None:
    """List what failed and leave with exit code 1, or do nothing."""
    if failed:
        complaints = error_console()
        complaints.print(f"[bold red]{len(failed)} of {files} files failed:[/]")
        for sentence in failed:
            complaints.print(f"  {sentence}", markup=False)
        raise typer.Exit(1)


def _features(runner: Runner, file: Path) -> tuple[Features, str]:
    """The outputs for a file, without a batch axis, and a line about what was done to it."""
    if not runner.takes_waveforms:
        given = _read_features(runner, file)
        outputs = runner.outputs(given)
        return outputs, f"{runner.input_names[0]} {given.shape} -> {_shapes(outputs)}"
    clip = runner.read(file)
    if (samples := clip.samples.shape[-1]) < runner.meta.min_samples:
        raise ValueError(f"{file} has {samples} samples and the model needs {runner.meta.min_samples} or more")
    outputs = runner.outputs(clip.samples)
    outputs = {name: outputs[name] for name in runner.feature_names}  # the lengths of a single clip are its shape
    return outputs, f"{clip.seconds:.2f} s -> {_shapes(outputs)}" + (f" ({clip.changes})" if clip.changes else "")


def _shapes(outputs: Features) -> str:
    return ", ".join(f"{name} {value.shape}" for name, value in outputs.items())


def _read_features(runner: Runner, file: Path) -> np.ndarray:
    """What a .npy file holds, for a model whose input is not audio."""
    import numpy as np

    sizes = ", ".join(map(str, runner.input_sizes[0]))
    if file.suffix.lower() != ".npy":
        raise ValueError(f"{file}: the model takes {runner.input_names[0]} ({sizes}), not audio; give a .npy file that holds them")
    if not file.exists():
        raise ValueError(f"there is no file {file}")
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (ValueError, EOFError) as error:
        raise ValueError(f"{file} cannot be read as a numpy array ({error})") from None


def _panels(runner: Runner, features: Features, title: str) -> list[Any]:
    from specgraph.plot import Panel

    several = len(features) > 1
    return [
        Panel(value, runner.meta.outputs[name], runner.sample_rate, f"{title}: {name}" if several else title)
        for name, value in features.items()
    ]
