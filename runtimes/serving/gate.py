"""How a server stops without losing what arrives in that moment: answers wait until it has stopped listening."""

from __future__ import annotations

import asyncio
import contextlib

QUIET = 0.02  # seconds without a request, twice in a row, after which none is on its way
MOST = 0.5  # seconds to wait for that: some clients send without waiting for answers


class Gate:
    """Every answer to an inference request goes through, and each request is counted as it arrives.

    Both servers drop what has reached them and was not looked at when they are told to stop: gRPC's core cancels calls that it has not
    handed over (grpc/grpc issue 41785), and uvicorn closes connections that are idle as far as it has read. A client that waits for
    an answer sends nothing more; so the gate is closed first, and opened when nothing new can arrive.
    """

    def __init__(self) -> None:
        self._arrived = 0
        self._open = asyncio.Event()
        self._open.set()

    def arrive(self) -> None:
        """Count a request."""
        self._arrived += 1

    async def leave(self, seconds: float | None = None) -> None:
        """Go through with an answer: at once, but for a server that is about to stop; and within ``seconds`` even there."""
        if not self._open.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._open.wait(), seconds)

    async def close(self) -> None:
        """Hold answers, and return when requests have ceased to arrive."""
        self._open.clear()
        loop = asyncio.get_running_loop()
        latest, quiet = loop.time() + MOST, 0
        while quiet < 2 and loop.time() < latest:
            before = self._arrived
            await asyncio.sleep(QUIET)
            quiet = quiet + 1 if self._arrived == before else 0

    def open(self) -> None:
        """Let all answers go."""
        self._open.set()
