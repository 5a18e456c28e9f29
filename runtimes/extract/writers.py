"""How a batch is written: Parquet, .npy files with an index, or WebDataset shards with an index. Each whole, then under its name."""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from specgraph.files import save_arrays, whole
from specgraph.runtimes.extract import arrow
from specgraph.runtimes.extract.inputs import Input
from specgraph.runtimes.extract.job import check_own, part_name
from specgraph.runtimes.extract.names import check_case, check_lengths, is_inside
from specgraph.runtimes.extract.rows import Array, Column, Row


class Writer(ABC):
    """Writes batches into a job's folder.

    Args:
        folder: of the job.
        work: a folder on the same file system, for what is not whole yet.
        columns: of features.
        channel: whether rows say which channel they are of.
    """

    where: ClassVar[tuple[str, ...]] = ()  # columns of the index that say where features are

    def __init__(self, folder: Path, work: Path, columns: Sequence[Column], channel: bool = False) -> None:
        self.folder, self.work, self.columns, self.channel = folder, work, columns, channel
        self.suffix = "npy" if len(columns) == 1 else "npz"

    @abstractmethod
    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        """Write a batch.

        Args:
            number: of the batch.
            names: what each row's file is called.
            rows: as they are computed, which is while they are written.
        """

    @abstractmethod
    def read(self, number: int) -> Iterator[Row]:
        """The rows of a batch that was written; those without features have None."""

    @contextmanager
    def _whole(self, name: str) -> Iterator[Path]:
        """A temporary file that takes its name in the job's folder once it is whole; only what jobs write there is replaced."""
        path = within(self.folder, name)
        if os.path.lexists(path):
            check_own(path)
        with whole(path, self.work) as temporary:
            yield temporary

    def _indexed(self, number: int) -> Iterator[tuple[Row, dict[str, str | None]]]:
        """The rows of a batch that has an index, without features, and where these are."""
        import pyarrow.parquet as pq

        held = pq.read_table(self.folder / "index" / part_name(number), partitioning=None)
        yield from zip(arrow.rows_of(held, ()), held.select(self.where).to_pylist(), strict=True)

    def _index(self, number: int, rows: list[Row], where: list[dict[str, str | None]]) -> None:
        """The rows without features, which says that the batch is done: so it comes last."""
        import pyarrow.parquet as pq

        with self._whole(f"index/{part_name(number)}") as temporary:
            pq.write_table(arrow.index_table(rows, where, self.where, self.channel), temporary)


@final
class ParquetWriter(Writer):
    """A Parquet file for each batch."""

    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        import pyarrow.parquet as pq

        with (
            self._whole(part_name(number)) as temporary,
            pq.ParquetWriter(temporary, arrow.schema(self.columns, self.channel), **arrow.WRITING) as file,
        ):
            for group in arrow.groups(rows):
                file.write_table(arrow.table(group, self.columns, self.channel))

    def read(self, number: int) -> Iterator[Row]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.folder / part_name(number)) as file:
            for group in range(file.num_row_groups):
                yield from arrow.rows_of(file.read_row_group(group), self.columns)


@final
class NpyWriter(Writer):
    """``features/a/b.wav.npy`` for ``a/b.wav``, as the model gives it; .npz for a model with several outputs."""

    where = ("file",)

    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"part-{number:05d}-", dir=self.work))  # a killed job's worker may still write its own
        done: list[Row] = []
        where: list[dict[str, str | None]] = []
        for place, (name, row) in enumerate(zip(names, rows, strict=True)):
            done.append(_bare(row))
            where.append({"file": f"features/{name}.{self.suffix}" if row.features else None})
            if row.features:
                (folder / str(place)).write_bytes(_held(row, self.columns).getbuffer())
        for place, at in enumerate(where):
            if at["file"]:
                with (folder / str(place)).open("rb+") as file:
                    os.fsync(file.fileno())  # here, not one by one: the first waits for the disk and the others find it done
                path = within(self.folder, at["file"])
                if os.path.lexists(path):
                    check_own(path)
                (folder / str(place)).replace(path)
        folder.rmdir()
        self._index(number, done, where)

    def read(self, number: int) -> Iterator[Row]:
        for row, at in self._indexed(number):
            yield replace(row, features=_features(_own(self.folder, at["file"]).read_bytes(), self.columns) if at["file"] else None)


