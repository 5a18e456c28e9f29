"""By how much a piece of work raises the resident memory of this process, native allocations included. Linux only."""

from __future__ import annotations

import contextlib
import ctypes
from pathlib import Path
from typing import Self

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET_PEAK = "5"  # proc(5): writing 5 sets the peak resident set back to what is resident now


class Growth:
    """A context; afterwards ``bytes`` is the peak resident memory within it less what was resident before.

    None where the system does not tell. What earlier work freed is given back to the system first, but an allocator may keep
    some and use it again unseen, so this is a lower bound.
    """

    def __init__(self) -> None:
        self.bytes: int | None = None
        self._before: int | None = None

    def __enter__(self) -> Self:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        with contextlib.suppress(OSError):
            CLEAR.write_text(RESET_PEAK)
            self._before = _kilobytes("VmRSS")
        return self

    def __exit__(self, *exception: object) -> None:
        self.bytes = self.so_far()

    def so_far(self) -> int | None:
        """What ``bytes`` would be if the context ended here."""
        with contextlib.suppress(OSError):
            peak = _kilobytes("VmHWM")
            if self._before is not None and peak is not None:
                return 1024 * max(peak - self._before, 0)
        return None


def peak() -> int | None:
    """The most bytes that were resident since this process began, or None where the system does not tell."""
    with contextlib.suppress(OSError):
        kilobytes = _kilobytes("VmHWM")
        return None if kilobytes is None else 1024 * kilobytes
    return None


def available() -> int | None:
    """Bytes that can be allocated before the system runs out, or None where it does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024 * int(line.split()[1])
    return None


def _kilobytes(field: str) -> int | None:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return None
