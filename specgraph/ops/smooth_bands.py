"""First-order smoothing over frames with a coefficient for each band, a value, so that it can be trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op, Value
from specgraph.ops.lengths import Mask
from specgraph.ops.smooth import FORGOTTEN, Smooth, onnx_smoothed, torch_smoothed
from specgraph.reach import Reach

BLOCK = 16  # frames that one matrix product smooths: every band has a matrix of its own, in the file and in memory


@dataclass(frozen=True, eq=False)
class SmoothBands(Op):
    """(batch, bins, frames), coefficients (bins,) -> (batch, bins, frames): ``Smooth`` with a coefficient for each bin.

    Coefficients are above 0 and at most 1.
    """

    initial: float = 1.0

    def infer(self, features: Shape, coefficients: Shape) -> Shape:
        if len(features) != 3 or coefficients != (features[1],):
            raise GraphError(
                f"takes features (batch, bins, frames) and a coefficient for each bin, not {text(features)} and {text(coefficients)}"
            )
        return features

    @property
    def settling(self) -> int:
        """As many frames as a coefficient of PCEN's default needs: the coefficients themselves are an operand."""
        return 500

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        features, coefficients = operands
        return self(Mask()(features, lengths(features)), coefficients)  # as ``Smooth``

    def numpy(self, features, coefficients):
        bands = [Smooth(float(b), self.initial).numpy(features[:, i]) for i, b in enumerate(coefficients)]
        return np.stack(bands, 1)

    def torch(self, features, coefficients):
        import torch

        steps = torch.arange(BLOCK, dtype=features.dtype, device=features.device)
        kept = (1 - coefficients).clamp_min(torch.finfo(features.dtype).tiny)
        log_kept = kept.log()[:, None]
        apart = steps - steps[:, None]
        within = coefficients[:, None, None] * (apart.clamp_min(0) * log_kept[..., None]).exp()
        fading = ((steps + 1) * log_kept).exp()
        blocks = -(-features.shape[-1] // BLOCK)
        count = max(blocks - 1, 0).bit_length()
        lefts = [(2**step, (BLOCK * 2**step * log_kept).exp()) for step in range(count)]
        return torch_smoothed(features, within.triu(), fading[:, None], lefts, self.initial)

    def onnx(self, onnx, features, coefficients):
        kept = 1.0 - onnx.array(coefficients).astype(np.float64)[:, None]
        apart = np.arange(BLOCK) - np.arange(BLOCK)[:, None]
        within = np.triu((1.0 - kept)[..., None] * kept[..., None] ** np.maximum(apart, 0.0))
        fading = kept[..., None] ** np.arange(1.0, BLOCK + 1)
        lefts, blocks, left = [], 1, kept**BLOCK
        while left.max() > FORGOTTEN:
            lefts.append((blocks, left))
            blocks, left = 2 * blocks, left * left
        return onnx_smoothed(onnx, features, within, fading, lefts, self.initial)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Smooth(0.02).cost(out, out)

    def reach(self, *shapes: Shape) -> Reach:
        return Smooth(1.0).reach(shapes[0])

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 5, "frames"), np.array([0.05, 0.6, 1.0, 0.01, 0.3])
        yield cls(initial=-3.0), ("batch", 1, "samples"), np.array([0.2])
