"""Joined models on the disk: in one file, or with their arrays in another beside it, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
from onnx_ir import external_data

from specgraph.export.emit import serialized
from specgraph.export.foreign import Foreign
from specgraph.export.report import Report
from specgraph.export.whole_model import MOST_BYTES
from specgraph.export.write import sealed, written
from specgraph.files import whole
from specgraph.runtimes.pinned import read_model_file

INLINE = 1024  # bytes, below which an array stays in the file of nodes: onnxruntime reads shapes there


@dataclass(frozen=True)
class Draft:
    """A model that is not written yet: ``source`` is what onnxruntime loads, bytes or the path of a file that is still hidden."""

    model: ir.Model
    source: bytes | str
    data: Path | None

    @property
    def hash(self) -> str:
        """Of the nodes and the arrays; of a model with a file of arrays beside it, without those."""
        return hashlib.sha256(self.source if isinstance(self.source, bytes) else serialized(self.model)).hexdigest()

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of the file of arrays, by its name."""
        if self.data is None:
            return {}
        with self.data.open("rb") as file:
            return {self.data.name: hashlib.file_digest(file, "sha256").hexdigest()}

    def write(self, properties: Mapping[str, str], report: Report) -> Report:
        """Write it with its metadata to ``report.path``; the report with the size of all that was written."""
        if self.data is None:
            return written(self.model, properties, report)
        proto, size = sealed(self.model, properties), self.data.stat().st_size
        beside = report.path.resolve().with_name(self.data.name)
        with whole(report.path) as temporary:
            temporary.write_bytes(proto)
            self.data.replace(beside)
        return replace(report, file_size=len(proto) + size, data=beside)


@contextmanager
def draft(model: ir.Model, path: Path) -> Iterator[Draft]:
    """The model ready to be verified, and then to be written to ``path``.

    Its arrays are in it, wherever they were read from; where one file cannot hold them, they go into ``path`` with ``_data`` appended.
    """
    held = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if held <= MOST_BYTES:
        external_data.load_to_model(model)
        yield Draft(model, serialized(model), None)
        return
    path = path.resolve()
    _check_data(path)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=".specgraph-"))
    try:
        data = folder / _data_file(path).name
        external_data.unload_from_model(model, folder, data.name, size_threshold_bytes=INLINE)
        hidden = folder / path.name
        hidden.write_bytes(serialized(model))
        yield Draft(model, str(hidden), data)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_source(path: Path, source: Foreign) -> None:
    """Raise where writing to ``path`` would change what is read."""
    if path.exists() and path.samefile(source.path):
        raise ValueError(f"{path} is the model itself, which stays as it is; give the joined file another name")
    data = _data_file(path.resolve())
    if source.data and data.exists() and any(data.samefile(file) for file in source.data):
        raise ValueError(f"{data.name} holds arrays of {source.path}, and those of {path.name} would replace it; give the joined file another name")


def _check_data(path: Path) -> None:
    """Raise ``FileExistsError`` where the file of arrays would replace one that is not of the model that is replaced."""
    data = _data_file(path)
    if not os.path.lexists(data):
        return
    try:
        _, header = read_model_file(path, "")
    except (OSError, ValueError):
        header = None
    if header is None or data.name not in header.external or data.is_symlink() or not data.is_file():
        raise FileExistsError(f"{data} exists and is not of a model {path.name}, and would be replaced; move it away, or give the joined file another name")


def _data_file(path: Path) -> Path:
    return path.with_name(f"{path.name}_data")
