"""AU and NIST SPHERE: a header that says how many bytes of samples follow, and those."""

from __future__ import annotations

import re
import struct

from specgraph.containers.chunks import UNKNOWN, Starts
from specgraph.containers.source import Part, Source
from specgraph.containers.tags import after_tags

NIST_FIELD = re.compile(rb"(\w+) -i (\d{1,18})\s")
UNCOMPRESSED = re.compile(rb"sample_coding -s\d+ (pcm|ulaw|alaw|mu-law)\s")
AU_WIDTHS = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}  # bytes of a sample, by encoding


def au(source: Source, start: int, starts: Starts) -> tuple[list[Part], int]:
    """The part that begins at ``start``, and where it ends."""
    head = source.read(start, 24)
    order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 24:
        return [Part(((start, source.size),))], source.size
    offset, size, encoding, _, channels = struct.unpack(order + "5I", head[4:])
    body = start + offset
    unknown = size >= UNKNOWN or (size == 0 and body < source.size)
    if unknown:
        mark = source.find(head[:4] + (b"\0\0" if order == ">" else b"\x18\0\0\0"), body, source.size)
        size = (source.size if mark < 0 else mark) - body
    missing, following = _ended(source, body, size, starts)
    frame = AU_WIDTHS.get(encoding, 0) * channels
    if frame and size % frame and not missing:
        missing = "ends in the middle of a sample"
    right = struct.pack(order + "I", max(min(size, source.size - body), 0))
    pieces = ((start, start + 8), right, (start + 12, following)) if right != head[8:12] else ((start, following),)
    return [Part(pieces, missing)], following


def nist(source: Source, start: int, starts: Starts) -> tuple[list[Part], int]:
    """The part that begins at ``start``, and where it ends."""
    text = source.read(start, 1024)
    fields = {name: int(value) for name, value in NIST_FIELD.findall(text)}
    length = text[8:16].split(b"\n")[0].strip()
    if not (fields.keys() >= {b"sample_count", b"channel_count", b"sample_n_bytes"} and length.isdigit() and UNCOMPRESSED.search(text)):
        return [Part(((start, source.size),))], source.size
    size = fields[b"sample_count"] * fields[b"channel_count"] * fields[b"sample_n_bytes"]
    body = start + int(length)
    missing, following = _ended(source, body, size, starts)
    return [Part(((start, min(body + size, source.size)),), missing)], following


def _ended(source: Source, body: int, size: int, starts: Starts) -> tuple[str, int]:
    """What is wrong with so many bytes of samples at this place, and where the next file or the end is."""
    rest = max(source.size - body, 0)
    if size > rest:
        return f"has {rest} of {size} bytes of samples", source.size
    end = after_tags(source, body + size)
    if end == source.size or starts(source, end):
        return "", end
    return ("" if source.is_zero(end) else f"has {source.size - end} bytes after its samples"), source.size
