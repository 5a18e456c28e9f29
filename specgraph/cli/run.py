"""Commands that run a model on audio: run, plot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specgraph.cli.show import console, error_console

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
    threads: Annotated[int | None, typer.Option(help="Threads on the CPU.", show_default=False)] = None,
) -> None:
    """Compute the features of audio files: wav, flac, ogg, mp3; mixed to mono and resampled to the model's rate.

    Example: specgraph run mel.onnx speech.wav -o features.npy --plot features.png
    """
    from specgraph.audio import audio_files
    from specgraph.runtimes import load

    files = audio_files(audio)
    if not files:
        raise ValueError(f"there is no audio in {', '.join(map(str, audio))}")
    runner = load(model, device=device, threads=threads)
    sink = _Sink(output, files, runner)
    failed = _run_all(runner, files, sink, plot)
    out = console()
    if sink.written:
        out.print(f"wrote features of {sink.written} of {len(files)} files to [bold]{output}[/]")
    if failed:
        complaints = error_console()
        complaints.print(f"[bold red]{len(failed)} of {len(files)} files failed:[/]")
        for _, sentence in failed:
            complaints.print(f"  {sentence}", markup=False, soft_wrap=True)
        raise typer.Exit(1)


def plot(
    model: Model,
    audio: Annotated[list[Path], typer.Argument(help="Audio files.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture: png, pdf or svg.", show_default=False)],
    device: Device = "cpu",
) -> None:
    """Draw the features of audio files, with axes in seconds and hertz.

    Example: specgraph plot mel.onnx speech.wav -o features.png
    """
    from specgraph.audio import audio_files
    from specgraph.plot import save
    from specgraph.runtimes import load

    runner = load(model, device=device)
    panels = []
    for file, name in audio_files(audio)[:MOST_PANELS]:
        features, note = _features(runner, file)
        panels += _panels(runner, features, str(name))
        _report(name, note)
    save(panels, output)
    console().print(f"drew [bold]{output}[/]")


def _run_all(
    runner: Runner, files: list[tuple[Path, Path]], sink: _Sink, plot: Path | None
) -> list[tuple[Path, str]]:
    """Every file, going on after a bad one; returns those with what was wrong with them."""
    from rich.progress import track

    from specgraph.files import check_writable
    from specgraph.plot import save

    if plot is not None:
        check_writable(plot)
    failed: list[tuple[Path, str]] = []
    panels: list[Any] = []
    quiet = len(files) == 1
    for file, name in track(files, "running", console=error_console(), disable=quiet, transient=True):
        try:
            features, note = _features(runner, file)
        except (ValueError, OSError) as error:
            if quiet:
                raise
            failed.append((file, str(error)))
            continue
        sink.add(name, features)
        _report(name, note)
        if plot is not None and len(panels) < MOST_PANELS:
            panels += _panels(runner, features, str(name))
    sink.close()
    if plot is not None and panels:
        save(panels[:MOST_PANELS], plot)
        console().print(f"drew [bold]{plot}[/]")
    return failed


def _features(runner: Runner, file: Path) -> tuple[dict[str, np.ndarray], str]:
    """The outputs for a file, without a batch axis, and a line about what was done to it."""
    from specgraph.audio import read_audio

    clip = read_audio(file, runner.sample_rate)
    if len(clip.samples) < runner.meta.min_samples:
        raise ValueError(f"{file} has {len(clip.samples)} samples and the model needs {runner.meta.min_samples} or more")
    result = runner(clip.samples)
    outputs = result if isinstance(result, dict) else {runner.output_names[0]: result}
    shapes = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
    return outputs, f"{clip.seconds:.2f} s -> {shapes}" + (f" ({clip.changes})" if clip.changes else "")


def _report(name: Path, note: str) -> None:
    console().print(f"{name}: {note}", markup=False, soft_wrap=True)


def _panels(runner: Runner, features: dict[str, np.ndarray], title: str) -> list[Any]:
    from specgraph.plot import Panel

    several = len(features) > 1
    return [
        Panel(value, runner.meta.outputs[name], runner.sample_rate, f"{title}: {name}" if several else title)
        for name, value in features.items()
    ]


class _Sink:
    """Where features go: one .npy, one .npz, or a folder with a file for each input."""

    def __init__(self, output: Path, files: list[tuple[Path, Path]], runner: Runner) -> None:
        from specgraph.files import check_writable

        self.output, self.written = output, 0
        self._single = len(runner.output_names) == 1
        self._held: dict[str, Any] = {}
        suffix = output.suffix.lower()
        if any(output.resolve() == file.resolve() for file, _ in files):
            raise ValueError(f"{output} is one of the inputs; choose another output")
        if suffix in (".npy", ".npz"):
            if suffix == ".npy" and (len(files) > 1 or not self._single):
                what = f"{len(files)} files" if len(files) > 1 else f"{len(runner.output_names)} outputs"
                raise ValueError(f"{output} holds one array, and there are {what}; name a .npz file or a folder")
            check_writable(output)
            self.folder = None
            return
        if suffix:
            raise ValueError(f"{output} must end in .npy or .npz, or be a folder")
        if output.exists() and not output.is_dir():
            raise ValueError(f"{output} is a file; name a folder, a .npy or a .npz file")
        self.folder = output
        names: dict[Path, Path] = {}
        for file, name in files:  # a.wav and a.flac, or x/a.wav and y/a.wav, must not be written to one place
            if name.with_suffix("") in names and names[name.with_suffix("")] != file:
                raise ValueError(
                    f"{names[name.with_suffix('')]} and {file} would both be written to {name.with_suffix('.npy')}; "
                    "rename one, run them apart, or write a .npz"
                )
            names[name.with_suffix("")] = file

    def add(self, name: Path, features: dict[str, np.ndarray]) -> None:
        """Keep or write the features of one input."""
        self.written += 1
        if self.folder is None:
            key = name.as_posix()
            for output, value in features.items():
                self._held[key if self._single else f"{key}:{output}"] = value
            return
        path = self.folder / name.with_suffix(".npy" if self._single else ".npz")
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, features)

    def close(self) -> None:
        """Write what was kept."""
        if self.folder is None and self._held:
            _save(self.output, self._held)


def _save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    import numpy as np

    from specgraph.files import whole

    with whole(path) as temporary, temporary.open("wb") as file:
        if path.suffix.lower() == ".npy":
            np.save(file, next(iter(arrays.values())))
        else:
            keywords: dict[str, Any] = arrays
            np.savez(file, **keywords)
