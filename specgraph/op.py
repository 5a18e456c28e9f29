"""Values, and the ops that make them: calling an op on values makes a new value.

>>> from specgraph.ops.magnitude import Magnitude
>>> spectrum = Input("spectrum", ("batch", 513, "frames", 2))()
>>> Magnitude(power=2.0)(spectrum).shape
(batch, 513, frames)
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from specgraph.cost import Cost
from specgraph.dims import Dim, Shape, text
from specgraph.reach import HERE, Reach

Array = npt.NDArray[Any]
Dtype = Literal["float", "int64", "int16"]
MOST_SHOWN = 16  # items of an attribute in a message
MOST_ELEMENTS = 2**29  # of a constant: 2 GB of float32, the most that an ONNX file can hold


class GraphError(ValueError):
    """An op was called on values that it cannot take, or a graph was put together wrongly."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor in a graph: the op that makes it, what the op reads, and its shape."""

    op: Op
    inputs: tuple[Value, ...]
    shape: Shape
    dtype: Dtype = "float"

    def __str__(self) -> str:
        return f"{self.op.label} {text(self.shape)}"


@dataclass(frozen=True, eq=False)
class Op:
    """An op; its fields are its attributes. ``specgraph/ops/__init__.py`` says how to write one."""

    registry: ClassVar[dict[str, type[Op]]] = {}
    method: ClassVar[str]  # its name in listings and on the Builder
    requires: ClassVar[str] = ""  # what some targets lack
    linear: ClassVar[bool] = False  # in its first operand, the rest being constants
    compresses: ClassVar[bool] = False  # a logarithm or an angle: small inputs make large differences
    lengths_at: ClassVar[int | None] = None  # which operand, if any, holds the clips' lengths: (batch,), int64
    clears: ClassVar[bool] = False  # given lengths, the result is zero beyond them
    reads: ClassVar[Dtype] = "float"  # what its operands hold, but for lengths
    makes: ClassVar[Dtype] = "float"
    jumps: ClassVar[bool] = False  # by a whole step where an operand changes by next to nothing, as a comparison does
    moves: ClassVar[bool] = False  # elements as they are: 16-bit samples too, of which it makes such

    def __init_subclass__(cls) -> None:
        if cls.__name__ in Op.registry:
            raise TypeError(f"there are two ops named {cls.__name__}; was a module imported under two names?")
        cls.method = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__).lower()
        if not cls.__name__.startswith("_") and cls.__name__ != "Compound":
            Op.registry[cls.__name__] = cls

    def __call__(self, *inputs: Value) -> Value:
        """The value that this op makes of ``inputs``; a ``GraphError`` names the call and its operands."""
        for position, value in enumerate(inputs):
            if not isinstance(value, Value):
                raise TypeError(
                    f"{self} takes values of a graph, and operand {position} is a {type(value).__name__}; "
                    "begin with Builder.input or Builder.constant"
                )
        try:
            moved = self.moves and inputs and inputs[0].dtype == "int16"
            for position, value in enumerate(inputs):
                if value.dtype != (wanted := "int64" if position == self.lengths_at else "int16" if moved else self.reads):
                    raise GraphError(f"operand {position} is {value.dtype} and must be {wanted}")
            shape = self.infer(*(value.shape for value in inputs))
            if 0 in shape and not any(0 in value.shape for value in inputs) and inputs:
                raise GraphError(f"nothing is left, {text(shape)}")
            return Value(self, inputs, shape, "int16" if moved else self.makes)
        except GraphError as error:
            operands = ", ".join(map(str, inputs))
            raise GraphError(f"{self} on {operands}: {error}") from None

    @property
    def label(self) -> str:
        """How an error names a value that this op made."""
        return self.method

    def __str__(self) -> str:
        shown = ", ".join(
            f"{f.name}={_short(getattr(self, f.name))}"
            for f in dataclasses.fields(self)
            if f.default is dataclasses.MISSING or _differs(getattr(self, f.name), f.default)
        )
        return f"{self.method}({shown})"

    # Every op names its own operands, so the base class takes any.
    def infer(self, *args: Any, **kwargs: Any) -> Shape:
        """The shape of the result from the operands' shapes; raises ``GraphError``."""
        raise NotImplementedError

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        """The definition, in float64 numpy. Every other implementation is tested against it."""
        raise NotImplementedError

    def torch(self, *args: Any, **kwargs: Any) -> Any:
        """The same in torch, differentiable."""
        raise NotImplementedError

    def onnx(self, *args: Any, **kwargs: Any) -> Any:
        """The same in ONNX; the first argument is the emitter."""
        raise NotImplementedError

    def cost(self, out: tuple[int, ...], *shapes: tuple[int, ...]) -> Cost:
        """What it does and moves, at concrete shapes. By default one pass over the operands."""
        return Cost.elementwise(out, *shapes)

    def reach(self, *shapes: Shape) -> Reach:
        """Which positions of the first operand's time axis one position of the result reads. By default the same one."""
        return HERE

    def rounding(self, operands: list[Array], spread: list[Array | None], result: Array, tolerance: float) -> Array | None:
        """By how much each element of the result may differ in float32, where the op knows better than what holds for all.

        ``spread`` is by how much each operand may differ, None where it is exact; ``result`` is ``numpy`` of the operands;
        ``tolerance`` is a fraction of a peak.
        """
        return None

    def carry(self, operands: list[Array], spread: list[Array | None], result: Array) -> Array | None:
        """By how much ``result`` may be off where the operands are off by at most ``spread`` (None: they are exact).

        None, the default, leaves it to ``specgraph.export.verification``, whose rule is right for linear ops whose weights are
        operands and for ops that only rise or only fall with each element.
        """
        return None

    def ragged(self, lengths: Callable[[Value], Value], *operands: Value) -> Value | None:
        """The result for clips of different lengths, where the op reads beyond a clip's end; ``specgraph.ragged`` says more.

        ``lengths`` gives the clips' lengths along an operand. None, the default, is the op as it is, where that is right.
        """
        return None

    def on_the_way(self, *operands: Array) -> Array | None:
        """What is rounded before it becomes the result, where that is larger than the result: its rounding stays."""
        return None

    @property
    def settling(self) -> int:
        """Positions after which the result holds less than 1e-12 of what came before; 0 where no memory decays."""
        return 0

    @classmethod
    def examples(cls) -> Iterator[tuple[Any, ...]]:
        """Instances with operand shapes for the tests; a size may be named, and an array is a constant."""
        return iter(())


