"""The same job on Ray Data: an actor for each session, on one machine or many that share the folder of the output.

Each row of the dataset is a batch. An actor hands it to a worker process of its own, which writes the part: so a file that ends its
process costs neither the actor nor the batch, and what is done is told by the parts, whatever Ray runs twice.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from specgraph.runtimes.extract.crew import Crew, Event
from specgraph.runtimes.extract.job import Batch


def ray_module() -> Any:
    """Ray, or ``ImportError`` saying how to install it."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        if error.name not in (None, "ray"):
            raise
        raise ImportError("Ray is not installed: pip install 'specgraph[ray]'", name="ray") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


class Actor:
    """Extracts batches in an actor of Ray Data.

    Args:
        how: as ``Crew`` takes it.
    """

    def __init__(self, how: Mapping[str, Any]) -> None:
        self._crew = Crew(how, 1)

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        """What became of a batch: both are rows of a dataset."""
        batch = Batch.of(json.loads(str(given["batch"])))
        failed, found = "", []
        try:
            found = list(self._crew.run([batch]))
        except (OSError, ValueError) as error:  # said once, by the driver, and not tried again
            failed = str(error)
        files, seconds = sum(event.files for event in found), sum(event.seconds for event in found)
        return {"number": batch.number, "files": files, "seconds": seconds, "failed": failed}


def events(how: Mapping[str, Any], pending: Sequence[Batch], workers: int | None, address: str | None, num_gpus: float) -> Iterator[Event]:
    """Extract and write batches on a cluster, or with no address on one that is started here.

    Raises:
        OSError: a batch cannot be written, or the cluster cannot be reached.
    """
    ray = ray_module()
    started = not ray.is_initialized()
    if started:
        _connected(ray, address)
    by_number = {batch.number: batch for batch in pending}
    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = [{"batch": json.dumps(asdict(batch))} for batch in pending]
        done = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            Actor,
            fn_constructor_args=(dict(how),),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),  # None: all cores, also of nodes that join
            num_cpus=1,
            num_gpus=num_gpus or None,
        )
        for row in done.iter_rows():
            if row["failed"]:
                raise OSError(row["failed"])
            yield Event(row["files"], row["seconds"], by_number[row["number"]])
    except ray.exceptions.RayError as error:
        raise OSError(f"the job on Ray ended: {_cause(error)}; the same command goes on from there") from None
    finally:
        if started:
            ray.shutdown()


def _connected(ray: Any, address: str | None) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **({} if address else {"include_dashboard": False}))
    except (ConnectionError, ValueError) as error:
        raise OSError(f"there is no Ray cluster at {address}: {' '.join(str(error).split())}") from None


def _cause(error: Exception) -> str:
    cause = getattr(error, "cause", None) or error
    lines = str(cause).strip().splitlines()
    return lines[-1].strip() if lines else type(cause).__name__
