"""Write a graph, a transform or a trained module as one verified ``.onnx`` file."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from specgraph.export.describe import describe
from specgraph.export.emit import OPSETS, emit, serialized
from specgraph.export.report import Check, Report, largest_errors
from specgraph.export.slicing import cut, slicing
from specgraph.export.verification import checked, default_tolerance, log
from specgraph.files import check_writable, whole
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.metadata import CHECKSUM, PREFIX, Slicing
from specgraph.op import Array
from specgraph.ragged import with_lengths
from specgraph.runtimes.denormals import without_denormals
from specgraph.runtimes.session import session
from specgraph.runtimes.wire import checksum, metadata_entry
from specgraph.serialize import FORMS, to_json
from specgraph.sources import as_graph
from specgraph.streaming import streaming as streamed
from specgraph.threads import one_thread

SHARED = 50_000  # bytes of a float32 array from which the metadata points to an equal initializer


def to_onnx(
    source: Any,
    path: str | Path,
    target: str = "cpu",
    tolerance: float | None = None,
    prefer: Mapping[str, str] | None = None,
    tune: bool = False,
    opset: int = 18,
    streaming: bool = False,
    chunk: int | None = None,
    inputs: Sequence[Any] | None = None,
    dynamic_shapes: Any = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    lengths: bool = False,
    dtype: str | None = None,
) -> Report:
    """Export to one self-contained ``.onnx`` file, verified before it is written.

    The file holds standard operators only, takes any batch and any number of samples, and carries its own definition and
    metadata. Its input is ``waveforms``, float32, and its output ``features``, or what the graph names them.

    A whole model, any ``nn.Module`` that has modules made from graphs in it, is written with its front ends lowered as they
    are by themselves and the rest as ``torch.onnx.export`` has it, in eval mode and float32, with all parameters as they are
    now; a model on a GPU is copied to the CPU for that. onnxruntime is then compared with torch. Batch and samples vary unless
    a layer fixes them, which a ``ValueError`` says.

    Args:
        source: a transform, a graph, a module made from one, whose learned arrays are exported, or a model with such modules;
            ``specgraph.with_input`` makes of them a graph for int16, for several channels, for another rate.
        path: the file to write; its folder must exist. It appears whole or not at all.
        target: what the lowerings are chosen for, "cpu" or "cuda". The file runs on either.
        tolerance: largest error against the float64 definition, as a fraction of the peak of the spectrum; None is 2e-6, or
            the tolerance of the lowering chosen where that is an approximation. Of a whole model, largest difference from
            torch, as a fraction of an output's peak; None is 1e-4, or twice the tolerance of the roughest lowering. Where the model
            differs by more, its layers are compared on the features that the file has, and these with their definition: what
            float32 makes of a front end, as where quiet bands are normalised, is no error of the file.
        prefer: lowerings by compound op, such as ``{"Stft": "conv"}``, instead of the cheapest.
        tune: time the candidates with onnxruntime on this machine instead of estimating them.
        opset: ONNX opset, 18 to 21; 18 loads in every onnxruntime from 1.15 on.
        streaming: write a model for sound that comes in chunks instead, ``chunk, state -> features, next_state``, for whatever runs
            onnxruntime; ``specgraph.streaming.streaming`` says how it is driven.
        chunk: samples of a chunk, with ``streaming``; None for about a tenth of a second.
        inputs: of a whole model, what it is traced and compared with: float32 tensors in the order of ``forward``. None is two
            clips of a second of noise, for a model that takes waveforms alone.
        dynamic_shapes: of a whole model, a dict of names by axis for each input, as ``({0: "batch", 1: "samples"},)``. None lets
            the first axis vary and the last, or of complex features the one before it.
        input_names: of a whole model; None is ``waveforms``, or ``features`` for one input of rank 3 and more, or for several
            inputs what ``forward`` calls them.
        output_names: of a whole model; None is the keys of the dict that it returns, or ``output``, or of several ``output_1``,
            ``output_2``, ...
        lengths: take clips of different lengths in one batch, as ``specgraph.with_lengths`` says: a second input,
            ``waveforms_lens``, and a second output, ``features_lens``, int64 (batch,).
        dtype: of the features: "float16" rounds them once, at the end, all before that being float32; None is the graph's own, which
            is "float32" unless it was read from a file in half precision. Features that float16 does not hold, above 65504 or so
            small that its digits are lost, are refused by the verification.

    Returns:
        A report: the lowering chosen and the prices of the others, nodes, size, the error on every signal.

    Raises:
        VerificationError: the error is above the tolerance; nothing is written.
        ValueError, TypeError: a wrong argument, in one sentence.
    """
    model = is_model(source)
    graph = None if model else as_graph(source)
    if dtype is not None:
        if graph is None:
            raise TypeError("dtype is of front ends, and a whole model is written in float32; export the front end with it, and the rest by itself")
        graph = replace(graph, dtype=dtype)
    if chunk is not None and not streaming:
        raise ValueError("chunk is of streaming=True; give both")
    if lengths or streaming:
        if graph is None:
            wanted = "lengths" if lengths else "streaming"
            raise TypeError(f"{wanted} is of front ends: export the front end with {wanted}=True, and the rest of the model by itself")
        if lengths and streaming:
            raise ValueError("a stream ends when it is told to, so it takes no lengths; give streaming=True or lengths=True, not both")
        graph = with_lengths(graph) if lengths else streamed(graph, chunk)
    path = Path(path)
    if isinstance(opset, bool) or not isinstance(opset, int) or opset not in OPSETS:
        raise ValueError(f"opset must be one of {', '.join(map(str, OPSETS))}, not {opset!r}")
    check_asked(path, target, tolerance)
    of_model = {"inputs": inputs, "dynamic_shapes": dynamic_shapes, "input_names": input_names, "output_names": output_names}
    if graph is None:
        from specgraph.export.whole_model import write_whole_model

        return write_whole_model(source, path, target, tolerance, prefer, tune, opset, **of_model)
    if unused := [name for name, value in of_model.items() if value is not None]:
        raise TypeError(f"{unused[0]} is for a whole model; a {type(source).__name__} says itself what it takes and gives")
    return write_graph(graph, path, target, tolerance, prefer, tune, opset)


def check_asked(path: Path, target: str, tolerance: float | None) -> None:
    """Raise, in a sentence, where a file cannot be written to ``path``, or another argument is none."""
    if target not in ("cpu", "cuda"):
        raise ValueError(f"target must be 'cpu' or 'cuda', not {target!r}")
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, not {tolerance!r}")
    check_writable(path)
    if path.suffix != ".onnx":
        raise ValueError(f"{path} does not end in .onnx; name the file {path.with_suffix('.onnx').name}")


def write_graph(
    graph: Graph, path: Path, target: str, tolerance: float | None, prefer: Mapping[str, str] | None, tune: bool, opset: int
) -> Report:
    """What ``to_onnx`` does for a graph, whose arguments it has checked."""
    with one_thread():
        return _written(graph, path, target, tolerance, prefer, tune, opset)


def _written(
    graph: Graph, path: Path, target: str, tolerance: float | None, prefer: Mapping[str, str] | None, tune: bool, opset: int
) -> Report:
    frozen = graph.frozen()
    last = cut(frozen)
    log.info("choosing lowerings")
    lowered = lower(replace(frozen, outputs={**frozen.outputs, **last}), target, prefer, tune)
    model = emit(lowered, opset, inner=last.keys() - graph.outputs.keys())
    tolerance = tolerance or default_tolerance(lowered.choices)
    checks = checked(graph, runner(serialized(model), 1), lowered.choices, tolerance)
    report = Report(path, target, "cpu", 0, len(model.graph), lowered.choices, checks, tolerance)
    return written(model, _properties(graph, model, report, slicing(frozen, lowered, model, last)), report)


def written(model: ir.Model, properties: Mapping[str, str], report: Report) -> Report:
    """Write the model with its metadata to ``report.path``; the report with the file's size."""
    data = sealed(model, properties)
    with whole(report.path) as temporary:
        temporary.write_bytes(data)
    return replace(report, file_size=len(data))


