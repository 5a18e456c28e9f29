"""What every transform has: checked parameters, a graph, a torch module, and a row in ``specgraph list``."""

from __future__ import annotations

import dataclasses
import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from specgraph.graph import About, Graph
from specgraph.op import Input, Value
from specgraph.ragged import with_lengths
from specgraph.transforms import parse
from specgraph.transforms.parse import OTHER_NAMES

if TYPE_CHECKING:
    import torch

    from specgraph.module import GraphModule


MOST_NUMBERS = 2**27  # of an array that is designed
LEAST_EXPONENT, MOST_EXPONENT = 0.05, 8.0  # of a magnitude, which may be in the thousands


@dataclass(frozen=True)
class Parameter:
    """A parameter of a transform, as ``specgraph list`` shows it."""

    name: str
    type: str
    default: object
    help: str


def parameter(default: Any, help: str) -> Any:
    """A dataclass field with a default and a line of help."""
    return dataclasses.field(default=default, metadata={"help": help})


class FrontEnd(ABC):
    """What gives a graph, with or without parts of it to be trained: a transform, or a preset."""

    @abstractmethod
    def graph(self, trainable: Sequence[str] = (), lengths: bool = False) -> Graph:
        """The graph, with these parts as parameters."""

    def module(
        self,
        trainable: Sequence[str] = (),
        dtype: torch.dtype | None = None,
        prefer: Mapping[str, str] | None = None,
        constraints: Mapping[str, Any] | None = None,
        lengths: bool = False,
    ) -> GraphModule:
        """A ``torch.nn.Module``, (batch, samples) -> (batch, bins, frames), with these parts as its parameters.

        Args:
            trainable: any of ``trainable_parts``, and of ``smooth_parts`` in place of what they make.
            dtype: ``torch.float32`` (default) or ``torch.float64``.
            prefer: lowerings by compound op instead of the cheapest, such as ``{"ConstantQ": "grouped"}``.
            constraints: by trained part, what holds for it after every step: ``{"mel": "non-negative"}``, or a list of names and
                objects of ``specgraph.constraints``.
            lengths: take clips of different lengths in one batch: ``features, features_lens = net(waveforms, waveforms_lens)``.
        """
        from specgraph.module import GraphModule

        return GraphModule(self.graph(trainable, lengths), dtype=dtype, prefer=prefer, constraints=constraints)


@dataclass(frozen=True, kw_only=True)
class Transform(FrontEnd):
    """Parameters of an audio transform; nothing is computed until its graph is asked for."""

    classes: ClassVar[dict[str, type[Transform]]] = {}
    command: ClassVar[str] = ""  # its name on the command line
    trainable_parts: ClassVar[tuple[str, ...]] = ()
    smooth_parts: ClassVar[Mapping[str, str]] = {}  # parts of a few numbers, and the trainable part that each makes
    output_name: ClassVar[str] = "features"  # of the only output; an inverse gives "waveforms"

    sample_rate: int = parameter(22050, "samples a second of the waveforms, in hertz")

    if not TYPE_CHECKING:  # for whom the parameters are those of __init__

        def __new__(cls, *positional: Any, **named: Any) -> Self:
            """Refuse in a sentence what ``__init__`` refuses in Python's words."""
            _check_call(cls, positional, named)
            return super().__new__(cls)

    def __init_subclass__(cls) -> None:
        if not inspect.isabstract(cls) and cls.command:
            Transform.classes[cls.__name__] = cls

    def __post_init__(self) -> None:
        hints = parse.field_types(type(self))
        for field in dataclasses.fields(self):
            value = parse.checked(field.name, getattr(self, field.name), hints[field.name])
            object.__setattr__(self, field.name, value)
        self.check()

    def check(self) -> None:
        """Raise ``ValueError``, in one sentence, where parameters do not go together."""
        at_least(self, 1, "sample_rate")

    @abstractmethod
    def compose(self, wave: Value, trainable: frozenset[str]) -> Value | Mapping[str, Value]:
        """The output for the input ``wave``, from ops, or several by name; ``trainable`` names the parts to be parameters."""

    @abstractmethod
    def about(self) -> About | Mapping[str, About]:
        """What the output holds, or several by name."""

    def input(self) -> Input:
        """The graph's input: ``waveforms`` (batch, samples), unless the transform turns features into something else."""
        return Input("waveforms")

    def graph(self, trainable: Sequence[str] = (), lengths: bool = False) -> Graph:
        """The graph: input ``waveforms`` (batch, samples) and output ``features``, or what the class says.

        With ``lengths`` it is ``specgraph.with_lengths`` of that, for clips of different lengths in one batch.
        """
        parts = parts_to_train(type(self).__name__, trainable, self.trainable_parts, self.smooth_parts)
        wave, about = self.input()(), self.about()
        made = self.compose(wave, parts)
        graph = Graph(
            (wave,),
            {self.output_name: made} if isinstance(made, Value) else made,
            self.sample_rate,
            type(self).__name__,
            dataclasses.asdict(self),
            {self.output_name: about} if isinstance(about, About) else about,
        )
        return with_lengths(graph) if lengths else graph

    @classmethod
    def help(cls) -> str:
        """What it computes, in a line."""
        return (inspect.getdoc(cls) or "").splitlines()[0]

    @classmethod
    def parameters(cls) -> tuple[Parameter, ...]:
        """Its parameters, in order."""
        hints = parse.field_types(cls)
        return tuple(
            Parameter(field.name, parse.type_text(hints[field.name]), field.default, field.metadata.get("help", ""))
            for field in dataclasses.fields(cls)
        )

    @classmethod
    def from_strings(cls, values: Mapping[str, str]) -> Self:
        """The transform whose parameters are written as on a command line: ``{"n_mels": "80", "fmax": "none"}``."""
        hints = parse.field_types(cls)
        check_names(cls.__name__, values, [field.name for field in dataclasses.fields(cls)])
        return cls(**{name: parse.from_text(name, text, hints[name]) for name, text in values.items()})


