"""FLAC: which streams follow one another in a file, and how many samples each declares."""

from __future__ import annotations

from collections.abc import Iterator

from specgraph.containers.source import Part, Source

MARKER = b"fLaC"
INFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # the header of the first block, 34 bytes of stream information; the second is the last block too
TOTAL = 2**36  # values of the number of samples, the low bits of bytes 10 ... 17 of the stream information
TRAILER = 128  # bytes of an ID3v1 tag


def streams(source: Source, start: int) -> Iterator[Part]:
    """The parts of a file of FLAC streams from ``start`` on."""
    stop = source.find(b"TAG", source.size - TRAILER, source.size - TRAILER + 1)
    end = source.size if stop < start else stop
    while start < end:
        following = _next(source, _after_metadata(source, start), end)
        yield _part(source, start, following)
        start = following


def _part(source: Source, start: int, stop: int) -> Part:
    """A stream whose number of samples is set to 0, unknown: libFLAC decodes no more than it declares."""
    head = source.read(start, 26)
    if head[4:8] not in INFO or len(head) < 26:
        return Part(((start, stop),), kind="flac")  # which libsndfile refuses
    number = int.from_bytes(head[18:26], "big")
    total = number % TOTAL
    return Part(((start, start + 18), (number - total).to_bytes(8, "big"), (start + 26, stop)), frames=total or None, kind="flac")


def _after_metadata(source: Source, start: int) -> int:
    """Where the first frame lies: a picture among the metadata may itself hold the marker."""
    at = start + 4
    while len(head := source.read(at, 4)) == 4:
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return at


def _next(source: Source, at: int, end: int) -> int:
    """Where the next stream begins, or the end."""
    while (found := source.find(MARKER, at, end)) >= 0:
        if source.read(found + 4, 4) in INFO:
            return found
        at = found + 1
    return end
