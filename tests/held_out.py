"""Sounds that no file is verified on: speech by pulses and resonances, music by inharmonic notes, tones; at several levels."""

from __future__ import annotations

import numpy as np
import scipy.signal

Clip = np.ndarray


def speech(rate: int, seconds: float, seed: int) -> Clip:
    """Voiced, hissing and silent stretches: glottal pulses through four resonances, band-limited noise, and noise at -94 dB throughout."""
    rng, samples = np.random.default_rng(seed), int(rate * seconds)
    pitch = 110 * np.exp(0.25 * np.sin(2 * np.pi * 1.3 * np.arange(samples) / rate + seed))
    turn = np.cumsum(pitch / rate) % 1
    flow = np.where(turn < 0.4, 0.5 - 0.5 * np.cos(np.pi * turn / 0.4), np.where(turn < 0.56, np.cos(np.pi * (turn - 0.4) / 0.32), 0))
    pulses, wave, begin = np.diff(flow, prepend=0), np.zeros(samples), 0
    while begin < samples:
        part = slice(begin, min(begin + int(rate * rng.uniform(0.06, 0.3)), samples))
        size = part.stop - begin
        wave[part] = np.sqrt(np.hanning(size)) * _stretch(pulses[part], rate, rng)
        begin = part.stop
    return 0.7 * wave / np.abs(wave).max() + 2e-5 * rng.standard_normal(samples)


def _stretch(pulses: Clip, rate: int, rng: np.random.Generator) -> Clip:
    kind = rng.choice(3, p=[0.6, 0.25, 0.15])
    if kind == 1:
        hiss = scipy.signal.butter(2, [2500 / (rate / 2), min(7000 / (rate / 2), 0.95)], "band")
        return 0.1 * scipy.signal.lfilter(*hiss, rng.standard_normal(len(pulses)))
    if kind == 2:
        return np.zeros(len(pulses))
    for place, width in zip(rng.uniform([250, 800, 2000, 3200], [800, 2000, 3000, 3800]), (60, 90, 120, 200), strict=True):
        radius = np.exp(-np.pi * width / rate)
        poles = [1, -2 * radius * np.cos(2 * np.pi * place / rate), radius * radius]
        pulses = scipy.signal.lfilter([sum(poles)], poles, pulses)
    return pulses


def music(rate: int, seconds: float, seed: int) -> Clip:
    """Four-note chords of decaying, slightly inharmonic partials, and nothing else."""
    rng, time = np.random.default_rng(seed), np.arange(int(rate * seconds)) / rate
    wave = np.zeros(len(time))
    for beat in np.arange(0, seconds, 0.4):
        since = np.maximum(time - beat, 0)
        for step in (0, rng.choice([3, 4]), 7, 12):
            pitch = 55 * 2 ** ((rng.integers(0, 36) + step) / 12)
            for partial in range(1, min(12, int(0.48 * rate / pitch))):
                turns = partial * pitch * np.sqrt(1 + 3e-4 * partial**2) * since
                wave += np.sin(2 * np.pi * turns) * np.exp(-(2 + 0.7 * partial) * since) * np.minimum(200 * since, 1) / partial**1.3
    return 0.9 * wave / np.abs(wave).max()


def sounds(rate: int, seconds: float, seed: int = 1) -> dict[str, Clip]:
    """Float32 clips (samples,) by name."""
    samples = int(rate * seconds)
    time = np.arange(samples) / rate
    voice, tune = speech(rate, seconds, seed), music(rate, seconds, seed)
    telephone = scipy.signal.sosfilt(scipy.signal.butter(10, 3400 / (rate / 2), output="sos"), speech(rate, seconds, seed + 1))
    made = {
        "speech": voice,
        "speech of 16 bits": np.round(voice * 32767) / 32768,
        "speech at -40 dB": 0.01 * voice,
        "telephone": telephone,
        "speech after silence": np.where(time < seconds / 2, 0, voice),
        "music": tune,
        "music of 16 bits": np.round(tune * 32767) / 32768,
        "music at -60 dB": 1e-3 * tune,
    }
    for hertz, level in ((55, 0.5), (97, 0.5), (440, 1.0), (997, 0.01), (3000, 0.5), (250, 1e-4)):
        made[f"{hertz} Hz at {level:g}"] = level * np.sin(2 * np.pi * hertz * time)
    return {name: np.clip(wave, -1, 1).astype(np.float32) for name, wave in made.items()}
