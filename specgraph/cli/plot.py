"""The command that draws: plot."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from specgraph.cli.run import Channel, Device, Model, draw, end, inputs, refuse_several_inputs, run_all
from specgraph.cli.show import console


def plot(
    model: Model,
    others: Annotated[
        list[Path] | None,
        typer.Argument(metavar="AUDIO...", help="Audio files, or folders of them; with --kernels a second file that specgraph wrote.", show_default=False),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture: png, pdf or svg.", show_default=False)] = ...,  # type: ignore[assignment]
    kernels: Annotated[
        bool, typer.Option("--kernels", help="Draw what the model holds, in time and in frequency, and how it differs in a second one.")
    ] = False,
    device: Device = "cpu",
    channel: Channel = None,
) -> None:
    """Draw the features of audio files, with axes in seconds and hertz; or with --kernels what was learned.

    Example: specgraph plot mel.onnx speech.wav -o features.png

    Example: specgraph plot --kernels before.onnx after.onnx -o kernels.png
    """
    if kernels:
        _kernels([model, *(others or [])], output, device)
        return
    if not others:
        raise ValueError(f"name the audio files to draw the features of, after {model}; or --kernels, which needs none")
    from specgraph.plot import check_picture
    from specgraph.runtimes import load

    files = [(file, str(name)) for file, name in inputs(others)]
    runner = load(model, device=device)
    refuse_several_inputs(runner)
    check_picture(output)
    found = run_all(runner, files, True, lambda name, features: None, channel)
    if found.features:
        draw(runner, found, output)
    end(found.failed, len(files))


def _kernels(models: list[Path], output: Path, device: str) -> None:
    from specgraph.plot import kernels as draw

    if len(models) > 2:
        raise ValueError(f"--kernels draws one file or compares two, and {len(models)} were named")
    if device != "cpu":
        raise ValueError(f"--kernels runs nothing on {device!r}; leave out --device")
    draw(models[0], models[1] if len(models) > 1 else None, output)
    console().print(f"drew [bold]{escape(str(output))}[/]")
