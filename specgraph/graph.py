"""The graph: named inputs and outputs, and all the values between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.dims import Dim, Shape
from specgraph.op import Array, Constant, GraphError, Input, Value
from specgraph.reach import Reach
from specgraph.shapes import NEXT_STATE, is_waveforms, time_axis

if TYPE_CHECKING:
    from specgraph.lowering import Choice


OUTPUT_DTYPES = "float32", "float16"


@dataclass(frozen=True)
class About:
    """What an output holds: for axes in plots, and for the file's metadata."""

    quantity: str = ""
    unit: str = ""
    frequencies: tuple[float, ...] | None = None  # Hz, one for each bin
    axes: tuple[str, ...] | None = None  # where they are not the usual ones for that many


def _inner_sizes(value: Value) -> Shape:
    return value.op.inner_sizes(*(operand.shape for operand in value.inputs)) if isinstance(value.op, Compound) else ()


def as_defined(value: Value, array: npt.ArrayLike) -> Array:
    """What the definition takes for an input: lengths as int64, everything else as float64.

    Raises:
        TypeError: the input holds 16-bit samples, and the array does not.
    """
    given = np.asarray(array)
    if value.dtype == "int16" and given.dtype != np.int16:
        raise TypeError(f"{value.op.label} must be int16 (16-bit PCM), not {given.dtype}")
    return given.astype(np.int64 if value.dtype == "int64" else np.float64, copy=False)


def clip_by_clip(value: Value) -> bool:
    """Whether a value has a row for every clip, which no other clip has a part in; or is a constant."""
    if not any(isinstance(size, Dim) for size in value.shape):
        return True
    axis = getattr(value.op, "axis", None)
    return value.shape[0] == Dim("batch") and (axis is None or axis % len(value.inputs[0].shape) != 0)


