"""Is a model what it was made from: onnxruntime against the torch model, or the models that were joined, at several sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specgraph.export import signals
from specgraph.export.report import Check, OutputError
from specgraph.export.torch_export import Axes
from specgraph.export.verification import VerificationError
from specgraph.op import Array
from specgraph.runtimes.session import first_line

TORCH = "the torch model"
ANYWAY = "; a larger tolerance=... writes it all the same"

Sizes = dict[str, int]
Run = Callable[[tuple[Array, ...]], dict[str, Array]]

# A bin that holds rounding only differs by all of it behind a logarithm: every signal but silence has something in every bin.
SIGNALS: dict[str, Callable[[int], Array]] = {
    "noise": signals.noise,
    "quiet noise": lambda samples: 1e-3 * signals.noise(samples),
    "sweep in noise": lambda samples: signals.sweep(samples) + 0.1 * signals.noise(samples),
    "impulse": signals.impulse,
    "silence": signals.silence,
}


MOST_SAMPLES = 10_000_000  # of a clip that is tried
FEW = ("noise", "silence")


@dataclass(frozen=True)
class Comparison:
    """What was compared: the checks, the smallest size along the clip that works, and the outputs' shapes at each size.

    ``fixed`` names the axes that were to vary and along which the original works at the size of the examples only, or nearly so.
    """

    checks: tuple[Check, ...]
    least: int
    shapes: tuple[tuple[Sizes, dict[str, tuple[int, ...]]], ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True)
class Comparer:
    """Compares a model with its original.

    ``examples`` are the inputs that it was traced with, ``axes`` say which of their sizes vary; ``original`` and ``onnx`` compute
    the outputs by name. ``called`` is what errors call the original and ``hint`` what they say of sizes other than the examples';
    ``inputs`` makes the inputs for a signal at other sizes, where it is not the examples that are cut or repeated; ``lengths`` are the
    numbers of those that hold lengths, which grow and shrink with the clip; half more than ``limit`` along the clip is tried too. With ``few`` a large model is run a few times only,
    and ``least`` is taken as it is. ``on_same_features`` computes the original's outputs on the features that the model has in it, where
    these are what they may be: of a difference that is larger than the tolerance, what is left then is the layers'. Of that, ``rounding`` says by output how much rounding to float32 explains.
    """

    examples: tuple[Array, ...]
    axes: Axes
    original: Run
    onnx: Run
    tolerance: float
    called: str = TORCH
    hint: str = "a layer may have been traced for the size of the example inputs alone"
    inputs: Callable[[str, Sizes], tuple[Array, ...]] | None = None
    few: bool = False
    lengths: tuple[int, ...] = ()
    limit: int | None = None
    on_same_features: Callable[[tuple[Array, ...]], dict[str, Array] | None] | None = None
    rounding: Callable[[tuple[Array, ...]], dict[str, float]] | None = None

    def compared(self, least: int) -> Comparison:
        """Every signal at the size of the examples, and noise at others; ``least`` is the first guess of the smallest.

        Raises:
            VerificationError: the model differs from its original by more than the tolerance.
        """
        traced = self.traced_sizes()
        along = self.along
        least = self._least(least) if along and not self.few else least if along else traced.get("", 1)
        checks, shapes = [], []
        for name, sizes in self._trials(traced, least):
            inputs = self.inputs_for(name, sizes)
            try:
                wanted = self.original(inputs)
            except Exception:  # whatever a model's layers raise at a size that is not for them
                if sizes == traced:
                    raise
                continue
            shapes.append((sizes, {output: array.shape for output, array in wanted.items()}))
            checks.append(self._check(name, sizes, inputs, wanted))
        return Comparison(tuple(checks), least, tuple(shapes), self._fixed_axes([sizes for sizes, _ in shapes]))

    def _fixed_axes(self, worked: list[Sizes]) -> tuple[str, ...]:
        found = []
        for name, size in self.traced_sizes().items():
            others = {sizes[name] for sizes in worked} - {size}
            near = range(size // 2 + 2, size + 1) if name == self.along else ()  # as many frames, in an interval of lengths
            tried = {sizes[name] for _, sizes in self._trials(self.traced_sizes(), 1)} - {size}
            if tried and not others - set(near):
                found.append(name)
        return tuple(found)

    @property
    def along(self) -> str:
        """The name of the first input's axis along the clip, if it varies; else nothing."""
        return next((name for axis, name in self.axes[0].items() if axis), "")

    def traced_sizes(self) -> Sizes:
        """The sizes that vary, by name, as they are in the examples."""
        return {name: example.shape[axis] for example, one in zip(self.examples, self.axes, strict=True) for axis, name in one.items()}

    def _trials(self, traced: Sizes, least: int) -> Iterator[tuple[str, Sizes]]:
        along, batch = self.along, self.axes[0].get(0, "")
        for name in FEW if self.few else SIGNALS:
            yield name, traced
        if self.few:
            if batch:
                yield "noise", traced | {batch: 1}
            if along:
                yield "noise", traced | {along: traced[along] * 4 // 3 + 7}
            return
        beyond = {self.limit * 3 // 2 + 1} if self.limit is not None and self.limit < MOST_SAMPLES else set()
        lengths = sorted({least, max(least, traced[along] // 2 + 1), traced[along] * 4 // 3 + 7} | beyond) if along else []
        for number, length in enumerate(lengths):
            yield "noise", traced | {along: length} | ({batch: 1 + number} if batch else {})
        if batch:
            yield "noise", traced | {batch: traced[batch] + 1}
            yield "noise", traced | {batch: 1}

    def inputs_for(self, name: str, sizes: Mapping[str, int]) -> tuple[Array, ...]:
        """The examples at other sizes, and the signal for waveforms: a first input that ends in the axis along the clip."""
        if self.inputs is not None:
            return self.inputs(name, dict(sizes))
        made = []
        for number, (example, one) in enumerate(zip(self.examples, self.axes, strict=True)):
            shape = tuple(sizes[one[axis]] if axis in one else size for axis, size in enumerate(example.shape))
            if number == 0 and example.ndim in (2, 3) and (example < 0).any():
                made.append(signal(name, shape, example.dtype))
                continue
            made.append(resized(example, shape))
            if number in self.lengths and self.along:
                scaled = made[-1] * sizes[self.along] // self.traced_sizes()[self.along]
                made[-1] = np.maximum(scaled, 1).astype(example.dtype)
        return tuple(made)

    def _least(self, guess: int) -> int:
        """The smallest size along the clip at which the original computes something and the model the same."""
        low, high = guess, self.traced_sizes()[self.along]
        while low < high:
            tried = low if low == guess else (low + high) // 2
            if self._works(tried):
                high = tried
            else:
                low = tried + 1
        return high

    def _works(self, length: int) -> bool:
        sizes = self.traced_sizes() | {self.along: length}
        inputs = self.inputs_for("noise", sizes)
        try:
            self._check("noise", sizes, inputs, self.original(inputs))
        except Exception:  # noqa: BLE001  (layers and onnxruntime have many words for a clip that is too short)
            return False
        return True

    def _check(self, name: str, sizes: Sizes, inputs: tuple[Array, ...], wanted: dict[str, Array]) -> Check:
        batch, length = inputs[0].shape[0], sizes[self.along] if self.along else inputs[0].shape[-1]
        where = f"on {name} of {length} {self.along or 'samples'}, batch {batch},"
        try:
            got = self.onnx(inputs)
        except Exception as failure:  # noqa: BLE001  (onnxruntime's own types)
            raise VerificationError(f"{where} onnxruntime cannot run the model, and {self.called} can be run: {first_line(failure)}") from None
        for output, array in wanted.items():
            if got[output].shape != array.shape:
                raise VerificationError(f"{where} {output} has shape {got[output].shape} and {array.shape} in {self.called}{self._hint(sizes)}")
        off = {output: differences(got[output], array) for output, array in wanted.items()}
        worst = error = max((relative(off[output], array) for output, array in wanted.items()), default=0.0)
        errors = {output: OutputError.of(one) for output, one in off.items()}
        same = None
        if not worst <= self.tolerance and self.on_same_features is not None:
            try:
                same = self.on_same_features(inputs)
            except VerificationError as failure:
                raise VerificationError(f"{where} {failure}{self._hint(sizes)}{ANYWAY}") from None
        if same is not None:
            error = max(relative(differences(got[output], array), array) for output, array in same.items())
            if not error <= self.tolerance and self.rounding is not None:
                may = self.rounding(inputs)
                left = {output: np.maximum(differences(got[output], array) - may[output], 0.0) for output, array in same.items()}
                error = max(relative(left[output], array) for output, array in same.items())
        if not error <= self.tolerance:
            raise VerificationError(f"{where} {self._beyond(got, same or wanted, on_same=same is not None)}{self._hint(sizes)}{ANYWAY}")
        if same is not None:  # of the larger peak: one of the two may be zero where the other has rounding
            worst = max(relative(off[output], np.maximum(np.abs(array), np.abs(got[output]))) for output, array in wanted.items())
        return Check(name, batch, length, error, worst if self.called == TORCH else None, errors, front_end_error=None if same is None else worst)

    def _beyond(self, got: dict[str, Array], wanted: dict[str, Array], on_same: bool) -> str:
        """What is said of the output that differs the most."""
        output = max(wanted, key=lambda name: relative(differences(got[name], wanted[name]), wanted[name]))
        off, array = differences(got[output], wanted[output]), wanted[output]
        place = tuple(int(i) for i in np.unravel_index(np.argmax(off), off.shape))
        return (
            f"{output} differs from {self.called} by {relative(off, array):.1e} of its peak{' on the same features' if on_same else ''}, most at "
            f"{place} where it is {got[output][place]:.6g} and not {array[place]:.6g}, and {self.tolerance:.1e} is allowed"
        )

    def _hint(self, sizes: Sizes) -> str:
        return "" if sizes == self.traced_sizes() or not self.hint else f" ({self.hint})"


def signal(name: str, shape: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Array:
    """The signal of this name along the last axis, every row half as loud as the one before, up to four; 16-bit PCM where ``dtype`` is int16."""
    rows = [SIGNALS[name](shape[-1]) * 0.5 ** (row % 4) for row in range(int(np.prod(shape[:-1])))]
    waves = np.reshape(rows, shape)
    return signals.to_int16(waves) if dtype == np.int16 else waves.astype(dtype)


def resized(example: Array, shape: tuple[int, ...]) -> Array:
    """The example cut or repeated to this shape."""
    for axis, size in enumerate(shape):
        example = np.take(example, np.arange(size) % example.shape[axis], axis)
    return example


def differences(got: Array, wanted: Array) -> Array:
    """Element by element; infinite where one of the two is not finite and not the same, 1 where whole numbers differ."""
    if wanted.dtype.kind != "f":
        return (got != wanted).astype(np.float64)
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    with np.errstate(invalid="ignore"):
        off = np.where(same, 0.0, np.abs(got.astype(np.float64) - wanted))
    return np.where(np.isnan(off), np.inf, off)


def relative(off: Array, wanted: Array) -> float:
    """The largest of the differences, as a fraction of the largest value wanted; itself, of whole numbers."""
    largest = float(off.max(initial=0.0))
    if wanted.dtype.kind != "f" or not largest:
        return largest
    finite = np.abs(wanted[np.isfinite(wanted)])
    return largest / max(float(finite.max(initial=0.0)), float(np.finfo(np.float32).tiny))
