"""Recordings with their notes: a MusicNet folder, or polyphonic audio made from random scores."""

from __future__ import annotations

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

RATE = 44100
NOTES = 128  # MIDI numbers; 69 is 440 Hz
LOWEST, HIGHEST = 40, 88  # of random scores
PROGRAMS = (0, 6, 24, 40, 42, 60, 68, 70, 71, 73)  # of General MIDI: piano, harpsichord, guitar, violin, cello, horn, woodwinds


@dataclass(frozen=True)
class Song:
    """A recording at 44.1 kHz and its notes, each (first sample, last sample, MIDI number)."""

    wave: np.ndarray
    notes: np.ndarray

    def window(self, centre: int, samples: int) -> np.ndarray:
        """(samples,) float32 around a sample, zeros outside of the recording, scaled to a root of the sum of squares of 1."""
        start = centre - samples // 2
        cut = self.wave[max(start, 0) : start + samples]
        window = np.zeros(samples, np.float32)
        window[max(-start, 0) : max(-start, 0) + len(cut)] = cut
        return window / max(float(np.sqrt(np.square(window, dtype=np.float64).sum())), 1e-8)

    def sounding(self, sample: int) -> np.ndarray:
        """(NOTES,) float32: 1 for every note that sounds at a sample."""
        roll = np.zeros(NOTES, np.float32)
        roll[self.notes[(self.notes[:, 0] <= sample) & (sample < self.notes[:, 1]), 2]] = 1
        return roll


def musicnet(folder: Path, part: str, most: int | None = None) -> list[Song]:
    """The songs of ``train`` or ``test`` of an unpacked MusicNet, mixed to mono.

    Raises:
        ValueError: the folder does not have them, or a recording is not at 44.1 kHz.
    """
    import soundfile

    songs = []
    for path in sorted((folder / f"{part}_data").glob("*.wav"))[:most]:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
        if rate != RATE:
            raise ValueError(f"{path} is at {rate} Hz and MusicNet's recordings are at {RATE} Hz")
        with (folder / f"{part}_labels" / f"{path.stem}.csv").open() as file:
            rows = [[int(row[name]) for name in ("start_time", "end_time", "note")] for row in csv.DictReader(file)]
        songs.append(Song(wave.mean(1), np.array(rows, int).reshape(-1, 3)))
    if not songs:
        raise ValueError(f"{folder / f'{part}_data'} has no .wav files; give the folder that MusicNet was unpacked to")
    return songs


def made(count: int, seconds: float, seed: int, soundfont: Path | None = None) -> list[Song]:
    """Songs of three voices with random notes, synthesised, or played by FluidSynth on the instruments of a sound font."""
    scores = [score(seconds, np.random.default_rng([seed, number])) for number in range(count)]
    if soundfont:
        return [played(notes, seconds, seed + number, soundfont) for number, notes in enumerate(scores)]
    return [synthesised(notes, seconds, number) for number, notes in enumerate(scores)]


def score(seconds: float, rng: np.random.Generator) -> list[tuple[float, float, int]]:
    """Notes (start, end, MIDI number) of three voices that each play one note after another, with rests."""
    notes = []
    for _ in range(3):
        at = float(rng.uniform(0, 0.5))
        while at < seconds - 0.2:
            length = float(rng.choice([0.25, 0.5, 0.75, 1.0]))
            if rng.random() < 0.85:
                notes.append((at, min(at + length, seconds), int(rng.integers(LOWEST, HIGHEST + 1))))
            at += length
    return notes


def synthesised(notes: Sequence[tuple[float, float, int]], seconds: float, seed: int) -> Song:
    """Notes of decaying harmonics, slightly stretched as a string's are, each in its own loudness and colour; and a little noise."""
    rng = np.random.default_rng(seed)
    wave = 1e-3 * rng.standard_normal(int(seconds * RATE))
    rows = []
    for start, end, note in notes:
        first, last = int(start * RATE), min(int(end * RATE), len(wave))
        t = np.arange(last - first) / RATE
        pitch, slope, decay = 440 * 2 ** ((note - 69) / 12), rng.uniform(0.8, 1.6), rng.uniform(1.5, 4)
        sound = np.zeros(len(t))
        for harmonic in range(1, 13):
            frequency = pitch * harmonic * np.sqrt(1 + 1e-4 * harmonic**2)
            if frequency < RATE / 2.2:
                level = harmonic**-slope * np.exp(-decay * np.sqrt(harmonic) * t)
                sound += level * np.sin(2 * np.pi * (frequency * t + rng.random()))
        sound *= np.minimum(1, np.minimum(t / 0.005, (t[::-1] + 1e-9) / 0.02))
        wave[first:last] += rng.uniform(0.5, 1) * sound
        rows.append((first, last, note))
    return Song((0.1 * wave).astype(np.float32), np.array(rows, int).reshape(-1, 3))


def played(notes: Sequence[tuple[float, float, int]], seconds: float, seed: int, soundfont: Path) -> Song:
    """Notes played by FluidSynth, each on one of three instruments, without reverberation or chorus.

    Raises:
        ValueError: ``fluidsynth`` is not installed, the sound font does not exist, or FluidSynth cannot play it.
    """
    import mido
    import soundfile

    if shutil.which("fluidsynth") is None:
        raise ValueError("--soundfont needs the program fluidsynth, which is not installed; install it, or leave --soundfont out")
    if not soundfont.is_file():
        raise ValueError(f"there is no sound font {soundfont}; give a .sf2 file")
    rng = np.random.default_rng(seed)
    events = [(0.0, mido.Message("program_change", channel=channel, program=int(rng.choice(PROGRAMS)))) for channel in range(3)]
    for start, end, note in notes:
        channel = int(rng.integers(3))
        events.append((start, mido.Message("note_on", channel=channel, note=note, velocity=int(rng.integers(50, 110)))))
        events.append((end, mido.Message("note_off", channel=channel, note=note)))
    track, now = mido.MidiTrack(), 0
    for at, event in sorted(events, key=lambda pair: pair[0]):
        tick = round(at * 960)  # 480 ticks a beat and, where no tempo is set, half a second a beat
        track.append(event.copy(time=tick - now))
        now = tick
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "song.mid", Path(folder) / "song.wav"
        mido.MidiFile(ticks_per_beat=480, tracks=[track]).save(midi)
        command = ["fluidsynth", "-n", "-i", "-q", "-R", "0", "-C", "0", "-g", "0.5", "-r", str(RATE), "-F", str(wav), str(soundfont), str(midi)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not wav.exists():
            raise ValueError(f"FluidSynth could not play {soundfont}: {(done.stderr or done.stdout).strip()[-200:]}")
        wave = soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(1)
    samples = int(seconds * RATE)
    wave = np.pad(wave[:samples], (0, max(samples - len(wave), 0)))
    rows = [(int(start * RATE), min(int(end * RATE), samples), note) for start, end, note in notes]
    return Song(wave, np.array(rows, int).reshape(-1, 3))
