"""A torch model with its front ends in it, as one verified ``.onnx`` file."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from specgraph import __version__
from specgraph.dims import Dim
from specgraph.export import torch_model
from specgraph.export.compare import Comparer, Comparison
from specgraph.export.describe import described
from specgraph.export.emit import emit, serialized
from specgraph.export.inner_features import inner_features
from specgraph.export.join import join
from specgraph.export.neighbours import mixing
from specgraph.export.report import Report
from specgraph.export.torch_export import Axes, export, fixed
from specgraph.export.verification import default_tolerance
from specgraph.export.write import runner, verified, written
from specgraph.graph import About, Graph
from specgraph.listing import bytes_text
from specgraph.lowering import lower
from specgraph.metadata import Metadata, OutputMetadata
from specgraph.ops.layout import is_time
from specgraph.reach import WHOLE_CLIP
from specgraph.runtimes.session import first_line

TOLERANCE = 1e-4  # of an output's peak: what a deep model makes of the rounding of its front end
MOST_BYTES = 2_000_000_000  # of a file in protobuf's format


def write_whole_model(
    model: Any,
    path: Path,
    target: str,
    tolerance: float | None,
    prefer: Mapping[str, str] | None,
    tune: bool,
    opset: int,
    inputs: Sequence[Any] | None = None,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
) -> Report:
    """What ``to_onnx`` does for a module that holds front ends; it has checked the arguments that graphs have too."""
    name = type(model).__name__
    with torch_model.ready(model) as ready:
        given = torch_model.example_inputs(ready, inputs)
        names = torch_model.names_of_inputs(ready, given, input_names)
        axes = torch_model.varying_axes(names, given, dynamic_shapes)
        given = torch_model.several_clips(given, axes)
        outputs = torch_model.names_of_outputs(ready, given, output_names)
        in_torch = torch_model.runner(ready, outputs)
        examples = tuple(tensor.numpy() for tensor in given)
        lengths = tuple(number for number, array in enumerate(examples) if "len" in names[number] and array.dtype.kind == "i" and number)
        comparer = Comparer(examples, axes, in_torch, in_torch, 0.0, lengths=lengths)
        if inputs is not None:  # others were chosen so
            _refuse_mixed(name, comparer)
        exported = export(ready, given, axes, names, outputs, opset)
        if not exported.front_ends:
            raise ValueError(f"forward of {name} does not call the front end that it holds; call it there")
        graphs = [module.graph for module in exported.front_ends]
        lowered = [lower(graph.frozen(), target, prefer, tune) for graph in graphs]
        choices = tuple(choice for graph in lowered for choice in graph.choices)
        allowed = tolerance or max(TOLERANCE, 2 * default_tolerance(choices))
        inner = inner_features(exported, graphs, lowered, in_torch, runner, allowed)
        joined = join(exported.model, [emit(replace(graph, dtype="float32"), opset) for graph in lowered])
        _refuse_large(name, joined)
        data = serialized(joined)
        least = max((graph.least_along_the_clip() for graph in graphs if graph.takes_waveforms), default=1)
        comparer = replace(
            comparer, axes=exported.axes, onnx=_loaded(name, data), tolerance=allowed, limit=exported.limits.get(comparer.along),
            on_same_features=inner, rounding=inner.rounding,
        )  # fmt: skip
        found = comparer.compared(least)
        if found.fixed:
            size = found.shapes[0][0][found.fixed[0]]
            raise ValueError(fixed(name, found.fixed[0], size, exported.axes, names))
    _name_axes(joined, exported.axes, found, comparer.along)
    report = Report(path, target, "cpu", 0, len(joined.graph), choices, found.checks, allowed)
    metadata = Metadata(
        name=name,
        version=__version__,
        sample_rate=graphs[0].sample_rate,
        target=target,
        min_samples=found.least,
        outputs={str(output.name): described_output(output, graphs, found, takes_one_clip(joined)) for output in joined.graph.outputs},
        lowering=tuple(asdict(choice) for choice in choices),
        verified=verified(report),
        front_ends=tuple({"name": g.name, "sample_rate": g.sample_rate, "parameters": dict(g.parameters)} for g in graphs),
        input_dtype=str(examples[0].dtype),
        channels=examples[0].shape[1] if names[0] == "waveforms" and examples[0].ndim == 3 else 1,
        hash=hashlib.sha256(data).hexdigest(),
    )
    return written(joined, metadata.to_properties(), report)


def _loaded(name: str, data: bytes) -> Any:
    try:
        return runner(data)
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001  (onnxruntime's own types)
        raise ValueError(f"onnxruntime does not load what torch.onnx.export makes of {name}: {first_line(error)}; replace that layer") from None


def _refuse_mixed(name: str, comparer: Comparer) -> None:
    """Raise where the clips of a batch that varies are mixed."""
    sizes, batch = comparer.traced_sizes(), comparer.axes[0].get(0)
    if batch is None or not batch.startswith("batch"):
        return
    sizes = sizes | {batch: max(2, sizes[batch])}
    try:
        several, more, one = (comparer.inputs_for("noise", sizes | {batch: clips}) for clips in (sizes[batch], sizes[batch] + 1, 1))
        found = mixing(comparer.original, several, more, one)
    except Exception:  # noqa: BLE001  (whatever a model's layers raise at a batch that is not for them, which is said later)
        return
    if found is not None:
        raise ValueError(torch_model.mixed_clips(name, found))


def _refuse_large(name: str, model: ir.Model) -> None:
    total = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value is not None)
    if total > MOST_BYTES:
        raise ValueError(
            f"{name} holds {bytes_text(total)} of arrays, and one self-contained file at most {bytes_text(MOST_BYTES)}; export its front "
            "end by itself with to_onnx, and the rest with torch.onnx.export(..., external_data=True)"
        )


def _name_axes(model: ir.Model, axes: Axes, found: Comparison, along: str) -> None:
    """Names for the sizes that vary: of inputs as they were asked for, of outputs as they were seen to vary.

    torch's own shapes of outputs are not used: it fixes some that vary, as those behind a GRU.
    """
    for value, varying in zip(model.graph.inputs, axes, strict=True):
        value.shape = ir.Shape([varying.get(axis, size) for axis, size in enumerate(_numbers(value))])
    known = {name: tuple(sizes[name] for sizes, _ in found.shapes) for one in axes for name in one.values()}
    seen = {sizes: name for name, sizes in known.items()}
    for value in model.graph.outputs:
        assert value.name is not None
        shape: list[int | str] = []
        for column in zip(*(shapes[value.name] for _, shapes in found.shapes), strict=True):
            if len(set(column)) == 1 and column not in seen:
                shape.append(column[0])
                continue
            if column not in seen:
                taken = set(seen.values())
                seen[column] = next(name for name in ("frames", f"frames_{value.name}", f"size_{len(seen)}") if name not in taken)
            shape.append(seen[column])
        value.shape = ir.Shape(shape)


def _numbers(value: ir.Value) -> list[int | None]:
    return [size if isinstance(size, int) else None for size in value.shape or ()]


def takes_one_clip(model: ir.Model) -> bool:
    """Whether the batch of a model's first input is fixed at one."""
    shape = model.graph.inputs[0].shape
    return shape is not None and len(shape) > 1 and shape[0] == 1


