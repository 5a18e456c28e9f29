"""A model as it is served: what it takes and gives, and which requests can share a call."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from specgraph.runtimes import slices
from specgraph.runtimes.ort import OrtRunner
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.tensors import DATATYPES
from specgraph.shapes import time_axis

Arrays = dict[str, npt.NDArray[Any]]

ALIVE = 3  # values as large as the largest that onnxruntime holds at once; measured 2.7
UNKNOWN = 48.0  # bytes of the largest value for each number of the input, where a file does not say

PADDING = 1.25  # of clips of different lengths in one call: samples with what pads them, by samples


@dataclass(eq=False)
class Job:
    """A request that was checked: its inputs in the model's order, and where its answer goes."""

    inputs: list[npt.NDArray[Any]]
    single: bool  # without a batch axis
    deadline: float
    arrived: float
    answer: asyncio.Future[Arrays] = field(repr=False)

    @property
    def clips(self) -> int:
        """How many clips it has."""
        return int(self.inputs[0].shape[0])

    @property
    def samples(self) -> int:
        """How long its clips are."""
        return int(self.inputs[0].shape[-1])


@dataclass(frozen=True)
class Cost:
    """What a request will cause, known before it is run: bytes of its answer, and the most that onnxruntime holds for it.

    ``work`` is bytes of the largest value of all its clips, by which requests are compared: 1 MB of it is about a millisecond.
    """

    answer: int
    peak: int
    work: int


