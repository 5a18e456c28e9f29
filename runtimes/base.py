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

from specgraph.metadata import Metadata
from specgraph.runtimes.described import Described
from specgraph.runtimes.inputs import as_lengths, check_input, checked_array, checked_tensor, is_torch, with_lengths
from specgraph.runtimes.stream import Stream
from specgraph.runtimes.workers import ordered, pool, worker_count
from specgraph.shapes import LENGTHS, WAVEFORMS, arranged, is_lengths_of, lacks_batch

Array = npt.NDArray[np.float32]

AHEAD = 2  # items for each worker of map that are begun before the first of them is asked for


class RuntimeUnavailable(RuntimeError):
    """The device asked for cannot be used here; the message says what is missing."""


class Runner(Described, ABC):
    """A loaded front end: ``run(waveforms)`` gives its features.

    Attributes:
        path: the file.
        device: where it runs: "cpu", "cuda:0", "torch".
        meta: what the file says of itself.
        input_names, output_names: in order.
        input_sizes, output_sizes: the sizes of each input and output; names vary.
        most_bytes: large inputs are run in parts, so that no value in the graph is much above this; infinity for all at once.
        workers: how many threads ``map`` uses unless told.
    """

    device: str
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    input_sizes: tuple[tuple[int | str, ...], ...]
    output_sizes: tuple[tuple[int | str, ...], ...]
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
        found = dict(zip(self.output_names, outputs, strict=True))
        return {name: self._without_batch(name, output) for name, output in found.items()} if single else found


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
        return self._mapped(function or self._item, items, worker_count(workers, self.workers))

    def stream(self, batch: int | None = None) -> Stream:
        """A clip that comes in chunks: ``push(chunk)`` gives the frames that are ready, ``finish()`` the rest.

        Together they are what ``run(clip)`` gives, to about 1e-6, edges included. Each push runs the model on the chunk and on
        what the new frames read before it, so chunks of some frames are quicker than those of one.

        Args:
            batch: None for one stream, (samples,) a chunk; a number for so many at once, (batch, samples) a chunk.

        Raises:
            ValueError: the model looks at the whole clip, or does not take waveforms; the message says what to do.
        """
        return Stream(self, batch)

    def at_once(self, wave: Array) -> list[Any]:
        """The outputs for checked waveforms (batch, samples), in the order of ``output_names``."""
        return self._run([np.ascontiguousarray(wave)])

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

    def _without_batch(self, name: str, output: Any) -> Any:
        axes = self.meta.outputs[name].axes
        return output[(slice(None),) * axes.index("batch") + (0,)] if "batch" in axes else output

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

    def _checked(self, name: str, value: Any, single: bool) -> Array:
        if is_torch(value):
            value = value.detach().cpu().numpy()
        if single:
            value = value[None]
        self._check_shape(name, value.shape)
        return np.ascontiguousarray(self.converted(name, value))

    def converted(self, name: str, value: npt.NDArray[Any]) -> Array:
        """An array as float32, refused where it holds another dtype, NaN or infinity."""
        return checked_array(name, value, self._check_finite)

    def _checked_tensor(self, tensor: Any) -> Any:
        name = self.input_names[0]
        self._check_shape(name, tuple(tensor.shape))
        return checked_tensor(name, tensor, self._check_finite)

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        alone = len(self.input_names) == 1
        sizes = self.input_sizes[self.input_names.index(name)]
        check_input(name, sizes, shape, self.path, self.meta.min_samples, alone)
