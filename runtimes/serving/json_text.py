"""Large JSON in pieces: Python's reader and writer hold its lock until they are done, and nobody else is answered meanwhile."""

from __future__ import annotations

import gc
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.runtimes.serving.problems import Kind, Refusal

PAUSE = 3e-4  # seconds between pieces, in which other threads get Python's lock
PIECE = 1 << 15  # bytes of text that are read at a time: half a millisecond
NUMBERS = 1 << 11  # that are written at a time
TOGETHER = 1 << 14  # that are sent at a time
LONG = 1 << 13  # bytes of a row of numbers from which it is read in pieces
MOST = 1 << 20  # bytes besides such rows: they are read at once, up to 50 ms
NUMERIC = b"0123456789+-.eE, \t\r\nNaInfity"


def read(text: bytes) -> Any:
    """What ``json.loads`` gives, long rows of numbers under a key ``data`` as arrays.

    Raises:
        ValueError, RecursionError: it is not JSON.
        Refusal: too much of it is not in long rows.
    """
    rows: dict[str, npt.NDArray[Any]] = {}
    kept, at = [], 0
    token = secrets.token_hex(16)
    for begin, end in _rows(text):
        row = _numbers(text, begin + 1, end - 1)
        if row is not None:
            name = f"{token}{len(rows)}"
            rows[name] = row
            kept += [text[at:begin], b'"%b"' % name.encode()]
            at = end
    rest = b"".join([*kept, text[at:]])
    if len(rest) > MOST:
        raise Refusal(
            Kind.TOO_LARGE, f"{len(rest):,} bytes of JSON are more than {MOST:,}, besides rows of numbers above {LONG:,} bytes; send binary data"
        )
    try:
        gc.disable()  # what JSON makes has no cycles, and looking for them takes ten times as long as making it
        return _put_back(json.loads(rest), rows) if rows else json.loads(rest)
    except ValueError:
        if not rows or len(text) > MOST:
            raise
        return json.loads(text)  # a string may hold what looks like a row
    finally:
        gc.enable()


def _rows(text: bytes) -> list[tuple[int, int]]:
    """From where to where there may be long rows of numbers: innermost brackets with ``LONG`` bytes or more between them."""
    found: list[tuple[int, int]] = []
    last, close = 0, 0
    for place in range(LONG, len(text), LONG):  # no such row lies between two places
        if place < last:
            continue
        begin = text.rfind(b"[", max(last, place - LONG), place)
        if close < place:
            close = text.find(b"]", place)
        if close < 0:
            break
        if begin < 0 or close - begin <= LONG or text.find(b"]", begin, place) >= 0 or text.find(b"[", place, close) >= 0:
            continue
        found.append((begin, close + 1))
        last = close + 1
    return found


def _numbers(text: bytes, begin: int, end: int) -> npt.NDArray[Any] | None:
    """The numbers between two places of a text, with commas between them; None if that is not what is there."""
    found = []
    while begin <= end:
        comma = text.rfind(b",", begin, begin + PIECE) if end - begin > PIECE else end
        piece = text[begin:comma]
        if comma < 0 or piece.translate(None, NUMERIC):
            return None
        try:
            values = np.asarray(json.loads(b"[%b]" % piece))
        except (ValueError, OverflowError):
            return None
        if values.dtype.kind not in "fiu" or not values.size:
            return None
        found.append(values)
        begin = comma + 1
        time.sleep(PAUSE)
    return np.concatenate(found)


def _put_back(value: Any, rows: Mapping[str, npt.NDArray[Any]], data: bool = False) -> Any:
    """Rows as arrays where ``data`` are expected, and as lists elsewhere, where an array is no value that anybody asks for."""
    if isinstance(value, dict):
        return {key: _put_back(one, rows, key == "data") for key, one in value.items()}
    if isinstance(value, list):
        return [_put_back(one, rows, data) if isinstance(one, dict | list | str) else one for one in value]
    if isinstance(value, str) and value in rows:
        return rows[value] if data else rows[value].tolist()
    return value


def commas(text: bytes) -> int:
    """How many commas there are: about one for each number."""
    count = 0
    for begin in range(0, len(text), MOST):
        count += text.count(b",", begin, begin + MOST)
        time.sleep(PAUSE)
    return count


def pieces(array: npt.NDArray[Any]) -> Iterator[bytes]:
    """An array of finite numbers as one row of JSON, in pieces.

    Raises:
        ValueError: JSON has no such numbers, NaN or infinity.
    """
    flat = array.ravel()
    yield b"["
    for begin in range(0, flat.size, TOGETHER):
        texts = []
        for at in range(begin, min(begin + TOGETHER, flat.size), NUMBERS):
            texts.append(json.dumps(flat[at : min(at + NUMBERS, begin + TOGETHER)].tolist(), separators=(",", ":"), allow_nan=False)[1:-1].encode())
            time.sleep(PAUSE)
        yield (b"," if begin else b"") + b",".join(texts)
    yield b"]"


def numbers(array: npt.NDArray[Any]) -> bytes:
    """An array of finite numbers as one row of JSON."""
    return b"".join(pieces(array))
