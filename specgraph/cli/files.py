"""Commands about what can be written: list, export."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from specgraph.cli.show import checks_table, choices_table, console, error_console, export_progress

if TYPE_CHECKING:
    from specgraph.presets import Preset
    from specgraph.transforms import Transform

EXPORTED = "A transform or a preset, see specgraph list; or a file: preprocessor_config.json, NeMo's model_config.yaml or .nemo."
Target = Annotated[str, typer.Option(help="What the lowerings are chosen for: cpu or cuda. The file runs on either.")]

InputDtype = Annotated[str, typer.Option(help="Dtype of the samples: float32, or int16, divided by 32768 in the file.")]
InputRate = Annotated[int | None, typer.Option(help="Hertz of the samples, resampled in the file.", show_default=False)]
Channels = Annotated[int, typer.Option(help="Channels of the samples, mixed to mono in the file: (batch, channels, samples).")]


def recorded(front_end: Any, dtype: str, rate: int | None, channels: int) -> Any:
    """The front end, which may be in a file, for samples as they were recorded; itself where they are as it takes them."""
    from specgraph.export import read_graph
    from specgraph.recorded import with_input

    if (dtype, rate, channels) == ("float32", None, 1):
        return front_end
    return with_input(read_graph(front_end) if isinstance(front_end, str) else front_end, dtype, rate, channels)


def transform_named(name: str) -> type[Transform] | Preset:
    """A transform by its name on the command line, "mel", or in Python, "MelSpectrogram"; a preset, "whisper-80"; or a configuration's file."""
    from specgraph.transforms import registry

    found = {cls.command: cls for cls in registry().values()} | registry()
    if name in found:
        return found[name]
    from specgraph.presets import preset, preset_names
    from specgraph.presets.configurations import from_configuration, is_configuration

    if name in preset_names():
        return preset(name)
    if is_configuration(Path(name)):
        return from_configuration(Path(name))
    raise ValueError(_unknown(name, [cls.command for cls in registry().values()], preset_names()))


def _unknown(name: str, transforms: list[str], presets: Iterable[str]) -> str:
    """That there is nothing of this name, and what is like it."""
    from specgraph.transforms.parse import like

    near = like(name, presets, transforms)
    return f"there is no transform or preset {name!r}{near}; specgraph list shows the transforms, specgraph list --presets the presets"


def settings(pairs: list[str], option: str = "--set", example: str = "n_mels=80") -> dict[str, str]:
    """``["n_mels=80"]`` as a dict."""
    found: dict[str, str] = {}
    for pair in pairs:
        if not re.match(r"^\w+=.", pair):
            raise ValueError(f"{option} takes name=value, such as {option} {example}, not {pair!r}")
        name, value = pair.split("=", 1)
        if name in found:
            raise ValueError(f"{option} {name} is given twice, {found[name]!r} and {value!r}; give it once")
        found[name] = value
    return found


def list_transforms(
    name: Annotated[str | None, typer.Argument(help="Show the parameters of one transform or preset.", show_default=False)] = None,
    presets: Annotated[bool, typer.Option("--presets", help="List the front ends of known models.")] = False,
) -> None:
    """List the transforms or the presets, or the parameters of one.

    Example: specgraph list mel
    """
    from specgraph.transforms import registry

    if presets:
        if name is not None:
            raise ValueError(f"--presets lists all of them; leave it out to see {name}")
        _list_presets()
        return
    if name is None:
        table = Table(Column("name", no_wrap=True), "what it computes, its class in Python, and what of it can be trained")
        for cls in sorted(registry().values(), key=lambda cls: cls.command):
            parts = (*cls.trainable_parts, *cls.smooth_parts)
            trained = f", trains {', '.join(parts)}" if parts else ""
            table.add_row(cls.command, f"{escape(cls.help().replace('``', ''))}\n[dim]sg.{cls.__name__}{trained}[/]")
        console().print(table)
        console().print("specgraph list NAME shows a transform's parameters, specgraph list --presets the front ends of known models.")
        return
    _list_parameters(transform_named(name), name)


