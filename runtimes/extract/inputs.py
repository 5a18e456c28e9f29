"""Which files a corpus is: a folder of audio, or a manifest that names them. Sorted, each once."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from specgraph.audio import SUFFIXES, audio_files

MANIFESTS = (".txt", ".csv", ".jsonl", ".json")
NAMES = ("path", "audio_filepath")  # of the column that holds the files; the second is NeMo's


@dataclass(frozen=True)
class Input:
    """A file of a corpus.

    Attributes:
        path: as rows name it: relative to the folder, or as the manifest has it.
        file: where it is.
        name: what a file that is written for it is called: relative, without a way out of the folder that it is written to.
        size: bytes; 0 where there is no such file, which its row will say.
    """

    path: str
    file: str
    name: str
    size: int


def listed(source: Path) -> tuple[list[Input], list[str]]:
    """The files of a folder or a manifest, by path, and the paths that were there more than once.

    Raises:
        FileNotFoundError, ValueError: there is no such folder or manifest, it names no file, or a line of it cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no folder or manifest {source}")
    if source.is_dir():
        found = [(name.as_posix(), str(file)) for file, name in audio_files([source])]
        if not found:
            raise ValueError(f"there is no audio in {source}: no file in it ends in {', '.join(SUFFIXES)}")
    else:
        found = [(path, os.path.join(source.parent, path)) for path in _named(source)]
        if not found:
            raise ValueError(f"{source} names no file")
    once: dict[str, tuple[str, str]] = {}
    again = []
    for path, file in sorted(found):
        place = os.path.abspath(file)
        if place in once:
            again.append(path)
        else:
            once[place] = (path, file)
    names = _names(once)
    return [Input(path, file, names[place], _size(file)) for place, (path, file) in once.items()], again


def _named(manifest: Path) -> Iterator[str]:
    """The files that a manifest names."""
    kind = manifest.suffix.lower()
    if kind not in MANIFESTS:
        raise ValueError(f"{manifest} is neither a folder nor a manifest: give a folder, or a file that ends in {', '.join(MANIFESTS)}")
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="" if kind == ".csv" else None) as lines:
        if kind == ".txt":
            yield from (_text(line.rstrip("\r\n"), manifest, number) for number, line in enumerate(lines, 1) if line.strip())
            return
        if kind == ".csv":
            table = csv.DictReader(lines)
            column = next((name for name in NAMES if name in (table.fieldnames or ())), None)
            if column is None:
                raise ValueError(f"{manifest} has no column path or audio_filepath; it has {', '.join(table.fieldnames or ['none'])}")
            try:
                for row in table:
                    yield _text(row[column], manifest, table.line_num)
            except csv.Error as error:
                raise ValueError(f"line {table.line_num} of {manifest} cannot be read: {error}") from None
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
            yield _text(next((entry[name] for name in NAMES if name in entry), None), manifest, number)


def _text(path: object, manifest: Path, number: int) -> str:
    if not isinstance(path, str) or not path:
        raise ValueError(f"line {number} of {manifest} names no file: it needs path or audio_filepath")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half of a pair in JSON, which no system has in a name
        raise ValueError(f"line {number} of {manifest} names {path!r:.100}, which no file can be called") from None
    return path


def _names(once: dict[str, tuple[str, str]]) -> dict[str, str]:
    """What is written for each place: the path itself where all are relative and lead down, or else from the folder that holds all."""
    if all(not PurePath(path).is_absolute() and ".." not in PurePath(path).parts for path, _ in once.values()):
        return {place: PurePath(os.path.normpath(path)).as_posix() for place, (path, _) in once.items()}
    drives = {PurePath(place).drive for place in once}
    if len(drives) > 1:
        return {place: PurePath(place.replace(":", "", 1).lstrip("\\/")).as_posix() for place in once}
    top = os.path.commonpath([os.path.dirname(place) for place in once])
    return {place: PurePath(os.path.relpath(place, top)).as_posix() for place in once}


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except (OSError, ValueError):
        return 0
