"""A clip that comes in chunks: frames as soon as all that they read is there, the same as those of the whole clip."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from specgraph.instead import instead
from specgraph.runtimes import slices
from specgraph.runtimes.inputs import refuse_file

if TYPE_CHECKING:
    from specgraph.runtimes.base import Runner

Array = npt.NDArray[np.float32]


class Stream:
    """Made by ``Runner.stream``: ``push`` chunks, then ``finish``; what they return, put together, is what the whole clip gives.

    Threads may share a stream: its calls follow one another, and each sample and each frame is counted once.

    Attributes:
        latency: seconds of sound after a frame's position, ``t * hop``, before it is returned.
        latency_samples: the same in samples.
        received: samples pushed so far.
    """

    def __init__(self, run: Runner, batch: int | None) -> None:
        pieces = run.meta.slicing
        if not run.takes_waveforms:
            raise ValueError(f"{run.path} takes {', '.join(run.input_names)}, not waveforms, so it has no stream; give it whole arrays")
        if run.takes_lengths:
            raise ValueError(f"{run.path} takes whole clips of different lengths, so it has no stream; export it without lengths for one")
        if pieces.before is None or pieces.after is None or pieces.cut:
            raise ValueError(
                f"{run.path} cannot stream: {pieces.whole or 'an op':.300} looks at the whole clip; {instead(pieces.whole, run.meta.parameters)}, "
                "or run whole clips"
            )
        for name in run.output_names:
            if not (run.meta.outputs[name].hop and slices.has_time_axis(run.meta.outputs[name])):
                raise ValueError(f"{run.path} cannot stream: {name} has no frames along the clip; run whole clips")
        if batch is not None and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
            raise ValueError(f"batch must be a whole number above 0 or None, not {batch!r}")
        self._run, self._batch, self._finished = run, batch, False
        self._one = threading.RLock()
        self._outputs = {name: run.meta.outputs[name] for name in run.output_names}
        self._before, self._after, self._step = pieces.before, pieces.after, pieces.step
        self.latency_samples = pieces.after
        self.latency = pieces.after / run.sample_rate
        self.received = 0
        self._start = 0  # of what is kept, in samples of the clip
        self._sizes = tuple(size for size in run.input_sizes[0][1:-1] if isinstance(size, int))  # the number of channels, where there is such an axis
        self._kept = np.empty((batch or 1, *self._sizes, 0), np.dtype(run.input_types[0]))
        self._done = dict.fromkeys(run.output_names, 0)  # frames returned, by output

    def push(self, chunk: Any) -> Any:
        """The frames that can be told now, often none: (bins, frames), or (batch, bins, frames) for several streams.

        Args:
            chunk: (samples,), or (batch, samples) for several streams, of any length; float32, float64 or int16, as ``run`` takes it.

        Raises:
            ValueError: a wrong shape, NaN or infinity, or the stream is finished.
            TypeError: a wrong dtype.
        """
        with self._one:
            return self._frames(self._received(self._checked(chunk)))

    def finish(self) -> Any:
        """The rest of the frames: the clip ends here, and is padded as the whole clip is.

        Raises:
            ValueError: there were fewer samples than the model needs, or the stream is finished.
        """
        with self._one:
            self._check_open()
            if self.received < max(self._run.meta.min_samples, 1):
                raise ValueError(f"the stream had {self.received} sample{'s' * (self.received != 1)} and {self._run.path} needs at least {max(self._run.meta.min_samples, 1)}")
            self._finished = True
            return self._frames({name: output.count(self.received) for name, output in self._outputs.items()})

    def __getstate__(self) -> dict[str, Any]:
        with self._one:
            return {name: value for name, value in vars(self).items() if name != "_one"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._one = threading.RLock()

    def _check_open(self) -> None:
        if self._finished:
            raise ValueError("this stream is finished; begin another with run.stream()")

    def _checked(self, chunk: Any) -> npt.NDArray[Any]:
        """A chunk with the batch axis."""
        self._check_open()
        refuse_file(self._run.input_names[0], chunk, audio=True)
        array = self._run.converted(self._run.input_names[0], np.asarray(chunk))
        before = self._sizes if self._batch is None else (self._batch, *self._sizes)
        if array.ndim == 0 or array.shape[:-1] != before:
            wanted = f"({', '.join(map(str, (*before, 'samples')))})" if before else "(samples,)"
            raise ValueError(f"a chunk of this stream is {wanted}, not of shape {array.shape}")
        return array[None] if self._batch is None else array

    def _received(self, chunk: npt.NDArray[Any]) -> dict[str, int]:
        """Keep a chunk; how many frames can be told from now on, by output."""
        self._kept = np.concatenate([self._kept, chunk], axis=-1)
        self.received += chunk.shape[-1]
        enough = self.received >= max(self._before + 1, self._run.meta.min_samples)
        ready = self.received - self._after if enough else 0  # positions from which all that is read is here
        return {name: max(math.ceil(ready / slices.hop(output)), 0) for name, output in self._outputs.items()}

    def _lacks(self, wanted: dict[str, int]) -> bool:
        """Whether the model must be run for these frames."""
        return any(wanted[name] > self._done[name] for name in wanted)

    def _frames(self, wanted: dict[str, int], outputs: Sequence[npt.NDArray[Any]] | None = None) -> Any:
        """The frames up to those wanted that were not returned yet, of the ``outputs`` for what is kept; then what no later frame reads is dropped."""
        found = {}
        if self._lacks(wanted):
            outputs = self._run.at_once(self._kept) if outputs is None else outputs
            results = dict(zip(self._run.output_names, outputs, strict=True))
            for name, output in self._outputs.items():
                axis, offset = slices.time_axis(output), int(self._start / slices.hop(output))
                frames = slice(self._done[name] - offset, max(wanted[name], self._done[name]) - offset)
                found[name] = results[name][(*(slice(None),) * axis, frames)]
        else:
            found = {name: np.empty(self._empty(name), np.dtype(dtype)) for name, dtype in zip(self._run.output_names, self._run.output_types, strict=True)}
        self._done = {name: max(wanted[name], self._done[name]) for name in wanted}
        self._drop()
        if self._batch is None:
            found = {name: value[0] for name, value in found.items()}
        return found if len(found) > 1 else next(iter(found.values()))

    def _empty(self, name: str) -> list[int]:
        sizes = self._run.output_sizes[self._run.output_names.index(name)]
        shape = [size if isinstance(size, int) else 0 for size in sizes]
        return [self._batch or 1, *shape[1:]]

    def _drop(self) -> None:
        """Keep what the next frames read, also where the clip's end is mirrored before them."""
        next_frame = min(int(self._done[name] * slices.hop(output)) for name, output in self._outputs.items())
        behind = self._before + self._after + self._step + self._run.meta.min_samples
        start = max(next_frame - behind, 0) // self._step * self._step
        if start > self._start:
            self._kept = self._kept[..., start - self._start :].copy()
            self._start = start


