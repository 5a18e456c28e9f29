"""The inputs and outputs of a joined model as they were seen: names for sizes, and what the file says of them."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from specgraph.export.compare import Comparison
from specgraph.export.describe import describe
from specgraph.export.foreign import known
from specgraph.export.joined_sizes import JoinedSizes
from specgraph.export.torch_export import Axes
from specgraph.export.whole_model import described_output, takes_one_clip
from specgraph.graph import Graph
from specgraph.metadata import Metadata, OutputMetadata


def name_axes(model: ir.Model, sizes: JoinedSizes, axes: Axes, found: Comparison) -> None:
    """Sizes of inputs as ``sizes`` has them; of outputs the model's own words, but for what was seen to be one of ``axes``, which vary."""
    for value, spec in zip(model.graph.inputs, sizes.specs, strict=True):
        value.shape = ir.Shape(spec.sizes)
    varying = {tuple(one[name] for one, _ in found.shapes): name for name in axes[0].values()}
    for value in model.graph.outputs:
        name = str(value.name)
        columns = list(zip(*(shapes[name] for _, shapes in found.shapes), strict=True))
        stated = [None] * len(columns) if value.shape is None or len(value.shape) != len(columns) else [known(size) for size in value.shape]
        shape: list[int | str] = []
        for axis, (column, size) in enumerate(zip(columns, stated, strict=True)):
            if len(set(column)) > 1 and column in varying:
                shape.append(varying[column])
            elif isinstance(size, str):
                shape.append(f"{size}_" if size in varying.values() else size)
            else:
                shape.append(size if size is not None and set(column) == {size} else f"{name}_axis_{axis}")
        value.shape = ir.Shape(shape)


def described_outputs(
    model: ir.Model, graph: Graph, found: Comparison, after: bool, called: Mapping[str, str], before: Metadata | None
) -> dict[str, OutputMetadata]:
    """What the file says of each output: of those behind the model what its own graph says, of others the axes and maybe times."""
    own = describe(graph).outputs if after else {}
    by_name = {called[name]: output for name, output in own.items()}
    made = {}
    for value in model.graph.outputs:
        name = str(value.name)
        if name in by_name:  # where its frames lie in what the model was given is the model's to know
            output = by_name[name]
            made[name] = OutputMetadata(output.axes, output.hop, output.centre, None, None, output.quantity, output.unit, output.frequencies)
        elif after and before is not None and name in before.outputs:
            made[name] = before.outputs[name]
        else:
            made[name] = described_output(value, [graph], found, takes_one_clip(model))
    return made
