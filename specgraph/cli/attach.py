"""specgraph attach: a front end and a model that someone else exported, as one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from specgraph.cli.files import Channels, InputDtype, InputRate, Target, recorded, settings, transform_named
from specgraph.cli.show import choices_table, console, joined_table

if TYPE_CHECKING:
    import numpy as np


def attach(
    front_end: Annotated[str, typer.Argument(help="A transform or a preset, as export takes them, or a file that it wrote.", show_default=False)],
    model: Annotated[Path, typer.Argument(help="The .onnx model, of any exporter.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.", show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="A parameter of the front end, name=value; repeat for more.", show_default=False)
    ] = None,
    input_name: Annotated[
        str | None, typer.Option(help="The model's input; the one that fits if not given.", show_default=False)
    ] = None,
    output_name: Annotated[
        str | None, typer.Option(help="The front end's output, with --after the model's; the first, or the one that fits.", show_default=False)
    ] = None,
    connect: Annotated[
        list[str] | None, typer.Option(help="Several of these instead, output=input: features=audio_signal.", show_default=False)
    ] = None,
    lengths: Annotated[
        str | None, typer.Option(help="The model's input of frames of each clip; clips may then have different lengths.", show_default=False)
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="The model's axes where sizes do not decide: b batch, f bins, t frames, c one, such as btf.", show_default=False)
    ] = None,
    after: Annotated[bool, typer.Option("--after", help="Put it behind the model: an inverse.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Give what is connected as an output too.")] = False,
    input_dtype: InputDtype = "float32",
    input_rate: InputRate = None,
    channels: Channels = 1,
    target: Target = "cpu",
    tolerance: Annotated[
        float | None, typer.Option(help="Largest difference from the two apart, as a fraction of an output's peak; 1e-5 if not given.", show_default=False)
    ] = None,
    prefer: Annotated[
        list[str] | None, typer.Option(help="A lowering instead of the cheapest, such as Stft=conv.", show_default=False)
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Time the lowerings on this machine instead of estimating them.")] = False,
    examples: Annotated[
        Path | None, typer.Option(help="A .npz file with arrays for inputs that need more than what is made up.", show_default=False)
    ] = None,
) -> None:
    """Put a front end before a model that someone else exported, or an inverse behind it: one verified .onnx file.

    Example: specgraph attach whisper-80 encoder_model.onnx -o speech.onnx
    """
    from specgraph.export import attach as attached
    from specgraph.listing import bytes_text

    report = attached(
        recorded(_front_end(front_end, set_ or []), input_dtype, input_rate, channels),
        model,
        output,
        output=output_name,
        input=input_name,
        inputs=settings(connect, "--connect", "features=input_features") if connect else None,
        lengths=lengths,
        layout=layout,
        after=after,
        keep=keep,
        target=target,
        prefer=settings(prefer or [], "--prefer", "Stft=conv"),
        tune=tune,
        tolerance=tolerance,
        examples=None if examples is None else _arrays(examples),
    )
    out = console()
    if report.choices:
        out.print(choices_table(report.choices, report.target))
    out.print(joined_table(report.checks, report.tolerance))
    out.print(f"wrote [bold]{escape(report.files)}[/]: {bytes_text(report.file_size)}, {report.nodes} nodes")
    if not after:
        out.print(f"next: specgraph inspect {escape(str(output))}")


def _front_end(name: str, pairs: list[str]) -> Any:
    """A transform by its name, or the graph of a file."""
    if name.endswith(".onnx"):
        if pairs:
            raise ValueError(f"--set is for a transform or a preset; {name} has its parameters already")
        return name
    return transform_named(name).from_strings(settings(pairs))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    import numpy as np

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, EOFError, AttributeError, OSError) as error:
        raise ValueError(f"{path} is not a .npz file of arrays by name ({error})") from None