@dataclass(frozen=True, eq=False)
class Input(Op):
    """A graph input. Of its sizes, numbers are fixed and names vary.

    Position t of its time axis stands at sample ``t * hop + centre`` of the clip that it describes.
    """

    name: str
    sizes: tuple[int | str, ...] = ("batch", "samples")
    hop: int = 1
    centre: int = 0

    def infer(self) -> Shape:
        return tuple(Dim(size) if isinstance(size, str) else size for size in self.sizes)

    @property
    def label(self) -> str:
        return self.name


@dataclass(frozen=True, eq=False)
class Constant(Op):
    """A constant in float64, or with ``trainable`` a torch parameter.

    ``source`` is the array, or a function that makes it when it is first needed: most candidates that ``lower``
    compares are never built. ``name`` says what it is (fourier, mel, dct, ...).
    """

    name: str
    shape: tuple[int, ...]
    source: Array | Callable[[], Array]
    trainable: bool = False

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise GraphError(f"a constant is named by an identifier, not {self.name!r}")

    @classmethod
    def of(cls, name: str, array: npt.ArrayLike, trainable: bool = False) -> Value:
        """A value that holds ``array``."""
        fixed = np.asarray(array)
        fixed = fixed if fixed.dtype.kind in "iu" else fixed.astype(np.float64)
        return cls(name, fixed.shape, fixed, trainable)()

    @classmethod
    def lazy(cls, name: str, shape: tuple[int, ...], make: Callable[[], Array], trainable: bool = False) -> Value:
        """A value that holds ``make()``, called once, when its array is first read."""
        return cls(name, shape, make, trainable)()

    @cached_property
    def array(self) -> Array:
        """The array itself."""
        if math.prod(self.shape) > MOST_ELEMENTS:
            raise GraphError(
                f"constant {self.name} of shape {self.shape} would hold {math.prod(self.shape):.2g} numbers; "
                "a file holds at most 2 GB, so choose smaller parameters"
            )
        array = self.source() if callable(self.source) else self.source
        if array.shape != self.shape:
            raise GraphError(f"constant {self.name} was declared {self.shape} and made {array.shape}")
        return array

    @cached_property
    def _derived(self) -> dict[str, Value]:
        return {}

    def derived(self, form: str, shape: tuple[int, ...], make: Callable[[Array], Array]) -> Value:
        """A constant that holds ``make(array)``; the same one whenever ``form`` is asked for, however often this is used."""
        if form not in self._derived:
            self._derived[form] = Constant.lazy(self.name, shape, lambda: make(self.array), self.trainable)
        return self._derived[form]

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: the array, not the function that makes it."""
        return {key: value for key, value in self.__dict__.items() if key != "_derived"} | {"source": self.array}

    def infer(self) -> Shape:
        return self.shape

    @property
    def label(self) -> str:
        return self.name

    def __str__(self) -> str:
        return f"constant({self.name!r}{', trainable' if self.trainable else ''})"


def _short(value: Any) -> str:
    if isinstance(value, tuple) and len(value) > MOST_SHOWN:
        return f"tuple of {len(value)}"
    return f"array{value.shape}" if isinstance(value, np.ndarray) else repr(value)


def _differs(value: Any, default: Any) -> bool:
    return isinstance(value, np.ndarray) or isinstance(default, np.ndarray) or bool(value != default)
