"""What a server counts, for Prometheus."""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

FOLDER = "PROMETHEUS_MULTIPROC_DIR"  # the variable by which prometheus-client knows that processes count together, and where
SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
CLIPS = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of a server, each by model; of all its replicas together."""

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
        self.waiting = Gauge(
            "specgraph_waiting_requests", "Requests in the queue.", of, registry=self._registry, multiprocess_mode="livesum"
        )

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        if FOLDER not in os.environ:
            return generate_latest(self._registry)
        all_processes = CollectorRegistry()
        multiprocess.MultiProcessCollector(all_processes)
        return generate_latest(all_processes)


def gone(process: int) -> None:
    """What a process that ended had waiting is not counted on."""
    multiprocess.mark_process_dead(process)
