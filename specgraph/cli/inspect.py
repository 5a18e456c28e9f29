"""Commands about files that were written: inspect, verify."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from specgraph.cli.run import Model
from specgraph.cli.show import checks_table, choices_table, console
from specgraph.shapes import LENGTHS, is_lengths_of

if TYPE_CHECKING:
    from specgraph.metadata import Metadata
    from specgraph.runtimes.wire import Header

def inspect(
    model: Model,
    graph: Annotated[bool, typer.Option("--graph", help="List the graph, op by op.")] = False,
) -> None:
    """Show what a file is: transform, parameters, axes, lowering, operators, verified error.

    Example: specgraph inspect mel.onnx --graph
    """
    from specgraph.export.read import read_model
    from specgraph.runtimes.loading import checked_header

    meta, header = checked_header(model)
    if meta.front_ends:
        _inspect_whole_model(model, meta, header)
        return
    held = read_model(model)
    table = Table(show_header=False, title=escape(str(model)), title_justify="left")
    table.add_row("transform", escape(meta.name))
    table.add_row("parameters", escape(", ".join(f"{name}={value!r}" for name, value in held.graph.parameters.items())) or "none")
    along = next((size for size in getattr(held.graph.inputs[0].op, "sizes", ()) if size in ("samples", "frames")), "samples")
    table.add_row("sample rate", f"{meta.sample_rate} Hz; a clip needs {_count(meta.min_samples, along)} or more")
    table.add_row("dtypes", f"{meta.input_dtype}{f', {meta.channels} channels' if meta.channels > 1 else ''} -> {meta.dtype}")
    for name, output in meta.outputs.items():
        if is_lengths_of(name, meta.outputs):
            table.add_row(escape(f"output {name}"), escape(f"how much of {name.removesuffix(LENGTHS)} is each clip's, (batch)"))
            continue
        where = f"every {output.hop / meta.sample_rate * 1e3:g} ms, the first at {output.centre / meta.sample_rate * 1e3:g} ms"
        reads = (
            "each depends on the whole clip"
            if output.before is None or output.after is None
            else f"each reads {output.before} samples before and {output.after} after its centre"
        )
        unit = f" ({output.unit})" if output.unit else ""
        table.add_row(escape(f"output {name}"), escape(f"{output.quantity}{unit}, ({', '.join(output.axes)}); frames {where}; {reads}"))
        if output.frequencies:
            low, high = output.frequencies[0], output.frequencies[-1]
            table.add_row("frequencies", f"{len(output.frequencies)} bins, {low:.1f} to {high:.1f} Hz")
    _show(table, model, meta, header, "largest error", "the spectrum's", held.nodes, held.operators)
    if graph:
        console().print(str(held.graph), markup=False)


def _inspect_whole_model(path: Path, meta: Metadata, header: Header) -> None:
    from specgraph.export.read import read_operators

    nodes, operators = read_operators(path)
    table = Table(show_header=False, title=escape(str(path)), title_justify="left")
    along = "frames" if all(front_end.get("attached") == "after" for front_end in meta.front_ends) else "samples"
    table.add_row("whole model", f"{escape(meta.name)}, {meta.sample_rate} Hz; a clip needs {_count(meta.min_samples, along)} or more")
    for front_end in meta.front_ends:
        parameters = ", ".join(f"{name}={value!r}" for name, value in front_end["parameters"].items())
        attached = front_end.get("attached")
        ends = ", ".join(f"{ours} {'from' if attached == 'after' else 'to'} {theirs}" for ours, theirs in front_end.get("connected", {}).items())
        where = f"; {attached} the model, {ends} laid out as {front_end['layout']}" if attached else ""
        table.add_row("front end", escape(f"{front_end['name']}({parameters}){where}"))
    for name, output in meta.outputs.items():
        times = f"; frames every {output.hop / meta.sample_rate * 1e3:g} ms" if output.hop else ""
        table.add_row(escape(f"output {name}"), escape(f"({', '.join(output.axes)}){times}"))
    joined = any("attached" in front_end for front_end in meta.front_ends)
    error = "against the two apart: largest error" if joined else "against torch: largest error"
    _show(table, path, meta, header, error, "an output's", nodes, operators)


def _show(
    table: Table, path: Path, meta: Metadata, header: Header, error: str, whose: str, nodes: int, operators: Mapping[str, int]
) -> None:
    """Print a table of a file with what every file says: its target, error, operators, size, hash and lowerings."""
    from specgraph.listing import bytes_text
    from specgraph.lowering import Choice
    from specgraph.metadata import CHECKSUM

    older = "" if CHECKSUM in header.properties else "; of format 1, which has no checksum: export it again for one"
    table.add_row("written for", escape(f"{meta.target}, by specgraph {meta.version}{older}"))
    largest, tolerance = meta.verified.get("error"), meta.verified.get("tolerance")
    if largest is not None and tolerance is not None:
        table.add_row("verified", f"{error} {largest:.1e} of {whose} peak, {tolerance:.0e} allowed")
    for name in meta.verified.get("output_errors", {}):
        unit = meta.outputs[name].unit if name in meta.outputs else ""
        table.add_row(f"error of {escape(name)}", escape(_output_error(name, meta.verified, unit)))
    for name, off in meta.verified.get("front_end_output_errors", {}).items():
        table.add_row(f"error of {escape(name)}", f"at most {off:.1e} from its float64 definition, in its own unit")
    counts = ", ".join(f"{count} {op}" for op, count in sorted(operators.items()))
    table.add_row("operators", escape(f"{nodes} nodes: {counts}"))
    files = [path, *(path.with_name(name) for name in sorted(header.external))]
    each = ", ".join(f"{bytes_text(file.stat().st_size)} in {file.name}" for file in files)
    total = bytes_text(sum(file.stat().st_size for file in files))
    table.add_row("size", escape(f"{total}: {each}; they belong together" if header.external else total))
    table.add_row("hash", escape(meta.hash))
    console().print(table)
    if meta.lowering:
        console().print(choices_table(tuple(Choice(**choice) for choice in meta.lowering), meta.target))


def _output_error(name: str, verified: Mapping[str, Any], unit: str) -> str:
    """The largest difference of an output in its own unit and the signal that shows it, and the 99.9th percentile of each signal's."""
    checks = [(check["signal"], check.get("output_errors", {}).get(name)) for check in verified.get("checks", ())]
    found = [(signal, error["largest"], error["percentile"]) for signal, error in checks if error]
    in_unit = f" {unit}" if unit else ""
    largest = f"at most {verified['output_errors'][name]:.1e}{in_unit}"
    if not found:
        return largest
    signal = max(found, key=lambda one: one[1])[0]
    percentiles = sorted(percentile for _, _, percentile in found)
    middle = percentiles[len(percentiles) // 2]
    return f"{largest}, on {signal}; 99.9 % of its values within {percentiles[-1]:.1e}{in_unit} on every signal, {middle:.1e}{in_unit} on half of them"


def verify(
    model: Model,
    device: Annotated[str, typer.Option(help="Where to run it: cpu, cuda or cuda:N.")] = "cpu",
    tolerance: Annotated[float | None, typer.Option(help="Largest error allowed; as exported if not given.", show_default=False)] = None,
) -> None:
    """Check a file against the definition that it carries, on this machine.

    Example: specgraph verify mel.onnx --device cuda
    """
    from specgraph.export import verify as check

    report = check(model, device, tolerance)
    console().print(checks_table(report.checks, report.tolerance))
    console().print(f"[green]{escape(str(model))} computes what it defines[/], on {report.device}: largest error {report.error:.1e}")


def _count(number: int, things: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{number} {things.removesuffix('s') if number == 1 else things}"
