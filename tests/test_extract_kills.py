"""Extraction is killed at random points, by two jobs at once and with its model replaced: each file exactly once, by one model.

Twelve kills; ``SPECGRAPH_TEST_KILLS=100 pytest tests/test_extract_kills.py`` for more.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest

import specgraph as sg
from specgraph.audio import read_audio
from tests.corpus import RATE, sound

pq = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals")

KILLS = int(os.environ.get("SPECGRAPH_TEST_KILLS", "12"))
FORMATS = ("parquet", "parquet file", "npy", "webdataset")
FILES = 24
JOB = """
import sys
sys.path[:] = {path!r}
from specgraph.runtimes.extract import crew, run
crew.START = crew.START.replace("; from", "\\nimport time, specgraph.decoding as d\\nclass Slow(d.Decoder):\\n"
    "    def __init__(self, *given):\\n        time.sleep(0.04)\\n        super().__init__(*given)\\nd.Decoder = Slow\\nfrom", 1)
try:
    run.extract({model!r}, {corpus!r}, {output!r}, workers=2, part_bytes=1, format={format!r})
except (ValueError, OSError) as error:
    sys.exit(f"refused: {{error}}")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a corpus and two models that differ in what they compute alone."""
    folder = tmp_path_factory.mktemp("kills")
    sound(folder / "corpus", FILES)
    for name, gain in (("one", 1.0), ("two", 2.0)):
        sg.to_onnx(sg.MelSpectrogram(sample_rate=RATE, n_fft=400, hop_length=160, n_mels=8, power=gain), folder / f"{name}.onnx")
    return folder


def start(place: Path, model: str, output: Path, format: str) -> subprocess.Popen[str]:
    given = {"model": str(place / model), "corpus": str(place / "corpus"), "output": str(output), "format": format.split()[0]}
    return subprocess.Popen(
        [sys.executable, "-c", JOB.format(path=sys.path, **given)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )  # fmt: skip


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in found.read_text().split()] if found.exists() else []


def put(place: Path, which: str, target: str = "model.onnx") -> None:
    """Replace the model, whole, as a careful user does."""
    shutil.copy(place / f"{which}.onnx", place / "copy")
    os.replace(place / "copy", place / target)


@pytest.mark.parametrize("format", FORMATS)
def test_each_file_once_by_one_model(place: Path, tmp_path: Path, format: str) -> None:
    """Kill after kill on one output, until it is done; then on the next."""
    rng = random.Random(f"{format} {KILLS}")
    hit, between, outputs = 0, 0, [begin(tmp_path, 0, format)]
    for number in range(-(-KILLS // len(FORMATS))):
        if is_done(outputs[-1], format):
            outputs.append(begin(tmp_path, len(outputs), format))
        first, second = rng.sample(["one", "two"], 2) if rng.random() < 0.3 else ("one", "two")
        put(place, first)
        jobs = [start(place, "model.onnx", outputs[-1], format)]
        if rng.random() < 0.5:  # another job with another model, at the same time
            time.sleep(rng.uniform(0, 0.7))
            jobs.append(start(place, f"{second}.onnx", outputs[-1], format))
        wait(outputs[-1], format, jobs, rng, starting=number % 3 == 1)
        put(place, second)
        workers = [child for job in jobs for child in children(job.pid)]
        if workers and rng.random() < 0.3:
            os.kill(rng.choice(workers), signal.SIGKILL)
            time.sleep(rng.uniform(0, 0.3))
        hit += any(job.poll() is None for job in jobs)
        between += 0 < parts(outputs[-1], format) < FILES
        for job in jobs:
            if job.poll() is None:
                (os.killpg if rng.random() < 0.3 else os.kill)(job.pid, signal.SIGKILL)
            said = job.communicate()[1]
            assert not said or said.startswith("refused: "), said
    print(f"{format}: {hit} kills of running jobs, {between} between the first part and the last, {len(outputs)} outputs")
    assert between
    for output in outputs:
        finish(place, output, output.with_name(output.name + ".parts") if format == "parquet file" else output, format)
        check(place, output, format)


def begin(folder: Path, number: int, format: str) -> Path:
    """An output, in a folder of its own in which the user has something already."""
    folder = folder / str(number)
    (folder if format == "parquet file" else folder / "out").joinpath(".git").mkdir(parents=True)
    return folder / ("out.parquet" if format == "parquet file" else "out")


def is_done(output: Path, format: str) -> bool:
    return output.is_file() or parts(output, format) == FILES


def parts(output: Path, format: str) -> int:
    folder = output.with_name(output.name + ".parts") if format == "parquet file" else output if format == "parquet" else output / "index"
    return len(list(folder.glob("part-*")))


def wait(output: Path, format: str, jobs: list[subprocess.Popen[str]], rng: random.Random, starting: bool) -> None:
    """For a moment of the start, or for some parts and a moment."""
    if starting:
        time.sleep(rng.uniform(0.1, 1.5))
        return
    wanted, limit = parts(output, format) + rng.randint(0, 4), time.monotonic() + 20
    while parts(output, format) < wanted and time.monotonic() < limit and any(job.poll() is None for job in jobs):
        time.sleep(0.005)
    time.sleep(rng.uniform(0, 0.1))


def finish(place: Path, output: Path, folder: Path, format: str) -> None:
    """Run the job to its end, with the model that it began with."""
    began = "one"
    if (folder / "_manifest.jsonl").exists():
        digest = json.loads((folder / "_manifest.jsonl").read_text().splitlines()[0])["model"]
        began = next(name for name in ("one", "two") if hashlib.sha256((place / f"{name}.onnx").read_bytes()).hexdigest() == digest)
        other = "two" if began == "one" else "one"
        with pytest.raises(ValueError, match="holds a job of another model"):
            sg.extract(place / f"{other}.onnx", place / "corpus", output, format=format.split()[0])
    elif output.is_file():
        for name in ("one", "two"):
            try:
                sg.extract(place / f"{name}.onnx", place / "corpus", output)
            except ValueError:
                continue
            return
    found = sg.extract(place / f"{began}.onnx", place / "corpus", output, format=format.split()[0], workers=2)
    assert (found.files, found.wrong) == (FILES, 0)


def check(place: Path, output: Path, format: str) -> None:
    """Each file once, all by one model, and nothing else but what the user had there."""
    features: dict[str, np.ndarray] = {}
    index = output if "parquet" in format else output / "index"
    rows = pq.read_table(index).to_pylist()
    for row in rows:
        if "parquet" in format:
            features[row["path"]] = np.array(row["features"], np.float32).T
        elif format == "npy":
            features[row["path"]] = np.load(output / row["file"])
        else:
            with tarfile.open(output / row["shard"]) as tar:
                features[row["path"]] = np.load(io.BytesIO(tar.extractfile(f"{row['key']}.npy").read()))
    corpus = sorted(path.relative_to(place / "corpus").as_posix() for path in (place / "corpus").rglob("*.*"))
    assert [row["path"] for row in rows] == corpus
    runs = [sg.load(place / f"{name}.onnx") for name in ("one", "two")]
    by = {name: [np.allclose(run(read_audio(place / "corpus" / name, RATE).samples), value, rtol=1e-4) for run in runs] for name, value in features.items()}
    assert {tuple(which) for which in by.values()} in ({(True, False)}, {(False, True)}), by
    names = {path.name for path in (output.parent if format == "parquet file" else output).iterdir()}
    made = [name for name in names if name.startswith(("part-", "shard-")) or name in ("_manifest.jsonl", "index", "features", "out.parquet")]
    assert names - {*made} == {".git"}
