"""The command line: ``specgraph list | export | attach | inspect | verify | run | extract | serve | triton | plot | bench | demo``."""

from __future__ import annotations

import os
import sys

import typer

from specgraph import interrupts
from specgraph.cli.attach import attach
from specgraph.cli.bench import bench
from specgraph.cli.demo import demo
from specgraph.cli.extract import extract
from specgraph.cli.files import export, list_transforms
from specgraph.cli.inspect import inspect, verify
from specgraph.cli.plot import plot
from specgraph.cli.run import run
from specgraph.cli.serve import serve, triton
from specgraph.cli.show import error_console

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
for command in (export, attach, inspect, verify, run, extract, serve, triton, plot, bench, demo):
    app.command()(command)


def main() -> None:
    """Run the command line. What is wrong with a file or a parameter is one sentence on stderr and exit code 1."""
    from specgraph import __version__
    from specgraph.runtimes import RuntimeUnavailable

    if sys.argv[1:] == ["--version"]:
        print(__version__)
        return
    interrupts.raise_in_commands()
    try:
        app()
    except (ValueError, TypeError, OSError, ImportError, RuntimeUnavailable) as error:
        if os.environ.get("SPECGRAPH_TRACEBACK"):
            raise
        if not interrupts.interrupted():
            error_console().print(f"[bold red]error:[/] {_sentence(error)}", highlight=False, soft_wrap=True)
            raise SystemExit(1) from None
    finally:
        interrupts.restore()
        if interrupts.interrupted():
            error_console().print(interrupts.words())
            raise SystemExit(interrupts.INTERRUPTED) from None


def _sentence(error: Exception) -> str:
    from rich.markup import escape

    if isinstance(error, OSError) and error.strerror:
        return escape(f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower())
    return escape(str(error) or type(error).__name__)
