"""A job from its beginning, or from where it was stopped, to its end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from specgraph.decoding import DEFAULT, Limits
from specgraph.files import check_writable, resolved, whole
from specgraph.runtimes.extract.arrow import GROUP, WRITING, pyarrow_module
from specgraph.runtimes.extract.crew import Crew, Event
from specgraph.runtimes.extract.inputs import read_corpus
from specgraph.runtimes.extract.job import Batch, Job, Settings, held_errors, planned
from specgraph.runtimes.extract.lock import MANIFEST, Held, alone
from specgraph.runtimes.extract.rows import ON_DAMAGE, Extractor
from specgraph.runtimes.extract.summary import Count, Summary
from specgraph.runtimes.extract.writers import WRITERS, check_names
from specgraph.runtimes.loading import load
from specgraph.runtimes.pinned import PinnedModel, pin
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
    channel: int | None = None,
    max_seconds: float = DEFAULT.seconds,
    max_bytes: int = DEFAULT.bytes,
    device: str = "cpu",
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    num_gpus: float = 0.0,
    part_bytes: int | None = None,
    retry_errors: bool = False,
    report: Report = lambda done, files, seconds: None,
) -> Summary:
    """Compute the features of a corpus, each file exactly once. Stopped or killed at any moment and called again, it goes on from there.

    The output is locked first: a second job there is refused. All parts are of the model as it was when the job began, whatever
    becomes of the file meanwhile; a job that is resumed with another model or other settings is refused.

    Args:
        model: an .onnx file that specgraph wrote.
        source: a folder, in which all audio is found; or a manifest: .txt (a path in each line), .csv or .jsonl (column ``path`` or
            ``audio_filepath``; if only a part of the file is meant, ``offset`` and ``duration`` in seconds; if one channel is meant,
            ``channel`` from 0), whose paths are relative to its own folder.
        output: a folder; or a .parquet file, which is written at the end, from a folder beside it.
        format: "parquet", "npy" or "webdataset".
        on_damage: "skip" for an error row alone; "salvage" for the features of what can be decoded too; "fail" as "skip", for a
            caller that looks at ``Summary.wrong``.
        channel: the one to take of files for which a manifest names none, from 0; None for the mix of all.
        max_seconds: of sound in a file, or in the part of it that is meant; a file with more is a row with its error.
        max_bytes: of a file's samples, as the model takes them.
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
    if channel is not None and (isinstance(channel, bool) or not isinstance(channel, int) or channel < 0):
        raise ValueError(f"channel must be a whole number, 0 or more, or None, not {channel!r}")
    limits = Limits(max_seconds, max_bytes)
    count = worker_count(workers, available_cores())
    pyarrow_module()
    merged, folder = _places(output, format)
    if merged is not None:
        check_writable(merged)
    with alone(folder) as held:
        pinned = pin(model)
        Extractor(load(pinned, device=device if engine == "local" else "cpu", threads=1))
        policy = "skip" if on_damage == "fail" else on_damage
        settings = Settings(os.path.abspath(source), pinned.digest, format, policy, channel)
        job = _begun(held, settings, source, part_bytes, merged, retry_errors)
        if job is None:
            return _summary(output, [output])
        if merged is not None and _merged_job(merged) == job.digest():
            _divide(merged, job, held)
        pending = job.pending(retry_errors)
        how = _how(pinned, held, device, settings, job.names_channels, limits)
        done, now_files, now_seconds = job.files - sum(len(batch.places) for batch in pending), 0, 0.0
        report(done, job.files, 0.0)
        with contextlib.closing(_events(engine, how, pending, count if engine == "local" else workers, address, num_gpus, held.file)) as events:
            for event in events:
                now_files, now_seconds = now_files + event.files, now_seconds + event.seconds
                report(done + now_files, job.files, now_seconds)
        _check(job)
        parts = [job.part(batch) for batch in job.batches]
        found = _summary(output, parts)
        if merged is not None:
            _merge(parts, held, merged, job.digest())
            for path in (*parts, folder / MANIFEST):  # what says which job it is comes last: killed here, the same command finds that job
                path.unlink(missing_ok=True)
    if merged is not None and job.made:
        with contextlib.suppress(OSError):
            folder.rmdir()
    now: dict[str, Any] = {"duplicates": job.duplicates, "passed_over": job.passed_over, "now_files": now_files, "now_seconds": now_seconds}
    return replace(found, **now, elapsed=time.monotonic() - began)


def _places(output: Path, format: str) -> tuple[Path | None, Path]:
    """The file that is written at the end, or None, and the folder of the job."""
    try:
        os.path.abspath(output).encode()
    except UnicodeEncodeError:
        raise ValueError(f"{output} is not UTF-8, and Parquet files are written to such paths alone; choose another output") from None
    if output.is_dir():
        return None, output
    suffix = output.suffix.lower()
    if suffix == ".parquet" and format == "parquet":
        output = resolved(output)
        return output, output.with_name(output.name + ".parts")
    if suffix == ".parquet":
        raise ValueError(f"{output} is a Parquet file, and --format {format} writes a folder; name a folder")
    if suffix[1:2].isalpha() and not output.exists():
        raise ValueError(
            f"{output} ends in {suffix}, which is not a format that is written; name a file that ends in .parquet, "
            f"or a folder with --format {', '.join([*WRITERS][:-1])} or {[*WRITERS][-1]}"
        )
    return None, output


