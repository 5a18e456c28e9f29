"""Constant-Q and variable-Q transforms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from specgraph.design.constant_q import Convention, Normalization, equivalent_gamma
from specgraph.design.windows import WindowSpec
from specgraph.graph import About
from specgraph.op import GraphError, Value
from specgraph.ops.constant_q import Algorithm, ConstantQ
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import PadMode
from specgraph.ops.phase import Phase
from specgraph.transforms.base import Transform, at_least, at_most, parameter
from specgraph.transforms.spectrogram import LONGEST_FRAME

C1 = 440.0 * 2 ** (-45 / 12)  # Hz
LONGEST_KERNEL = 2**22  # samples; a minute and a half at 44.1 kHz
MOST_BINS = 4096
MOST_BINS_SHIFTED = 100  # by tuning


@dataclass(frozen=True, kw_only=True)
class ConstantQTransform(Transform):
    """A transform that begins with constant-Q or variable-Q bins."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("cqt",)
    algorithm: ClassVar[Algorithm] = "auto"

    hop_length: int = parameter(512, "samples from one frame to the next; frame t is centred on sample t * hop_length")
    fmin: float = parameter(C1, "frequency of the lowest bin, in hertz")
    n_bins: int = parameter(84, "bins")
    bins_per_octave: int = parameter(12, "bins for each doubling of the frequency")
    tuning: float = parameter(0.0, "shift of all bins, as a fraction of a bin")
    filter_scale: float = parameter(1.0, "length of the kernels; below 1 sharper in time and less so in frequency")
    norm: float | None = parameter(1.0, "order of the norm that is 1 for every kernel before scaling; none: not normalised")
    window: WindowSpec = parameter("hann", "a window of scipy.signal.get_window (periodic)")
    pad_mode: PadMode = parameter("reflect", "how the clip is padded (librosa's own default is constant)")
    normalization: Normalization = parameter(
        "librosa", "scale of a kernel: librosa: the root of its length; convolutional: 1; wrap: 2, a unit sine gives 1"
    )
    convention: Convention = parameter("librosa", "whose quality factor and kernel lengths: librosa's, or nnAudio's CQT1992v2's")
    tolerance: float = parameter(2e-4, "error that computing at lower rates may make, as a fraction of the peak")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "hop_length", "n_bins", "bins_per_octave")
        at_most(self, MOST_BINS, "n_bins", "bins_per_octave")
        at_least(self, 1e-6, "tolerance")  # float32 holds no more
        at_most(self, 0.1, "tolerance")
        at_most(self, LONGEST_FRAME, "hop_length")
        at_least(self, -MOST_BINS_SHIFTED, "tuning")
        at_most(self, MOST_BINS_SHIFTED, "tuning")
        try:
            op = self.op(frozenset())
        except GraphError as error:
            raise ValueError(str(error)) from None
        if op.lengths[0] > LONGEST_KERNEL:
            raise ValueError(
                f"the lowest bin, {op.centres[0]:g} Hz, has a kernel of {op.lengths[0]:.0f} samples, and {LONGEST_KERNEL} are allowed; "
                "raise fmin, or lower bins_per_octave or filter_scale"
            )
        assert op.bank  # designs the kernels, and so refuses an unknown window

    @property
    def bandwidth_offset(self) -> float:
        """``gamma`` in hertz; 0 for constant Q."""
        return 0.0

    def op(self, trainable: frozenset[str]) -> ConstantQ:
        """The op that computes the complex bins."""
        return ConstantQ(
            sample_rate=float(self.sample_rate),
            hop_length=self.hop_length,
            fmin=self.fmin * 2.0 ** (self.tuning / self.bins_per_octave),
            n_bins=self.n_bins,
            bins_per_octave=self.bins_per_octave,
            gamma=self.bandwidth_offset,
            filter_scale=self.filter_scale,
            window=self.window,
            norm=self.norm,
            normalization=self.normalization,
            convention=self.convention,
            pad_mode=self.pad_mode,
            tolerance=self.tolerance,
            algorithm="auto" if "cqt" in trainable else self.algorithm,
            trainable="cqt" in trainable,
        )


