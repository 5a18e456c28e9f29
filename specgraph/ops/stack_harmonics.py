"""The harmonics of each bin of a logarithmic frequency axis, one above the other."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Shape
from specgraph.op import GraphError, Op
from specgraph.ops.cmvn import check_features
from specgraph.ops.frame_conv import check_positive


@dataclass(frozen=True, eq=False)
class StackHarmonics(Op):
    """(batch, bins, frames) -> (batch, harmonics, n_bins, frames): bin ``k + round(bins_per_octave * log2(h))`` for each h, zeros beyond.

    What ``HarmonicCQT`` takes from a transform of its own for each harmonic is taken here from one, to the nearest bin (Bittner and
    others, "A lightweight instrument-agnostic model for polyphonic note transcription and multipitch estimation", 2022).
    """

    linear = True

    harmonics: tuple[float, ...]
    bins_per_octave: int
    n_bins: int

    def __post_init__(self) -> None:
        check_positive(bins_per_octave=self.bins_per_octave, n_bins=self.n_bins)
        if not self.harmonics or not all(0 < h < math.inf for h in self.harmonics):
            raise GraphError(f"harmonics must be numbers above 0, one at least, not {self.harmonics!r}")

    @cached_property
    def _places(self) -> npt.NDArray[np.int64]:
        """(harmonics, n_bins): the bin that each takes."""
        shifts = np.round(self.bins_per_octave * np.log2(self.harmonics)).astype(np.int64)
        return shifts[:, None] + np.arange(self.n_bins)

    def _padding(self, bins: int) -> tuple[int, int]:
        """Bins of zeros below and above those that there are."""
        return max(-int(self._places.min()), 0), max(int(self._places.max()) + 1 - bins, 0)

    def infer(self, features: Shape) -> Shape:
        check_features(features)
        if not isinstance(features[1], int):
            raise GraphError("the number of bins must be a number")
        return features[0], len(self.harmonics), self.n_bins, features[2]

    def numpy(self, features):
        below, above = self._padding(features.shape[1])
        return np.pad(features, ((0, 0), (below, above), (0, 0)))[:, self._places + below]

    def torch(self, features):
        import torch
        from torch.nn import functional

        below, above = self._padding(features.shape[1])
        places = torch.tensor((self._places + below).ravel(), device=features.device)
        padded = functional.pad(features, (0, 0, below, above))
        return padded.index_select(1, places).unflatten(1, self._places.shape)

    def onnx(self, onnx, features):
        below, above = self._padding(onnx.shape(features)[1])
        padded = onnx.Pad(features, onnx.const([0, below, 0, 0, above, 0])) if below or above else features
        return onnx.Gather(padded, onnx.const(self._places + below), axis=1)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, *shapes, operations=0) + Cost(launches=1)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls((0.5, 1.0, 2.0, 3.0), 3, 8), ("batch", 12, "frames")
        yield cls((1.0, 1.5), 12, 5), ("batch", 12, "frames")
        yield cls((8.0,), 2, 3), ("batch", 4, "frames")