def push_all(run: Runner, streams: Sequence[Stream], chunks: Sequence[Any]) -> list[Any]:
    """What ``Runner.push_all`` does: those of the streams that keep as many samples share a call."""
    if len(streams) != len(chunks):
        raise ValueError(f"push_all takes a chunk for each stream, not {len(chunks)} for {len(streams)}")
    if len({id(stream) for stream in streams}) != len(streams):
        raise ValueError("push_all takes a stream once in a call, and one of them is there twice; put its chunks together")
    if any(not isinstance(stream, Stream) or stream._run is not run for stream in streams):
        raise ValueError(f"push_all takes streams of {run.path} that this runner made, and one is not")
    with contextlib.ExitStack() as held:
        for stream in sorted(streams, key=id):  # in one order, or two calls could wait for each other
            held.enter_context(stream._one)
        return _pushed(run, streams, [stream._checked(chunk) for stream, chunk in zip(streams, chunks, strict=True)])


def _pushed(run: Runner, streams: Sequence[Stream], chunks: Sequence[npt.NDArray[Any]]) -> list[Any]:
    wanted = [stream._received(chunk) for stream, chunk in zip(streams, chunks, strict=True)]
    alike: dict[tuple[int, ...], list[int]] = {}
    for number, (stream, frames) in enumerate(zip(streams, wanted, strict=True)):
        if stream._lacks(frames):
            alike.setdefault(stream._kept.shape[1:], []).append(number)
    found: dict[int, list[npt.NDArray[Any]]] = {}
    for numbers in alike.values():
        outputs, at = run.at_once(np.concatenate([streams[number]._kept for number in numbers])), 0
        for number in numbers:
            rows = slice(at, at + len(streams[number]._kept))
            found[number], at = [output[rows] for output in outputs], rows.stop
    return [stream._frames(frames, found.get(number)) for number, (stream, frames) in enumerate(zip(streams, wanted, strict=True))]
