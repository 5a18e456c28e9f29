"""A corpus for the tests of extraction: sound files of many kinds, and every kind of bad one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000


def noise(seconds: float, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """(samples, channels), float64."""
    return 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))


def held(format: str, seconds: float = 1.0) -> bytes:
    """What a file of noise holds."""
    file = io.BytesIO()
    soundfile.write(file, noise(seconds), RATE, format=format)
    return file.getvalue()


def sound(folder: Path, files: int = 28) -> list[str]:
    """Sound files of several formats, rates, channels and folders; returns their names in order."""
    kinds = [("wav", RATE, 1), ("flac", RATE, 1), ("ogg", RATE, 1), ("wav", 44100, 2), ("flac", 8000, 1), ("mp3", 22050, 1), ("aiff", RATE, 2)]
    names = []
    for number in range(files):
        suffix, rate, channels = kinds[number % len(kinds)]
        name = f"{'abc'[number % 3]}/{number:03d}.{suffix}"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / name, noise(0.2 + 0.05 * (number % 9), rate, channels, number), rate)
        names.append(name)
    return sorted(names)


BAD = {  # by name: what a row says
    "bad/empty.wav": "empty: bad/empty.wav is empty (0 bytes)",
    "bad/text.wav": "not audio: bad/text.wav cannot be read as audio",
    "bad/header.wav": "not audio: bad/header.wav cannot be read as audio",
    "bad/none.wav": "no samples: bad/none.wav has a header and no samples",
    "bad/nan.wav": "not finite: bad/nan.wav has samples that are not finite",
    "bad/short.wav": "too short: bad/short.wav",
    "bad/cut.wav": "damaged: bad/cut.wav is damaged: it has 9978 of 32000 bytes of samples",
    "bad/cut.aiff": "damaged: bad/cut.aiff is damaged: it has 9946 of 32000 bytes of samples",
    "bad/cut.flac": "damaged: bad/cut.flac is damaged: it cannot be decoded to its end",
    "bad/cut.mp3": "damaged: bad/cut.mp3 is damaged: it has ",
    "bad/cut.ogg": "damaged: bad/cut.ogg is damaged: it ends before the last page",
    "bad/hole.flac": "damaged: bad/hole.flac is damaged: it cannot be decoded to its end",
}
SALVAGED = {"bad/cut.wav", "bad/cut.aiff", "bad/cut.flac", "bad/cut.mp3", "bad/hole.flac"}  # of which something can be decoded


def bad(folder: Path) -> list[str]:
    """One of each kind."""
    (folder / "bad").mkdir(parents=True, exist_ok=True)
    made = {name: folder / name for name in BAD}
    made["bad/empty.wav"].touch()
    made["bad/text.wav"].write_text("not audio at all\n" * 40)
    made["bad/header.wav"].write_bytes(held("WAV")[:20])
    soundfile.write(made["bad/none.wav"], np.zeros(0), RATE)
    soundfile.write(made["bad/nan.wav"], np.array([0.0] * 400 + [np.nan]), RATE, subtype="FLOAT")
    soundfile.write(made["bad/short.wav"], np.zeros(1), 96000)
    for suffix, kept in (("wav", 10022), ("aiff", 10000), ("flac", 0.5), ("mp3", 0.5), ("ogg", 0.95)):
        whole = held(suffix.upper())
        made[f"bad/cut.{suffix}"].write_bytes(whole[: int(kept * len(whole)) if kept < 1 else int(kept)])
    whole = held("FLAC", 2.0)
    third = len(whole) // 3
    made["bad/hole.flac"].write_bytes(whole[:third] + bytes(2000) + whole[third + 2000 :])
    return sorted(BAD)
