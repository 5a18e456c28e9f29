"""Tags that programs put before or after the sound of any format: ID3, APE, Lyrics3."""

from __future__ import annotations

from specgraph.containers.source import Source

LONGEST_LYRICS = 2**20


def tag_length(source: Source, at: int) -> int:
    """Bytes of the tag at this place; 0 where there is none."""
    head = source.read(at, 32)
    if head[:3] == b"ID3" and len(head) >= 10 and all(byte < 128 for byte in head[6:10]):
        footer = 10 if head[5] & 0x10 else 0
        return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True)) + footer
    if head[:3] == b"TAG" and at + 128 == source.size:
        return 128
    if head[:8] == b"APETAGEX" and len(head) == 32:  # the header, or a footer alone; the size counts what follows the header
        size = int.from_bytes(head[12:16], "little")
        return 32 + (size if int.from_bytes(head[20:24], "little") & 0x20000000 else 0)
    if head[:11] == b"LYRICSBEGIN":
        end = source.find(b"LYRICS200", at, min(at + LONGEST_LYRICS, source.size))
        return 0 if end < 0 else end + 9 - at
    return 0


def after_tags(source: Source, at: int) -> int:
    """The place after all tags that follow one another from here."""
    while at < source.size and (length := tag_length(source, at)):
        at += length
    return at
