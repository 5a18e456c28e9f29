"""Bytes of an audio file, at random places and in bounded pieces; and a file made of some of them."""

from __future__ import annotations

import bisect
import io
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

PIECE = 2**20  # bytes that are read at once
FIRST_PIECE = 2**12  # and at a place that does not follow the last
MOST_SPANS = 2**18  # pieces that a part may be in

Span = tuple[int, int]  # first byte, and the byte after the last


class Source:
    """A file, or what one holds: ``read`` any bytes of it.

    Attributes:
        size: in bytes.
    """

    def __init__(self, source: Path | bytes) -> None:
        self._file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb", buffering=0)
        self.size = self._file.seek(0, 2)
        self._start, self._held = 0, b""

    def read(self, start: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``start``; fewer where the file ends."""
        at = start - self._start
        if at < 0 or at + length > len(self._held):
            if length > PIECE:
                return self.fresh(start, length)
            onwards = 0 <= at <= len(self._held)  # more at once where a file is read from its start to its end
            piece = min(2 * len(self._held), PIECE) if onwards else FIRST_PIECE
            self._start, self._held, at = start, self.fresh(start, max(length, FIRST_PIECE, piece)), 0
        return self._held[at : at + length]

    def fresh(self, start: int, length: int) -> bytes:
        """As ``read``, without keeping what follows for the next call."""
        if not 0 <= start < self.size:
            return b""
        self._file.seek(start)
        return self._file.read(length)

    def find(self, pattern: bytes, start: int, stop: int) -> int:
        """The first place of ``pattern`` in ``start`` ... ``stop``, or -1."""
        length = FIRST_PIECE  # little at first: what is searched for may be near, again and again
        while start < stop:
            piece = self.fresh(start, min(length, stop - start) + len(pattern) - 1)
            if (at := piece.find(pattern)) >= 0 and start + at < stop:
                return start + at
            start += length
            length = min(2 * length, PIECE)
        return -1

    def search(self, pattern: re.Pattern[bytes], start: int) -> int:
        """The first place from ``start`` on where ``pattern`` matches, which takes at most 64 bytes; or -1."""
        for at in range(start, self.size, PIECE):
            if found := pattern.search(self.fresh(at, PIECE + 63)):
                return at + found.start()
        return -1

    def is_zero(self, start: int) -> bool:
        """Whether there are only zero bytes from ``start`` on."""
        return not any(self.fresh(at, PIECE).strip(b"\0") for at in range(start, self.size, PIECE))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@dataclass(frozen=True)
class Part:
    """A stretch of a file that is an audio file of its own.

    Attributes:
        pieces: what it is made of: spans of the file, and bytes that replace a wrong header.
        missing: what is missing of it by its own header, as the end of a sentence on it; empty where nothing is.
        frames: the samples of a channel that it declares, where libsndfile does not find them out; None where it does.
        kind: "flac", "mpeg", "ogg" or "pcm".
        lead: samples before the first of its own, which are decoded and dropped.
    """

    pieces: tuple[bytes | Span, ...]
    missing: str = ""
    frames: int | None = None
    kind: str = "pcm"
    lead: int = 0


class Window(io.RawIOBase):
    """A part of a file, as a file. ``error`` is what went wrong in a call by libsndfile, which cannot raise."""

    def __init__(self, source: Source, pieces: tuple[bytes | Span, ...]) -> None:
        self._source, self._pieces, self._at = source, pieces, 0
        sizes = (len(piece) if isinstance(piece, bytes) else piece[1] - piece[0] for piece in pieces)
        self._ends = list(itertools.accumulate(sizes))
        self.error: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        size = self._ends[-1] if self._ends else 0
        self._at = min(max(0, offset + (0, self._at, size)[whence]), size)  # a header may point anywhere
        return self._at

    def readinto(self, buffer: Any) -> int:
        try:
            found = self._read(len(buffer))
        except BaseException as error:  # noqa: BLE001  (Ctrl-C as well, which would vanish in the library that calls this)
            self.error = error
            return 0
        buffer[: len(found)] = found
        return len(found)

    def _read(self, length: int) -> bytes:
        number = bisect.bisect_right(self._ends, self._at)
        if number == len(self._ends):
            return b""
        piece, before = self._pieces[number], self._ends[number - 1] if number else 0
        length = min(length, self._ends[number] - self._at)
        at = self._at - before
        found = piece[at : at + length] if isinstance(piece, bytes) else self._source.fresh(piece[0] + at, length)
        self._at += len(found)
        return found
