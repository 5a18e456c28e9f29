"""A model as it was when it was first read, so that every process of a job or a server runs the same one."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

from specgraph.runtimes.wire import FIRST, Header, check_start, read_header

CHUNK = 2**20  # bytes that are hashed at once
MOST_BYTES = 2**31 - 1  # of a file in protobuf's format


class ModelChanged(ValueError):
    """A file of a model no longer holds what it held when the model was pinned."""


@dataclass(frozen=True)
class PinnedModel:
    """The bytes of a model, and the SHA-256 of each file that holds tensors of it. It pickles, and ``load`` takes it as it takes a path.

    A process that loads it runs these bytes, whatever has become of the file since. Files of tensors may hold gigabytes, so they
    are not kept in memory: a process that finds another hash refuses the model.

    Attributes:
        path: of the model, as it was given.
        data: what the file held.
        files: by the names that the model has for them, the SHA-256 of the files that hold tensors.
    """

    path: str
    data: bytes = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict)
    _seen: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False, compare=False)  # when each file was found to be right

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the model: of its bytes, or where tensors are in other files, of the hashes of all files."""
        own = hashlib.sha256(self.data).hexdigest()
        return hashlib.sha256(json.dumps([own, sorted(self.files.items())]).encode()).hexdigest() if self.files else own

    @property
    def folder(self) -> str:
        """The folder that the names of ``files`` are relative to."""
        return os.path.dirname(os.path.abspath(self.path))

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """A block in which the files of tensors are read: they hold what they held when the model was pinned, before and after.

        Raises:
            ModelChanged: a file is gone or holds something else.
        """
        before = {name: self._checked(name) for name in self.files}
        yield
        if any(state_of(Path(self.folder, name)) != state for name, state in before.items()):
            raise ModelChanged(f"{self.path} changed while it was loaded; run the command again once nothing writes it")

    def _checked(self, name: str) -> tuple[int, ...]:
        """The state of a file whose hash is right; what was hashed in this state already is not read again."""
        file = Path(self.folder, name)
        state = state_of(file)
        if name not in self._seen and state is None:
            raise FileNotFoundError(f"{self.path} needs {name} beside it, which is not there; copy both")
        if state is None or (self._seen.get(name) != state and (not self.files[name] or _hash(file) != self.files[name])):
            what = "is gone" if state is None else "has changed"
            raise ModelChanged(f"{file}, which holds tensors of {self.path}, {what} since the model was first read; put back the file as it was")
        self._seen[name] = state
        return state


def pin(path: str | Path) -> PinnedModel:
    """Read a model once, and hash the files that hold its tensors.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file, or one that holds its tensors is missing.
        ValueError: it is not a whole ONNX model, or keeps tensors outside its folder.
    """
    model, _ = opened(path)
    with model.unchanged():
        return replace(model, files={name: _hash(Path(model.folder, name)) for name in model.files})


def opened(path: str | Path) -> tuple[PinnedModel, Header]:
    """The model as ``pin`` reads it, without hashes, which take a second a gigabyte; and its header. For this process alone."""
    data, header = read_model_file(Path(path), "specgraph export writes one")
    model = PinnedModel(os.fspath(path), data, dict.fromkeys(sorted(header.external), ""))
    for name in model.files:
        if not name or PurePath(name).is_absolute() or ".." in PurePath(name).parts:
            raise ValueError(f"{path} keeps tensors in {name!r:.100}, which is outside its folder; save it with its files beside it")
        if (state := state_of(Path(model.folder, name))) is not None:
            model._seen[name] = state
    return model, header


def read_model_file(path: Path, otherwise: str) -> tuple[bytes, Header]:
    """The bytes of an ONNX file and what they say before they are run; ``otherwise`` is what to do where there is none.

    Raises:
        OSError, ValueError: there is no such file, it cannot be read, or it is no whole model.
    """
    data = _read(path, otherwise)
    return data, read_header(data, str(path))


def require_files(path: Path, names: Iterable[str]) -> None:
    """Raise ``FileNotFoundError`` unless the files that hold arrays of a model are beside it."""
    if missing := [name for name in sorted(names) if not (path.parent / name).is_file()]:
        raise FileNotFoundError(f"{path} needs {' and '.join(missing):.300} beside it; copy {'both' if len(missing) == 1 else 'all'}")


def _read(path: Path, otherwise: str) -> bytes:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file {path}; {otherwise}") from None
    except (OSError, ValueError) as error:  # a name that is too long, has a zero in it, or leads round in a circle
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{path} is a folder; name the .onnx file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a device or a pipe; name an .onnx file")
    if found.st_size > MOST_BYTES:
        raise ValueError(f"{path} is not an ONNX model: it holds {found.st_size / 1e9:.1f} GB, and one has at most {MOST_BYTES / 1e9:.1f} GB")
    try:
        with path.open("rb") as file:
            if found.st_size:  # what is no model is not read to its end
                check_start(file.read(FIRST), found.st_size, str(path))
            file.seek(0)
            return file.read(found.st_size)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or str(error)
    return type(error)(f"{path} cannot be read: {why}")


def state_of(file: Path) -> tuple[int, ...] | None:
    """What changes whenever a file is written or replaced; None where there is no such file."""
    try:
        found: Any = file.stat()
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns) if stat.S_ISREG(found.st_mode) else None


def _hash(file: Path) -> str:
    held = hashlib.sha256()
    with file.open("rb") as chunks:
        while chunk := chunks.read(CHUNK):
            held.update(chunk)
    return held.hexdigest()
