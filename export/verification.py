"""Is a model what its graph defines: onnxruntime against float64 numpy, and against torch."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from specgraph.export.half import refuse_too_large, refuse_too_small, rounding, share_rounded
from specgraph.export.report import Check, OutputError, Report, VerificationError
from specgraph.export.signals import QUIET, trials
from specgraph.graph import Graph, as_defined
from specgraph.lowering import Choice
from specgraph.op import Array, Constant, Op, Value
from specgraph.ops.filterbank import Filterbank
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.lengths import Mask
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.phase import Phase
from specgraph.ops.reduce import Reduce
from specgraph.ops.speech_stft import SpeechStft
from specgraph.ops.stft import Stft
from specgraph.ops.windowed_stft import WindowedStft
from specgraph.shapes import time_axis
from specgraph.threads import one_thread

log = logging.getLogger("specgraph.export")
TOLERANCE = 2e-6  # of the peak of the spectrum; what float32 reaches is a third of it or less
TINY = float(np.finfo(np.float32).tiny)
ANYTHING = 1e100  # an allowance where nothing is known
SPECTRA = Stft | FrameConv | SpeechStft | WindowedStft  # which round to a share of their own peak
DEVIATIONS = 12  # standard deviations of rounding: 4 hold the largest of some 10,000 samples, and TOLERANCE is three times what float32 reaches
ROUNDED = 2.0**-23  # of a number, once: a constant and what it is added to


def verify(path: str | Path, device: str = "cpu", tolerance: float | None = None) -> Report:
    """Check a file against the definition that it carries, on this machine, with onnxruntime.

    Args:
        path: a file that specgraph wrote.
        device: "cpu" or "cuda".
        tolerance: the largest error allowed, a fraction of the peak; None takes the one that the file was exported with.

    Raises:
        VerificationError: the error is larger; the message says on which signal.
        ValueError: the file is not specgraph's.
    """
    from specgraph.export.read import read_model
    from specgraph.runtimes import load

    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance must be above 0, not {tolerance!r}")
    path = Path(path)
    model = read_model(path)
    runner = load(path, device=device)
    tolerance = tolerance or model.metadata.verified.get("tolerance") or TOLERANCE
    choices = tuple(Choice(**choice) for choice in model.metadata.lowering)
    with one_thread():
        checks = checked(model.graph, lambda inputs: runner.outputs(*inputs), choices, tolerance)
    return Report(
        path, model.metadata.target, runner.device, path.stat().st_size, model.nodes, choices, checks, tolerance
    )


def default_tolerance(choices: Iterable[Choice]) -> float:
    """What a model may be off where nothing else is asked: rounding, or what the roughest of its lowerings may make."""
    return max([TOLERANCE, *(choice.tolerance for choice in choices if choice.tolerance)])


def checked(
    graph: Graph, run: Any, choices: tuple[Choice, ...], tolerance: float, torch: bool = True
) -> tuple[Check, ...]:
    """Run every trial; raise ``VerificationError`` at the first that is beyond ``tolerance``."""
    module = graph.module() if torch else None
    checks = []
    loudest: dict[str, float] = {}  # value of each output, of the signals so far, of which noise is the first
    for names, inputs in trials(graph):
        log.info("verifying on %s", ", ".join(names))
        compared = _Compared.of(graph, inputs, run(inputs), module, choices)
        for clip, name in enumerate(names):
            check = compared.check(name, slice(None) if len(names) == 1 else slice(clip, clip + 1), default_tolerance(choices), loudest)
            checks.append(check)
            if not check.error <= tolerance:
                raise VerificationError(
                    f"on {name} of {check.samples} samples, batch {check.batch}, the model differs from its float64 definition by "
                    f"{check.error:.1e} of the spectrum's peak ({check.difference:.3g} in the output), and {tolerance:.1e} is allowed; "
                    "choose another lowering with prefer={...}, or a larger tolerance if that is good enough"
                )
    refuse_too_small(checks)
    return tuple(checks)


@dataclass(frozen=True)
class _Compared:
    """The outputs of one run by name: computed, as defined, allowed to differ by, and computed by torch if it was asked."""

    graph: Graph
    inputs: tuple[Array, ...]
    got: dict[str, Array]
    wanted: dict[str, Array]
    allowed: dict[str, Array]
    torch: dict[str, Array] | None
    jumping: set[Value]

    @classmethod
    def of(cls, graph: Graph, inputs: tuple[Array, ...], got: dict[str, Array], module: Any, choices: tuple[Choice, ...]) -> _Compared:
        wanted, allowed = with_allowances(graph, inputs, choices)
        return cls(graph, inputs, got, wanted, allowed, None if module is None else _torch_results(module, inputs), _jumping(graph))

    def check(self, name: str, clips: slice, unit: float, loudest: dict[str, float]) -> Check:
        """Compare some clips of the batch, which hold this signal; ``unit`` is the error that fills what is allowed."""
        error = torch_error = 0.0
        half_error = None
        errors = {}
        for output, value in self.graph.outputs.items():
            got, wanted, allowed = self.got[output][clips], self.wanted[output][clips], self.allowed[output][clips]
            _refuse_not_finite(name, output, wanted)
            half = self.graph.gives(output) == "float16"
            if half and name not in QUIET:
                refuse_too_large(name, output, wanted)
                loudest[output] = max(loudest.get(output, 0.0), float(np.abs(wanted).max(initial=0.0)))
                half_error = max(half_error or 0.0, share_rounded(wanted, loudest[output]))
            differences = _difference(value, got, wanted)
            errors[output] = OutputError.of(np.maximum(differences, allowed) if name == "noise" and value in self.jumping else differences)
            error = max(error, unit * explained(value, got, wanted, allowed, half))
            if self.torch is not None:
                torch_error = max(torch_error, unit * explained(value, got, self.torch[output][clips], allowed, half))
        first = self.inputs[0][clips]
        axis = time_axis(getattr(self.graph.inputs[0].op, "sizes", ()))
        samples = first.shape[-1 if axis is None else axis]
        return Check(name, len(first), samples, error, None if self.torch is None else torch_error, errors, half_error)


def _refuse_not_finite(name: str, output: str, wanted: Array) -> None:
    if not np.isfinite(wanted).all():
        raise VerificationError(
            f"on {name} the definition of {output} is not finite itself: a constant or a trained parameter is NaN, infinite, or "
            "negative where a logarithm follows"
        )


def _jumping(graph: Graph) -> set[Value]:
    """The values of which rounding may change an element by a whole step.

    A run seldom shows one, so their error is what is allowed: on noise, whose frames are all as loud as the clip, a step or two.
    """
    found: set[Value] = set()
    for value in graph.values():
        if value.op.jumps or any(operand in found for operand in value.inputs):
            found.add(value)
    return found


def _difference(value: Value, got: Array, wanted: Array) -> Array:
    if got.shape != wanted.shape:
        raise VerificationError(f"the model gives {got.shape} where its definition gives {wanted.shape}")
    difference = np.abs(got.astype(np.float64) - wanted)
    turns = isinstance((value.inputs[0] if isinstance(value.op, Mask) else value).op, Phase)
    return np.minimum(difference, np.abs(2 * np.pi - difference)) if turns else difference


def explained(value: Value, got: Array, wanted: Array, allowed: Array, half: bool = False) -> float:
    """The error of the spectrum that explains the difference in an output, over the error that it may have.

    In half precision the difference is what is beyond the rounding to it.
    """
    if not np.isfinite(got).all():
        return float("inf")
    difference = _difference(value, got, wanted)
    if half:
        difference = np.maximum(difference - rounding(wanted), 0.0)
    share = np.divide(difference, allowed, out=np.zeros_like(difference), where=difference > 0)
    return float(share.max(initial=0.0))


def with_allowances(
    graph: Graph, inputs: tuple[Array, ...], choices: Iterable[Choice] = ()
) -> tuple[dict[str, Array], dict[str, Array]]:
    """The definition's outputs, and by how much each element may differ.

    What float32 can hold is a fraction of the peak of a spectrum: each of its bins may be off by 2e-6 of the
    item's largest magnitude, or, where its lowering is an approximation, by that lowering's tolerance. From there that allowance is carried through
    the graph, by the op itself where it is not linear and by the absolute values of its constants where it is, so that what
    is allowed behind a logarithm or in a quiet band is what the spectrum explains. Kernels and banks that were trained or
    given may cancel what they sum: theirs is a fraction of the sums without signs.
    A filter of a waveform may be off by 2e-6 of the peak before it, and a spectrum of that by the largest bin that such noise has. A graph without either may be off by that of each output's.
    """
    tolerance = TOLERANCE
    rougher = {choice.op: choice.tolerance for choice in choices if choice.tolerance}
    values: dict[Value, Array] = {}
    carried: dict[Value, Array] = {}
    fixed: set[Value] = set()  # constants, lengths, and what is made of nothing else
    for value, array in zip(graph.inputs, inputs, strict=True):
        values[value] = as_defined(value, array)
        if value.dtype == "int64":
            fixed.add(value)
    for value in graph.values():
        op = value.op
        if value in values:
            continue
        if isinstance(op, Constant):
            values[value] = op.array
            fixed.add(value)
            continue
        operands = [values[operand] for operand in value.inputs]
        result = values[value] = op.numpy(*operands)
        if all(operand in fixed for operand in value.inputs):
            fixed.add(value)
            continue
        sums = isinstance(op, Filterbank | FrameConv) or (isinstance(op, Reduce) and op.kind in ("sum", "mean"))
        unsigned = np.abs(op.numpy(*map(np.abs, operands))) if sums else result
        own = op.rounding(operands, [carried.get(v) for v in value.inputs], result, rougher.get(str(op), tolerance))
        if own is not None:
            carried[value] = np.maximum(own, TINY)
        elif isinstance(op, Stft | FrameConv) or (sums and isinstance(op, Reduce) and value.inputs[0] not in carried):
            carried[value] = _share(unsigned, tolerance)
        elif op.compresses or any(operand in carried for operand in value.inputs):
            spread = [None if v in fixed else carried.get(v, _share(values[v], tolerance)) for v in value.inputs]
            carried[value] = _carry(value, operands, spread, result)
            if op.compresses or any(v.op.compresses for v in value.inputs) or (unsigned > np.abs(result)).any():
                carried[value] = carried[value] + _share(unsigned, tolerance)
            if (before := op.on_the_way(*operands)) is not None:
                carried[value] = carried[value] + _share(before, tolerance)
        if isinstance(op, SPECTRA) and (off := carried.get(value.inputs[0])) is not None:
            carried[value] = carried[value] + _spectrum_of_rounding(op, operands, off)
    outputs = graph.outputs.items()
    return (
        {name: values[value] for name, value in outputs},
        {name: carried.get(value, _share(values[value], tolerance)) for name, value in outputs},
    )


def _spectrum_of_rounding(op: Op, operands: list[Array], off: Array) -> Array:
    """The largest bin of each item that rounding within ``off`` makes, as noise: samples round independently of one another.

    Averages, whose weights are positive, take no noise but counts and powers, which may all be off the same way.
    """
    if all((operand >= 0).all() for operand in operands[1:]) and len(operands) > 1:
        return np.asarray(op.numpy(off, *operands[1:]))
    signs = np.random.default_rng(0).integers(0, 2, off.shape) * 2 - 1
    noise = np.abs(op.numpy(off / DEVIATIONS * signs, *operands[1:]))
    return np.broadcast_to(noise.max(axis=tuple(range(1, noise.ndim)), keepdims=True, initial=0.0), noise.shape)


def _share(value: Array, tolerance: float) -> Array:
    """``tolerance`` of each item's peak."""
    peak = np.abs(value).max(axis=tuple(range(1, value.ndim)), keepdims=True, initial=0.0)
    return np.broadcast_to(np.maximum(tolerance * peak, TINY), value.shape)


