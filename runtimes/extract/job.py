"""A job in its folder: what it is, fixed when it begins, and which parts of it are done.

The folder holds ``_manifest.jsonl``, a line for the job and one for each file with the number of its part, and a part for each
number. A part is written whole in the private folder of the run and then given its name, so what is done is known from the names
that are there, whichever process was killed. A part that is computed twice is the same and replaces itself. Readers of Parquet
folders pass over names that begin with an underscore.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from specgraph.files import whole
from specgraph.runtimes.extract.arrow import pyarrow_module
from specgraph.runtimes.extract.inputs import Corpus, Input
from specgraph.runtimes.extract.lock import MANIFEST, Held
from specgraph.runtimes.extract.names import is_inside

VERSION = 3
PARTS = 64  # that a small corpus is divided into, so that all cores have work to the end
LEAST, MOST, FILES = 2**22, 2**25, 256  # bytes of files in a part, and how many there are at most
COUNT = 2**53  # that a manifest may hold of anything


@dataclass(frozen=True)
class Batch:
    """The files of a part; ``again`` are the places of those that are to be done again, the others' rows being kept: none for all anew."""

    number: int
    inputs: tuple[Input, ...]
    again: tuple[int, ...] = ()

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> Batch:
        """From what ``asdict`` made of one, and JSON of that."""
        return cls(held["number"], tuple(Input(**file) for file in held["inputs"]), tuple(held["again"]))

    @property
    def places(self) -> tuple[int, ...]:
        """Of the files that are to be done."""
        return self.again or tuple(range(len(self.inputs)))

    @property
    def bytes(self) -> int:
        """The size of what is to be done."""
        return sum(self.inputs[place].size for place in self.places)


@dataclass(frozen=True)
class Settings:
    """What every part of a job was made with: the hash of the model, how it is written, and the channel where a manifest names none."""

    source: str
    model: str
    format: str
    on_damage: str
    channel: int | None = None


@dataclass(frozen=True)
class Job:
    """A job: its folder, its settings, all of its batches.

    Attributes:
        duplicates: files that the corpus named more than once.
        passed_over: what was not taken of the folder, by the reason.
        made: whether specgraph made the folder.
    """

    folder: Path
    settings: Settings
    batches: tuple[Batch, ...]
    duplicates: int = 0
    passed_over: Mapping[str, int] = field(default_factory=dict)
    made: bool = False

    @classmethod
    def begun(cls, held: Held, settings: Settings, corpus: Corpus, part_bytes: int | None = None) -> Job:
        """A new job, its manifest written."""
        job = cls(held.folder, settings, planned(corpus.inputs, part_bytes), len(corpus.again), corpus.passed_over, held.made)
        head = {"specgraph": VERSION, "files": job.files, "duplicates": job.duplicates, "passed_over": dict(job.passed_over), "made": job.made}
        with whole(held.folder / MANIFEST, held.work) as temporary, temporary.open("w", encoding="ascii") as lines:
            lines.write(json.dumps(head | asdict(settings)) + "\n")
            for batch in job.batches:
                lines.writelines(json.dumps({"part": batch.number, **asdict(file)}) + "\n" for file in batch.inputs)
        return job

    @classmethod
    def found(cls, folder: Path, settings: Settings) -> Job | None:
        """The job that was begun in a folder, or None; its manifest is checked as what comes from outside.

        Raises:
            ValueError: it is another job than ``settings`` say; or the manifest is not what ``begun`` writes.
        """
        manifest = folder / MANIFEST
        if not os.path.lexists(manifest):
            return None
        check_own(manifest)
        with manifest.open("rb") as lines:
            head = _object(next(lines, b""), manifest, 1)
            _check_head(head, manifest)
            _check_settings(head, settings, folder)
            held: list[list[Input]] = []
            for number, line in enumerate(lines, 2):
                part, file = _file(_object(line, manifest, number), manifest, number)
                if part not in (len(held) - 1, len(held)):
                    raise _refused(manifest, f"line {number} is of part {part!r:.40}, which does not follow part {len(held) - 1}")
                if part == len(held):
                    held.append([])
                held[-1].append(file)
        names = [file.name for files in held for file in files]
        if len(names) != head["files"] or len({*names}) < len(names):
            raise _refused(manifest, f"it names {len({*names})} files, and begins with {head['files']}")
        batches = tuple(Batch(number, tuple(files)) for number, files in enumerate(held))
        return cls(folder, settings, batches, head["duplicates"], head["passed_over"], head["made"])

    @property
    def files(self) -> int:
        """How many there are."""
        return sum(len(batch.inputs) for batch in self.batches)

    @property
    def parts(self) -> Path:
        """The folder of the parts: of features, or where these are files of their own, of the index."""
        return self.folder if self.settings.format == "parquet" else self.folder / "index"

    def part(self, batch: Batch) -> Path:
        """Where a batch is written."""
        return self.parts / part_name(batch.number)

    def pending(self, retry_errors: bool = False) -> list[Batch]:
        """The batches that are not done, the largest first, so that no core is left alone with one.

        With ``retry_errors`` also those that have files with an error. Their parts stay until others take their place.
        """
        left = []
        for batch in self.batches:
            errors = held_errors(self.part(batch), batch)
            if errors is None:
                left.append(batch)
            elif retry_errors and any(errors):
                left.append(replace(batch, again=tuple(place for place, error in enumerate(errors) if error)))
        return sorted(left, key=lambda batch: -batch.bytes)

    def digest(self) -> str:
        """Of the settings and files, not of what is in these: the same for the same job."""
        files = [(file.path, file.file, file.offset, file.duration, file.channel) for batch in self.batches for file in batch.inputs]
        held = json.dumps([asdict(self.settings), files], sort_keys=True)
        return hashlib.sha256(held.encode("ascii")).hexdigest()

    @property
    def names_channels(self) -> bool:
        """Whether the channel of any file is named, so that rows have a column for it."""
        return any(file.channel is not None for batch in self.batches for file in batch.inputs)


