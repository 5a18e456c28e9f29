"""The command line: ``specgraph list | export | attach | inspect | verify | run | extract | serve | triton | plot | bench | demo``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from specgraph import interrupts
from specgraph.cli.sentences import sentence

PIPE_CLOSED = 141  # the exit code of a process that SIGPIPE ended


def main() -> None:
    """Run the command line. Whatever goes wrong is one sentence on stderr and an exit code: 2 for wrong usage, 130 for Ctrl-C, else 1."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks ends no command
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        with contextlib.suppress(OSError, ValueError):  # or Python complains at exit that the rest cannot be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    except Exception as error:
        if os.environ.get("SPECGRAPH_TRACEBACK"):
            raise
        code = interrupts.INTERRUPTED if interrupts.interrupted() else _complain(error)  # what follows Ctrl-C may be of it
    finally:
        interrupts.restore()
    if code == interrupts.INTERRUPTED or interrupts.interrupted():
        print(interrupts.words(), file=sys.stderr)
        raise SystemExit(interrupts.INTERRUPTED)
    if code:
        raise SystemExit(code)


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:  # without what the commands need
        from specgraph import __version__

        print(__version__)
        return 0
    try:
        from specgraph.cli.commands import command
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        raise ImportError("the command line needs typer and rich, which are not installed: pip install typer rich; specgraph.load runs files without them") from None
    interrupts.raise_in_commands()
    return command(arguments)


def _complain(error: Exception) -> int:
    """Print what is wrong; returns the exit code."""
    usage = getattr(error, "format_message", None) is not None  # typer's errors, whose classes have had several homes
    if usage and type(error).__name__ == "NoArgsIsHelpError":
        error.show()  # type: ignore[attr-defined]
    else:
        begin = "\x1b[1;31merror:\x1b[0m" if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else "error:"
        print(f"{begin} {sentence(error)}", file=sys.stderr)
    return int(getattr(error, "exit_code", 1)) if usage else 1


def __getattr__(name: str) -> Any:
    if name == "app":
        from specgraph.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
