"""The fields of somebody else's configuration: each is read, or known to change nothing, or refused by name."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from specgraph.transforms import parse


class Fields:
    """A configuration by its fields. What was not read when ``done`` is called is refused.

    A value of ``None`` is a value, and not the default: what the default stands for is a field that is not there.
    """

    def __init__(self, owner: str, values: Mapping[str, Any]) -> None:
        self.owner = owner
        self._values = dict(values)
        self._read: dict[str, None] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def value(self, name: str, default: Any) -> Any:
        """A field as it is."""
        self._read[name] = None
        return self._values.get(name, default)

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise the sentence about a field: its value, and what to do."""
        raise ValueError(f"{self.owner}: {name} is {_shown(self._values.get(name))}; {reason}")

    def _typed(self, name: str, default: Any, annotation: Any) -> Any:
        try:
            return parse.checked(name, self.value(name, default), annotation)
        except ValueError as error:
            raise ValueError(f"{self.owner}: {error}") from None

    def _within(self, name: str, value: float | None, least: float | None, most: float | None, reason: str) -> None:
        because = f", as {reason}" if reason else ""
        if value is not None and least is not None and not value >= least:
            raise ValueError(f"{self.owner}: {name} must be at least {least:g}{because}, not {value:g}")
        if value is not None and most is not None and not value <= most:
            raise ValueError(f"{self.owner}: {name} must be at most {most:g}{because}, not {value:g}")

    def whole(self, name: str, default: int, least: int = 1, most: float | None = None, reason: str = "") -> int:
        """A whole number from ``least`` to ``most``; ``reason`` says why, for the sentence."""
        number: int = self._typed(name, default, int)
        self._within(name, number, least, most, reason)
        return number

    def even(self, name: str, default: int, least: int = 2, reason: str = "") -> int:
        """An even number: with an odd one the filters of the original stand beside the bins of the DFT."""
        number = self.whole(name, default, least, reason=reason)
        if number % 2:
            raise ValueError(f"{self.owner}: {name} must be even, not {number}: otherwise its own filters are not at the DFT's bins")
        return number

    def number(self, name: str, default: float, least: float | None = None, most: float | None = None, reason: str = "") -> float:
        """A number from ``least`` to ``most``."""
        number: float = self._typed(name, default, float)
        self._within(name, number, least, most, reason)
        return number

    def above_zero(self, name: str, default: float) -> float:
        """A number above 0."""
        number = self.number(name, default)
        if not number > 0:
            raise ValueError(f"{self.owner}: {name} must be above 0, not {number:g}")
        return number

    def number_or_none(self, name: str, default: float | None, least: float | None = None, most: float | None = None) -> float | None:
        """A number from ``least`` to ``most``, or None."""
        number: float | None = self._typed(name, default, float | None)
        self._within(name, number, least, most, "")
        return number

    def numbers_or_none(self, name: str, count: int) -> tuple[float, ...] | None:
        """``count`` numbers, in whatever shape, or None."""
        value = self.value(name, None)
        if value is None:
            return None
        try:
            numbers = np.asarray(value, np.float64).ravel()
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        if numbers.size != count or not np.isfinite(numbers).all():
            raise ValueError(f"{self.owner}: {name} must be {count} numbers, one for each bin, or none, not {_shown(value)}")
        return tuple(numbers.tolist())

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        flag: bool = self._typed(name, default, bool)
        return flag

    def choice(self, name: str, default: Any, options: Sequence[Any]) -> Any:
        """One of ``options``."""
        chosen = self.value(name, default)
        for option in options:
            if type(chosen) is type(option) and chosen == option:
                return option
        raise ValueError(f"{self.owner}: {name} must be {' | '.join(map(str, options))}, not {chosen!r}")

    def must_be(self, name: str, wanted: Any, reason: str) -> None:
        """Refuse a field that is there with another value than ``wanted``."""
        value = self.value(name, wanted)
        if value != wanted or (isinstance(value, bool) != isinstance(wanted, bool)):
            self.refuse(name, reason)

    def changes_nothing(self, names: Mapping[str, str]) -> None:
        """These fields change no features; the values say why, for whoever reads the code."""
        self._read.update(dict.fromkeys(names))

    @contextmanager
    def named(self, **fields: str) -> Iterator[None]:
        """Errors about a transform's parameters name the fields that they come from: ``named(n_mels="feature_size")``."""
        try:
            yield
        except ValueError as error:
            sentence = str(error)
            for parameter, field in fields.items():
                sentence = re.sub(rf"\b{parameter}\b", field, sentence)
            raise ValueError(f"{self.owner}: {sentence}") from None

    def done(self) -> None:
        """Raise at the first field that was neither read nor known to change nothing."""
        for name, value in self._values.items():
            if name not in self._read:
                hint = parse.nearest(name, self._read)
                raise ValueError(
                    f"{self.owner}: the field {name}, {_shown(value)}, is not known{hint}; take it out if it changes no features, else build the transform by hand"
                )


def _shown(value: Any) -> str:
    """A value in a sentence, the beginning of a long one."""
    text = " ".join(repr(value).split())
    return text if len(text) < 60 else f"{text[:57]}..."
