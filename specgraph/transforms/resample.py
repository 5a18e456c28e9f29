"""Another sample rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from specgraph.design.resample import Method
from specgraph.graph import About
from specgraph.op import GraphError, Value
from specgraph.ops import resample as ops
from specgraph.transforms.base import Transform, at_least, parameter


@dataclass(frozen=True, kw_only=True)
class Resample(Transform):
    """Waveforms at another sample rate, by any ratio of whole numbers.

    (batch, samples) -> (batch, ceil(samples * new_freq / sample_rate)), the output being named ``resampled``, as onnx-asr's
    resamplers name theirs: a name of its own, so that the file can be merged in front of a model that takes ``waveforms``.
    Windowed-sinc interpolation, equal to ``torchaudio.transforms.Resample(sample_rate, new_freq, ...)`` with the same
    parameters (torchaudio rounds filters and lengths to float32); tested against its formula in float64, and against
    ``scipy.signal.resample_poly`` and soxr on tones. Sample m of the output is at the time of input sample
    ``m * sample_rate / new_freq``; outside the clip there are zeros. A clip of one sample or more will do.

    Trainable part: ``fir``, the filters, (new, width) in lowest terms of the ratio, zeros included.
    """

    command: ClassVar[str] = "resample"
    trainable_parts: ClassVar[tuple[str, ...]] = ("fir",)
    output_name: ClassVar[str] = "resampled"

    new_freq: int = parameter(16000, "samples a second of the output, in hertz")
    lowpass_filter_width: int = parameter(6, "zero crossings of the sinc to each side: sharper, and more to compute")
    rolloff: float = parameter(0.99, "cut-off, as a fraction of the lower rate's Nyquist frequency")
    resampling_method: Method = parameter("sinc_interp_hann", "the sinc's window: Hann or Kaiser")
    beta: float | None = parameter(None, "shape of the Kaiser window; none: 14.77")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "new_freq", "lowpass_filter_width")
        try:
            self.op()
        except GraphError as error:
            raise ValueError(f"sample_rate and new_freq: {error}") from None

    def op(self, trainable: bool = False) -> ops.Resample:
        """The op that it is."""
        return ops.Resample(
            self.sample_rate,
            self.new_freq,
            self.lowpass_filter_width,
            self.rolloff,
            self.resampling_method,
            self.beta,
            trainable,
        )

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        return self.op("fir" in trainable)(wave)

    def about(self) -> About:
        return About("amplitude")