class ServedModel:
    """A loaded file with a name and a version."""

    def __init__(self, name: str, version: str, runner: OrtRunner) -> None:
        self.name, self.version, self.runner = name, version, runner
        self._joins = all(sizes and sizes[0] == "batch" for sizes in (*runner.input_sizes, *runner.output_sizes))
        self._ragged = self._joins and runner.takes_lengths
        self.inputs = _described(runner.input_names, runner.input_sizes, runner.input_types)
        self.outputs = _described(runner.output_names, runner.output_sizes, runner.output_types)

    def datatype(self, name: str) -> str:
        """What the protocol calls the type of an input; refused in a sentence where there is none of that name."""
        for one in self.inputs:
            if one["name"] == name:
                return str(one["datatype"])
        raise invalid(f"{self.name} has no input {name!r:.60}; it takes {', '.join(self.runner.input_names)}")

    def checked(self, arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[list[npt.NDArray[Any]], bool]:
        """The inputs of a request, by names that ``datatype`` knows, in the model's order, and whether they lack the batch axis; refused in a sentence."""
        names = self.runner.input_names
        needed = names[:1] if self.runner.takes_lengths else names
        if missing := [name for name in needed if name not in arrays]:
            raise invalid(f"{self.name} takes {', '.join(names)}, and {', '.join(missing)} was not sent")
        try:
            return self.runner.checked(**arrays)
        except (ValueError, TypeError) as error:
            raise invalid(str(error)) from None

    def cost(self, inputs: Sequence[npt.NDArray[Any]]) -> Cost:
        """What checked inputs will cause."""
        runner, how, first = self.runner, self.runner.meta.slicing, inputs[0]
        clips, steps = first.shape[0], first.shape[time_axis(runner.input_sizes[0]) or -1]
        answer = sum(self._output_bytes(number, clips, steps) for number in range(len(runner.output_names)))
        if not how.bytes:
            work = int(UNKNOWN * sum(array.size for array in inputs))
            return Cost(answer, ALIVE * work, work)
        parts = slices.parts(runner.meta, 1, steps, runner.most_bytes, runner.takes_waveforms)
        inside = self._steps(steps)
        longest = inside if len(parts) == 1 else max((part.stop or steps) - part.start for part in parts)
        work = int(how.bytes * inside * clips)
        at_once = max(how.bytes * longest, min(work, slices.WORTH * runner.most_bytes))
        whole = answer // clips if how.cut else 0  # what the rest of the model takes of a clip when its parts are joined
        return Cost(answer, int(ALIVE * (at_once + whole)), work)

    def _output_bytes(self, number: int, clips: int, steps: int) -> int:
        runner = self.runner
        name, sizes = runner.output_names[number], runner.output_sizes[number]
        axis = time_axis(sizes)
        count = runner.meta.outputs[name].count(steps) if name in runner.meta.outputs else steps
        each = (size if isinstance(size, int) else clips if size == "batch" else count if place == axis else 1 for place, size in enumerate(sizes))
        return int(np.dtype(runner.output_types[number]).itemsize * math.prod(max(size, 1) for size in each))

    def _steps(self, steps: int) -> int:
        """How long a clip is inside the model, which may fill it up or cut it to a fixed number of frames."""
        outputs = [output for output in self.runner.meta.outputs.values() if output.hop > 1]
        if not self.runner.takes_waveforms or not outputs:
            return steps
        inside = max(int(output.count(steps) * output.hop) for output in outputs)
        fixed = all(output.count(1) == output.count(10**9) for output in outputs)
        return inside if fixed else max(steps, inside)

    def wanted(self, names: Sequence[str] | None) -> tuple[str, ...]:
        """The outputs that were asked for: all if none was named."""
        if unknown := [name for name in names or () if name not in self.runner.output_names]:
            raise invalid(f"{self.name} has no output {unknown[0]!r:.60}; it gives {', '.join(self.runner.output_names)}")
        return tuple(names or self.runner.output_names)

    def together(self, jobs: Sequence[Job], job: Job, most: int) -> bool:
        """Whether one more job can share the call of some others; ``most`` clips may."""
        clips = sum(one.clips for one in jobs) + job.clips
        if not self._joins or clips > most or any(len(array) != one.clips for one in (jobs[0], job) for array in one.inputs):
            return False  # an input of 1 beside several clips is each one's in a call of its own, and would be another request's in this
        if not self._ragged:
            return [array.shape[1:] for array in jobs[0].inputs] == [array.shape[1:] for array in job.inputs]
        longest = max(one.samples for one in (*jobs, job))
        return longest * clips <= PADDING * sum(one.samples * one.clips for one in (*jobs, job))

    def run(self, jobs: Sequence[Job]) -> list[Arrays]:
        """The outputs for each of some jobs, computed in one call."""
        if len(jobs) == 1:
            found = [self.runner.run_checked(jobs[0].inputs)]
        else:
            outputs, found, at = self.runner.run_checked(self._joined(jobs)), [], 0
            for job in jobs:
                found.append({name: self._cut(name, array[at : at + job.clips], job.samples) for name, array in outputs.items()})
                at += job.clips
        return [{name: self.runner.without_batch(name, array) for name, array in one.items()} if job.single else one for job, one in zip(jobs, found, strict=True)]

    def _joined(self, jobs: Sequence[Job]) -> list[npt.NDArray[Any]]:
        if not self._ragged:
            return [np.concatenate(arrays) for arrays in zip(*(job.inputs for job in jobs), strict=True)]
        first = jobs[0].inputs[0]
        waves = np.zeros((sum(job.clips for job in jobs), *first.shape[1:-1], max(job.samples for job in jobs)), first.dtype)
        at = 0
        for job in jobs:
            waves[at : at + job.clips, ..., : job.samples] = job.inputs[0]
            at += job.clips
        return [waves, np.concatenate([job.inputs[1] for job in jobs])]

    def _cut(self, name: str, array: npt.NDArray[Any], samples: int) -> npt.NDArray[Any]:
        """As long as the request alone would have it."""
        axis = time_axis(self.runner.output_sizes[self.runner.output_names.index(name)])
        if not self._ragged or axis is None:
            return array
        kept = [slice(None)] * array.ndim
        kept[axis] = slice(self.runner.meta.outputs[name].count(samples))
        return array[tuple(kept)]


class Repository:
    """The models that a server has, by name and version."""

    def __init__(self, models: Sequence[ServedModel]) -> None:
        self._models: dict[str, dict[str, ServedModel]] = {}
        for model in models:
            versions = self._models.setdefault(model.name, {})
            if model.version in versions:
                raise ValueError(f"version {model.version} of {model.name} is given twice; name each model once, as NAME:VERSION=FILE")
            versions[model.version] = model

    def __iter__(self) -> Any:
        return (model for versions in self._models.values() for model in versions.values())

    def versions(self, name: str) -> tuple[str, ...]:
        """The versions of a model, the newest first."""
        if name not in self._models:
            raise Refusal(Kind.NOT_FOUND, f"there is no model {name!r:.60}; there are {', '.join(self._models)}")
        return tuple(sorted(self._models[name], key=lambda version: (int(version) if version.isdigit() else -1, version), reverse=True))

    def get(self, name: str, version: str = "") -> ServedModel:
        """A model; the newest version if none is named."""
        versions = self.versions(name)
        if version and version not in versions:
            raise Refusal(Kind.NOT_FOUND, f"{name} has no version {version!r:.60}; it has {', '.join(versions)}")
        return self._models[name][version or versions[0]]


def _described(names: Sequence[str], sizes: Sequence[Sequence[int | str]], types: Sequence[str]) -> list[dict[str, Any]]:
    for name, dtype in zip(names, types, strict=True):
        if dtype not in DATATYPES:
            raise ValueError(f"{name} is {dtype}, which is not served; cast it to another type in the model")
    return [
        {"name": name, "datatype": DATATYPES[dtype], "shape": [size if isinstance(size, int) else -1 for size in shape]}
        for name, shape, dtype in zip(names, sizes, types, strict=True)
    ]
