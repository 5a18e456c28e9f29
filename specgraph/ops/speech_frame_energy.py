"""Energy of frames that are prepared one by one, as Kaldi does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from specgraph.compound import Compound
from specgraph.design.windows import WindowSpec
from specgraph.dims import Shape
from specgraph.op import Array, Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.frame import Frame
from specgraph.ops.layout import Transpose
from specgraph.ops.reduce import Reduce
from specgraph.ops.speech_stft import SpeechStft
from specgraph.ops.speech_stft_lowerings import framed_samples
from specgraph.reach import Reach


@dataclass(frozen=True, eq=False)
class SpeechFrameEnergy(Compound):
    """(batch, samples) -> (batch, 1, frames): the sum of squares of frames less their mean, pre-emphasised and windowed, as in ``SpeechStft``."""

    win_length: int
    hop_length: int
    remove_mean: bool = True
    preemphasis: float = 0.0
    window: WindowSpec = "boxcar"

    def __post_init__(self) -> None:
        self.stft()

    def stft(self) -> SpeechStft:
        """The op whose frames these are."""
        return SpeechStft(self.win_length, self.hop_length, self.win_length, self.window, self.remove_mean, self.preemphasis)

    def infer(self, signal: Shape) -> Shape:
        batch, frames, _ = Frame(self.win_length, self.hop_length).infer(signal)
        return batch, 1, frames

    def numpy(self, signal):
        stft = self.stft()
        frames = stft.prepared(Frame(self.win_length, self.hop_length).numpy(signal)) * stft.samples
        return (frames * frames).sum(-1)[:, None]

    def carry(self, operands: list[Array], spread: list[Array | None], result: Array) -> Array | None:
        """The triangle inequality for a frame's root; taking the mean away makes no frame of errors longer."""
        if spread[0] is None:
            return None
        off = replace(self, remove_mean=False, preemphasis=0.0).numpy((1 + self.preemphasis) * spread[0])
        return (np.sqrt(result) + np.sqrt(off)) ** 2 - result

    def reach(self, *shapes: Shape) -> Reach:
        return Reach(self.hop_length, 0, self.win_length - 1, self.win_length // 2)

    @classmethod
    def examples(cls) -> Iterator[tuple]:
        yield cls(50, 20), ("batch", "samples")
        yield cls(31, 7, preemphasis=0.97, window="povey"), ("batch", "samples")
        yield cls(32, 8, remove_mean=False, preemphasis=0.97, window=("symmetric", "hamming")), ("batch", "samples")


@SpeechFrameEnergy.lowering
def framed(op: SpeechFrameEnergy, signal: Value) -> Value:
    """The frames, squared and summed."""
    stft = op.stft()
    frames = framed_samples(stft, signal)
    if op.window != "boxcar":
        frames = Multiply()(frames, Constant.lazy("window", (op.win_length,), lambda: stft.samples))
    return Transpose((0, 2, 1))(Reduce("sum", axis=2)(Multiply()(frames, frames)))
