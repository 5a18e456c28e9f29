"""Rows as Arrow tables: plain lists, which every reader of Parquet knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from specgraph.runtimes.extract.names import readable, unreadable
from specgraph.runtimes.extract.rows import Column, Row

if TYPE_CHECKING:
    import pyarrow

GROUP = 2**25  # bytes of features that are held before they are written
CHANNEL = "channel"  # the last column, where the channel of any file is named
REST = {"frames": "int64", "sample_rate": "int32", "offset": "float64", "duration": "float64", "error": "string"}  # after the features

# Features are random bits to a dictionary, and nearly so to a compressor: both cost more than computing the features does.
WRITING: dict[str, Any] = {"compression": "none", "use_dictionary": False, "write_statistics": False}


def pyarrow_module() -> Any:
    """pyarrow, or ``ImportError`` saying how to install it."""
    try:
        import pyarrow
    except ImportError as error:
        if error.name not in (None, "pyarrow"):
            raise
        raise ImportError("pyarrow is not installed: pip install 'specgraph[extract]'", name="pyarrow") from None
    return pyarrow


def schema(columns: Sequence[Column], channel: bool = False) -> pyarrow.Schema:
    """``path, features list<fixed_size_list>, frames, sample_rate, offset, duration, error``, and with ``channel`` that.

    A model of several outputs has a column for each, by its name, in place of ``features``.
    """
    pa = pyarrow_module()
    return _schema([(column.name, pa.list_(pa.field("item", _frame(column), nullable=False))) for column in columns], channel)


def table(rows: Sequence[Row], columns: Sequence[Column], channel: bool = False) -> pyarrow.Table:
    """The rows, in order."""
    return _table(rows, schema(columns, channel), [_features(rows, column) for column in columns])


def rows_of(held: pyarrow.Table, columns: Sequence[Column]) -> Iterator[Row]:
    """The rows of a table that ``table`` made, or of an index, whose rows have no features."""
    found = {column.name: held[column.name] for column in columns if column.name in held.column_names}
    for place, row in enumerate(held.select([name for name in ("path", *REST, CHANNEL) if name in held.column_names]).to_pylist()):
        features = {}
        for column in columns if found else ():
            frames = found[column.name][place].values
            if frames is not None:
                while frames.type.num_fields:
                    frames = frames.flatten()
                features[column.name] = frames.to_numpy().reshape(-1, *column.sizes)
        yield Row(features=features or None, **row | {"path": unreadable(row["path"])})


def index_table(rows: Sequence[Row], where: Sequence[Mapping[str, str | None]], names: Sequence[str], channel: bool = False) -> pyarrow.Table:
    """The rows without features, and with the columns ``names`` that say where these are; ``where`` has a dict by name for each."""
    pa = pyarrow_module()
    made = _schema([(name, pa.string()) for name in names], channel)
    return _table(rows, made, [pa.array([at.get(name) for at in where], pa.string()) for name in names])


def _schema(between: Sequence[tuple[str, pyarrow.DataType]], channel: bool) -> pyarrow.Schema:
    pa = pyarrow_module()
    rest = [(name, getattr(pa, kind)()) for name, kind in (REST | ({CHANNEL: "int32"} if channel else {})).items()]
    return pa.schema([("path", pa.string()), *between, *rest])


def _table(rows: Sequence[Row], made: pyarrow.Schema, between: Sequence[pyarrow.Array]) -> pyarrow.Table:
    pa = pyarrow_module()
    names = ["path", *REST, *([CHANNEL] if CHANNEL in made.names else [])]
    first, *rest = (pa.array([value(row, name) for row in rows], made.field(name).type) for name in names)
    return pa.Table.from_arrays([first, *between, *rest], schema=made)


def groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """The rows, some at a time, so that their features take about ``GROUP`` bytes or are those of one row."""
    held: list[Row] = []
    size = 0
    for row in rows:
        if held and size + row.bytes > GROUP:
            yield held
            held, size = [], 0
        held.append(row)
        size += row.bytes
    if held:
        yield held


def value(row: Row, name: str) -> Any:
    """A column of a row other than features."""
    if name == "path":
        return readable(row.path)
    found = getattr(row, name)
    return found.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if isinstance(found, str) else found


def _frame(column: Column) -> pyarrow.DataType:
    pa = pyarrow_module()
    made = pa.from_numpy_dtype(column.dtype)
    for size in reversed(column.sizes or (1,)):
        made = pa.list_(pa.field("item", made, nullable=False), size)
    return made


def _features(rows: Sequence[Row], column: Column) -> pyarrow.Array:
    pa = pyarrow_module()
    held = [row.features[column.name] for row in rows if row.features is not None]
    flat = held[0].reshape(-1) if len(held) == 1 else np.concatenate([array.reshape(-1) for array in held]) if held else np.empty(0, column.dtype)
    values, kind = pa.array(flat), _frame(column)
    kinds = [kind]
    while pa.types.is_fixed_size_list(kinds[-1].value_type):
        kinds.append(kinds[-1].value_type)
    for made in reversed(kinds):
        values = pa.FixedSizeListArray.from_arrays(values, type=made)
    lengths = [0 if row.features is None else len(row.features[column.name]) for row in rows]
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    missing = pa.array([row.features is None for row in rows], pa.bool_())
    return pa.ListArray.from_arrays(offsets, values, type=pa.list_(pa.field("item", kind, nullable=False)), mask=missing)
