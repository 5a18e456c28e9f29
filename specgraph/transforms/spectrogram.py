"""Spectrogram, and what all transforms that begin with one share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from specgraph.design.fourier import bin_frequencies, scaled_frequencies, tuned_basis, windowed_basis
from specgraph.design.windows import Align, WindowSpec, analysis_window
from specgraph.graph import About
from specgraph.op import Constant, Value
from specgraph.ops.arithmetic import Multiply
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import Take
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad, PadMode
from specgraph.ops.phase import Phase
from specgraph.ops.stft import Stft
from specgraph.ops.windowed_stft import WindowedStft, in_frame
from specgraph.transforms.base import Transform, at_least, at_most, check_exponents, check_size, parameter
from specgraph.transforms.smooth_parts import shaped_window

LONGEST_CLIP = 2**26  # samples that a clip is cut or filled up to: 25 minutes at 44.1 kHz
LONGEST_FRAME = 2**20  # samples; far above any use, and where designing a basis would exhaust the memory


@dataclass(frozen=True, kw_only=True)
class FramedTransform(Transform):
    """A transform to or from windowed frames."""

    n_fft: int = parameter(2048, "samples of a frame")
    win_length: int | None = parameter(None, "samples of the window, centred in the frame; none: n_fft")
    hop_length: int | None = parameter(512, "samples from one frame to the next; none: a quarter of the window")
    window: WindowSpec = parameter("hann", "a window of scipy.signal.get_window (periodic), ('symmetric', one of those), povey, or win_length samples")
    center: bool = parameter(True, "frame t is centred on sample t * hop_length: n_fft // 2 samples are padded at both ends")

    def check(self) -> None:
        super().check()
        at_least(self, 1, "n_fft", "win_length", "hop_length")
        at_most(self, LONGEST_FRAME, "n_fft", "win_length", "hop_length")
        if self.win_length is not None and self.win_length > self.n_fft:
            raise ValueError(f"win_length {self.win_length} is longer than n_fft {self.n_fft}; raise n_fft to {self.win_length}")
        if self.hop < 1:
            raise ValueError(f"a window of {self.window_samples} samples has no quarter to hop by; set hop_length")
        analysis_window(self.window, self.window_samples, self.n_fft)

    @property
    def window_samples(self) -> int:
        """``win_length`` or what stands for it."""
        return self.n_fft if self.win_length is None else self.win_length

    @property
    def hop(self) -> int:
        """``hop_length`` or what stands for it."""
        return self.window_samples // 4 if self.hop_length is None else self.hop_length

    def bins(self) -> tuple[float, ...]:
        """The frequencies of the spectrum's bins, in hertz."""
        return tuple(bin_frequencies(self.sample_rate, self.n_fft).tolist())


