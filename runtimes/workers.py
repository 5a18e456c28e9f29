"""Many items on all cores: in order, few at a time, and no core asked for by two."""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_here = threading.local()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count(workers: int | None, otherwise: int) -> int:
    """``workers``, or for None ``otherwise``; ``ValueError`` for what is not a whole number above 0."""
    if workers is None:
        return otherwise
    if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
        raise ValueError(f"workers must be a whole number above 0 or None, not {workers!r}")
    return workers


def in_worker() -> bool:
    """Whether this thread is one of several that share the cores: what it calls should not start threads of its own."""
    return getattr(_here, "worker", False)


def pool(workers: int, nice: int = 0) -> ThreadPoolExecutor:
    """Threads that share the cores; they are started when they are first needed. On Linux ``nice`` lowers their priority."""
    return ThreadPoolExecutor(workers, "specgraph", _mark, (nice,))


def stoppable(options: Any, function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function whose runs of onnxruntime, in this thread, take these ``RunOptions``: setting their ``terminate`` ends them."""
    _here.options = options
    try:
        return function(*arguments)
    finally:
        _here.options = None


def run_options() -> Any:
    """The ``RunOptions`` of ``stoppable``, or None outside of it."""
    return getattr(_here, "options", None)


def ordered(function: Callable[[Item], Result], items: Iterable[Item], threads: ThreadPoolExecutor, ahead: int) -> Iterator[Result]:
    """``function`` of every item, in order, by the threads of a ``pool``.

    ``items`` is read as results are taken, ``ahead`` of them in advance, so that it may be endless. What ``function`` or
    ``items`` raises is raised where its result would have come; what was begun then is finished, and nothing more is begun.
    """
    source = iter(items)
    waiting = collections.deque(threads.submit(function, item) for item in itertools.islice(source, ahead))
    try:
        while waiting:
            result = waiting.popleft().result()
            waiting += [threads.submit(function, item) for item in itertools.islice(source, 1)]
            yield result
    finally:
        for future in waiting:
            future.cancel()
        concurrent.futures.wait(future for future in waiting if not future.cancelled())


def _mark(nice: int) -> None:
    _here.worker = True
    if nice and sys.platform == "linux":  # elsewhere it would be the whole process'
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