def sealed(model: ir.Model, properties: Mapping[str, str]) -> bytes:
    """The model with its metadata, and with the checksum of both."""
    for key in [key for key in model.metadata_props if key.startswith(PREFIX)]:  # of a model that was attached to before
        del model.metadata_props[key]
    model.metadata_props.update(properties)
    data = serialized(model)
    return data + metadata_entry(CHECKSUM, checksum(data, properties))


def is_model(source: Any) -> bool:
    """Whether this is a torch module that is not made of a graph itself."""
    torch = sys.modules.get("torch")  # who has a module has torch
    return torch is not None and isinstance(source, torch.nn.Module) and not isinstance(getattr(source, "graph", None), Graph)


def runner(data: bytes | str, threads: int = 0, path: str = "the model") -> Any:
    """Runs the model, or the file of that name, on the CPU provider, whatever the target: the numbers are what is verified.

    ``threads`` of an operator; 0 leaves it to onnxruntime. ``path`` is what errors call the model.
    """
    made = session(data, threads=threads, path=path)
    names = [node.name for node in made.get_inputs()]
    outputs = [node.name for node in made.get_outputs()]

    def run(inputs: tuple[Array, ...]) -> dict[str, Array]:
        return dict(zip(outputs, without_denormals(partial(made.run, None, dict(zip(names, inputs, strict=True)))), strict=True))

    return run


