"""Audio files: read, mixed to mono, resampled, with a record of what was done; and made signals to try things on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import soundfile

BLOCK = 2**18  # samples of a channel that are decoded at once
SIXTEEN_BITS = ("PCM_16", "PCM_S8", "PCM_U8")  # what libsndfile calls formats of 16 bits and fewer
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")


class AudioError(ValueError):
    """A file that holds no audio which can be read."""


@dataclass(frozen=True)
class Audio:
    """A clip as a model takes it, and what the file held."""

    samples: npt.NDArray[Any]  # (samples,), or of several channels (channels, samples); float32, or int16
    sample_rate: int
    file_rate: int
    channels: int  # of the file
    rounded: bool = False  # to 16 bits, from what is not a multiple of their last one

    @property
    def seconds(self) -> float:
        """The clip's duration."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def changes(self) -> str:
        """What was done to the file's samples, or nothing."""
        done = []
        wanted = len(self.samples) if self.samples.ndim > 1 else 1
        if self.channels not in (1, wanted):
            done.append(f"mixed {self.channels} channels to mono")
        if wanted not in (1, self.channels):
            done.append(f"repeated for {wanted} channels")
        if self.file_rate != self.sample_rate:
            done.append(f"resampled from {self.file_rate} to {self.sample_rate} Hz")
        if self.rounded:
            done.append("rounded to 16 bits")
        return ", ".join(done)


def read_audio(path: str | Path, sample_rate: int, channels: int = 1, dtype: str = "float32") -> Audio:
    """Read a file that libsndfile reads (wav, flac, ogg, mp3, ...), at ``sample_rate``, of ``channels`` channels.

    Samples are float32, integer formats being divided by their full scale; or with ``dtype="int16"`` 16-bit PCM, which is what a 16-bit
    file holds, and of others rounded. A file that has another number of channels is mixed to mono by the mean, and that
    repeated. Resampling is soxr's HQ.

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
            file_rate, file_channels = file.samplerate, file.channels
            parts = []
            for block in _blocks(file, sample_rate, channels):
                if not np.isfinite(block).all():
                    raise AudioError(f"{path} has samples that are not finite")
                parts.append(block if dtype == "float32" else _to_int16(block))
            samples = np.concatenate(parts)
            read = file.tell()
            exact = file.subtype in SIXTEEN_BITS and file_channels in (1, channels) and file_rate == sample_rate
    except (soundfile.LibsndfileError, TypeError) as error:
        reason = getattr(error, "error_string", str(error)).rstrip(".")
        raise AudioError(f"{path} cannot be read as audio ({reason}); give wav, flac, ogg or mp3") from None
    if read == 0:
        raise AudioError(f"{path} has a header and no samples")
    if len(samples) == 0:
        raise AudioError(f"{path} is too short to resample from {file_rate} to {sample_rate} Hz")
    if channels > 1:
        samples = np.ascontiguousarray(samples.T if samples.ndim > 1 else np.broadcast_to(samples, (channels, len(samples))))
    return Audio(samples, sample_rate, file_rate, file_channels, dtype == "int16" and not exact)


def _to_int16(block: npt.NDArray[np.float32]) -> npt.NDArray[np.int16]:
    """16-bit PCM: exactly what a 16-bit file held, of which float32 keeps every value."""
    return np.clip(np.rint(block * np.float32(32768)), -32768, 32767).astype(np.int16)


def _blocks(file: soundfile.SoundFile, sample_rate: int, channels: int) -> Iterator[npt.NDArray[np.float32]]:
    """(samples, channels) of a file that has as many, else (samples,), the mean of its channels, at ``sample_rate``.

    Block by block: all channels of an hour at once would be gigabytes.
    """
    kept = file.channels == channels > 1
    stream = None
    if file.samplerate != sample_rate:
        import soxr

        stream = soxr.ResampleStream(file.samplerate, sample_rate, channels if kept else 1, dtype="float32", quality="HQ")
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        made = block if kept else block[:, 0] if file.channels == 1 else block.mean(axis=1)
        ended = len(block) < BLOCK
        yield made if stream is None else stream.resample_chunk(np.ascontiguousarray(made), last=ended)
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
