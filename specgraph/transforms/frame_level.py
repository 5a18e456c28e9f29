"""Descriptors of a frame's samples, without a spectrum: root mean square and zero-crossing rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Divide, Multiply
from specgraph.ops.elementwise import Power
from specgraph.ops.frame import Frame
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Transpose
from specgraph.ops.pad import Pad, PadMode
from specgraph.ops.reduce import Reduce
from specgraph.ops.zero_crossings import ZeroCrossings
from specgraph.transforms.base import Transform, at_least, at_most, parameter
from specgraph.transforms.spectrogram import LONGEST_FRAME


@dataclass(frozen=True, kw_only=True)
class FrameTransform(Transform):
    """A descriptor of the samples of each frame: (batch, 1, frames)."""

    frame_length: int = parameter(2048, "samples of a frame")
    hop_length: int = parameter(512, "samples from one frame to the next")
    center: bool = parameter(True, "frame t is centred on sample t * hop_length: frame_length // 2 samples are padded at both ends")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "frame_length", "hop_length")
        at_most(self, LONGEST_FRAME, "frame_length", "hop_length")

    def padded(self, wave: Value, mode: PadMode) -> Value:
        """The clip with what centring adds."""
        return Pad(self.frame_length // 2, mode=mode)(wave) if self.center else wave


@dataclass(frozen=True, kw_only=True)
class RMS(FrameTransform):
    """Root mean square of the samples of each frame.

    (batch, samples) -> (batch, 1, frames), in the unit of the waveform. Equal to ``librosa.feature.rms(y=...)`` with the same
    ``pad_mode``. Not centred, a clip needs at least ``frame_length`` samples. Silence gives 0, with a gradient of 0.
    """

    command: ClassVar[str] = "rms"

    pad_mode: PadMode = parameter("reflect", "how the clip is padded (librosa's own default is constant)")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        padded = self.padded(wave, self.pad_mode)
        squares = Frame(self.frame_length, self.hop_length)(Multiply()(padded, padded))
        return Power(0.5)(Transpose((0, 2, 1))(Reduce("mean", axis=2)(squares)))

    def about(self) -> About:
        return About("root mean square")


@dataclass(frozen=True, kw_only=True)
class ZeroCrossingRate(FrameTransform):
    """Zero-crossing rate: the share of a frame's samples at which the sign changes.

    (batch, samples) -> (batch, 1, frames), between 0 and 1. Equal to ``librosa.feature.zero_crossing_rate``: the ends of the clip
    are repeated, a sample within ``threshold`` of zero is zero, and zero counts as positive unless ``zero_pos=False``, which
    makes it a sign of its own. The result is a count, so that no gradient flows. Not centred, a clip needs at least
    ``frame_length`` samples. Silence gives 0.
    """

    command: ClassVar[str] = "zero-crossing-rate"

    threshold: float = parameter(1e-10, "magnitude up to which a sample is zero")
    zero_pos: bool = parameter(True, "zero counts as positive; else as a sign of its own")

    def check(self) -> None:
        super().check()
        at_least(self, 2, "frame_length")
        at_least(self, 0, "threshold")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        crossings = ZeroCrossings(self.threshold, self.zero_pos)(self.padded(wave, "edge"))
        following = Constant.of("following", np.ones((1, self.frame_length - 1)))  # the first sample follows none of its frame
        counted = FrameConv(self.hop_length)(crossings, following)
        return Divide()(counted, Constant.of("frame_length", np.array(float(self.frame_length))))

    def about(self) -> About:
        return About("zero-crossing rate")
