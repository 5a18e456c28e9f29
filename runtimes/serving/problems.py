"""What a request can be refused for: one sentence, and the code of it in HTTP and in gRPC."""

from __future__ import annotations

import logging
from enum import Enum

LOG = logging.getLogger("specgraph.serving")


class Kind(Enum):
    """Why a request was refused: its status in HTTP and the name of its status in gRPC."""

    INVALID = 400, "INVALID_ARGUMENT"
    NOT_FOUND = 404, "NOT_FOUND"
    SLOW = 408, "DEADLINE_EXCEEDED"  # the request did not arrive in time
    TOO_LARGE = 413, "RESOURCE_EXHAUSTED"
    UNSUPPORTED = 415, "INVALID_ARGUMENT"
    INTERNAL = 500, "INTERNAL"
    FULL = 429, "RESOURCE_EXHAUSTED"
    BUSY = 503, "RESOURCE_EXHAUSTED"  # other requests hold the memory that this one needs
    LATE = 504, "DEADLINE_EXCEEDED"

    @property
    def http(self) -> int:
        """The status in HTTP."""
        return self.value[0]

    @property
    def grpc(self) -> str:
        """The name of the status in gRPC."""
        return self.value[1]


class Refusal(Exception):
    """A request that is not answered; the message is for who sent it."""

    def __init__(self, kind: Kind, sentence: str) -> None:
        super().__init__(sentence.encode("utf-8", "backslashreplace").decode())  # JSON may hold halves of characters, which nothing can send
        self.kind = kind


def unforeseen(error: Exception) -> Refusal:
    """A request on which the server itself failed: its log says where, and who sent the request that it was not to blame."""
    LOG.error("a request failed in the server itself", exc_info=error)
    return Refusal(Kind.INTERNAL, f"the server itself failed on this request, by {type(error).__name__}; its log says where")


def invalid(sentence: str) -> Refusal:
    """A request that is wrong."""
    return Refusal(Kind.INVALID, sentence)
