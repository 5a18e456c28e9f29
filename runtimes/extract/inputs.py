"""Which files a corpus is, or which parts of files: a folder of audio, or a manifest that names them. Sorted, each once."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from specgraph.audio import SUFFIXES, audio_files
from specgraph.runtimes.extract.arrow import readable

MANIFESTS = (".txt", ".csv", ".jsonl", ".json")
NAMES = ("path", "audio_filepath")  # of the column that holds the files; the second is NeMo's, as are the other columns that are read
PART = ("offset", "duration")
LONGEST = 1e9  # seconds, 30 years


@dataclass(frozen=True)
class Input:
    """A file of a corpus, or a part of it.

    Attributes:
        path: as rows name it: relative to the folder, or as the manifest has it.
        file: where it is.
        name: what a file that is written for it is called: relative, without a way out of the folder that it is written to.
        size: bytes, divided among the parts of a file; 0 where there is no such file, which its row will say.
        offset, duration: in seconds, the part; to the file's end where ``duration`` is None.
    """

    path: str
    file: str
    name: str
    size: int
    offset: float = 0.0
    duration: float | None = None

    @property
    def id(self) -> tuple[str, float]:
        """What its row is known by."""
        return readable(self.path), self.offset


def listed(source: Path) -> tuple[list[Input], list[str]]:
    """The files of a folder or a manifest, by path and offset, and the paths of those that were there more than once.

    Raises:
        FileNotFoundError, ValueError: there is no such folder or manifest, it names no file, or a line of it cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no folder or manifest {source}")
    if source.is_dir():
        found: list[tuple[str, str, float, float | None]] = [(name.as_posix(), str(file), 0.0, None) for file, name in audio_files([source])]
        if not found:
            raise ValueError(f"there is no audio in {source}: no file in it ends in {', '.join(SUFFIXES)}")
    else:
        found = [(path, os.path.join(source.parent, path), offset, duration) for path, offset, duration in _named(source)]
        if not found:
            raise ValueError(f"{source} names no file")
    once: dict[tuple[str, float, float | None], tuple[str, str]] = {}
    again = []
    for path, file, offset, duration in sorted(found, key=lambda entry: (entry[0], entry[2], entry[3] or math.inf)):
        key = os.path.abspath(file), offset, duration
        if key in once:
            again.append(path)
        else:
            once[key] = (path, file)
    parts = Counter(place for place, _, _ in once)
    names = _names({key[0]: path for key, (path, _) in once.items()})
    sizes = {place: _size(place) for place in parts}
    inputs = []
    for key, (path, file) in once.items():
        place, offset, duration = key
        part = f"@{offset!r}{'' if duration is None else f'+{duration!r}'}" if parts[place] > 1 else ""
        inputs.append(Input(path, file, names[place] + part, -(-sizes[place] // parts[place]), offset, duration))
    return inputs, again


def _named(manifest: Path) -> Iterator[tuple[str, float, float | None]]:
    """The files that a manifest names, each with offset and duration."""
    kind = manifest.suffix.lower()
    if kind not in MANIFESTS:
        raise ValueError(f"{manifest} is neither a folder nor a manifest: give a folder, or a file that ends in {', '.join(MANIFESTS)}")
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="" if kind == ".csv" else None) as lines:
        if kind == ".txt":
            yield from (_entry({"path": line.rstrip("\r\n")}, manifest, number) for number, line in enumerate(lines, 1) if line.strip())
            return
        if kind == ".csv":
            table = csv.DictReader(lines, strict=True)
            try:
                table.fieldnames = [name.strip() for name in table.fieldnames or ()]
                if not {*NAMES} & {*table.fieldnames}:
                    raise ValueError(f"{manifest} has no column path or audio_filepath; it has {', '.join(table.fieldnames) or 'none'}")
                for row in table:
                    if any(row.pop(None, ())):  # what stands behind the last column, such as half of a decimal with a comma
                        raise ValueError(f"line {table.line_num} of {manifest} has more values than there are columns; quote those that hold a comma")
                    yield _entry(row, manifest, table.line_num)
            except csv.Error as error:
                raise ValueError(f"line {table.line_num + 1} of {manifest} cannot be read: {error}") from None
            return
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            if not isinstance(entry, dict):
                raise ValueError(f"line {number} of {manifest} is not a JSON object; each line is one, with path or audio_filepath")  # noqa: TRY004
            yield _entry(entry, manifest, number)


def _entry(entry: Mapping[str, Any], manifest: Path, number: int) -> tuple[str, float, float | None]:
    path = next((entry[name] for name in NAMES if entry.get(name)), None)
    if not isinstance(path, str) or not path:
        raise ValueError(f"line {number} of {manifest} names no file: it needs path or audio_filepath")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half of a pair in JSON, which no system has in a name
        raise ValueError(f"line {number} of {manifest} names {path!r:.100}, which no file can be called") from None
    offset, duration = (_seconds(entry.get(name), name, manifest, number) for name in PART)
    return path, offset, duration or None


def _seconds(given: Any, name: str, manifest: Path, number: int) -> float:
    """A number of seconds; 0 where there is none."""
    if given is None or given == "":
        return 0.0
    try:
        seconds = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 <= seconds <= LONGEST:
        raise ValueError(f"line {number} of {manifest} has {name} {given!r:.100}, which is not a number of seconds, 0 or more")
    return seconds + 0.0  # no -0.0 in a row or a name


def _names(paths: Mapping[str, str]) -> dict[str, str]:
    """What is written for each place: the path itself where all are relative and lead down, or else from the folder that holds all."""
    if all(not PurePath(path).is_absolute() and ".." not in PurePath(path).parts for path in paths.values()):
        return {place: PurePath(os.path.normpath(path)).as_posix() for place, path in paths.items()}
    drives = {PurePath(place).drive for place in paths}
    if len(drives) > 1:
        return {place: PurePath(place.replace(":", "", 1).lstrip("\\/")).as_posix() for place in paths}
    top = os.path.commonpath([os.path.dirname(place) for place in paths])
    return {place: PurePath(os.path.relpath(place, top)).as_posix() for place in paths}


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except (OSError, ValueError):
        return 0
