"""What a module of a graph takes: its tensors checked, each in one sentence, and made as the graph has them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import torch

from specgraph.graph import Graph
from specgraph.op import Input
from specgraph.ops.lengths import Mask
from specgraph.ragged import has_lengths
from specgraph.shapes import WAVEFORMS, check_lengths, check_shape, leading_axes, refuse_transposed
from specgraph.tracing import any_length

Tensors = tuple[torch.Tensor, ...]
HALVES = torch.float16, torch.bfloat16


@dataclass(frozen=True)
class ModuleInputs:
    """The inputs of a graph.

    Attributes:
        names, sizes: of each, in order.
        whole_numbers: the names of those that hold lengths.
        int16: the names of those that hold 16-bit samples.
        least: samples, or frames, that a clip needs.
        lengths: whether the graph takes waveforms and how long each of them is.
        advice: what to do with a clip that is too short.
    """

    names: tuple[str, ...]
    sizes: tuple[tuple[int | str, ...], ...]
    whole_numbers: frozenset[str]
    int16: frozenset[str]
    least: int
    lengths: bool
    advice: str

    @classmethod
    def of(cls, graph: Graph) -> ModuleInputs:
        """Those of a graph."""
        inputs = [(value.op, value.dtype) for value in graph.inputs if isinstance(value.op, Input)]
        return cls(
            tuple(op.name for op, _ in inputs),
            tuple(op.sizes for op, _ in inputs),
            frozenset(op.name for op, dtype in inputs if dtype == "int64"),
            frozenset(op.name for op, dtype in inputs if dtype == "int16"),
            graph.least_along_the_clip(),
            has_lengths(graph),
            _advice(graph.parameters),
        )

    def checked(self, inputs: Sequence[Any], held: torch.dtype | None) -> tuple[Tensors, tuple[int, ...]]:
        """The tensors with one batch axis, and with lengths where these were left out; and the axes that they had in its place.

        Args:
            inputs: in the order of ``names``.
            held: the dtype that the module computes in, or None where it has no constants.

        Raises:
            ValueError, TypeError: a wrong shape, dtype, length or number of tensors.
        """
        given = tuple(inputs)
        for value in given:
            if not isinstance(value, torch.Tensor):
                shown = "the path " + repr(str(value)) if isinstance(value, str | PurePath) else f"a {type(value).__module__}.{type(value).__name__}"
                raise TypeError(f"a module takes tensors, not {shown}; make one, by torch.from_numpy(array) say")
        ragged = self.lengths and len(given) > 1 and not any_length()
        if self.lengths and len(given) == 1:
            leading = leading_axes(self.sizes[0], given[0].shape) or ()
            given = (*given, torch.ones(leading, dtype=torch.int64, device=given[0].device) * given[0].shape[-1])
        if len(given) != len(self.names):
            raise TypeError(f"takes {len(self.names)} tensors, not {len(given)}")
        given, leading = self._with_batch(given)
        self._check(given, held)
        if self.lengths:
            given = (given[0], given[1].to(given[0].device, torch.int64))
        if ragged:  # an op never reads what stands behind a clip; its gradient multiplies that by zero, which NaN outlives
            given = (Mask().torch(*given), given[1])
        return given, leading

    def _with_batch(self, given: Tensors) -> tuple[Tensors, tuple[int, ...]]:
        """The tensors with one batch axis, and the leading axes that it stands for."""
        first = given[0]
        leading = leading_axes(self.sizes[0], first.shape) if len(given) == 1 or self.lengths else None
        if leading is None or len(leading) == 1:
            return given, tuple(first.shape[:1])
        clips = math.prod(leading)
        return (first.reshape(clips, *first.shape[len(leading) :]), *(lengths.reshape(-1) for lengths in given[1:])), leading

    def _check(self, inputs: Tensors, held: torch.dtype | None) -> None:
        for name, sizes, tensor in zip(self.names, self.sizes, inputs, strict=True):
            if name in self.whole_numbers:
                if self.lengths:
                    self._check_lengths(name, tensor, inputs[0])
                continue
            _check_dtype(name, tensor, torch.int16 if name in self.int16 else held, name in self.int16)
            if sizes == WAVEFORMS:
                self._check_waveforms(name, tensor)
            else:
                check_shape(name, sizes, tensor.shape, self.least if len(inputs) == 1 else 1)

    def _check_waveforms(self, name: str, tensor: torch.Tensor) -> None:
        if tensor.ndim != 2:
            raise ValueError(f"{name} must be (..., samples), not of shape {tuple(tensor.shape)}")
        if any_length():
            if torch.compiler.is_exporting() and self.least > 1:
                torch._check(tensor.shape[1] >= self.least)
            return
        if not torch.compiler.is_compiling():  # then a size is a symbol, which a comparison would restrict
            refuse_transposed(name, *tensor.shape)
        if tensor.shape[0] == 0:
            raise ValueError(f"{name} have shape {tuple(tensor.shape)}: there are no clips in them")
        if tensor.shape[1] < self.least:
            raise ValueError(f"a clip needs at least {self.least} sample{'s' * (self.least > 1)} here and this one has {tensor.shape[1]}; {self.advice}")

    def _check_lengths(self, name: str, lengths: torch.Tensor, waveforms: torch.Tensor) -> None:
        if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype == torch.bool or lengths.ndim != 1:
            raise TypeError(f"{name} must be whole numbers (batch,), such as int64, not {lengths.dtype} {tuple(lengths.shape)}")
        if any_length():
            return  # the sizes vary then
        clips, samples = waveforms.shape[0], waveforms.shape[-1]
        known = lengths.device.type == "cpu" and not torch.compiler.is_compiling()  # elsewhere, reading them would wait
        held = lengths.tolist() if known else [samples] * len(lengths)
        check_lengths(name, self.names[0], held, clips, samples, self.least)


def _advice(parameters: Mapping[str, Any]) -> str:
    """What to do with a clip that is too short, for a front end with these parameters."""
    if parameters.get("snip_edges") is True:
        return "pad it, or use snip_edges=False"
    if parameters.get("center") is False and parameters.get("align") != "start":
        return "pad it, or use center=True"
    return "pad it with zeros"


def _check_dtype(name: str, tensor: torch.Tensor, held: torch.dtype | None, int16: bool) -> None:
    if int16:
        if tensor.dtype != torch.int16:
            raise TypeError(f"{name} must be int16 (16-bit PCM) here, not {tensor.dtype}: the graph divides by 32768 itself")
        return
    if not tensor.is_floating_point():
        raise TypeError(
            f"{name} must be floating-point, not {tensor.dtype}; "
            + ("divide 16-bit samples by 32768 first" if name == "waveforms" else "convert them by .float()")
        )
    if held is not None and tensor.dtype not in (held, *HALVES):
        raise TypeError(
            f"{name} are {tensor.dtype} and the module works in {held}; "
            f"convert one, by {name}.to(dtype) or module.to(dtype)"
        )
