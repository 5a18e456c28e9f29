"""The subjects that begin with a Fourier transform: stft, spectrogram, mel, log-mel."""

from __future__ import annotations

import re
from typing import Any

from specgraph.bench.work import Subject, subject

SIZES = ("400/160", "512/160", "1024/256", "2048/512", "4096/1024", "2048/441")
FOURIER = ("stft", "spectrogram", "mel", "log-mel")
PAPER = "2048/512@44100"  # of the accuracy section of the nnAudio paper, with its 128 mel filters


def parameters(size: str) -> dict[str, Any]:
    """``"1024/256"``, n_fft and hop, or ``"1024/256@16000"`` with the sample rate, as parameters of a transform."""
    found = re.fullmatch(r"(\d+)/(\d+)(?:@(\d+))?", size)
    if not found:
        raise ValueError(f"a size is n_fft/hop_length, or n_fft/hop_length@sample_rate, such as 1024/256, not {size!r}")
    n_fft, hop, rate = int(found[1]), int(found[2]), found[3]
    usual = 16000 if n_fft <= 512 else 22050 if n_fft <= 1024 else 44100
    return {"n_fft": n_fft, "hop_length": hop, "sample_rate": int(rate) if rate else usual, "pad_mode": "reflect"}


def filters(size: str) -> dict[str, Any]:
    """The parameters of a mel spectrogram."""
    given = parameters(size)
    return given | {"n_mels": 80 if given["n_fft"] <= 512 else 128, "allow_empty_filters": True}


def _stft(size: str) -> Any:
    from specgraph import Spectrogram

    return Spectrogram(output="complex", **parameters(size))


def _spectrogram(size: str) -> Any:
    from specgraph import Spectrogram

    return Spectrogram(**parameters(size))


def _mel(size: str) -> Any:
    from specgraph import MelSpectrogram

    return MelSpectrogram(**filters(size))


def _log_mel(size: str) -> Any:
    from specgraph import LogMelSpectrogram

    return LogMelSpectrogram(top_db=None, **filters(size))


ALIKE = "periodic Hann window, frames centred, reflected at the ends: every library was given these"
subject(Subject("mel", "mel power spectrogram", SIZES, _mel, accuracy=PAPER, convention=f"{ALIKE}; Slaney's mel filters, power"))
subject(Subject("spectrogram", "magnitude of the STFT", SIZES, _spectrogram, accuracy=PAPER, convention=f"{ALIKE}; magnitude"))
subject(Subject("log-mel", "mel power spectrogram in decibels, without top_db", SIZES, _log_mel, unit="dB"))
subject(Subject("stft", "complex STFT", SIZES, _stft, accuracy=PAPER, convention=f"{ALIKE}; real and imaginary parts"))
