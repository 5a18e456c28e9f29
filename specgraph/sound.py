"""A part of an audio file, opened by libsndfile: what goes wrong in it is one error."""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from specgraph.containers import Part, Source, Window


class SoundError(Exception):
    """What libsndfile cannot open or decode, in its words."""


def required(package: str) -> Any:
    """A package that audio files need, and arrays do not.

    Raises:
        ImportError: it is not installed; the message says what to do.
    """
    try:
        return importlib.import_module(package)
    except ImportError:
        raise ImportError(f"audio files need {package}, which is not installed: pip install soundfile soxr; or give arrays") from None


class Sound:
    """A file that libsndfile decodes, from its first sample on.

    Attributes:
        samplerate, channels, frames, format, subtype, seekable: what libsndfile says of it.
    """

    def __init__(self, source: Source, part: Part, path: Path | None) -> None:
        soundfile = required("soundfile")
        self._window: Window | None = None
        alone = os.name == "posix" and part.pieces == ((0, source.size),)
        # libsndfile reads a file beside an MP3 whose name is its own after "._", which macOS writes.
        if path is not None and alone and not (part.kind == "mpeg" and os.path.lexists(path.with_name(f"._{path.name}"))):
            given: Any = os.fsencode(path)  # names that are not UTF-8 too
        else:
            self._window = Window(source, part.pieces)
            given = io.BufferedReader(self._window, 2**16)
        with self._guarded():
            self._file = soundfile.SoundFile(given)
        self.seekable = bool(self._file.seekable())
        self._file.seekable = lambda: False  # or soundfile seeks after every block that it reads, which fails where the length is unknown
        self.samplerate, self.channels, self.frames = self._file.samplerate, self._file.channels, self._file.frames
        self.format, self.subtype = self._file.format, self._file.subtype
        self._lead = part.lead
        if self._lead:
            self.read(self._lead)

    def read(self, frames: int) -> npt.NDArray[np.float32]:
        """Up to so many samples, (samples, channels), float32."""
        with self._guarded():
            return self._file.read(frames, dtype="float32", always_2d=True)

    def seek(self, frame: int) -> None:
        """Go on from there."""
        with self._guarded():
            self._file.seek(self._lead + frame)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        import soundfile

        error: Exception | None = None
        try:
            yield
        except (soundfile.LibsndfileError, TypeError, ValueError) as found:
            error = found
        if self._window is not None and self._window.error is not None:
            raise self._window.error
        if error is not None:
            raise SoundError(str(getattr(error, "error_string", error)).rstrip(".")) from None
