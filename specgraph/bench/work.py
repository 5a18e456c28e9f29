"""What is measured, and who does it: subjects, pieces of work, peers and what a peer makes ready."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from specgraph.transforms import Transform

Array = npt.NDArray[Any]
GIGABYTES = 4.0  # of memory, unless more is allowed


@dataclass(frozen=True)
class Subject:
    """Something that several libraries compute; ``at`` gives the transform at a size, which is written as text."""

    name: str
    about: str
    sizes: tuple[str, ...]
    at: Callable[[str], Transform]
    unit: str = "of the peak"  # of its errors; otherwise the unit of the features
    accuracy: str | None = None  # the size for the accuracy report, if it is part of it
    convention: str = ""  # what is compared, in the accuracy report
    closer: Mapping[str, Any] = field(default_factory=dict)  # parameters of a second, more exact run of specgraph's
    inside: bool = False  # report the errors of frames away from the ends too, where libraries pad in different ways
    pictured: tuple[str, ...] = ()  # whose output is drawn; all if none is named
    faults: tuple[float, float] = (-11.0, -5.0)  # decimal logarithms of the errors that are drawn, as fractions of the peak


@dataclass(frozen=True)
class Work:
    """A subject at a size, on a device."""

    subject: Subject
    size: str
    transform: Any
    device: str = "cpu"
    threads: int = 1
    tf32: bool = False
    stream: int = 0  # the handle of the CUDA stream that is timed
    memory: float = 1e9 * GIGABYTES  # bytes that may be used


@dataclass(frozen=True)
class Ready:
    """A library made ready for one piece of work.

    ``run`` takes waveforms (batch, samples), in numpy on a CPU and as a torch tensor on CUDA, and returns what the library
    returns; ``features`` turns that into (batch, bins, frames) for the comparison, which is not timed.
    """

    run: Callable[[Any], Any]
    features: Callable[[Any], Any] = lambda result: result
    size: int | None = None  # bytes of the file, or of the constants that it holds
    definition: Any = None  # a transform whose float64 values it is compared with; None: the work's own


@dataclass(frozen=True)
class Peer:
    """A library, or a way to use one, for some subjects. ``build`` returns None where it cannot do the work."""

    name: str
    build: Callable[[Work], Ready | None]
    package: str
    computes: frozenset[str]
    devices: frozenset[str]
    note: str  # what differs, if something does
    timed: bool = True  # or part of the accuracy report only

    @property
    def missing(self) -> str | None:
        """Why it cannot be measured here, or None."""
        from importlib import import_module

        try:
            import_module(MODULES.get(self.package, self.package))
        except ModuleNotFoundError as problem:
            if self.package.lower().replace("-", "_").startswith(str(problem.name).lower().split(".")[0]):
                return f"{self.package} is not installed: pip install 'specgraph[bench]'"
            return f"{self.package} cannot be imported: {problem}"
        except Exception as problem:  # noqa: BLE001  (whatever is raised by a broken installation)
            return f"{self.package} cannot be imported: {type(problem).__name__}: {problem}"
        return None


# What is imported of a package before its start is timed, where that is not the package's name.
MODULES = {
    "kaldi-native-fbank": "kaldi_native_fbank",
    "nnAudio": "nnAudio.features",
    "onnx-asr": "onnx_asr",
    "torchlibrosa": "torchlibrosa.stft",
}
SUBJECTS: dict[str, Subject] = {}
PEERS: list[Peer] = []


def subject(made: Subject) -> Subject:
    """Register a subject."""
    return SUBJECTS.setdefault(made.name, made)


def peer(
    name: str, *, package: str, computes: tuple[str, ...], devices: tuple[str, ...] = ("cpu",), note: str = "", timed: bool = True
) -> Callable[[Callable[[Work], Ready | None]], Callable[[Work], Ready | None]]:
    """Register ``build(work)`` as a peer for these subjects."""

    def register(build: Callable[[Work], Ready | None]) -> Callable[[Work], Ready | None]:
        PEERS.append(Peer(name, build, package, frozenset(computes), frozenset(devices), note, timed))
        return build

    return register


def subject_named(name: str) -> Subject:
    """A subject by its name, or ``ValueError`` in a sentence."""
    if name not in SUBJECTS:
        raise ValueError(f"there is no benchmark of {name!r}; there are {', '.join(SUBJECTS)}")
    return SUBJECTS[name]


def to_array(result: Any) -> Array:
    """Features as float64 (batch, bins, frames) or (batch, bins, frames, 2), from whatever a library returned."""
    if hasattr(result, "detach"):
        result = result.detach().cpu()
    array = np.asarray(result)
    if np.iscomplexobj(array):
        array = np.stack([array.real, array.imag], -1)
    return array.astype(np.float64)


@dataclass(frozen=True)
class Error:
    """The difference from the definition: its largest, and its root mean square, each of the definition's own.

    ``inside`` is the largest of those frames that were named. Complex features differ by the modulus.
    """

    largest: float
    rms: float
    inside: float


def error(got: Array, wanted: Array, unit: str, inside: slice = slice(None)) -> Error:
    """How far ``got`` is from ``wanted``: relative, or in the features' own unit where that is a logarithm."""
    if got.shape != wanted.shape:
        raise ValueError(f"it gives {got.shape} where the definition gives {wanted.shape}")
    difference, size = modulus(got - wanted), modulus(wanted)
    largest, rms = float(difference.max()), float(np.sqrt(np.mean(difference**2)))
    within = float(difference[..., inside].max(initial=0.0))
    if unit != "of the peak":
        return Error(largest, rms, within)
    peak, level = max(float(size.max()), 1e-300), max(float(np.sqrt(np.mean(size**2))), 1e-300)
    return Error(largest / peak, rms / level, within / peak)


def modulus(features: Array) -> Array:
    """(batch, bins, frames) of features or of complex features (batch, bins, frames, 2)."""
    return np.hypot(features[..., 0], features[..., 1]) if features.ndim == 4 else np.abs(features)


def definition(transform: Any, wave: Array) -> Array:
    """The transform's float64 definition."""
    outputs: Mapping[str, Array] = transform.graph().numpy(wave)
    return next(iter(outputs.values()))
