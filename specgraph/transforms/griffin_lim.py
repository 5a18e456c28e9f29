"""From magnitudes back to a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specgraph.op import Input, Value
from specgraph.ops import griffin_lim
from specgraph.ops.pad import PadMode
from specgraph.transforms.base import at_least, at_most, parameter
from specgraph.transforms.inverse_spectrogram import InversionTransform

MOST_ITERATIONS = 200


@dataclass(frozen=True, kw_only=True)
class GriffinLim(InversionTransform):
    """A clip whose spectrogram has the magnitudes given, by Griffin and Lim's iteration.

    Input ``features`` (batch, n_fft // 2 + 1, frames), magnitudes; output ``waveforms`` (batch, samples):
    ``hop_length * (frames - 1)`` samples where centred, ``n_fft + hop_length * (frames - 1)`` where not, or ``length``. The
    iteration of Griffin and Lim (1984), accelerated by ``momentum`` (Perraudin, Balazs and Sondergaard, 2013), is that of
    ``librosa.griffinlim``. The phases it begins at are the same every time, a fixed sequence without order that is computed
    for any number of frames, where librosa draws random ones; it comes as near to the magnitudes as librosa does in as many
    iterations. A centred clip needs at least 2 frames. The file holds the iterations one after another.
    """

    command: ClassVar[str] = "griffin-lim"

    pad_mode: PadMode = parameter("reflect", "how the clip is padded in every iteration (librosa's own default is constant)")
    n_iter: int = parameter(32, "iterations")
    momentum: float = parameter(0.99, "acceleration, from 0 (none) to 1")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_iter")
        at_most(self, MOST_ITERATIONS, "n_iter")
        at_least(self, 0, "momentum")
        at_most(self, 1, "momentum")

    def input(self) -> Input:
        return self.framed_input()

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        op = griffin_lim.GriffinLim(
            self.n_fft,
            self.hop,
            self.win_length,
            self.window,
            self.center,
            self.pad_mode,
            self.n_iter,
            self.momentum,
            self.length,
        )
        return op(wave)
