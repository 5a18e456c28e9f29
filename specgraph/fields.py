"""Values from a file that may hold anything: each is taken by name, type and range, or refused in one sentence.

Standard library only, as ``metadata.py``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MISSING: Any = object()
LONGEST_TEXT = 2**20  # characters; an op that lists a filter of its own has 10,000
MOST_JSON = 2**24  # characters of one property
DEEPEST = 32  # lists and objects in one another


class Wrong(ValueError):
    """A value that is missing, of another type or out of range; the message says which."""


@dataclasses.dataclass(frozen=True)
class Fields:
    """Named values; ``where`` is put in front of a name in errors, such as "outputs.features."."""

    where: str
    values: Mapping[str, Any]

    def names(self) -> list[str]:
        """The names, in order."""
        return list(self.values)

    def only(self, of: type) -> None:
        """Refuse names other than the fields of a dataclass."""
        known = {one.name for one in dataclasses.fields(of)}
        if unknown := next((name for name in self.values if name not in known), None):
            raise Wrong(f"{self._at(unknown)} is not known")

    def fields(self, name: str, otherwise: Any = MISSING) -> Fields:
        """An object."""
        return Fields(f"{self._at(name)}.", self._of(name, dict, "an object", otherwise))

    def several(self, name: str, otherwise: Any = MISSING) -> Iterator[Fields]:
        """A list of objects."""
        for number, one in enumerate(self._of(name, tuple, "a list", otherwise)):
            if not isinstance(one, dict):
                raise Wrong(f"{self._at(name)} {number} must be an object, not {_shown(one)}")
            yield Fields(f"{self._at(name)} {number}.", one)

    def plain(self, name: str | None = None) -> dict[str, Any]:
        """An object as it is, of this name or this one itself; tuples as the lists that they were."""
        found: dict[str, Any] = _lists(self.values if name is None else self._of(name, dict, "an object"))
        return found

    def text(self, name: str, otherwise: Any = MISSING) -> str:
        """A string."""
        found: str = self._of(name, str, "text", otherwise)
        if len(found) > LONGEST_TEXT:
            raise Wrong(f"{self._at(name)} has {len(found)} characters, and {LONGEST_TEXT} at most are read")
        return found

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of strings."""
        found: tuple[str, ...] = self._of(name, tuple, "a list")
        if wrong := [one for one in found if not isinstance(one, str) or len(one) > LONGEST_TEXT]:
            raise Wrong(f"{self._at(name)} must hold text, not {_shown(wrong[0])}")
        return found

    def one_of(self, name: str, known: Sequence[Any], otherwise: Any = MISSING) -> Any:
        """One of some values."""
        found = self.values.get(name, otherwise)
        if found is MISSING:
            raise Wrong(f"{self._at(name)} is missing")
        if not any(type(found) is type(one) and found == one for one in known):
            raise Wrong(f"{self._at(name)} must be one of {', '.join(map(str, known))}, not {_shown(found)}")
        return found

    def numbers(self, name: str, otherwise: Any = MISSING) -> Any:
        """A list, its lists as tuples, or None where that is given instead."""
        return None if otherwise is None and self.values.get(name) is None else self._of(name, tuple, "a list", otherwise)

    def whole(self, name: str, least: int, most: int, otherwise: Any = MISSING) -> int:
        """A whole number from ``least`` to ``most``."""
        found = self._of(name, int, "a whole number", otherwise)
        return int(self._within(name, found, least, most))

    def whole_or_none(self, name: str, least: int, most: int, otherwise: Any = None) -> int | None:
        """A whole number, or None."""
        return None if self.values.get(name, otherwise) is None else self.whole(name, least, most, otherwise)

    def number(self, name: str, least: float, most: float, otherwise: Any = MISSING) -> float:
        """A finite number from ``least`` to ``most``."""
        found = self._of(name, int | float, "a number", otherwise)
        return float(self._within(name, found, least, most))

    def number_or_none(self, name: str) -> float | None:
        """A finite number, or None."""
        return None if self.values.get(name) is None else self.number(name, -1e300, 1e300)

    def _at(self, name: str) -> str:
        return f"{self.where}{name:.100}"

    def _of(self, name: str, kind: Any, called: str, otherwise: Any = MISSING) -> Any:
        found = self.values.get(name, otherwise)
        if found is MISSING:
            raise Wrong(f"{self._at(name)} is missing")
        if not isinstance(found, kind) or isinstance(found, bool):
            raise Wrong(f"{self._at(name)} must be {called}, not {_shown(found)}")
        return found

    def _within(self, name: str, found: float, least: float, most: float) -> float:
        if not least <= found <= most:
            raise Wrong(f"{self._at(name)} must be from {least} to {most}, not {_shown(found)}")
        return found


def json_value(name: str, text: str) -> Any:
    """What a JSON text holds: lists as tuples, finite numbers alone; ``Wrong`` for what cannot be read."""
    if len(text) > MOST_JSON:
        raise Wrong(f"{name} has {len(text)} characters, and {MOST_JSON} at most are read")
    try:
        value = _tuples(json.loads(text, parse_constant=_refused, parse_float=_finite))
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # fails on half of a surrogate pair, which is no character
    except (ValueError, RecursionError) as error:
        raise Wrong(f"{name} cannot be read ({type(error).__name__}: {error!s:.200})") from None
    return value


def _refused(text: str) -> float:
    raise ValueError(f"{text} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text:.20} is too large for a number")
    return number


def _tuples(value: Any, depth: int = 0) -> Any:
    """Lists, at any depth down to the deepest, as tuples."""
    if not isinstance(value, list | dict):
        return value
    if depth == DEEPEST:
        raise ValueError(f"lists and objects are nested more than {DEEPEST} deep")
    if isinstance(value, list):
        return tuple([_tuples(one, depth + 1) for one in value])
    return {key: _tuples(one, depth + 1) for key, one in value.items()}


def _lists(value: Any) -> Any:
    """Tuples, at any depth, as lists."""
    if isinstance(value, tuple):
        return list(map(_lists, value))
    return {key: _lists(one) for key, one in value.items()} if isinstance(value, Mapping) else value


def _shown(value: Any) -> str:
    """A value as errors show it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # of whole numbers of more than 4,300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:100]}..."
