"""A job in its folder: what it is, fixed when it begins, and which parts of it are done.

The folder holds ``_manifest.jsonl``, a line for the job and one for each file with the number of its part, and a part for each
number, which is written whole and then given its name. So what is done can be told at any moment from the names that are there,
whoever was killed; a part that is computed twice is the same and replaces itself. Readers of Parquet folders pass over names
that begin with an underscore.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

from specgraph.files import whole
from specgraph.runtimes.extract.arrow import pyarrow_module
from specgraph.runtimes.extract.inputs import Input

MANIFEST, LOCK = "_manifest.jsonl", "_lock"
VERSION = 2
PARTS = 64  # that a small corpus is divided into, so that all cores have work to the end
LEAST, MOST, FILES = 2**22, 2**25, 256  # bytes of files in a part, and how many there are at most


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
    """What every part of a job was made with: the hash of the model, and how it is written."""

    source: str
    model: str
    format: str
    on_damage: str


@dataclass(frozen=True)
class Job:
    """A job: its folder, its settings, all of its batches."""

    folder: Path
    settings: Settings
    batches: tuple[Batch, ...]
    duplicates: int

    @classmethod
    def begun(cls, folder: Path, settings: Settings, inputs: Sequence[Input], duplicates: int, part_bytes: int | None = None) -> Job:
        """A new job, its manifest written."""
        batches = planned(inputs, part_bytes)
        head = {"specgraph": VERSION, "files": len(inputs), "duplicates": duplicates, **asdict(settings)}
        with whole(folder / MANIFEST) as temporary, temporary.open("w", encoding="ascii") as lines:
            lines.write(json.dumps(head) + "\n")
            for batch in batches:
                lines.writelines(json.dumps({"part": batch.number, **asdict(file)}) + "\n" for file in batch.inputs)
        return cls(folder, settings, batches, duplicates)

    @classmethod
    def found(cls, folder: Path, settings: Settings) -> Job | None:
        """The job that was begun in a folder, or None.

        Raises:
            ValueError: it is another job than ``settings`` say.
        """
        manifest = folder / MANIFEST
        if not manifest.exists():
            return None
        with manifest.open(encoding="ascii") as lines:
            head = json.loads(next(lines))
            if head["specgraph"] != VERSION:
                raise ValueError(f"{folder} was begun by another version of specgraph; finish it with that, or choose another output")
            for name, value in asdict(settings).items():
                if head[name] != value:
                    what = {"model": "another model", "on_damage": f"--on-damage {head[name]}", "format": f"--format {head[name]}"}
                    raise ValueError(f"{folder} holds a job of {what.get(name, head[name])}, not of {_given(name, value)}; choose another output or remove it")
            held: dict[int, list[Input]] = {}
            for line in lines:
                entry = json.loads(line)
                held.setdefault(entry.pop("part"), []).append(Input(**entry))
        return cls(folder, settings, tuple(Batch(number, tuple(files)) for number, files in held.items()), head["duplicates"])

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
        """The batches that are not done, the largest first, so that no core is left alone with one; a part that holds other files is removed.

        With ``retry_errors`` also those that have files with an error. Their parts stay until others take their place.
        """
        left = []
        for batch in self.batches:
            path = self.part(batch)
            errors = held_errors(path, batch) if path.exists() else None
            if errors is None:
                path.unlink(missing_ok=True)
                left.append(batch)
            elif retry_errors and any(errors):
                left.append(replace(batch, again=tuple(place for place, error in enumerate(errors) if error)))
        return sorted(left, key=lambda batch: -batch.bytes)

    def clean(self) -> None:
        """Remove what killed workers left half written."""
        for path in (*self.folder.glob(".*"), *self.folder.glob("_part-*"), *self.parts.glob(".part-*")):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            elif path.name.startswith((".part-", ".shard-", "._manifest.", ".merged.")):
                path.unlink(missing_ok=True)

    def digest(self) -> str:
        """Of the settings and files, not of what is in these: the same for the same job."""
        files = [(file.path, file.file, file.offset, file.duration) for batch in self.batches for file in batch.inputs]
        held = json.dumps([asdict(self.settings), files], sort_keys=True)
        return hashlib.sha256(held.encode("ascii")).hexdigest()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Held by one process at a time, where the system has locks; let go by the system when that is killed."""
        with (self.folder / LOCK).open("w") as file:
            if not _locked(file):
                raise ValueError(f"{self.folder} is being written by another specgraph extract; wait for it, or choose another output")
            try:
                yield
            finally:
                (self.folder / LOCK).unlink(missing_ok=True)


def held_errors(part: Path, batch: Batch) -> list[str | None] | None:
    """The errors of a batch's files in its part, or None where it holds other files or cannot be read."""
    pa = pyarrow_module()
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(part, columns=["path", "offset", "error"], partitioning=None)
    except (OSError, pa.ArrowException):
        return None
    held = zip(table["path"].to_pylist(), table["offset"].to_pylist(), strict=True)
    return table["error"].to_pylist() if list(held) == [file.id for file in batch.inputs] else None


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


def _given(name: str, value: Any) -> str:
    return {"model": "this one", "on_damage": f"--on-damage {value}", "format": f"--format {value}"}.get(name, str(value))


def _locked(file: IO[str]) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
