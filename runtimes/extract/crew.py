"""Worker processes on one machine: a batch each at a time, and a file that ends its process costs nothing but itself."""

from __future__ import annotations

import collections
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

from specgraph.runtimes.extract.job import Batch

# Ctrl-C is for the process that starts these, from their first moment on.
START = "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); sys.path[:] = {path!r}; from specgraph.runtimes.extract.worker import main; main()"
TRIES = 3  # of a worker that ends before it has begun, or while it writes
DEATHS, KILLS = 2, 4  # with a file in hand, before that gets an error; more where somebody else, or a lack of memory, ended the process
KILLED = "by signal SIGKILL"
SPARING = {"ARROW_DEFAULT_MEMORY_POOL": "system"}  # which gives back what an hour took; Arrow's other allocators keep it


@dataclass(frozen=True)
class Event:
    """What has become known: files and seconds of audio that are done, below 0 where they are lost with a worker; a batch that is written."""

    files: int = 0
    seconds: float = 0.0
    written: Batch | None = None


@dataclass
class _Work:
    """A batch, and what is known of it from workers that died."""

    batch: Batch
    careful: bool = False  # a file after the other, so that it is known which one ends the process
    crashed: dict[int, str] = field(default_factory=dict)
    deaths: collections.Counter[int] = field(default_factory=collections.Counter)
    in_hand: set[int] = field(default_factory=set)
    files: int = 0
    seconds: float = 0.0

    def request(self) -> dict[str, Any]:
        """What a worker is sent."""
        self.in_hand, self.files, self.seconds = set(), 0, 0.0
        return {"batch": asdict(self.batch), "careful": self.careful, "crashed": self.crashed}

    def died(self, end: str) -> None:
        """A worker ended with this in hand: try again with care, without the file that was in hand each time."""
        for place in self.in_hand or {-1}:
            self.deaths[place] += 1
        if self.deaths[-1] >= TRIES:
            raise ChildProcessError(f"part {self.batch.number} cannot be written: the process that wrote it ended {TRIES} times, {end}")
        for place in self.in_hand if self.careful else ():
            if (deaths := self.deaths[place]) >= (KILLS if end == KILLED else DEATHS):
                self.crashed[place] = f"{self.batch.inputs[place].path} was read by {deaths} processes that ended, the last {end}"
        self.careful = True


@final
class _Worker:
    """A process, and a thread that reads what it says."""

    def __init__(self, how: Mapping[str, Any], inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        self.work: _Work | None = None
        self.ready = False
        self.said = tempfile.TemporaryFile()  # noqa: SIM115  (until it is ready)
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(path=sys.path)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.said, env={**SPARING, **os.environ},
            pass_fds=[how["lock"]] if "lock" in how and os.name != "nt" else [],
        )  # fmt: skip
        self.send(how)
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a line; that the process is gone is known from its silence."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            return

    def end(self) -> str:
        """How the process ended."""
        code = self.process.wait()
        if code < 0:
            names = {member.value: member.name for member in signal.Signals}
            return f"by signal {names.get(-code, -code)}"
        return f"with exit code {code}"

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        self.said.close()
        assert self.process.stdin is not None
        try:
            self.process.stdin.close()
        except OSError:
            return

    def last_words(self) -> str:
        """The last line that it wrote to stderr."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else ""

    def _listen(self, inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]]) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    inbox.put((self, json.loads(line)))
        inbox.put((self, None))


@final
class Crew:
    """Some workers, started when they are first needed, which live until ``close``.

    Args:
        how: the configuration that a worker is started with: ``model``, ``digest``, ``files``, ``device``, ``on_damage``, ``format``, ``folder``, ``work``, ``channel``,
            ``limits``; and ``lock``, the descriptor of a lock of this process that is to last as long as any worker.
        workers: how many.
    """

    def __init__(self, how: Mapping[str, Any], workers: int) -> None:
        self._how, self._most = dict(how), workers
        self._workers: list[_Worker] = []
        self._inbox: queue.SimpleQueue[tuple[_Worker, dict[str, Any] | None]] = queue.SimpleQueue()
        self._stillborn = 0

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End all workers; what they have in hand is not written."""
        for worker in self._workers:
            worker.close()
        self._workers.clear()

    def run(self, batches: Iterable[Batch]) -> Iterator[Event]:
        """Extract and write batches, as many at once as there are workers.

        Raises:
            OSError: a batch cannot be written, or no worker can be started.
            ValueError: the model cannot be loaded.
        """
        waiting = collections.deque(_Work(batch) for batch in batches)
        left = len(waiting)
        while left:
            while len(self._workers) < min(self._most, left):
                self._workers.append(_Worker(self._how, self._inbox))
            for worker in self._workers:
                if worker.ready and worker.work is None and waiting:
                    worker.work = waiting.popleft()
                    worker.send(worker.work.request())
            worker, message = self._inbox.get()
            if worker not in self._workers:
                continue
            work = worker.work
            if message is None:
                lost = self._died(worker)
                if work is not None and lost is not None:
                    waiting.appendleft(work)
                    yield lost
            elif "failed" in message:
                raise OSError(message["failed"]) if worker.ready else ValueError(message["failed"])
            elif "ready" in message:
                worker.ready, self._stillborn = True, 0
            elif work is None:
                continue
            elif "began" in message:
                work.in_hand.add(message["began"])
            elif "row" in message:
                work.in_hand.discard(message["row"])
                work.files, work.seconds = work.files + 1, work.seconds + message["seconds"]
                yield Event(1, message["seconds"])
            else:
                worker.work = None
                left -= 1
                yield Event(written=work.batch)

    def _died(self, worker: _Worker) -> Event | None:
        end, work = worker.end(), worker.work
        words = worker.last_words()
        self._workers.remove(worker)
        worker.close()
        if not worker.ready:
            self._stillborn += 1
            if self._stillborn >= TRIES:
                raise ChildProcessError(f"a worker process cannot be started: it ended {end}{f' ({words})' if words else ''}")
        if work is None:
            return None
        lost = Event(-work.files, -work.seconds)
        work.died(end)
        return lost
