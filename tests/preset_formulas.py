"""What presets compute, in float64: the models' own code transcribed.

The transcriptions share nothing with the library: frames, windows, filters and normalisation are written out below.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

import specgraph as sg
from specgraph.bench.references_kaldi import low_frame_rate

Wave = np.ndarray


def hann(n: int, periodic: bool = True) -> Wave:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n if periodic else n - 1))


def hamming(n: int) -> Wave:
    return 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(n) / (n - 1))


def povey(n: int) -> Wave:
    return hann(n, False) ** 0.85


def kaldi_blackman(n: int) -> Wave:
    a = 2 * np.pi * np.arange(n) / (n - 1)
    return 0.42 - 0.5 * np.cos(a) + 0.08 * np.cos(2 * a)


WINDOWS: dict[str, Callable[[int], Wave]] = {
    "povey": povey,
    "hamming": hamming,
    "hanning": lambda n: hann(n, False),
    "blackman": kaldi_blackman,
    "rectangular": np.ones,
    "sine": lambda n: np.sin(np.pi * np.arange(n) / (n - 1)),
}


def slaney_mel(f: Wave) -> Wave:
    f = np.asarray(f, float)
    return np.where(f >= 1000, 15 + 27 * np.log(np.maximum(f, 1) / 1000) / np.log(6.4), 3 * f / 200)


def slaney_hz(m: Wave) -> Wave:
    return np.where(m >= 15, 1000 * 6.4 ** ((m - 15) / 27), 200 * m / 3)


def htk_mel(f: Wave) -> Wave:
    return 1127 * np.log(1 + np.asarray(f, float) / 700)


def htk_hz(m: Wave) -> Wave:
    return 700 * (np.exp(m / 1127) - 1)


def bank(sr: int, n_fft: int, n: int, low: float, high: float, scale: str = "slaney", norm: bool = True, in_mel: bool = False) -> Wave:
    """(n, n_fft // 2 + 1), a filter after the other."""
    to, back = (slaney_mel, slaney_hz) if scale == "slaney" else (htk_mel, htk_hz)
    mels = np.linspace(to(low), to(high), n + 2)
    hertz = back(mels)
    bins = np.arange(n_fft // 2 + 1) * sr / n_fft
    x, corners = (to(bins), mels) if in_mel else (bins, hertz)
    rows = []
    for i in range(n):
        left, middle, right = corners[i : i + 3]
        up, down = (x - left) / (middle - left), (right - x) / (right - middle)
        rows.append(np.clip(np.minimum(up, down), 0, None) * (2 / (hertz[i + 2] - hertz[i]) if norm else 1))
    return np.array(rows)


def frames(x: Wave, width: int, hop: int) -> Wave:
    return np.array([x[i : i + width] for i in range(0, len(x) - width + 1, hop)])


def power(x: Wave, n_fft: int, hop: int, window: Wave, center: str | None = "reflect") -> Wave:
    """(frames, bins): the window in the middle of n_fft where centred, else at the beginning, frames being counted by the window."""
    if center is None:
        return np.abs(np.fft.rfft(frames(x, len(window), hop) * window, n_fft)) ** 2
    padded = np.pad(x, n_fft // 2, mode=center)
    before = (n_fft - len(window)) // 2
    window = np.pad(window, (before, n_fft - len(window) - before))
    return np.abs(np.fft.rfft(frames(padded, n_fft, hop) * window)) ** 2


def whisper(n_mels: int) -> Callable[[Wave], Wave]:
    def features(x: Wave) -> Wave:
        x = np.pad(x[:480000], (0, max(0, 480000 - len(x))))
        mel = bank(16000, 400, n_mels, 0, 8000) @ power(x, 400, 160, hann(400))[:-1].T
        logarithms = np.log10(np.maximum(mel, 1e-10))
        return (np.maximum(logarithms, logarithms.max() - 8) + 4) / 4

    return features


def voxtral(x: Wave) -> Wave:
    mel = bank(16000, 400, 128, 0, 8000) @ power(x, 400, 160, hann(400))[:-1].T
    return (np.maximum(np.log10(np.maximum(mel, 1e-10)), 1.5 - 8) + 4) / 4


def nemo(n_mels: int, normalized: bool = True) -> Callable[[Wave], Wave]:
    """(frames, bins): the last frame is beyond samples // hop, and masked."""

    def features(x: Wave) -> Wave:
        emphasised = np.concatenate([x[:1], x[1:] - 0.97 * x[:-1]])
        mel = power(emphasised, 512, 160, hann(400, False), "constant") @ bank(16000, 512, n_mels, 0, 8000).T
        valid = np.log(mel + 2**-24)[: len(x) // 160]
        if normalized:
            spread = valid.std(0, ddof=1) if len(valid) > 1 else np.zeros(n_mels)
            valid = (valid - valid.mean(0)) / (spread + 1e-5)
        return np.vstack([valid, np.zeros((1, n_mels))])

    return features


def kaldi_frames(x: Wave, t: sg.KaldiFbank | sg.KaldiMfcc) -> tuple[Wave, Wave]:
    """Frames as feature-window.cc extracts them: before pre-emphasis, and windowed."""
    x, width, hop = x * t.scale, int(t.sample_rate * t.frame_length / 1000), int(t.sample_rate * t.frame_shift / 1000)
    if t.snip_edges:
        starts = range(0, len(x) - width + 1, hop)
    else:
        starts = range(hop // 2 - width // 2, hop * ((len(x) + hop // 2) // hop) + hop // 2 - width // 2, hop)
    rows = []
    for start in starts:
        row = []
        for i in range(start, start + width):
            while not 0 <= i < len(x):  # a sample beyond an end is its mirror image
                i = -i - 1 if i < 0 else 2 * len(x) - 1 - i
            row.append(x[i])
        rows.append(row)
    raw = np.array(rows)
    if t.remove_dc_offset:
        raw = raw - raw.mean(1, keepdims=True)
    emphasised = raw.copy()
    emphasised[:, 1:] -= t.preemphasis * raw[:, :-1]
    emphasised[:, 0] -= t.preemphasis * raw[:, 0]
    return raw, emphasised * WINDOWS[t.window](width)


def kaldi(t: sg.KaldiFbank | sg.KaldiMfcc) -> Callable[[Wave], Wave]:
    """(frames, bins): feature-fbank.cc and feature-mfcc.cc."""

    def features(x: Wave) -> Wave:
        raw, windowed = kaldi_frames(x, t)
        n_fft = 2 ** int(np.ceil(np.log2(raw.shape[1]))) if t.round_to_power_of_two else raw.shape[1]
        high = t.fmax if t.fmax > 0 else t.sample_rate / 2 + t.fmax
        spectrum = np.abs(np.fft.rfft(windowed, n_fft))
        mfcc = isinstance(t, sg.KaldiMfcc)
        mel = (spectrum if not mfcc and not t.use_power else spectrum**2) @ bank(t.sample_rate, n_fft, t.n_mels, t.fmin, high, "htk", False, True).T
        energies = ((raw if t.raw_energy else windowed) ** 2).sum(1)
        energy = np.log(np.maximum(np.maximum(energies, 2.0**-23), t.energy_floor))[:, None]
        if not mfcc:
            if t.use_log_fbank:
                mel = np.log(np.maximum(mel, t.mel_floor))
            return mel if not t.use_energy else np.hstack([mel, energy] if t.htk_compat else [energy, mel])
        n = np.arange(t.n_mels) + 0.5
        dct = np.array([np.sqrt((1 if k == 0 else 2) / t.n_mels) * np.cos(np.pi * k * n / t.n_mels) for k in range(t.n_mfcc)])
        cepstra = np.log(np.maximum(mel, 2.0**-23)) @ dct.T
        if t.lifter:
            cepstra *= 1 + 0.5 * t.lifter * np.sin(np.pi * np.arange(t.n_mfcc) / t.lifter)
        if t.use_energy:
            cepstra[:, 0] = energy[:, 0]
        if t.htk_compat:
            cepstra[:, 0] *= 1 if t.use_energy else np.sqrt(2)
            cepstra = np.roll(cepstra, -1, 1)
        return cepstra

    return features


def then(first: Callable[[Wave], Wave], after: Callable[[Wave], Wave]) -> Callable[[Wave], Wave]:
    return lambda x: after(first(x))


def standardized(f: Wave, ddof: int, epsilon: float) -> Wave:
    variance = f.var(0, ddof=ddof) if len(f) > ddof else np.zeros(f.shape[1])
    deviation = np.sqrt(variance + epsilon)
    return np.where(deviation > 0, (f - f.mean(0)) / np.where(deviation > 0, deviation, 1), 0.0)


def seamless(f: Wave) -> Wave:
    f = standardized(f, 1, 1e-7)
    f = np.pad(f, ((0, len(f) % 2), (0, 0)))
    return f.reshape(-1, 160)


def ast(f: Wave) -> Wave:
    f = np.pad(f[:1024], ((0, max(0, 1024 - len(f))), (0, 0)))
    return (f + 4.2677393) / (2 * 4.5689974)


def vggish(offset: float, step: int, whole: bool) -> Callable[[Wave], Wave]:
    def features(x: Wave) -> Wave:
        if whole:  # YAMNet fills up the last patch
            x = np.pad(x, (0, 15600 + 7680 * max(0, -(-(len(x) - 15600) // 7680)) - len(x)))
        mel = np.sqrt(power(x, 512, 160, hann(400), None)) @ bank(16000, 512, 64, 125, 7500, "htk", False, True).T
        return frames(np.log(mel + offset), 96, step)

    return features


def log_mel(sr: int, n_fft: int, hop: int, n: int, low: float, high: float, log: Callable[[Wave], Wave], exponent: float = 2, **mel: object):
    """(frames, bins), centred and reflected, with a periodic Hann window."""
    return lambda x: log(power(x, n_fft, hop, hann(n_fft)) ** (exponent / 2) @ bank(sr, n_fft, n, low, high, **mel).T)  # type: ignore[arg-type]


def hifi_gan(sr: int, n_fft: int, n: int, high: float) -> Callable[[Wave], Wave]:
    def features(x: Wave) -> Wave:
        x = np.pad(x, (n_fft - n_fft // 4) // 2, mode="reflect")
        magnitude = np.sqrt(power(x, n_fft, n_fft // 4, hann(n_fft), None) + 1e-9)
        return np.log(np.maximum(bank(sr, n_fft, n, 0, high) @ magnitude.T, 1e-5))

    return features


def granite(x: Wave) -> Wave:
    mel = power(x, 512, 160, hann(400)) @ bank(16000, 512, 80, 0, 8000, "htk", False).T
    logarithms = np.log10(np.maximum(mel, 1e-10))
    features = np.maximum(logarithms, logarithms.max() - 8) / 4 + 1
    return features[: len(features) // 2 * 2].reshape(-1, 160)


def clap(x: Wave) -> Wave:
    x = np.pad(x[:480000], (0, max(0, 480000 - len(x))))
    return log_mel(48000, 1024, 480, 64, 50, 14000, lambda m: 10 * np.log10(np.maximum(m, 1e-10)))(x)


def passt(x: Wave) -> Wave:
    mel = bank(32000, 1024, 128, 0, 15000, "htk", False, True) @ power(x[1:] - 0.97 * x[:-1], 1024, 320, hann(800, False)).T
    return (np.log(mel + 1e-5) + 4.5) / 5


def in_bfloat16(x: Wave) -> Wave:
    return torch.from_numpy(x).float().bfloat16().double().numpy()


def gigaam_v3(x: Wave) -> Wave:
    mel = in_bfloat16(bank(16000, 320, 64, 0, 8000, "htk", False)) @ power(x, 320, 160, in_bfloat16(hann(320)), None).T
    return np.log(np.clip(mel, 1e-9, 1e9))


def ecapa_decibels(n_mels: int) -> Callable[[Wave], Wave]:
    """Filterbank._triangular_filters of SpeechBrain: both slopes over the width of the left one."""

    def features(x: Wave) -> Wave:
        hertz = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 8000 / 700), n_mels + 2) / 2595) - 1)
        slope = (np.linspace(0, 8000, 201)[None] - hertz[1:-1, None]) / (hertz[1:-1] - hertz[:-2])[:, None]
        filters = np.maximum(0, np.minimum(slope + 1, 1 - slope))
        hamming = 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(400) / 400)
        decibels = 10 * np.log10(np.maximum(power(x, 400, 160, hamming, "constant") @ filters.T, 1e-10))
        return np.maximum(decibels, decibels.max() - 80)

    return features


def ln(floor: float) -> Callable[[Wave], Wave]:
    return lambda m: np.log(np.maximum(m, floor))


def transposed(f: Wave) -> Wave:
    return f.T


def fbank(**options: object) -> Callable[[Wave], Wave]:
    return kaldi(sg.KaldiFbank(**options))  # type: ignore[arg-type]


HAMMING = fbank(n_mels=80, window="hamming")
FORMULAS: dict[str, Callable[[Wave], Wave]] = {
    "whisper-80": whisper(80),
    "whisper-128": whisper(128),
    "voxtral-realtime": voxtral,
    "wav2vec2": lambda x: (x - x.mean()) / np.sqrt(x.var() + 1e-7),
    "nemo-80": then(nemo(80), transposed),
    "nemo-128": then(nemo(128), transposed),
    "parakeet": nemo(80),
    "nemotron-streaming": nemo(80, normalized=False),
    "kaldi-fbank": then(fbank(), transposed),
    "kaldi-mfcc": then(kaldi(sg.KaldiMfcc()), transposed),
    "icefall": fbank(n_mels=80, scale=1, snip_edges=False, fmax=7600),
    "wenet": fbank(n_mels=80),
    "wespeaker": then(HAMMING, lambda f: f - f.mean(0)),
    "paraformer": then(HAMMING, lambda f: low_frame_rate(f, 7, 6)),
    "fsmn-vad": then(HAMMING, lambda f: low_frame_rate(f, 5, 1)),
    "fsmn-kws": then(HAMMING, lambda f: low_frame_rate(f, 5, 3)),
    "telespeech": kaldi(sg.KaldiMfcc(n_mfcc=40, n_mels=40, fmin=40, fmax=7800, use_energy=False)),
    "seamless-m4t": then(fbank(n_mels=80), seamless),
    "speech2text": then(fbank(n_mels=80), lambda f: standardized(f, 0, 0.0)),
    "ast": then(fbank(n_mels=128, window="hanning", scale=1), ast),
    "beats": then(fbank(n_mels=128), lambda f: (f - 15.41663) / (2 * 6.55582)),
    "phi-4-multimodal": fbank(n_mels=80, window="hamming", remove_dc_offset=False, fmin=0, fmax=7690, mel_floor=1.0),
    "medasr": lambda x: ln(1e-5)(power(x, 512, 160, hann(400, False), None) @ bank(16000, 512, 128, 125, 7500, "htk", False, True).T),
    "vggish": vggish(0.01, 96, False),
    "yamnet": vggish(0.001, 48, True),
    "panns": log_mel(32000, 1024, 320, 64, 50, 14000, lambda m: 10 * np.log10(np.maximum(m, 1e-10))),
    "clap": clap,
    "passt": passt,
    "musicnn": log_mel(16000, 512, 256, 96, 0, 8000, lambda m: np.log10(10000 * m + 1)),
    "onsets-and-frames": log_mel(16000, 2048, 512, 229, 30, 8000, ln(1e-5), 1, scale="htk"),
    "gigaam-v2": then(log_mel(16000, 400, 160, 64, 0, 8000, lambda m: np.log(np.clip(m, 1e-9, 1e9)), scale="htk", norm=False), transposed),
    "gigaam-v3": gigaam_v3,
    "ecapa": then(ecapa_decibels(80), lambda f: f - f.mean(0)),
    "granite-speech": granite,
    "hifi-gan": hifi_gan(22050, 1024, 80, 8000),
    "univnet": hifi_gan(24000, 1024, 100, 12000),
    "bigvgan-24k": hifi_gan(24000, 1024, 100, 12000),
    "bigvgan-v2-44k": hifi_gan(44100, 2048, 128, 22050),
    "tacotron2": then(log_mel(22050, 1024, 256, 80, 0, 8000, ln(1e-5), 1), transposed),
    "vocos": then(log_mel(24000, 1024, 256, 100, 0, 12000, ln(1e-7), 1, scale="htk", norm=False), transposed),
    "speecht5": log_mel(16000, 1024, 256, 80, 80, 7600, lambda m: np.log10(np.maximum(m, 1e-10)), 1),
}
