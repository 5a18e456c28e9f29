"""One job at a time in a folder: a lock that the system lets go with its last process, and a record of what the job makes there.

The record names the private folder of a run before it is made, so that the next run removes what a killed one left, and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shlex
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from specgraph.files import check_folder, in_a_sentence

LOCK, MANIFEST = "_lock", "_manifest.jsonl"
WORK = re.compile(r"_work-[0-9a-f]{16}")
MADE = re.compile(r"\.specgraph-\w+(\.\w+)?|part-\d+-\w+|\d+|model\.onnx")  # what runs make in their private folders
LONGEST = 2**16  # bytes of a record
COMMAND = 200  # characters of a command that are shown
PATIENCE = 10.0  # seconds that the processes of a killed job have to end
PLACE = 2**30  # of the byte that is locked on Windows, where what is locked cannot be read


@dataclass(frozen=True)
class Record:
    """Who holds a folder, and the names of the private folders that runs have made in it; ``made`` says whether specgraph made the folder itself."""

    pid: int
    host: str
    since: str
    command: str
    made: bool
    work: tuple[str, ...]

    @classmethod
    def read(cls, text: bytes) -> Record | None:
        """From a lock file; None where it holds something else."""
        try:
            held: Any = json.loads(text)["specgraph extract"]
            record = cls(held["pid"], held["host"], held["since"], held["command"], held["made"], tuple(held["work"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            return None
        kinds = (int, str, str, str, bool)
        sound = all(type(getattr(record, name)) is kind for name, kind in zip(("pid", "host", "since", "command", "made"), kinds, strict=True))
        return record if sound and all(isinstance(name, str) and WORK.fullmatch(name) for name in record.work) else None

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to have ended."""
        if self.host != socket.gethostname() or self.pid <= 0 or os.name == "nt":
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False

    def __str__(self) -> str:
        ended = ", which has ended and left others running" if self.is_gone else ""
        return f"process {self.pid} on {self.host}{ended}, since {self.since}: {self.command}"


@dataclass(frozen=True)
class Held:
    """A folder that this process holds.

    Attributes:
        folder: which one.
        work: a private folder in it, for what is not whole yet.
        made: whether specgraph made the folder.
        file: the descriptor of the lock; the lock lasts as long as any process has it.
    """

    folder: Path
    work: Path
    made: bool
    file: int


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[Held]:
    """Hold a folder, made if it is not there, until the block ends; what is empty then and was made here is removed.

    Raises:
        ValueError: another job holds it; or it holds what no job of specgraph made.
        OSError: it cannot be written to.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        what = "a file" if folder.exists() else "a link that leads nowhere"
        raise ValueError(f"{folder} is {what}; name a folder, or a file that ends in .parquet")
    check_folder(folder if folder.exists() else folder.parent)
    _check_contents(folder)
    file, made, before = _locked(folder)
    try:
        left = [name for name in (before.work if before else ()) if (folder / name).exists()]
        work = folder / f"_work-{secrets.token_hex(8)}"
        with in_a_sentence(folder / LOCK):
            _write(file, Record(os.getpid(), socket.gethostname(), time.strftime("%Y-%m-%d %H:%M:%S"), _command(), made, (*left, work.name)))
            for name in left:
                _remove_work(folder / name)
            work.mkdir()
        try:
            yield Held(folder, work, made, file)
        finally:
            _remove_work(work)
    finally:
        if _same(file, folder / LOCK):
            (folder / LOCK).unlink()
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
        os.close(file)


def _check_contents(folder: Path) -> None:
    """Raise ``ValueError`` where a folder holds what no job made; hidden files, such as ``.git``, are in no job's way."""
    names = {name for name in os.listdir(folder) if not name.startswith(".")} if folder.exists() else set()
    if MANIFEST in names or not names:
        return
    lock = folder / LOCK
    text = _text(lock) if LOCK in names else b"?"
    record = Record.read(text)
    if names - {LOCK, *(record.work if record else ())} or (text.strip() and record is None):
        raise ValueError(f"{folder} is not empty and holds no job of specgraph extract; choose another output")


def _text(lock: Path) -> bytes:
    """What a lock file holds, nothing where there is none; "?" where it is no plain file."""
    try:
        if not stat.S_ISREG(os.lstat(lock).st_mode):
            return b"?"
        with lock.open("rb") as file:
            return file.read(LONGEST)
    except FileNotFoundError:
        return b""


def _locked(folder: Path) -> tuple[int, bool, Record | None]:
    """The descriptor of a lock that is held; whether specgraph made the folder; and what the job before left in the lock."""
    lock, limit = folder / LOCK, time.monotonic() + PATIENCE
    made = False
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            made = True
        if _text(lock).strip() and Record.read(_text(lock)) is None:
            raise ValueError(f"{lock} is not of specgraph extract, which would write it; move it away, or choose another output")
        try:
            file = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)
        except FileNotFoundError:  # the job before ended, and removed the folder that it had made
            continue
        locked = _try(file)
        record = Record.read(os.read(file, LONGEST))
        if locked is None:  # a file system without locks: by the record alone
            locked = record is None or record.is_gone
        if locked and _same(file, lock):
            return file, made or (record is not None and record.made), record
        os.close(file)
        waits = locked or record is None or record.is_gone  # for a job that ends, begins, or was killed
        if not waits or time.monotonic() > limit:
            by = f" ({record})" if record else ""
            raise ValueError(f"{folder} is being written by another specgraph extract{by}; wait for it, or choose another output")
        time.sleep(0.05)


def _same(file: int, lock: Path) -> bool:
    """Whether what was opened is still the lock, and not one that a job removed as it ended."""
    try:
        return os.path.samestat(os.fstat(file), os.lstat(lock))
    except FileNotFoundError:
        return False


def _try(file: int) -> bool | None:
    """Whether the lock could be taken; None where the file system has none."""
    try:
        import fcntl
    except ImportError:
        return _try_on_windows(file)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _try_on_windows(file: int) -> bool:
    import msvcrt

    module: Any = msvcrt  # typed on Windows alone
    os.lseek(file, PLACE, os.SEEK_SET)
    try:
        module.locking(file, module.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        os.lseek(file, 0, os.SEEK_SET)
    return True


def _write(file: int, record: Record) -> None:
    """Write a record over the one before, at once: whoever reads finds one or the other."""
    text = json.dumps({"specgraph extract": asdict(record)}).encode()
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, text.ljust(os.fstat(file).st_size))
    os.fsync(file)


def _command() -> str:
    return shlex.join([os.path.basename(sys.argv[0] or "python"), *sys.argv[1:]]).encode("utf-8", "replace").decode()[:COMMAND]


def _remove_work(work: Path) -> None:
    """Remove a private folder of a run; what specgraph does not make in one stays, and the folder with it."""
    if work.is_symlink() or not work.is_dir():
        return
    for path in work.iterdir():
        if not MADE.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            _remove_work(path)
        else:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()
