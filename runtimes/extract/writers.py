"""How a batch is written: Parquet, .npy files with an index, or WebDataset shards with an index. Each whole, then under its name."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, final

import numpy as np

from specgraph.files import save_arrays, whole
from specgraph.runtimes.extract import arrow
from specgraph.runtimes.extract.inputs import Input
from specgraph.runtimes.extract.job import part_name
from specgraph.runtimes.extract.rows import Array, Column, Row

LONGEST_NAME = 255  # bytes, on the file systems that are in use


class Writer(ABC):
    """Writes batches into a job's folder."""

    where: ClassVar[tuple[str, ...]] = ()  # columns of the index that say where features are

    def __init__(self, folder: Path, columns: Sequence[Column]) -> None:
        self.folder, self.columns = folder, columns
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

    def _indexed(self, number: int) -> Iterator[tuple[Row, dict[str, str | None]]]:
        """The rows of a batch that has an index, without features, and where these are."""
        import pyarrow.parquet as pq

        held = pq.read_table(self.folder / "index" / part_name(number), partitioning=None)
        yield from zip(arrow.rows_of(held, ()), held.select(self.where).to_pylist(), strict=True)

    def _index(self, number: int, rows: list[Row], where: list[dict[str, str | None]]) -> None:
        """The rows without features, which says that the batch is done: so it comes last."""
        import pyarrow.parquet as pq

        folder = self.folder / "index"
        folder.mkdir(exist_ok=True)
        with whole(folder / part_name(number)) as temporary:
            pq.write_table(arrow.index_table(rows, where, self.where), temporary)


@final
class ParquetWriter(Writer):
    """A Parquet file for each batch."""

    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        import pyarrow.parquet as pq

        with (
            whole(self.folder / part_name(number)) as temporary,
            pq.ParquetWriter(temporary, arrow.schema(self.columns), **arrow.WRITING) as file,
        ):
            for group in arrow.groups(rows):
                file.write_table(arrow.table(group, self.columns))

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
        folder = Path(tempfile.mkdtemp(prefix=f"_part-{number:05d}-", dir=self.folder))  # a killed job's worker may still write its own
        done: list[Row] = []
        where: list[dict[str, str | None]] = []
        try:
            for place, (name, row) in enumerate(zip(names, rows, strict=True)):
                done.append(_bare(row))
                where.append({"file": f"features/{name}.{self.suffix}" if row.features else None})
                if row.features:
                    (folder / str(place)).write_bytes(_held(row, self.columns).getbuffer())
            for place, at in enumerate(where):
                if at["file"]:
                    with (folder / str(place)).open("rb+") as file:
                        os.fsync(file.fileno())  # here, not one by one: the first waits for the disk and the others find it done
                    (self.folder / at["file"]).parent.mkdir(parents=True, exist_ok=True)
                    (folder / str(place)).replace(self.folder / at["file"])
            self._index(number, done, [{name: value and arrow.readable(value) for name, value in at.items()} for at in where])
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def read(self, number: int) -> Iterator[Row]:
        for row, at in self._indexed(number):
            yield replace(row, features=_features((self.folder / at["file"]).read_bytes(), self.columns) if at["file"] else None)


@final
class WebDatasetWriter(Writer):
    """A tar file for each batch, with KEY.npy and KEY.json for each file that has features; files with errors are in the index alone."""

    where = ("shard", "key")

    def write(self, number: int, names: Sequence[str], rows: Iterable[Row]) -> None:
        shard = f"shard-{number:05d}.tar"
        done: list[Row] = []
        where: list[dict[str, str | None]] = []
        with whole(self.folder / shard) as temporary, tarfile.open(temporary, "w") as tar:
            for place, row in enumerate(rows):
                key = f"{number:05d}{place:04d}"
                done.append(_bare(row))
                where.append({"shard": shard, "key": key} if row.features else {})
                if row.features:
                    about = {name: arrow.value(row, name) for name in ("path", *arrow.REST)}
                    _add(tar, f"{key}.{self.suffix}", _held(row, self.columns).getbuffer())
                    _add(tar, f"{key}.json", memoryview(json.dumps(about).encode()))
        self._index(number, done, where)

    def read(self, number: int) -> Iterator[Row]:
        with tarfile.open(self.folder / f"shard-{number:05d}.tar") as tar:
            for row, at in self._indexed(number):
                file = tar.extractfile(f"{at['key']}.{self.suffix}") if at["key"] else None
                yield replace(row, features=_features(file.read(), self.columns) if file else None)


WRITERS: dict[str, type[Writer]] = {"parquet": ParquetWriter, "npy": NpyWriter, "webdataset": WebDatasetWriter}


def check_names(format: str, inputs: Iterable[Input]) -> None:
    """Raise ``ValueError`` where files are named after those of the corpus and a name would be too long: before all is computed."""
    for file in inputs if format == "npy" else ():
        if len(os.fsencode(os.path.basename(file.name))) + len(".npy") > LONGEST_NAME and file.size:
            raise ValueError(f"{file.path}.npy is a longer name than a file can have; rename {file.path}, or choose another --format")


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
