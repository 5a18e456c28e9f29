"""The commands, as typer reads them."""

from __future__ import annotations

from typing import Annotated

import typer

from specgraph.cli.attach import attach
from specgraph.cli.bench import bench
from specgraph.cli.demo import demo
from specgraph.cli.extract import extract
from specgraph.cli.files import export, list_transforms
from specgraph.cli.inspect import inspect, verify
from specgraph.cli.plot import plot
from specgraph.cli.run import run
from specgraph.cli.serve import serve, triton

app = typer.Typer(
    name="specgraph",
    help="Audio front ends composed and trained in torch, shipped as one .onnx file.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("list")(list_transforms)
for function in (export, attach, inspect, verify, run, extract, serve, triton, plot, bench, demo):
    app.command()(function)


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        from specgraph import __version__

        print(__version__)
        raise typer.Exit


def command(arguments: list[str]) -> int:
    """Run what is typed after ``specgraph``; returns the exit code. Errors are raised as they are."""
    group = typer.main.get_command(app)
    try:
        with group.make_context("specgraph", arguments) as context:
            group.invoke(context)
    except typer.Exit as done:
        return int(done.exit_code)
    except typer.Abort:
        raise KeyboardInterrupt from None
    return 0
