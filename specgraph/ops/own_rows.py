"""What stands behind the clips of a ragged batch kept out, a row of samples at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.cost import Cost
from specgraph.dims import Shape, text
from specgraph.op import GraphError, Op
from specgraph.ops.frame_numbers import frame_numbers
from specgraph.ops.layout import check_lengths


@dataclass(frozen=True, eq=False)
class OwnRows(Op):
    """(batch, rows, size), lengths (batch,) in rows -> the same, with a clip's first row in place of those beyond its length.

    What follows reads those with weights of zero, which a number that is not finite outlives. Whole rows are copied: a mask over their
    elements takes three times as long.
    """

    linear = True
    lengths_at = 1

    def infer(self, rows: Shape, lengths: Shape) -> Shape:
        if len(rows) != 3:
            raise GraphError(f"takes rows of samples (batch, rows, size), not {text(rows)}")
        check_lengths(rows, lengths)
        return rows

    def numpy(self, rows, lengths):
        number = np.arange(rows.shape[1])
        return np.take_along_axis(rows, np.where(number < lengths[:, None], number, 0)[..., None], 1)

    def torch(self, rows, lengths):
        import torch

        number = torch.arange(rows.shape[1], device=rows.device)
        places = torch.where(number < lengths[:, None], number, 0)
        return rows.gather(1, places[..., None].expand(-1, -1, rows.shape[2]))

    def onnx(self, onnx: Any, rows: Any, lengths: Any) -> Any:
        number, _ = frame_numbers(onnx, rows, 1)
        within = onnx.Less(number, onnx.Unsqueeze(lengths, onnx.const([1])))
        places = onnx.Where(within, number, onnx.const(np.int64(0)))
        return onnx.GatherND(rows, onnx.Unsqueeze(places, onnx.const([2])), batch_dims=1)

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        return Cost.elementwise(out, out, operations=0) + Cost(launches=6)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(), ("batch", "frames", 5), ("batch",)
