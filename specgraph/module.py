"""The torch runtime of a graph: an ``nn.Module`` whose trainable constants are parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from specgraph.constraints import constrain, originals
from specgraph.graph import Graph
from specgraph.groups import parameter_groups
from specgraph.lowering import lower, trained_parts_expanded
from specgraph.module_inputs import ModuleInputs
from specgraph.op import Constant, Input
from specgraph.shapes import arranged
from specgraph.silence import without_silence
from specgraph.tracing import traced


class GraphModule(nn.Module):
    """(batch, samples) -> the graph's output, or a dict of its outputs where there are several.

    A graph with lengths gives a pair, ``features, features_lens = net(waveforms, waveforms_lens)``, or a pair of dicts. The
    lengths, whole numbers (batch,), may be left out, every clip then being as long as the tensor, and may stay on the CPU.

    A clip without a batch axis, (samples,), gives features without one, and likewise for a graph that takes features. Trainable constants are parameters, named as
    they are in the graph ("fourier", "mel", ...); fixed ones are buffers outside of ``state_dict``. The module works in
    the dtype it was made in or moved to, float32 or float64, on any device; gradients are finite everywhere, silence
    included.

    Args:
        graph: any graph; parts of it that are not trained run through ``torch.fft``.
        dtype: ``torch.float32`` (default) or ``torch.float64``, to which constants are exact.
        prefer: lowerings by compound op instead of the cheapest, such as ``{"ConstantQ": "grouped"}``.
        constraints: by trained part, a name ("non-negative", "band", "unit-norm", "quadrature"), an object of
            ``specgraph.constraints``, or a list of these; they hold after every optimizer step, and what is exported keeps them.
    """

    def __init__(
        self,
        graph: Graph,
        dtype: torch.dtype | None = None,
        prefer: Mapping[str, str] | None = None,
        constraints: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._source = trained_parts_expanded(graph)
        self.prefer = dict(prefer or {})
        lowered = lower(without_silence(self._source), "torch", prefer)
        self._takes = ModuleInputs.of(graph)
        self._names: dict[Constant, str] = {}
        values = lowered.values()
        place = {value: i for i, value in enumerate(values)}
        for value in values:  # before the fixed ones, so that a part has its own name
            if isinstance(value.op, Constant) and value.op.trainable and value.op not in self._names:
                self._hold(value.op, torch.float32 if dtype is None else dtype)
        self._constants: list[tuple[int, str]] = []
        self._steps: list[tuple[int, Any, tuple[int, ...]]] = []
        for value in values:
            op = value.op
            if isinstance(op, Constant):
                name = self._names.get(op) or self._hold(op, torch.float32 if dtype is None else dtype)
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
        """Copies and pickles of a constrained module too, which torch makes of a class that has no name to be found by."""
        if not parametrize.is_parametrized(self):
            return super().__reduce_ex__(protocol)
        lists = {name: held for name, held in self.parametrizations.items()}  # type: ignore[union-attr, operator]
        modules = {name: held for name, held in self._modules.items() if name != "parametrizations"}
        return _constrained_again, (self.__dict__ | {"_modules": modules}, lists)

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
        """As ``nn.Module``'s; a fixed constant that becomes float64 is set from its design, not from its float32."""
        before = {name: buffer.dtype for name, buffer in self.named_buffers(recurse=False)}
        super()._apply(fn, recurse)
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
        return arranged(self.outputs(*inputs), self._takes.lengths)

    @property
    def working_dtype(self) -> torch.dtype | None:
        """The dtype that it works in, None where it has no constants and takes any."""
        held = next(iter((*self.parameters(), *self.buffers())), None)
        return None if held is None else held.dtype

    def outputs(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """All outputs by name."""
        inputs, single = self._takes.checked(inputs, self.working_dtype)
        found = traced(self, inputs) if torch.compiler.is_exporting() else self._run(inputs)
        return {name: tensor[0] if single else tensor for name, tensor in zip(self._outputs, found, strict=True)}

    def _run(self, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
        env: list[Any] = [None] * self._size
        for place, tensor in zip(self._inputs, inputs, strict=True):
            env[place] = tensor
        # Under autocast too a front end computes in its own dtype: half of it would be 40 dB of noise.
        with torch.autocast(inputs[0].device.type, enabled=False):
            for place, name in self._constants:
                env[place] = getattr(self, name)
            for (place, op, operands), done in zip(self._steps, self._done, strict=True):
                env[place] = op.torch(*[env[operand] for operand in operands])
                if op.reads == "int16":
                    env[place] = env[place].to(self.working_dtype or torch.float32)
                for operand in done:  # what nobody reads any more is not held until the end
                    env[operand] = None
        return [env[place] for place in self._outputs.values()]

    def extra_repr(self) -> str:
        """The graph, in a line."""
        parts = ", ".join(name for _, name in self._trained)
        return f"{self._source.name}, {self.sample_rate} Hz, trainable: {parts or 'nothing'}"


def _constrained_again(state: dict[str, Any], lists: Mapping[str, Any]) -> GraphModule:
    """A constrained module, from its attributes without the constraints, and these."""
    module = GraphModule.__new__(GraphModule)
    module.__dict__.update(state)
    for name, held in lists.items():
        module.register_parameter(name, nn.Parameter(torch.empty(())))
        parametrize.register_parametrization(module, name, nn.Identity())
        module.parametrizations[name] = held  # type: ignore[index, operator]
    return module
