"""A job from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from specgraph.files import check_writable, whole
from specgraph.runtimes.extract.arrow import GROUP, WRITING, pyarrow_module
from specgraph.runtimes.extract.crew import Crew, Event
from specgraph.runtimes.extract.inputs import listed
from specgraph.runtimes.extract.job import LOCK, MANIFEST, Batch, Job, Settings, held_errors, planned
from specgraph.runtimes.extract.rows import ON_DAMAGE, Extractor
from specgraph.runtimes.extract.summary import Count, Summary
from specgraph.runtimes.extract.writers import WRITERS, check_names
from specgraph.runtimes.loading import load
from specgraph.runtimes.workers import available_cores, worker_count

ENGINES = ("local", "ray")
JOB = b"specgraph.job"  # in the metadata of a merged file: which job it is of

Report = Callable[[int, int, float], None]  # files done, of how many, seconds of audio done in this run


def extract(
    model: str | Path,
    source: str | Path,
    output: str | Path,
    *,
    format: str = "parquet",
    on_damage: str = "skip",
    device: str = "cpu",
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    num_gpus: float = 0.0,
    part_bytes: int | None = None,
    retry_errors: bool = False,
    report: Report = lambda done, files, seconds: None,
) -> Summary:
    """Features of a corpus, each file exactly once; stopped or killed at any moment and called again, it goes on from there.

    Args:
        model: an .onnx file that specgraph wrote.
        source: a folder, in which all audio is found; or a manifest: .txt (a path in each line), .csv or .jsonl (column ``path`` or
            ``audio_filepath``, and if only a part of the file is meant, ``offset`` and ``duration`` in seconds), whose paths are
            relative to its own folder.
        output: a folder; or a .parquet file, which is written at the end, from a folder beside it.
        format: "parquet", "npy" or "webdataset".
        on_damage: "skip" for an error row alone; "salvage" for the features of what can be decoded too; "fail" as "skip", for a
            caller that looks at ``Summary.wrong``.
        device: of every worker: "cpu", "cuda", "cuda:N", "auto".
        workers: processes, or with Ray actors, each with a session on one thread; None for one on each core.
        engine: "local", or "ray" for Ray Data, to which ``address`` ("auto", "ray://...") and ``num_gpus`` of each actor belong.
        part_bytes: of the files that a part is made of; None for a size that goes with the corpus.
        retry_errors: whether files that have an error in what is there already are done again; all else stays.
        report: called as files are done.

    Raises:
        FileNotFoundError, ValueError: what is wrong with the model, the corpus or the output.
        OSError: the output cannot be written; what is written remains, and the same call goes on from there.
        RuntimeUnavailable, ImportError: what is missing here.
    """
    began = time.monotonic()
    model, source, output = Path(model), Path(source), Path(output)
    for name, value, known in (("format", format, (*WRITERS,)), ("engine", engine, ENGINES), ("on_damage", on_damage, ON_DAMAGE)):
        if value not in known:
            raise ValueError(f"{name} must be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {value!r}")
    if engine == "local" and (address is not None or num_gpus):
        raise ValueError("address and num_gpus belong to the engine ray")
    count = worker_count(workers, available_cores())
    pyarrow_module()
    Extractor(load(model, device=device if engine == "local" else "cpu", threads=1))
    policy = "skip" if on_damage == "fail" else on_damage
    settings = Settings(os.path.abspath(source), hashlib.sha256(model.read_bytes()).hexdigest(), format, policy)
    merged = output.suffix.lower() == ".parquet" and not output.is_dir()
    if merged and format != "parquet":
        raise ValueError(f"{output} is a Parquet file, and --format {format} writes a folder; name a folder")
    folder = output.with_name(output.name + ".parts") if merged else output
    job = _begun(folder, settings, source, part_bytes, output if merged else None, retry_errors)
    if job is None:
        return _summary(output, [output], 0)
    with job.alone():
        job.clean()
        if merged and _merged_job(output) == job.digest():
            _divide(output, job)
        pending = job.pending(retry_errors)
        how = {"model": os.path.abspath(model), "device": device, "on_damage": policy, "format": format, "folder": os.path.abspath(folder)}
        done, now_files, now_seconds = job.files - sum(len(batch.places) for batch in pending), 0, 0.0
        report(done, job.files, 0.0)
        try:
            for event in _events(engine, how, pending, count if engine == "local" else workers, address, num_gpus):
                now_files, now_seconds = now_files + event.files, now_seconds + event.seconds
                report(done + now_files, job.files, now_seconds)
        finally:
            job.clean()
        _check(job)
        parts = [job.part(batch) for batch in job.batches]
        found = _summary(output, parts, job.duplicates, now_files, now_seconds)
        if merged:
            _merge(parts, folder / "merged.parquet", output, job.digest())
    if merged:
        _remove(folder)
    return Summary(**vars(found) | {"elapsed": time.monotonic() - began})


def _begun(
    folder: Path, settings: Settings, source: Path, part_bytes: int | None, merged: Path | None, retry_errors: bool
) -> Job | None:
    """The job that is to be done: found in its folder, or begun; None where ``merged`` is there, of this very job, and nothing is to be done again."""
    import pyarrow.parquet as pq

    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder, or a file that ends in .parquet")
    if (job := Job.found(folder, settings)) is not None:
        return job
    if folder.is_dir() and any(path.name != LOCK and not path.name.startswith(".") for path in folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no job of specgraph extract; choose another output")
    inputs, again = listed(source)
    check_names(settings.format, inputs)
    if merged is not None:
        check_writable(merged)
        if merged.exists():
            if _merged_job(merged) != Job(folder, settings, planned(inputs, part_bytes), len(again)).digest():
                raise ValueError(f"{merged} exists, and is not what this job would write; choose another output or remove it")
            errors = pq.read_table(merged, columns=["error"], partitioning=None)["error"]
            if not retry_errors or errors.null_count == len(errors):
                return None
    elif not folder.parent.is_dir():
        raise FileNotFoundError(f"the folder {folder.parent} does not exist; create it first")
    folder.mkdir(exist_ok=True)
    return Job.begun(folder, settings, inputs, len(again), part_bytes)


def _events(
    engine: str, how: dict[str, Any], pending: Sequence[Batch], workers: int | None, address: str | None, num_gpus: float
) -> Iterator[Event]:
    if not pending:
        return
    if engine == "ray":
        from specgraph.runtimes.extract.on_ray import events

        yield from events(how, pending, workers, address, num_gpus)
        return
    with Crew(how, workers or 1) as crew:
        yield from crew.run(pending)


def _remove(folder: Path) -> None:
    """A folder of parts, what says which job they are of last: killed here, the same command finds that job, and not a folder of no job."""
    for path in folder.iterdir():
        if path.name != MANIFEST:
            path.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def _check(job: Job) -> None:
    """Every file is in the parts exactly once, or something is wrong that nobody should build on."""
    for batch in job.batches:
        if held_errors(job.part(batch), batch) is None:
            raise OSError(f"{job.part(batch)} does not hold the files that it should; remove it, and the same command makes it anew")


def _summary(output: Path, parts: Sequence[Path], duplicates: int, now_files: int = 0, now_seconds: float = 0.0) -> Summary:
    import pyarrow.parquet as pq

    count = Count()
    for part in parts:
        table = pq.read_table(part, columns=["duration", "error"], partitioning=None)
        count.add(table["duration"].to_pylist(), table["error"].to_pylist())
    kinds = dict(count.kinds.most_common())
    return Summary(output, count.files, count.seconds, count.failed, kinds, tuple(count.errors), duplicates, now_files, now_seconds)


def _merged_job(output: Path) -> str:
    """The digest of the job that a merged file is of; empty where there is none, or it is of nothing."""
    import pyarrow.parquet as pq

    try:
        return str((pq.read_schema(output).metadata or {}).get(JOB, b"").decode())
    except (OSError, pyarrow_module().ArrowException):
        return ""


def _divide(merged: Path, job: Job) -> None:
    """The parts that a merged file was made of, where they are not there: so that some files of it can be done again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(merged) as file:
        rest = file.schema_arrow.remove_metadata().empty_table()
        groups = iter(range(file.num_row_groups))
        for batch in job.batches:
            while rest.num_rows < len(batch.inputs):
                rest = pa.concat_tables([rest, file.read_row_group(next(groups)).replace_schema_metadata()])
            if not job.part(batch).exists():
                with whole(job.part(batch)) as temporary:
                    pq.write_table(rest.slice(0, len(batch.inputs)), temporary, **WRITING)
            rest = rest.slice(len(batch.inputs))


def _merge(parts: Sequence[Path], merged: Path, output: Path, digest: str) -> None:
    """One file of all parts, in order, a few row groups of them at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(parts[0])
    schema = schema.with_metadata((schema.metadata or {}) | {JOB: digest.encode()})
    with whole(merged) as temporary, pq.ParquetWriter(temporary, schema, **WRITING) as writer:
        held: list[Any] = []
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    held.append(file.read_row_group(group))
                    if sum(table.nbytes for table in held) > GROUP:
                        writer.write_table(pa.concat_tables(held))
                        held.clear()
        if held:
            writer.write_table(pa.concat_tables(held))
    merged.replace(output)