def described_output(output: ir.Value, graphs: list[Graph], found: Comparison, alone: bool) -> OutputMetadata:
    """An output's axes; and where it has as many frames as a front end at every length, the times of those.

    ``alone``: the model takes one clip, always, and the 1 that an output begins with is that.
    """
    axes = tuple(f"axis_{axis}" if isinstance(size, int) else str(size) for axis, size in enumerate(output.shape or ()))
    if alone and axes and {shapes[str(output.name)][0] for _, shapes in found.shapes} == {1}:
        axes = ("batch", *axes[1:])
    for graph in (graph for graph in graphs if graph.takes_waveforms):
        reach = graph.reach()
        for value in graph.outputs.values():
            times = [size for size in value.shape if isinstance(size, Dim) and is_time(size)]
            counts = [(times[0].at(sizes["samples"]) if times and "samples" in sizes else None) for sizes, _ in found.shapes]
            for axis, size in enumerate(axes):
                if size != "batch" and not size.startswith("axis_") and counts == [shapes[str(output.name)][axis] for _, shapes in found.shapes]:
                    about = described(value, reach.get(value, WHOLE_CLIP), About(axes=axes))
                    return OutputMetadata(axes, about.hop, about.centre, None, None, frames=about.frames)
    return OutputMetadata(axes, hop=0.0, before=None, after=None)
