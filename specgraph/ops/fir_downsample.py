"""A FIR filter that keeps every factor-th sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import Array, GraphError, Op, Value
from specgraph.ops.frame_conv import check_positive, check_signal
from specgraph.ops.layout import Slice
from specgraph.ops.pad import Pad
from specgraph.reach import Reach

LEAST_BLOCK = 32  # outputs


@dataclass(frozen=True, eq=False)
class FirDownsample(Op):
    """(batch, samples), taps (width,) -> (batch, ceil(samples / factor)), zeros outside the clip.

    Output m is ``np.convolve(x, taps)[m * factor + (width - 1) // 2]``. An odd number of taps is centred on input sample
    ``m * factor``; an even number is centred half a sample before it, and the graph's reach, and so a file's times, say so.
    """

    linear = True
    requires = "cuDNN"

    factor: int

    def __post_init__(self) -> None:
        check_positive(factor=self.factor)

    def infer(self, signal: Shape, taps: Shape) -> Shape:
        check_signal(signal)
        if len(taps) != 1 or taps[0] == 0:
            raise GraphError(f"the taps must be one row of numbers, not {text(taps)}")
        return signal[0], (signal[1] + (self.factor - 1)) // self.factor

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        signal, taps = operands
        (width,) = taps.shape
        assert isinstance(width, int)
        hop = self.block(width) * self.factor  # a block of outputs, of which some may be the clip's, reads whole rows of that
        count = -(-(hop + width - self.factor) // hop) * self.block(width)
        followed = Pad(0, count * self.factor, "constant")(signal, lengths(signal))
        return Slice(0, -count)(self(followed, taps))

    @staticmethod
    def _pads(width: int) -> tuple[int, int]:
        """Zeros before and after, for the reversed taps to slide over."""
        return width - 1 - (width - 1) // 2, (width - 1) // 2

    def numpy(self, signal, taps):
        width = len(taps)
        full = np.stack([np.convolve(row, taps) for row in signal])
        return full[:, (width - 1) // 2 : (width - 1) // 2 + signal.shape[1] : self.factor]

    def rounding(
        self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float
    ) -> Array:
        """``tolerance`` of the item's largest sum without signs: the taps may cancel the signal and leave its rounding."""
        signal, taps = (np.abs(operand) for operand in operands)
        most = self.numpy(signal, taps)
        own = np.broadcast_to(tolerance * most.max(1, keepdims=True, initial=0.0), result.shape)
        if all(off is None for off in spread):
            return own
        moved = (operand if off is None else operand + off for operand, off in zip((signal, taps), spread, strict=True))
        return own + self.numpy(*moved) - most

    def block(self, width: int) -> int:
        """How many outputs to compute by one matrix: enough for a fast product, and for its rows not to be mostly taps."""
        return max(LEAST_BLOCK, -(-width // (2 * self.factor)))

    def torch(self, signal, taps):
        import torch
        from torch.nn import functional

        # conv1d with one channel takes torch 200 times as long.
        width, outputs = taps.shape[0], self.block(taps.shape[0])
        hop, count, before = outputs * self.factor, -(-signal.shape[1] // self.factor), self._pads(taps.shape[0])[0]
        rows = torch.arange(hop + width - self.factor, device=taps.device)[:, None]
        place = rows - self.factor * torch.arange(outputs, device=taps.device)
        matrix = torch.where((place >= 0) & (place < width), taps.flip(0)[place.clamp(0, width - 1)], 0.0)
        total = -(-count // outputs) * hop + width - self.factor
        padded = functional.pad(signal, (before, total - before - signal.shape[1]))
        return (padded.unfold(-1, len(rows), hop) @ matrix).flatten(1)[:, :count]

    def onnx(self, onnx, signal, taps):
        # Only where no rewrite has put ``fir_blocks`` in its place, which is ten times as fast.
        array = onnx.array(taps)
        pads = list(self._pads(len(array)))
        kernel = onnx.const(array[::-1][None, None].copy())
        result = onnx.Conv(onnx.unsqueezed(signal, 1), kernel, strides=[self.factor], pads=pads)
        return onnx.Squeeze(result, onnx.const([1]))

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.contraction(shapes[1][0], out, *shapes)

    def reach(self, *shapes: Shape) -> Reach:
        width = shapes[1][0]
        assert isinstance(width, int)
        before, after = self._pads(width)
        return Reach(self.factor, -before, after, (after - before) / 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        rng = np.random.default_rng(0)
        for width, factor in ((31, 2), (32, 2), (7, 5), (1, 3), (2, 3), (501, 4), (8, 1)):
            yield cls(factor), ("batch", "samples"), rng.standard_normal(width)
