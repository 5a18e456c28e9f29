"""One thread for what numpy, scipy and torch compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_restorers: list[Callable[[], None]] = []
_inside = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS, OpenMP and torch to one thread in this process, until the last caller has left.

    Sums are then added in one order, however many cores there are, and small products do not wait for other threads.
    """
    global _inside
    with _lock:
        if not _inside:
            _restorers.append(_limit())
        _inside += 1
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                _restorers.pop()()


def _limit() -> Callable[[], None]:
    """Limit all to one thread; the function returned undoes it."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    limits = threadpool_limits(1)

    def restore() -> None:
        limits.restore_original_limits()
        torch.set_num_threads(before)

    return restore
