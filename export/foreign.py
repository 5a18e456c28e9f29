"""ONNX models that others wrote: read, and what they take and give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir

from specgraph.export.arrange import Port, Size
from specgraph.metadata import PREFIX, Metadata
from specgraph.runtimes.loading import read_metadata
from specgraph.runtimes.pinned import read_model_file, require_files
from specgraph.runtimes.wire import GRAPH_SPARSE, MODEL_GRAPH, fields

OLDEST = 11  # opset that is read
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16)
WHOLE = (ir.DataType.INT64, ir.DataType.INT32)


@dataclass(frozen=True)
class Foreign:
    """A model, the files that hold its arrays besides its own, and what specgraph says in it, where it was there before."""

    path: Path
    model: ir.Model
    data: tuple[Path, ...]
    metadata: Metadata | None

    @property
    def opset(self) -> int:
        """The version of the standard operators."""
        return self.model.graph.opset_imports.get("", self.model.graph.opset_imports.get("ai.onnx", 0))

    @property
    def size(self) -> int:
        """Bytes of its arrays."""
        return sum(tensor.nbytes for tensor in _tensors(self.model))

    def port(self, value: ir.Value, layout: str | None = None) -> Port:
        """An input or output; its number of axes is that of ``layout`` where the file does not say it."""
        if value.shape is None and layout is None:
            raise ValueError(f"{self.path} does not say what shape {value.name} has; give layout='bft', say, a letter for each of its axes")
        sizes: tuple[Size, ...] = (None,) * len(layout or "") if value.shape is None else tuple(map(known, value.shape))
        return Port(str(value.name), sizes, str(self.path))


def known(size: int | ir.SymbolicDim) -> int | str | None:
    """A size as a number, a name, or None where it is not known."""
    return size if isinstance(size, int) else size.value or None


def read_foreign(path: Path) -> Foreign:
    """The model of a file, its arrays left on the disk where they are in other files.

    Raises:
        FileNotFoundError: there is no such file, or not one that holds its arrays.
        ValueError: it is no ONNX model, one of an opset before 11 or with sparse arrays, or a front end by itself.
    """
    data, header = read_model_file(path, "export the model to ONNX first")
    require_files(path, header.external)
    metadata = read_metadata(path, data, header) if PREFIX + "format" in header.properties else None
    if metadata is not None and not metadata.front_ends:
        raise ValueError(f"{path} is a front end itself, {metadata.name}; the model comes second, the front end first")
    graphs = [value for field, value in fields(memoryview(data)) if field == MODEL_GRAPH and not isinstance(value, int)]
    if any(field == GRAPH_SPARSE for graph in graphs for field, _ in fields(graph)):
        raise ValueError(f"{path} keeps sparse arrays, which specgraph does not read; export it with dense ones")
    try:
        model = ir.load(path)
    except Exception as error:  # noqa: BLE001  (onnx and onnx_ir have many words for what they cannot read)
        raise ValueError(f"{path} cannot be read as an ONNX model ({type(error).__name__}: {(str(error).splitlines() or [''])[0]})") from None
    inputs = [value for value in model.graph.inputs if str(value.name) not in model.graph.initializers]
    model.graph.inputs.clear()  # of old files, that list arrays among what they take
    model.graph.inputs.extend(inputs)
    files = sorted({Path(tensor.path) for tensor in _tensors(model) if isinstance(tensor, ir.ExternalTensor)})
    found = Foreign(path, model, tuple(files), metadata)
    if found.opset < OLDEST:
        raise ValueError(f"{path} has opset {found.opset}, and {OLDEST} or later is needed; export it again, or convert it with onnx.version_converter")
    return found


def _tensors(model: ir.Model) -> list[ir.TensorProtocol]:
    return [value.const_value for graph in model.graphs() for value in graph.initializers.values() if value.const_value is not None]


def raised(source: Foreign, opset: int) -> None:
    """Convert the model to a later opset, in place.

    Raises:
        ValueError: onnx has no way to.
    """
    import logging

    from onnxscript.version_converter import convert_version

    logger = logging.getLogger("onnxscript")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # it says in several lines how it converts; what matters is said below
    try:
        convert_version(source.model, opset, fallback=True)
    finally:
        logger.setLevel(level)
    if source.model.graph.opset_imports.get("") != opset:
        raise ValueError(f"{source.path} has opset {source.opset} and onnx cannot convert it to {opset}; export it with opset {opset} or later")
