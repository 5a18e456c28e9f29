"""The function that every engine runs: paths or bytes to an Arrow table. Plain, so that Spark, Dask, Daft and Ray can call it too."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from specgraph.runtimes.base import Runner
from specgraph.runtimes.extract import arrow
from specgraph.runtimes.extract.rows import Extractor, Item
from specgraph.runtimes.loading import load
from specgraph.runtimes.pinned import state_of

if TYPE_CHECKING:
    import pyarrow

# A path; a name and what the file holds; or of a part of a file its name, its path or what it holds, offset, duration, and the channel.
Given = (
    str
    | Path
    | tuple[str, bytes | None]
    | tuple[str, str | Path | bytes | None, float, float | None]
    | tuple[str, str | Path | bytes | None, float, float | None, int | None]
)
LOADED = 4  # models that a process keeps, so that calls after the first load nothing


def extract_batch(
    model: str | Path | Runner,
    items: Iterable[Given],
    on_damage: str = "skip",
    device: str = "cpu",
) -> pyarrow.Table:
    """Features of audio files, one row for each, in order; a bad file is a row with its error.

    Files are mixed to mono and resampled to the model's rate; the model runs on one thread, since other processes have the other
    cores, and is loaded once in a process. The next files are decoded while one is computed.

    Args:
        model: an .onnx file that specgraph wrote, or what ``specgraph.load`` made of one.
        items: paths; or pairs of a name and what the file holds, None for what could not be had; or of a part of a file its name, its
            path or what it holds, in seconds offset and duration (None: to its end), and if one channel is to be taken its number, from 0.
        on_damage: what is done with a file that is damaged: "skip" for an error alone; "salvage" for the features of what can be
            decoded, and the error beside them; "fail" to raise what is wrong with the first file that has no features.
        device: where a model that is given by its path runs.

    Returns:
        ``path`` string; ``features`` list<fixed_size_list<float>[bins]>, a list item for each frame, null where there are none;
        ``frames`` int64; ``sample_rate`` int32, the model's; ``offset`` and ``duration`` float64, in seconds; ``error`` string, null for a sound
        file, or a kind ("damaged", "not audio", ...), a colon and a sentence. A model with several outputs has a column for each
        by its name in place of ``features``. What a frame has of more axes, (bins, 2), are lists in lists. Where an item has a place
        for a channel, a last column ``channel`` int32 follows, null for the mix of all.

    Raises:
        FileNotFoundError, ValueError, RuntimeUnavailable: what is wrong with the model; with "fail", with a file.
        ImportError: pyarrow is not installed.
    """
    arrow.pyarrow_module()
    made = Extractor(model, on_damage) if isinstance(model, Runner) else _loaded(str(model), state_of(Path(model)), device, on_damage)
    channels: list[bool] = []

    def named() -> Iterator[Item]:
        for item in items:
            channels.append(isinstance(item, tuple) and len(item) == len(("name", "source", "offset", "duration", "channel")))
            yield Item(*item) if isinstance(item, tuple) else Item(os.fspath(item), item)

    return arrow.table(list(made.rows(named())), made.columns, any(channels))


@lru_cache(LOADED)
def _loaded(model: str, state: tuple[int, ...] | None, device: str, on_damage: str) -> Extractor:
    """A model by its path and the state of its file, None where there is none, which ``load`` says."""
    return Extractor(load(model, device=device, threads=1), on_damage)