@dataclass(frozen=True, kw_only=True)
class CQT(ConstantQTransform):
    """Constant-Q transform: bins in geometric progression, each as long as its pitch needs.

    (batch, samples) -> (batch, n_bins, 1 + samples // hop_length): the magnitude; the angle in radians for
    ``output="phase"``; and for ``output="complex"`` (batch, n_bins, frames, 2), the real and imaginary parts. Any clip of one
    sample or more works: the padding repeats. Each bin is the inner product with the conjugate of a kernel of
    ``specgraph.design.constant_q``; those of ``convention="librosa"`` are ``librosa.filters.wavelet``'s and those of
    ``"nnaudio"`` are CQT1992v2's, to which magnitude and complex output are equal, in its three normalisations. The
    exported file computes each bin at the lowest sample rate that keeps its error within ``tolerance`` of the peak;
    ``prefer={"ConstantQ": "grouped"}`` has it exact. ``librosa.cqt`` itself differs by up to 60 % of the peak:
    its resampling halves the highest bin of an octave, and for kernels of odd length its window is a sample off.

    Trainable part: ``cqt``, the kernels, (2, n_bins, width).
    """

    command: ClassVar[str] = "cqt"

    output: Literal["magnitude", "complex", "phase"] = parameter("magnitude", "what to give of each bin")

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        bins = self.op(trainable)(wave)
        if self.output == "complex":
            return bins
        return Phase()(bins) if self.output == "phase" else Magnitude(1.0)(bins)

    def about(self) -> About:
        unit = "rad" if self.output == "phase" else ""
        return About(self.output, unit, tuple(self.op(frozenset()).centres.tolist()))


@dataclass(frozen=True, kw_only=True)
class VQT(CQT):
    """Variable-Q transform: a constant-Q transform whose low bins are wider, and so quicker, by ``gamma`` hertz.

    (batch, samples) -> as ``CQT``. Kernels are ``filter_scale / alpha * sample_rate / (f + gamma / alpha)`` long
    (Schoerkhuber and others, 2014), those of ``librosa.filters.wavelet`` with the same ``gamma``; none, as there, is the ear's
    ``alpha * 24.7 / 0.108``.

    Trainable part: ``cqt``, the kernels, (2, n_bins, width).
    """

    command: ClassVar[str] = "vqt"

    gamma: float | None = parameter(None, "hertz by which every bin is wider; 0: constant Q; none: the ear's critical bands")

    def check(self) -> None:
        at_least(self, 0, "gamma")
        super().check()

    @property
    def bandwidth_offset(self) -> float:
        """``gamma`` or what stands for it."""
        return equivalent_gamma(self.bins_per_octave, self.convention) if self.gamma is None else self.gamma


@dataclass(frozen=True, kw_only=True)
class CQT1992(CQT):
    """Constant-Q transform by kernels in the frequency domain, after a Fourier transform: lowering ``spectral``.

    As ``CQT``. Trainable part: ``cqt``.
    """

    command: ClassVar[str] = "cqt1992"
    algorithm: ClassVar[Algorithm] = "spectral"


@dataclass(frozen=True, kw_only=True)
class CQT1992v2(CQT):
    """Constant-Q transform by one convolution with kernels in the time domain: lowering ``direct``.

    As ``CQT``. Trainable part: ``cqt``.
    """

    command: ClassVar[str] = "cqt1992v2"
    algorithm: ClassVar[Algorithm] = "direct"


@dataclass(frozen=True, kw_only=True)
class CQT2010(CQT):
    """Constant-Q transform at many sample rates, low bins at low ones: lowering ``multirate``.

    As ``CQT``. Trainable part: ``cqt``.
    """

    command: ClassVar[str] = "cqt2010"
    algorithm: ClassVar[Algorithm] = "multirate"


@dataclass(frozen=True, kw_only=True)
class CQT2010v2(CQT2010):
    """Constant-Q transform at many sample rates, low bins at low ones: lowering ``multirate``.

    As ``CQT``; nnAudio's CQT2010 and CQT2010v2 differ in where their kernels are applied, which is one lowering here.
    Trainable part: ``cqt``.
    """

    command: ClassVar[str] = "cqt2010v2"
