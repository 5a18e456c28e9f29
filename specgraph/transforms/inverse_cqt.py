"""From complex constant-Q or variable-Q bins back to the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specgraph.graph import About
from specgraph.op import Input, Value
from specgraph.ops.constant_q_inverse import InverseConstantQ
from specgraph.transforms.base import at_least, at_most, parameter
from specgraph.transforms.constant_q import ConstantQTransform

MOST_ITERATIONS = 100


@dataclass(frozen=True, kw_only=True)
class InverseCQT(ConstantQTransform):
    """Inverse constant-Q transform: complex bins back to the clip.

    Input ``features`` (batch, n_bins, frames, 2), the real and imaginary parts that ``CQT`` or ``VQT`` (``gamma``) with the same
    parameters gives; output ``waveforms`` (batch, (frames - 1) * hop_length): what lies between ``fmin`` and the top bin. By
    dual kernels, and ``n_iter - 1`` times more of what the result's own transform still misses. How near it comes depends on
    how far apart frames are beside the highest bin's kernel, whose length is about ``sample_rate / (0.06 f)`` samples at 12 bins
    an octave: measured on noise in the band covered (22050 Hz, 131 to 3951 Hz, onnxruntime), signal to noise is 110 dB in
    that band and 62 dB in all where the hop is a sixth of that kernel, 103 and 53 at a quarter, 83 and 43 at a third, 34 and 24
    at a half, 7 and 7 at 1.3 kernels. Farther apart the bins do not hold the signal, and steady tones come back, the rest does not;
    ``librosa.icqt`` is under the same law. A clip needs at least 2 frames.
    """

    command: ClassVar[str] = "inverse-cqt"
    output_name: ClassVar[str] = "waveforms"
    trainable_parts: ClassVar[tuple[str, ...]] = ()

    hop_length: int = parameter(64, "samples from one frame to the next; a third of the highest bin's kernel or less")
    gamma: float = parameter(0.0, "hertz by which every bin of the VQT is wider; 0: CQT")
    n_iter: int = parameter(3, "iterations; each is an inverse and, but for the first, a transform")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "gamma")
        at_least(self, 1, "n_iter")
        at_most(self, MOST_ITERATIONS, "n_iter")

    @property
    def bandwidth_offset(self) -> float:
        """``gamma``."""
        return self.gamma

    def input(self) -> Input:
        return Input("features", ("batch", self.n_bins, "frames", 2), self.hop_length)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return InverseConstantQ(**self.op(trainable).parameters, n_iter=self.n_iter)(wave)

    def about(self) -> About:
        return About("waveform")
