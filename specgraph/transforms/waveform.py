"""The waveform itself, made comparable between clips."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from specgraph.graph import About
from specgraph.op import Value
from specgraph.ops.standardize import Standardize
from specgraph.transforms.base import Transform, at_least, parameter


@dataclass(frozen=True, kw_only=True)
class StandardizedWaveform(Transform):
    """Waveform with zero mean and unit variance, as wav2vec 2.0 and its relatives take it.

    (batch, samples) -> (batch, samples): ``(x - mean) / sqrt(variance + epsilon)`` over the whole clip, the variance being the
    population's. Silence gives zeros.
    """

    command: ClassVar[str] = "standardized-waveform"

    epsilon: float = parameter(1e-7, "added to the variance")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "epsilon")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value | Mapping[str, Value]:
        return Standardize(epsilon=self.epsilon)(wave)

    def about(self) -> About:
        return About("standardized waveform", axes=("batch", "samples"))
