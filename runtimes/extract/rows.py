"""One row for each file: its features, or in one sentence why there are none. A bad file never costs the files beside it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from specgraph.decoding import DEFAULT, AudioError, Decoder, Limits, together
from specgraph.runtimes.base import AHEAD, Runner
from specgraph.runtimes.workers import ordered, pool

Array = npt.NDArray[Any]

LONG = 2**22  # samples, from which a clip is decoded and computed piece by piece, where the model can: 16 MB
ON_DAMAGE = ("fail", "salvage", "skip")


@dataclass(frozen=True)
class Item:
    """A file as a row names it, where it is or what it holds, and in seconds which part of it is meant."""

    path: str
    source: str | Path | bytes | None  # None: it was not to be had
    offset: float = 0.0
    duration: float | None = None  # None: to its end
    channel: int | None = None  # the one that is taken, from 0; None: the mix of all
    crashed: str = ""  # why it is not tried


@dataclass(frozen=True)
class Row:
    """What became of a file. ``features`` by column, (frames, ...) each; None where there are none.

    ``frames`` are those of the first column, ``duration`` seconds at ``sample_rate``, which is the model's, from ``offset`` on in the
    file. ``error`` is None, or why there are no features or what of them is missing: a kind, a colon, a sentence. ``channel`` is the one
    that was taken, None for the mix of all.
    """

    path: str
    features: dict[str, Array] | None
    frames: int
    sample_rate: int
    offset: float
    duration: float
    error: str | None
    channel: int | None = None

    @property
    def bytes(self) -> int:
        """What the features take."""
        return sum(array.nbytes for array in (self.features or {}).values())


@dataclass(frozen=True)
class Column:
    """A column of features: the output that it holds, its size in each frame, its dtype, and which axis of the output is time (None: none is)."""

    name: str
    output: str
    sizes: tuple[int, ...]
    dtype: np.dtype[Any]
    axis: int | None

    def time_first(self, output: Array) -> Array:
        """An output without batch axis as (frames, ...)."""
        moved = output[None] if self.axis is None else np.moveaxis(output, self.axis, 0)
        return np.ascontiguousarray(moved.reshape(len(moved), *self.sizes), self.dtype)

    def as_output(self, features: Array) -> Array:
        """(frames, ...) as the model gives it."""
        if self.axis is None:
            return features[0]
        return np.moveaxis(features, 0, self.axis) if features.ndim > 1 else features


@dataclass
class _Begun:
    """A file of which the first blocks are decoded; ``rest`` is what follows, None where that is all."""

    item: Item
    decoder: Decoder
    held: list[Array] = field(default_factory=list)
    rest: Iterator[Array] | None = None


@final
class Extractor:
    """Rows of files, by one runner.

    Args:
        runner: a front end that takes waveforms.
        on_damage: "salvage" to take what can be decoded of a damaged file, and say in its row what is missing; "skip" for a row
            with the error alone; "fail" to raise the first error of a file.
        limits: what one file may cost.

    Raises:
        ValueError: the model does not take waveforms, or its outputs have no fixed size in each frame.
    """

    def __init__(self, runner: Runner, on_damage: str = "skip", limits: Limits = DEFAULT) -> None:
        if on_damage not in ON_DAMAGE:
            raise ValueError(f"on_damage must be 'fail', 'salvage' or 'skip', not {on_damage!r}")
        if not runner.takes_waveforms:
            raise ValueError(f"{runner.path} takes {', '.join(runner.input_names)}, not audio, so there is nothing to extract from files with it")
        self.runner, self.on_damage, self.limits = runner, on_damage, limits
        self.columns = _columns(runner)
        try:
            runner.stream()
            self._streams = True
        except ValueError:
            self._streams = False

    def rows(self, items: Iterable[Item], ahead: int = AHEAD, begun: Callable[[Item], None] = lambda item: None) -> Iterator[Row]:
        """A row for each item, in order.

        Args:
            items: files.
            ahead: how many are decoded in a thread of their own while others are computed; 0 for one after the other.
            begun: called with each item before it is opened, in that thread.

        Raises:
            ValueError, OSError: with "fail", what is wrong with a file.
        """

        def begin(item: Item) -> _Begun | Row:
            begun(item)
            return self._guarded(item, lambda: self._begin(item))

        if not ahead:
            yield from (self._ended(begin(item)) for item in items)
            return
        with pool(1) as thread:
            yield from map(self._ended, ordered(begin, items, thread, ahead))

    def _ended(self, found: _Begun | Row) -> Row:
        return found if isinstance(found, Row) else self._guarded(found.item, lambda: self._finish(found))

    def _guarded(self, item: Item, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except Exception as error:  # whatever a file does, it is its own row
            if self.on_damage == "fail":
                raise
            return Row(item.path, None, 0, self.runner.sample_rate, item.offset, 0.0, sentence(error, item.path), item.channel)

    def _begin(self, item: Item) -> _Begun:
        if item.crashed:
            raise AudioError(item.crashed, "crash")
        if item.source is None:
            raise AudioError(f"{item.path} came without its content", "unreadable")
        run = self.runner
        decoder = Decoder(
            item.source, run.sample_rate, run.channels, run.input_types[0], item.path, self.on_damage == "salvage", item.offset, item.duration,
            item.channel, self.limits,
        )  # fmt: skip
        begun = _Begun(item, decoder)
        blocks, samples = decoder.blocks(), 0
        for block in blocks:
            begun.held.append(block)
            samples += block.shape[-1]
            if samples >= LONG:
                begun.rest = blocks
                break
        return begun

    def _finish(self, begun: _Begun) -> Row:
        least, rate = self.runner.meta.min_samples, self.runner.sample_rate
        if begun.rest is not None and self._streams:
            features, samples = self._streamed(itertools.chain(begun.held, begun.rest))
        else:
            wave = together([*begun.held, *(begun.rest or ())])
            samples = wave.shape[-1]
            begun.held.clear()
            if samples < least:
                raise AudioError(f"{begun.item.path} has {samples} sample{'s' * (samples != 1)} and the model needs {least} or more", "too short")
            outputs = self.runner.outputs(wave)
            features = {column.name: column.time_first(outputs[column.output]) for column in self.columns}
        damage = f"damaged: {begun.decoder.damage}" if begun.decoder.damage else None
        frames = len(features[self.columns[0].name])
        return Row(begun.item.path, features, frames, rate, begun.item.offset, samples / rate, damage, begun.item.channel)

    def _streamed(self, blocks: Iterable[Array]) -> tuple[dict[str, Array], int]:
        """The features of a long clip, which is never held whole."""
        stream = self.runner.stream()
        held = {column: bytearray() for column in self.columns}  # which grow in place: pieces beside their sum would be twice the memory

        def keep(found: Any) -> None:
            for column, pieces in held.items():
                pieces += column.time_first(found[column.output] if isinstance(found, dict) else found).tobytes()

        for block in blocks:
            keep(stream.push(block))
        keep(stream.finish())
        features = {column.name: np.frombuffer(pieces, column.dtype).reshape(-1, *column.sizes) for column, pieces in held.items()}
        return features, stream.received


def sentence(error: Exception, path: str) -> str:
    """An error as a row has it: a kind, a colon, one sentence that names the file."""
    kinds = {FileNotFoundError: "missing", IsADirectoryError: "folder", PermissionError: "not permitted", MemoryError: "memory"}
    kind = getattr(error, "kind", "") or next((word for cls, word in kinds.items() if isinstance(error, cls)), "")
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        kind = kind or "unreadable"
        text = f"{path} cannot be read ({error.strerror.lower()})" if error.strerror else text
    elif isinstance(error, MemoryError):
        text = f"{path} needs more memory than there is"
    kind = kind or ("model" if isinstance(error, ValueError) else type(error).__name__)
    return f"{kind}: {text}" if path in text else f"{kind}: {path}: {text or type(error).__name__}"


def _columns(runner: Runner) -> tuple[Column, ...]:
    """What the outputs are, seen on a second of silence: their sizes in each frame and their dtypes."""
    found = runner.outputs(runner.silence(max(runner.meta.min_samples, runner.sample_rate)))
    names = runner.feature_names
    taken = {"path", "frames", "sample_rate", "offset", "duration", "error", "channel"} & {*names} if len(names) > 1 else set()
    if taken:
        raise ValueError(f"{runner.path} has an output named {taken.pop()}, which is a column of its own in the table; export it under another name")
    columns = []
    for name in names:
        axes = [axis for axis in runner.meta.outputs[name].axes if axis != "batch"]
        axis = next((at for at, kind in enumerate(axes) if kind in ("frames", "samples")), None)
        sizes = tuple(size for at, size in enumerate(found[name].shape) if at != axis)
        columns.append(Column("features" if len(names) == 1 else name, name, sizes, found[name].dtype, axis))
    return tuple(columns)
