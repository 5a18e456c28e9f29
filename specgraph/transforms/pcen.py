"""Per-channel energy normalisation of a mel spectrogram."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Add, Divide, Multiply
from specgraph.ops.elementwise import Exponential, Power
from specgraph.ops.layout import Reshape, Take
from specgraph.ops.log import Log
from specgraph.ops.near_zero import ExpMinusOne, LogOnePlus
from specgraph.ops.smooth import Smooth
from specgraph.ops.smooth_bands import SmoothBands
from specgraph.transforms.base import MOST_EXPONENT, at_least, at_most, parameter
from specgraph.transforms.mel import MelTransform


@dataclass(frozen=True, kw_only=True)
class PCEN(MelTransform):
    """Per-channel energy normalisation: a mel spectrogram with automatic gain and a compression, in each band.

    (batch, samples) -> (batch, n_mels, frames). With S the mel spectrogram times ``scale`` and M its smoothing
    ``M[t] = b S[t] + (1 - b) M[t - 1]``, M[-1] = 1, it is ``(S / (eps + M) ** gain + bias) ** power - bias ** power``; for bias 0
    without bias, and for power 0 ``log(1 + S / (eps + M) ** gain)``. Equal to ``librosa.pcen(S, ...)`` with the same
    ``pad_mode``. librosa's ``power`` keeps its name here; the exponent of the magnitude before the filters is ``mel_power``,
    1 for the magnitude that librosa's example takes. The formula is Wang et al.'s (Trainable Frontend for Robust and
    Far-Field Keyword Spotting, 2017). Silence gives zeros.

    Trainable parts: ``fourier``, ``window`` and ``window_shape``, as ``Spectrogram`` has them; ``mel``, ``centres`` and
    ``bandwidths``, as ``MelSpectrogram`` has them; ``pcen``, (3, n_mels), the logarithms of gain, bias and power (the paper's
    alpha, delta and r) in each band, so that these stay positive; ``smoothing``, (n_mels,), the logits ``log(b / (1 - b))`` of
    the smoothing b (its s) in each band, so that it stays between 0 and 1.
    """

    command: ClassVar[str] = "pcen"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "mel", "pcen", "window", "smoothing")

    exponent_name: ClassVar[str] = "mel_power"

    power: float = parameter(0.5, "exponent of the compression; 0: a logarithm")
    mel_power: float = parameter(2.0, "exponent of the magnitude before the filters")
    scale: float = parameter(1.0, "factor of the mel spectrogram; librosa advises 2 ** 31 for waveforms within -1 ... 1")
    gain: float = parameter(0.98, "exponent of the smoothed energy that is divided by")
    bias: float = parameter(2.0, "added before the compression")
    time_constant: float = parameter(0.4, "seconds that the smoothing takes")
    eps: float = parameter(1e-6, "added to the smoothed energy")
    b: float | None = parameter(None, "coefficient of the smoothing, above 0 and at most 1; none: from time_constant")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "power", "gain", "bias")
        at_most(self, MOST_EXPONENT, "power", "gain")
        for name in ("scale", "time_constant", "eps"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.b is not None and not 0 < self.b <= 1:
            raise ValueError(f"b must be above 0 and at most 1, not {self.b}; none takes it from time_constant")

    @property
    def coefficient(self) -> float:
        """``b`` or what stands for it: the smoothing whose squared response is half as high at ``time_constant``'s frequency."""
        if self.b is not None:
            return self.b
        frames = self.time_constant * self.sample_rate / self.hop
        return 2 / (1 + math.sqrt(1 + 4 * frames**2))

    def _parameters(self, trainable: bool) -> tuple[Value, Value, Value, Value]:
        """-gain, bias, power and bias ** power: numbers, or (n_mels, 1), trained for each band from logarithms."""
        gain, bias, power = self.gain, self.bias, self.power
        if not trainable:
            made = {"falling": -gain, "bias": bias, "power": power, "offset": bias**power}
            falling, bias_, power_, offset = (Constant.of(name, np.array(value)) for name, value in made.items())
            return falling, bias_, power_, offset
        if not (gain > 0 and bias > 0 and power > 0):
            raise ValueError(f"gain, bias and power must be above 0 to be trained, not {gain}, {bias} and {power}")
        logarithms = np.repeat(np.log([[gain], [bias], [power]]), self.n_mels, axis=1)
        rows = Reshape((3, self.n_mels, 1))(Constant.of("pcen", logarithms, trainable=True))
        log_gain, log_bias, log_power = (Reshape((self.n_mels, 1))(Take((row,), axis=0)(rows)) for row in range(3))
        exponent = Exponential()(log_power)
        falling = Multiply()(Exponential()(log_gain), Constant.of("falling", np.array(-1.0)))
        return falling, Exponential()(log_bias), exponent, Exponential()(Multiply()(exponent, log_bias))

    def smoothed(self, mel: Value, trainable: bool) -> Value:
        """(batch, n_mels, frames) -> M, by one coefficient or by a trained one in each band."""
        b = self.coefficient
        if not trainable:
            return Smooth(b)(mel)
        if b == 1:
            raise ValueError("b must be below 1 for the smoothing to be trained, not 1")
        logits = Constant.of("smoothing", np.full(self.n_mels, math.log(b / (1 - b))), trainable=True)
        one, minus = Constant.of("one", np.array(1.0)), Constant.of("minus", np.array(-1.0))
        return SmoothBands()(mel, Divide()(one, Add()(one, Exponential()(Multiply()(logits, minus)))))

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        mel = self.mel(wave, trainable)
        if self.scale != 1:
            mel = Multiply()(mel, Constant.of("scale", np.array(self.scale)))
        falling, bias, power, offset = self._parameters("pcen" in trainable)
        level = Log(amin=0.0, offset=self.eps)(self.smoothed(mel, "smoothing" in trainable))
        even = Multiply()(mel, Exponential()(Multiply()(level, falling)))
        if self.power == 0:
            return LogOnePlus()(even)
        if self.bias == 0:
            return Power(self.power)(even)
        grown = ExpMinusOne()(Multiply()(LogOnePlus()(Divide()(even, bias)), power))
        return Multiply()(grown, offset)

    def about(self) -> About:
        return About("PCEN", "", self.centres())
