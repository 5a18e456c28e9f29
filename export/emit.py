"""A graph of primitives as an ONNX model: standard ops only, batch and samples dynamic."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import Sequential, common
from onnx_ir.tape import Tape

from specgraph.dims import Dim, Shape
from specgraph.graph import Graph
from specgraph.op import Constant, GraphError, Input, Op, Value

IR_VERSION = 8  # with opset 18, what every onnxruntime from 1.15 on loads
OPSETS = (18, 19, 20, 21)
SUMMED_AT_ONCE = 64  # entries
BLOCK = 256  # of a sum of any length
DTYPES = {"float": ir.DataType.FLOAT, "int64": ir.DataType.INT64, "int16": ir.DataType.INT16}


class Emitter(Tape):
    """``onnx.Conv(x, w, strides=[2])`` adds a node and returns its value; constants are folded where they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = ""
        self._shapes: dict[ir.Value, Shape] = {}
        self._arrays: dict[ir.Value, np.ndarray] = {}
        self._made: dict[Hashable, Any] = {}

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def add(*inputs: ir.Value | None, **attributes: Any) -> ir.Value:
            name = f"{self.stage}/{op_type}_{len(self.nodes)}"
            result = self.op(op_type, inputs, attributes, name=name)
            result.name = name
            return result

        return add

    def const(self, array: Any, name: str = "") -> ir.Value:
        """An initializer: floats as float32, whole numbers as int64."""
        fixed = np.asarray(array)
        fixed = fixed.astype(np.int64 if fixed.dtype.kind in "iu" else np.float32)
        value = self.initializer(ir.tensor(fixed, name=name or f"{self.stage}/const_{len(self.initializers)}"))
        self._arrays[value] = fixed
        return value

    def array(self, value: ir.Value) -> np.ndarray:
        """The array of a constant."""
        if value not in self._arrays:
            raise GraphError(f"{self.stage} needs a constant operand to be written as ONNX")
        return self._arrays[value]

    def rank(self, value: ir.Value) -> int:
        """The number of axes of an op's operand."""
        return len(self._shapes[value])

    def shape(self, value: ir.Value) -> Shape:
        """The shape of an op's operand."""
        return self._shapes[value]

    def set_shape(self, value: ir.Value, shape: Shape) -> None:
        """Record the shape of an op's result."""
        self._shapes[value] = shape

    def unsqueezed(self, value: ir.Value, axis: int) -> ir.Value:
        """With an axis of one more; done at once for a constant."""
        if value in self._arrays:
            array = np.expand_dims(self._arrays[value], axis)
            return self.once(("unsqueezed", value, axis), lambda: self.const(array, f"{value.name}/unsqueezed"))
        return self.Unsqueeze(value, self.const([axis]))

    def total(self, value: ir.Value, shape: Shape, axis: int, keepdims: int = 1) -> ir.Value:
        """The sum of a value of this shape along ``axis``; many entries in two levels.

        Kernels add one entry after the other, and the rounding of a thousand additions is a hundred times that of the sum.
        """
        size, axes = shape[axis], self.const([axis])
        if not isinstance(size, int) or size <= SUMMED_AT_ONCE or axis < len(shape) - 2:
            return self.ReduceSum(value, axes, keepdims=keepdims)
        groups = math.isqrt(size)
        whole = groups * (size // groups)
        split = [*([0] * axis), groups, size // groups, *([-1] if axis < len(shape) - 1 else [])]
        within = self.Slice(value, self.const([0]), self.const([whole]), axes) if whole < size else value
        grid = self.Reshape(within, self.const(split))
        sums = self.ReduceSum(grid, self.const([axis + 1]), keepdims=0)
        if whole < size:
            sums = self.Concat(sums, self.Slice(value, self.const([whole]), self.const([size]), axes), axis=axis)
        return self.ReduceSum(sums, axes, keepdims=keepdims)

    def long_total(self, value: ir.Value, rank: int, length: Hashable, levels: int = 2) -> ir.Value:
        """The sum of a value with ``rank`` axes along the last one, which stays with size 1 and may be of any length.

        Blocks are summed first, and with two levels blocks of these sums: kernels add one entry after the other, as ``total`` says.
        ``length`` stands for that of the axis, as in ``once``.
        """
        for level in range(levels):
            value = self.ReduceSum(self.in_blocks(value, rank, (length, level), BLOCK), self.const([rank]), keepdims=0)
        return self.ReduceSum(value, self.const([rank - 1]))

    def in_blocks(self, value: ir.Value, rank: int, length: Hashable, size: int, more: int = 0, fill: ir.Value | None = None) -> ir.Value:
        """(..., n) -> (..., blocks, size), zeros or ``fill`` behind, and so many blocks of that ``more``; ``length`` stands for n."""

        def pads() -> ir.Value:
            lacking = self.Mod(self.Sub(self.const([0]), self.Shape(value, start=rank - 1, end=rank)), self.const([size]))
            lacking = self.Add(lacking, self.const([more * size])) if more else lacking
            return self.Concat(self.const(np.zeros(2 * rank - 1, np.int64)), lacking, axis=0)

        filled = () if fill is None else (fill,)
        padded = self.Pad(value, self.once(("whole blocks", length, rank, size, more), pads), *filled)
        return self.Reshape(padded, self.const([*[0] * (rank - 1), -1, size]))

    def whole_blocks(self, signal: ir.Value, size: int) -> ir.Value:
        """(batch, samples) cut to a multiple of ``size`` samples."""
        samples = self.shape(signal)[1]
        if size == 1 or (isinstance(samples, Dim) and samples.divided(size) is not None):
            return signal

        def cut() -> ir.Value:
            padded = self._padded(signal)
            if padded is not None and padded[2] >= size - 1:
                source, before, after, value = padded
                samples = self.Add(self.Shape(source, start=1, end=2), self.const([before + after]))
                left = self.Sub(self.const([after]), self.Mod(samples, self.const([size])))
                return self.Pad(source, self.Concat(self.const([0, before, 0]), left, axis=0), value)
            samples = self.Shape(signal, start=1, end=2)
            whole = self.Mul(self.Div(samples, self.const([size])), self.const([size]))
            return self.Slice(signal, self.const([0]), whole, self.const([1]))

        return self.once(("whole blocks", signal, size), cut)

    def _padded(self, signal: ir.Value) -> tuple[ir.Value, int, int, ir.Value | None] | None:
        """(source, samples before, after, number) of a signal that is another with a number around it: it need not be padded first and then cut."""
        made = signal.producer()
        source, widths, value = made.inputs if made is not None and made.op_type == "Pad" and len(made.inputs) == 3 else (None, None, None)
        if source is None or widths not in self._arrays:
            return None
        before, after = self._arrays[widths][1::2].tolist()
        return source, before, after, value

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What ``make`` made when it was first called for ``key``; a ``Dim`` in the key stands for a length."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]


def emit(graph: Graph, opset: int = 18, inner: Collection[str] = ()) -> ir.Model:
    """The model of a lowered graph, checked by ONNX's own checker.

    Outputs that are named in ``inner`` are values of these names in the model, and not outputs of it.
    """
    onnx = Emitter()
    env: dict[Value, ir.Value] = {}
    for value in graph.inputs:
        assert isinstance(value.op, Input)
        env[value] = ir.val(value.op.name, DTYPES[value.dtype], ir.Shape(list(value.op.sizes)))
        onnx.set_shape(env[value], value.shape)
    inputs = list(env.values())
    names: dict[str, int] = {}
    for value in graph.values():
        op = value.op
        if value in env:
            continue
        label = op.name if isinstance(op, Constant) else op.method
        names[label] = names.get(label, 0) + 1
        onnx.stage = label if names[label] == 1 else f"{label}_{names[label]}"
        if isinstance(op, Constant):
            env[value] = onnx.const(op.array, onnx.stage)
        else:
            if type(op).onnx is Op.onnx:
                raise GraphError(f"{op} runs in torch only and has no ONNX operators; use another op, such as stft for rfft and istft for irfft")
            env[value] = op.onnx(onnx, *(env[operand] for operand in value.inputs))
        onnx.set_shape(env[value], value.shape)
    onnx.stage = "output"
    axes = _Axes()
    outputs = []
    for name, value in graph.outputs.items():
        half = name not in inner and graph.gives(name) == "float16"
        result = onnx.Cast(env[value], to=ir.DataType.FLOAT16) if half else env[value]  # earlier is not quicker, and rounds more often
        if result in inputs or result in outputs or isinstance(value.op, Constant):
            result = onnx.Identity(result)
        result.name, result.dtype = name, ir.DataType.FLOAT16 if half else DTYPES[value.dtype]
        result.shape = axes.shape(name, value.shape)
        outputs.append(result)
    body = ir.Graph(
        inputs,
        outputs,
        nodes=onnx.nodes,
        initializers=onnx.initializers,
        opset_imports={"": opset},
        name=graph.name,
    )
    model = ir.Model(body, ir_version=IR_VERSION, producer_name="specgraph")
    kinds = [(output.type, output.shape) for output in outputs]
    model = tidied(model)
    for output, (kind, shape) in zip(model.graph.outputs, kinds, strict=True):
        output.type, output.shape = kind, shape  # one that was made twice, and is now the first, has none
    for output in [output for output in model.graph.outputs if output.name in inner]:
        model.graph.outputs.remove(output)
    return common.CheckerPass()(model).model


def serialized(model: ir.Model) -> bytes:
    """The model as a file holds it; the same bytes for the same model."""
    data: bytes = ir.to_proto(model).SerializeToString(deterministic=True)
    return data


def tidied(model: ir.Model, *first: Any) -> ir.Model:
    """The model after the passes ``first`` and those that leave nothing in it twice, unused or with a name that another has."""
    tidy = Sequential(
        *first,
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.NameFixPass(),
    )
    return tidy(model).model


class _Axes:
    """Names for the axes of outputs: the inputs' own, and ``frames`` or ``samples`` for the first length that derives from them.

    A name that another length has is followed by the output's: equal names say that lengths are equal.
    """

    def __init__(self) -> None:
        self._named: dict[Dim, str] = {}

    def shape(self, output: str, shape: Shape) -> ir.Shape:
        called = "samples" if len(shape) == 2 else "frames"
        return ir.Shape([self._name(output, called, size) if isinstance(size, Dim) else size for size in shape])

    def _name(self, output: str, called: str, size: Dim) -> str:
        if not size.path:
            return size.root
        if size not in self._named:
            taken = {size.root, *self._named.values()}
            self._named[size] = called if called not in taken else f"{called}_{output}"
        return self._named[size]
