"""What an audio file says of its own length, where libsndfile takes a file that was cut off for a shorter one."""

from __future__ import annotations

import struct
from typing import BinaryIO

UNKNOWN = 0x7FFFF000  # a chunk at least so large was written by a program that did not know its size
OGG_TAIL = 2 * 65307  # bytes in which the last whole page of an Ogg file lies
OGG_LAST = 4  # the flag of a stream's last page


def cut_off(file: BinaryIO) -> str:
    """What is missing of a file by its own header, such as "has 100 of 200 bytes of samples", or nothing.

    RIFF and AIFF say how many bytes of samples follow (their data or SSND chunk), an Ogg stream ends with a page that says so. Other
    formats count frames, which decoding checks, or say nothing.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
        return _chunk(file, size, b"data", "<" if head[:4] == b"RIFF" else ">")
    if head[:4] == b"FORM" and head[8:] in (b"AIFF", b"AIFC"):
        return _chunk(file, size, b"SSND", ">")
    if head[:4] == b"OggS":
        return _ogg(file, size)
    return ""


def counts_frames(file: BinaryIO) -> bool:
    """Whether the number of frames that libsndfile tells was written by the encoder: for MP3 without a tag it is a guess."""
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3" and len(head) == 10:
        start = 10 + sum(byte << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    elif head[:1] != b"\xff":
        return True
    file.seek(start)
    frame = file.read(256)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))


def _chunk(file: BinaryIO, size: int, name: bytes, order: str) -> str:
    while len(header := file.read(8)) == 8:
        declared, here = struct.unpack(order + "I", header[4:])[0], file.tell()
        if header[:4] == name:
            if declared >= UNKNOWN or declared <= size - here:
                return ""
            first = 8 if name == b"SSND" else 0  # two numbers that stand before the samples
            return f"has {max(size - here - first, 0)} of {declared - first} bytes of samples"
        file.seek(here + declared + declared % 2)
    return ""


def _ogg(file: BinaryIO, size: int) -> str:
    file.seek(max(size - OGG_TAIL, 0))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    whole = len(page) >= 27 and len(page) >= 27 + page[26] and len(page) >= 27 + page[26] + sum(page[27 : 27 + page[26]])
    return "" if whole and page[5] & OGG_LAST else "ends before the last page of its stream"
