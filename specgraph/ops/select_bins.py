"""The bins of a real signal's DFT, in order, out of a factored transform's slots."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class SelectBins(Op):
    """(batch, slots, frames, 2) -> (batch, n_fft // 2 + 1, frames, 2), slot i holding bin ``slots[i]`` of the full DFT.

    A slot above n_fft / 2 is the mirror image of a bin of a real signal, and is conjugated. The imaginary parts of DC and
    Nyquist, which are zero but for rounding, are made zero, unless with ``exact`` they are zero already.
    """

    linear = True

    n_fft: int
    slots: tuple[int, ...]
    exact: bool = False

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
        """(bins,): the slot that each bin is taken from; of several, the first, unmirrored if there is one."""
        slots = np.array(self.slots)
        bins = np.minimum(slots, self.n_fft - slots)
        order = np.lexsort((np.arange(len(slots)), slots > self.n_fft // 2))[::-1]
        places = np.full(self.n_fft // 2 + 1, -1)
        places[bins[order]] = order
        return places

    @cached_property
    def signs(self) -> npt.NDArray[np.float64]:
        """(bins, 1, 2): what the parts of the taken slots are multiplied by."""
        signs = np.ones((self.n_fft // 2 + 1, 1, 2))
        signs[np.array(self.slots)[self.places] > self.n_fft // 2, 0, 1] = -1.0
        signs[0, 0, 1] = 0.0
        if self.n_fft % 2 == 0:
            signs[-1, 0, 1] = 0.0
        return signs

    def infer(self, value: Shape) -> Shape:
        if len(value) != 4 or value[1] != len(self.slots) or value[3] != 2:
            raise GraphError(f"takes (batch, {len(self.slots)}, frames, 2), not {text(value)}")
        if (self.places < 0).any():
            raise GraphError(f"no slot holds bin {int(np.argmin(self.places))} of {self.n_fft}")
        return value[0], self.n_fft // 2 + 1, value[2], 2

    def numpy(self, value):
        return value[:, self.places] * self.signs

    def torch(self, value):
        import torch

        places = torch.tensor(self.places, device=value.device)
        return value.index_select(1, places) * torch.tensor(self.signs, dtype=value.dtype, device=value.device)

    def onnx(self, onnx, value):
        def taken(start: int, stop: int) -> Any:
            return onnx.Gather(value, onnx.const(self.places[start:stop]), axis=1)

        bins, signs = len(self.places), self.signs.astype(np.float32)
        if self.exact:
            return taken(0, bins)
        if (signs[1:-1] == 1).all() and bins > 2:  # a product with two numbers in turn is slow: only of two bins
            first, last = (onnx.Mul(taken(i, i + 1), onnx.const(signs[i])) for i in (0, bins - 1))
            return onnx.Concat(first, taken(1, bins - 1), last, axis=1)
        return onnx.Mul(taken(0, bins), onnx.const(signs))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        gathered = Cost.elementwise(out, out)
        return gathered if self.exact else gathered + Cost.elementwise(out, out)

    def __str__(self) -> str:
        return f"select_bins({len(self.slots)} slots of {self.n_fft})"

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(6, (0, 2, 4, 1, 3, 5)), ("batch", 6, "frames", 2)
        yield cls(5, (0, 4, 3)), ("batch", 3, "frames", 2)
        yield cls(6, (3, 0, 2, 1)), ("batch", 4, "frames", 2)
