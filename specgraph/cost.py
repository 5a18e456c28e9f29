"""What an op costs on a target: arithmetic, bytes, and a price for every kernel launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from specgraph import prices

FLOAT = 4  # bytes of a float32
ROW = 16  # elements from which a row that stays whole is copied as one
SEVERAL_AXES = 4.0  # how much slower than one a transpose moves several axes


@dataclass(frozen=True)
class Cost:
    """Work that adds up.

    Multiply-adds; other arithmetic; bytes read and written; elements moved one by one, from or to places that are not
    neighbours; launches; bytes of constants.
    """

    matmul: float = 0.0
    vector: float = 0.0
    moved: float = 0.0
    strided: float = 0.0
    launches: int = 0
    held: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.matmul + other.matmul,
            self.vector + other.vector,
            self.moved + other.moved,
            self.strided + other.strided,
            self.launches + other.launches,
            self.held + other.held,
        )

    @classmethod
    def elementwise(cls, out: tuple[int, ...], *shapes: tuple[int, ...], operations: int = 1) -> Cost:
        """One pass over the operands, ``operations`` of arithmetic for each element of the result."""
        return cls(vector=operations * math.prod(out), moved=_bytes(out, *shapes), launches=1)

    @classmethod
    def contraction(cls, depth: int, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        """A matrix product or convolution that sums ``depth`` products for each element of the result."""
        return cls(matmul=float(depth) * math.prod(out), moved=_bytes(out, *shapes), launches=1)


    @classmethod
    def transpose(cls, order: Sequence[int], shape: tuple[int, ...]) -> Cost:
        """The axes of ``shape`` in another order: whole rows if the last one stays and is long, else every element by itself."""
        moves = [axis for axis in order if shape[axis] != 1]
        kept = sorted(moves)
        if not moves or (moves[-1] == kept[-1] and shape[moves[-1]] >= ROW):
            return cls.elementwise(shape, shape)
        by_one = any([a for a in moves if a != axis] == [a for a in kept if a != axis] for axis in moves)
        return cls(strided=math.prod(shape) * (1.0 if by_one else SEVERAL_AXES), launches=1)

    @classmethod
    def windows(cls, elements: float, stride: int) -> Cost:
        """A convolution's copy of what its kernels see, before it multiplies: whole rows at once where they step by 1."""
        return cls(moved=2.0 * FLOAT * elements) if stride == 1 else cls(strided=elements)


def _bytes(*shapes: tuple[int, ...]) -> float:
    return float(FLOAT * sum(map(math.prod, shapes)))


@dataclass(frozen=True)
class Target:
    """Where a graph runs, as six numbers, what it lacks, and what it is better to do without."""

    name: str
    matmul: float  # multiply-adds a second
    vector: float  # other operations a second
    bandwidth: float  # bytes a second
    strided: float  # elements a second that are moved one by one
    launch: float  # seconds a kernel
    held: float  # seconds a byte of constants: they push other data out of the cache, and are downloaded
    lacks: frozenset[str] = frozenset()  # what ops may require and this target has no kernel for
    avoids: frozenset[str] = frozenset()  # what it has, at a cost that no price here tells: only when asked for by name

    def seconds(self, cost: Cost) -> float:
        """The time that work takes."""
        return sum(getattr(cost, field) * price for field, price in self.prices.items())

    @property
    def prices(self) -> dict[str, float]:
        """Seconds for one of each field of ``Cost``."""
        return {
            "matmul": 1 / self.matmul,
            "vector": 1 / self.vector,
            "moved": 1 / self.bandwidth,
            "strided": 1 / self.strided,
            "launches": self.launch,
            "held": self.held,
        }


# "cpu" and "cuda" are onnxruntime's providers; "torch" is torch on a CPU, which alone has an FFT.
# cpu: fitted to one thread of an x86 server core with AVX-512 (onnxruntime 1.31); --calibrate fits another. cuda: an H100's published rates, not measured.
TARGETS = {
    target.name: target
    for target in (
        Target("cpu", matmul=1.25e11, vector=1.75e10, bandwidth=9.5e10, strided=4.5e9, launch=1e-6, held=2e-12, lacks=frozenset({"FFT"})),
        Target(
            "cuda", matmul=2.5e13, vector=8e12, bandwidth=2.5e12, strided=6e11, launch=4e-6, held=1e-13,
            lacks=frozenset({"FFT"}), avoids=frozenset({"cuDNN"}),
        ),
        Target("torch", matmul=3.5e10, vector=1.2e10, bandwidth=4e10, strided=2e9, launch=6e-6, held=2e-12),
    )
}


def target_named(name: str | Target) -> Target:
    """The target called ``name``, with the prices that were measured on this machine, if they were.

    A ``Target`` of one's own is taken as it is.

    Raises:
        ValueError: there is no such target, or the file of measured prices is damaged.
    """
    if isinstance(name, Target):
        return name
    if name not in TARGETS:
        raise ValueError(f"there is no target {name!r}; choose one of {', '.join(TARGETS)}")
    known = {field.name for field in fields(Target) if field.type == "float"}
    measured = prices.read().get(name, {})
    return replace(TARGETS[name], **{field: number for field, number in measured.items() if field in known})  # type: ignore[arg-type]