def _how(model: PinnedModel, held: Held, device: str, settings: Settings, channel: bool, limits: Limits) -> dict[str, Any]:
    """The configuration of workers; writes the pinned model into the work folder for them."""
    with whole(held.work / "model.onnx") as temporary:
        temporary.write_bytes(model.data)
    return {
        "model": os.path.abspath(model.path), "digest": model.digest, "files": dict(model.files), "device": device, "on_damage": settings.on_damage,
        "format": settings.format, "folder": os.path.abspath(held.folder), "work": os.path.abspath(held.work), "channel": channel,
        "limits": [limits.seconds, limits.bytes],
    }  # fmt: skip


def _begun(held: Held, settings: Settings, source: Path, part_bytes: int | None, merged: Path | None, retry_errors: bool) -> Job | None:
    """The job that is to be done: found in its folder, or begun; None where ``merged`` is there, of this very job, and nothing is to be done again."""
    import pyarrow.parquet as pq

    if (job := Job.found(held.folder, settings)) is not None:
        return job
    corpus = read_corpus(source, settings.channel)
    check_names(settings.format, corpus.inputs, held.work)
    if merged is not None and merged.exists():
        if _merged_job(merged) != Job(held.folder, settings, planned(corpus.inputs, part_bytes)).digest():
            raise ValueError(f"{merged} exists, and is not what this job would write; choose another output or remove it")
        errors = pq.read_table(merged, columns=["error"], partitioning=None)["error"]
        if not retry_errors or errors.null_count == len(errors):
            return None
    return Job.begun(held, settings, corpus, part_bytes)


def _events(
    engine: str, how: dict[str, Any], pending: Sequence[Batch], workers: int | None, address: str | None, num_gpus: float, lock: int
) -> Generator[Event]:
    if not pending:
        return
    if engine == "ray":
        from specgraph.runtimes.extract.on_ray import events

        yield from events(how, pending, workers, address, num_gpus)
        return
    with Crew(how | {"lock": lock}, workers or 1) as crew:
        yield from crew.run(pending)


def _check(job: Job) -> None:
    """Every file is in the parts exactly once, or something is wrong that nobody should build on."""
    for batch in job.batches:
        if held_errors(job.part(batch), batch) is None:
            raise OSError(f"{job.part(batch)} does not hold the files that it should; remove it, and the same command makes it anew")


def _summary(output: Path, parts: Sequence[Path]) -> Summary:
    import pyarrow.parquet as pq

    count = Count()
    for part in parts:
        table = pq.read_table(part, columns=["duration", "error"], partitioning=None)
        count.add(table["duration"].to_pylist(), table["error"].to_pylist())
    kinds = dict(count.kinds.most_common())
    return Summary(output, count.files, count.seconds, count.failed, kinds, tuple(count.errors))


def _merged_job(output: Path) -> str:
    """The digest of the job that a merged file is of; empty where there is none, or it is of nothing."""
    import pyarrow.parquet as pq

    try:
        return str((pq.read_schema(output).metadata or {}).get(JOB, b"").decode())
    except (OSError, pyarrow_module().ArrowException):
        return ""


def _divide(merged: Path, job: Job, held: Held) -> None:
    """The parts that a merged file was made of, where they are not there: so that some files of it can be done again."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(merged) as file:
        rest = file.schema_arrow.remove_metadata().empty_table()
        groups = iter(range(file.num_row_groups))
        for batch in job.batches:
            while rest.num_rows < len(batch.inputs):
                rest = pa.concat_tables([rest, file.read_row_group(next(groups)).replace_schema_metadata()])
            if held_errors(job.part(batch), batch) is None:
                with whole(job.part(batch), held.work) as temporary:
                    pq.write_table(rest.slice(0, len(batch.inputs)), temporary, **WRITING)
            rest = rest.slice(len(batch.inputs))


def _merge(parts: Sequence[Path], held: Held, merged: Path, digest: str) -> None:
    """One file of all parts, in order, a few row groups of them at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(parts[0])
    schema = schema.with_metadata((schema.metadata or {}) | {JOB: digest.encode()})
    with whole(merged, held.work) as temporary, pq.ParquetWriter(temporary, schema, **WRITING) as writer:
        tables: list[Any] = []
        for part in parts:
            with pq.ParquetFile(part) as file:
                for group in range(file.num_row_groups):
                    tables.append(file.read_row_group(group))
                    if sum(table.nbytes for table in tables) > GROUP:
                        writer.write_table(pa.concat_tables(tables))
                        tables.clear()
        if tables:
            writer.write_table(pa.concat_tables(tables))
