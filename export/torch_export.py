"""A torch model as torch's own exporter writes it, with stand-ins where its front ends are."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from typing import Any

import onnx_ir as ir
from onnx_ir.passes import common

from specgraph.dims import evaluate
from specgraph.export.join import DOMAIN, stand_in_type
from specgraph.export.recurrent import recurrent_layers_replaced
from specgraph.export.translations import translations
from specgraph.op import Input
from specgraph.tracing import stand_in

TYPES = {"float": 1, "int64": 7, "int16": 5}  # as ONNX numbers them

Axes = tuple[dict[int, str], ...]  # for each input, the axes that vary and what they are called


@dataclass(frozen=True)
class Exported:
    """The model with stand-ins, the modules that these stand for, and the axes that vary: equal names for equal sizes.

    ``limits`` are the largest sizes, by name, for which the trace is known to hold: an ``if`` may go another way beyond.
    """

    model: ir.Model
    front_ends: tuple[Any, ...]
    axes: Axes
    limits: dict[str, int]


def export(
    model: Any, inputs: tuple[Any, ...], axes: Axes, input_names: Sequence[str], output_names: Sequence[str], opset: int
) -> Exported:
    """Trace and export ``model``, which is in eval mode, with stand-ins for its front ends.

    Raises:
        ImportError: torch is too old, or onnxscript, which its exporter needs, is not installed.
        ValueError: the model cannot be traced, or works at one size only along an axis that was to vary.
    """
    torch = _exporter()
    numbers: dict[Any, int] = {}

    def stands_in(module: Any, tensors: tuple[Any, ...]) -> list[Any]:
        number = numbers.setdefault(module, len(numbers))
        graph = module.definition
        sizes: dict[str, Any] = {}
        for value, tensor in zip(graph.inputs, tensors, strict=True):
            for axis, size in enumerate(value.op.sizes if isinstance(value.op, Input) else ()):
                if isinstance(size, str):
                    torch._check(sizes.setdefault(size, tensor.shape[axis]) == tensor.shape[axis])  # as many lengths as clips
        shapes = [evaluate(value.shape, sizes) for value in graph.outputs.values()]
        types = [TYPES[value.dtype] for value in graph.outputs.values()]
        return list(torch.onnx.ops.symbolic_multi_out(f"{DOMAIN}::{stand_in_type(number)}", tensors, dtypes=types, shapes=shapes, version=1))

    varying = tuple(dict.fromkeys(found, torch.export.Dim.AUTO) or None for found in axes)
    name = type(model).__name__
    token = stand_in.set(stands_in)
    try:
        with _quiet(), torch.no_grad(), recurrent_layers_replaced(model):
            try:
                program = torch.export.export(model, inputs, dynamic_shapes=_by_parameter(model, varying), strict=False)
            except Exception as error:
                hint = "; an if or a loop of forward depends on a tensor's values: use torch.where" if "data-dependent" in str(error) else ""
                raise ValueError(f"torch.export cannot trace {name}: {_first_line(error)}{hint}") from error
            found = _sizes(program)
            _refuse_fixed(name, found, axes, input_names)
            try:
                made = torch.onnx.export(
                    program, opset_version=opset, dynamo=True, verbose=False, input_names=input_names, output_names=output_names,
                    optimize=False, custom_translation_table=translations(),
                )  # fmt: skip
            except Exception as error:
                cause = error.__cause__ or error
                raise ValueError(f"torch.onnx.export cannot write {name}: {_first_line(cause)}") from error
    finally:
        stand_in.reset(token)
    unified = _unified(found, axes)
    return Exported(_simplified(made.model), tuple(numbers), unified, _limits(program, unified))


def _simplified(model: ir.Model) -> ir.Model:
    """The model with its constants folded, in place.

    The exporter's own optimization takes constants within 1e-8 of zero for zero, and drops their addition: log(x + 1e-8) is log(x).
    """
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(model)
    fold_constants(model)
    common.IdentityEliminationPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    common.LiftSubgraphInitializersToMainGraphPass()(model)
    common.OutputFixPass()(model)
    return common.RemoveUnusedNodesPass()(model).model


def _exporter() -> Any:
    """torch, with all that its exporter needs."""
    import torch

    if not hasattr(torch.onnx, "ops"):
        raise ImportError(f"a whole model is exported with torch 2.8 or later, and this is {torch.__version__}; upgrade torch")
    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise ImportError("a whole model is exported with torch.onnx.export, which needs onnxscript: pip install onnxscript") from None
    return torch


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the notices of torch's exporter, which are about torch."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()):  # which torch prints a trace to that fails
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _by_parameter(model: Any, varying: tuple[Any, ...]) -> Any:
    """As ``torch.export`` wants it: a value for each parameter of ``forward``, of which one may take any number of tensors."""
    import inspect

    kinds = [parameter.kind for parameter in inspect.signature(model.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        at = kinds.index(inspect.Parameter.VAR_POSITIONAL)
        return (*varying[:at], varying[at:])
    return varying


def _sizes(program: Any) -> list[tuple[str, ...]]:
    """The shapes of the inputs as they were traced: numbers, or symbols where they vary, as text.

    A size that varied until a layer fixed it is a symbol still, which is printed as a number.
    """
    wanted = set(program.graph_signature.user_inputs)
    inputs = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted]
    return [tuple(map(str, node.meta["val"].shape)) for node in inputs]


def _limits(program: Any, axes: Axes) -> dict[str, int]:
    """The largest sizes, by name, of axes that have one."""
    wanted = set(program.graph_signature.user_inputs)
    inputs = [node.meta["val"] for node in program.graph.nodes if node.op == "placeholder" and node.name in wanted]
    limits = {}
    for tensor, one in zip(inputs, axes, strict=True):
        for axis, name in one.items():
            expression = getattr(getattr(tensor.shape[axis], "node", None), "expr", None)
            bounds = program.range_constraints.get(expression)
            if bounds is not None and getattr(bounds.upper, "is_Integer", False):
                limits[name] = int(bounds.upper)
    return limits


def _refuse_fixed(name: str, found: list[tuple[str, ...]], axes: Axes, input_names: Sequence[str]) -> None:
    for shape, varying in zip(found, axes, strict=True):
        for axis, called in varying.items():
            if shape[axis].isdigit():
                raise ValueError(fixed(name, called, int(shape[axis]), axes, input_names))


def fixed(name: str, called: str, size: int, axes: Axes, input_names: Sequence[str]) -> str:
    """The sentence about an axis, called so, that was to vary and that a model works at one size of."""
    number, axis = next((i, axis) for i, one in enumerate(axes) for axis, word in one.items() if word == called)
    rest = tuple({axis: word for axis, word in one.items() if word != called} for one in axes)
    return (
        f"a layer of {name} works at one size of {called} only, as traced {size} (axis {axis} of {input_names[number]}); "
        f"give dynamic_shapes={rest} and inputs of the size that it is for, or let that layer take any size, by pooling say"
    )


def _unified(found: list[tuple[str, ...]], axes: Axes) -> Axes:
    """The axes with one name for each size that torch found to be the same."""
    names: dict[str, str] = {}
    unified = []
    for shape, varying in zip(found, axes, strict=True):
        one = {}
        for axis, called in varying.items():
            symbol = shape[axis]
            while symbol not in names and called in names.values():
                called += "_"
            one[axis] = names.setdefault(symbol, called)
        unified.append(one)
    return tuple(unified)


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
