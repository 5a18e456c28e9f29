"""Audio files: read, mixed to mono, resampled, with a record of what was done; and made signals to try things on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.decoding import DEFAULT, AudioError, Decoder, Limits, together
from specgraph.folders import audio_below

__all__ = ["Audio", "AudioError", "Limits", "audio_files", "demo_signals", "read_audio"]


@dataclass(frozen=True)
class Audio:
    """A clip as a model takes it, and what the file held."""

    samples: npt.NDArray[Any]  # (samples,), or of several channels (channels, samples); float32, or int16
    sample_rate: int
    file_rate: int
    channels: int  # of the file
    rounded: bool = False  # to 16 bits, from what is not a multiple of their last one
    clipped: int = 0  # samples that 16 bits do not hold
    damage: str = ""  # what is missing of it
    channel: int | None = None  # of the file, that alone was taken

    @property
    def seconds(self) -> float:
        """The clip's duration."""
        return self.samples.shape[-1] / self.sample_rate

    @property
    def changes(self) -> str:
        """What was done to the file's samples, or nothing."""
        done = []
        wanted = len(self.samples) if self.samples.ndim > 1 else 1
        if self.channel is not None:
            done += [f"channel {self.channel} of {self.channels}"] * (self.channels > 1)
        elif self.channels not in (1, wanted):
            done.append(f"mixed {self.channels} channels to mono")
        if wanted > 1 and (self.channel is not None or wanted != self.channels):
            done.append(f"repeated for {wanted} channels")
        if self.file_rate != self.sample_rate:
            done.append(f"resampled from {self.file_rate} to {self.sample_rate} Hz")
        if self.rounded:
            done.append("rounded to 16 bits")
        if self.clipped:
            done.append(f"{self.clipped} sample{'s' * (self.clipped > 1)} beyond -1 ... 1 clipped")
        return ", ".join(done)


def read_audio(
    source: str | Path | bytes,
    sample_rate: int,
    channels: int = 1,
    dtype: str = "float32",
    name: str | None = None,
    salvage: bool = False,
    channel: int | None = None,
    limits: Limits = DEFAULT,
) -> Audio:
    """A file as one clip: ``specgraph.decoding.Decoder`` says what is read, and how, and what the arguments do.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        AudioError: it is empty, not audio, damaged, without samples, beyond the limits, or has samples that are not finite.
    """
    decoder = Decoder(source, sample_rate, channels, dtype, name, salvage, channel=channel, limits=limits)
    samples = together(decoder.blocks())
    return Audio(samples, sample_rate, decoder.file_rate, decoder.channels, decoder.rounds, decoder.clipped, decoder.damage, channel)


def audio_files(paths: list[Path]) -> list[tuple[Path, Path]]:
    """(file, its name relative to the folder or list it came from) for files and, in order, all audio below folders."""
    found: list[tuple[Path, Path]] = []
    for path in paths:
        if path.is_dir():
            found += [(path / name, Path(name)) for name in audio_below(path).names]
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
