"""One bound on the bytes that all requests hold together."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator

from specgraph.runtimes.serving.problems import Kind, Refusal

PATIENCE = 1.0  # seconds that a client may keep the server waiting before its memory goes to others that need it


class Budget:
    """The bytes that requests hold, used from one event loop.

    A request that needs more than is left takes it from those that have waited longest for their own clients: half-sent bodies and
    answers that are not read. Where there are none, it is refused.

    ``used`` are the bytes that are held now, ``taken`` those that were since the start.

    Args:
        most: bytes of all requests together.
        free: bytes of each request that are not counted, so that small requests are never refused for memory.
    """

    def __init__(self, most: int, free: int) -> None:
        self.most, self.free, self.used, self.taken = most, free, 0, 0
        self._waiting: dict[Holding, float] = {}

    def take(self, holding: Holding, count: int) -> None:
        """Count ``count`` more bytes of a request."""
        if holding.counted + count > self.most:
            raise Refusal(
                Kind.TOO_LARGE,
                f"the request with its answer needs {(holding.counted + count + self.free) / 1e6:,.0f} MB of memory, "
                f"and all requests together have {self.most / 1e6:,.0f} MB; send fewer or shorter clips",
            )
        latest = time.monotonic() - PATIENCE
        while self.used + count > self.most:
            victim = next((one for one, since in self._waiting.items() if one is not holding and one.counted and since <= latest), None)
            if victim is None:
                raise Refusal(Kind.BUSY, f"the requests here already hold {self.used / 1e6:,.0f} MB of memory; send this one again later")
            victim.evict()
        self.used += count
        self.taken += count

    def wait(self, holding: Holding, waits: bool) -> None:
        """Note that a request begins to wait for its client, or that it does not any more."""
        self._waiting.pop(holding, None)
        if waits:
            self._waiting[holding] = time.monotonic()


class Holding:
    """What one request holds; ``hold`` says how much, ``close`` that it is nothing any more."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._evict: Callable[[], object] | None = None
        self.held = self.counted = 0
        self.evicted = False

    def hold(self, count: int) -> None:
        """Hold ``count`` bytes instead of what was held before.

        Raises:
            Refusal: they are more than the budget has, now or at all.
        """
        if self.evicted:
            raise self.refusal()
        counted = max(count - self._budget.free, 0)
        if counted > self.counted:
            self._budget.take(self, counted - self.counted)
        else:
            self._budget.used -= self.counted - counted
        self.held, self.counted = count, counted

    def add(self, count: int) -> None:
        """Hold ``count`` bytes more."""
        self.hold(self.held + count)

    def close(self) -> None:
        """Hold nothing."""
        self._budget.wait(self, False)
        self._budget.used -= self.counted
        self.held = self.counted = 0

    def evict(self) -> None:
        """Give the bytes to others, and end the wait for the client."""
        evict = self._evict
        self.close()
        self.evicted = True
        if evict is not None:
            evict()

    @contextlib.contextmanager
    def waits(self, evict: Callable[[], object]) -> Iterator[None]:
        """A block that waits for the client; ``evict`` is called where others need its memory."""
        self._evict = evict
        self._budget.wait(self, True)
        try:
            yield
        finally:
            self._evict = None
            self._budget.wait(self, False)

    @contextlib.asynccontextmanager
    async def within(self, seconds: float, late: str) -> AsyncIterator[None]:
        """A block in which the client does something within ``seconds``; a ``Refusal`` that says ``late`` where it does not."""
        try:
            async with asyncio.timeout(seconds) as limit:
                with self.waits(lambda: expire(limit)):
                    yield
        except TimeoutError:
            raise self.refusal() if self.evicted else Refusal(Kind.SLOW, f"{late} within {seconds:g} s") from None

    @staticmethod
    def refusal() -> Refusal:
        """What is said of a request whose memory went to others."""
        return Refusal(Kind.BUSY, "the request arrived slowly, and others needed its memory; send it again, at once")


def expire(limit: asyncio.Timeout) -> None:
    """Let a timeout be over now, unless it is already."""
    if not limit.expired():
        limit.reschedule(0.0)