def held_errors(part: Path, batch: Batch) -> list[str | None] | None:
    """The errors of a batch's files in its part, or None where there is none, it holds other files, or it cannot be read."""
    pa = pyarrow_module()
    import pyarrow.parquet as pq

    if not os.path.lexists(part):
        return None
    check_own(part)
    try:
        with pq.ParquetFile(part) as file:
            names = ["path", "offset", "error", *(["channel"] if "channel" in file.schema_arrow.names else [])]
            table = file.read(columns=names)
    except (OSError, pa.ArrowException):
        return None
    channels = table["channel"].to_pylist() if "channel" in names else [None] * table.num_rows
    held = zip(table["path"].to_pylist(), table["offset"].to_pylist(), channels, strict=True)
    return table["error"].to_pylist() if list(held) == [file.id for file in batch.inputs] else None


def check_own(path: Path) -> None:
    """Raise ``OSError`` where a name that a job uses in its folder is taken by what no job makes: a folder, a link, a pipe."""
    mode = os.lstat(path).st_mode
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a link" if stat.S_ISLNK(mode) else "a device or a pipe"
        raise FileExistsError(f"{path} is {what}, which specgraph did not make and does not replace; move it away")


def part_name(number: int) -> str:
    """How a part is called."""
    return f"part-{number:05d}.parquet"


def planned(inputs: Sequence[Input], part_bytes: int | None = None) -> tuple[Batch, ...]:
    """Files that follow each other, in batches of ``part_bytes``; None for a size that goes with the corpus."""
    most = part_bytes or min(max(sum(file.size for file in inputs) // PARTS, LEAST), MOST)
    batches: list[list[Input]] = []
    size = 0
    for file in inputs:
        if not batches or size + file.size > most or len(batches[-1]) == FILES:
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file.size
    return tuple(Batch(number, tuple(batch)) for number, batch in enumerate(batches))


def _check_settings(head: Mapping[str, Any], settings: Settings, folder: Path) -> None:
    """Raise ``ValueError`` where a job was begun with others."""
    for name, value in asdict(settings).items():
        if head[name] != value:
            was, now = ("another model", "this one") if name == "model" else (_told(name, head[name]), _told(name, value))
            hashes = f" (SHA-256 {head[name][:12]}..., not {value[:12]}...)" if name == "model" else ""
            advice = f"choose another output, give what it was begun with, or remove {folder}"
            raise ValueError(f"{folder} holds a job of {was}, not of {now}{hashes}; {advice}")


def _told(name: str, value: Any) -> str:
    """A setting in words."""
    if name == "source":
        return str(value)
    return f"--{name.replace('_', '-')} {value}" if value is not None else f"no --{name}"


def _refused(manifest: Path, why: str) -> ValueError:
    return ValueError(f"{manifest} is not as specgraph extract wrote it: {why}; choose another output, or remove {manifest.parent}")


def _object(line: bytes, manifest: Path, number: int) -> dict[str, Any]:
    """A line of a manifest."""
    if not line.strip():
        raise _refused(manifest, "it is empty" if number == 1 else f"line {number} is empty")
    try:
        held = json.loads(line)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, dict):
        raise _refused(manifest, f"line {number} is not a JSON object")
    return held


def _check_head(head: Mapping[str, Any], manifest: Path) -> None:
    version = head.get("specgraph")
    if version != VERSION and isinstance(version, int):
        raise ValueError(f"{manifest.parent} was begun by another version of specgraph; finish it with that, or choose another output")
    kinds = {"specgraph": int, "files": int, "duplicates": int, "passed_over": dict, "made": bool, "source": str, "model": str, "format": str, "on_damage": str}
    wrong = [name for name, kind in kinds.items() if type(head.get(name)) is not kind]
    if not {*head} <= {*kinds, "channel"} or wrong or not _is_channel(head.get("channel", -1)):
        raise _refused(manifest, "its first line is not of a job")
    passed = head["passed_over"].items()
    if not (0 <= head["files"] <= COUNT and 0 <= head["duplicates"] <= COUNT and all(type(count) is int for _, count in passed)):
        raise _refused(manifest, "its first line has counts that cannot be")


def _file(entry: dict[str, Any], manifest: Path, number: int) -> tuple[int, Input]:
    """A file as a line has it, and its part."""
    part = entry.pop("part", None)
    try:
        file = Input(**entry)
    except TypeError:
        raise _refused(manifest, f"line {number} has other fields than those of a file") from None
    sound = (
        type(part) is int
        and all(type(text) is str and text for text in (file.path, file.file, file.name))
        and type(file.size) is int
        and 0 <= file.size <= COUNT
        and _is_seconds(file.offset)
        and (file.duration is None or (_is_seconds(file.duration) and file.duration > 0))
        and _is_channel(file.channel)
    )
    if not sound:
        raise _refused(manifest, f"line {number} has a field that is not of a file")
    if not is_inside(file.name):
        raise _refused(manifest, f"line {number} names the output {file.name!r:.100}, which is not inside {manifest.parent}")
    return part, file


def _is_seconds(value: Any) -> bool:
    return type(value) is float and 0 <= value < math.inf


def _is_channel(value: Any) -> bool:
    return value is None or (type(value) is int and 0 <= value <= COUNT)
