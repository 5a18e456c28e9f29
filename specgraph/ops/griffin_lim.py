"""A clip from magnitudes alone, by Griffin and Lim's iteration."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from specgraph.compound import Compound
from specgraph.design.windows import WindowSpec
from specgraph.dims import Shape, text
from specgraph.op import Array, Constant, GraphError, Value
from specgraph.ops.arithmetic import Multiply, Subtract
from specgraph.ops.frame_conv import check_positive
from specgraph.ops.istft import Istft
from specgraph.ops.pad import Pad, PadMode
from specgraph.ops.replace_magnitude import ReplaceMagnitude
from specgraph.ops.starting_phase import StartingPhase
from specgraph.ops.stft import Stft
from specgraph.reach import WHOLE_CLIP, Reach

TRIALS = 4  # perturbed runs that tell how well determined a result is; each perturbation is some ten times what float32 makes
SETTLED = 0.1  # of a clip's peak: where perturbed runs end farther apart, the iteration has gone to another solution


@dataclass(frozen=True, eq=False)
class GriffinLim(Compound):
    """(batch, n_fft // 2 + 1, frames) magnitudes -> (batch, samples).

    Griffin and Lim's (1984) iteration, accelerated (Perraudin, Balazs and Sondergaard, 2013) as in ``librosa.griffinlim``:
    inverse STFT, STFT, less ``momentum / (1 + momentum)`` of the spectrum before, with the magnitudes put back. It begins at
    ``StartingPhase``'s phases. ``length`` cuts or fills the result.
    """

    n_fft: int
    hop_length: int
    win_length: int | None = None
    window: WindowSpec = "hann"
    center: bool = True
    pad_mode: PadMode = "reflect"
    n_iter: int = 32
    momentum: float = 0.99
    length: int | None = None

    def __post_init__(self) -> None:
        check_positive(n_iter=self.n_iter)
        if not 0 <= self.momentum <= 1:
            raise GraphError(f"momentum must be from 0 to 1, not {self.momentum!r}")

    @cached_property
    def inverse(self) -> Istft:
        """From a spectrum to as many samples as give that many frames again."""
        return Istft(self.n_fft, self.hop_length, self.win_length, self.window, self.center)

    @cached_property
    def last(self) -> Istft:
        """From a spectrum to the result."""
        return Istft(self.n_fft, self.hop_length, self.win_length, self.window, self.center, self.length)

    @cached_property
    def forward(self) -> tuple[Pad | Stft, ...]:
        """From samples to a spectrum."""
        stft = Stft(self.n_fft, self.hop_length, self.win_length, self.window)
        return (Pad(self.n_fft // 2, mode=self.pad_mode), stft) if self.center else (stft,)

    def infer(self, magnitude: Shape) -> Shape:
        if len(magnitude) != 3 or magnitude[1] != self.inverse.bins:
            raise GraphError(f"takes magnitudes (batch, {self.inverse.bins}, frames), not {text(magnitude)}")
        self.inverse.infer((*magnitude, 2))
        return self.last.infer((*magnitude, 2))

    def numpy(self, magnitude):
        return self._iterated(magnitude, lambda spectrum: spectrum)

    def _iterated(self, magnitude: Array, rounded: Callable[[Array], Array]) -> Array:
        """The iteration, ``rounded`` being applied to each spectrum that it computes."""
        spectrum, before = StartingPhase().numpy(magnitude), None
        for _ in range(self.n_iter):
            rebuilt = self.inverse.numpy(spectrum)
            for op in self.forward:
                rebuilt = op.numpy(rebuilt)
            rebuilt = rounded(rebuilt)
            ahead = rebuilt if before is None else rebuilt - self.momentum / (1 + self.momentum) * before
            spectrum, before = ReplaceMagnitude().numpy(ahead, magnitude), rebuilt
        return self.last.numpy(spectrum)

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array:
        """By how much float32 may differ: by as much as magnitudes, and the spectra of every iteration, off by ``tolerance`` of
        their peak would change the item.

        Where a perturbed run ends at another solution, the magnitudes do not determine the clip. Any solution is as good then, and two of
        them differ by no more than the sum of their peaks.

        The iteration widens small differences, by how much depends on the clip, and where a frame is symmetric, as padding
        by reflection makes the outer ones, a bin's phase has two values and jumps. Float32 must be as near as the exact
        result is for what float32 makes of each step.
        """
        magnitude, rng = operands[0], np.random.default_rng(0)
        off = tolerance * magnitude.max(axis=(1, 2), keepdims=True, initial=0.0)
        off = np.broadcast_to(off if spread[0] is None else off + spread[0], magnitude.shape)

        def rounded(spectrum: Array) -> Array:
            peak = np.maximum(spectrum.max(axis=(1, 2, 3), keepdims=True), -spectrum.min(axis=(1, 2, 3), keepdims=True))
            return spectrum + tolerance * peak * _signs(rng, spectrum.shape)

        change, peak = np.zeros((len(result), 1)), np.abs(result).max(axis=1, keepdims=True, initial=0.0)
        for _ in range(TRIALS if off.any() else 0):  # one by one, they stay in the processor's cache
            moved = self._iterated(magnitude + off * _signs(rng, off.shape), rounded)
            change = np.maximum(change, np.abs(moved - result).max(axis=1, keepdims=True, initial=0.0))
            peak = np.maximum(peak, np.abs(moved).max(axis=1, keepdims=True, initial=0.0))
        change = np.where(change > SETTLED * peak, 2 * peak, change)
        return np.broadcast_to(change, result.shape)

    def reach(self, *shapes: Shape) -> Reach:
        return WHOLE_CLIP

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(16, 4, n_iter=1), ("batch", 9, "frames")
        yield cls(24, 6, win_length=20, window="hamming", n_iter=2, momentum=0.0), ("batch", 13, "frames")
        yield cls(15, 4, window="hamming", center=False, n_iter=2), ("batch", 8, "frames")


def _signs(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """-1 or 1 at random, as int8: ``rng.choice`` takes ten times as long."""
    count = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(rng.bytes(-(-count // 8)), np.uint8), count=count)
    return 2 * bits.view(np.int8).reshape(shape) - 1


@GriffinLim.lowering
def unrolled(op: GriffinLim, magnitude: Value) -> Value:
    """The iterations one after another."""
    momentum = Constant.of("momentum", op.momentum / (1 + op.momentum))
    spectrum, before = StartingPhase()(magnitude), None
    for _ in range(op.n_iter):
        rebuilt = op.inverse(spectrum)
        for step in op.forward:
            rebuilt = step(rebuilt)
        ahead = rebuilt if before is None else Subtract()(rebuilt, Multiply()(before, momentum))
        spectrum, before = ReplaceMagnitude()(ahead, magnitude), rebuilt
    return op.last(spectrum) if op.length is not None else op.inverse(spectrum)
