"""FLAC: which streams follow one another in a file, and how many samples each declares."""

from __future__ import annotations

from collections.abc import Iterator

from specgraph.containers.source import Part, Source, Span
from specgraph.containers.tags import tag_length

MARKER = b"fLaC"
INFO = (b"\0\0\0\x22", b"\x80\0\0\x22")  # the header of the first block, 34 bytes of stream information; the second is the last block too
TOTAL = 2**36  # values of the number of samples, the low bits of the eight bytes between these places of a stream
TOTAL_AT, INFO_END = 18, 26
MOST_TAGS = 1000  # places that may begin a tag, by chance one in 16 MB of frames
ID3V1, APE = 128, 32  # bytes of a tag, and of the end of one


def streams(source: Source, start: int) -> Iterator[Part]:
    """The parts of a file of FLAC streams from ``start`` on."""
    end = _end(source)
    while start < end:
        frames = _after_metadata(source, start)
        following = _next(source, frames, end)
        yield counted(source, ((start, _before_tag(source, frames, following)),))
        start = following


def _end(source: Source) -> int:
    """Where the tags after the last frame begin."""
    end = source.size
    if source.read(end - ID3V1, 3) == b"TAG":
        end -= ID3V1
    footer = source.read(end - APE, APE)
    if footer[:8] == b"APETAGEX":
        end -= int.from_bytes(footer[12:16], "little") + (APE if int.from_bytes(footer[20:24], "little") >> 31 else 0)
    return max(end, 0)


def counted(source: Source, spans: tuple[Span, ...], missing: str = "") -> Part:
    """A stream whose number of samples is set to 0, unknown: libFLAC decodes no more than it declares."""
    start, stop = spans[0]
    head = source.read(start, INFO_END)
    if head[4:8] not in INFO or len(head) < INFO_END or stop < start + INFO_END:
        return Part(spans, missing, kind="flac")  # which libsndfile refuses
    number = int.from_bytes(head[TOTAL_AT:INFO_END], "big")
    total = number % TOTAL
    pieces: tuple[bytes | Span, ...] = ((start, start + TOTAL_AT), (number - total).to_bytes(8, "big"), (start + INFO_END, stop), *spans[1:])
    return Part(pieces, missing, total or None, kind="flac")


def _after_metadata(source: Source, start: int) -> int:
    """Where the first frame lies: a picture among the metadata may itself hold the marker."""
    at = start + 4
    while len(head := source.read(at, 4)) == 4:
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            break
    return at


def _before_tag(source: Source, start: int, stop: int) -> int:
    """Where an ID3 tag begins that ends at ``stop``, or else that."""
    at = start
    for _ in range(MOST_TAGS):
        if (at := source.find(b"ID3", at, stop)) < 0:
            break
        if at + tag_length(source, at) == stop:
            return at
        at += 1
    return stop


def _next(source: Source, at: int, end: int) -> int:
    """Where the next stream begins, or the end."""
    while (found := source.find(MARKER, at, end)) >= 0:
        if source.read(found + 4, 4) in INFO:
            return found
        at = found + 1
    return end
