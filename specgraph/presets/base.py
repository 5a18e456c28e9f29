"""What a preset is: a transform with a model's parameters, and the ops that the model's own code has before and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from specgraph.graph import About, Graph
from specgraph.op import Input, Op, Value
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.layout import Transpose
from specgraph.transforms import parse
from specgraph.transforms.base import Parameter, Transform, check_names, parts_to_train

if TYPE_CHECKING:
    import torch

    from specgraph.module import GraphModule

LENGTH = "length"
LENGTH_HELP = "samples that a clip is cut to, or filled up to with zeros; none: as long as it is"


@dataclass(frozen=True, kw_only=True)
class Preset:
    """The front end of a known model: usable wherever a transform is.

    ``waveforms`` (batch, samples) -> ``features``, in the model's own layout. Nothing of it is code of its own: ``length`` samples are
    kept, the ops in ``before`` follow one another, ``transform`` is what it is anywhere else, the ops in ``after`` follow.
    """

    name: str
    models: str  # that take these features
    source: str  # of the formula
    reference: str  # the independent implementation that it is compared with
    transform: Transform
    before: tuple[Op, ...] = ()
    after: tuple[Op, ...] = ()
    length: int | None = None
    frames_first: bool = False  # (batch, frames, bins) is the model's layout

    def __post_init__(self) -> None:
        if self.length is not None:
            object.__setattr__(self, LENGTH, parse.checked(LENGTH, self.length, int))
            FixedLength(self.length)

    @property
    def command(self) -> str:
        """Its name on the command line."""
        return self.name

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms, in hertz."""
        return self.transform.sample_rate

    @property
    def trainable_parts(self) -> tuple[str, ...]:
        """What of it can be trained."""
        return self.transform.trainable_parts

    @property
    def output_name(self) -> str:
        """The name of its output."""
        return self.transform.output_name

    def input(self) -> Input:
        """The graph's input, ``waveforms`` (batch, samples)."""
        return self.transform.input()

    def about(self) -> About:
        """What the output holds."""
        about = self.transform.about()
        assert isinstance(about, About)
        fits = about.frequencies is not None and len(about.frequencies) == self._bins
        return dataclasses.replace(
            about,
            frequencies=about.frequencies if fits else None,
            axes=("batch", "frames", "bins") if self.frames_first else about.axes,
        )

    @property
    def _bins(self) -> object:
        made = self._compose(self.input()(), frozenset())
        return made.shape[-1 if self.frames_first else 1]

    def _compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        value = wave if self.length is None else FixedLength(self.length)(wave)
        for op in self.before:
            value = op(value)
        made = self.transform.compose(value, trainable)
        assert isinstance(made, Value)
        for op in self.after:
            made = op(made)
        return Transpose((0, 2, 1))(made) if self.frames_first else made

    def graph(self, trainable: Sequence[str] = ()) -> Graph:
        """The graph: input ``waveforms`` (batch, samples) and output ``features``."""
        parts = parts_to_train(self.name, trainable, self.trainable_parts)
        wave = self.input()()
        parameters = {LENGTH: self.length} | dataclasses.asdict(self.transform)
        outputs, about = {self.output_name: self._compose(wave, parts)}, {self.output_name: self.about()}
        return Graph((wave,), outputs, self.sample_rate, self.name, parameters, about)

    def module(
        self, trainable: Sequence[str] = (), dtype: torch.dtype | None = None, prefer: Mapping[str, str] | None = None
    ) -> GraphModule:
        """A ``torch.nn.Module``, as ``Transform.module`` makes it."""
        from specgraph.module import GraphModule

        return GraphModule(self.graph(trainable), dtype=dtype, prefer=prefer)

    def help(self) -> str:
        """Whose front end it is, in a line."""
        return f"Front end of {self.models}."

    def parameters(self) -> tuple[Parameter, ...]:
        """Its parameters: the length, and those of its transform with the values that they have here."""
        own = tuple(
            dataclasses.replace(parameter, default=getattr(self.transform, parameter.name)) for parameter in self.transform.parameters()
        )
        return (*own, Parameter(LENGTH, "int | none", self.length, LENGTH_HELP))

    def with_parameters(self, **values: Any) -> Preset:
        """The same with other values of some parameters; a ``ValueError`` names what does not exist."""
        check_names(self.name, values, [parameter.name for parameter in self.parameters()])
        length = values.pop(LENGTH, self.length)
        return dataclasses.replace(self, length=length, transform=dataclasses.replace(self.transform, **values))

    def from_strings(self, values: Mapping[str, str]) -> Preset:
        """The same with values that are written as on a command line: ``{"n_mels": "80", "length": "none"}``."""
        hints = get_type_hints(type(self.transform)) | {LENGTH: int | None}
        check_names(self.name, values, [parameter.name for parameter in self.parameters()])
        return self.with_parameters(**{name: parse.from_text(name, text, hints[name]) for name, text in values.items()})
