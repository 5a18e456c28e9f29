"""What an op costs on a target: arithmetic, bytes, and a price for every kernel launch."""

from __future__ import annotations

import math
from dataclasses import dataclass

FLOAT = 4  # bytes of a float32


@dataclass(frozen=True)
class Cost:
    """Work that adds up: multiply-adds, other arithmetic, bytes read and written, launches, bytes of constants."""

    matmul: float = 0.0
    vector: float = 0.0
    moved: float = 0.0
    launches: int = 0
    held: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.matmul + other.matmul,
            self.vector + other.vector,
            self.moved + other.moved,
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


def _bytes(*shapes: tuple[int, ...]) -> float:
    return float(FLOAT * sum(map(math.prod, shapes)))


@dataclass(frozen=True)
class Target:
    """Where a graph runs, as five numbers, what it lacks, and what it is better to do without."""

    name: str
    matmul: float  # multiply-adds a second
    vector: float  # other operations a second
    bandwidth: float  # bytes a second
    launch: float  # seconds a kernel
    held: float  # seconds a byte of constants: they push other data out of the cache, and are downloaded
    lacks: frozenset[str] = frozenset()  # what ops may require and this target has no kernel for
    avoids: frozenset[str] = frozenset()  # what it has, at a cost that no price here tells: only when asked for by name

    def seconds(self, cost: Cost) -> float:
        """The time that work takes: arithmetic and memory traffic overlap, launches do not."""
        busy = cost.matmul / self.matmul + cost.vector / self.vector
        return max(busy, cost.moved / self.bandwidth) + cost.launches * self.launch + cost.held * self.held


# "cpu" and "cuda" are onnxruntime's providers; "torch" is torch on a CPU, which alone has an FFT.
# cpu: fitted to one thread of an x86 server core (onnxruntime 1.31). cuda: an H100's published rates, not measured.
TARGETS = {
    target.name: target
    for target in (
        Target("cpu", matmul=3.5e10, vector=2.5e9, bandwidth=1.2e10, launch=4e-6, held=2e-11, lacks=frozenset({"FFT"})),
        Target("cuda", matmul=2.5e13, vector=8e12, bandwidth=2.5e12, launch=4e-6, held=1e-13, lacks=frozenset({"FFT"}), avoids=frozenset({"cuDNN"})),
        Target("torch", matmul=3.5e10, vector=2.5e9, bandwidth=1.2e10, launch=6e-6, held=2e-11),
    )
}


def target_named(name: str | Target) -> Target:
    """The target called ``name``; a ``Target`` of one's own is taken as it is."""
    if isinstance(name, Target):
        return name
    if name not in TARGETS:
        raise ValueError(f"there is no target {name!r}; choose one of {', '.join(TARGETS)}")
    return TARGETS[name]
