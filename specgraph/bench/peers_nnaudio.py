"""nnAudio: one convolution with the whole basis."""

from __future__ import annotations

from specgraph.bench.peers_torch import decibels, in_torch
from specgraph.bench.subjects import FOURIER
from specgraph.bench.work import Ready, Work, peer


@peer(
    "nnAudio",
    package="nnAudio",
    computes=FOURIER,
    devices=("cpu", "cuda"),
    note="features.STFT and features.MelSpectrogram; it has no logarithm, which torch adds",
)
def nnaudio(work: Work) -> Ready:
    """``nnAudio.features.STFT`` or ``MelSpectrogram``."""
    import torch
    from nnAudio import features

    t, subject = work.transform, work.subject.name
    common = {"n_fft": t.n_fft, "hop_length": t.hop, "pad_mode": "reflect", "verbose": False}
    if subject in ("stft", "spectrogram"):
        form = "Complex" if subject == "stft" else "Magnitude"
        return in_torch(features.STFT(output_format=form, **common), work)
    mel = features.MelSpectrogram(sr=t.sample_rate, n_mels=t.n_mels, fmin=t.fmin, fmax=t.fmax, **common)
    if subject == "mel":
        return in_torch(mel, work)

    class LogMel(torch.nn.Module):
        """Its mel spectrogram, in decibels."""

        def __init__(self) -> None:
            super().__init__()
            self.mel = mel

        def forward(self, waves: torch.Tensor) -> torch.Tensor:
            return decibels(self.mel(waves))

    return in_torch(LogMel(), work)
