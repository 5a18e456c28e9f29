"""A process that extracts: batches come in as lines of JSON, what becomes of them goes out as lines of JSON.

A process of its own, since what decodes audio is written in C and what ends it must not end the job. It ends by itself when the one
that started it is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from specgraph.decoding import Limits
from specgraph.runtimes.base import AHEAD
from specgraph.runtimes.extract.inputs import Input
from specgraph.runtimes.extract.job import Batch
from specgraph.runtimes.extract.rows import Extractor, Item, Row
from specgraph.runtimes.extract.writers import WRITERS
from specgraph.runtimes.pinned import ModelChanged, PinnedModel


def main() -> None:
    """Answer the process that started this one, until it closes the pipe."""
    from specgraph.runtimes.loading import load

    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no reply
    sending = threading.Lock()

    def send(**message: Any) -> None:
        with sending:
            replies.write(json.dumps(message) + "\n")
            replies.flush()

    given = _lines()
    how = next(given)
    try:
        extractor = Extractor(load(_model(how), device=how["device"], threads=1), how["on_damage"], Limits(*how["limits"]))
        writer = WRITERS[how["format"]](Path(how["folder"]), Path(how["work"]), extractor.columns, how["channel"])
    except Exception as error:  # noqa: BLE001  (the job's, said where it was started)
        send(failed=one_line(error))
        return
    send(ready=True)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # decoders write notes on damaged files, and one is an error row already
    os.dup2(silent, 1)
    for request in given:
        batch = Batch.of(request["batch"])
        places = {_item(batch.inputs[place], request["crashed"].get(str(place), "")): place for place in batch.places}

        def begun(item: Item, places: dict[Item, int] = places) -> None:
            send(began=places[item])

        def told(rows: Iterator[Row], places: dict[Item, int] = places) -> Iterator[Row]:
            for place, row in zip(places.values(), rows, strict=True):
                send(row=place, seconds=row.duration)
                yield row

        try:
            rows = told(extractor.rows(places, 0 if request["careful"] else AHEAD, begun))
            if batch.again:
                rows = _among(writer.read(batch.number), {*batch.again}, rows)
            writer.write(batch.number, [file.name for file in batch.inputs], rows)
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001  (no file's: what cannot be written)
            send(failed=f"part {batch.number} cannot be written to {how['folder']}: {one_line(error)}")
            continue
        send(wrote=batch.number)


def _lines() -> Iterator[dict[str, Any]]:
    """What the process that started this one sends; this one ends at once when that is gone, whatever it has in hand."""
    came: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            came.put(line)
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    while True:
        yield json.loads(came.get())


def _model(how: Mapping[str, Any]) -> PinnedModel:
    """The model that the job began with, from the copy that the job keeps of it."""
    model = PinnedModel(how["model"], Path(how["work"], "model.onnx").read_bytes(), how["files"])
    if model.digest != how["digest"]:
        raise ModelChanged(f"the copy of {model.path} in {how['work']} is not what the job began with; run the command again")
    return model


def _item(file: Input, crashed: str) -> Item:
    return Item(file.path, Path(file.file), file.offset, file.duration, file.channel, crashed)


def _among(held: Iterable[Row], again: set[int], rows: Iterator[Row]) -> Iterator[Row]:
    """The rows of a part, those at the places ``again`` made anew; features that are there are not lost to a file that has gone since."""
    for place, row in enumerate(held):
        anew = next(rows) if place in again else row
        yield row if anew.features is None and row.features is not None else anew


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}" if error.filename else error.strerror.lower()
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
