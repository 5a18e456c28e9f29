"""Compose a graph from primitive ops, one method an op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph import ops as _ops  # noqa: F401  (registers every op)
from specgraph.graph import About, Graph
from specgraph.op import Constant, GraphError, Input, Op, Value


class Builder:
    """A graph under construction: ``input``, then any op by its name, then ``build``.

    Every op of ``specgraph.ops`` is a method: its operands come first (values, or arrays, which become constants), its
    parameters after them or by name. ``trainable=True`` makes the call's arrays parameters of the torch module, and
    ``name=`` names them. ``help(Builder(16000).frame_conv)`` shows an op's parameters; ``dir`` lists the ops.

    >>> b = Builder(sample_rate=16000)
    >>> wave = b.input("waveforms")
    >>> power = b.magnitude(b.stft(b.pad(wave, 200), n_fft=400, hop_length=160), power=2.0)
    >>> graph = b.build(features=b.log(b.filterbank(power, np.ones((4, 201)) / 201, trainable=True)))
    >>> graph.outputs["features"].shape
    (batch, 4, (samples + 160) // 160)

    Args:
        sample_rate: samples a second of the waveforms, in hertz.
    """

    def __init__(self, sample_rate: int) -> None:
        if isinstance(sample_rate, bool) or not isinstance(sample_rate, int | np.integer) or sample_rate < 1:
            raise ValueError(f"sample_rate must be a whole number of hertz above 0, not {sample_rate!r}")
        self.sample_rate = int(sample_rate)
        self._inputs: list[Value] = []

    def input(self, name: str = "waveforms", shape: Sequence[int | str] = ("batch", "samples")) -> Value:
        """An input; of its sizes, names vary ("batch", "samples", "frames") and numbers do not."""
        if not name.isidentifier():
            raise GraphError(f"an input is named by an identifier, not {name!r}")
        value = Input(name, _sizes(name, shape))()
        self._inputs.append(value)
        return value

    def constant(self, array: npt.ArrayLike, name: str = "constant", trainable: bool = False) -> Value:
        """A constant; a complex array becomes its real and imaginary parts, stacked first: (2, ...)."""
        return _constant(array, name, trainable)

    def build(
        self,
        *unnamed: Value,
        about: Mapping[str, About] | None = None,
        name: str = "Graph",
        **outputs: Value,
    ) -> Graph:
        """The graph with these named outputs; ``about`` says for an output what it holds, for plots and metadata."""
        if unnamed:
            raise TypeError("name the output: b.build(features=w)")
        for key, value in outputs.items():
            if not isinstance(value, Value):
                raise TypeError(f"output {key} is a {type(value).__name__}; outputs are values that this builder made")
        for key, held in (about or {}).items():
            if key not in outputs or not isinstance(held, About):
                raise TypeError(f"about holds an About for an output by its name; {key!r}: {held!r} is not that")
        graph = Graph(tuple(self._inputs), outputs, self.sample_rate, name, about=about or {})
        if not self._inputs:
            raise GraphError("the graph has no input; begin with Builder.input")
        return graph

    def __getattr__(self, method: str) -> Callable[..., Value]:
        cls = next((cls for cls in Op.registry.values() if cls.method == method), None)
        if cls is None or cls is Constant or issubclass(cls, Input):
            raise AttributeError(f"there is no op {method!r}; the ops are {', '.join(_methods())}")
        return _call(cls)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_methods()})


def _sizes(name: str, shape: Sequence[int | str]) -> tuple[int | str, ...]:
    """The sizes of an input, checked: names, each once, and whole numbers above 0."""
    sizes = tuple(map(_plain, shape)) if isinstance(shape, list | tuple) else ()
    named = [size for size in sizes if isinstance(size, str)]
    numbers = [size for size in sizes if not isinstance(size, str)]
    wrong = any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in numbers)
    if not sizes or wrong or len(set(named)) < len(named):
        raise GraphError(
            f"the shape of {name} is a tuple of whole numbers above 0 and of different names for sizes that vary, "
            f"such as ('batch', 80, 'frames'), not {shape!r}"
        )
    return sizes


def _methods() -> list[str]:
    return sorted(cls.method for cls in Op.registry.values() if cls is not Constant and not issubclass(cls, Input))


def _call(cls: type[Op]) -> Callable[..., Value]:
    """The Builder's method for an op."""
    every = list(inspect.signature(cls.numpy).parameters.values())[1:]
    operands = [operand for operand in every if operand.default is operand.empty]  # the others are for with_lengths
    variadic = bool(operands) and operands[0].kind is inspect.Parameter.VAR_POSITIONAL

    def method(*args: Any, trainable: bool = False, name: str | None = None, **parameters: Any) -> Value:
        given = list(args)
        if variadic:
            if len(given) == 1 and isinstance(given[0], list | tuple):
                given = list(given[0])
            values, rest = given, []
        else:
            values, rest = given[: len(operands)], given[len(operands) :]
            for operand in operands[len(values) :]:
                if operand.name not in parameters:
                    raise TypeError(f"{cls.method} takes {', '.join(o.name for o in operands)}, and {operand.name} is missing")
                values.append(parameters.pop(operand.name))
        made = [
            value if isinstance(value, Value) else _constant(value, name or operand_name, trainable)
            for value, operand_name in zip(values, _operand_names(cls, operands, len(values)), strict=True)
        ]
        if trainable and "trainable" in inspect.signature(cls).parameters:
            parameters["trainable"] = True
        rest = [_plain(value) for value in rest]
        parameters = {name: _plain(value) for name, value in parameters.items()}
        try:
            op = cls(*rest, **parameters)
        except TypeError:
            takes = ", ".join(inspect.signature(cls).parameters) or "none"
            wrong = ", ".join([*map(repr, rest), *parameters])
            raise TypeError(f"{cls.method} has the parameters {takes}, and was given {wrong or 'none'}") from None
        return op(*made)

    method.__name__ = method.__qualname__ = cls.method
    method.__doc__ = inspect.getdoc(cls)
    method.__signature__ = _signature(cls, operands)  # type: ignore[attr-defined]
    return method


def _signature(cls: type[Op], operands: list[inspect.Parameter]) -> inspect.Signature:
    """Operands, then the op's parameters: what ``help`` shows."""
    kinds = inspect.Parameter
    after = kinds.KEYWORD_ONLY if operands[0].kind is kinds.VAR_POSITIONAL else kinds.POSITIONAL_OR_KEYWORD
    fields = [field.replace(kind=after) for field in inspect.signature(cls).parameters.values()]
    named = [operand.replace(annotation=kinds.empty) for operand in operands]
    return inspect.Signature([*named, *fields], return_annotation=Value)


def _operand_names(cls: type[Op], operands: list[inspect.Parameter], count: int) -> list[str]:
    return [operands[min(i, len(operands) - 1)].name for i in range(count)]


def _constant(array: npt.ArrayLike, name: str, trainable: bool) -> Value:
    if type(array).__module__.startswith("torch"):
        array = array.detach().cpu().numpy()  # type: ignore[union-attr]
    fixed = np.asarray(array)
    if fixed.dtype.kind not in "fiuc":
        raise TypeError(f"a constant holds numbers, not {fixed.dtype}: {_shortened(array)}")
    if not np.isfinite(fixed).all():
        raise ValueError(f"constant {name!r} has an element that is not finite")
    if fixed.dtype.kind == "c":
        fixed = np.stack([fixed.real, fixed.imag])
    return Constant.of(name, fixed.astype(np.float64), trainable)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's, which metadata and ONNX attributes take."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    return value.item() if isinstance(value, np.generic) else value


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
