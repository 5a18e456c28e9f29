"""An audio file decoded block by block, as a model takes it: rate, channels, dtype; and what of it is missing."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, final

import numpy as np
import numpy.typing as npt

from specgraph.declared import counts_frames, cut_off

Array = npt.NDArray[Any]

BLOCK = 2**18  # samples of a channel that are decoded at once, or that resampling makes of them
SHORT_BLOCK = 2**10  # where the file is damaged: a block that cannot be decoded is lost whole
SIXTEEN_BITS = ("PCM_16", "PCM_S8", "PCM_U8")  # what libsndfile calls formats of 16 bits and fewer
UNKNOWN = 2**62  # frames, from which libsndfile means that a file does not say


class AudioError(ValueError):
    """A file that holds no audio which can be read; ``kind`` is why, in a word or two, to count by."""

    def __init__(self, message: str, kind: str = "not audio") -> None:
        super().__init__(message)
        self.kind = kind


@final
class Decoder:
    """A file that libsndfile reads (wav, flac, ogg, mp3, ...), at ``sample_rate``, of ``channels`` channels.

    Samples are float32, integer formats being divided by their full scale; or 16-bit PCM, which is what a 16-bit file holds, and of
    others rounded. A file that has another number of channels is mixed to mono by the mean, and that repeated. Resampling is
    soxr's HQ. Blocks, since all channels of an hour at once would be gigabytes.

    Args:
        source: a path, or what a file holds.
        sample_rate: of what ``blocks`` gives.
        channels: of that; one has no axis of its own.
        dtype: "float32" or "int16".
        name: what errors call the file; the path unless given.
        salvage: whether a damaged file gives what can be decoded of it, and ``damage`` then says what is missing.
        offset, duration: in seconds, the part that is decoded, to the nearest sample of the file; to its end where ``duration`` is None
            or goes beyond.
        channel: the one channel that is decoded, counted from 0; None mixes all of them.

    Attributes:
        file_rate, channels: of the file.
        rounds: whether samples are rounded to 16 bits that were not multiples of their last one.
        clipped: how many samples so far were beyond what 16 bits hold, and were set to the largest.
        damage: a sentence, once ``blocks`` has ended; empty for a sound file.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        AudioError: it is empty, not audio, or cut off, or ends before the part begins.
    """

    def __init__(
        self,
        source: str | Path | bytes,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "float32",
        name: str | None = None,
        salvage: bool = False,
        offset: float = 0.0,
        duration: float | None = None,
        channel: int | None = None,
    ) -> None:
        import soundfile

        self.channel = channel
        self.sample_rate, self._wanted, self._dtype, self._salvage, self.damage = sample_rate, channels, dtype, salvage, ""
        self._source = source if isinstance(source, bytes) else Path(source)
        self.name = name or ("the audio" if isinstance(source, bytes) else str(source))
        if isinstance(self._source, Path):
            if not self._source.exists():
                raise FileNotFoundError(f"there is no file {self.name}")
            if self._source.is_dir():
                raise IsADirectoryError(f"{self.name} is a folder, not an audio file")
            if not self._source.is_file():
                raise AudioError(f"{self.name} is a device or a pipe, not an audio file")
        if not 0 <= offset < math.inf or (duration is not None and not 0 < duration < math.inf):
            raise AudioError(f"{self.name} has no part at offset {offset} of duration {duration}: both are seconds, 0 or more and above 0", "no samples")
        with self._opened() as file:
            if file.seek(0, 2) == 0:
                raise AudioError(f"{self.name} is empty (0 bytes)", "empty")
            missing, self._counted = cut_off(file), counts_frames(file)
        try:
            self._file = self._sound()
        except (soundfile.LibsndfileError, TypeError) as error:
            if missing:
                raise AudioError(f"{self.name} is damaged: it {missing}, and nothing before that can be decoded", "damaged") from None
            raise AudioError(f"{self.name} cannot be read as audio ({_reason(error)}); give wav, flac, ogg or mp3") from None
        self.file_rate, self.channels = self._file.samplerate, self._file.channels
        if channel is not None and not 0 <= channel < self.channels:
            self._file.close()
            has = f"{self.channels} channels, 0 to {self.channels - 1}" if self.channels > 1 else "1 channel, which is 0"
            raise AudioError(f"{self.name} has no channel {channel}; it has {has}", "no channel")
        exact = self._file.subtype in SIXTEEN_BITS and (channel is not None or self.channels in (1, channels)) and self.file_rate == sample_rate
        self.rounds, self.clipped = dtype == "int16" and not exact, 0
        if missing:
            self._damaged(missing)
        self._first = round(offset * self.file_rate)
        self._wanted_frames = UNKNOWN if duration is None else max(1, round(duration * self.file_rate))
        if self._first and self._first >= self._file.frames:
            self._file.close()
            if self.damage:
                raise AudioError(self.damage, "damaged")
            long = self._file.frames / self.file_rate
            raise AudioError(f"{self.name} is {long:.6g} seconds long, and the part that is wanted begins at {offset:.6g}", "no samples")

    def blocks(self) -> Iterator[Array]:
        """The samples, (samples,) or (channels, samples) at a time; once.

        Raises:
            AudioError: a block cannot be decoded, there are fewer samples than the file declares, there are none, or some are not finite.
        """
        stream = None
        if self.file_rate != self.sample_rate:
            import soxr

            stream = soxr.ResampleStream(self.file_rate, self.sample_rate, self.channels if self._kept else 1, dtype="float32", quality="HQ")
        read = given = 0
        for block in self._decoded():
            read += len(block)
            mixed = self._mixed(block)
            if not np.isfinite(mixed).all():
                raise AudioError(f"{self.name} has samples that are not finite", "not finite")
            mixed = mixed if stream is None else stream.resample_chunk(np.ascontiguousarray(mixed))
            given += len(mixed)
            yield self._as_wanted(mixed)
        if self._counted and read < min(self._wanted_frames, self._file.frames - self._first) and self._file.frames < UNKNOWN and not self.damage:
            has = f"{self._first + read}" if read else f"no more than {self._first}"
            self._damaged(f"has {has} of {self._file.frames} samples")
        if read == 0:
            kind = "damaged" if self.damage else "no samples"
            raise AudioError(self.damage or f"{self.name} has a header and no samples", kind)
        self._file.close()
        if stream is not None:
            rest = stream.resample_chunk(np.zeros((0, self.channels) if self._kept else 0, np.float32), last=True)
            if given + len(rest) == 0:
                raise AudioError(f"{self.name} is too short to resample from {self.file_rate} to {self.sample_rate} Hz", "too short")
            yield self._as_wanted(rest)

    @property
    def _kept(self) -> bool:
        """Whether channels stay what they are."""
        return self.channel is None and self.channels == self._wanted > 1

    def _mixed(self, block: Array) -> Array:
        """(samples, channels) -> the same where all channels are kept, or else (samples,)."""
        if self._kept:
            return block
        return block.mean(axis=1) if self.channel is None and self.channels > 1 else block[:, self.channel or 0]

    def _as_wanted(self, samples: Array) -> Array:
        """(samples,) or (samples, channels) in float32 -> (samples,) or (channels, samples) as it was asked for."""
        if self._dtype == "int16":  # exactly what a 16-bit file held, of which float32 keeps every value
            scaled = np.rint(samples * np.float32(32768))
            self.clipped += int(np.count_nonzero(np.abs(scaled) > 32768))  # 1.0 itself is rounded, to 32767
            samples = np.clip(scaled, -32768, 32767).astype(np.int16)
        if self._wanted == 1:
            return samples
        return samples.T if self._kept else np.repeat(samples[None], self._wanted, axis=0)

    def _decoded(self) -> Iterator[Array]:
        """(samples, channels) at a time, up to where the file ends or cannot be decoded."""
        import soundfile

        done = 0
        most = max(1, BLOCK * self.file_rate // max(self.file_rate, self.sample_rate))  # a header may say 1 Hz, of which resampling makes thousands
        try:
            self._begin(self._file)
            while len(block := self._file.read(min(most, self._wanted_frames - done), dtype="float32", always_2d=True)):
                done += len(block)
                yield block
            return
        except (soundfile.LibsndfileError, TypeError) as error:
            self._damaged(f"cannot be decoded to its end ({_reason(error)})")
        skipped = 0
        with self._sound() as again:
            try:
                self._begin(again)
                while len(block := again.read(min(SHORT_BLOCK, self._wanted_frames - skipped), dtype="float32", always_2d=True)):
                    skipped += len(block)
                    if skipped > done:
                        yield block
            except (soundfile.LibsndfileError, TypeError):
                return

    def _begin(self, file: Any) -> None:
        """Go to the first sample that is wanted.

        libsndfile is a hundred samples off in the last page of Vorbis, and the first frames of MP3 want bits of those before them. So it
        is sent to an earlier place, from which decoding is exact (MP3: to 1e-4 in places); a page of Vorbis holds 255 packets of at most 1,024 new samples.
        """
        before = max(0, self._first - BLOCK) if file.format in ("OGG", "MP3", "MPEG") else self._first
        if before:
            file.seek(before)
        if before < self._first:
            file.read(self._first - before, dtype="float32", always_2d=True)

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
    whole = np.empty((*held[0].shape[:-1], sum(block.shape[-1] for block in held)), held[0].dtype)
    start = 0
    for number, block in enumerate(held):
        whole[..., start : start + block.shape[-1]] = block
        start += block.shape[-1]
        held[number] = block[..., :0].copy()
    return whole


def _reason(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")
