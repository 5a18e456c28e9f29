"""Ctrl-C and SIGTERM on the command line: a word and exit code 130, from the first moment to the last."""

from __future__ import annotations

import os
import signal
import sys
import threading

TYPE_CHECKING = False  # typing takes longer to import than all of this
if TYPE_CHECKING:
    from typing import Any

INTERRUPTED = 130  # 128 and the number of SIGINT, as shells have it
STOPPED = "stopped"
_FOLDER, _NAME = os.path.split(sys.argv[0] if sys.argv else "")
PROGRAM = _NAME.startswith("specgraph") or (_NAME == "__main__.py" and os.path.basename(_FOLDER) == "specgraph")

_asked = threading.Event()
_words = [STOPPED]


def end_at_once() -> None:
    """Until ``raise_in_commands``, end the process on Ctrl-C; nothing is begun yet, and imports make other errors of ``KeyboardInterrupt``.

    Only where specgraph is the program that runs; a program that imports specgraph keeps its own ways.
    """
    if PROGRAM:
        _handle(signal.SIGINT, _end)


def raise_in_commands() -> None:
    """Make Ctrl-C raise ``KeyboardInterrupt``, so that what was begun is cleaned up; ``interrupted`` then says so."""
    _asked.clear()
    _words[:] = [STOPPED]
    _handle(signal.SIGINT, _raise)


def raise_on_termination(words: str) -> None:
    """Make SIGTERM raise ``KeyboardInterrupt`` too; ``words`` are what a user who stops the command reads."""
    _words[:] = [words]
    _handle(signal.SIGTERM, _raise)


def words() -> str:
    """What a user who stopped a command reads."""
    return _words[0]


def restore() -> None:
    """Undo ``raise_in_commands`` and ``raise_on_termination``."""
    _handle(signal.SIGINT, _end if PROGRAM else signal.default_int_handler)
    _handle(signal.SIGTERM, signal.SIG_DFL)


def interrupted() -> bool:
    """Whether the process was asked to stop: what is raised after that may be of it."""
    return _asked.is_set()


def _handle(number: signal.Signals, handler: Any) -> None:
    """Set a handler, where this is the main thread and the present one is Python's or ours."""
    ours = (signal.default_int_handler, signal.SIG_DFL, _end, _raise)
    if threading.current_thread() is threading.main_thread() and signal.getsignal(number) in ours:
        signal.signal(number, handler)


def _end(number: int, frame: Any) -> None:
    os.write(2, f"{STOPPED}\n".encode())
    os._exit(INTERRUPTED)


def _raise(number: int, frame: Any) -> None:
    _asked.set()
    raise KeyboardInterrupt
