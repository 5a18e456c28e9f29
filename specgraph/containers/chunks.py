"""WAV, RF64, W64, AIFF, AU, CAF and NIST: where the samples lie, and whether all that the header declares are there."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from specgraph.containers.source import Part, Source
from specgraph.containers.tags import tag_length

UNKNOWN = 0x7FFFF000  # a 32-bit size at least so large was written by a program that did not know it
FAR = 2**62  # the same for 64 bits
MOST_CHUNKS = 10_000  # of a file, each of which takes microseconds to look at
GUID = bytes.fromhex("00c04f8edb8a")  # the end of all names of chunks in W64, but for those of the file and of lists
TRAILERS = {b"LIST", b"id3 ", b"ID3 ", b"bext", b"iXML", b"axml", b"cue ", b"smpl", b"JUNK", b"PAD ", b"_PMX", b"PEAK", b"fact", b"COMT", b"ANNO"}
PLAIN = {1, 3}  # formats of WAV whose samples have bits // 8 bytes: integers and floats
EXTENSIBLE = 0xFFFE


@dataclass(frozen=True)
class Layout:
    """How the chunks of a container are written.

    Attributes:
        name: bytes of a chunk's name.
        size: the struct format of its size.
        whole: whether that counts the chunk's header.
        align: chunks begin at multiples of this, from the first.
        first: where the first chunk begins, from the container's start.
        data: the name of the chunk of samples.
        skip: bytes before the samples in it.
        marks: bytes near the start of a container that samples do not hold by chance.
        mark_at: their place in it.
    """

    size: str
    first: int
    data: bytes
    marks: re.Pattern[bytes]
    mark_at: int
    name: int = 4
    whole: bool = False
    align: int = 2
    skip: int = 0

    @property
    def header(self) -> int:
        """Bytes before what a chunk holds."""
        return self.name + struct.calcsize(self.size)

    @property
    def unknown(self) -> int:
        """The sizes from which on a program did not know them."""
        return UNKNOWN if struct.calcsize(self.size) == 4 else FAR


WAVE = re.compile(rb"WAVE(fmt |ds64|JUNK|bext)")
W64 = Layout(
    "<Q", 40, b"data\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a", re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6"), 0, name=16, whole=True, align=8
)
LAYOUTS: tuple[tuple[re.Pattern[bytes], Layout], ...] = (
    (re.compile(rb"(RIFF|RF64|BW64)....WAVE", re.DOTALL), Layout("<I", 12, b"data", WAVE, 8)),
    (re.compile(rb"RIFX....WAVE", re.DOTALL), Layout(">I", 12, b"data", WAVE, 8)),
    (re.compile(rb"FORM....AIF[FC]", re.DOTALL), Layout(">I", 12, b"SSND", re.compile(rb"AIFFCOMM|AIFCFVER"), 8, skip=8)),
    (re.compile(rb"caff\x00\x01"), Layout(">Q", 8, b"data", re.compile(rb"caff\x00\x01\x00\x00desc"), 0, align=1, skip=4)),
    (re.compile(rb"riff\x2e\x91\xcf\x11"), W64),
)


@dataclass(frozen=True)
class Chunk:
    """A chunk: its name, where what it holds begins, and how many bytes it declares."""

    name: bytes
    body: int
    size: int


Starts = Callable[[Source, int], bool]  # whether an audio file begins at a place


def layout_of(head: bytes) -> Layout | None:
    """How the chunks are written of a file that begins with these bytes."""
    return next((layout for pattern, layout in LAYOUTS if pattern.match(head)), None)


def chunked(source: Source, start: int, layout: Layout, starts: Starts) -> tuple[list[Part], int]:
    """The part that begins at ``start``, and where it ends."""
    wide: int | None = None  # the size of the samples in RF64
    frame, declared_frames = 0, 0
    for chunk in _chunks(source, start + layout.first, layout):
        if chunk.name == b"ds64":
            wide = int.from_bytes(source.read(chunk.body + 8, 8), "little")
        elif chunk.name[:4] == b"fmt ":
            frame, wrong = _wav_frame(source.read(chunk.body, 26), layout.size[0])
            if wrong:
                return [Part(((start, source.size),), wrong)], source.size
        elif chunk.name == b"COMM":
            frame, declared_frames = _aiff_frame(source.read(chunk.body, min(chunk.size, 22)))
        elif chunk.name == b"desc":
            frame = _caf_frame(source.read(chunk.body, 32))
        elif chunk.name == layout.data:
            size = wide if wide is not None and chunk.size >= UNKNOWN else chunk.size
            return _samples(source, start, layout, Chunk(chunk.name, chunk.body, size), frame, declared_frames, starts)
    return [Part(((start, source.size),))], source.size


def _chunks(source: Source, at: int, layout: Layout) -> Iterator[Chunk]:
    for _ in range(MOST_CHUNKS):
        if (chunk := _chunk(source, at, layout)) is None:
            return
        yield chunk
        at = _behind(chunk, at, layout)


def _chunk(source: Source, at: int, layout: Layout) -> Chunk | None:
    head = source.read(at, layout.header)
    if len(head) < layout.header:
        return None
    size = struct.unpack(layout.size, head[layout.name :])[0]
    return Chunk(head[: layout.name], at + layout.header, max(size - layout.header, 0) if layout.whole else size)


def _behind(chunk: Chunk, at: int, layout: Layout) -> int:
    """Where the chunk after this one, which begins at ``at``, begins."""
    length = chunk.body - at + chunk.size
    return at + length + -length % layout.align


def _samples(
    source: Source, start: int, layout: Layout, chunk: Chunk, frame: int, declared_frames: int, starts: Starts
) -> tuple[list[Part], int]:
    """The part with this chunk of samples, each frame of so many bytes (0: compressed), and where the part ends."""
    rest = source.size - chunk.body
    end, missing = chunk.body + chunk.size, ""
    if chunk.size >= layout.unknown or (chunk.size <= layout.skip and _after(source, end, layout, starts)[1]):
        end = source.search(layout.marks, chunk.body)
        end = source.size if end < 0 else end - layout.mark_at
        following = end
    elif chunk.size > rest:
        missing = f"has {max(rest - layout.skip, 0)} of {chunk.size - layout.skip} bytes of samples"
        end = following = source.size
    else:
        following, missing = _after(source, _behind(chunk, chunk.body - layout.header, layout), layout, starts)
        if missing and layout.align > 1:  # some programs leave out the byte that pads an odd size
            following, missing = min((following, missing), _after(source, end, layout, starts), key=lambda found: found[1])
    held = max(end - chunk.body - layout.skip, 0)
    if frame and held % frame and any(source.read(end - held % frame, held % frame)):
        missing = missing or "ends in the middle of a sample"
    if frame and not missing and held < declared_frames * frame and declared_frames * frame < UNKNOWN:
        missing = f"has {held // frame} of {declared_frames} samples"
    stop = end if layout.whole or (frame == 0 and layout.skip == 0) else following  # libsndfile may take what follows for samples
    return [Part(_pieces(source, start, layout, chunk, end, stop), missing)], following


def _pieces(source: Source, start: int, layout: Layout, chunk: Chunk, end: int, stop: int) -> tuple[bytes | tuple[int, int], ...]:
    """The part up to ``stop``, with the right size of its samples, which end at ``end``."""
    size_at = chunk.body - struct.calcsize(layout.size)
    written = source.read(size_at, struct.calcsize(layout.size))
    magic = source.read(start, 4)
    if magic in (b"RF64", b"BW64"):
        if chunk.size == end - chunk.body and magic == b"RF64":
            return ((start, stop),)
        size = (end - chunk.body).to_bytes(8, "little")  # libsndfile knows one of the two names
        return (b"RF64", (start + 4, start + 28), size, (start + 36, stop))
    right = struct.pack(layout.size, min(end - chunk.body, UNKNOWN if layout.size[1] == "I" else FAR))
    if layout.whole or right == written:
        return ((start, stop),)
    return ((start, size_at), right, (size_at + len(right), stop))


def _after(source: Source, at: int, layout: Layout, starts: Starts) -> tuple[int, str]:
    """Where the next file or the end is, after the samples; and what is wrong there."""
    for _ in range(MOST_CHUNKS):
        if source.size - at < layout.header:
            return source.size, ""
        if starts(source, at):
            return at, ""
        if length := tag_length(source, at):
            at += length
            continue
        chunk = _chunk(source, at, layout)
        assert chunk is not None
        if chunk.name == layout.data:
            return source.size, "has two chunks of samples"
        if _plausible(chunk.name) and chunk.body + chunk.size <= source.size:
            at = _behind(chunk, at, layout)
            continue
        if chunk.name in TRAILERS or source.is_zero(at):
            return source.size, ""
        return source.size, f"has {source.size - at} bytes after its samples, in no chunk"
    return source.size, f"has more than {MOST_CHUNKS} chunks after its samples"


def _plausible(name: bytes) -> bool:
    if len(name) == 16:
        return name.endswith(GUID) or name.startswith((b"list", b"LIST"))
    return all(0x20 <= byte < 0x7F for byte in name)


def _wav_frame(fmt: bytes, order: str) -> tuple[int, str]:
    """Bytes of a sample of all channels, 0 where it is compressed; and what is wrong with the format."""
    if len(fmt) < 16:
        return 0, ""
    kind, channels, _, _, align, bits = struct.unpack(order + "HHIIHH", fmt[:16])
    if kind == EXTENSIBLE and len(fmt) == 26:
        kind = struct.unpack(order + "H", fmt[24:26])[0]
    if kind not in PLAIN:
        return 0, ""
    frame = channels * ((bits + 7) // 8)
    if align != frame:
        return frame, f"gives {align} bytes to a sample of {bits} bits in each of {channels} channels"
    return frame, ""


def _aiff_frame(comm: bytes) -> tuple[int, int]:
    """Bytes of a sample of all channels, 0 where it may be compressed, and how many there are."""
    if len(comm) < 18:
        return 0, 0
    channels, frames, bits = struct.unpack(">HIH", comm[:8])
    plain = len(comm) < 22 or comm[18:22] in (b"NONE", b"twos", b"sowt")
    return channels * ((bits + 7) // 8) if plain else 0, frames


def _caf_frame(desc: bytes) -> int:
    """Bytes of a sample of all channels, 0 where it is compressed."""
    return int.from_bytes(desc[16:20], "big") if desc[8:12] == b"lpcm" else 0
