"""Signals that front ends are verified on: each hurts in its own way."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from specgraph.compound import Compound
from specgraph.dims import Dim, evaluate
from specgraph.export.trial_inputs import layout, sizes_for
from specgraph.graph import Graph, clip_by_clip
from specgraph.op import Array, Input, Value
from specgraph.ragged import has_lengths

Signal = npt.NDArray[np.float64]

LONGEST = 20_000  # samples; a frame longer than half of this gets two frames
LONGEST_SETTLED = 400_000  # samples
FRAMES = 24  # of spectra
MOST_NUMBERS = 1_000_000  # of a clip, unless the shortest that the graph takes has more
MOST_ELEMENTS = 8_000_000  # of the largest value of a batch of signals: 64 MB in float64


def sweep(samples: int) -> Signal:
    """A logarithmic sweep over five octaves and a half, up to half the sample rate."""
    start, stop = 0.01, 0.5
    t = np.arange(samples) / max(samples, 1)
    return 0.9 * np.sin(2 * np.pi * samples * start / np.log(stop / start) * ((stop / start) ** t - 1))


def impulse(samples: int) -> Signal:
    """A single sample of full scale, a third of the way."""
    wave = np.zeros(samples)
    wave[samples // 3] = 1.0
    return wave


def noise(samples: int) -> Signal:
    """White noise that stays within full scale."""
    return np.clip(0.2 * np.random.default_rng(samples).standard_normal(samples), -1, 1)


def silence(samples: int) -> Signal:
    """Zeros."""
    return np.zeros(samples)


def full_scale(samples: int) -> Signal:
    """A square wave of full scale."""
    return np.where(np.arange(samples) % 50 < 25, 1.0, -1.0)


def quiet_tone(samples: int) -> Signal:
    """A tone 60 dB below full scale on a slow drift of half of it."""
    t = np.arange(samples)
    return 1e-3 * np.sin(0.3 * t) + 0.5 * np.cos(2 * np.pi * t / max(samples, 1))


def low_tone(samples: int) -> Signal:
    """A tone of 0.00606 of the sample rate, 97 Hz at 16 kHz, between the bins of most transforms."""
    return 0.9 * np.sin(2 * np.pi * 0.00606 * np.arange(samples))


def tone_on_a_bin(samples: int) -> Signal:
    """A tone of a sixteenth of the sample rate: a whole bin of any DFT whose length is a multiple of 16, so other bins are zero."""
    return 0.9 * np.sin(np.pi / 8 * np.arange(samples))


def high_tone(samples: int) -> Signal:
    """A tone of 0.3713 of the sample rate, between bins."""
    return 0.9 * np.sin(2 * np.pi * 0.3713 * np.arange(samples))


def swelling_tone(samples: int) -> Signal:
    """A tone of a fiftieth of the sample rate that rises to full scale and falls: without an edge that fills the other bins."""
    t = np.arange(samples)
    return np.sin(np.pi * t / max(samples, 1)) ** 2 * np.sin(2 * np.pi * 0.02 * t)


def vibrato_on_drift(samples: int) -> Signal:
    """A harmonic tone with vibrato, on a slow drift of half of full scale."""
    t = np.arange(samples)
    phase = 2 * np.pi * 0.0275 * t + 2.0 * np.sin(2 * np.pi * t / 2700)
    return 0.5 * np.cos(2 * np.pi * t / max(samples, 1)) + sum(0.3 / k**1.5 * np.sin(k * phase) for k in range(1, 12))


def voice(samples: int) -> Signal:
    """Speech-like: syllables of a gliding voice through three resonances, with near-silence between them."""
    t = np.arange(samples)
    pitch = 0.0075 + 0.0015 * np.sin(2 * np.pi * t / 7100)
    phase, wave = 2 * np.pi * np.cumsum(pitch), np.zeros(samples)
    glide = 0.3 * np.sin(2 * np.pi * t / 5300)
    for k in range(1, 50):
        formants = ((0.035 * (1 + glide), 0.006), (0.085 * (1 - glide), 0.01), (0.16, 0.02))
        wave += sum(1 / (1 + ((k * pitch - place) / width) ** 2) for place, width in formants) / k * np.sin(k * phase)
    syllables = np.maximum(np.sin(2 * np.pi * t / 6000), 0.0) ** 2
    return 0.5 * syllables * wave + 1e-5 * _white(samples, 1)


def chords(samples: int) -> Signal:
    """Music-like: three decaying chords of tones with harmonics, the first without anything above a quarter of the sample rate."""
    wave, t = np.zeros(samples), np.arange(samples)
    for number, root in enumerate((0.0125, 0.0167, 0.0149)):
        since = np.maximum(t - number * samples // 3, 0)
        for ratio in (1.0, 1.26, 1.498):
            for k in range(1, 7 + 4 * number):
                decay = np.exp(-since * k / max(samples / 4, 1)) * np.minimum(since / 50, 1)
                wave += 0.12 / k * decay * np.sin(2 * np.pi * root * ratio * k * since)
    return np.clip(wave, -1, 1)


def low_noise(samples: int) -> Signal:
    """Noise in the lowest tenth of the band at full scale; 120 dB less above it."""
    spectrum = np.fft.rfft(_white(samples, 2))
    spectrum *= np.where(np.arange(len(spectrum)) < len(spectrum) / 10, 1.0, 1e-6)
    wave = np.fft.irfft(spectrum, samples) if samples > 1 else np.zeros(samples)
    return 0.9 * wave / max(float(np.abs(wave).max(initial=0.0)), 1e-9)


def fading_noise(samples: int) -> Signal:
    """Noise that falls from full scale to 120 dB below it."""
    return np.clip(0.3 * _white(samples, 3), -1, 1) * 10.0 ** (-6 * np.arange(samples) / max(samples, 1))


def burst_in_silence(samples: int) -> Signal:
    """Noise at -100 dB with a burst of full scale in the middle."""
    t, noise = np.arange(samples), _white(samples, 4)
    return np.clip(0.3 * noise, -1, 1) * np.where(np.abs(t - samples // 2) < samples // 16, 1.0, 3e-5)


def _white(samples: int, seed: int) -> Signal:
    return np.random.default_rng(seed).standard_normal(samples)


def hiss(samples: int) -> Signal:
    """The second difference of noise: flat but for the lowest bins, where next to nothing is."""
    return np.clip(0.1 * np.diff(_white(samples + 2, 5), 2), -1, 1)


def quiet_chords(samples: int) -> Signal:
    """The chords 60 dB lower: at the floors of logarithms."""
    return 1e-3 * chords(samples)


EDGES = (noise, sweep, impulse, silence, full_scale, quiet_tone)
TONES = (low_tone, tone_on_a_bin, high_tone, swelling_tone)
SOUNDS = (vibrato_on_drift, voice, chords, low_noise, fading_noise, burst_in_silence, hiss, quiet_chords)
SIGNALS = {f.__name__.replace("_", " "): f for f in (*EDGES, *TONES, *SOUNDS)}
OF_SPECTRA = ("noise", "sweep", "impulse", "silence", "full scale", "low tone", "voice", "chords")  # an iteration on each takes long
STEADY = ("low tone", "swelling tone", "voice")  # on clips so long that a smoother has forgotten their beginning
# On these float16 may have no digits: they are far below full scale, or, as a voice between words, in a short chunk of a stream.
QUIET = ("fading noise", "burst in silence", "quiet chords", "voice")
HARDEST_TONE = "hardest tone"


def trials(graph: Graph) -> Iterator[tuple[tuple[str, ...], tuple[Array, ...]]]:
    """(names of signals, the graph's inputs): every signal on a long clip, and noise at the lengths that are easy to get wrong.

    Several names are one for each clip of the batch; a single one is of all clips.
    Lengths are those of the first input's axis along the clip: samples, or frames where the input is features.
    Where a graph takes lengths, those of several clips differ.
    """
    reach = max((r for r in graph.reach().values() if r.finite), key=lambda r: r.last - r.first)
    first = _input(graph.inputs[0])
    held = layout(graph, graph.inputs[0])
    frame, hop = math.ceil((reach.last - reach.first) / first.hop) + 1, math.ceil(reach.hop / first.hop)
    least = 1 if held.along is None or isinstance(along := first.sizes[held.along], int) else graph.least(along)
    numbers = math.prod(size if isinstance(size, int) else sizes_for(graph, 1, 1)[size] for size in first.sizes)  # of a frame
    most = LONGEST // held.hop if graph.takes_waveforms else FRAMES
    long = max(least, min(most, MOST_NUMBERS // numbers), 2 * frame) + 7
    signals = tuple(SIGNALS) if graph.takes_waveforms else OF_SPECTRA
    alone = [(name, _inputs(graph, name, 1, long)) for name in signals] + _hardest_tone(graph, long)
    together = _clips_together(graph, long)
    for begin in range(0, len(alone), together):
        names, inputs = zip(*alone[begin : begin + together], strict=True)
        yield names, tuple(np.concatenate(one) for one in zip(*inputs, strict=True))
    if settled := _settled(graph, first.hop):
        yield STEADY, tuple(np.concatenate(one) for one in zip(*(_inputs(graph, name, 1, settled) for name in STEADY), strict=True))
    short = {least, least + 6, frame // 2, frame - 1, frame, frame + 1, 2 * frame + hop - 1}
    for batch, size in enumerate(sorted(size for size in short if size >= least)):
        yield ("noise",), _inputs(graph, "noise", 1 + batch % 3, size)
    if has_lengths(graph):
        yield ("noise of different lengths",), _inputs(graph, "noise", 4, long)


def _settled(graph: Graph, spacing: int) -> int:
    """A length twice as long as any decaying memory in the graph; 0 where there is none, or clips are not independent."""
    reach = graph.reach()
    found = [value.op.settling * int(reach[value].hop) // spacing for value in graph.values() if value in reach]
    return 0 if _clips_together(graph, 1) == 1 else min(2 * max(found, default=0), LONGEST_SETTLED // spacing)


def _hardest_tone(graph: Graph, length: int) -> list[tuple[str, tuple[Array, ...]]]:
    """The tone on which an approximation in the graph errs most, the lowest of several; none where nothing approximates."""
    found = [value.op.hardest_tone for value in graph.values() if isinstance(value.op, Compound)]
    if not graph.takes_waveforms or not (tones := [hertz for hertz in found if hertz]):
        return []
    first, *others = _inputs(graph, "noise", 1, length)
    wave = 0.9 * np.sin(2 * np.pi * min(tones) / graph.sample_rate * np.arange(first.shape[-1]))
    wave = to_int16(wave) if first.dtype == np.int16 else wave.astype(np.float32)
    return [(HARDEST_TONE, (np.broadcast_to(wave, first.shape), *others))]


def _clips_together(graph: Graph, length: int) -> int:
    """How many clips of this length one batch may hold: one where clips are not independent or memory is short."""
    values = [value for value in graph.values() if any(isinstance(size, Dim) for size in value.shape)]
    if not all(clip_by_clip(value) for value in values) or any(value.shape[:1] != (Dim("batch"),) for value in graph.inputs):
        return 1
    sizes = dict.fromkeys(graph.axes(), length) | {"batch": 1}
    return max(1, MOST_ELEMENTS // max(math.prod(evaluate(value.shape, sizes)) for value in values))


def _input(value: Value) -> Input:
    assert isinstance(value.op, Input)
    return value.op


def spread_lengths(clips: int, longest: int, shortest: int = 1) -> npt.NDArray[np.int64]:
    """(clips,): lengths of clips, the first the longest and the last, where there are several, the shortest."""
    return np.linspace(longest, shortest, clips).round().astype(np.int64)


def _inputs(graph: Graph, name: str, batch: int, length: int) -> tuple[Array, ...]:
    """The signal for every input; for inputs after the first reversed in time and a quarter quieter, so that no two are equal."""
    made: list[Array] = []
    sizes = sizes_for(graph, batch, length)
    for number, value in enumerate(graph.inputs):
        if value.dtype == "int64":
            made.append(spread_lengths(batch, length, graph.least_along_the_clip()))
            continue
        op, held = _input(value), layout(graph, value)
        wave = SIGNALS[name] if number == 0 else lambda samples: 0.75 * SIGNALS[name](samples)[::-1]
        shape = tuple(size if isinstance(size, int) else sizes[size] for size in op.sizes)
        array = held.array(wave, shape, turned=name != "full scale")  # which is so in the mean of channels too
        made.append(to_int16(array) if value.dtype == "int16" else array.astype(np.float32))
    return tuple(made)


def to_int16(waves: Array) -> npt.NDArray[np.int16]:
    """Samples in -1 ... 1 as 16-bit PCM: rounded, and 1 is 32767."""
    return np.clip(np.round(waves * 32768), -32768, 32767).astype(np.int16)
