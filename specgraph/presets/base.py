"""What a preset is: a transform with a model's parameters, and the ops that the model's own code has before and after it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from specgraph.graph import About, Graph
from specgraph.op import Constant, GraphError, Input, Op, Value
from specgraph.ops.arithmetic import Add, Multiply
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.layout import Transpose
from specgraph.ops.stack_frames import StackFrames
from specgraph.ops.stack_harmonics import StackHarmonics
from specgraph.ragged import with_lengths
from specgraph.transforms import parse
from specgraph.transforms.base import FrontEnd, Parameter, Transform, check_names, parts_to_train
from specgraph.transforms.spectrogram import LONGEST_CLIP

OWN = {  # the parameters that are not the transform's: type and help
    "length": (int | None, "samples that a clip is cut to, or filled up to with zeros; none: as long as it is"),
    "bin_shift": (parse.NUMBERS | None, "added to each bin of the features; with bin_scale a model's global CMVN: (x + shift) * scale"),
    "bin_scale": (parse.NUMBERS | None, "what each bin is then multiplied by"),
}


@dataclass(frozen=True, kw_only=True)
class Preset(FrontEnd):
    """The front end of a known model: usable wherever a transform is.

    ``waveforms`` (batch, samples) -> ``features``, in the model's own layout. Nothing of it is code of its own: ``length`` samples are
    kept, the ops in ``before`` follow one another, ``transform`` is what it is anywhere else, the ops in ``after`` follow. Where the
    transform gives ``waveforms``, ``length`` of those are kept, at the end, and ``takes`` is the layout of what the model gives.
    """

    name: str
    models: str  # that take these features
    source: str  # of the formula
    reference: str  # the independent implementation that it is compared with
    transform: Transform
    before: tuple[Op, ...] = ()
    after: tuple[Op, ...] = ()
    length: int | None = None
    bin_shift: parse.NUMBERS | None = None
    bin_scale: parse.NUMBERS | None = None
    frames_first: bool = False  # (batch, frames, bins) is the model's layout
    axes: tuple[str, ...] | None = None  # of another layout
    takes: Input | None = None  # where it is not the transform's own input
    aliases: tuple[str, ...] = ()  # other names to find it by

    def __post_init__(self) -> None:
        for name, (annotation, _) in OWN.items():
            object.__setattr__(self, name, parse.checked(name, getattr(self, name), annotation))
        if self.length is not None and not 1 <= self.length <= LONGEST_CLIP:
            raise ValueError(f"length must be from 1 to {LONGEST_CLIP} samples or none, not {self.length}")

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
    def smooth_parts(self) -> Mapping[str, str]:
        """Parts of a few numbers, and the trainable part that each makes."""
        return self.transform.smooth_parts

    @property
    def output_name(self) -> str:
        """The name of its output."""
        return self.transform.output_name

    def input(self) -> Input:
        """The graph's input: ``waveforms`` (batch, samples), but for what turns features into something else."""
        return self.takes or self.transform.input()

    def about(self) -> About:
        """What the output holds."""
        about = self.transform.about()
        assert isinstance(about, About)
        axes = self.axes or (("batch", "frames", "bins") if self.frames_first else about.axes)
        # StackFrames makes several of one bin: those have no frequency of their own
        kept = None if any(isinstance(op, StackFrames) for op in self.after) and self.axes is None else about.frequencies
        for op in self.after:
            kept = kept[: op.n_bins] if kept and isinstance(op, StackHarmonics) else kept
        return dataclasses.replace(about, frequencies=kept, axes=axes)

    def _compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        inverse = self.output_name == "waveforms"
        kept = () if self.length is None else (FixedLength(self.length),)
        value = wave
        for op in self.before if inverse else (*kept, *self.before):
            value = op(value)
        made = self.transform.compose(value, trainable)
        assert isinstance(made, Value)
        for op in (*self.after, *kept) if inverse else self.after:
            made = op(made)
        for op, name in ((Add(), "bin_shift"), (Multiply(), "bin_scale")):
            if (numbers := getattr(self, name)) is not None:
                if made.shape[1:2] != (len(numbers),):
                    bins = f"{made.shape[1]} bins; give one for each" if isinstance(made.shape[1], int) else "no bins"
                    raise ValueError(f"{name} has {len(numbers)} numbers, and {self.name} has {bins}")
                made = op(made, Constant.of(name, np.array(numbers)[:, None]))
        return Transpose((0, 2, 1))(made) if self.frames_first else made

    def graph(self, trainable: Sequence[str] = (), lengths: bool = False) -> Graph:
        """The graph from ``input`` to ``output_name``; with ``lengths``, ``specgraph.with_lengths`` of it."""
        parts = parts_to_train(self.name, trainable, self.trainable_parts, self.smooth_parts)
        wave = self.input()()
        parameters = {name: getattr(self, name) for name in OWN} | dataclasses.asdict(self.transform)
        try:
            outputs, about = {self.output_name: self._compose(wave, parts)}, {self.output_name: self.about()}
        except GraphError as error:
            if self.length is None:
                raise GraphError(f"{self.name} takes no such parameters, since {error}") from None
            raise GraphError(f"{self.name} with length={self.length}: {error}; a longer one, or none, may do") from None
        graph = Graph((wave,), outputs, self.sample_rate, self.name, parameters, about)
        return with_lengths(graph) if lengths else graph

    def help(self) -> str:
        """Whose front end it is, in a line."""
        return f"Front end of {self.models}."

    def parameters(self) -> tuple[Parameter, ...]:
        """Those of its transform, with the values that they have here, and what any preset has."""
        own = tuple(
            dataclasses.replace(parameter, default=getattr(self.transform, parameter.name)) for parameter in self.transform.parameters()
        )
        return (*own, *(Parameter(name, parse.type_text(kind), getattr(self, name), help) for name, (kind, help) in OWN.items()))

    def with_parameters(self, **values: Any) -> Preset:
        """The same with other values of some parameters; a ``ValueError`` names what does not exist."""
        check_names(self.name, values, [parameter.name for parameter in self.parameters()])
        own = {name: values.pop(name) for name in OWN if name in values}
        transform, output = dataclasses.replace(self.transform, **values), getattr(self.transform, "output", None)
        if self.after and getattr(transform, "output", None) != output:
            raise ValueError(f"output must be {output!r}, of which {self.name} makes its features, not {values['output']!r}")
        return dataclasses.replace(self, **own, transform=transform)

    def from_strings(self, values: Mapping[str, str]) -> Preset:
        """The same with values that are written as on a command line: ``{"n_mels": "80", "length": "none"}``."""
        hints = {**parse.field_types(type(self.transform)), **{name: kind for name, (kind, _) in OWN.items()}}
        check_names(self.name, values, [parameter.name for parameter in self.parameters()])
        return self.with_parameters(**{name: parse.from_text(name, text, hints[name]) for name, text in values.items()})
