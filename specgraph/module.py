"""The torch runtime of a graph: an ``nn.Module`` whose trainable constants are parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from specgraph.compound import Compound
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import Constant, Input, Value
from specgraph.ragged import has_lengths
from specgraph.shapes import arranged, check_lengths, check_shape, lacks_batch


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
    """

    def __init__(
        self, graph: Graph, dtype: torch.dtype | None = None, prefer: Mapping[str, str] | None = None
    ) -> None:
        super().__init__()
        self._source = _trained_parts_expanded(graph)
        lowered = lower(self._source, "torch", prefer)
        self._input_names = [value.op.name for value in _inputs(graph)]
        self._sizes = [value.op.sizes for value in _inputs(graph)]
        self._least = graph.least_along_the_clip()
        self._with_lengths = has_lengths(graph)
        self._lengths_names = {value.op.name for value in _inputs(graph) if value.dtype == "int64"}
        self._names: dict[Constant, str] = {}
        values = lowered.values()
        place = {value: i for i, value in enumerate(values)}
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
            constant: getattr(self, name).detach().cpu().double().numpy().copy()
            for constant, name in self._names.items()
            if constant.trainable
        }
        return self._source.with_arrays(learned)

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The features of ``inputs``, in the order that the graph names them; usually one tensor of waveforms."""
        return arranged(self.outputs(*inputs), self._with_lengths)

    def outputs(self, *inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        """All outputs by name."""
        if self._with_lengths and len(inputs) == 1:
            clips = inputs[0].shape[0] if inputs[0].ndim > 1 else 1
            inputs = (*inputs, torch.full((clips,), inputs[0].shape[-1], device=inputs[0].device))
        if len(inputs) != len(self._inputs):
            raise TypeError(f"takes {len(self._inputs)} tensors, not {len(inputs)}")
        single = (len(inputs) == 1 or self._with_lengths) and lacks_batch(self._sizes[0], inputs[0].ndim)
        if single:
            inputs = (inputs[0][None], *(lengths.reshape(-1) for lengths in inputs[1:]))
        self._check(inputs)
        if self._with_lengths:
            inputs = (inputs[0], inputs[1].to(inputs[0].device, torch.int64))
        env: list[Any] = [None] * self._size
        for place, tensor in zip(self._inputs, inputs, strict=True):
            env[place] = tensor
        for place, name in self._constants:
            env[place] = getattr(self, name)
        # Under autocast too a front end computes in its own dtype: half of it would be 40 dB of noise.
        with torch.autocast(inputs[0].device.type, enabled=False):
            for place, op, operands in self._steps:
                env[place] = op.torch(*[env[operand] for operand in operands])
        return {name: env[place][0] if single else env[place] for name, place in self._outputs.items()}

    def _check(self, inputs: tuple[torch.Tensor, ...]) -> None:
        for name, sizes, tensor in zip(self._input_names, self._sizes, inputs, strict=True):
            if name in self._lengths_names:
                if self._with_lengths:
                    self._check_lengths(name, tensor, inputs[0])
                continue
            waveforms = sizes == ("batch", "samples")
            if waveforms and tensor.ndim != 2:
                raise ValueError(f"{name} must be (batch, samples) or (samples,), not of shape {tuple(tensor.shape)}")
            self._check_dtype(name, tensor)
            if waveforms and tensor.shape[0] == 0:
                raise ValueError(f"{name} have shape {tuple(tensor.shape)}: there are no clips in them")
            if waveforms and tensor.shape[1] < self._least:
                raise ValueError(
                    f"a clip needs at least {self._least} samples here and this one has {tensor.shape[1]}; "
                    "pad it, or use center=True"
                )
            if not waveforms:
                check_shape(name, sizes, tensor.shape, self._least if len(inputs) == 1 else 1)

    def _check_lengths(self, name: str, lengths: torch.Tensor, waveforms: torch.Tensor) -> None:
        if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool or lengths.ndim != 1:
            raise TypeError(f"{name} must be whole numbers (batch,), such as int64, not {lengths.dtype} {tuple(lengths.shape)}")
        clips, samples = waveforms.shape
        known = lengths.device.type == "cpu" and not torch.compiler.is_compiling()  # elsewhere, reading them would wait
        held = lengths.tolist() if known else [samples] * len(lengths)
        check_lengths(name, self._input_names[0], held, clips, samples, self._least)

    def _check_dtype(self, name: str, tensor: torch.Tensor) -> None:
        if not tensor.is_floating_point():
            raise TypeError(
                f"{name} must be floating-point, not {tensor.dtype}; "
                + ("divide 16-bit samples by 32768 first" if name == "waveforms" else "convert them by .float()")
            )
        held = next(iter((*self.parameters(recurse=False), *self.buffers(recurse=False))), None)
        if held is not None and held.dtype != tensor.dtype:
            raise TypeError(
                f"{name} are {tensor.dtype} and the module works in {held.dtype}; "
                f"convert one, by {name}.to(dtype) or module.to(dtype)"
            )

    def extra_repr(self) -> str:
        """The graph, in a line."""
        parts = ", ".join(name for constant, name in self._names.items() if constant.trainable)
        return f"{self._source.name}, {self.sample_rate} Hz, trainable: {parts or 'nothing'}"


def _inputs(graph: Graph) -> list[Any]:
    return [value for value in graph.inputs if isinstance(value.op, Input)]


def _trained_parts_expanded(graph: Graph) -> Graph:
    """Compound ops that are trained become the ops whose constants are trained, so that these are the graph's own."""

    def expanded(value: Value) -> Value | None:
        op = value.op
        if not isinstance(op, Compound) or op.forced is None or not getattr(op, "trainable", False):
            return None
        return op.lowerings[op.forced](op, *value.inputs)

    return graph.rewrite(expanded)
