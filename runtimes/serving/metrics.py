"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CLIPS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one server, each by model."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        of = ("model", "version")
        self.requests = Counter(
            "specgraph_requests", "Requests that were answered or refused, by the status in HTTP that says how.", (*of, "protocol", "status"),
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "specgraph_request_seconds", "From a checked request to its answer.", of, buckets=SECONDS, registry=self._registry
        )
        self.queued = Histogram("specgraph_queue_seconds", "What a request waited.", of, buckets=SECONDS, registry=self._registry)
        self.computed = Histogram("specgraph_compute_seconds", "What a call took.", of, buckets=SECONDS, registry=self._registry)
        self.clips = Histogram("specgraph_call_clips", "Clips that shared a call.", of, buckets=CLIPS, registry=self._registry)
        self.waiting = Gauge("specgraph_waiting_requests", "Requests in the queue.", of, registry=self._registry)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