def _carry(value: Value, operands: list[Array], spread: list[Array | None], result: Array) -> Array:
    """By how much a result may be off: by its own rounding too, where what it is made of is exact.

    At most ``ANYTHING``, which stays a number whatever it is multiplied by.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        most = np.fmin(_carried(value, operands, spread, result), ANYTHING)  # which of a NaN and a number is the number
        exact = most == 0
        return np.where(exact, ROUNDED * np.abs(result), most) if exact.any() else most


def _carried(value: Value, operands: list[Array], spread: list[Array | None], result: Array) -> Array:
    op = value.op
    own = op.carry(operands, spread, result)
    if own is not None:
        return own
    if isinstance(op, Phase | Magnitude):
        pairs = (np.moveaxis(np.asarray(parts), op.axis, 0) for parts in (operands[0], spread[0]))
        size, off = (np.sqrt(real * real + imaginary * imaginary) for real, imaginary in pairs)  # much quicker than hypot
        if isinstance(op, Magnitude):
            return np.maximum((size + off) ** op.power - result, result - np.maximum(size - off, 0.0) ** op.power)
        return np.where(size > off, np.arcsin(np.minimum(off / np.maximum(size, TINY), 1.0)), np.inf)
    uncertain = [s is not None for s in spread]
    if op.linear and sum(uncertain) == 1:
        return np.abs(op.numpy(*(np.abs(a) if s is None else s for a, s in zip(operands, spread, strict=True))))
    if op.linear:  # in several operands: a product of two is off by each one's share of the other
        sizes = [np.abs(a) for a in operands]
        return np.abs(op.numpy(*(a if s is None else a + s for a, s in zip(sizes, spread, strict=True))) - op.numpy(*sizes))
    largest = np.zeros(result.shape)
    for signs in product((1.0, -1.0), repeat=sum(uncertain)):  # each operand up or down by itself: a difference needs both
        sign = iter(signs)
        moved = [a if s is None else a + next(sign) * s for a, s in zip(operands, spread, strict=True)]
        if op.compresses:
            moved = [np.maximum(a, 0.0) if (b >= 0).all() else a for a, b in zip(moved, operands, strict=True)]
        difference = op.numpy(*moved) - result
        np.maximum(largest, np.abs(difference, out=difference), out=largest)
    return largest


def _torch_results(module: Any, inputs: tuple[Array, ...]) -> dict[str, Array]:
    import torch

    with torch.no_grad():
        result = module.outputs(*(torch.from_numpy(np.array(array)) for array in inputs))
    return {name: array.numpy() for name, array in result.items()}
