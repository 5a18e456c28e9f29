"""Audio files: read, mixed to mono, resampled, with a record of what was done; and made signals to try things on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import soundfile

BLOCK = 2**18  # samples of a channel that are decoded at once
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")


class AudioError(ValueError):
    """A file that holds no audio which can be read."""


@dataclass(frozen=True)
class Audio:
    """A clip as a model takes it, and what the file held."""

    samples: npt.NDArray[np.float32]  # (samples,), mono
    sample_rate: int
    file_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        """The clip's duration."""
        return len(self.samples) / self.sample_rate

    @property
    def changes(self) -> str:
        """What was done to the file's samples, or nothing."""
        done = []
        if self.channels > 1:
            done.append(f"mixed {self.channels} channels to mono")
        if self.file_rate != self.sample_rate:
            done.append(f"resampled from {self.file_rate} to {self.sample_rate} Hz")
        return ", ".join(done)


def read_audio(path: str | Path, sample_rate: int) -> Audio:
    """Read a file that libsndfile reads (wav, flac, ogg, mp3, ...), mixed to mono by the mean, at ``sample_rate``.

    Samples are float32; integer formats are divided by their full scale. Resampling is soxr's HQ.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        AudioError: it is empty, not audio, damaged, without samples, or has samples that are not finite.
    """
    import soundfile

    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not an audio file")
    if path.stat().st_size == 0:
        raise AudioError(f"{path} is empty (0 bytes)")
    try:
        with soundfile.SoundFile(path) as file:
            file_rate, channels = file.samplerate, file.channels
            mono = np.concatenate([np.zeros(0, np.float32), *_mono(file, sample_rate)])
            read = file.tell()
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise AudioError(f"{path} cannot be read as audio ({reason}); give wav, flac, ogg or mp3") from None
    if read == 0:
        raise AudioError(f"{path} has a header and no samples")
    if not np.isfinite(mono).all():
        raise AudioError(f"{path} has samples that are not finite")
    if len(mono) == 0:
        raise AudioError(f"{path} is too short to resample from {file_rate} to {sample_rate} Hz")
    return Audio(mono, sample_rate, file_rate, channels)


def _mono(file: soundfile.SoundFile, sample_rate: int) -> Iterator[npt.NDArray[np.float32]]:
    """The mean of a file's channels at ``sample_rate``, block by block: all channels of an hour at once would be gigabytes."""
    stream = None
    if file.samplerate != sample_rate:
        import soxr

        stream = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        mono = block[:, 0] if file.channels == 1 else block.mean(axis=1)
        ended = len(block) < BLOCK
        yield mono if stream is None else stream.resample_chunk(np.ascontiguousarray(mono), last=ended)
        if ended:
            return


def audio_files(paths: list[Path]) -> list[tuple[Path, Path]]:
    """(file, its name relative to the folder or list it came from) for files and, in order, all audio below folders."""
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if path.is_dir():
            below = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
            found += [(file, file.relative_to(path)) for file in below]
        else:
            found.append((path, Path(path.name)))
    return found


def demo_signals(sample_rate: int = 16000) -> dict[str, npt.NDArray[np.float32]]:
    """A chord, a sweep and noise bursts, (samples,) each, the same at every call."""
    rng = np.random.default_rng(0)

    def seconds(duration: float) -> npt.NDArray[np.float64]:
        return np.arange(int(duration * sample_rate)) / sample_rate

    t = seconds(2.0)
    chord = np.zeros_like(t)
    for i, root in enumerate((220.0, 277.18, 329.63, 440.0)):  # A major, arpeggiated, each tone with decaying harmonics
        start = 0.15 * i
        since = np.maximum(t - start, 0.0)
        for harmonic in range(1, 7):
            chord += (t >= start) * np.exp(-since * (0.8 + 0.5 * harmonic)) * np.sin(2 * np.pi * harmonic * root * since) / harmonic
    t = seconds(1.5)
    low, high = 80.0, 0.45 * sample_rate
    growth = np.log(high / low) / t[-1]
    sweep = np.sin(2 * np.pi * low * np.expm1(growth * t) / growth)
    t = seconds(1.5)
    bursts = rng.standard_normal(len(t)) * ((t % 0.25) < 0.08) * np.exp(-(t % 0.25) * 25)
    made = {"chord": 0.25 * chord, "sweep": 0.5 * sweep, "bursts": 0.2 * bursts}
    return {name: np.clip(wave, -1, 1).astype(np.float32) for name, wave in made.items()}
