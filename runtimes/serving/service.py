"""What the protocols share: models, queues, and what is said of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy.typing as npt

from specgraph import __version__
from specgraph.runtimes.serving.batching import Batcher, Limits
from specgraph.runtimes.serving.budget import Budget, Holding
from specgraph.runtimes.serving.gate import Gate
from specgraph.runtimes.serving.metrics import Metrics
from specgraph.runtimes.serving.models import Cost, Job, Repository, ServedModel
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.workers import pool

Result = TypeVar("Result")

NICE = 10  # of threads for large requests; not of those that hold Python's lock while they work
LARGE = 16_000_000  # bytes of the largest value of a request from which it is run in threads of its own
LEAST_SECONDS = 1e-3  # a shorter timeout was meant in another unit


@dataclass(frozen=True)
class Answer:
    """The outputs that were asked for, in order."""

    model: ServedModel
    outputs: dict[str, npt.NDArray[Any]]


class Service:
    """The models of a server, each with its queue, and threads that all share."""

    def __init__(self, models: Sequence[ServedModel], workers: int, limits: Limits) -> None:
        self.repository, self.limits, self.metrics = Repository(models), limits, Metrics()
        self.budget = Budget(limits.memory, limits.free_bytes)
        self._threads, self._large = pool(workers), pool(max(workers // 2, 1), NICE)
        self._aside, self._unpacking = pool(2), pool(1, NICE)
        self._queues = {model: Batcher(model, self._threads, workers, limits, self.metrics) for model in self.repository}
        alone = replace(limits, clips=1, delay=0.0)
        self._large_queues = {model: Batcher(model, self._large, max(workers // 2, 1), alone, self.metrics, release=True) for model in self.repository}
        self.gate = Gate()
        self.closing = False  # whether it is about to stop, and should get no new requests

    async def aside(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function that takes long, in another thread, while others are answered."""
        return await asyncio.get_running_loop().run_in_executor(self._aside, function, *arguments)

    async def unpack(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call a function that decodes a piece of what was sent, in one thread of lower priority for all requests, which take turns."""
        return await asyncio.get_running_loop().run_in_executor(self._unpacking, function, *arguments)

    async def infer(
        self, model: ServedModel, arrays: Mapping[str, npt.NDArray[Any]], wanted: Sequence[str] | None, seconds: float | None, holding: Holding
    ) -> Answer:
        """Check a request, refuse it where it would cause too much, queue it, and wait for its outputs.

        Requests of much work have threads of their own, so that others never wait for them.

        Args:
            model: which.
            arrays: its inputs by name.
            wanted: the names of the outputs to give; all if None or empty.
            seconds: how long it may take; None for what the server allows, which is also the most.
            holding: what it holds, to which its answer is added.
        """
        names = model.wanted(wanted)
        loop = asyncio.get_running_loop()
        if sum(array.nbytes for array in arrays.values()) > 1 << 20:  # whose check for NaN would keep others waiting
            inputs, single = await self.aside(model.checked, arrays)
        else:
            inputs, single = model.checked(arrays)
        cost = model.cost(inputs)
        self._check(model, cost)
        holding.add(cost.answer)
        allowed = self.limits.seconds if seconds is None else min(seconds, self.limits.seconds)
        now = loop.time()
        queues = self._large_queues if cost.work > LARGE else self._queues
        found = await queues[model].answer(Job(inputs, single, now + allowed, now, loop.create_future()))
        return Answer(model, {name: found[name] for name in names})

    def _check(self, model: ServedModel, cost: Cost) -> None:
        for what, count, most, option in (
            ("an answer", cost.answer, self.limits.answer_bytes, "--max-answer"), ("memory", cost.peak, self.limits.memory, "--memory")
        ):  # fmt: skip
            if count > most:
                raise Refusal(
                    Kind.TOO_LARGE, f"{model.name} would need {what} of {count / 1e6:,.0f} MB for this request, and {most / 1e6:,.0f} MB are the most "
                    f"here ({option}); send fewer or shorter clips",
                )  # fmt: skip

    def count(self, protocol: str, name: str, version: str, status: int) -> None:
        """Count a request; of models that do not exist under no name, since clients choose those."""
        try:
            model = self.repository.get(name, version)
        except Refusal:
            self.metrics.requests.labels("", "", protocol, status).inc()
        else:
            self.metrics.requests.labels(model.name, model.version, protocol, status).inc()

    def server_metadata(self) -> dict[str, Any]:
        """What the protocol says of a server."""
        return {"name": "specgraph", "version": __version__, "extensions": ["binary_tensor_data"]}

    def model_metadata(self, name: str, version: str) -> dict[str, Any]:
        """What the protocol says of a model."""
        model = self.repository.get(name, version)
        versions = self.repository.versions(name)
        return {"name": name, "versions": list(versions), "platform": "specgraph", "inputs": model.inputs, "outputs": model.outputs}

    def warm(self) -> None:
        """Run each model once on the shortest clip, so that the first request finds its session made."""
        for model in self.repository:
            runner = model.runner
            if runner.takes_waveforms:
                self._threads.submit(runner, runner.silence(max(runner.meta.min_samples, 1))).result()

    def close(self) -> None:
        """End the threads."""
        for threads in (self._threads, self._large, self._aside, self._unpacking):
            threads.shutdown(wait=False, cancel_futures=True)


def check_parameters(name: str, parameters: Iterable[str]) -> None:
    """Refuse what would change an answer and is not done here: an input or output in shared memory, or as classes."""
    for parameter in parameters:
        if parameter == "classification" or parameter.startswith("shared_memory"):
            raise invalid(f"{name!r:.60} has the parameter {parameter:.60}, which this server lacks; send and take tensors without it")


def checked_seconds(value: Any) -> float | None:
    """The protocol's parameter ``timeout``, which is in microseconds, in seconds; None if there is none."""
    if isinstance(value, bool):
        raise invalid(f"timeout must be a whole number of microseconds, not {value}")
    if value in (None, 0):
        return None
    try:
        seconds = int(value) / 1e6
    except (ValueError, TypeError, OverflowError):
        raise invalid(f"timeout must be a whole number of microseconds, not {value!r:.40}") from None
    if seconds < LEAST_SECONDS:
        raise invalid(f"timeout is in microseconds, and {value!r:.40} are less than a millisecond; give more")
    return seconds
