"""From a complex spectrogram back to the clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specgraph.design.windows import analysis_window, uncovered_samples
from specgraph.graph import About
from specgraph.op import Input, Value
from specgraph.ops.istft import Istft
from specgraph.transforms.base import at_least, at_most, parameter
from specgraph.transforms.spectrogram import LONGEST_CLIP, FramedTransform


@dataclass(frozen=True, kw_only=True)
class InversionTransform(FramedTransform):
    """A transform from frames to a clip."""

    output_name: ClassVar[str] = "waveforms"

    hop_length: int | None = parameter(None, "samples from one frame to the next; none: a quarter of the window")
    length: int | None = parameter(None, "samples of the clip; none: what the frames give, hop_length * (frames - 1) where centred")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "length")
        at_most(self, LONGEST_CLIP, "length")
        if uncovered := uncovered_samples(analysis_window(self.window, self.window_samples, self.n_fft), self.hop):
            raise ValueError(
                f"hop_length {self.hop} leaves {uncovered} of each {self.hop} samples without a window, of {self.window_samples} samples, that "
                "reaches them, and they would be lost; lower hop_length, or choose a longer window or one without zeros"
            )

    def framed_input(self, *parts: int) -> Input:
        """The input ``features`` (batch, n_fft // 2 + 1, frames), with an axis of ``parts`` if given."""
        sizes: tuple[int | str, ...] = ("batch", self.n_fft // 2 + 1, "frames", *parts)
        return Input("features", sizes, self.hop, 0 if self.center else self.n_fft // 2)

    def about(self) -> About:
        return About("waveform")


@dataclass(frozen=True, kw_only=True)
class InverseSpectrogram(InversionTransform):
    """Inverse short-time Fourier transform: a complex spectrogram back to the clip.

    Input ``features`` (batch, n_fft // 2 + 1, frames, 2), the real and imaginary parts; output ``waveforms`` (batch, samples):
    ``hop_length * (frames - 1)`` samples where centred (one more if n_fft is odd) and ``n_fft + hop_length * (frames - 1)`` where
    not, or ``length``. Windowed inverse DFTs are added and divided by the sum of squared windows, the least-squares inverse of
    Griffin and Lim (1984); equal to ``librosa.istft`` and ``torch.istft``. Near the ends
    of a clip that is not centred, what the window weighed with almost nothing comes back with almost no precision. Centred, a
    clip needs at least 2 frames unless ``length`` is given.

    Trainable part: ``fourier``, the windowed inverse basis, (2 (n_fft // 2 + 1), n_fft).
    """

    command: ClassVar[str] = "inverse-spectrogram"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier",)

    def input(self) -> Input:
        return self.framed_input(2)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        inverse = Istft(
            self.n_fft, self.hop, self.win_length, self.window, self.center, self.length, "fourier" in trainable
        )
        return inverse(wave)
