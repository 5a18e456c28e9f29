"""Ogg: which streams follow one another in a file, and whether all their pages are there."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from specgraph.containers import flac
from specgraph.containers.source import MOST_SPANS, Part, Source, Span
from specgraph.containers.tags import after_tags

HEADER = 27  # bytes, before the lengths of a page's segments
LONGEST = 65307  # bytes of a page
FIRST, LAST = 2, 4  # flags of a stream's first and last page
AUDIO = (b"\x01vorbis", b"OpusHead", b"Speex   ")
FLAC_HEAD = b"\x7fFLAC\1\0\0\0"  # and before FLAC's own marker: a version, and how many packets of metadata follow
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


@dataclass(frozen=True)
class _Page:
    start: int
    stop: int
    flags: int
    serial: bytes
    number: int
    body: int  # where what it holds begins
    kind: str  # of a first page: "flac", "audio", or "" where its stream is no sound
    intact: bool


@dataclass
class _Stream:
    kind: str
    following: int  # the number of its next page
    spans: list[Span] = field(default_factory=list)
    ended: bool = False
    missing: str = ""


def streams(source: Source, start: int) -> Iterator[Part]:
    """The parts of an Ogg file from ``start`` on.

    Pages carry their stream's number, their own number and a checksum. A first page after others begins the next part of a
    chained file.
    """
    group: dict[bytes, _Stream] = {}  # of the streams that lie side by side
    data, broken = False, ""  # whether the group has more than first pages; what is wrong between pages
    for page in _pages(source, start):
        if isinstance(page, str):
            broken = page
            continue
        if page.flags & FIRST and data:
            yield _part(source, group, "")
            group, data = {}, False
        data = data or not page.flags & FIRST
        _take(group, page, broken)
        broken = ""
    yield _part(source, group, broken)


def _take(group: dict[bytes, _Stream], page: _Page, broken: str) -> None:
    if page.serial not in group:
        group[page.serial] = _Stream(page.kind, page.number, missing="" if page.flags & FIRST else "lacks the first page of a stream")
    stream = group[page.serial]
    if broken or not page.intact:
        stream.missing = stream.missing or broken or "has a page with a wrong checksum"
    elif page.number != stream.following:
        stream.missing = stream.missing or f"lacks the pages from {stream.following} to {page.number}"
    stream.following, stream.ended = page.number + 1, bool(page.flags & LAST)
    start = page.start
    if stream.kind == "flac":
        start = page.body + len(FLAC_HEAD) * bool(page.flags & FIRST)
    if stream.spans and stream.spans[-1][1] == start:
        stream.spans[-1] = (stream.spans[-1][0], page.stop)
    elif len(stream.spans) < MOST_SPANS:
        stream.spans.append((start, page.stop))
    else:
        stream.missing = stream.missing or f"is in more than {MOST_SPANS} pieces"


def _part(source: Source, group: dict[bytes, _Stream], broken: str) -> Part:
    sound = [stream for stream in group.values() if stream.kind] or list(group.values())
    if not sound:
        return Part((), broken or "has no whole page of Ogg", kind="ogg")
    stream = sound[0]
    missing = stream.missing or ("" if stream.ended else "ends before the last page of its stream") or broken
    if len(sound) > 1:
        missing = f"has {len(sound)} streams of sound side by side, and one is decoded"
    if stream.kind == "flac":  # in pages it is what it is without them, which libsndfile is often built to decode only
        return flac.counted(source, tuple(stream.spans), missing)
    return Part(tuple(stream.spans), missing, kind="ogg")


def _pages(source: Source, at: int) -> Iterator[_Page | str]:
    """Pages, and what is wrong between them."""
    while (at := after_tags(source, at)) < source.size:
        page = _page(source, at)
        if isinstance(page, _Page):
            yield page
            at = page.stop
            continue
        found = source.find(b"OggS", at + 1, source.size)
        if found < 0:
            if page or not source.is_zero(at):
                yield page or f"has {source.size - at} bytes after its last page"
            return
        yield page or f"has {found - at} bytes between its pages"
        at = found


def _page(source: Source, at: int) -> _Page | str:
    """The page at this place; what is wrong with it, or nothing where there is none."""
    head = source.read(at, LONGEST)
    if head[:4] != b"OggS":
        return "ends in the middle of a page" if len(head) < 4 and b"OggS".startswith(head) else ""
    segments = head[26] if len(head) >= HEADER else 0
    body = HEADER + segments
    length = body + sum(head[HEADER:body])
    if len(head) < max(length, HEADER + 1) and not (len(head) >= HEADER and segments == 0):
        return "ends in the middle of a page"
    number, checksum = int.from_bytes(head[18:22], "little"), int.from_bytes(head[22:26], "little")
    intact = _checksum(head[:22] + bytes(4) + head[26:length]) == checksum
    held = head[body : body + 16]
    kind = "flac" if held.startswith(FLAC_HEAD[:5]) else "audio" if held.startswith(AUDIO) else ""
    return _Page(at, at + length, head[5], head[14:18], number, at + body, kind, intact)


def _checksum(page: bytes) -> int:
    """Ogg's CRC-32: zlib's polynomial with all bits in the other order, begun at 0 and not inverted."""
    found = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(found.to_bytes(4, "little").translate(REVERSED), "big")
