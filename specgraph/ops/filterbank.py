"""A filterbank: every output bin is a weighted sum of input bins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op


@dataclass(frozen=True, eq=False)
class Filterbank(Op):
    """(batch, bins, frames), bank (filters, bins) -> (batch, filters, frames): mel filters, a DCT, chroma, ..."""

    linear = True

    def infer(self, features: Shape, bank: Shape) -> Shape:
        if len(bank) != 2 or len(features) != 3:
            raise GraphError(f"takes features (batch, bins, frames) and a bank (filters, bins), not {text(features)} and {text(bank)}")
        if features[1] != bank[1]:
            raise GraphError(f"the bank has {bank[1]} columns and the features have {features[1]} bins")
        return features[0], bank[0], features[2]

    def numpy(self, features, bank):
        return np.matmul(bank, features)

    def torch(self, features, bank):
        return bank @ features

    def onnx(self, onnx, features, bank):
        return onnx.MatMul(bank, features)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.contraction(shapes[1][1], out, *shapes) + Cost(held=4.0 * math.prod(shapes[1]))

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", 9, "frames"), np.random.default_rng(0).standard_normal((4, 9))