@final
class WebDatasetWriter(Writer):
    """A tar file for each batch, with KEY.npy and KEY.json for each file that has features; files with errors are in the index alone."""

    where = ("shard", "key")

    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        shard = f"shard-{number:05d}.tar"
        done: list[Row] = []
        where: list[dict[str, str | None]] = []
        with self._whole(shard) as temporary, tarfile.open(temporary, "w") as tar:
            for place, row in enumerate(rows):
                key = f"{number:05d}{place:04d}"
                done.append(_bare(row))
                where.append({"shard": shard, "key": key} if row.features else {})
                if row.features:
                    about = {name: arrow.value(row, name) for name in ("path", *arrow.REST, *([arrow.CHANNEL] if self.channel else []))}
                    _add(tar, f"{key}.{self.suffix}", _held(row, self.columns).getbuffer())
                    _add(tar, f"{key}.json", memoryview(json.dumps(about).encode()))
        self._index(number, done, where)

    def read(self, number: int) -> Iterator[Row]:
        with tarfile.open(self.folder / f"shard-{number:05d}.tar") as tar:
            for row, at in self._indexed(number):
                file = tar.extractfile(f"{at['key']}.{self.suffix}") if at["key"] else None
                yield replace(row, features=_features(file.read(), self.columns) if file else None)


WRITERS: dict[str, type[Writer]] = {"parquet": ParquetWriter, "npy": NpyWriter, "webdataset": WebDatasetWriter}


def check_names(format: str, inputs: Sequence[Input], work: Path) -> None:
    """Raise ``ValueError`` where files are named after those of the corpus, and a name would be too long or two be one: before all is computed."""
    if format == "npy":
        check_lengths(((file.path, file.name) for file in inputs if file.size), ".npy")
        check_case(((file.path, file.name) for file in inputs if file.size), work)


def within(folder: Path, name: str) -> Path:
    """A path below a folder, the folders on the way to it made; none of them is a link.

    Raises:
        ValueError: the name leads elsewhere.
        OSError: a name on the way is taken by what is no folder.
    """
    if not is_inside(name):
        raise ValueError(f"{name!r:.100} is not inside {folder}")
    *folders, last = name.split("/")
    for part in folders:
        folder = folder / part
        try:
            if not stat.S_ISDIR(os.lstat(folder).st_mode):
                raise NotADirectoryError(f"{folder} is a link or a file, where a folder is to be; move it away")
        except FileNotFoundError:
            folder.mkdir(exist_ok=True)
    return folder / last


def _own(folder: Path, name: str) -> Path:
    """A path below a folder that an index names; it is data from outside."""
    if not is_inside(name):
        raise ValueError(f"an index in {folder} names {name!r:.100}, which is not inside it; start with another output")
    return folder / name


def _bare(row: Row) -> Row:
    return replace(row, features=None)


def _held(row: Row, columns: Sequence[Column]) -> io.BytesIO:
    """The features of a row as a .npy file, in the model's own order of axes, or several as an .npz file.

    In memory, since numpy writes to a file without saying what went wrong.
    """
    features, file = row.features or {}, io.BytesIO()
    save_arrays(file, {column.name: column.as_output(features[column.name]) for column in columns}, together=len(columns) > 1)
    return file


def _features(held: bytes, columns: Sequence[Column]) -> dict[str, Array]:
    """What ``_held`` wrote."""
    found = np.load(io.BytesIO(held))
    return {column.name: column.time_first(found[column.name] if len(columns) > 1 else found) for column in columns}


def _add(tar: tarfile.TarFile, name: str, data: memoryview) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))
