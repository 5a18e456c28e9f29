"""What exporting and verifying report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from specgraph.listing import bytes_text
from specgraph.lowering import Choice
from specgraph.op import Array


class VerificationError(ValueError):
    """A model does not compute what its graph defines."""


@dataclass(frozen=True)
class OutputError:
    """Absolute differences of an output from its reference, in the output's own unit: the largest, and the 99.9th percentile."""

    largest: float
    percentile: float

    @classmethod
    def of(cls, differences: Array) -> OutputError:
        """Of the differences of all elements; infinite where one of them is no number."""
        if not differences.size:
            return cls(0.0, 0.0)
        held = np.nan_to_num(differences, nan=np.inf, posinf=np.inf)
        return cls(float(held.max()), float(np.percentile(held, 99.9, method="higher")))


@dataclass(frozen=True)
class Check:
    """One verification run.

    ``error`` is the largest difference from the float64 definition, as a fraction of the peak of the spectrum: for
    features behind filters or a logarithm, the error of the spectrum that explains what is seen behind them. ``torch_error`` is the same
    between this result and the torch module's, None where torch was not asked. ``output_errors`` are the differences from the definition
    by output, in its own unit; of a whole model from what it was made from. ``half_error``, of features in half precision and None of others, is by how much
    rounding to float16 changes the definition's features, as a fraction of a clip's peak; it is not part of ``error``, and is of ``output_errors``.
    ``front_end_error``, of a whole model whose front ends' rounding makes more of its outputs than the tolerance, and None of others, is by how
    much these differ from the torch model's; ``error`` is then what is left of it on the same features, which are within what is allowed of them.
    """

    signal: str
    batch: int
    samples: int
    error: float
    torch_error: float | None
    output_errors: Mapping[str, OutputError]
    half_error: float | None = None
    front_end_error: float | None = None

    @property
    def difference(self) -> float:
        """The largest difference of all outputs."""
        return max((error.largest for error in self.output_errors.values()), default=0.0)


def largest_errors(checks: Iterable[Check]) -> dict[str, float]:
    """The largest difference of each output in several checks."""
    found: dict[str, float] = {}
    for check in checks:
        for name, error in check.output_errors.items():
            found[name] = max(found.get(name, 0.0), error.largest)
    return found


@dataclass(frozen=True)
class Report:
    """What was written or verified; ``str(report)`` is a summary.

    ``front_end_checks``, of a model with a front end attached, compare that front end alone with its float64 definition.
    ``file_size`` is that of all files: ``data`` is the second, which holds the arrays of a joined model of more than 2 GB, else None.
    """

    path: Path
    target: str
    device: str
    file_size: int
    nodes: int
    choices: tuple[Choice, ...]
    checks: tuple[Check, ...]
    tolerance: float
    front_end_checks: tuple[Check, ...] = ()
    data: Path | None = None

    @property
    def files(self) -> str:
        """The file, or the two that belong together where one cannot hold all arrays."""
        return str(self.path) if self.data is None else f"{self.path} and {self.data.name}, which must stay beside it"

    @property
    def error(self) -> float:
        """The largest error of all checks, a fraction of the peak."""
        return max(check.error for check in self.checks)

    @property
    def output_errors(self) -> dict[str, float]:
        """The largest absolute difference of each output from its float64 definition, in the output's own unit.

        Of a whole model, from the torch model, or from the two parts apart; of a front end's output that an attached model keeps, from
        float64 too.
        """
        inner = largest_errors(self.front_end_checks)
        return {name: max(error, inner.get(name, 0.0)) for name, error in largest_errors(self.checks).items()}

    @property
    def torch_error(self) -> float | None:
        """The largest difference from the torch module, or None where torch was not asked."""
        errors = [check.torch_error for check in self.checks if check.torch_error is not None]
        return max(errors, default=None)

    @property
    def half_error(self) -> float | None:
        """Of features in half precision, what rounding to float16 changes them by, a fraction of their peak; else None."""
        return max((check.half_error for check in self.checks if check.half_error is not None), default=None)

    @property
    def front_end_error(self) -> float | None:
        """Of a whole model, what the rounding of its front ends makes of its outputs where that is more than the tolerance; else None."""
        return max((check.front_end_error for check in self.checks if check.front_end_error is not None), default=None)

    def __str__(self) -> str:
        lines = [f"{self.files}: {bytes_text(self.file_size)}, {self.nodes} nodes, for {self.target}"]
        for choice in self.choices:
            others = ", ".join(
                f"{name} {'not for this target' if seconds is None else f'{1e3 * seconds:.2f} ms'}"
                for name, seconds in choice.prices.items()
            )
            lines.append(f"  {choice.op}: {choice.chosen} ({others}; for 10 s of audio, {'measured' if choice.measured else 'estimated'})")
            if choice.bound is not None:
                lines.append(f"    error bound {choice.bound:.1e} of the peak (limit {choice.tolerance:.1e})")
        lines.append(f"  verified on {self.device}: largest error {self.error:.1e} of the peak, allowed {self.tolerance:.1e}")
        for name, largest in self.output_errors.items():
            checks = [check for check in (*self.checks, *self.front_end_checks) if name in check.output_errors]
            worst = max(checks, key=lambda check: check.output_errors[name].largest)
            percentile = worst.output_errors[name].percentile
            lines.append(f"    {name}: at most {largest:.1e} off in its own unit, on {worst.signal}; 99.9 % of its values there within {percentile:.1e}")
        if self.half_error is not None:
            lines.append(f"  in half precision: beside that, float16 rounds the features by up to {self.half_error:.1e} of their peak")
        if self.front_end_error is not None:
            signal = next(check.signal for check in self.checks if check.front_end_error == self.front_end_error)
            lines.append(
                f"  that is on the same features: these differ from torch's by no more than the float32 of a front end may, which changes the "
                f"outputs by up to {self.front_end_error:.1e} of their peak, on {signal}"
            )
        return "\n".join(lines)
