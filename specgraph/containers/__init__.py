"""Which audio files one file holds, one after the other, and whether all that they declare is there.

libsndfile decodes the first of several, and takes a file that was cut off for a shorter one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from specgraph.containers import chunks, flac, flat, mpeg, ogg
from specgraph.containers.source import Part, Source, Window
from specgraph.containers.tags import after_tags

__all__ = ["Part", "Source", "Window", "parts_of"]

MOST_PARTS = 10_000  # of a file: a day of radio has some hundreds
OTHERS = (  # formats that are not read, by how they begin
    (re.compile(rb"....ftyp", re.DOTALL), "MP4 (m4a)"),
    (re.compile(rb"\x1a\x45\xdf\xa3"), "Matroska or WebM"),
    (re.compile(rb"\x30\x26\xb2\x75"), "WMA"),
    (re.compile(rb"#!AMR"), "AMR"),
    (re.compile(rb"wvpk"), "WavPack"),
    (re.compile(rb"MAC "), "Monkey's Audio"),
    (re.compile(rb"\xff[\xf0\xf1\xf8\xf9]"), "AAC"),
)
AU = re.compile(rb"\.snd|dns\.")
NIST = re.compile(rb"NIST_1A\n")


def parts_of(source: Source) -> list[Part]:
    """The parts of a file, in order; none where it begins as no format that is read does.

    Formats are WAV, RF64, W64, AIFF, AU, CAF, NIST SPHERE, FLAC, Ogg (Vorbis, Opus, FLAC) and MPEG audio.
    """
    found: list[Part] = []
    at = after_tags(source, 0)
    while at < source.size and (more := _begun_at(source, at)):
        parts, following = more
        found += itertools.islice(parts, MOST_PARTS + 1 - len(found))
        if len(found) > MOST_PARTS:
            return [Part(found[0].pieces, f"has more than {MOST_PARTS} parts")]
        if following <= at:
            break
        at = following
    return found


def other_format(source: Source) -> str:
    """The name of a format that is not read, or nothing."""
    head = source.read(0, 12)
    return next((name for pattern, name in OTHERS if pattern.match(head)), "")


def _starts(source: Source, at: int) -> bool:
    """Whether an audio file begins here; MPEG's two bytes are too few to tell."""
    head = source.read(at, 12)
    return chunks.layout_of(head) is not None or head.startswith((b"fLaC", b"OggS")) or bool(AU.match(head) or NIST.match(head))


def _begun_at(source: Source, at: int) -> tuple[Iterable[Part], int] | None:
    """The parts of the format that begins here, and where the next one does."""
    head = source.read(at, 12)
    if layout := chunks.layout_of(head):
        return chunks.chunked(source, at, layout, _starts)
    if head.startswith(b"fLaC"):
        return flac.streams(source, at), source.size
    if head.startswith(b"OggS"):
        return ogg.streams(source, at), source.size
    if AU.match(head):
        return flat.au(source, at, _starts)
    if NIST.match(head):
        return flat.nist(source, at, _starts)
    return (mpeg.streams(source, at), source.size) if mpeg.frame_of(head[:4]) else None
