"""What cepstral transforms share: normalisation over the clip, and derivatives over frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from specgraph.op import Value
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.concat import Concat
from specgraph.ops.delta import Delta, DeltaMode
from specgraph.ops.sliding_cmvn import SlidingCmvn
from specgraph.transforms.base import Transform, at_least, parameter


@dataclass(frozen=True, kw_only=True)
class CepstralTransform(Transform):
    """A transform whose coefficients may be normalised over the clip and followed by their derivatives."""

    cmvn: Literal["none", "utterance", "sliding"] = parameter(
        "none", "take each coefficient's mean away and make its deviation 1, over the clip or a sliding window (Kaldi's)"
    )
    norm_vars: bool = parameter(True, "for cmvn: normalise the variance too, not only the mean")
    cmvn_window: int = parameter(600, "for cmvn sliding: frames of the window")
    min_cmvn_window: int = parameter(100, "for cmvn sliding, not centred: frames of the window at the beginning of a clip")
    cmvn_center: bool = parameter(False, "for cmvn sliding: the window is around the frame; else it ends at the frame")
    deltas: int = parameter(0, "orders of derivatives over frames that follow the coefficients, on the same axis")
    delta_width: int = parameter(9, "frames that a derivative is taken over, odd")
    delta_mode: DeltaMode = parameter("interp", "interp, nearest: librosa's, by its treatment of the ends; regression: Kaldi's")

    def check(self) -> None:
        super().check()
        at_least(self, 0, "deltas")
        at_least(self, 1, "cmvn_window", "min_cmvn_window")
        at_least(self, 3, "delta_width")
        if self.delta_width % 2 == 0:
            raise ValueError(f"delta_width must be odd, not {self.delta_width}; a derivative is centred on its frame")
        if self.deltas >= self.delta_width:
            raise ValueError(f"{self.deltas} orders of deltas need a delta_width of more frames than {self.delta_width}")
        if self.cmvn == "sliding" and not self.cmvn_center and self.min_cmvn_window > self.cmvn_window:
            raise ValueError(f"min_cmvn_window {self.min_cmvn_window} is more than the {self.cmvn_window} frames of cmvn_window")

    def finished(self, cepstra: Value) -> Value:
        """(batch, n, frames) -> (batch, n * (1 + deltas), frames): normalised first, as in Kaldi's recipes."""
        if self.cmvn == "utterance":
            cepstra = Cmvn(self.norm_vars)(cepstra)
        elif self.cmvn == "sliding":
            cepstra = SlidingCmvn(self.cmvn_window, self.min_cmvn_window, self.cmvn_center, self.norm_vars)(cepstra)
        orders = range(1, self.deltas + 1)
        derivatives = [Delta(self.delta_width, order, self.delta_mode)(cepstra) for order in orders]
        return Concat(axis=1)(cepstra, *derivatives) if derivatives else cepstra

    def unit(self, unit: str) -> str:
        """The unit of the coefficients after normalisation."""
        return "" if self.cmvn != "none" and self.norm_vars else unit
