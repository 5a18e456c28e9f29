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
from specgraph.runtimes.inputs import PCM_SCALE, as_float32, dtype_sentence, refuse_not_finite
from specgraph.runtimes.stream import Stream
from specgraph.runtimes.workers import ordered, pool
from specgraph.shapes import check_shape, lacks_batch

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
                is taken as PCM and divided by 32768.

        Returns:
            An array for a file with one output, a dict by name for several; torch tensors, on the device of the input, if the
            first input was one.

        Raises:
            ValueError: wrong rank, an empty or too short clip, NaN or infinity.
            TypeError: a wrong dtype or number of inputs.
        """
        given = self._gathered(inputs, named)
        tensor = given[0] if _is_torch(given[0]) else None
        single = len(given) == 1 and lacks_batch(self.input_sizes[0], given[0].ndim)
        if tensor is not None and tensor.device.type == "cuda" and len(given) == 1:
            outputs = self._run_on_device(self._checked_tensor(tensor[None] if single else tensor))
        else:
            arrays = [self._checked(name, value, single) for name, value in zip(self.input_names, given, strict=True)]
            outputs = self._run(arrays)
            if tensor is not None:
                outputs = [sys.modules["torch"].from_numpy(output).to(tensor.device) for output in outputs]
        if single:
            outputs = [self._without_batch(name, output) for name, output in zip(self.output_names, outputs, strict=True)]
        return outputs[0] if len(outputs) == 1 else dict(zip(self.output_names, outputs, strict=True))

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
    def _run(self, arrays: list[Array]) -> list[Any]:
        """The outputs for checked inputs."""

    def _run_on_device(self, tensor: Any) -> list[Any]:
        """The outputs for one checked CUDA tensor, as CUDA tensors. By default by way of the host."""
        outputs = self._run([tensor.detach().cpu().numpy()])
        return [sys.modules["torch"].from_numpy(output).to(tensor.device) for output in outputs]

    @property
    def takes_waveforms(self) -> bool:
        """Whether the input is audio, (batch, samples), and not features."""
        return self.input_sizes == (("batch", "samples"),)

    def _without_batch(self, name: str, output: Any) -> Any:
        axes = self.meta.outputs[name].axes
        return output[(slice(None),) * axes.index("batch") + (0,)] if "batch" in axes else output

    def _gathered(self, inputs: tuple[Any, ...], named: dict[str, Any]) -> list[Any]:
        given = dict(zip(self.input_names, inputs, strict=False)) | named
        if len(inputs) > len(self.input_names) or len(given) != len(inputs) + len(named) or set(given) != set(self.input_names):
            raise TypeError(
                f"{self.path} takes {', '.join(self.input_names)}; "
                f"{len(inputs)} arrays and {', '.join(named) or 'no names'} were given"
            )
        return [value if _is_torch(value) else np.asarray(value) for value in map(given.__getitem__, self.input_names)]

    def _checked(self, name: str, value: Any, single: bool) -> Array:
        if _is_torch(value):
            value = value.detach().cpu().numpy()
        if single:
            value = value[None]
        self._check_shape(name, value.shape)
        return np.ascontiguousarray(self.converted(name, value))

    def converted(self, name: str, value: npt.NDArray[Any]) -> Array:
        """An array as float32, refused where it holds another dtype, NaN or infinity."""
        array = as_float32(name, value)
        if self._check_finite:
            with np.errstate(over="ignore", invalid="ignore"):
                total = array.sum()  # in float32, which is ten times quicker: where it overflows, every element is looked at
            if not np.isfinite(total):
                refuse_not_finite(name, array)
        return array

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


def _is_torch(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
