"""Magnitudes with phases to begin an iteration at: the same ones every time, without order, for any number of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op

PRIME = 1021  # phases on the circle


def _table() -> npt.NDArray[np.float64]:
    """(PRIME, 2): the circle."""
    turns = 2 * np.pi * np.arange(PRIME) / PRIME
    return np.stack([np.cos(turns), np.sin(turns)], -1)


def _coefficients(bins: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Of t + 1 and of t**2, (bins, 1) each."""
    k = np.arange(bins)[:, None] % PRIME
    return k * k % PRIME * k % PRIME, k


@dataclass(frozen=True, eq=False)
class StartingPhase(Op):
    """(batch, bins, frames) -> (batch, bins, frames, 2): the magnitudes, with the phase 2 pi q / 1021.

    ``q = (k**3 (t + 1) + k t**2 + 7 t**3) mod 1021`` for bin k and frame t: a fixed sequence that has no more structure than
    random phases have, and as good a start.
    """

    linear = True

    def infer(self, magnitude: Shape) -> Shape:
        if len(magnitude) != 3:
            raise GraphError(f"takes magnitudes (batch, bins, frames), not {text(magnitude)}")
        return *magnitude, 2

    def numpy(self, magnitude):
        first, second = _coefficients(magnitude.shape[1])
        t = np.arange(magnitude.shape[2]) % PRIME
        square = t * t % PRIME
        place = (first * (t + 1) + second * square + 7 * square * t) % PRIME
        return magnitude[..., None] * _table()[place]

    def torch(self, magnitude):
        import torch

        first, second = (torch.from_numpy(c).to(magnitude.device) for c in _coefficients(magnitude.shape[1]))
        t = torch.arange(magnitude.shape[2], device=magnitude.device) % PRIME
        square = t * t % PRIME
        place = (first * (t + 1) + second * square + 7 * square * t) % PRIME
        return magnitude[..., None] * torch.from_numpy(_table()).to(magnitude)[place]

    def onnx(self, onnx, magnitude):
        bins = onnx.shape(magnitude)[1]
        first, second = map(onnx.const, _coefficients(bins))
        zero, one, prime = (onnx.const(np.int64(number)) for number in (0, 1, PRIME))

        def reduced(number: Any) -> Any:  # of numbers that are not negative; the CUDA provider has a Div and may have no Mod
            return onnx.Sub(number, onnx.Mul(onnx.Div(number, prime), prime))

        frames = onnx.Squeeze(onnx.Shape(magnitude, start=2, end=3), onnx.const([0]))
        t = reduced(onnx.Range(zero, frames, one))
        square = reduced(onnx.Mul(t, t))
        place = onnx.Add(onnx.Mul(first, onnx.Add(t, one)), onnx.Mul(second, square))
        place = onnx.Add(place, onnx.Mul(onnx.Mul(square, t), onnx.const(np.int64(7))))
        return onnx.Mul(onnx.Unsqueeze(magnitude, onnx.const([-1])), onnx.Gather(onnx.const(_table()), reduced(place), axis=0))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, *shapes, operations=8) + Cost(launches=14)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 9, "frames")
        yield cls(), ("batch", 1030, 2)
