"""Which files a corpus is, or which parts of files: a folder of audio, or a manifest that names them. Sorted, each once."""

from __future__ import annotations

import csv
import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from specgraph.folders import SUFFIXES, audio_below
from specgraph.runtimes.extract.names import names_of, part_suffix, place_of, readable

MANIFESTS = (".txt", ".csv", ".jsonl", ".json")
NAMES = ("path", "audio_filepath")  # of the column that holds the files; the second is NeMo's, as are the other columns that are read
PART = ("offset", "duration")
CHANNEL = ("channel", "channel_selector")  # lhotse's and Kaldi's; NeMo's
COLUMNS = frozenset({*NAMES, *PART, *CHANNEL})
SIDES = {"A": 0, "B": 1}  # of a call, as Kaldi has them
MOST_CHANNELS = 2**16
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
        channel: the one that is taken, counted from 0; None for the mix of all.
    """

    path: str
    file: str
    name: str
    size: int
    offset: float = 0.0
    duration: float | None = None
    channel: int | None = None

    @property
    def id(self) -> tuple[str, float, int | None]:
        """What its row is known by."""
        return readable(self.path), self.offset, self.channel


@dataclass(frozen=True)
class Corpus:
    """The files of a corpus, by path, offset, duration and channel.

    Attributes:
        inputs: the files, each once.
        again: the paths of those that were named more than once.
        passed_over: how many entries of the folder were not taken, by the reason.
    """

    inputs: list[Input]
    again: list[str]
    passed_over: Mapping[str, int] = field(default_factory=dict)


class _Named(NamedTuple):
    """A file as a folder or a manifest names it."""

    path: str
    offset: float = 0.0
    duration: float | None = None
    channel: int | None = None

    @property
    def order(self) -> tuple[str, float, float, int]:
        return self.path, self.offset, self.duration or math.inf, -1 if self.channel is None else self.channel


def read_corpus(source: Path, channel: int | None = None) -> Corpus:
    """The files of a folder or a manifest.

    Args:
        source: the folder or the manifest.
        channel: that is taken of files for which a manifest names none; None for the mix of all.

    Raises:
        FileNotFoundError, ValueError: there is no such folder or manifest, it names no file, or a line of it cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"there is no folder or manifest {source}")
    passed_over: Mapping[str, int] = {}
    if source.is_dir():
        below = audio_below(source)
        found, top, passed_over = [_Named(name) for name in below.names], source, below.passed_over
        if not found:
            over = f"; passed over: {below}" if passed_over else ""
            raise ValueError(f"there is no audio in {source}: no file in it ends in {', '.join(SUFFIXES)}{over}")
    else:
        found, top = list(_named(source)), source.parent
        if not found:
            raise ValueError(f"{source} names no file")
    once: dict[_Named, tuple[str, str]] = {}
    again = []
    channelled = [named if named.channel is not None else named._replace(channel=channel) for named in found]
    for named in sorted(channelled, key=lambda named: named.order):
        file = os.path.join(top, named.path)
        key = named._replace(path=place_of(file))
        if key in once:
            again.append(named.path)
        else:
            once[key] = (named.path, file)
    parts = Counter(key.path for key in once)
    names = names_of({key.path: path for key, (path, _) in once.items()})
    sizes = {place: _size(place) for place in parts}
    inputs = []
    for key, (path, file) in once.items():
        place, part = key.path, (key.offset, key.duration, key.channel)
        suffix = part_suffix(*part) if parts[place] > 1 else ""
        inputs.append(Input(path, file, names[place] + suffix, -(-sizes[place] // parts[place]), *part))
    return Corpus(inputs, again, passed_over)


def _named(manifest: Path) -> Iterator[_Named]:
    """The files that a manifest names."""
    kind = manifest.suffix.lower()
    if kind not in MANIFESTS or not manifest.is_file():
        raise ValueError(f"{manifest} is neither a folder nor a manifest: give a folder, or a file that ends in {', '.join(MANIFESTS)}")
    with manifest.open(encoding="utf-8-sig", errors="surrogateescape", newline="" if kind == ".csv" else None) as lines:
        if kind == ".txt":
            yield from (_entry({"path": line.rstrip("\r\n")}, manifest, number) for number, line in enumerate(lines, 1) if line.strip())
            return
        if kind == ".csv":
            table = csv.DictReader(lines, strict=True)
            try:
                table.fieldnames = [name.strip() for name in table.fieldnames or ()]
                _check_names(table.fieldnames, f"{manifest}")
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
            _check_names(entry, f"line {number} of {manifest}")
            yield _entry(entry, manifest, number)


def _check_names(names: Iterable[str], where: str) -> None:
    """Raise ``ValueError`` for a column that is one of ours but for its capitals: passed over, it would change what is taken."""
    for name in names:
        if name not in COLUMNS and name.lower() in COLUMNS:
            raise ValueError(f"{where} has {name!r}; the column is called {name.lower()!r}")


def _entry(entry: Mapping[str, Any], manifest: Path, number: int) -> _Named:
    path = next((entry[name] for name in NAMES if entry.get(name)), None)
    if not isinstance(path, str) or not path:
        raise ValueError(f"line {number} of {manifest} names no file: it needs path or audio_filepath")
    try:
        os.fsencode(path)
    except UnicodeEncodeError:  # half of a pair in JSON, which no system has in a name
        raise ValueError(f"line {number} of {manifest} names {path!r:.100}, which no file can be called") from None
    offset, duration = (_seconds(entry.get(name), name, manifest, number) for name in PART)
    channel = next((entry[name] for name in CHANNEL if entry.get(name) not in (None, "", "average")), None)
    return _Named(path, offset, duration or None, _channel(channel, manifest, number))


def _channel(given: Any, manifest: Path, number: int) -> int | None:
    """The number of a channel, from 0: a number, a list of one, or a side of a call; None where none is named."""
    one = given[0] if isinstance(given, list) and len(given) == 1 else given
    text = str(one).strip()
    if one is None:
        return None
    if isinstance(one, bool | float | list) or not (text in SIDES or (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < MOST_CHANNELS)):
        raise ValueError(
            f"line {number} of {manifest} has channel {given!r:.100}; give one number from 0, or in place of several channels a line for each"
        )
    return SIDES[text] if text in SIDES else int(text)


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


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except (OSError, ValueError):
        return 0
