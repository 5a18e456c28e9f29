"""A process that extracts: batches come in as lines of JSON, what becomes of them goes out as lines of JSON.

A process of its own, since what decodes audio is written in C and what ends it must not end the job. It ends by itself when the one
that started it is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from specgraph.runtimes.base import AHEAD
from specgraph.runtimes.extract import arrow
from specgraph.runtimes.extract.rows import Extractor, Item, Row
from specgraph.runtimes.extract.writers import WRITERS


def main() -> None:
    """Answer the process that started this one, until it closes the pipe."""
    from specgraph.runtimes.loading import load

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    replies = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # what libraries print is no reply
    sending = threading.Lock()

    def send(**message: Any) -> None:
        with sending:
            replies.write(json.dumps(message) + "\n")
            replies.flush()

    how = json.loads(sys.stdin.readline())
    try:
        extractor = Extractor(load(how["model"], device=how["device"], threads=1), how["on_damage"])
        writer = WRITERS[how["format"]](Path(how["folder"]), extractor.columns)
    except Exception as error:  # noqa: BLE001  (the job's, said where it was started)
        send(failed=one_line(error))
        return
    send(ready=True)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 2)  # decoders write notes on damaged files, and one is an error row already
    os.dup2(silent, 1)
    for line in sys.stdin:
        batch = json.loads(line)
        items = [Item(path, Path(file), batch["crashed"].get(str(place), "")) for place, (path, file, _) in enumerate(batch["files"])]
        places = {id(item): place for place, item in enumerate(items)}

        def begun(item: Item, places: dict[int, int] = places) -> None:
            send(began=places[id(item)])

        def told(rows: Iterator[Row]) -> Iterator[Row]:
            for place, row in enumerate(rows):
                send(row=place, seconds=row.duration)
                yield row

        try:
            rows = told(extractor.rows(items, 0 if batch["careful"] else AHEAD, begun))
            writer.write(batch["number"], [name for _, _, name in batch["files"]], rows)
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001  (no file's: what cannot be written)
            send(failed=f"part {batch['number']} cannot be written to {how['folder']}: {one_line(error)}")
            continue
        send(wrote=batch["number"])


def one_line(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    main()
