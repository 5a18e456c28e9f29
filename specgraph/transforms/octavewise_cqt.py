"""The constant-Q transform as it was computed before: one octave of kernels over a signal that is halved again and again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from specgraph.design.constant_q import Normalization
from specgraph.design.windows import WindowSpec
from specgraph.graph import About
from specgraph.op import GraphError, Value
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.octavewise_constant_q import OctavewiseConstantQ
from specgraph.ops.pad import PadMode
from specgraph.ops.phase import Phase
from specgraph.transforms.base import Transform, at_least, at_most, check_exponents, parameter
from specgraph.transforms.constant_q import C1, LONGEST_KERNEL, MOST_BINS
from specgraph.transforms.spectrogram import LONGEST_FRAME


@dataclass(frozen=True, kw_only=True)
class OctavewiseCQT(Transform):
    """Constant-Q transform by the kernels of the highest octave alone, over the signal at a half, a quarter, ... of its rate.

    (batch, samples) -> (batch, n_bins, 1 + samples // hop_length): ``magnitude ** power``; the angle in radians for ``output="phase"``; and
    for ``output="complex"`` (batch, n_bins, frames, 2). Equal to nnAudio's ``CQT2010v2(earlydownsample=False)``, with which models such
    as basic-pitch were trained. It is 3 to 15 % of the peak away from ``CQT``, which is what it approximates and what a model that is
    trained anew should take. A clip needs a sample of the lowest octave, ``2 ** (octaves - 1)``; where it has fewer there than
    half a frame, the signal is mirrored more than once (nnAudio pads by zeros then).

    Trainable part: ``cqt``, the kernels of the octave, (2, bins_per_octave, width), which all octaves share.
    """

    command: ClassVar[str] = "octavewise-cqt"
    trainable_parts: ClassVar[tuple[str, ...]] = ("cqt",)

    hop_length: int = parameter(512, "samples from one frame to the next; a multiple of 2 ** (octaves - 1)")
    fmin: float = parameter(C1, "frequency of the lowest bin, in hertz")
    n_bins: int = parameter(84, "bins")
    bins_per_octave: int = parameter(12, "bins for each doubling of the frequency")
    filter_scale: float = parameter(1.0, "length of the kernels; below 1 sharper in time and less so in frequency")
    norm: float | None = parameter(1.0, "order of the norm that is 1 for every kernel before scaling; none: not normalised")
    window: WindowSpec = parameter("hann", "a window of scipy.signal.get_window (periodic)")
    pad_mode: PadMode = parameter("reflect", "how the signal of every octave is padded")
    normalization: Normalization = parameter(
        "librosa", "scale of a bin: librosa: the root of its kernel's length; convolutional: 1; wrap: 2, a unit sine gives 1"
    )
    output: Literal["magnitude", "complex", "phase"] = parameter("magnitude", "what to give of each bin")
    power: float = parameter(1.0, "exponent of the magnitude")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "hop_length", "n_bins", "bins_per_octave")
        at_most(self, MOST_BINS, "n_bins", "bins_per_octave")
        at_most(self, LONGEST_FRAME, "hop_length")
        check_exponents(self, "power")
        try:
            op = self.op(frozenset())
        except GraphError as error:
            raise ValueError(str(error)) from None
        if op.lengths[0] > LONGEST_KERNEL:
            raise ValueError(f"the lowest bin, {self.fmin:g} Hz, has a kernel of {op.lengths[0]:.0f} samples, and {LONGEST_KERNEL} are allowed; raise fmin")
        op.kernels()  # designs them, and so refuses an unknown window

    def op(self, trainable: frozenset[str]) -> OctavewiseConstantQ:
        """The op that computes the complex bins."""
        return OctavewiseConstantQ(
            sample_rate=float(self.sample_rate),
            hop_length=self.hop_length,
            fmin=self.fmin,
            n_bins=self.n_bins,
            bins_per_octave=self.bins_per_octave,
            filter_scale=self.filter_scale,
            window=self.window,
            norm=self.norm,
            normalization=self.normalization,
            pad_mode=self.pad_mode,
            trainable="cqt" in trainable,
        )

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        bins = self.op(trainable)(wave)
        if self.output == "complex":
            return bins
        return Phase()(bins) if self.output == "phase" else Magnitude(self.power)(bins)

    def about(self) -> About:
        quantity = self.output if self.power == 1 or self.output != "magnitude" else f"magnitude ** {self.power:g}"
        return About(quantity, "rad" if self.output == "phase" else "", tuple(self.op(frozenset()).centres.tolist()))
