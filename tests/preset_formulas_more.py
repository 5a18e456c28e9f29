"""What presets of music and newer speech models compute, in float64: the models' own code transcribed, as in ``preset_formulas``."""

from __future__ import annotations

import librosa
import numpy as np
from scipy import signal

from tests.preset_formulas import Wave, bank, ecapa_decibels, fbank, frames, hann, ln, log_mel, power


def octavewise_cqt(x: Wave, sr: int, hop: int, fmin: float, n_bins: int, per_octave: int) -> Wave:
    """(n_bins, frames) magnitudes: CQT2010v2 of nnAudio and of basic-pitch, loop by loop."""
    q = 1 / (2 ** (1 / per_octave) - 1)
    octaves = -(-n_bins // per_octave)
    highest = fmin * 2 ** ((n_bins - 1) / per_octave)
    lowest = highest / 2 ** (1 - 1 / per_octave)
    n_fft = 2 ** int(np.ceil(np.log2(np.ceil(q * sr / lowest))))
    kernels = np.zeros((per_octave, n_fft), complex)
    for k in range(per_octave):
        frequency = lowest * 2 ** (k / per_octave)
        length = int(np.ceil(q * sr / frequency))
        start = int(np.ceil(n_fft / 2 - length / 2)) - length % 2
        tone = np.exp(2j * np.pi * frequency / sr * np.arange(-length // 2, length // 2)) * hann(length) / length
        kernels[k, start : start + length] = tone / np.abs(tone).sum()
    low_pass = signal.firwin2(256, [0.0, 0.5 / 1.001, 0.5 * 1.001, 1.0], [1.0, 1.0, 0.0, 0.0])
    rows = []
    for octave in range(octaves):
        if octave:
            padded = np.pad(x, 127)
            x = np.array([padded[2 * m : 2 * m + 256] @ low_pass for m in range(len(x) // 2)])
        rows.insert(0, kernels @ frames(np.pad(x, n_fft // 2, mode="reflect"), n_fft, hop // 2**octave).T)
    lengths = np.ceil(q * sr / (fmin * 2 ** (np.arange(n_bins) / per_octave)))
    return np.abs(np.vstack(rows)[-n_bins:]) * np.sqrt(lengths)[:, None]


def basic_pitch(x: Wave) -> Wave:
    x = np.pad(x[:43844], (0, max(0, 43844 - len(x))))
    level = 10 * np.log10(octavewise_cqt(x, 22050, 256, 27.5, 309, 36).T ** 2 + 1e-10)
    above = level - level.min()
    normal = (above / above.max() if above.max() else above) * 2.480741024017334 - 0.8769183158874512
    channels = []
    for harmonic in (0.5, 1, 2, 3, 4, 5, 6, 7):
        shift = round(36 * np.log2(harmonic))
        moved = np.pad(normal[:, max(shift, 0) : min(309 + shift, 309)], ((0, 0), (max(-shift, 0), max(shift, 0))))
        channels.append(moved[:, :264])
    return np.stack(channels, -1)


def crepe(ddof: int, least: float):
    def features(x: Wave) -> Wave:
        f = frames(np.pad(x, 512), 1024, 160).astype(float)
        f = f - f.mean(1)[:, None]
        return f / np.clip(f.std(1, ddof=ddof)[:, None], least, None)

    return features


def repeated(x: Wave) -> Wave:
    """CLAP's repeatpad."""
    x = np.tile(x, max(480000 // len(x), 1))[:480000]
    return np.pad(x, (0, 480000 - len(x)))


def clap(channels: int, **mel: object):
    decibels = log_mel(48000, 1024, 480, 64, 50, 14000, lambda m: 10 * np.log10(np.maximum(m, 1e-10)), **mel)
    return lambda x: np.stack([decibels(repeated(x))] * channels)


def gemma_3n(x: Wave) -> Wave:
    x = np.pad(x, (0, -len(x) % 128))
    read = frames(x, 513, 160)
    f = np.hstack([read[:, :1] * (1 - 0.97), read[:, 1:-1] - 0.97 * read[:, :-2]]) * hann(512)
    return np.log(np.maximum(np.abs(np.fft.rfft(f, 1024)) @ bank(16000, 1024, 128, 125, 7600, "htk", False).T, 1e-5))


def gemma_4(x: Wave) -> Wave:
    f = frames(np.pad(x, (160, 0)), 321, 160)[:, :-1] * hann(320)
    return np.log(np.abs(np.fft.rfft(f, 512)) @ bank(16000, 512, 128, 0, 8000, "htk", False).T + 1e-3)


def ced(x: Wave) -> Wave:
    decibels = 10 * np.log10(np.maximum(bank(16000, 512, 64, 0, 8000, "htk", False) @ power(x, 512, 160, hann(512)).T, 1e-10))
    return np.maximum(decibels, decibels.max() - 120)


def granite_5(x: Wave) -> Wave:
    count = 2 * -(-(len(x) // 160) // 2)
    x = np.pad(x, (0, max(0, (count - 1) * 160 + 1 - len(x))))
    mel = (power(x, 512, 160, hann(400)) @ bank(16000, 512, 80, 0, 8000, "htk", False).T)[:count]
    logarithms = np.log10(np.maximum(mel, 1e-10))
    f = np.maximum(logarithms, logarithms.max() - 8) / 4 + 1
    neighbours = np.vstack([f[:1], f, f[-1:]])
    return np.hstack([f, (neighbours[2:] - neighbours[:-2]) / 2]).reshape(-1, 320)


def musicgen_melody(x: Wave) -> Wave:
    filters = librosa.filters.chroma(sr=32000, n_fft=16384, tuning=0.0, dtype=np.float64)
    chroma = power(x, 16384, 4096, hann(16384)) @ filters.T
    return np.eye(12)[chroma.argmax(1)]


def tortoise(x: Wave) -> Wave:
    x = np.pad(x[:132300], (0, max(0, 132300 - len(x))))
    return log_mel(22050, 1024, 256, 80, 0, 8000, ln(1e-5), scale="htk")(x).T


def hybrid(x: Wave) -> Wave:
    """HTDemucs._spec and _magnitude, (2, 2048, frames), of a whole segment."""
    x = np.pad(x[:343980], (0, max(0, 343980 - len(x))))
    count = -(-len(x) // 1024)
    x = np.pad(x, (1536, 1536 + count * 1024 - len(x)), mode="reflect")
    z = np.fft.rfft(frames(np.pad(x, 2048, mode="reflect"), 4096, 1024) * hann(4096)).T / 64
    z = z[:-1, 2 : 2 + count]
    return np.stack([z.real, z.imag])


def hybrid_inverse(z: Wave) -> Wave:
    """HTDemucs._mask and _ispec, of a whole segment: windowed inverse transforms, added, over the sum of squared windows."""
    z = np.pad(z[0] + 1j * z[1], ((0, 1), (2, 2)))
    count, window = z.shape[1], hann(4096)
    total, squares = np.zeros((count + 3) * 1024), np.zeros((count + 3) * 1024)
    for t in range(count):
        total[t * 1024 : t * 1024 + 4096] += window * np.fft.irfft(64 * z[:, t])
        squares[t * 1024 : t * 1024 + 4096] += window**2
    start = 2048 + 1536
    return (total / np.maximum(squares, 1e-11))[start : start + 343980]


MORE = {
    "basic-pitch": basic_pitch,
    "crepe": crepe(0, 1e-8),
    "torchcrepe": crepe(1, 1e-10),
    "clap-fused": clap(4, scale="htk", norm=False),
    "clap-unfused": clap(1),
    "gemma-3n": gemma_3n,
    "gemma-4": gemma_4,
    "ced": ced,
    "fireredasr": fbank(n_mels=80),
    "granite-speech-5": granite_5,
    "musicgen-melody": musicgen_melody,
    "pop2piano": log_mel(22050, 4096, 1024, 512, 10, 11025, ln(1e-6), scale="htk", norm=False),
    "tortoise": tortoise,
    "htdemucs": hybrid,
    "speechbrain-fbank": ecapa_decibels(40),
}
