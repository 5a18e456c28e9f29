"""librosa: numpy's FFT."""

from __future__ import annotations

from typing import Any

from specgraph.bench.subjects import FOURIER
from specgraph.bench.work import Ready, Work, peer


@peer(
    "librosa",
    package="librosa",
    computes=FOURIER,
    note="feature.melspectrogram designs its filters anew in every call, as it does for its users",
)
def librosa(work: Work) -> Ready:
    """``librosa.stft`` or ``librosa.feature.melspectrogram``, with ``pad_mode="reflect"``."""
    import librosa as library
    import numpy as np

    t, subject = work.transform, work.subject.name
    common = {"n_fft": t.n_fft, "hop_length": t.hop, "pad_mode": "reflect"}

    def stft(waves: Any) -> Any:
        return library.stft(waves, **common)

    def mel(waves: Any) -> Any:
        return library.feature.melspectrogram(
            y=waves, sr=t.sample_rate, n_mels=t.n_mels, fmin=t.fmin, fmax=t.fmax, **common
        )

    calls = {
        "stft": stft,
        "spectrogram": lambda waves: np.abs(stft(waves)),
        "mel": mel,
        "log-mel": lambda waves: library.power_to_db(mel(waves), top_db=None),
    }
    return Ready(calls[subject])
