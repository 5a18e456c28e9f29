"""The waveform itself: made comparable between clips, or in frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from specgraph.graph import About
from specgraph.op import Value
from specgraph.ops.affine import Affine
from specgraph.ops.frame import Frame
from specgraph.ops.pad import Pad, PadMode
from specgraph.ops.standardize import Standardize
from specgraph.transforms.base import Transform, at_least, at_most, parameter
from specgraph.transforms.spectrogram import LONGEST_FRAME


@dataclass(frozen=True, kw_only=True)
class Waveform(Transform):
    """Waveform as it is, as networks take it that learn from samples.

    (batch, samples) -> (batch, samples), the same numbers. It is a front end for what comes before one: ``specgraph.with_input`` of it
    makes 16-bit samples, several channels or another rate what such a model takes, and with lengths samples beyond a clip's end are zeros.
    """

    command: ClassVar[str] = "waveform"

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value | Mapping[str, Value]:
        return Affine()(wave)

    def about(self) -> About:
        return About("waveform", axes=("batch", "samples"))


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


@dataclass(frozen=True, kw_only=True)
class WaveformFrames(Transform):
    """Overlapping frames of the waveform, as networks take them that learn from samples.

    (batch, samples) -> (batch, frames, frame_length): ``frames = 1 + samples // hop_length`` where centred and ``frame_length`` is
    even. Frames are not windowed.
    """

    command: ClassVar[str] = "frames"

    frame_length: int = parameter(1024, "samples of a frame")
    hop_length: int = parameter(160, "samples from one frame to the next")
    center: bool = parameter(True, "frame t is centred on sample t * hop_length: frame_length // 2 samples are padded at both ends")
    pad_mode: PadMode = parameter("constant", "how the clip is padded")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "frame_length", "hop_length")
        at_most(self, LONGEST_FRAME, "frame_length", "hop_length")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value | Mapping[str, Value]:
        padded = Pad(self.frame_length // 2, mode=self.pad_mode)(wave) if self.center else wave
        return Frame(self.frame_length, self.hop_length)(padded)

    def about(self) -> About:
        return About("frames of the waveform", axes=("batch", "frames", "places"))