def check_names(owner: str, given: Iterable[str], names: Sequence[str]) -> None:
    """Raise ``ValueError`` at the first name that is not a parameter of ``owner``, with the one that was meant."""
    for name in given:
        if name not in names:
            raise ValueError(f"{owner} has no parameter {name!r}{parse.nearest(name, names)}; it has {', '.join(names)}")


def _check_call(cls: type[Transform], positional: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    names = [field.name for field in dataclasses.fields(cls)]
    if positional:
        raise TypeError(f"parameters go by name: {cls.__name__}({names[0]}={positional[0]!r:.40})")
    for name in named.keys() - {*names}:
        if name.startswith("trainable"):
            parts = (*cls.trainable_parts, *cls.smooth_parts)
            how = f"name them where the module is made: {cls.__name__}().module(trainable={_example(parts)})" if parts else "it has none to train"
            raise TypeError(f"{cls.__name__} has no parameter {name!r}; {how}")
        called = OTHER_NAMES.get(name)
        if called not in names:
            raise TypeError(f"{cls.__name__} has no parameter {name!r}{parse.nearest(name, names)}; it has {', '.join(names)}")
        how = "htk=True, or False for Slaney's" if name == "mel_scale" else called
        raise TypeError(f"{cls.__name__} has no parameter {name!r}; it is called {how}")


def _example(parts: Sequence[str]) -> str:
    return f'("{"mel" if "mel" in parts else parts[0]}",)'


def parts_to_train(owner: str, wanted: Sequence[str], parts: Sequence[str], smooth: Mapping[str, str] = MappingProxyType({})) -> frozenset[str]:
    """The parts wanted, a name or several, of ``parts`` and of ``smooth``, the parts of a few numbers with what each makes.

    Raises:
        ValueError: ``owner`` has no such part, or one is wanted beside what it makes.
    """
    every = (*parts, *smooth)
    given: object = wanted
    if not isinstance(given, Iterable):  # trainable=True, as elsewhere
        example = f"name the parts to train: trainable={_example(every)}; " if every else ""
        raise TypeError(f"{example}{owner} has {', '.join(every) or 'no part to train'}")
    chosen = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    for part in chosen:
        if part not in every:
            raise ValueError(f"{owner} has no part {part!r} to train; it has {', '.join(every) or 'none'}")
        if (whole := smooth.get(part)) in chosen:
            raise ValueError(f"part {part} makes {whole}, so that {whole} cannot be trained beside it; choose one of the two")
    return frozenset(chosen)


def registry() -> dict[str, type[Transform]]:
    """Every transform by its name."""
    return dict(Transform.classes)


def check_size(transform: Transform, numbers: int, *names: str) -> None:
    """Raise where an array of so many ``numbers``, which the named parameters decide, would exhaust the memory."""
    if numbers > MOST_NUMBERS:
        given = " and ".join(f"{name} {getattr(transform, name)}" for name in names)
        raise ValueError(f"{given} make an array of {8e-9 * numbers:.3g} GB, and {8e-9 * MOST_NUMBERS:.2g} GB are allowed; lower one of them")


def check_exponents(transform: Transform, *names: str) -> None:
    """Raise unless the named parameters are exponents at which float32 holds the power of a spectrum and can take its root."""
    for name in names:
        value = getattr(transform, name)
        if not value > 0:
            raise ValueError(f"{name} must be above 0, not {value!r}")
        if not LEAST_EXPONENT <= value <= MOST_EXPONENT:
            raise ValueError(f"{name} must be from {LEAST_EXPONENT:g} to {MOST_EXPONENT:g}, not {value!r}")


def at_most(transform: Transform, most: float, *names: str) -> None:
    """Raise unless the named parameters are at most ``most``, or None."""
    for name in names:
        value = getattr(transform, name)
        if value is not None and not value <= most:
            raise ValueError(f"{name} must be at most {most}, not {value!r}")


def at_least(transform: Transform, least: float, *names: str) -> None:
    """Raise unless the named parameters are at least ``least``, or None."""
    for name in names:
        value = getattr(transform, name)
        if value is not None and not value >= least:
            raise ValueError(f"{name} must be at least {least}, not {value!r}")
