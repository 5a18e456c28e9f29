"""Denormal numbers as zero while onnxruntime runs, and in no other code of the process.

Numbers below 1.2e-38 are much slower than others on many processors. onnxruntime's ``session.set_denormal_as_zero`` makes
them zeros in the threads of a session. It does not reach the thread that calls ``run``, which computes too. But in the thread
that makes a process's first session it stays set: numpy would lose its denormals there. So the calling thread's own mode is
set for the call and put back, where that can be done.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")

# By machine: the words of glibc's and musl's fenv_t, the one of them that holds the mode, and its bits.
LAYOUTS = {
    "x86_64": (8, 7, 0x8040),  # MXCSR: flush to zero, denormals are zero
    "aarch64": (2, 0, 1 << 24),  # FPCR: flush to zero
}


def _functions() -> tuple[Callable[[object], int], Callable[[object], int]] | None:
    """``fegetenv`` and ``fesetenv``; None where the mode cannot be set."""
    if not sys.platform.startswith("linux") or platform.machine() not in LAYOUTS:
        return None
    for name in ("libm.so.6", None):
        try:
            library = ctypes.PyDLL(name)  # keeps the interpreter's lock: a call takes less than a microsecond
            return library.fegetenv, library.fesetenv
        except (OSError, AttributeError):
            continue
    return None


FUNCTIONS = _functions()
WORDS, PLACE, BITS = LAYOUTS.get(platform.machine(), (1, 0, 0))
OPTIONS = {"session.set_denormal_as_zero": "1"} if FUNCTIONS else {}  # of a session, for its threads


def without_denormals(function: Callable[[], Result]) -> Result:
    """What ``function`` returns, called with denormals as zero in this thread."""
    if FUNCTIONS is None:
        return function()
    get, put = FUNCTIONS
    before, during = (ctypes.c_uint32 * WORDS)(), (ctypes.c_uint32 * WORDS)()
    get(before)
    get(during)
    during[PLACE] |= BITS
    put(during)
    try:
        return function()
    finally:
        put(before)
