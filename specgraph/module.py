"""The torch runtime of a graph: an ``nn.Module`` whose trainable constants are parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import cache
from keyword import iskeyword
from typing import Any, Self

import torch
from torch import nn
from torch.nn.utils import parametrize

from specgraph.constraints import constrain, originals
from specgraph.graph import Graph
from specgraph.groups import parameter_groups
from specgraph.lowering import lower, trained_parts_expanded
from specgraph.module_inputs import HALVES, ModuleInputs
from specgraph.op import Constant, Input
from specgraph.shapes import arranged
from specgraph.silence import without_silence
from specgraph.tracing import any_length, as_script, traced

DTYPES = torch.float32, torch.float64, *HALVES


class GraphModule(nn.Module):
    """(batch, samples) -> the graph's output, or a dict of its outputs where there are several.

    ``forward`` takes the graph's inputs by their names, usually ``waveforms``. A graph with lengths gives a pair, ``features, features_lens = net(waveforms, waveforms_lens)``, or a pair of dicts. The
    lengths, whole numbers (batch,), may be left out, every clip then being as long as the tensor, and may stay on the CPU.

    Leading axes are kept: (samples,) gives features without a batch axis, (batch, 1, samples) gives (batch, 1, bins, frames), and
    likewise for a graph that takes features. Trainable constants are parameters, named as they are in the graph ("fourier", "mel", ...);
    fixed ones are buffers outside of ``state_dict``. Gradients are finite everywhere, silence included.

    The module computes in float32 or float64, on any device. In half precision, ``module.half()`` or ``dtype=torch.bfloat16``, it
    takes half or float32 inputs and gives half features; parameters and all arithmetic stay float32, under autocast too. float16 holds
    numbers up to 65504, which the power of a loud spectrum exceeds; a logarithm or bfloat16 has no such limit.

    ``torch.export.export`` makes one program for any batch and length, with ``dynamic_shapes={"waveforms": {0: Dim.DYNAMIC, 1:
    Dim.DYNAMIC}}``. ``torch.jit.trace`` and ``torch.jit.script`` do likewise.

    Args:
        graph: any graph; parts of it that are not trained run through ``torch.fft``.
        dtype: ``torch.float32`` (default) or ``torch.float64``, to which constants are exact; or ``torch.float16`` or
            ``torch.bfloat16``, which features are given in.
        prefer: lowerings by compound op instead of the cheapest, such as ``{"ConstantQ": "grouped"}``.
        constraints: by trained part, a name ("non-negative", "band", "unit-norm", "quadrature"), an object of
            ``specgraph.constraints``, or a list of these; they hold after every optimizer step, and what is exported keeps them.
    """

    _made_of: type[GraphModule]  # of a class with named inputs, the class that it was made of

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """An instance of a subclass whose ``forward`` has an argument for each input of the graph."""
        graph = args[0] if args else kwargs.get("graph")
        if hasattr(cls, "_made_of") or not isinstance(graph, Graph):
            return super().__new__(cls)
        return super().__new__(_taking(cls, *_arguments(graph)))  # type: ignore[arg-type, return-value, unused-ignore]

    def __init__(
        self,
        graph: Graph,
        dtype: torch.dtype | None = None,
        prefer: Mapping[str, str] | None = None,
        constraints: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if dtype is not None and dtype not in DTYPES:
            raise TypeError(f"dtype must be {', '.join(map(str, DTYPES[:-1]))} or {DTYPES[-1]}, not {dtype!r}")
        self._half = dtype if dtype in HALVES else None
        held = torch.float64 if dtype == torch.float64 else torch.float32
        self._source = trained_parts_expanded(graph)
        self.prefer = dict(prefer or {})
        lowered = lower(without_silence(self._source), "torch", prefer)
        self._takes = ModuleInputs.of(graph)
        self._names: dict[Constant, str] = {}
        values = lowered.values()
        place = {value: i for i, value in enumerate(values)}
        for value in values:  # before the fixed ones, so that a part has its own name
            if isinstance(value.op, Constant) and value.op.trainable and value.op not in self._names:
                self._hold(value.op, held)
        self._constants: list[tuple[int, str]] = []
        self._steps: list[tuple[int, Any, tuple[int, ...]]] = []
        for value in values:
            op = value.op
            if isinstance(op, Constant):
                name = self._names.get(op) or self._hold(op, held)
                self._constants.append((place[value], name))
            elif not isinstance(op, Input):
                self._steps.append((place[value], op, tuple(place[operand] for operand in value.inputs)))
        self._size = len(values)
        self._inputs = [place[value] for value in lowered.inputs]
        self._outputs = {name: place[value] for name, value in lowered.outputs.items()}
        last = {operand: step for step, (_, _, operands) in enumerate(self._steps) for operand in operands}
        self._done: list[list[int]] = [[] for _ in self._steps]  # what is read for the last time by each step
        for operand in last.keys() - self._outputs.values():
            self._done[last[operand]].append(operand)
        if constraints:
            parts: dict[str, list[str]] = {}
            for constant, name in self._trained:
                parts.setdefault(constant.name, []).append(name)
            constrain(self, parts, constraints)

    def _hold(self, constant: Constant, dtype: torch.dtype) -> str:
        name, number = constant.name, 1
        while hasattr(self, name):
            name, number = f"{constant.name}_{number}", number + 1
        self._names[constant] = name
        tensor = torch.tensor(constant.array, dtype=dtype)
        if constant.trainable:
            self.register_parameter(name, nn.Parameter(tensor))
        else:
            self.register_buffer(name, tensor, persistent=False)
        return name

    @property
    def _trained(self) -> list[tuple[Constant, str]]:
        """The trained constants, and how they are called here."""
        return [(constant, name) for constant, name in self._names.items() if constant.trainable]

    def __reduce_ex__(self, protocol: Any) -> Any:
        """For copies and pickles, of classes that have no name to be found by: made for the names of inputs, or for constraints."""
        taken = self._made_of, self._takes.names, self._takes.lengths
        if not parametrize.is_parametrized(self):
            return _blank, taken, self.__dict__
        lists = {name: held for name, held in self.parametrizations.items()}  # type: ignore[union-attr, operator]
        modules = {name: held for name, held in self._modules.items() if name != "parametrizations"}
        return _constrained_again, (taken, self.__dict__ | {"_modules": modules}, lists)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As ``nn.Module``'s; what was pickled before half precision was taken has none."""
        super().__setstate__({"_half": None} | state)

    def __prepare_scriptable__(self) -> nn.Module:
        """What ``torch.jit.script`` takes in its place: this module traced, for any length."""
        return as_script(self)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, local_metadata: Any, strict: bool, *lists: Any) -> None:
        """As ``nn.Module``'s; a part that was saved without constraints is loaded under them, and what cannot be says so."""
        errors = lists[-1]
        for _, name in self._trained:
            held = self.parametrizations[name] if parametrize.is_parametrized(self, name) else None  # type: ignore[index]
            inner = f"{prefix}parametrizations.{name}."
            if held is not None and prefix + name in state_dict:
                if (value := state_dict.pop(prefix + name)).shape != getattr(self, name).shape:
                    errors.append(f"{name} was saved with the shape {tuple(value.shape)} and has {tuple(getattr(self, name).shape)} here")
                    continue
                value = value.to(getattr(self, name))
                state_dict.update({inner + key: tensor for key, tensor in originals(held, value).items()})
            elif held is None and any(key.startswith(inner) for key in state_dict):
                errors.append(f"{name} was saved under constraints and has none here: make this module with the same constraints={{...}}")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *lists)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As ``nn.Module``'s; what is in a state and not trained here is named, with what to do."""
        trained = [name for _, name in self._trained]
        foreign = sorted({key.removeprefix("parametrizations.").split(".")[0] for key in state_dict} - {*trained})
        if strict and foreign:
            raise RuntimeError(
                f"{', '.join(foreign)} is in the state and not trained here; trained are {', '.join(trained) or 'no parts'}: "
                "make this module with the trainable=(...) that was saved"
            )
        return super().load_state_dict(state_dict, strict, assign)

    def parameter_groups(self, lr: float, front_end_lr: float | None = None) -> list[dict[str, Any]]:
        """Its parameters for an optimizer, all of them in the group "front_end"; ``specgraph.parameter_groups`` says more."""
        return parameter_groups(self, lr, front_end_lr)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> GraphModule:
        """As ``nn.Module``'s, but half precision is of what is given, and not of parameters and constants.

        A fixed constant that becomes float64 is set from its design, not from its float32.
        """
        asked = fn(torch.empty(0, dtype=self._half or self.working_dtype or torch.float32)).dtype
        before = {name: buffer.dtype for name, buffer in self.named_buffers(recurse=False)}

        def kept(tensor: torch.Tensor) -> torch.Tensor:
            made = fn(tensor)
            return tensor.to(made.device, torch.float32) if made.dtype in HALVES else made

        super()._apply(kept, recurse)
        self._half = asked if asked in HALVES else None
        for constant, name in self._names.items():
            if not constant.trainable:
                buffer = getattr(self, name)
                if buffer.dtype == torch.float64 != before[name]:
                    buffer.copy_(torch.from_numpy(constant.array))
        return self

    def to_empty(self, *, device: Any, recurse: bool = True) -> GraphModule:
        """As ``nn.Module``'s; fixed constants, which no ``state_dict`` holds, are set from their design."""
        super().to_empty(device=device, recurse=recurse)
        with torch.no_grad():
            for constant, name in self._names.items():
                if not constant.trainable:
                    getattr(self, name).copy_(torch.from_numpy(constant.array))
        return self

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms it takes."""
        return self._source.sample_rate

    @property
    def graph(self) -> Graph:
        """The graph with the arrays as they are now: what was learned, ready for ``to_onnx`` or another ``module``."""
        learned = {
            constant: getattr(self, name).detach().cpu().double().numpy().copy() for constant, name in self._trained
        }
        return self._source.with_arrays(learned)

    @property
    def definition(self) -> Graph:
        """The graph with the arrays that it was made with; its trainable constants are what ``trained`` takes."""
        return self._source

    def trained(self, constant: Constant) -> torch.Tensor:
        """The parameter that a trainable constant of ``definition`` has become."""
        return getattr(self, self._names[constant])

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The features of ``inputs``, in the order that the graph names them; usually one tensor of waveforms."""
        return self._features(*inputs)

    def _features(self, *inputs: torch.Tensor) -> Any:
        """What ``forward`` gives."""
        return arranged(self.outputs(*inputs), self._takes.lengths)

    @property
    def working_dtype(self) -> torch.dtype | None:
        """The dtype that it computes in, None where it has no constants and takes float32 and float64."""
        held = next(iter((*self.parameters(), *self.buffers())), None)
        return None if held is None else torch.float32 if held.dtype in HALVES else held.dtype

    def outputs(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """All outputs by name."""
        inputs, leading = self._takes.checked(inputs, self.working_dtype)
        given = inputs[0].dtype
        inputs = tuple(tensor.float() if tensor.dtype in HALVES else tensor for tensor in inputs)
        device = inputs[0].device.type
        # Under autocast too a front end computes in its own dtype: half of it would be 40 dB of noise.
        with torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else nullcontext():
            found = traced(self, inputs) if any_length() else self._run(inputs)
        wanted = self._half or (given if given in HALVES and self.working_dtype is None else None)
        return {
            name: self._given_as(tensor, leading, wanted) for name, tensor in zip(self._outputs, found, strict=True)
        }

    @staticmethod
    def _given_as(tensor: torch.Tensor, leading: tuple[int, ...], dtype: torch.dtype | None) -> torch.Tensor:
        """An output in the dtype that is wanted, with the leading axes of the input."""
        tensor = tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
        return tensor if len(leading) == 1 else tensor.reshape((*leading, *tensor.shape[1:]))

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        env: list[Any] = [None] * self._size
        for place, tensor in zip(self._inputs, inputs, strict=True):
            env[place] = tensor
        for place, name in self._constants:
            held = getattr(self, name)  # what shards a model may have made it half
            env[place] = held.float() if held.dtype in HALVES else held
        for (place, op, operands), done in zip(self._steps, self._done, strict=True):
            env[place] = op.torch(*[env[operand] for operand in operands])
            if op.reads == "int16":
                env[place] = env[place].to(self.working_dtype or torch.float32)
            for operand in done:  # no later op reads these: release them now
                env[operand] = None
        return [env[place] for place in self._outputs.values()]

    def extra_repr(self) -> str:
        """The graph, in a line."""
        parts = ", ".join(name for _, name in self._trained)
        return f"{self._source.name}, {self.sample_rate} Hz, trainable: {parts or 'nothing'}"


Taken = tuple[type[GraphModule], tuple[str, ...], bool]


def _arguments(graph: Graph) -> tuple[tuple[str, ...], bool]:
    """The names of a graph's inputs, and whether the last is the clips' lengths, which may be left out."""
    takes = ModuleInputs.of(graph)
    return takes.names, takes.lengths


@cache
def _taking(cls: type[GraphModule], names: tuple[str, ...], lengths: bool) -> type[GraphModule]:
    """A subclass whose ``forward`` has these arguments; torch reads them from its signature."""
    if cls.forward is not GraphModule.forward:
        return cls
    called = [f"{name}_" if iskeyword(name) or name == "self" else name for name in names]
    taken = ", ".join([*called[:-1], f"{called[-1]}=None"] if lengths else called)
    given = f"*(() if {called[-1]} is None else ({called[-1]},))" if lengths else called[-1]
    source = f"def forward(self, {taken}):\n    return self._features({', '.join([*called[:-1], given])})"
    made: dict[str, Any] = {}
    exec(source, {}, made)  # noqa: S102  (a graph's inputs are named by identifiers, which ``Graph`` checks; torch reads the code's argument names)
    forward = made["forward"]
    forward.__doc__, forward.__qualname__ = GraphModule.forward.__doc__, f"{cls.__qualname__}.forward"
    body = {"forward": forward, "_made_of": cls, "__module__": cls.__module__, "__doc__": cls.__doc__}
    return type(cls.__name__, (cls,), body)


def _blank(cls: type[GraphModule], names: tuple[str, ...], lengths: bool) -> GraphModule:
    """A module of a class for these inputs, before it has its attributes."""
    return nn.Module.__new__(_taking(cls, names, lengths))  # type: ignore[arg-type, unused-ignore]


def _constrained_again(taken: Taken, state: dict[str, Any], lists: Mapping[str, Any]) -> GraphModule:
    """A constrained module, from its attributes without the constraints, and these."""
    module = _blank(*taken)
    module.__setstate__(state)
    for name, held in lists.items():
        module.register_parameter(name, nn.Parameter(torch.empty(())))
        parametrize.register_parametrization(module, name, nn.Identity())
        module.parametrizations[name] = held  # type: ignore[index, operator]
    return module
