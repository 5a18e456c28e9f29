"""What every runtime does: check its input in one sentence, run, and say where the frames lie."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata, OutputMetadata
from specgraph.runtimes.checks import (
    PCM_SCALE,
    as_float32,
    as_lengths,
    dtype_sentence,
    is_torch,
    refuse_not_finite,
    with_lengths,
)
from specgraph.runtimes.workers import ordered, pool
from specgraph.shapes import LENGTHS, WAVEFORMS, arranged, check_shape, is_lengths_of, lacks_batch

AHEAD = 2  # items for each worker of map that are begun before the first of them is asked for


class RuntimeUnavailable(RuntimeError):
    """The device asked for cannot be used here; the message says what is missing."""


class Runner(ABC):
    """A loaded front end: ``run(waveforms)`` gives its features.

    Attributes:
        path: the file.
        device: where it runs: "cpu", "cuda:0", "torch".
        meta: what the file says of itself.
        input_names, output_names: in order.
        input_sizes: the sizes of each input; names vary.
        most_bytes: large inputs are run in parts, so that no value in the graph is much above this; infinity for all at once.
        workers: how many threads ``map`` uses unless told.
    """

    path: str
    device: str
    meta: Metadata
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    input_sizes: tuple[tuple[int | str, ...], ...]
    most_bytes: float = math.inf
    workers: int = 1

    def __init__(self, path: str, meta: Metadata, check_finite: bool) -> None:
        self.path, self.meta, self._check_finite = path, meta, check_finite

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Features of waveforms, or what else the file makes of its input.

        Args:
            inputs: numpy arrays or torch tensors in the order of ``input_names``, or by name; usually one, (batch, samples), or
                (samples,) for features without a batch axis, and likewise where a file takes features. float32 in -1 ... 1; float64 is rounded to float32, and int16
                is taken as PCM and divided by 32768. A file with lengths takes those too, whole numbers (batch,), or a list of
                clips (samples,) of different lengths; left out, every clip is as long as the array.

        Returns:
            An array for a file with one output, a dict by name for several; for a file with lengths the pair of that and of how
            many positions of it are each clip's, ``features, features_lens = run(waveforms, waveforms_lens)``. torch tensors, on
            the device of the input, if the first input was one.

        Raises:
            ValueError: wrong rank, an empty or too short clip, a wrong length, NaN or infinity.
            TypeError: a wrong dtype or number of inputs.
        """
        return arranged(self.outputs(*inputs, **named), self.takes_lengths)

    def outputs(self, *inputs: Any, **named: Any) -> dict[str, Any]:
        """All outputs by name, for what ``run`` takes."""
        first, *others = self._gathered(inputs, named)
        tensor = first if is_torch(first) else None
        single = (not others or self.takes_lengths) and lacks_batch(self.input_sizes[0], first.ndim)
        on_device = tensor is not None and tensor.device.type == "cuda" and (not others or self.takes_lengths)
        name = self.input_names[0]
        given = [self._checked_tensor(first[None] if single else first) if on_device else self._checked(name, first, single)]
        if self.takes_lengths:
            shape = tuple(given[0].shape)
            lengths = as_lengths(self.input_names[1], others[0].reshape(-1) if single else others[0], name, shape, self.meta.min_samples)
            given.append(sys.modules["torch"].from_numpy(lengths).to(given[0].device) if on_device else lengths)
        else:
            given += [self._checked(name, value, single) for name, value in zip(self.input_names[1:], others, strict=True)]
        outputs = self._run_on_device(given) if on_device else self._run(given)
        if tensor is not None and not on_device:
            outputs = [sys.modules["torch"].from_numpy(output).to(tensor.device) for output in outputs]
        return dict(zip(self.output_names, (output[0] for output in outputs) if single else outputs, strict=True))

    def map(
        self, items: Iterable[Any], workers: int | None = None, function: Callable[[Any], Any] | None = None
    ) -> Iterator[Any]:
        """Features of many clips or files, in order, on all cores: each item is run on one thread, many at once.

        On a CPU this is quicker than one call after another with all threads, which wait for each other in every op. Items are
        read as results are taken, a few in advance, so that a long list needs little memory.

        Args:
            items: what ``run(item)`` takes, or paths of audio files, which are mixed to mono and resampled to the model's rate.
            workers: threads; None for what the runner was loaded with, all cores by default.
            function: what is called with each item in a worker instead: one that reads files in its own way, say, and calls
                ``run``, and returns an error instead of raising it.

        Raises:
            ValueError: ``workers`` is not a whole number above 0; and, where its result would come, what an item is refused for.
        """
        workers = self.workers if workers is None else workers
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ValueError(f"workers must be a whole number above 0 or None, not {workers!r}")
        return self._mapped(function or self._item, items, workers)

    def _mapped(self, function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
        with pool(workers) as threads:
            yield from ordered(function, items, threads, AHEAD * workers)

    def _item(self, item: Any) -> Any:
        if not isinstance(item, str | Path):
            return self(item)
        from specgraph.audio import read_audio

        if not self.takes_waveforms:
            raise ValueError(f"{item}: {self.path} takes {self.input_names[0]}, not audio; give arrays")
        try:
            return self(read_audio(item, self.sample_rate).samples)
        except ValueError as error:
            raise ValueError(f"{item}: {error}" if str(item) not in str(error) else str(error)) from None

    @abstractmethod
    def _run(self, arrays: list[npt.NDArray[Any]]) -> list[Any]:
        """The outputs for checked inputs."""

    def _run_on_device(self, tensors: list[Any]) -> list[Any]:
        """The outputs for checked CUDA tensors, as CUDA tensors. By default by way of the host."""
        outputs = self._run([tensor.detach().cpu().numpy() for tensor in tensors])
        return [sys.modules["torch"].from_numpy(output).to(tensors[0].device) for output in outputs]

    @property
    def sample_rate(self) -> int:
        """Samples a second of the waveforms it takes."""
        return self.meta.sample_rate

    @property
    def takes_waveforms(self) -> bool:
        """Whether the input is audio, (batch, samples), and not features; its lengths may be another."""
        return self.input_sizes[0] == WAVEFORMS and (len(self.input_sizes) == 1 or self.takes_lengths)

    @property
    def takes_lengths(self) -> bool:
        """Whether the file takes clips of different lengths in one batch."""
        return self.input_names[1:] == (self.input_names[0] + LENGTHS,)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The outputs but for those that hold the lengths of others."""
        return tuple(name for name in self.output_names if not self.takes_lengths or not is_lengths_of(name, self.output_names))

    @property
    def frequencies(self) -> npt.NDArray[np.float64] | None:
        """The centre frequencies of the first output's bins in hertz, or None where bins are not frequencies."""
        return self.frequencies_of(self.output_names[0])

    def frequencies_of(self, output: str) -> npt.NDArray[np.float64] | None:
        """The centre frequencies of an output's bins in hertz, or None."""
        frequencies = self._output(output).frequencies
        return None if frequencies is None else np.array(frequencies)

    def times(self, frames: int, output: str | None = None) -> npt.NDArray[np.float64]:
        """The centres of the first ``frames`` frames in seconds; frame 0 of a centred transform is at 0."""
        meta = self._output(output or self.output_names[0])
        return (np.arange(frames) * meta.hop + meta.centre) / self.sample_rate

    def latency(self, output: str | None = None) -> float | None:
        """Seconds of sound that must follow a frame's centre before it can be computed; None: the whole clip."""
        after = self._output(output or self.output_names[0]).after
        return None if after is None else max(after, 0) / self.sample_rate

    def _output(self, name: str) -> OutputMetadata:
        if name not in self.meta.outputs:
            raise ValueError(f"{self.path} has no output {name!r}; it has {', '.join(self.meta.outputs)}")
        return self.meta.outputs[name]

    def _gathered(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        given = dict(zip(self.input_names, inputs, strict=False)) | named
        first = self.input_names[0]
        if self.takes_lengths and given.keys() == {first}:
            inputs, named = (), dict(zip(self.input_names, with_lengths(first, given[first]), strict=True))
            given = named
        if len(inputs) > len(self.input_names) or len(given) != len(inputs) + len(named) or set(given) != set(self.input_names):
            raise TypeError(
                f"{self.path} takes {', '.join(self.input_names)}; "
                f"{len(inputs)} arrays and {', '.join(named) or 'no names'} were given"
            )
        try:
            return [value if is_torch(value) else np.asarray(value) for value in map(given.__getitem__, self.input_names)]
        except ValueError:
            raise ValueError(
                f"{first} are a list whose items have different lengths; run them one by one, or export with lengths=True"
            ) from None

    def _checked(self, name: str, value: Any, single: bool) -> npt.NDArray[np.float32]:
        if is_torch(value):
            value = value.detach().cpu().numpy()
        array = as_float32(name, value)
        if single:
            array = array[None]
        self._check_shape(name, array.shape)
        if self._check_finite and not np.isfinite(array.sum()):
            refuse_not_finite(name, array)
        return np.ascontiguousarray(array)

    def _checked_tensor(self, tensor: Any) -> Any:
        torch = sys.modules["torch"]
        if tensor.dtype == torch.int16:
            tensor = tensor.float() * float(PCM_SCALE)
        elif tensor.dtype == torch.float64:
            tensor = tensor.float()
        elif tensor.dtype != torch.float32:
            raise TypeError(dtype_sentence(self.input_names[0], str(tensor.dtype)))
        self._check_shape(self.input_names[0], tuple(tensor.shape))
        if self._check_finite and not bool(torch.isfinite(tensor).all()):
            refuse_not_finite(self.input_names[0], tensor.detach().cpu().numpy())
        return tensor.detach().contiguous()

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        sizes = self.input_sizes[self.input_names.index(name)]
        if sizes != ("batch", "samples"):
            check_shape(name, sizes, shape, self.meta.min_samples if len(self.input_names) == 1 else 1)
            return
        if len(shape) != 2:
            raise ValueError(
                f"{name} must be (batch, samples) or (samples,), not of shape {shape}; mix channels to one, or stack clips"
            )
        batch, samples = shape
        if batch == 0 or samples == 0:
            raise ValueError(f"{name} has shape {shape}: there are no {'clips' if batch == 0 else 'samples'} in it")
        if samples < self.meta.min_samples:
            raise ValueError(
                f"{name} has {samples} samples and {self.path} needs at least {self.meta.min_samples}; pad the clip with zeros"
            )