@dataclass(frozen=True, eq=False)
class Graph:
    """Inputs, named outputs, and all between them; ``str(graph)`` lists it.

    ``dtype`` is what a file gives its features in, "float32" or "float16". It is no part of the computation, which is float64 in
    ``numpy``, and in a module what that is asked for: a front end is trained in float32, and shipped in half precision.
    """

    inputs: tuple[Value, ...]
    outputs: Mapping[str, Value]
    sample_rate: int
    name: str = "Graph"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, About] = field(default_factory=dict)
    choices: tuple[Choice, ...] = ()
    dtype: str = "float32"

    def __post_init__(self) -> None:
        if self.dtype not in OUTPUT_DTYPES:
            raise GraphError(f"dtype must be {' or '.join(map(repr, OUTPUT_DTYPES))}, not {self.dtype!r}")
        names = [value.op.label for value in self.inputs] + list(self.outputs)
        for name in names:
            if not name.isidentifier():
                raise GraphError(f"inputs and outputs are named by identifiers, not {name!r}")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise GraphError(f"the name {repeated.pop()!r} is used twice; every input and output needs its own")
        if not self.outputs:
            raise GraphError("a graph needs an output: build(features=...)")
        for value in self.values():
            if isinstance(value.op, Input) and value not in self.inputs:
                raise GraphError(f"input {value.op.name!r} is read but belongs to another builder")

    def values(self) -> list[Value]:
        """Every value, operands before results."""
        order: dict[Value, None] = {}
        stack = [(value, False) for value in (*reversed([*self.outputs.values()]), *reversed(self.inputs))]
        while stack:  # not recursive: an unrolled iteration can be deeper than Python's stack
            value, ready = stack.pop()
            if ready:
                order[value] = None
            elif value not in order:
                stack.append((value, True))
                stack += [(operand, False) for operand in reversed(value.inputs)]
        return list(order)

    def frozen(self) -> Graph:
        """The same graph with nothing trainable, so that any lowering may be chosen.

        What is made of constants alone, such as a bank of its trained centres, is a constant too, computed in float64. It
        is named as the first constant that it is made of.
        """

        def fixed(value: Value) -> Value | None:
            op = value.op
            if getattr(op, "trainable", False):
                return dataclasses.replace(op, trainable=False)(*value.inputs)  # type: ignore[call-arg]
            parts = [operand.op for operand in value.inputs if isinstance(operand.op, Constant)]
            if not parts or len(parts) < len(value.inputs):
                return None
            shape = tuple(size for size in value.shape if isinstance(size, int))
            return Constant.lazy(parts[0].name, shape, lambda: op.numpy(*(part.array for part in parts)))

        return self.rewrite(fixed)

    def constants(self) -> list[Constant]:
        """Every constant, in the order of ``values``."""
        return [value.op for value in self.values() if isinstance(value.op, Constant)]

    def rewrite(self, rule: Callable[[Value], Value | None]) -> Graph:
        """Rebuild from the inputs on; ``rule`` returns a replacement for a value, or None to keep it."""
        new: dict[Value, Value] = {}
        for old in self.values():
            operands = tuple(new[operand] for operand in old.inputs)
            value = old if operands == old.inputs else old.op(*operands)
            new[old] = rule(value) or value
        if all(new[value] is value for value in self.outputs.values()):
            return self
        return dataclasses.replace(self, outputs={name: new[value] for name, value in self.outputs.items()})

    def with_arrays(self, arrays: Mapping[Constant, Array]) -> Graph:
        """The same graph with some constants' arrays replaced."""

        def replaced(value: Value) -> Value | None:
            op = value.op
            return dataclasses.replace(op, source=arrays[op])() if isinstance(op, Constant) and op in arrays else None

        return self.rewrite(replaced)

    @property
    def takes_waveforms(self) -> bool:
        """Whether the first input is waveforms, (batch, samples) or (batch, channels, samples)."""
        return is_waveforms(getattr(self.inputs[0].op, "sizes", ()))

    def gives(self, output: str) -> str:
        """The dtype that a file gives an output in: features in the graph's, and lengths and a stream's state in their own."""
        dtype = self.outputs[output].dtype
        return dtype if dtype != "float" else "float32" if output == NEXT_STATE else self.dtype

    def reach(self) -> dict[Value, Reach]:
        """For every value that depends on the first input, the samples of the clip that it reads."""
        first = self.inputs[0].op
        assert isinstance(first, Input)
        found: dict[Value, Reach] = {self.inputs[0]: Reach(first.hop, first.centre, first.centre, first.centre)}
        for value in self.values():
            sources = [found[operand] for operand in value.inputs if operand in found]
            if sources and value not in found:
                joined = sources[0]
                for other in sources[1:]:
                    joined = joined.union(other)
                found[value] = value.op.reach(*(operand.shape for operand in value.inputs)).after(joined)
        return found

    def least(self, axis: str = "samples") -> int:
        """The smallest size of an input axis at which no value of the graph is empty."""
        every = [size for value in self.values() for size in (*value.shape, *_inner_sizes(value))]
        return max((size.least() for size in every if isinstance(size, Dim) and size.root == axis), default=1)

    def least_along_the_clip(self) -> int:
        """The smallest size of the first input's axis along the clip at which no value is empty; 1 where there is none."""
        sizes = self.inputs[0].op.sizes if isinstance(self.inputs[0].op, Input) else ()
        axis = time_axis(sizes)
        return 1 if axis is None else self.least(str(sizes[axis]))

    def axes(self) -> tuple[str, ...]:
        """The names of the input axes that vary."""
        sizes = (size.root for value in self.inputs for size in value.shape if isinstance(size, Dim))
        return tuple(dict.fromkeys(sizes))

    def numpy(self, *arrays: npt.ArrayLike) -> dict[str, Array]:
        """The definition: every op in float64 numpy."""
        env: dict[Value, Any] = {value: as_defined(value, array) for value, array in zip(self.inputs, arrays, strict=True)}
        for value in self.values():
            if value not in env:
                op = value.op
                env[value] = op.array if isinstance(op, Constant) else op.numpy(*(env[v] for v in value.inputs))
        return {name: env[value] for name, value in self.outputs.items()}

    def module(
        self,
        dtype: Any = None,
        prefer: Mapping[str, str] | None = None,
        constraints: Mapping[str, Any] | None = None,
        lengths: bool = False,
        trainable: Sequence[str] | None = None,
    ) -> Any:
        """The graph as a ``torch.nn.Module``; ``specgraph.module.GraphModule`` says more.

        Its parameters are what the graph has trained already: ``trainable``, which a transform's ``module`` takes, raises ``TypeError``.
        """
        if trainable is not None:
            parts = dict.fromkeys(constant.name for constant in self.constants() if constant.trainable)
            raise TypeError(
                f"what is trained is part of a graph, of this one {', '.join(parts) or 'nothing'}, and trainable={trainable!r} cannot change it; "
                "choose the parts where the graph is made, as in with_input(transform.module(trainable=...)) or "
                "to_onnx(transform.module(trainable=...), path) before read_graph(path)"
            )
        from specgraph.module import GraphModule
        from specgraph.ragged import with_lengths

        return GraphModule(with_lengths(self) if lengths else self, dtype=dtype, prefer=prefer, constraints=constraints)

    def __str__(self) -> str:
        from specgraph.listing import listing

        return listing(self)
