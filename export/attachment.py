"""A front end before a model that someone else exported, or an inverse behind it, as one verified file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from specgraph import __version__
from specgraph.export.apart import Apart
from specgraph.export.arrange import layout_text
from specgraph.export.compare import Comparer
from specgraph.export.connect import Connection, fed, feeding
from specgraph.export.describe import channels
from specgraph.export.emit import emit, serialized
from specgraph.export.foreign import read_foreign
from specgraph.export.joined_file import draft, refuse_source
from specgraph.export.joined_model import joined
from specgraph.export.joined_outputs import described_outputs, name_axes
from specgraph.export.joined_sizes import JoinedSizes, sizes_after, sizes_before
from specgraph.export.made_inputs import MadeInputs
from specgraph.export.neighbours import MIXES, mixing
from specgraph.export.read import read_graph
from specgraph.export.report import Report
from specgraph.export.verification import checked, default_tolerance
from specgraph.export.write import as_graph, check_asked, runner, verified
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.metadata import Metadata
from specgraph.op import Array
from specgraph.runtimes.session import first_line

TOLERANCE = 1e-5  # of an output's peak
ROUNDINGS = 2  # of 16 bits, that may differ where such numbers are between the two: onnxruntime leaves them out on a CPU
HALF_TOLERANCE = 1e-3  # at least, for such a model
LARGE = 300e6  # bytes of arrays, from which a model is compared on fewer signals: each takes seconds


def attach(
    front_end: Any,
    model: str | Path,
    path: str | Path | None = None,
    *,
    output: str | None = None,
    input: str | None = None,
    inputs: Mapping[str, str] | None = None,
    lengths: str | None = None,
    layout: str | None = None,
    after: bool = False,
    keep: bool = False,
    target: str = "cpu",
    prefer: Mapping[str, str] | None = None,
    tune: bool = False,
    tolerance: float | None = None,
    examples: Mapping[str, Any] | None = None,
) -> Report:
    """Put a front end before an ``.onnx`` model, or a graph behind it, and write the two as one verified file.

    The model's nodes and names stay as they are; the front end's get a prefix. Axes and dtype are adapted to the model's input.
    The front end is written for the model's opset; only a model of opset 11 or 12 is converted, to 13. Metadata, functions and
    operators of other domains are kept. All arrays are in the file, wherever the model has them; those of more than 2 GB, which no
    .onnx file holds, are in one beside it, by the name of ``path`` and ``_data``. Before it is written, the file is run in onnxruntime beside the two parts by themselves, on
    several signals, batches and lengths, a model of more than 300 MB on fewer; inputs other than the clip get ones where they are masks, and zeros or noise.

    Args:
        front_end: a transform, preset, graph or module, or the path of a file that ``to_onnx`` wrote of one.
        model: the path of any ONNX model of opset 11 or later.
        path: the file to write; None is beside the model, ``NAME-attached.onnx``.
        output: which output is connected, of the front end; of the model with ``after``. None is the first, or the one that fits.
        input: the input that it becomes, of the model; of the graph with ``after``. None is the one that fits.
        inputs: several of these instead, output to input: ``{"features": "audio_signal", "features_lens": "length"}``.
        lengths: the model's input of the number of frames of each clip, whole numbers (batch,). The front end then takes clips of
            different lengths, as ``specgraph.with_lengths`` says. For a graph with lengths None is the only input that fits.
        layout: of the model's value, a letter for each axis where sizes do not decide: ``b`` batch, ``f`` bins, ``t`` frames,
            ``p`` parts of complex numbers, ``c`` a new axis of size 1; such as ``"btf"``.
        after: put the graph behind the model: ``InverseSpectrogram``, ``GriffinLim``, or another that takes what the model gives.
        keep: give what is connected as an output too, in the model's own layout and dtype.
        target: what the lowerings are chosen for, "cpu" or "cuda". The file runs on either.
        prefer: lowerings by compound op, such as ``{"Stft": "conv"}``, instead of the cheapest.
        tune: time the candidates with onnxruntime on this machine instead of estimating them.
        tolerance: largest difference from the two parts apart, as a fraction of an output's peak; None is 1e-5, or where
            numbers of 16 bits are connected twice what rounding to those changes, and at least 1e-3. A larger one than the front
            end's own, a fraction of its spectrum's peak, holds for its check too.
        examples: arrays by name for inputs that need more than what is made up. An example of the first one says how long the clips
            of a model of fixed length are, where several lengths give as many frames, and of one clip that the file takes one.

    A model that says that it takes any batch or length, and takes one only, gives a file that says that one.

    Returns:
        A report: the lowering chosen, nodes, size, the largest difference on every signal.

    Raises:
        VerificationError: the joined model differs from the two apart; nothing is written.
        FileNotFoundError, ValueError, TypeError: a wrong file or argument, in one sentence.
    """
    model = Path(model)
    path = model.with_name(f"{model.stem}-attached.onnx") if path is None else Path(path)
    check_asked(path, target, tolerance)
    if inputs is not None and (output is not None or input is not None):
        raise ValueError("inputs says what is connected, so output and input are not given beside it")
    if after and lengths is not None:
        raise ValueError("lengths are what a front end before a model gives it; leave them out with after=True")
    graph = replace(_graph(front_end, path), dtype="float32")  # what the model takes is known of the model
    source = read_foreign(model)
    refuse_source(path, source)
    if after:
        connections = fed(graph, source, output, input, inputs, layout)
    else:
        graph, connections = feeding(graph, source, output, input, lengths, inputs, layout)
    lowered = lower(graph.frozen(), target, prefer, tune)
    run = runner(serialized(emit(lowered)), 1)
    front_end = checked(graph, run, lowered.choices, max(tolerance or 0.0, default_tolerance(lowered.choices)), torch=False)
    names = tuple(str(value.name) for value in source.model.graph.inputs)
    arrays = {name: np.asarray(array) for name, array in (examples or {}).items()}
    made_of, called = joined(source, lowered, connections, after, keep)
    sizes = sizes_after(source, names) if after else sizes_before(graph, source, names, connections, called, arrays)
    apart = Apart(graph, run, runner(str(model), path=str(model)), names, connections, called, after, keep, tuple(one.name for one in sizes.specs))
    sizes, made, traced = _working(sizes, _maker(graph, sizes, called, arrays, model), apart, model)
    halves = any(one.dtype == ir.DataType.FLOAT16 for one in connections)
    allowed = tolerance or (max(HALF_TOLERANCE, ROUNDINGS * apart.rounding(made, traced)) if halves else TOLERANCE)
    with draft(made_of, path) as file:
        first = made("noise", traced)
        comparer = Comparer(first, sizes.axes, apart, runner(file.source, path=str(path)), allowed, "the two apart", "", made, source.size > LARGE)
        found = comparer.compared(1 if after else graph.least_along_the_clip())
        name_axes(made_of, sizes.fixed({name: traced[name] for name in found.fixed}), sizes.axes, found)
        before = source.metadata
        report = Report(path, target, "cpu", 0, len(made_of.graph), lowered.choices, found.checks, allowed, front_end)
        own = _about(graph, connections, after)
        metadata = Metadata(
            name=model.stem,
            version=__version__,
            sample_rate=before.sample_rate if after and before is not None else graph.sample_rate,
            target=target,
            min_samples=found.least if after or (comparer.along and comparer.along not in found.fixed) else graph.least_along_the_clip(),
            outputs=described_outputs(made_of, graph, found, after, called, before),
            lowering=(*(asdict(choice) for choice in lowered.choices), *(before.lowering if before is not None else ())),
            verified=verified(report),
            input_dtype="int16" if graph.inputs[0].dtype == "int16" else "float32",
            channels=channels(graph.inputs[0].shape) if graph.takes_waveforms else 1,
            front_ends=_in_order(own, () if before is None else before.front_ends, after),
            hash=file.hash,
            data=file.hashes,
        )
        return file.write(metadata.to_properties(), report)


def _graph(front_end: Any, path: Path) -> Graph:
    """The graph of what is attached, which may be in a file."""
    if not isinstance(front_end, str | Path):
        return as_graph(front_end, "attach")
    if path.exists() and Path(front_end).exists() and path.samefile(front_end):
        raise ValueError(f"{path} is the front end itself, which stays as it is; give the joined file another name")
    return read_graph(front_end)


def _maker(graph: Graph, sizes: JoinedSizes, called: Mapping[str, str], arrays: Mapping[str, Array], model: Path) -> MadeInputs:
    """What the joined model is compared on; ``arrays`` are the examples."""
    specs = {spec.name: spec for spec in sizes.specs}
    derived = dict(sizes.derived)
    for name, array in arrays.items():
        if name not in specs or len(specs[name].sizes) != array.ndim:
            takes = ", ".join(f"{spec.name} ({', '.join(map(str, spec.sizes))})" for spec in sizes.specs)
            raise ValueError(f"examples has {name} of shape {array.shape}, and {model} with its front end takes {takes}")
        for size, found in zip(specs[name].sizes, array.shape, strict=True):
            if isinstance(size, str) and size not in sizes.axes[0].values():
                derived.setdefault(size, found)
    lengths = next((called[value.op.label] for value in graph.inputs if value.dtype == "int64" and value.op.label in called), "")
    return MadeInputs(sizes.specs, derived, lengths, graph.least_along_the_clip(), arrays)


def _working(sizes: JoinedSizes, made: MadeInputs, apart: Apart, model: Path) -> tuple[JoinedSizes, MadeInputs, dict[str, int]]:
    """The first sizes at which the two apart can be run; with a batch of one clip only, that is fixed."""
    failure = ""
    for tried in sizes.tried(made.examples.get(sizes.specs[0].name)):
        try:
            apart(made("noise", tried))
        except Exception as error:  # noqa: BLE001  (onnxruntime's own types)
            failure = failure or first_line(error)
            continue
        if tried.get("batch") == 1:
            sizes = sizes.fixed({"batch": 1})
            return sizes, replace(made, specs=sizes.specs), {name: size for name, size in tried.items() if name != "batch"}
        _refuse_mixed(sizes, made, apart, tried, model)
        return sizes, made, tried
    takes = ", ".join(f"{spec.name} ({', '.join(map(str, spec.sizes))})" for spec in sizes.specs)
    raise ValueError(f"{model} cannot be run on what was made up for {takes}: {failure}; give examples={{NAME: array}} of what it takes")


def _refuse_mixed(sizes: JoinedSizes, made: MadeInputs, apart: Apart, tried: Mapping[str, int], model: Path) -> None:
    """Raise where a model that takes any batch mixes the clips of one, or gives another number of axes for a single clip."""
    if "batch" not in tried:
        return
    several, more, one = (made("noise", {**tried, "batch": clips}) for clips in (tried["batch"], tried["batch"] + 1, 1))
    try:
        found = mixing(apart, several, more, one, first_only=True)
    except Exception:  # noqa: BLE001  (onnxruntime's own types, for a batch that the model does not take)
        return
    if found is not None:
        spec = sizes.specs[0]
        shape = ", ".join(["1", *(str(tried.get(str(size), size)) for size in spec.sizes[1:])])
        instead = f"; give examples={{{spec.name!r}: an array of shape ({shape})}} for a file that takes one clip" if MIXES in found else ""
        raise ValueError(f"{model} {found}{instead}")


def _about(graph: Graph, connections: Sequence[Connection], after: bool) -> dict[str, Any]:
    """What the file says of what was attached."""
    return {
        "name": graph.name,
        "sample_rate": graph.sample_rate,
        "parameters": dict(graph.parameters),
        "attached": "after" if after else "before",
        "connected": {one.ours.name: one.theirs.name for one in connections},
        "layout": layout_text(connections[0].arrangement, connections[0].ours),
    }


def _in_order(own: dict[str, Any], others: tuple[dict[str, Any], ...], after: bool) -> tuple[dict[str, Any], ...]:
    return (*others, own) if after else (own, *others)
