"""The signals of the accuracy report: those of the nnAudio paper, and noise. One channel at 44.1 kHz, one second but for the scale."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from specgraph.bench.work import Array

RATE = 44100
LOW, HIGH = 55.0, 22050.0  # of the chirps, in hertz


def linear_chirp() -> Array:
    """A sine whose frequency rises linearly."""
    t = np.arange(RATE) / RATE
    return np.sin(2 * np.pi * (LOW * t + (HIGH - LOW) / 2 * t**2))


def log_chirp() -> Array:
    """A sine whose frequency rises by a constant ratio."""
    t, ratio = np.arange(RATE) / RATE, HIGH / LOW
    return np.sin(2 * np.pi * LOW / np.log(ratio) * (ratio**t - 1))


def impulse() -> Array:
    """A single sample in the middle."""
    wave = np.zeros(RATE)
    wave[RATE // 2] = 1.0
    return wave


def chromatic_scale() -> Array:
    """Two octaves from A2 in semitones: every tone a quarter of a second of eight harmonics that decay, higher ones sooner."""
    t = np.arange(RATE // 4) / RATE
    tones = []
    for semitone in range(25):
        pitch = 110.0 * 2 ** (semitone / 12)
        tones.append(sum(0.3 / h * np.exp(-t * 4 * h) * np.sin(2 * np.pi * pitch * h * t) for h in range(1, 9)))
    return np.concatenate(tones)


def noise() -> Array:
    """White noise."""
    return 0.2 * np.random.default_rng(0).standard_normal(RATE)


SIGNALS: dict[str, Callable[[], Array]] = {
    "linear chirp": linear_chirp,
    "log chirp": log_chirp,
    "impulse": impulse,
    "chromatic scale": chromatic_scale,
    "noise": noise,
}
DRAWN = ("linear chirp", "log chirp")


def wave(name: str) -> Array:
    """(1, samples), float32: what every library, and the float64 definition, is given."""
    return SIGNALS[name]()[None].astype(np.float32)
