"""An audio file decoded block by block: mono, at the rate asked for, and what of it is missing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, final

import numpy as np
import numpy.typing as npt

from specgraph.declared import counts_frames, cut_off

Array = npt.NDArray[np.float32]

BLOCK = 2**18  # samples of a channel that are decoded at once
SHORT_BLOCK = 2**10  # where the file is damaged: a block that cannot be decoded is lost whole
UNKNOWN = 2**62  # frames, from which libsndfile means that a file does not say


class AudioError(ValueError):
    """A file that holds no audio which can be read; ``kind`` is why, in a word or two, to count by."""

    def __init__(self, message: str, kind: str = "not audio") -> None:
        super().__init__(message)
        self.kind = kind


@final
class Decoder:
    """A file that libsndfile reads (wav, flac, ogg, mp3, ...), mixed to mono by the mean, at ``sample_rate``.

    Samples are float32; integer formats are divided by their full scale. Resampling is soxr's HQ. Blocks, since all channels of
    an hour at once would be gigabytes.

    Args:
        source: a path, or what a file holds.
        sample_rate: of what ``blocks`` gives.
        name: what errors call it; the path unless given.
        salvage: whether a damaged file gives what can be decoded of it, and ``damage`` then says what is missing.

    Attributes:
        file_rate, channels: of the file.
        damage: a sentence, once ``blocks`` has ended; empty for a sound file.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        AudioError: it is empty, not audio, or cut off.
    """

    def __init__(self, source: str | Path | bytes, sample_rate: int, name: str | None = None, salvage: bool = False) -> None:
        import soundfile

        self.sample_rate, self._salvage, self.damage = sample_rate, salvage, ""
        self._source = source if isinstance(source, bytes) else Path(source)
        self.name = name or ("the audio" if isinstance(source, bytes) else str(source))
        if isinstance(self._source, Path):
            if not self._source.exists():
                raise FileNotFoundError(f"there is no file {self.name}")
            if self._source.is_dir():
                raise IsADirectoryError(f"{self.name} is a folder, not an audio file")
            if not self._source.is_file():
                raise AudioError(f"{self.name} is a device or a pipe, not an audio file")
        with self._opened() as file:
            if file.seek(0, 2) == 0:
                raise AudioError(f"{self.name} is empty (0 bytes)", "empty")
            missing, self._counted = cut_off(file), counts_frames(file)
        try:
            self._file = self._sound()
        except (soundfile.LibsndfileError, TypeError) as error:
            raise AudioError(f"{self.name} cannot be read as audio ({_reason(error)}); give wav, flac, ogg or mp3") from None
        self.file_rate, self.channels = self._file.samplerate, self._file.channels
        if missing:
            self._damaged(missing)

    def blocks(self) -> Iterator[Array]:
        """The samples, (samples,) at a time; once.

        Raises:
            AudioError: a block cannot be decoded, there are fewer samples than the file declares, there are none, or some are not finite.
        """
        stream = None
        if self.file_rate != self.sample_rate:
            import soxr

            stream = soxr.ResampleStream(self.file_rate, self.sample_rate, 1, dtype="float32", quality="HQ")
        read = given = 0
        for block in self._decoded():
            read += len(block)
            mono = block[:, 0] if self.channels == 1 else block.mean(axis=1)
            if not np.isfinite(mono).all():
                raise AudioError(f"{self.name} has samples that are not finite", "not finite")
            mono = mono if stream is None else stream.resample_chunk(np.ascontiguousarray(mono))
            given += len(mono)
            yield mono
        if read == 0:
            raise AudioError(f"{self.name} has a header and no samples", "no samples")
        if self._counted and read < self._file.frames < UNKNOWN and not self.damage:
            self._damaged(f"has {read} of {self._file.frames} samples")
        self._file.close()
        if stream is not None:
            rest = stream.resample_chunk(np.zeros(0, np.float32), last=True)
            if given + len(rest) == 0:
                raise AudioError(f"{self.name} is too short to resample from {self.file_rate} to {self.sample_rate} Hz", "too short")
            yield rest

    def _decoded(self) -> Iterator[Array]:
        """(samples, channels) at a time, up to where the file ends or cannot be decoded."""
        import soundfile

        done = 0
        try:
            while len(block := self._file.read(BLOCK, dtype="float32", always_2d=True)):
                done += len(block)
                yield block
            return
        except (soundfile.LibsndfileError, TypeError) as error:
            self._damaged(f"cannot be decoded to its end ({_reason(error)})")
        skipped = 0
        with self._sound() as again:
            try:
                while len(block := again.read(SHORT_BLOCK, dtype="float32", always_2d=True)):
                    skipped += len(block)
                    if skipped > done:
                        yield block
            except (soundfile.LibsndfileError, TypeError):
                return

    def _damaged(self, how: str) -> None:
        """Keep it in mind where samples are salvaged, and raise where not."""
        self.damage = self.damage or f"{self.name} is damaged: it {how}"
        if not self._salvage:
            raise AudioError(self.damage, "damaged")

    def _opened(self) -> BinaryIO:
        return io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb")

    def _sound(self):  # soundfile has no types, and is loaded when it is needed
        import soundfile

        if isinstance(self._source, bytes):
            return soundfile.SoundFile(io.BytesIO(self._source))
        return soundfile.SoundFile(os.fsencode(self._source) if os.name == "posix" else self._source)  # names that are not UTF-8 too


def together(blocks: Iterator[Array] | list[Array]) -> Array:
    """Blocks as one array, each let go when it is copied: an hour is held once, not twice."""
    held = list(blocks)
    if len(held) == 1:
        return np.ascontiguousarray(held[0])
    whole = np.empty(sum(map(len, held)), np.float32)
    start = 0
    for number, block in enumerate(held):
        whole[start : start + len(block)] = block
        start += len(block)
        held[number] = block[:0].copy()
    return whole


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")
