"""Requests that wait while all workers are busy share the next call: batches without a delay that nobody needs."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from specgraph.runtimes.serving.metrics import Metrics
from specgraph.runtimes.serving.models import Arrays, Job, ServedModel
from specgraph.runtimes.serving.problems import LOG, Kind, Refusal, unforeseen
from specgraph.runtimes.session import stoppable_options
from specgraph.runtimes.workers import stoppable


@dataclass(frozen=True)
class Limits:
    """What a server takes on. The defaults hold on a machine of 2 GB.

    Attributes:
        clips: most clips of a call.
        delay: seconds that a request may wait for others to share its call, where a worker is free.
        queue: most requests of a model that wait; more are refused at once.
        request_bytes: most bytes of a request, as it was sent, unpacked, or decoded from audio.
        message_bytes: most bytes of a message over gRPC, which copies it while nothing else is answered: half a millisecond for each megabyte.
        answer_bytes: most bytes of an answer's tensors.
        memory: most bytes that all requests hold together, and that one call takes beside them.
        free_bytes: bytes of each request that do not count to ``memory``.
        connections: most connections over HTTP.
        calls: most calls over gRPC at once.
        seconds: how long a request may take, from when it was checked, unless it says less itself.
        arrival: seconds within which a request must have arrived, and within which a client must go on reading an answer.
        drain: seconds that a server which was told to stop waits for the requests it has.
    """

    clips: int = 32
    delay: float = 0.0
    queue: int = 256
    request_bytes: int = 32_000_000
    message_bytes: int = 8_000_000
    answer_bytes: int = 128_000_000
    memory: int = 256_000_000
    free_bytes: int = 256_000
    connections: int = 512
    calls: int = 512
    seconds: float = 30.0
    arrival: float = 30.0
    drain: float = 30.0


class Batcher:
    """The queue of one model. Used from one event loop; the calls run in threads."""

    def __init__(
        self, model: ServedModel, threads: ThreadPoolExecutor, workers: int, limits: Limits, metrics: Metrics, release: bool = False
    ) -> None:
        self._release = release  # whether onnxruntime gives back the memory that a call took
        self._model, self._threads, self._workers, self._limits, self._metrics = model, threads, workers, limits, metrics
        self._waiting: collections.deque[Job] = collections.deque()
        self._busy = 0
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._labels = (model.name, model.version)
        self._gauge = metrics.waiting.labels(*self._labels)

    async def answer(self, job: Job) -> Arrays:
        """The outputs for a job; a ``Refusal`` if the queue is full or the answer does not come in time."""
        if len(self._waiting) >= self._limits.queue:
            raise Refusal(Kind.FULL, f"{len(self._waiting)} requests wait for {self._model.name} already; send this one again later")
        self._waiting.append(job)
        self._gauge.inc()
        try:
            self._start()
            async with asyncio.timeout_at(job.deadline):
                return await job.answer
        except TimeoutError:
            raise Refusal(Kind.LATE, f"{self._model.name} had no answer in time; send this request again later, or with a longer timeout") from None
        finally:  # also where the client is gone: nobody computes for it
            if job in self._waiting:
                self._remove(job)
            self._metrics.seconds.labels(*self._labels).observe(self._now() - job.arrived)
            del job  # or its error, whose traceback has this frame, would keep the inputs until the next search for cycles

    def _start(self) -> None:
        while self._waiting and self._busy < self._workers:
            try:
                jobs = self._next()
            except Exception as error:  # noqa: BLE001  (those behind it go on)
                _settle(self._waiting[0], unforeseen(error))
                self._remove(self._waiting[0])
                continue
            oldest = self._now() - jobs[0].arrived
            full = sum(job.clips for job in jobs) >= self._limits.clips
            if not full and oldest < self._limits.delay:
                if self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(self._limits.delay - oldest, self._late)
                return
            for job in jobs:
                self._remove(job)
            self._busy += 1
            call = asyncio.create_task(self._run(jobs))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)

    def _late(self) -> None:
        self._timer = None
        self._start()

    def _next(self) -> list[Job]:
        """The oldest job, and those behind it that can share its call."""
        jobs = [self._waiting[0]]
        for job in list(self._waiting)[1:]:
            if self._model.together(jobs, job, self._limits.clips):
                jobs.append(job)
        return jobs

    def _remove(self, job: Job) -> None:
        self._waiting.remove(job)
        self._gauge.dec()

    async def _run(self, jobs: Sequence[Job]) -> None:
        start, loop = self._now(), asyncio.get_running_loop()
        for job in jobs:
            self._metrics.queued.labels(*self._labels).observe(start - job.arrived)
        self._metrics.clips.labels(*self._labels).observe(sum(job.clips for job in jobs))
        try:
            for batch in [jobs] if len(jobs) == 1 else [jobs, *([job] for job in jobs)]:
                if all(job.answer.done() for job in batch):
                    continue
                try:
                    answers = await loop.run_in_executor(self._threads, stoppable, self._options(batch), self._model.run, batch)
                    answered = list(zip(batch, answers, strict=True))
                except Exception as error:  # noqa: BLE001  (onnxruntime's own types, MemoryError)
                    if len(batch) == 1 and not batch[0].answer.done():  # others of its call may be right: each is tried alone before it is refused
                        LOG.error("%s cannot be run on a request", self._model.name, exc_info=error)
                        _settle(batch[0], Refusal(Kind.INTERNAL, f"{self._model.name} cannot be run on this request: {' '.join(str(error).split()):.300}"))
                    continue
                for job, answer in answered:
                    _settle(job, answer)
                if len(batch) > 1:
                    break
        finally:
            self._metrics.computed.labels(*self._labels).observe(self._now() - start)
            self._busy -= 1
            self._start()

    def _options(self, jobs: Sequence[Job]) -> Any:
        """Options of a call, which is ended when no client waits for its answers any more."""
        options = stoppable_options(self._release)

        def settled(_: object) -> None:
            options.terminate = all(job.answer.done() for job in jobs)

        for job in jobs:
            job.answer.add_done_callback(settled)
        return options

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _settle(job: Job, answer: Arrays | Refusal) -> None:
    if job.answer.done():  # late, or its client is gone
        return
    if isinstance(answer, Refusal):
        job.answer.set_exception(answer)
    else:
        job.answer.set_result(answer)
