"""What is written for a file is called: a name of its own, from which the file's path can be read, inside the output."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePath, PurePosixPath

LONGEST = 255  # bytes of a name, on the file systems that are in use
PART = re.compile(r"@\d[-+.\de]*(#\d+)?$|@$")  # how the name of a part of a file ends, or one that was escaped
TAKEN = re.compile(r"(\.np[yz]|^\.\.)@*$", re.IGNORECASE)  # what no folder of features may be called: features, the folder above, or one that was escaped
BYTE = re.compile(r"\\x[89a-f][0-9a-f]")


def readable(path: str) -> str:
    r"""A path as UTF-8, another for every path: bytes that are not UTF-8 become ``\xe9``.

    A path that holds such a sequence, as bytes or as these four characters, has its other backslashes doubled; so ``unreadable``
    gives it back.
    """
    if not BYTE.search(path) and path.isprintable():
        return path  # the usual one, at once
    plain = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return path.replace("\\", "\\\\").encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if BYTE.search(plain) else path


def unreadable(text: str) -> str:
    """The path that ``readable`` was given."""
    if not BYTE.search(text):
        return text
    pieces = re.split(r"(\\\\|\\x[89a-f][0-9a-f])", text)
    return "".join(
        "\\" if piece == "\\\\" else os.fsdecode(bytes.fromhex(piece[2:])) if BYTE.fullmatch(piece) else piece for piece in pieces
    )


def place_of(file: str) -> str:
    """Where a file is, the same for all paths that lead there by ``.``, ``..`` and ``//``; a link before ``..`` is followed, as the system does."""
    found: list[str] = []
    drive, rest = os.path.splitdrive(os.path.join(os.getcwd(), file))
    for name in rest.replace(os.altsep or os.sep, os.sep).split(os.sep):
        here = drive + os.sep + os.sep.join(found)
        if name == ".." and (not found or found[-1] != "..") and os.path.isdir(here):
            if os.path.islink(here):
                drive, rest = os.path.splitdrive(os.path.realpath(here))
                found = [name for name in rest.split(os.sep) if name]
            found = found[:-1]
        elif name not in ("", "."):
            found.append(name)
    return drive + os.sep + os.sep.join(found)


def names_of(paths: Mapping[str, str]) -> dict[str, str]:
    """What is written for each place: its path where all are relative and lead down, or else its path from the folder that holds all."""
    if all(not PurePath(path).is_absolute() and ".." not in PurePath(path).parts for path in paths.values()):
        named = {place: os.path.normpath(path) for place, path in paths.items()}
    elif len({PurePath(place).drive for place in paths}) > 1:
        named = {place: place.replace(":", "", 1).lstrip("\\/") for place in paths}
    else:
        top = os.path.commonpath([os.path.dirname(place) for place in paths])
        named = {place: str(PurePath(place).relative_to(top)) for place in paths}
    return {place: _name(PurePath(name).as_posix()) for place, name in named.items()}


def part_suffix(offset: float, duration: float | None, channel: int | None) -> str:
    """What the name of a part of a file ends with, where there are several parts."""
    return f"@{offset!r}{'' if duration is None else f'+{duration!r}'}{'' if channel is None else f'#{channel}'}"


def is_inside(name: str) -> bool:
    """Whether a name leads nowhere but down."""
    parts = name.split("/")
    drive, _ = os.path.splitdrive(name)
    return not drive and not {"", ".", ".."} & {*parts} and (os.sep == "/" or os.sep not in name)


def check_lengths(names: Iterable[tuple[str, str]], suffix: str) -> None:
    """Raise ``ValueError`` where the name that is written for a path is longer than a file's can be.

    Args:
        names: (path, name) of each.
        suffix: what is put behind each.
    """
    for path, name in names:
        if any(len(os.fsencode(part)) > LONGEST for part in f"{name}{suffix}".split("/")):
            raise ValueError(f"{path}{suffix} is a longer name than a file can have; rename {path}, or choose another --format")


def check_case(names: Iterable[tuple[str, str]], probe: Path) -> None:
    """Raise ``ValueError`` where two names are one to a file system that does not look at case; ``probe`` is a file or folder there."""
    if not probe.with_name(probe.name.upper()).exists():
        return
    seen: dict[str, str] = {}
    for path, name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if key in seen:
            raise ValueError(f"{seen[key]} and {path} have one name in {probe.parent}, where case makes no difference; choose another --format or folder")
        seen[key] = path


def _name(path: str) -> str:
    """A path as the name of features: its folders are not called as features are, and its end is not that of a part."""
    *folders, last = PurePosixPath(readable(path)).parts or ("@",)
    last = f"{last}@" if PART.search(last) or TAKEN.fullmatch(last) else last
    return "/".join([*(f"{folder}@" if TAKEN.search(folder) else folder for folder in folders), last])
