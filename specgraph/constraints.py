"""What may be asked to hold for a trained part after every optimizer step, through ``torch.nn.utils.parametrize``.

>>> import specgraph as sg
>>> mel = sg.MelSpectrogram(sample_rate=16000, n_fft=512, n_mels=40)
>>> net = mel.module(trainable=("mel",), constraints={"mel": ["non-negative", sg.constraints.Band(margin=2)]})
>>> bool((net.mel >= 0).all())
True

``net.mel`` is the constrained array, which ``net.graph`` and ``to_onnx`` take; what the optimizer changes is
``net.parametrizations.mel.original``. Several constraints hold in the order of the list, each on the result of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Constraint(nn.Module):
    """A map from any tensor to one that keeps a rule; ``right_inverse`` says what to begin at."""

    def prepare(self, value: Tensor) -> None:
        """Take what the rule depends on from the part as it is designed; raise ``ValueError`` where it cannot hold."""

    def right_inverse(self, value: Tensor) -> Any:
        """What gives ``value``, or the nearest to it that keeps the rule."""
        return value


class NonNegative(Constraint):
    """No weight is below 0: what would be is 0. A weight at 0 learns; one that was pushed below 0 waits there until it is pulled back."""

    def forward(self, value: Tensor) -> Tensor:
        """The positive part."""
        return value.clamp_min(0.0)


class Band(Constraint):
    """A filter of a bank (..., filters, bins) is 0 outside of given bins, so that it may not grow beyond them.

    Args:
        first: the first bin of each filter, a number or (filters,); None: where the designed filter begins, less ``margin``.
        last: the last bin, inclusive; None: where the designed filter ends, and ``margin`` more.
        margin: bins that a filter may grow by on either side of its design.
    """

    inside: Tensor

    def __init__(self, first: npt.ArrayLike | None = None, last: npt.ArrayLike | None = None, margin: int = 0) -> None:
        super().__init__()
        if margin < 0:
            raise ValueError(f"margin must be at least 0 bins, not {margin}")
        self._first, self._last, self._margin = first, last, margin
        self.register_buffer("inside", torch.zeros(()))

    def prepare(self, value: Tensor) -> None:
        if value.ndim < 2:
            raise ValueError(f"a band is of filters (filters, bins), and this part has the shape {tuple(value.shape)}")
        filters, bins = value.shape[-2:]
        number = torch.arange(bins, device=value.device)
        held = (value != 0).reshape(-1, filters, bins).any(0)
        begin = torch.where(held, number, bins).amin(1) - self._margin
        end = torch.where(held, number, -1).amax(1) + self._margin
        limits = []
        for name, given, designed in (("first", self._first, begin), ("last", self._last, end)):
            limit = designed if given is None else torch.as_tensor(given, device=value.device)
            if limit.ndim > 1 or limit.numel() not in (1, filters):
                raise ValueError(f"{name} must be a bin or one for each of the {filters} filters, not of shape {tuple(limit.shape)}")
            limits.append(limit.expand(filters)[:, None])
        self.inside = ((number >= limits[0]) & (number <= limits[1])).to(value.dtype)

    def forward(self, value: Tensor) -> Tensor:
        """Zeros outside of the band."""
        return value * self.inside


class UnitNorm(Constraint):
    """Every kernel (2, n, width), both parts together, or row of a bank (n, width), has a norm of 1; one of zeros stays zeros.

    Args:
        order: of the norm: 2 for the root of the sum of squares, 1 for the sum of absolute values, ``math.inf`` for the largest.
        keep: the norm stays what it was in the design, instead of 1.
    """

    norm: Tensor

    def __init__(self, order: float = 2.0, keep: bool = False) -> None:
        super().__init__()
        if not order >= 1:
            raise ValueError(f"the order of a norm is at least 1, not {order}")
        self._order, self._keep = order, keep
        self.register_buffer("norm", torch.ones(()))

    def _length(self, value: Tensor) -> Tensor:
        axes = (0, -1) if value.ndim == 3 and len(value) == 2 else (-1,)
        return torch.linalg.vector_norm(value, self._order, axes, keepdim=True)

    def prepare(self, value: Tensor) -> None:
        self.norm = self._length(value).clone() if self._keep else torch.ones_like(value[..., :1, :1])

    def forward(self, value: Tensor) -> Tensor:
        """Every row over its norm."""
        return value * (self.norm / self._length(value).clamp_min(torch.finfo(value.dtype).tiny))


class Quadrature(Constraint):
    """Both parts of a kernel (2, n, width) stay a cosine and a sine of one frequency under one envelope.

    Kernel i is ``envelope[i] * exp(2j pi (f[i] + shift[i] / width) t)`` with its designed frequency f and phase; trained are the
    envelopes, (n, width), ``original0``, and the shifts of the frequencies in bins, (n, 1), ``original1``. Neither part can be
    louder than the other, turn away from it, or have a window of its own; where an envelope is smooth, as a window is, the sine
    kernel is the cosine kernel's Hilbert transform.
    """

    carrier: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("carrier", torch.zeros(()))

    def prepare(self, value: Tensor) -> None:
        if value.ndim != 3 or len(value) != 2:
            raise ValueError(f"quadrature is of complex kernels (2, n, width), and this part has the shape {tuple(value.shape)}")
        kernels = torch.complex(*value.double())
        steps = (kernels[:, 1:] * kernels[:, :-1].conj()).sum(1, keepdim=True)
        # Of zeros there is no frequency, and any will do.
        frequency = steps.angle()
        unturned = kernels * torch.exp(-1j * frequency * self._times(kernels))
        phase = (unturned * unturned).sum(1, keepdim=True).angle() / 2  # of the squares: an envelope may change its sign
        carrier = torch.exp(1j * (frequency * self._times(kernels) + phase))
        apart = (kernels * carrier.conj()).imag.abs().amax() / kernels.abs().amax().clamp_min(1e-300)
        if apart > 1e-3:
            raise ValueError(
                f"these kernels are no cosines and sines of one frequency each (they differ by {float(apart):.1g} of the peak), so that "
                "quadrature cannot tie them"
            )
        self.carrier = torch.stack([carrier.real, carrier.imag]).to(value.dtype)

    @staticmethod
    def _times(kernels: Tensor) -> Tensor:
        width = kernels.shape[-1]
        return torch.arange(width, device=kernels.device, dtype=torch.float64) - (width - 1) / 2

    def right_inverse(self, value: Tensor) -> tuple[Tensor, Tensor]:
        self.prepare(value)
        return (value * self.carrier).sum(0), torch.zeros_like(value[0, :, :1])

    def forward(self, envelope: Tensor, shift: Tensor) -> Tensor:
        """The kernels."""
        width = envelope.shape[-1]
        turn = (2 * torch.pi / width) * shift * self._times(envelope).to(envelope.dtype)
        cosine, sine = self.carrier
        real, imaginary = cosine * turn.cos() - sine * turn.sin(), sine * turn.cos() + cosine * turn.sin()
        return envelope * torch.stack([real, imaginary])


BY_NAME: dict[str, type[Constraint]] = {
    "band": Band,
    "non-negative": NonNegative,
    "quadrature": Quadrature,
    "unit-norm": UnitNorm,
}


def listed(part: str, given: Any) -> list[Constraint]:
    """The constraints of a part, from a name, a ``Constraint``, or a list of these."""
    found = []
    for one in given if isinstance(given, list | tuple) else [given]:
        if isinstance(one, str) and one not in BY_NAME:
            raise ValueError(f"there is no constraint {one!r} for {part}; there are {', '.join(BY_NAME)}, and specgraph.constraints")
        constraint = BY_NAME[one]() if isinstance(one, str) else one
        if not isinstance(constraint, Constraint):
            raise TypeError(f"a constraint of {part} is a name or an object of specgraph.constraints, not {one!r}")
        found.append(constraint)
    return found


def constrain(module: nn.Module, names: Mapping[str, list[str]], constraints: Mapping[str, Any]) -> None:
    """Register ``constraints``, by part, on the parameters of ``module`` that ``names`` has for each part."""
    from copy import deepcopy

    for part, given in constraints.items():
        if part not in names:
            raise ValueError(f"constraints name {part!r}, which is not trained here; trained are {', '.join(names) or 'no parts'}")
        for constraint in listed(part, given):
            for name in names[part]:
                own = deepcopy(constraint)  # the same object may be given to several parts
                value = getattr(module, name).detach()
                if isinstance(own, Quadrature) and parametrize.is_parametrized(module, name):
                    raise ValueError(f"quadrature comes first in the constraints of {part}: it is what the others see")
                try:
                    own.prepare(value)
                    parametrize.register_parametrization(module, name, own)
                except ValueError as error:
                    raise ValueError(f"constraint {type(own).__name__} of {part}: {error}") from None


def originals(constraints: Any, value: Tensor) -> dict[str, Tensor]:
    """What ``state_dict`` holds of a constrained parameter that is ``value``, by its name under ``parametrizations``."""
    with torch.no_grad():
        inner: Any = value
        for constraint in reversed(list(constraints)):
            inner = constraint.right_inverse(inner)
    found = {"original": inner} if isinstance(inner, Tensor) else {f"original{i}": part for i, part in enumerate(inner)}
    return found | {name: buffer for name, buffer in constraints.named_buffers() if name not in found}
