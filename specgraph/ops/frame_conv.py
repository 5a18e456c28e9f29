"""Strided correlation of a signal with a bank of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, text
from specgraph.op import Array, GraphError, Op
from specgraph.reach import Reach

FEWEST_ROWS = 16  # of a matrix product below which the processor waits
FRAMES_AT_ONCE = 2**20  # samples of frames that the definition copies for one matrix product
MOST_OVERLAP = 8  # frames that a sample may lie in before copying frames costs torch too much memory


def frame_count(samples: int | Dim, width: int, hop: int) -> int | Dim:
    """How many frames of ``width`` samples, ``hop`` apart, lie within ``samples``."""
    frames = (samples - width) // hop + 1
    if isinstance(frames, int) and frames < 1:
        raise GraphError(f"a frame of {width} samples does not fit in {samples}")
    return frames


def check_signal(signal: Shape) -> None:
    """Raise unless ``signal`` is (batch, samples)."""
    if len(signal) != 2:
        raise GraphError(f"the signal must be (batch, samples), not {text(signal)}")


def check_positive(**numbers: int) -> None:
    """Raise unless every number is a positive int; the keyword is its name."""
    for name, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < 1:
            raise GraphError(f"{name} must be a whole number of at least 1, not {number!r}")


def frame_products(signal: Array, rows: Array, hop: int) -> Array:
    """(batch, samples) and (n, width) -> (batch, n, frames): inner products of every frame with every row.

    Frames are copied first: a matrix product of a strided view bypasses BLAS and is ten times slower.
    """
    frames = np.lib.stride_tricks.sliding_window_view(signal, rows.shape[1], axis=1)[:, ::hop]
    result = np.empty((len(signal), len(rows), frames.shape[1]))
    step = max(FRAMES_AT_ONCE // rows.shape[1], 1)
    for clip, products in zip(frames, result, strict=True):
        for start in range(0, len(clip), step):
            products[:, start : start + step] = rows @ np.ascontiguousarray(clip[start : start + step]).T
    return result


@dataclass(frozen=True, eq=False)
class FrameConv(Op):
    """(batch, samples) and kernels -> frame t is the inner product of ``x[t*hop : t*hop + width]`` with each kernel.

    Real kernels (bins, width) give (batch, bins, frames). Complex kernels are stored as their real and imaginary parts,
    (2, bins, width), are conjugated, and give (batch, bins, frames, 2): a DFT basis is ``window * exp(+2j*pi*k*n/N)``.
    """

    linear = True

    hop_length: int

    def __post_init__(self) -> None:
        check_positive(hop_length=self.hop_length)

    def infer(self, signal: Shape, kernels: Shape) -> Shape:
        check_signal(signal)
        is_complex = len(kernels) == 3 and kernels[0] == 2
        if len(kernels) != 2 and not is_complex:
            raise GraphError(f"kernels must be (bins, width), or (2, bins, width) for complex ones, not {text(kernels)}")
        bins, width = kernels[-2:]
        if not isinstance(width, int) or not isinstance(bins, int) or width < 1 or bins < 1:
            raise GraphError(f"the kernels' sizes must be numbers of at least 1, not {text(kernels)}")
        frames = frame_count(signal[1], width, self.hop_length)
        return (signal[0], bins, frames, 2) if is_complex else (signal[0], bins, frames)

    def numpy(self, signal, kernels):
        if kernels.ndim == 2:
            return frame_products(signal, kernels, self.hop_length)
        real, imaginary = np.split(frame_products(signal, kernels.reshape(-1, kernels.shape[-1]), self.hop_length), 2, axis=1)
        return np.stack([real, -imaginary], -1)

    def torch(self, signal, kernels):
        import torch
        from torch.nn import functional

        width, bins = kernels.shape[-1], kernels.shape[-2]
        few = width <= MOST_OVERLAP * self.hop_length
        if few and kernels.requires_grad and torch.is_grad_enabled():
            from specgraph.frame_product import FrameProduct

            product = FrameProduct.apply(signal, kernels, self.hop_length)
            result = product.transpose(1, 2)
        else:
            weights = torch.cat([kernels[0], -kernels[1]]) if kernels.ndim == 3 else kernels
            # Copies every sample width / hop times, is as fast as conv1d, and sums six times more accurately.
            if few:
                result = (signal.unfold(-1, width, self.hop_length) @ weights.T).transpose(1, 2)
            else:
                result = functional.conv1d(signal[:, None], weights[:, None], stride=self.hop_length)
        return result.unflatten(1, (2, bins)).permute(0, 2, 3, 1) if kernels.ndim == 3 else result

    def onnx(self, onnx, signal, kernels):
        # Complex kernels never come here: the rewrite ``real_kernels`` has made them real ones.
        return onnx.Conv(onnx.unsqueezed(signal, 1), onnx.unsqueezed(kernels, 1), strides=[self.hop_length])

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        # Frames are copied first, and a product with few rows takes as long as one with FEWEST_ROWS.
        bins, width, frames = shapes[1][-2], shapes[1][-1], out[0] * out[2]
        idle = Cost(matmul=float(max(FEWEST_ROWS - bins, 0) * width * frames))
        copied = Cost.windows(width * frames, self.hop_length)
        return Cost.contraction(width, out, *shapes) + copied + idle + Cost(held=4.0 * float(np.prod(shapes[1])))

    def reach(self, *shapes: Shape) -> Reach:
        width = shapes[1][-1]
        assert isinstance(width, int)
        return Reach(self.hop_length, 0, width - 1, width // 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        yield cls(hop_length=16), ("batch", "samples"), rng.standard_normal((7, 40))
        yield cls(hop_length=3), ("batch", "samples"), rng.standard_normal((4, 10))
        yield cls(hop_length=60), ("batch", "samples"), rng.standard_normal((2, 5, 1))
        yield cls(hop_length=7), ("batch", "samples"), rng.standard_normal((2, 5, 33))
