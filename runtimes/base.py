"""What every runtime does: check its input in one sentence, run, and say where the frames lie."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.metadata import Metadata
from specgraph.runtimes.checking import Checking
from specgraph.runtimes.inputs import is_torch
from specgraph.runtimes.stream import Stream, push_all
from specgraph.runtimes.workers import ordered, pool, worker_count
from specgraph.shapes import arranged

if TYPE_CHECKING:
    from specgraph.audio import Audio, Limits

Array = npt.NDArray[np.float32]

AHEAD = 2  # items for each worker of map that are begun before the first of them is asked for


class RuntimeUnavailable(RuntimeError):
    """The device asked for cannot be used here; the message says what is missing."""


class Runner(Checking, ABC):
    """A loaded front end: ``run(waveforms)`` gives its features.

    Attributes:
        path: the file.
        device: where it runs: "cpu", "cuda:0", "torch".
        meta: what the file says of itself.
        input_names, output_names: in order.
        input_sizes, output_sizes: the sizes of each input and output; names vary.
        input_types, output_types: their dtypes, "float32", "int16" (16-bit PCM, and nothing else is taken), "float16", "int64", "bool".
        most_bytes: large inputs are run in parts, so that no value in the graph is much above this; infinity for all at once.
        workers: how many threads ``map`` uses unless told.
    """

    device: str
    output_sizes: tuple[tuple[int | str, ...], ...]
    output_types: tuple[str, ...]
    most_bytes: float = math.inf
    workers: int = 1

    def __init__(self, path: str, meta: Metadata, check_finite: bool) -> None:
        self.path, self.meta, self._check_finite = path, meta, check_finite

    def __call__(self, *inputs: Any, sample_rate: int | None = None, **named: Any) -> Any:
        """Features of waveforms, or what else the file makes of its input.

        Args:
            inputs: numpy arrays or torch tensors in the order of ``input_names``, or by name; usually one, (batch, samples), or
                (samples,) for features without a batch axis, or (..., samples): leading axes are kept, and likewise where a file takes features. float32 in -1 ... 1; float64 is rounded to float32, and int16
                is taken as PCM and divided by 32768. A file that was exported for int16 takes that alone, and one for several channels
                (batch, channels, samples), or (channels, samples). A file with lengths takes those too, whole numbers (batch,), or a list of
                clips (samples,) of different lengths; left out, every clip is as long as the array.
            sample_rate: of the waveforms, if it is to be checked: another one than the file's is refused.

        Returns:
            An array for a file with one output, a dict by name for several; for a file with lengths the pair of that and of how
            many positions of it are each clip's, ``features, features_lens = run(waveforms, waveforms_lens)``. torch tensors, on
            the device of the input, if the first input was one.

        Raises:
            ValueError: wrong rank, an empty or too short clip, a wrong length, another sample rate, NaN or infinity.
            TypeError: a wrong dtype or number of inputs.
        """
        self._check_rate(sample_rate)
        return arranged(self.outputs(*inputs, **named), self.takes_lengths)

    def outputs(self, *inputs: Any, **named: Any) -> dict[str, Any]:
        """All outputs by name, for what ``run`` takes."""
        first, *others = self._gathered(inputs, named)
        tensor = first if is_torch(first) else None
        leading = self._leading(first, others)
        on_device = tensor is not None and tensor.device.type == "cuda" and (not others or self.takes_lengths)
        given = self._all_checked(first, others, leading, on_device)
        if on_device:
            given = given[:1] + [sys.modules["torch"].from_numpy(lengths).to(given[0].device) for lengths in given[1:]]
        outputs = self._run_on_device(given) if on_device else self._run(given)
        if tensor is not None and not on_device:
            outputs = [sys.modules["torch"].from_numpy(output).to(tensor.device) for output in outputs]
        found = dict(zip(self.output_names, outputs, strict=True))
        if leading is None or len(leading) == 1:
            return found
        return {name: self._with_leading(name, output, leading) for name, output in found.items()}

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
            TypeError: ``items`` is one path.
            ValueError: ``workers`` is not a whole number above 0; and, where its result would come, what an item is refused for.
        """
        if isinstance(items, str | Path):
            raise TypeError(f"map takes many clips or files, and {str(items)!r} is one path; give a list: [{str(items)!r}]")
        return self._mapped(function or self._item, items, worker_count(workers, self.workers))

    def read(self, source: str | Path | bytes, name: str | None = None, channel: int | None = None, limits: Limits | None = None) -> Audio:
        """An audio file, or what one holds, as this model takes it: its rate, its channels and its dtype; 16-bit samples stay what they are.

        Args:
            source: a path, or what a file holds.
            name: what errors call the file; the path unless given.
            channel: the one channel to take, counted from 0; None mixes all of them to the model's number.
            limits: the seconds and bytes that a file may have; 24 hours and 2 GiB of samples unless given.

        Raises:
            FileNotFoundError, IsADirectoryError: there is no such file.
            AudioError: it holds no audio that can be read, no such channel, or more than the limits allow.
        """
        from specgraph.audio import Limits, read_audio

        return read_audio(source, self.sample_rate, self.channels, self.input_types[0], name, channel=channel, limits=limits or Limits())

    def stream(self, batch: int | None = None, sample_rate: int | None = None) -> Stream:
        """A clip that comes in chunks: ``push(chunk)`` gives the frames that are ready, ``finish()`` the rest.

        Together they are what ``run(clip)`` gives, to about 1e-6, edges included. Each push runs the model on the chunk and on
        what the new frames read before it, so chunks of some frames are quicker than those of one.

        Args:
            batch: None for one stream, (samples,) a chunk; a number for so many at once, (batch, samples) a chunk. Of a model for
                several channels, (channels, samples) and (batch, channels, samples).
            sample_rate: of the sound, if it is to be checked.

        Raises:
            ValueError: the model looks at the whole clip, does not take waveforms, or takes another rate; the message says what to do.
        """
        self._check_rate(sample_rate)
        return Stream(self, batch)

    def push_all(self, streams: Sequence[Stream], chunks: Sequence[Any]) -> list[Any]:
        """``push`` for many streams of this runner, with a chunk for each: those that stand alike are computed in one call.

        Returns:
            What each ``push`` would give, in order.

        Raises:
            ValueError, TypeError: as from ``push``, before any of the chunks is taken; or streams of another runner.
        """
        return push_all(self, streams, chunks)

    def run_checked(self, arrays: list[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """The outputs by name for what ``checked`` gave, or for several of those joined along the batch."""
        return dict(zip(self.output_names, self._run(arrays), strict=True))

    def at_once(self, wave: Array) -> list[Any]:
        """The outputs for checked waveforms (batch, samples), in the order of ``output_names``."""
        return self._run([np.ascontiguousarray(wave)])

    def _mapped(self, function: Callable[[Any], Any], items: Iterable[Any], workers: int) -> Iterator[Any]:
        with pool(workers) as threads:
            yield from ordered(function, items, threads, AHEAD * workers)

    def _item(self, item: Any) -> Any:
        if not isinstance(item, str | Path):
            return self(item)
        if not self.takes_waveforms:
            raise ValueError(f"{item}: {self.path} takes {self.input_names[0]}, not audio; give arrays")
        try:
            return self(self.read(item).samples)
        except ValueError as error:
            raise ValueError(f"{item}: {error}" if str(item) not in str(error) else str(error)) from None

    @abstractmethod
    def _run(self, arrays: list[npt.NDArray[Any]]) -> list[Any]:
        """The outputs for checked inputs."""

    def _run_on_device(self, tensors: list[Any]) -> list[Any]:
        """The outputs for checked CUDA tensors, as CUDA tensors. By default by way of the host."""
        outputs = self._run([tensor.detach().cpu().numpy() for tensor in tensors])
        return [sys.modules["torch"].from_numpy(output).to(tensors[0].device) for output in outputs]