def _list_parameters(cls: type[Transform] | Preset, name: str) -> None:
    table = Table(Column("parameter", no_wrap=True), "type", "default", "what it is", title=f"{cls.command}: {cls.help()}", title_justify="left")
    for parameter in cls.parameters():
        default = "none" if parameter.default is None else str(parameter.default)
        table.add_row(parameter.name, parameter.type, escape(default), parameter.help)
    console().print(table)
    if isinstance(cls, type):
        console().print(f"specgraph export {cls.command} -o {cls.command}.onnx --set {cls.parameters()[0].name}=16000")
        return
    if cls.aliases:
        console().print(f"also found as {', '.join(cls.aliases)}")
    console().print(f"source: {escape(cls.source)}\ncompared with: {escape(cls.reference)}")
    console().print(f"specgraph export {escape(name)} -o {cls.command}.onnx")


def _list_presets() -> None:
    from specgraph.dims import text
    from specgraph.presets import presets

    table = Table(Column("name", no_wrap=True), "the front end of", "output", "Hz")
    for name, preset in presets().items():
        output = preset.graph().outputs[preset.output_name]
        table.add_row(name, escape(preset.models), escape(text(output.shape)), str(preset.sample_rate))
    console().print(table)
    console().print("specgraph list NAME shows where a preset's formula is from, and its parameters.")


def export(
    name: Annotated[str, typer.Argument(help=EXPORTED, show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .onnx file to write.", show_default=False)],
    set_: Annotated[
        list[str] | None, typer.Option("--set", "-s", help="A parameter, name=value; repeat for more.", show_default=False)
    ] = None,
    target: Target = "cpu",
    tolerance: Annotated[
        float | None, typer.Option(help="Largest error allowed, as a fraction of the spectrum's peak; 2e-6 if not given.", show_default=False)
    ] = None,
    prefer: Annotated[
        list[str] | None, typer.Option(help="A lowering instead of the cheapest, such as Stft=conv.", show_default=False)
    ] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Time the lowerings on this machine instead of estimating them.")] = False,
    streaming: Annotated[
        bool, typer.Option("--streaming", help="For sound in chunks: chunk, state -> features, next_state, in any onnxruntime.")
    ] = False,
    chunk: Annotated[int | None, typer.Option(help="Samples of a chunk, with --streaming.", show_default=False)] = None,
    lengths: Annotated[
        bool, typer.Option("--lengths", help="Take clips of different lengths in one batch: waveforms_lens -> features_lens.")
    ] = False,
    input_dtype: InputDtype = "float32",
    input_: Annotated[str | None, typer.Option("--input", hidden=True)] = None,
    input_rate: InputRate = None,
    channels: Channels = 1,
    dtype: Annotated[str, typer.Option(help="Dtype of the features: float32, or float16, rounded once at the end.")] = "float32",
) -> None:
    """Export a transform, a preset or a model's configuration as one verified .onnx file.

    Example: specgraph export mel -o mel.onnx --set sample_rate=16000 --set n_mels=80
    """
    from specgraph.export import to_onnx

    if input_ is not None:
        error_console().print("--input is called --input-dtype now, and is gone in the next release")
        input_dtype = input_
    transform = transform_named(name).from_strings(settings(set_ or []))
    graph = recorded(transform, input_dtype, input_rate, channels)
    lowerings = settings(prefer or [], "--prefer", "Stft=conv")
    with export_progress():
        report = to_onnx(graph, output, target, tolerance, lowerings, tune, streaming=streaming, chunk=chunk, lengths=lengths, dtype=dtype)
    out = console()
    out.print(choices_table(report.choices, report.target))
    out.print(checks_table(report.checks, report.tolerance))
    from specgraph.listing import bytes_text

    out.print(f"wrote [bold]{escape(str(output))}[/]: {bytes_text(report.file_size)}, {report.nodes} nodes")
    for choice in report.choices:
        if choice.bound:
            out.print(f"{choice.chosen}: error bound {choice.bound:.1e} of the peak (limit {choice.tolerance:.1e})")
    if streaming:
        return
    takes_audio = transform.input().name == "waveforms"
    files = "speech.wav -o features.npy --plot features.png" if takes_audio else f"features.npy -o {transform.output_name}.npy"
    out.print(f"next: specgraph run {escape(str(output))} {files}")