def _properties(graph: Graph, model: ir.Model, report: Report, pieces: Slicing) -> dict[str, str]:
    lowering = tuple(asdict(choice) for choice in report.choices)
    metadata = describe(graph, report.target, lowering, verified(report), pieces)
    return metadata.to_properties() | {PREFIX + "graph": to_json(graph, _finder(model))}


def verified(report: Report) -> dict[str, Any]:
    """What a file says of its verification. Torch's own rounding is not the file's, differs between processors, and is left out."""
    inner = largest_errors(report.front_end_checks)
    return {
        "error": _rounded(report.error),
        "output_errors": {name: _rounded_up(error) for name, error in report.output_errors.items()},
        **({"front_end_output_errors": {name: _rounded_up(error) for name, error in inner.items()}} if inner else {}),
        "tolerance": report.tolerance,
        "device": report.device,
        "checks": [_check(check) for check in report.checks],
    } | {name: _rounded(error) for name in ("half_error", "front_end_error") if (error := getattr(report, name)) is not None}


def _check(check: Check) -> dict[str, Any]:
    errors = {output: {name: _rounded_up(error) for name, error in asdict(one).items()} for output, one in check.output_errors.items()}
    return {"signal": check.signal, "batch": check.batch, "samples": check.samples, "error": _rounded(check.error), "output_errors": errors}


def _rounded(error: float | None) -> float | None:
    """Two digits: what follows differs between processors, and files should not."""
    return None if error is None else float(f"{error:.1e}")


def _rounded_up(error: float) -> float:
    """The next number of two digits that is no smaller."""
    rounded = f"{error:.1e}"
    if float(rounded) >= error:
        return float(rounded)
    digits, exponent = rounded.split("e")
    return float(f"{float(digits) + 0.1:.1f}e{exponent}")


def _finder(model: ir.Model) -> Any:
    """Finds an initializer that holds a large array, in one of the forms that lowering leaves it in."""
    held = {
        name: np.asarray(value.const_value.numpy())
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.const_value.nbytes >= SHARED
    }

    def find(array: Array) -> tuple[str, str] | None:
        exact = array.astype(np.float32)
        if exact.nbytes < SHARED or not (exact == array).all():
            return None  # the definition is float64: only what was float32 to begin with is shared
        for form, (forward, _) in FORMS.items():
            flat = forward(exact)
            for name, candidate in held.items():
                if flat is not None and candidate.size == flat.size and np.array_equal(candidate.ravel(), flat.ravel()):
                    return name, form
        return None

    return find
