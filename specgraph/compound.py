"""Ops that are defined as a whole and computed in one of several ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypeVar

from specgraph.dims import Shape
from specgraph.op import Op, Value

Build = TypeVar("Build", bound="Callable[..., Value | None]")


class Compound(Op):
    """An op with a definition in numpy and several lowerings, functions that build it from other ops."""

    lowerings: ClassVar[dict[str, Callable[..., Value | None]]]

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.lowerings = {}

    @classmethod
    def lowering(cls, build: Build) -> Build:
        """Register ``build(op, *values) -> Value``, or None where it does not apply."""
        name = getattr(build, "__name__", "")
        if name in cls.lowerings:
            raise TypeError(f"{cls.__name__} already has a lowering {name!r}")
        cls.lowerings[name] = build
        return build

    @property
    def forced(self) -> str | None:
        """The only lowering that may be used, if the op's parameters decide it."""
        return None

    def inner_sizes(self, *shapes: Shape) -> Shape:
        """Sizes inside of it, for operands of these shapes, that must not be empty and of which its result does not tell."""
        return ()

    def accuracy(self, lowering: str) -> float | None:
        """The error that a lowering may make, as a fraction of the peak; None: none but rounding."""
        return None

    @property
    def hardest_tone(self) -> float | None:
        """The frequency in hertz at which a lowering that approximates errs most, where it is known."""
        return None

    def bound(self, lowering: str) -> float | None:
        """A bound on a lowering's error that is known from its constants, as a fraction of the peak, if there is one."""
        return None