@dataclass(frozen=True, kw_only=True)
class FourierTransform(FramedTransform):
    """A transform that begins with a short-time Fourier transform."""

    trainable_parts: ClassVar[tuple[str, ...]] = ("fourier", "window")
    smooth_parts: ClassVar[Mapping[str, str]] = {"window_shape": "window"}

    pad_mode: PadMode = parameter("reflect", "how the clip is padded (librosa's own default is constant)")

    @property
    def alignment(self) -> Align:
        """Where a window that is shorter than the frame stands in it."""
        return "center"

    def padded(self, wave: Value) -> Value:
        """The clip with what centring adds to it, or with what a frame reads after a window at its start."""
        if self.alignment == "start" and self.n_fft > self.window_samples:
            return Pad(0, self.n_fft - self.window_samples, "constant")(wave)
        return Pad(self.n_fft // 2, mode=self.pad_mode)(wave) if self.center else wave

    def spectrum(self, wave: Value, trainable: frozenset[str]) -> Value:
        """(batch, samples) -> (batch, n_fft // 2 + 1, frames, 2)."""
        window = self.trained_window(trainable)
        if window is None:
            stft = Stft(self.n_fft, self.hop, self.win_length, self.window, "fourier" in trainable, self.alignment)
            return stft(self.padded(wave))
        if "fourier" not in trainable:
            return WindowedStft(self.n_fft, self.hop, self.alignment)(self.padded(wave), window)
        shape = (2, self.n_fft // 2 + 1, self.n_fft)
        bare = Constant.lazy("fourier", shape, lambda: windowed_basis(np.ones(self.n_fft)), trainable=True)
        return self.tuned(wave, bare, window)

    def trained_window(self, trainable: frozenset[str]) -> Value | None:
        """(win_length,): the window, where it or its shape is trained."""
        if "window_shape" in trainable:
            return shaped_window(self.window, self.window_samples)
        if "window" not in trainable:
            return None
        return Constant.of("window", analysis_window(self.window, self.window_samples, self.window_samples), trainable=True)

    def tuned(self, wave: Value, kernels: Value, window: Value | None) -> Value:
        """(batch, samples) -> (batch, bins, frames, 2) by ``kernels`` (2, bins, n_fft), times a window if one is given."""
        if window is not None:
            kernels = Multiply()(kernels, in_frame(WindowedStft(self.n_fft, self.hop, self.alignment), window))
        return FrameConv(self.hop)(self.padded(wave), kernels)


@dataclass(frozen=True, kw_only=True)
class Spectrogram(FourierTransform):
    """Short-time Fourier transform: magnitude, power, complex or phase, at the DFT's frequencies or at others.

    (batch, samples) -> (batch, n_fft // 2 + 1, frames), and for ``output="complex"`` (batch, n_fft // 2 + 1, frames, 2), the
    real and imaginary parts. Equal to ``librosa.stft`` with the same ``pad_mode``: ``frames = 1 + samples // hop_length``
    where centred. ``output="magnitude"`` is ``abs(X) ** power``, ``"power"`` is ``abs(X) ** 2``, ``"phase"`` the angle in
    radians, in (-pi, pi], 0 where the magnitude is 0. Not centred, a clip needs at least ``n_fft`` samples.

    ``freq_scale`` other than ``"no"`` gives ``freq_bins`` bins from ``fmin`` up to ``fmax``, which itself is never reached, as
    nnAudio's ``STFT`` has them: bin k of ``"linear"`` is at ``fmin + k (fmax - fmin) / freq_bins`` Hz, and of ``"log"`` at
    ``fmin (fmax / fmin) ** (k / freq_bins)``; ``"log2"`` is another name for the same bins. Every bin has the same window,
    and so the same bandwidth. With ``"no"``, ``freq_bins`` keeps that many of the lowest bins.

    Trainable parts: ``fourier``, the windowed basis, (2, n_fft // 2 + 1 or freq_bins, n_fft), which beside a trained window is the
    basis without it; ``window``, its win_length samples, before a fixed basis; ``window_shape``, the few numbers that the window
    is made of: amplitudes of cosines, four at least, for hann, hamming, blackman, nuttall, blackmanharris, flattop and boxcar,
    and the logarithm of the width of ``("gaussian", width)``. A trained window is exported as a window, with an FFT's lowerings.
    """

    command: ClassVar[str] = "spectrogram"

    hop_length: int | None = parameter(None, "samples from one frame to the next; none: a quarter of the window")
    output: Literal["magnitude", "power", "complex", "phase"] = parameter("magnitude", "what to give of each bin")
    power: float = parameter(1.0, "exponent of the magnitude, for output magnitude")
    freq_scale: Literal["no", "linear", "log", "log2"] = parameter("no", "no: the DFT's bins; others: bins from fmin to fmax")
    freq_bins: int | None = parameter(None, "bins; none: n_fft // 2 + 1")
    fmin: float | None = parameter(None, "frequency of the lowest bin of a scale, in hertz; none: 50")
    fmax: float | None = parameter(None, "frequency that a scale ends below, in hertz; none: 6000 or half the sample rate")

    def check(self) -> None:
        super().check()
        check_exponents(self, "power")
        if self.power != 1 and self.output != "magnitude":
            raise ValueError(f"power {self.power} goes with output magnitude; output {self.output} has no exponent to choose")
        at_least(self, 1, "freq_bins")
        if self.freq_scale == "no":
            at_most(self, self.n_fft // 2 + 1, "freq_bins")
            for name in ("fmin", "fmax"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} {getattr(self, name):g} goes with freq_scale linear or log; the DFT's bins are where they are")
            return
        at_most(self, LONGEST_FRAME, "freq_bins")
        low, high = self.limits
        if low < 0 or (low == 0 and self.freq_scale != "linear"):
            raise ValueError(f"fmin must be {'at least' if self.freq_scale == 'linear' else 'above'} 0, not {low:g}")
        if high > self.sample_rate / 2:
            raise ValueError(
                f"fmax {high:g} Hz is above half the sample rate, {self.sample_rate / 2:g} Hz; lower it or set fmax=None"
            )
        if low >= high:
            raise ValueError(f"fmin {low:g} Hz is not below fmax {high:g} Hz")
        check_size(self, 2 * len(self.bins()) * self.n_fft, "freq_bins", "n_fft")

    @property
    def limits(self) -> tuple[float, float]:
        """``fmin`` and ``fmax`` or what stands for them, nnAudio's defaults."""
        high = min(6000.0, self.sample_rate / 2) if self.fmax is None else self.fmax
        return 50.0 if self.fmin is None else self.fmin, high

    def bins(self) -> tuple[float, ...]:
        if self.freq_scale == "no":
            return super().bins()[: self.freq_bins]
        count = self.n_fft // 2 + 1 if self.freq_bins is None else self.freq_bins
        return tuple(scaled_frequencies(*self.limits, count, logarithmic=self.freq_scale != "linear").tolist())

    def spectrum(self, wave: Value, trainable: frozenset[str]) -> Value:
        if self.freq_scale == "no":
            spectrum = super().spectrum(wave, trainable)
            return spectrum if self.freq_bins is None else Take(tuple(range(self.freq_bins)))(spectrum)
        turns = np.array(self.bins()) / self.sample_rate
        window = self.trained_window(trainable)
        width = self.window_samples
        spec = self.window if window is None else np.ones(width)
        kernels = Constant.lazy(
            "fourier",
            (2, len(turns), self.n_fft),
            lambda: tuned_basis(turns, analysis_window(spec, width, self.n_fft)),
            "fourier" in trainable,
        )
        return self.tuned(wave, kernels, window)

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        spectrum = self.spectrum(wave, trainable)
        if self.output == "complex":
            return spectrum
        if self.output == "phase":
            return Phase()(spectrum)
        return Magnitude(2.0 if self.output == "power" else self.power)(spectrum)

    def about(self) -> About:
        quantity = self.output if self.power == 1 else f"magnitude ** {self.power:g}"
        return About(quantity, "rad" if self.output == "phase" else "", self.bins())
