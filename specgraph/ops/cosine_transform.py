"""The Fourier transform of a spectrum: real and even, it is a sum of cosines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.design.fourier import factor_pairs, twiddle
from specgraph.dims import Shape, text
from specgraph.op import Array, Constant, GraphError, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.layout import Reshape, Take, Transpose
from specgraph.ops.matmul import Matmul
from specgraph.ops.rfft import Rfft


@dataclass(frozen=True, eq=False)
class CosineTransform(Compound):
    """(batch, n // 2 + 1, frames) -> (batch, stop - start, frames): ``y[k] = sum_m weights[m] x[m] cos(2 pi k m / n)``.

    The rows k from ``start`` to ``stop`` (not included) are computed. With weights 1, 2, 2, ..., and 1 at n / 2, it is the DFT
    of length n of the even signal whose first half is x.
    """

    linear = True

    n: int
    weights: npt.NDArray[np.float64]
    start: int = 0
    stop: int | None = None

    def __post_init__(self) -> None:
        check_positive(n=self.n)
        if np.shape(self.weights) != (self.n // 2 + 1,):
            raise GraphError(f"there must be {self.n // 2 + 1} weights, not {np.shape(self.weights)}")
        if not 0 <= self.start < self.end <= self.n // 2 + 1:
            raise GraphError(f"rows {self.start}:{self.end} are not within 0:{self.n // 2 + 1}")

    @property
    def end(self) -> int:
        """``stop`` or what stands for it."""
        return self.n // 2 + 1 if self.stop is None else self.stop

    def infer(self, features: Shape) -> Shape:
        if len(features) != 3 or features[1] != self.n // 2 + 1:
            raise GraphError(f"takes (batch, {self.n // 2 + 1}, frames), not {text(features)}")
        return features[0], self.end - self.start, features[2]

    def numpy(self, features):
        weighted = features * self.weights[:, None]
        return np.fft.rfft(weighted, self.n, axis=1).real[:, self.start : self.end]

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """``tolerance`` of the largest sum without signs; rounding errors of bins are independent, and their squares add up."""
        weights = self.weights[:, None]
        total = (np.abs(operands[0]) * np.abs(weights)).sum(1, keepdims=True)
        off = tolerance * total.max(axis=2, keepdims=True) + np.zeros_like(total)
        if spread[0] is not None:
            off = off + np.linalg.norm(spread[0] * weights, axis=1, keepdims=True)
        return np.broadcast_to(off, (len(off), self.end - self.start, off.shape[2]))

    def matrix(self) -> npt.NDArray[np.float64]:
        """(stop - start, n // 2 + 1): the whole transform."""
        turns = np.outer(np.arange(self.start, self.end), np.arange(self.n // 2 + 1)) % self.n
        return np.take(twiddle(np.arange(self.n), self.n).real, turns) * self.weights

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        for n, start, stop in ((24, 0, None), (36, 3, 9), (13, 0, 5), (45, 2, None), (2, 0, None), (80, 5, 40)):
            yield cls(n, rng.standard_normal(n // 2 + 1), start, stop), ("batch", n // 2 + 1, "frames")


@CosineTransform.lowering
def matmul(op: CosineTransform, features: Value) -> Value:
    """One matrix of cosines."""
    shape = (op.end - op.start, op.n // 2 + 1)
    return Filterbank()(features, Constant.lazy("cosines", shape, op.matrix))


@CosineTransform.lowering
def fft(op: CosineTransform, features: Value) -> Value:
    """torch's FFT, of which the real part is kept."""
    weights = Constant.lazy("cosine_weights", (op.n // 2 + 1, 1), lambda: np.asarray(op.weights)[:, None])
    spectrum = Rfft(op.n)(Transpose((0, 2, 1))(Multiply()(features, weights)))
    real = Reshape((0, 0, op.n // 2 + 1))(Take((0,), axis=3)(spectrum))
    return Take(tuple(range(op.start, op.end)))(Transpose((0, 2, 1))(real))


@CosineTransform.lowering
def factored(op: CosineTransform, features: Value) -> Value | None:
    """Two stages by Cooley and Tukey, as ``stft_factored``: n = A B, m = B m1 + r, k = k1 + A k2.

    Of the A / 2 + 1 first bins k1 of DFTs over m1, half of which is zero, only real parts are wanted after the second stage.
    Rows k with k1 above A / 2 are rows n - k, the transform being even.
    """
    pairs = factor_pairs(op.n)
    if not pairs:
        return None
    a, b = min(pairs, key=lambda pair: _work(op, *pair))
    half, rows = a // 2 + 1, _rows(op, b)
    r, m1, k1 = np.arange(b)[:, None, None], np.arange(rows), np.arange(half)[:, None]
    m = np.minimum(b * m1 + r[:, 0], op.n // 2)
    k2, slots = _second(op, a, b)

    def first_stage() -> npt.NDArray[np.float64]:  # (r, (part, k1), m1): weights and twiddles as well
        inside = b * m1 + r <= op.n // 2
        basis = np.where(inside, np.asarray(op.weights)[m][:, None], 0.0) * twiddle(k1 * (b * m1 + r), op.n)
        return np.concatenate([basis.real, basis.imag], 1)

    def second_stage() -> npt.NDArray[np.float64]:  # (k2, (r, part))
        basis = twiddle(np.outer(k2, np.arange(b)), b)
        return np.stack([basis.real, -basis.imag], -1).reshape(len(k2), 2 * b)

    columns = Reshape((0, b, rows, -1))(Take(tuple(m.ravel().tolist()))(features))
    planes = Matmul()(Constant.lazy("cosine_first", (b, 2 * half, rows), first_stage), columns)
    product = Matmul()(Constant.lazy("cosine_second", (len(k2), 2 * b), second_stage), Reshape((0, 2 * b, -1))(planes))
    return Take(tuple(slots.tolist()))(Reshape((0, len(k2) * half, -1))(product))


def _rows(op: CosineTransform, b: int) -> int:
    return -(-(op.n // 2 + 1) // b)


def _second(op: CosineTransform, a: int, b: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The k2 that are wanted, and for every row k where it stands in (k2, k1)."""
    k = np.arange(op.start, op.end)
    k1, k2 = k % a, k // a
    mirrored = k1 > a // 2
    k1, k2 = np.where(mirrored, a - k1, k1), np.where(mirrored, b - 1 - k2, k2)
    wanted, place = np.unique(k2, return_inverse=True)
    return wanted, place * (a // 2 + 1) + k1


def _work(op: CosineTransform, a: int, b: int) -> float:
    """Multiply-adds of both stages for a frame, and a word of data moved between stages counted as several."""
    half = a // 2 + 1
    wanted = min(b, 2 * (-(-(op.end - op.start) // a) + 1))
    return 2 * b * half * _rows(op, b) + 2 * b * half * wanted + 12.0 * (2 * b * half + wanted * half)
