"""Essentia: its algorithms called for each frame, as its Python interface has it."""

from __future__ import annotations

from typing import Any

from specgraph.bench.work import Ready, Work, peer


@peer(
    "Essentia",
    package="essentia",
    computes=("spectrogram", "mel"),
    note="one frame after another in Python, padded by numpy; set to a periodic Hann window and Slaney's filters",
)
def essentia(work: Work) -> Ready:
    """``FrameGenerator``, ``Windowing``, ``Spectrum`` and ``MelBands``."""
    import essentia
    import numpy as np

    essentia.log.infoActive = False
    from essentia import standard

    t = work.transform
    window = standard.Windowing(size=t.n_fft, type="hann", normalized=False, zeroPhase=False, symmetric=False)
    spectrum = standard.Spectrum(size=t.n_fft)
    steps: list[Any] = [window, spectrum]
    if work.subject.name == "mel":
        steps.append(
            standard.MelBands(
                inputSize=t.n_fft // 2 + 1, sampleRate=t.sample_rate, numberBands=t.n_mels, lowFrequencyBound=t.fmin,
                highFrequencyBound=t.highest, weighting="linear", normalize="unit_tri", warpingFormula="slaneyMel", type="power",
            )
        )  # fmt: skip

    def frame(samples: Any) -> Any:
        for step in steps:
            samples = step(samples)
        return samples

    def clip(wave: Any) -> Any:
        padded = np.pad(wave, t.n_fft // 2, mode="reflect")
        frames = standard.FrameGenerator(padded, frameSize=t.n_fft, hopSize=t.hop, startFromZero=True, validFrameThresholdRatio=1)
        return np.stack([frame(one) for one in frames], 1)

    return Ready(lambda waves: np.stack([clip(wave) for wave in waves]))
