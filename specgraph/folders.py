"""Audio files below a folder, and what else is there and why it is not taken."""

from __future__ import annotations

import errno
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath

# Of the formats that specgraph.containers knows.
SUFFIXES = (
    ".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
    ".sph", ".nist",
)  # fmt: skip
OTHERS = 6  # suffixes that are counted each

PLURALS = {
    "unknown": ("1 file that is not audio known here", "{} files that are not audio known here"),
    "dangling": ("1 dangling link", "{} dangling links"),
    "loop": ("1 link that leads to itself", "{} links that lead to themselves"),
    "link": ("1 link to a folder, which is not followed", "{} links to folders, which are not followed"),
    "gone": ("1 entry that vanished or may not be looked at", "{} entries that vanished or may not be looked at"),
    "special": ("1 pipe, socket or device", "{} pipes, sockets or devices"),
}


@dataclass(frozen=True)
class AudioBelow:
    """The audio files below a folder.

    Attributes:
        names: paths relative to the folder, with "/", in the order of their parts.
        passed_over: how many other entries there are, by the reason: "unknown.txt" for files that end in .txt, "dangling", "loop",
            "link", "special", or "folder" with the reason of the system for folders that may not be read.
    """

    names: list[str]
    passed_over: Mapping[str, int]

    def __str__(self) -> str:
        return passed_over_text(self.passed_over)


def audio_below(folder: Path) -> AudioBelow:
    """Find the audio below a folder. Links to folders are not followed.

    Raises:
        OSError: the folder itself may not be read.
    """
    names: list[str] = []
    over: Counter[str] = Counter()
    waiting = [""]
    while waiting:
        place = waiting.pop()
        try:
            entries = os.scandir(os.path.join(folder, place))
        except OSError as error:
            if not place:
                raise OSError(f"the folder {folder} may not be read ({(error.strerror or str(error)).lower()})") from None
            over[f"folder:{errno.errorcode.get(error.errno or 0, 'unknown error')}"] += 1
            continue
        with entries:
            for name, reason in _kinds(entries):
                path = f"{place}{name}"
                if reason == "down":
                    waiting.append(f"{path}/")
                elif reason == "audio":
                    names.append(path)
                else:
                    over[reason] += 1
    return AudioBelow(sorted(names, key=lambda name: name.split("/")), dict(over))


def passed_over_text(passed_over: Mapping[str, int]) -> str:
    """How many of what were passed over, in words; nothing where there are none."""
    told: list[str] = []
    unknown = Counter({reason.removeprefix("unknown"): count for reason, count in passed_over.items() if reason.startswith("unknown")})
    if unknown:
        most = [f"{suffix or 'without a suffix'} {count}" for suffix, count in unknown.most_common(OTHERS)]
        more = [f"{len(unknown) - OTHERS} more kinds"] if len(unknown) > OTHERS else []
        told.append(f"{_plural('unknown', unknown.total())} ({', '.join(most + more)})")
    for reason, count in sorted(passed_over.items()):
        if reason.startswith("folder:"):
            told.append(f"{count} folder{'s' * (count > 1)} that may not be read ({reason.removeprefix('folder:')})")
        elif not reason.startswith("unknown"):
            told.append(_plural(reason, count))
    return ", ".join(told)


def _plural(reason: str, count: int) -> str:
    one, many = PLURALS.get(reason, (f"1 {reason}", f"{{}} {reason}"))
    return one if count == 1 else many.format(count)


def _kinds(entries: Iterator[os.DirEntry[str]]) -> Iterator[tuple[str, str]]:
    """What each entry of a folder is: "down" for a folder, "audio", or the reason why it is passed over."""
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, "down"
                continue
            mode = entry.stat().st_mode
        except OSError as error:
            yield entry.name, "loop" if error.errno == errno.ELOOP else "dangling" if entry.is_symlink() else "gone"
            continue
        suffix = PurePath(entry.name).suffix.lower()
        if stat.S_ISDIR(mode):
            yield entry.name, "link"
        elif not stat.S_ISREG(mode):
            yield entry.name, "special"
        else:
            yield entry.name, "audio" if suffix in SUFFIXES else f"unknown{suffix if suffix.isascii() and suffix.isprintable() else ''}"
