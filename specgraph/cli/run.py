"""The command that runs a model on audio: run; and what plot shares with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from specgraph.cli.sentences import sentence
from specgraph.cli.show import console, error_console
from specgraph.cli.sink import Features, Named, Sink
from specgraph.outside_text import printable

if TYPE_CHECKING:
    import numpy as np

    from specgraph.decoding import Limits
    from specgraph.runtimes import Runner

Model = Annotated[Path, typer.Argument(help="A file that specgraph wrote.", show_default=False)]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, auto or torch.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Also draw the features, into this picture.", show_default=False)]
Channel = Annotated[
    int | None, typer.Option(help="The channel to take, counted from 0; the mean of all if not given.", show_default=False)
]

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
    channel: Channel = None,
    max_seconds: Annotated[float, typer.Option(help="Seconds of sound that a file may have.")] = 86400.0,
    max_mb: Annotated[float, typer.Option(help="Megabytes that the samples of a file may take.")] = 2147.483648,
) -> None:
    """Compute the features of audio files: wav, flac, ogg, mp3; mixed to mono and resampled to the model's rate.

    For a model whose input is features, such as an inverse, give .npy files that hold them.

    Example: specgraph run mel.onnx speech.wav -o features.npy --plot features.png
    """
    from specgraph.decoding import Limits
    from specgraph.plot import check_picture
    from specgraph.runtimes import load

    if channel is not None and channel < 0:
        raise ValueError(f"--channel counts from 0, and {channel} is below")
    limits = Limits(max_seconds, int(max_mb * 1e6))
    files = inputs(audio)
    runner = load(model, device=device, threads=threads)
    refuse_several_inputs(runner)
    if channel is not None and not runner.takes_waveforms:
        raise ValueError(f"--channel is of audio, and {model} takes {runner.input_names[0]}; leave it out")
    sink = Sink(output, files, runner)
    if plot is not None:
        check_picture(plot)
    found = run_all(runner, sink.files, plot is not None, sink.add, channel, limits)
    sink.close()
    if sink.written:
        console().print(f"wrote features of {sink.written} of {len(files)} files to [bold]{escape(printable(str(output)))}[/]")
    failed_picture = ""
    if plot is not None and found.features:
        try:
            draw(runner, found, plot)
        except Exception as error:  # noqa: BLE001  (whatever it is, the features are there)
            failed_picture = f"the features are written, and the picture {plot} is not: {sentence(error)}"
    end(found.failed, len(files), failed_picture)


def refuse_several_inputs(runner: Runner) -> None:
    """Raise where a model takes more than what is in one file."""
    names = runner.input_names
    if len(names) == 1 or runner.takes_lengths:
        return
    from specgraph.shapes import NEXT_STATE

    if NEXT_STATE in runner.output_names:
        raise ValueError(
            f"{runner.path} is for sound in chunks, {', '.join(names)} -> {', '.join(runner.output_names)}, which this command does not cut; "
            "export the front end without --streaming for whole files, and for chunks as well: specgraph.load(path).stream()"
        )
    raise ValueError(f"{runner.path} takes {', '.join(names)}, and this command gives it one input; use specgraph.load")


def inputs(audio: list[Path]) -> list[tuple[Path, Path]]:
    """Every file once, with its name relative to the folder that it was found in; says what else is in the folders."""
    from specgraph.audio import audio_files
    from specgraph.folders import audio_below

    files = list({file.resolve(): (file, name) for file, name in reversed(audio_files(audio))}.values())[::-1]
    over = [f"{printable(str(folder))}: {below}" for folder in audio if folder.is_dir() and (below := audio_below(folder)).passed_over]
    if not files:
        told = f"; passed over in {', '.join(over)}" if over else ""
        raise ValueError(f"there is no audio in {', '.join(map(str, audio))}{told}")
    for one in over:
        error_console().print(f"passed over in {one}", markup=False, highlight=False)
    return files


@dataclass
class Found:
    """What was made of many files.

    Attributes:
        failed: what was wrong with the files that failed.
        features: of the first files, each with its name, as many as a picture has room for.
        left_out: how many files it has no room for.
    """

    failed: list[str] = field(default_factory=list)
    features: list[tuple[str, Features]] = field(default_factory=list)
    left_out: int = 0

    def add(self, name: str, features: Features) -> None:
        """Keep the features of one more file, if there is room."""
        if sum(len(each) for _, each in self.features) + len(features) <= MOST_PANELS:
            self.features.append((name, features))
        else:
            self.left_out += 1


def run_all(
    runner: Runner,
    files: list[Named],
    drawn: bool,
    keep: Callable[[str, Features], None],
    channel: int | None = None,
    limits: Limits | None = None,
) -> Found:
    """Run every file, going on after a bad one unless it is the only one."""
    from rich.progress import track

    found = Found()

    def attempt(named: Named) -> tuple[Features, str] | Exception:
        try:
            return _features(runner, named[0], channel, limits)
        except ImportError:
            raise  # of a package that all files need
        except Exception as error:  # noqa: BLE001  (whatever a file does, it is its own failure)
            return error

    single = len(files) == 1  # which has all threads to itself
    results = map(attempt, files) if single else runner.map(files, function=attempt)
    for (file, name), result in zip(
        track(files, "running", console=error_console(), disable=single, transient=True), results, strict=True
    ):
        if not isinstance(result, Exception):
            features, note = result
            try:
                keep(name, features)
            except OSError as error:
                result = error
        if isinstance(result, Exception):
            if single:
                raise result
            said = sentence(result)
            found.failed.append(said if printable(str(file)) in said else f"{printable(str(file))}: {said}")
            continue
        console().print(f"{printable(name)}: {note}", markup=False)
        if drawn:
            found.add(name, features)
    return found


def draw(runner: Runner, found: Found, picture: Path) -> None:
    """Draw what was found into a picture."""
    from specgraph.plot import save

    save([panel for name, features in found.features for panel in _panels(runner, features, name)], picture)
    rest = f", without the last {found.left_out} files" if found.left_out else ""
    console().print(f"drew [bold]{escape(printable(str(picture)))}[/]{rest}")


def end(failed: list[str], files: int, failed_picture: str = "") -> None:
    """List what failed and leave with exit code 1, or do nothing."""
    complaints = error_console()
    if failed:
        complaints.print(f"[bold red]{len(failed)} of {files} files failed:[/]")
        for said in failed:
            complaints.print(f"  {said}", markup=False)
    if failed_picture:
        complaints.print(f"[bold red]error:[/] {escape(failed_picture)}")
    if failed or failed_picture:
        raise typer.Exit(1)


def _features(runner: Runner, file: Path, channel: int | None, limits: Limits | None) -> tuple[Features, str]:
    """The outputs for a file, without a batch axis, and a line about what was done to it."""
    if not runner.takes_waveforms:
        given = _read_features(runner, file)
        outputs = runner.outputs(given)
        return outputs, f"{runner.input_names[0]} {given.shape} -> {_shapes(outputs)}"
    clip = runner.read(file, channel=channel, limits=limits)
    if (samples := clip.samples.shape[-1]) < runner.meta.min_samples:
        raise ValueError(f"{file} has {samples} sample{'s' * (samples != 1)} and the model needs {runner.meta.min_samples} or more")
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
