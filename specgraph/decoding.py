"""An audio file decoded block by block, as a model takes it: rate, channels, dtype; and what of it is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from specgraph.containers import Part, Source, other_format, parts_of
from specgraph.sound import Sound, SoundError, required

Array = npt.NDArray[Any]

BLOCK = 2**18  # samples of all channels that are decoded at once, or that resampling makes of them
SHORT_BLOCK = 2**10  # where the file is damaged: a block that cannot be decoded is lost whole
SIXTEEN_BITS = ("PCM_16", "PCM_S8", "PCM_U8")  # what libsndfile calls formats of 16 bits and fewer
PADDING = 16  # zero bytes at a file's end, more than a frame of FLAC ends with
UNKNOWN = 2**62  # frames, from which libsndfile means that a file does not say
LOWEST_RATE, HIGHEST_RATE = 1_000, 768_000  # Hz: below telephony's 8,000, for slow recordings; the highest that converters have


@dataclass(frozen=True)
class Limits:
    """What one file may cost, whatever its header says.

    Attributes:
        seconds: of sound that are decoded, at most.
        bytes: of decoded samples, as they are given, at most.
    """

    seconds: float = 24 * 3600.0
    bytes: int = 2**31

    def __post_init__(self) -> None:
        if not self.seconds > 0 or not self.bytes > 0:
            raise ValueError(f"limits are above 0: seconds and bytes, not {self.seconds!r} and {self.bytes!r}")


class AudioError(ValueError):
    """A file that holds no audio which can be read; ``kind`` is why, in a word or two, to count by."""

    def __init__(self, message: str, kind: str = "not audio") -> None:
        super().__init__(message)
        self.kind = kind


DEFAULT = Limits()


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
        limits: what the file may cost.

    Attributes:
        file_rate, channels: of the file.
        rounds: whether samples are rounded to 16 bits that were not multiples of their last one.
        clipped: how many samples so far were beyond what 16 bits hold, and were set to the largest.
        damage: a sentence, once ``blocks`` has ended; empty for a sound file.

    Raises:
        FileNotFoundError, IsADirectoryError: there is no such file.
        AudioError: it is empty, not audio, cut off, or beyond the limits.
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
        limits: Limits = DEFAULT,
    ) -> None:
        self.sample_rate, self.channel, self.damage, self.clipped = sample_rate, channel, "", 0
        self._wanted, self._dtype, self._salvage, self._limits = channels, dtype, salvage, limits
        self.name = name or ("the audio" if isinstance(source, bytes) else str(source))
        if not 0 <= offset < math.inf or (duration is not None and not 0 < duration < math.inf):
            raise AudioError(f"{self.name} has no part at offset {offset} of duration {duration}: both are seconds, 0 or more and above 0", "no samples")
        self._path = None if isinstance(source, bytes) else Path(source)
        self._source = self._held(source)
        try:
            self._parts = self._found()
            self._file = self._opened(self._parts[0])
            self.file_rate, self.channels = self._file.samplerate, self._file.channels
            self._check_header()
            exact = self._file.subtype in SIXTEEN_BITS and (channel is not None or self.channels in (1, channels)) and self.file_rate == sample_rate
            self.rounds = dtype == "int16" and not exact
            self._first = round(offset * self.file_rate)
            self._most = UNKNOWN if duration is None else max(1, round(duration * self.file_rate))
            self._check_cost(min(self._most, self._frames(self._parts[0], self._file) - self._first))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; ``blocks`` does when it has ended."""
        if (file := getattr(self, "_file", None)) is not None:
            file.close()
        self._source.close()

    def blocks(self) -> Iterator[Array]:
        """The samples, (samples,) or (channels, samples) at a time; once.

        Raises:
            AudioError: a block cannot be decoded, there are fewer samples than the file declares, there are none, some are not finite,
                or there are more than the limits allow.
        """
        try:
            yield from self._resampled(self._mixed(block) for block in self._decoded())
        finally:
            self.close()

    def _held(self, source: str | Path | bytes) -> Source:
        """What is read from, checked to be a file that is not empty."""
        if self._path is not None:
            if not self._path.exists():
                raise FileNotFoundError(f"there is no file {self.name}")
            if self._path.is_dir():
                raise IsADirectoryError(f"{self.name} is a folder, not an audio file")
            if not self._path.is_file():
                raise AudioError(f"{self.name} is a device or a pipe, not an audio file")
        held = Source(source if isinstance(source, bytes) else Path(source))
        if held.size == 0:
            held.close()
            raise AudioError(f"{self.name} is empty (0 bytes)", "empty")
        return held

    def _found(self) -> list[Part]:
        """The parts of the file, of which nothing is missing unless it is salvaged."""
        parts = parts_of(self._source)
        if not parts:
            raise self._unreadable(f"it is {other}" if (other := other_format(self._source)) else "Format not recognised")
        for number, part in enumerate(parts, 1):
            if part.missing:
                self._damaged(part.missing + (f" (in the {number}. of {len(parts)} parts)" if len(parts) > 1 else ""))
        return parts

    def _check_header(self) -> None:
        if not LOWEST_RATE <= self.file_rate <= HIGHEST_RATE:
            raise AudioError(f"{self.name} says that it has {self.file_rate:,} Hz; {LOWEST_RATE:,} to {HIGHEST_RATE:,} Hz are read", "sample rate")
        if self.channel is not None and not 0 <= self.channel < self.channels:
            has = f"{self.channels} channels, 0 to {self.channels - 1}" if self.channels > 1 else "1 channel, which is 0"
            raise AudioError(f"{self.name} has no channel {self.channel}; it has {has}", "no channel")

    def _check_cost(self, frames: int, least: str = "") -> None:
        """Raise where so many frames of the file are more than the limits allow; ``least`` is said where there may be more."""
        if frames >= UNKNOWN:
            return
        seconds, size = frames / self.file_rate, self._bytes(frames)
        if seconds > self._limits.seconds:
            most = f"at most {self._limits.seconds:,.6g} are read; raise max_seconds (--max-seconds)"
            raise AudioError(f"{self.name} is {least}{seconds:,.1f} seconds long, and {most}", "too long")
        if size > self._limits.bytes:
            most = f"at most {self._limits.bytes / 1e6:,.6g} MB are used; raise max_bytes (--max-mb)"
            raise AudioError(f"{self.name} is {least}{seconds:,.1f} seconds long, {size / 1e6:,.1f} MB of samples, and {most}", "too long")

    def _bytes(self, frames: int) -> float:
        """Of the samples that are given for so many frames of the file."""
        return frames * self.sample_rate / self.file_rate * self._wanted * np.dtype(self._dtype).itemsize

    def _resampled(self, mixed: Iterator[Array]) -> Iterator[Array]:
        stream = None
        if self.file_rate != self.sample_rate:
            stream = required("soxr").ResampleStream(self.file_rate, self.sample_rate, self.channels if self._kept else 1, dtype="float32", quality="HQ")
        given = 0
        for block in mixed:
            if not np.isfinite(block).all():
                raise AudioError(f"{self.name} has samples that are not finite", "not finite")
            block = block if stream is None else stream.resample_chunk(np.ascontiguousarray(block))
            given += len(block)
            yield self._as_wanted(block)
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
        """(samples, channels) at a time, of all parts, up to where the file ends or cannot be decoded."""
        read, at = 0, 0  # frames that were given, and the place in the file of the next
        for number, part in enumerate(self._parts):
            if number:
                self._file.close()
                if (opened := self._next(number, part)) is None:
                    break
                self._file = opened
            end = at + self._frames(part, self._file)
            skip = min(max(self._first - at, 0), end - at) if end < UNKNOWN else 0
            at += skip
            for block in self._of_part(part, skip, self._most - read + max(self._first - at, 0)) if at < end else ():
                wanted = block[max(self._first - at, 0) :]
                at += len(block)
                read += len(wanted)
                self._check_cost(read, "at least ")
                yield wanted
            at = max(at, end) if end < UNKNOWN else at
            if read == self._most:
                return
        if read == 0:
            self._explain_nothing(at)

    def _explain_nothing(self, frames: int) -> None:
        if self.damage:
            raise AudioError(self.damage, "damaged")
        if self._first:
            long, begins = frames / self.file_rate, self._first / self.file_rate
            raise AudioError(f"{self.name} is {long:.6g} seconds long, and the part that is wanted begins at {begins:.6g}", "no samples")
        raise AudioError(f"{self.name} has a header and no samples", "no samples")

    def _next(self, number: int, part: Part) -> Any:
        """A later part, opened; None where it cannot be read as the parts before it."""
        try:
            file = self._opened(part)
        except AudioError:
            return self._damaged(f"has {len(self._parts)} parts: the {number + 1}. cannot be read")
        if (file.samplerate, file.channels) == (self.file_rate, self.channels):
            return file
        with file:
            now, then = (f"{each.samplerate} Hz and {each.channels} channel{'s' * (each.channels > 1)}" for each in (file, self._file))
            return self._damaged(f"has {len(self._parts)} parts: the {number + 1}. has {now}, and the one before it {then}")

    def _of_part(self, part: Part, first: int, most: int) -> Iterator[Array]:
        """(samples, channels) at a time, ``most`` in all, from the ``first`` of the part that is open."""
        done, declared = 0, self._frames(part, self._file) - first
        at_once = max(1, BLOCK * self.file_rate // max(self.file_rate, self.sample_rate) // self.channels)
        try:
            self._begin(self._file, first)
            for block in self._read(self._file, part, declared, most, at_once):
                done += len(block)
                yield block
        except SoundError as error:
            self._damaged(f"cannot be decoded to its end ({error})")
            yield from self._rest(part, first, done, most)
            return
        if done < min(most, declared) and declared + first < UNKNOWN and not self.damage:
            has = f"{first + done}" if done else f"no more than {first}"
            self._damaged(f"has {has} of {first + declared} samples")

    def _read(self, file: Sound, part: Part, declared: int, most: int, at_once: int) -> Iterator[Array]:
        done = 0
        while done < min(most, declared):
            block = file.read(min(at_once, min(most, declared) - done))
            if len(block) == 0:
                return
            done += len(block)
            yield block
        if part.kind == "flac" and done < most:
            yield from self._undeclared(file, most - done, at_once)

    def _undeclared(self, file: Sound, most: int, at_once: int) -> Iterator[Array]:
        """What follows the samples that a FLAC stream declares."""
        done = 0
        try:
            while done < most and len(block := file.read(min(at_once, most - done))):
                done += len(block)
                yield block
        except SoundError:
            if done or not self._source.is_zero(self._source.size - PADDING):
                raise

    def _rest(self, part: Part, first: int, done: int, most: int) -> Iterator[Array]:
        """What can be decoded of the block in which the part is damaged."""
        with self._opened(part) as again:
            try:
                self._begin(again, first)
                skipped = 0
                while len(block := again.read(min(SHORT_BLOCK, most - skipped))):
                    skipped += len(block)
                    if skipped > done:
                        yield block
            except SoundError:
                return

    def _begin(self, file: Sound, first: int) -> None:
        """Go to a part's first sample that is wanted.

        libsndfile is a hundred samples off in the last page of Vorbis, and the first frames of MP3 want bits of those before them. So it
        is sent to an earlier place, from which decoding is exact (MP3: to 1e-4 in places); a page of Vorbis holds 255 packets of at most 1,024 new samples.
        """
        before = first if file.seekable else 0
        if file.format in ("OGG", "MP3", "MPEG"):
            before = max(0, before - BLOCK)
        if before:
            file.seek(before)
        while before < first and len(block := file.read(min(first - before, BLOCK // self.channels + 1))):
            before += len(block)

    def _frames(self, part: Part, file: Sound) -> int:
        """How many frames the part declares; ``UNKNOWN`` or more where it does not say."""
        if part.kind == "flac":
            return part.frames or UNKNOWN
        return part.frames or file.frames

    def _damaged(self, how: str) -> None:
        """Keep it in mind where samples are salvaged, and raise where not."""
        self.damage = self.damage or f"{self.name} is damaged: it {how}"
        if not self._salvage:
            raise AudioError(self.damage, "damaged")

    def _unreadable(self, reason: str) -> AudioError:
        if self.damage:
            return AudioError(f"{self.damage}, and nothing before that can be decoded", "damaged")
        return AudioError(f"{self.name} cannot be read as audio ({reason}); give wav, flac, ogg or mp3")

    def _opened(self, part: Part) -> Sound:
        try:
            return Sound(self._source, part, self._path)
        except SoundError as error:
            raise self._unreadable(str(error)) from None


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
