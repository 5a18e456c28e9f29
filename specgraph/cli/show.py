"""Tables that several commands print."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from specgraph.export.report import Check
    from specgraph.lowering import Choice

PIPED_WIDTH = 200  # columns where no terminal says how many it has: rows of a table stay lines


def console() -> Console:
    """Where results go. Made anew, so that it writes to the stdout of now."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPED_WIDTH
    return Console(highlight=False, soft_wrap=True, width=width)  # a path or a command that is broken in two cannot be copied


def error_console() -> Console:
    """Where complaints go."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def export_progress(after: float = 2.0) -> Iterator[None]:
    """Show on a terminal's stderr what an export is doing, from ``after`` seconds on."""
    begun, log, handler = time.monotonic(), logging.getLogger("specgraph.export"), logging.Handler()
    status = error_console().status("")

    def show(record: logging.LogRecord) -> None:
        if status.console.is_terminal and time.monotonic() - begun > after:
            status.update(record.getMessage())
            status.start()

    handler.emit = show  # type: ignore[method-assign]
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        status.stop()


def checks_table(checks: tuple[Check, ...], tolerance: float) -> Table:
    """Signal, length, largest error against float64 and against torch, and each output's own error."""
    table = Table(title=f"verified: largest error, as a fraction of the spectrum's peak ({tolerance:.0e} allowed)", title_justify="left")
    for name in ("signal", "batch", "samples", "against float64", "against torch"):
        table.add_column(name, justify="left" if name == "signal" else "right")
    outputs = _output_columns(table, checks)
    if halves := [check.half_error for check in checks if check.half_error is not None]:
        table.caption = f"beside that, float16 rounds the features by up to {max(halves):.1e} of their peak"
    if inner := [check.front_end_error for check in checks if check.front_end_error is not None]:
        table.caption = f"on the same features: what float32 makes of them changes the outputs by up to {max(inner):.1e} of their peak"
    for check in checks:
        torch = "-" if check.torch_error is None else f"{check.torch_error:.1e}"
        table.add_row(check.signal, str(check.batch), f"{check.samples:,}", f"{check.error:.1e}", torch, *_output_cells(check, outputs))
    return table


def _output_columns(table: Table, checks: tuple[Check, ...]) -> tuple[str, ...]:
    """Add a column for each output; their names."""
    outputs = tuple(dict.fromkeys(name for check in checks for name in check.output_errors))
    for name in outputs:
        table.add_column(f"{name}: largest / 99.9 %", justify="right")
    return outputs


def _output_cells(check: Check, outputs: tuple[str, ...]) -> tuple[str, ...]:
    """The largest difference of each output in its own unit, and the 99.9th percentile."""
    found = [check.output_errors.get(name) for name in outputs]
    return tuple("-" if error is None else f"{error.largest:.1e} / {error.percentile:.1e}" for error in found)


def joined_table(checks: tuple[Check, ...], tolerance: float) -> Table:
    """Signal, length, largest difference between a joined model and its parts."""
    table = Table(title=f"verified against the two apart: largest difference, as a fraction of an output's peak ({tolerance:.0e} allowed)", title_justify="left")
    for name in ("signal", "batch", "length", "difference"):
        table.add_column(name, justify="left" if name == "signal" else "right")
    outputs = _output_columns(table, checks)
    for check in checks:
        table.add_row(check.signal, str(check.batch), f"{check.samples:,}", f"{check.error:.1e}", *_output_cells(check, outputs))
    return table


def choices_table(choices: tuple[Choice, ...], target: str) -> Table:
    """What was chosen for each compound op, and what the others would have cost."""
    measured = all(choice.measured for choice in choices)
    title = f"lowering for {target}: milliseconds for 10 s of audio, {'measured' if measured else 'estimated'}"
    table = Table(title=title, title_justify="left")
    table.add_column("op")
    table.add_column("chosen", style="green")
    table.add_column("others")
    for choice in choices:
        prices = {name: "not for this target" if s is None else f"{1e3 * s:.2f}" for name, s in choice.prices.items()}
        chosen = f"{choice.chosen} {prices.pop(choice.chosen, '')}"
        table.add_row(escape(choice.op), escape(chosen), escape(", ".join(f"{name} {price}" for name, price in prices.items()) or "none applies"))
    return table
