"""MPEG audio (MP3): where its frames lie, how many there are, and which files follow one another in one."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field

from specgraph.containers.source import MOST_SPANS, Part, Source, Span
from specgraph.containers.tags import tag_length

BITRATES = {  # kbit/s by index, of (MPEG-1, layer)
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
RATES = (44100, 48000, 32000)  # of MPEG-1; MPEG-2 has half of them, MPEG-2.5 a quarter
VBRI_AT = 36  # bytes before that tag in a frame
HEAD = 54  # bytes of a frame that say all that is asked of it
LEAST_TAG = 64  # bytes of a frame that holds a Xing tag
DELAY = 529  # samples, of a decoder of layer III
MOST_JUNK = 2**16  # bytes that are searched for the next frame
NO_TAG = b"ID3\x04\0\0\0\0\0\n" + bytes(10)  # a tag that holds padding, by which libsndfile knows MP3 without looking at files beside it


@dataclass(frozen=True)
class _Frame:
    length: int
    format: tuple[int, int, int, bool]  # version bits, layer, sample rate, mono: the same in all frames of a stream
    samples: int
    tag_at: int  # where a Xing or Info tag lies in a frame, from its start


@dataclass(frozen=True)
class _Tag:
    span: Span
    frames: int | None  # that follow it


@dataclass
class _Run:
    """Frames of one stream."""

    frame: _Frame
    header: bytes
    spans: list[Span] = field(default_factory=list)
    frames: int = 0
    tag: _Tag | None = None
    missing: str = ""

    def add(self, start: int, stop: int) -> None:
        """One more frame."""
        self.frames += 1
        if self.spans and self.spans[-1][1] == start:
            self.spans[-1] = (self.spans[-1][0], stop)
        elif len(self.spans) < MOST_SPANS:
            self.spans.append((start, stop))
        else:
            self.missing = self.missing or f"is in more than {MOST_SPANS} pieces"


@functools.lru_cache(4096)
def frame_of(header: bytes) -> _Frame | None:
    """What the four bytes of a frame's header say; None where they are none, or of free bit rate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] < 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    index, rate_index = header[2] >> 4, header[2] >> 2 & 3
    if version == 1 or layer == 4 or index in (0, 15) or rate_index == 3 or header[3] & 3 == 2:
        return None
    first = version == 3
    rate = RATES[rate_index] // {3: 1, 2: 2, 0: 4}[version]
    bits, padding = BITRATES[first, layer][index] * 1000, header[2] >> 1 & 1
    samples = {1: 384, 2: 1152, 3: 1152 if first else 576}[layer]
    length = (12 * bits // rate + padding) * 4 if layer == 1 else samples // 8 * bits // rate + padding
    mono = header[3] >> 6 == 3
    side = ((17 if mono else 32) if first else (9 if mono else 17)) if layer == 3 else 32
    return _Frame(length, (version, layer, rate, mono), samples, 4 + side)


def streams(source: Source, start: int) -> Iterator[Part]:
    """The parts of an MPEG file from ``start`` on."""
    run: _Run | None = None
    at, broken, end = start, "", start  # ``end`` of the last frame; ``broken`` says what lies between it and the next
    while at < source.size:
        head = source.read(at, HEAD)
        frame = frame_of(head[:4])
        if frame and at + frame.length <= source.size and (_continues(run, frame) or _follows(source, at, frame)):
            tag = _tag_of(head, at, frame)
            if run is None or tag or not _continues(run, frame):
                if run is not None:
                    run.missing = run.missing or ("" if _is_zero(source, end, at) else broken)
                    yield _part(run)
                run = _Run(frame, head[:4], tag=tag)
                broken = ""
            run.missing = run.missing or broken
            if tag is None:
                run.add(at, at + frame.length)
            at = end = at + frame.length
            broken = ""
        elif length := tag_length(source, at):
            at += length
        elif (found := _resynchronized(source, at)) is not None:
            broken = broken or f"has {found - at} bytes between its frames"
            at = found
        else:
            if run is not None:
                run.missing = run.missing or _unfinished(source, at, run, frame)
            break
    yield _part(run) if run is not None else Part(((start, source.size),), kind="mpeg")


def _unfinished(source: Source, at: int, run: _Run, frame: _Frame | None) -> str:
    """What is wrong where no frame follows."""
    if frame and _continues(run, frame):
        return "ends in the middle of a frame"
    long = source.size - at > run.frame.length and not source.is_zero(at)
    return f"has {source.size - at} bytes after its last frame" if long else ""


def _is_zero(source: Source, start: int, stop: int) -> bool:
    return stop - start <= MOST_JUNK and not any(source.fresh(start, stop - start))


def _continues(run: _Run | None, frame: _Frame) -> bool:
    return run is not None and run.frame.format == frame.format


def _tag_of(head: bytes, at: int, frame: _Frame) -> _Tag | None:
    """The tag that the frame at ``at``, which begins with ``head``, holds instead of sound."""
    kind = head[frame.tag_at : frame.tag_at + 4]
    if kind in (b"Xing", b"Info"):
        counted = len(head) == HEAD and head[frame.tag_at + 7] & 1
        return _Tag((at, at + frame.length), int.from_bytes(head[frame.tag_at + 8 : frame.tag_at + 12], "big") if counted else None)
    if head[VBRI_AT : VBRI_AT + 4] == b"VBRI":
        return _Tag((at, at + frame.length), int.from_bytes(head[VBRI_AT + 14 : VBRI_AT + 18], "big"))
    return None


def _follows(source: Source, at: int, frame: _Frame) -> bool:
    """Whether a frame ends where another of its kind, a tag or the file's end is."""
    stop = at + frame.length
    following = frame_of(source.read(stop, 4))
    return stop == source.size or bool(following and following.format == frame.format) or tag_length(source, stop) > 0


def _resynchronized(source: Source, at: int) -> int | None:
    """The next place at which a frame lies, within reach."""
    piece = source.fresh(at, MOST_JUNK)
    place = 0
    while (place := piece.find(b"\xff", place + 1)) >= 0:
        frame = frame_of(piece[place : place + 4])
        if frame and at + place + frame.length <= source.size and _follows(source, at + place, frame):
            return at + place
    return None


def _part(run: _Run) -> Part:
    """A stream with a tag that counts its frames: without one libsndfile guesses their number, and decodes no more.

    By a tag the decoder drops its own delay, which it does not of a stream without one. A silent frame makes up for that.
    """
    if run.tag and run.tag.frames is not None and run.tag.frames >= run.frames:
        missing = run.missing if run.tag.frames == run.frames else ""  # or else the samples are counted, which says more
        return Part(_merged([run.tag.span, *run.spans]), missing, kind="mpeg")
    samples, layer = run.frame.samples, run.frame.format[1]
    if layer != 3:  # of which every frame has the same length, so that the guess is right
        return Part((NO_TAG, *run.spans), run.missing, run.frames * samples, kind="mpeg")
    header, frame = _small_frame(run)
    tag = header + bytes(frame.tag_at - 4) + b"Xing\0\0\0\1" + (run.frames + 1).to_bytes(4, "big")
    pieces: tuple[bytes | Span, ...] = (NO_TAG + tag.ljust(frame.length, b"\0") + header.ljust(frame.length, b"\0"), *run.spans)
    return Part(pieces, run.missing, run.frames * samples, kind="mpeg", lead=samples - DELAY)


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    merged = spans[:1]
    for start, stop in spans[1:]:
        if merged[-1][1] == start:
            merged[-1] = (merged[-1][0], stop)
        else:
            merged.append((start, stop))
    return tuple(merged)


def _small_frame(run: _Run) -> tuple[bytes, _Frame]:
    """The header of the smallest frame of a stream's format that holds a tag."""
    for index in range(1, 15):
        header = bytes((run.header[0], run.header[1] | 1, index << 4 | run.header[2] & 0x0C, run.header[3]))
        if (frame := frame_of(header)) and frame.length >= LEAST_TAG:
            return header, frame
    raise AssertionError("every format has frames that hold a tag")
