"""Inputs of a file, as a runtime is given them: gathered, checked in one sentence, made into what the file takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.runtimes.described import Described
from specgraph.runtimes.inputs import (
    as_lengths,
    check_input,
    checked_array,
    checked_tensor,
    is_torch,
    refuse_file,
    with_lengths,
)
from specgraph.shapes import LENGTHS, NEXT_STATE, is_lengths_of, is_waveforms, leading_axes, with_batch

RATES = ("sr", "fs", "rate", "samplerate", "sampling_rate")  # what other libraries call the sample rate


class Checking(Described):
    """Something with a file's metadata, and the names, sizes and types of its inputs."""

    input_names: tuple[str, ...]
    input_sizes: tuple[tuple[int | str, ...], ...]
    input_types: tuple[str, ...]
    _check_finite: bool

    def checked(self, *inputs: Any, **named: Any) -> tuple[list[npt.NDArray[Any]], bool]:
        """The inputs as arrays that the model can be run on without a further check, and whether they were a single item without a batch axis.

        Raises:
            ValueError, TypeError: as from ``run``.
        """
        first, *others = self._gathered(inputs, named)
        leading = self._leading(first, others)
        alone = leading is not None and len(leading) < 2  # who asks puts items of several callers into one batch
        return self._all_checked(first, others, leading if alone else None, on_device=False), leading == ()

    def _leading(self, first: Any, others: list[Any]) -> tuple[int, ...] | None:
        """The axes that an input was given with in place of the batch; None where it must have a batch and nothing else."""
        return leading_axes(with_batch(self.input_sizes[0]), tuple(first.shape)) if not others or self.takes_lengths else None

    @property
    def takes_waveforms(self) -> bool:
        """Whether the input is audio, (batch, samples) or (batch, channels, samples), and not features; its lengths may be another."""
        return is_waveforms(with_batch(self.input_sizes[0])) and (len(self.input_sizes) == 1 or self.takes_lengths)

    @property
    def channels(self) -> int:
        """How many channels the waveforms have; one has no axis of its own."""
        sizes = self.input_sizes[0]
        return int(sizes[1]) if self.takes_waveforms and len(sizes) == 3 else 1

    def silence(self, samples: int) -> npt.NDArray[Any]:
        """A clip of zeros as the input takes it: (samples,), or of several channels (channels, samples)."""
        channels = (self.channels,) if self.channels > 1 else ()
        return np.zeros((*channels, samples), np.dtype(self.input_types[0]))

    def _type(self, name: str) -> str:
        return self.input_types[self.input_names.index(name)]

    @property
    def takes_lengths(self) -> bool:
        """Whether the file takes clips of different lengths in one batch."""
        return self.input_names[1:] == (self.input_names[0] + LENGTHS,)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The outputs but for those that hold the lengths of others."""
        return tuple(name for name in self.output_names if not self.takes_lengths or not is_lengths_of(name, self.output_names))

    def without_batch(self, name: str, output: Any) -> Any:
        """An output for a single item; one that has no batch axis stays what it is."""
        return self._with_leading(name, output, ())

    def _with_leading(self, name: str, output: Any, leading: tuple[int, ...]) -> Any:
        """An output with these axes in place of its batch; one that has no batch axis stays what it is."""
        axes, shape = self.meta.outputs[name].axes, tuple(output.shape)
        if "batch" not in axes:
            return output
        at = axes.index("batch")
        return output.reshape((*shape[:at], *leading, *shape[at + 1 :]))

    def _gathered(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        given = dict(zip(self.input_names, inputs, strict=False)) | named
        first = self.input_names[0]
        for name, value in given.items():
            refuse_file(name, value, self.takes_waveforms and name == first)
        if self.takes_lengths and given.keys() == {first}:
            inputs, named = (), dict(zip(self.input_names, with_lengths(first, given[first], self.input_sizes[0], self._type(first)), strict=True))
            given = named
        if len(inputs) > len(self.input_names) or len(given) != len(inputs) + len(named) or set(given) != set(self.input_names):
            raise TypeError(self._wrong_call(len(inputs), named))
        try:
            return [value if is_torch(value) else np.asarray(value) for value in map(given.__getitem__, self.input_names)]
        except ValueError:
            raise ValueError(
                f"{first} are a list whose items have different lengths; run them one by one, or export with lengths=True"
            ) from None

    def _wrong_call(self, given: int, named: dict[str, Any]) -> str:
        """What is wrong with so many arrays and these names."""
        unknown = next((name for name in named if name not in self.input_names), None)
        if unknown is not None:
            if unknown in RATES:
                return f"run has no argument {unknown!r}; did you mean sample_rate=?"
            return f"{self.path} takes {', '.join(self.input_names)}; it has no input {unknown!r}"
        if NEXT_STATE in self.output_names and "state" in self.input_names:
            state = ", ".join(map(str, self.input_sizes[self.input_names.index("state")]))
            return f"{self.path} is a streaming file: run({', '.join(self.input_names)}); state begins as zeros(({state})), and is then {NEXT_STATE}"
        what = f"{given} array{'s' * (given != 1)}" + (f" and {', '.join(named)}" if named else "")
        return f"{self.path} takes {', '.join(self.input_names)}; {what} {'was' if given == 1 and not named else 'were'} given"

    def _all_checked(self, first: Any, others: list[Any], leading: tuple[int, ...] | None, on_device: bool) -> list[Any]:
        """All inputs, checked; the first stays a tensor ``on_device``, and lengths are an array always."""
        name = self.input_names[0]
        lengths, several = None, leading is not None and len(leading) != 1
        if leading is not None and several:
            first = first.reshape((math.prod(leading), *first.shape[len(leading) :]))
        if self.takes_lengths:
            self._check_shape(name, tuple(first.shape))
            lengths = as_lengths(self.input_names[1], others[0].reshape(-1) if several else others[0], name, first.shape, self.meta.min_samples)
        given = [(self._checked_tensor if on_device else self._checked)(name, first, lengths)]
        if lengths is not None:
            return [*given, lengths]
        return given + [self._checked(name, value) for name, value in zip(self.input_names[1:], others, strict=True)]

    def _checked(self, name: str, value: Any, lengths: npt.NDArray[np.int64] | None = None) -> npt.NDArray[Any]:
        if is_torch(value):
            value = value.detach().cpu().numpy()
        self._check_shape(name, value.shape)
        return np.ascontiguousarray(self.converted(name, value, lengths))

    def converted(self, name: str, value: npt.NDArray[Any], lengths: npt.NDArray[np.int64] | None = None) -> npt.NDArray[Any]:
        """An array as the input holds it, float32 nearly always; refused where it holds another dtype, NaN or infinity: within clips of these ``lengths``."""
        return checked_array(name, value, self._check_finite, self._type(name), lengths)

    def _checked_tensor(self, name: str, tensor: Any, lengths: npt.NDArray[np.int64] | None) -> Any:
        self._check_shape(name, tuple(tensor.shape))
        return checked_tensor(name, tensor, self._check_finite, self._type(name), lengths)

    def _check_rate(self, given: int | None) -> None:
        if given is not None and given != self.sample_rate:
            raise ValueError(
                f"the sound has {given} Hz and {self.path} takes {self.sample_rate} Hz; resample it, or export the model for it: "
                f"with_input(..., rate={given}), --input-rate {given}"
            )

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        alone = len(self.input_names) == 1
        sizes = self.input_sizes[self.input_names.index(name)]
        check_input(name, sizes, shape, self.path, self.meta.min_samples, alone)
