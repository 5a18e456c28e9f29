"""Inputs for a joined model at any size: a signal for its first one, and for the others what models take without complaint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from specgraph.dims import Dim
from specgraph.export.compare import Sizes, resized, signal
from specgraph.export.signals import spread_lengths
from specgraph.op import Array

SMALL = 2  # a size that nothing is known of
LEVEL = 0.1  # of the numbers in inputs that nothing is known of


@dataclass(frozen=True)
class InputSpec:
    """An input of a joined model: numbers are fixed sizes, names vary."""

    name: str
    dtype: ir.DataType
    sizes: tuple[int | str, ...]


@dataclass(frozen=True)
class MadeInputs:
    """Makes inputs.

    ``derived`` are names of sizes that are known from others, as the frames of a mask from the samples of the clip; ``lengths``
    names the input of clips' lengths, at least ``least`` samples each; ``examples`` are what inputs hold instead of what is made up.
    """

    specs: tuple[InputSpec, ...]
    derived: Mapping[str, Dim | int] = field(default_factory=dict)
    lengths: str = ""
    least: int = 1
    examples: Mapping[str, Array] = field(default_factory=dict)

    def __call__(self, name: str, sizes: Sizes) -> tuple[Array, ...]:
        """Every input, with the signal of this name in the first one."""
        return tuple(self._made(spec, name if number == 0 else "", sizes) for number, spec in enumerate(self.specs))

    def _made(self, spec: InputSpec, called: str, sizes: Sizes) -> Array:
        shape = tuple(self._size(size, sizes) for size in spec.sizes)
        kind = spec.dtype.numpy()
        if spec.name in self.examples:
            return resized(self.examples[spec.name], shape).astype(kind)
        if spec.name == self.lengths:
            return spread_lengths(shape[0], sizes["samples"], min(max(self.least, sizes["samples"] // 2), sizes["samples"]))
        floats = np.issubdtype(kind, np.floating)
        if called and shape and (floats or kind == np.int16):
            return signal(called, shape, kind)
        if "mask" in spec.name or kind == np.bool_:
            return np.ones(shape, kind)
        if "len" in spec.name and len(shape) == 1:
            return np.full(shape, self._longest(sizes), kind)
        if not floats:
            return np.zeros(shape, kind)
        return np.asarray(LEVEL * np.random.default_rng(len(spec.name)).standard_normal(shape)).astype(kind)

    def _size(self, size: int | str, sizes: Sizes) -> int:
        if isinstance(size, int):
            return size
        if size in self.derived:
            known = self.derived[size]
            return known.at(sizes[known.root]) if isinstance(known, Dim) else known
        return sizes.get(size, SMALL)

    def _longest(self, sizes: Sizes) -> int:
        """As many frames as the clip has, or where that is not known its own size."""
        frames = [self._size(size, sizes) for size, known in self.derived.items() if isinstance(known, Dim) and known.root != "batch"]
        return max(frames, default=max((size for name, size in sizes.items() if name != "batch"), default=SMALL))
