"""Extraction: each file exactly once whatever happens, bad files as rows, and features that are those of ``sg.load``."""

from __future__ import annotations

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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import specgraph as sg
from specgraph.audio import read_audio
from specgraph.runtimes.extract import crew as crews
from specgraph.runtimes.extract import rows as row_module
from specgraph.runtimes.extract import run as runs
from specgraph.runtimes.extract.inputs import read_corpus
from specgraph.runtimes.extract.job import planned
from specgraph.runtimes.extract.rows import Extractor, Item
from tests.conftest import one_sentence
from tests.corpus import BAD, RATE, SALVAGED, bad, held, noise, sound

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COLUMNS = ["path", "features", "frames", "sample_rate", "offset", "duration", "error"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """28 sound files and 12 bad ones."""
    folder = tmp_path_factory.mktemp("corpus")
    sound(folder)
    bad(folder)
    (folder / "notes.txt").write_text("not of the corpus")
    (folder / "folder.wav").mkdir()
    return folder


@pytest.fixture(scope="module")
def plain_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mel front end that never looks at the whole clip."""
    path = tmp_path_factory.mktemp("models") / "plain.onnx"
    sg.to_onnx(sg.MelSpectrogram(sample_rate=RATE, n_fft=400, hop_length=160, n_mels=40), path)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file() and path.name != "notes.txt")


def check_table(table, corpus: Path, model: Path) -> None:
    """Every file once, in order; features as ``sg.load`` gives them, or the error."""
    run = sg.load(model)
    assert table["path"].to_pylist() == names(corpus)
    for row in table.to_pylist():
        if row["path"] in BAD:
            assert row["error"].startswith(BAD[row["path"]]), row["error"]
            assert (row["features"], row["frames"], row["duration"]) == (None, 0, 0.0)
            continue
        assert row["error"] is None
        clip = read_audio(corpus / row["path"], RATE)
        wanted = run(clip.samples)
        np.testing.assert_allclose(np.array(row["features"], np.float32).T, wanted, rtol=1e-5, atol=1e-5)
        assert row["frames"] == wanted.shape[1]
        assert row["sample_rate"] == RATE
        assert row["duration"] == pytest.approx(clip.seconds)


def leftovers(folder: Path) -> list[str]:
    """What is neither a part nor the manifest."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("part-") and path.name != "_manifest.jsonl"]


def read(folder: Path):
    return pq.read_table(folder)


# The function


def test_batch_of_paths_and_of_bytes(corpus: Path, mel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    table = sg.extract_batch(mel_file, names(corpus))
    assert table.column_names == COLUMNS
    assert table.schema.field("features").type.value_type.list_size == 40
    check_table(table, corpus, mel_file)
    pairs = [(name, Path(name).read_bytes()) for name in names(corpus)]
    assert sg.extract_batch(sg.load(mel_file), iter(pairs)).equals(table)
    assert sg.extract_batch(mel_file, []).schema.equals(table.schema)


def test_batch_of_bad_files_only(corpus: Path, mel_file: Path) -> None:
    table = sg.extract_batch(mel_file, [corpus / "missing.wav", corpus / "folder.wav", corpus / "bad" / "empty.wav"])
    assert [error.partition(":")[0] for error in table["error"].to_pylist()] == ["missing", "folder", "empty"]
    assert all(str(corpus) in error and "\n" not in error for error in table["error"].to_pylist())


def test_what_could_not_be_had_is_a_row(mel_file: Path) -> None:
    table = sg.extract_batch(mel_file, [("s3://bucket/a.wav", None), ("b", held("WAV"))])
    assert table["error"].to_pylist() == ["unreadable: s3://bucket/a.wav came without its content", None]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_a_pipe_is_not_waited_for(tmp_path: Path, mel_file: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    assert "is a device or a pipe" in sg.extract_batch(mel_file, [tmp_path / "pipe.wav"])["error"][0].as_py()


def test_salvage(corpus: Path, mel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(corpus)
    run = sg.load(mel_file)
    for row in sg.extract_batch(mel_file, sorted(BAD), on_damage="salvage").to_pylist():
        assert row["error"].startswith(BAD[row["path"]].partition(":")[0] if row["path"] != "bad/cut.ogg" else ("damaged", "not audio"))
        if row["path"] in SALVAGED:
            clip = read_audio(row["path"], RATE, salvage=True)
            assert 1000 < len(clip.samples) < 32000
            assert clip.damage in row["error"]
            np.testing.assert_allclose(np.array(row["features"]).T, run(clip.samples), rtol=1e-5, atol=1e-5)
    assert np.abs(read_audio("bad/cut.wav", RATE, salvage=True).samples - noise(1.0)[:4989, 0]).max() < 4e-5
    whole = soundfile.read(corpus / "bad" / "cut.flac", frames=2000)[0]
    assert np.abs(read_audio("bad/cut.flac", RATE, salvage=True).samples[:2000] - whole).max() < 1e-6


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_salvage_of_ogg_is_all_whole_pages(codec: str) -> None:
    made = io.BytesIO()
    soundfile.write(made, noise(8.0), RATE, format="OGG", subtype=codec)
    whole = read_audio(made.getvalue(), RATE).samples
    cut = read_audio(made.getvalue()[: len(made.getvalue()) // 2], RATE, salvage=True)
    assert 2.5 * RATE < len(cut.samples) < 4.5 * RATE
    assert "ends before the last page" in cut.damage
    np.testing.assert_allclose(cut.samples, whole[: len(cut.samples)], atol=1e-6)


def test_fail_raises_the_first(corpus: Path, mel_file: Path) -> None:
    with pytest.raises(ValueError, match="is empty"):
        sg.extract_batch(mel_file, [corpus / "a" / "000.wav", corpus / "bad" / "empty.wav", corpus / "bad" / "text.wav"], on_damage="fail")
    with pytest.raises(ValueError, match="on_damage must be 'fail', 'salvage' or 'skip', not 'stop'"):
        sg.extract_batch(mel_file, [], on_damage="stop")


def several() -> sg.Graph:
    """Two outputs, one of them complex."""
    b = sg.Builder(sample_rate=RATE)
    tone = b.frame_conv(b.input("waveforms"), np.ones((3, 64)) + 1j, hop_length=32)
    return b.build(tones=tone, loud=b.magnitude(tone))


@pytest.mark.parametrize(
    ("model", "lengths"),
    [
        (sg.Spectrogram(sample_rate=RATE, n_fft=64, output="complex"), False),
        (sg.Resample(sample_rate=RATE, new_freq=8000), False),
        (sg.RMS(sample_rate=RATE), False),
        (several(), False),
        (sg.MelSpectrogram(sample_rate=RATE, n_fft=400, n_mels=8), True),
        (sg.preset("whisper-80"), False),
    ],
    ids=["complex", "samples", "rms", "several", "lengths", "fixed length"],
)
def test_outputs_of_every_shape(corpus: Path, tmp_path: Path, model, lengths: bool) -> None:
    wave = corpus / "a" / "000.wav"
    clip = read_audio(wave, RATE).samples
    sg.to_onnx(model, tmp_path / "model.onnx", lengths=lengths)
    run = sg.load(tmp_path / "model.onnx")
    outputs = {name: value for name, value in run.outputs(clip).items() if name in run.feature_names}
    (row,) = sg.extract_batch(run, [wave]).to_pylist()
    assert row["error"] is None
    assert set(row) - {*COLUMNS[2:], "path"} == ({"features"} if len(outputs) == 1 else {*outputs})
    for output, value in outputs.items():
        axes = [axis for axis in run.meta.outputs[output].axes if axis != "batch"]
        time_axis = next(at for at, axis in enumerate(axes) if axis in ("frames", "samples"))
        got = np.array(row["features" if len(outputs) == 1 else output], np.float32)
        wanted = np.moveaxis(value, time_axis, 0)
        assert len(got) == len(wanted) == row["frames"]
        np.testing.assert_allclose(got.reshape(wanted.shape), wanted, rtol=1e-5, atol=1e-6)


def test_a_whole_model_has_one_row_of_scores(corpus: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = sg.MelSpectrogram(sample_rate=RATE, n_fft=400, n_mels=8).module()
    sg.to_onnx(torch.nn.Sequential(net, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten()), tmp_path / "scores.onnx")
    wave = corpus / "a" / "000.wav"
    (row,) = sg.extract_batch(tmp_path / "scores.onnx", [wave]).to_pylist()
    assert row["frames"] == 1
    np.testing.assert_allclose(row["features"][0], sg.load(tmp_path / "scores.onnx")(read_audio(wave, RATE).samples), rtol=1e-5)


@pytest.mark.parametrize("whole_clip", [False, True], ids=["in pieces", "whole"])
def test_a_long_clip(whole_clip: bool, tmp_path: Path, plain_file: Path, mel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded in blocks; where the model never looks at the whole clip, it is never held whole."""
    monkeypatch.setattr(row_module, "LONG", 2**18)
    soundfile.write(tmp_path / "long.flac", noise(150, 22050), 22050)
    run = sg.load(mel_file if whole_clip else plain_file, threads=1)
    made = Extractor(run)
    (row,) = made.rows([Item("long.flac", tmp_path / "long.flac")])
    assert made._streams == (not whole_clip)
    clip = read_audio(tmp_path / "long.flac", RATE)
    assert (row.error, row.duration) == (None, clip.seconds)
    wanted = run(clip.samples)
    assert np.abs(row.features["features"].T - wanted).max() <= 1e-5 * np.abs(wanted).max()


# The job


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_job(corpus: Path, mel_file: Path, tmp_path: Path, output: str) -> None:
    seen: list[tuple[int, int, float]] = []
    found = sg.extract(mel_file, corpus, tmp_path / output, workers=2, part_bytes=50_000, report=lambda *now: seen.append(now))
    table = read(tmp_path / output)
    check_table(table, corpus, mel_file)
    assert (found.files, found.failed, found.wrong, found.now_files) == (40, 12, 12, 40)
    assert found.seconds == pytest.approx(sum(table["duration"].to_pylist()))
    assert found.kinds == {"damaged": 6, "not audio": 2, "empty": 1, "not finite": 1, "no samples": 1, "too short": 1}
    assert seen[0] == (0, 40, 0.0)
    assert seen[-1][:2] == (40, 40)
    assert seen[-1][2] == pytest.approx(found.seconds)
    again = sg.extract(mel_file, corpus, tmp_path / output, part_bytes=50_000)
    assert (again.files, again.failed, again.now_files) == (40, 12, 0)
    if output == "out":
        assert len(list((tmp_path / "out").glob("part-*.parquet"))) > 10
        assert leftovers(tmp_path / "out") == []
    assert [path.name for path in tmp_path.iterdir()] == [output]


def test_parquet_is_read_by_others(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    sg.extract(mel_file, corpus, tmp_path / "f.parquet")
    table = read(tmp_path / "f.parquet")
    good = table.filter(pa.compute.is_valid(table["features"]))
    first = np.array(good["features"][0].as_py(), np.float32)
    readers: dict[str, Callable[[], np.ndarray]] = {}
    try:
        import pandas

        frame = pandas.read_parquet(tmp_path / "f.parquet")
        assert frame["path"].tolist() == table["path"].to_pylist()
        readers["pandas"] = lambda: np.stack(frame.dropna(subset="features")["features"].iloc[0])
    except ImportError:
        pass
    try:
        import polars

        held = polars.read_parquet(tmp_path / "f.parquet")
        assert held["path"].to_list() == table["path"].to_pylist()
        readers["polars"] = lambda: np.array(held.drop_nulls("features")["features"][0].to_list())
    except ImportError:
        pass
    try:
        import datasets

        loaded = datasets.Dataset.from_parquet(str(tmp_path / "f.parquet"), cache_dir=str(tmp_path / "cache"))
        assert loaded["path"][:] == table["path"].to_pylist()
        readers["datasets"] = lambda: np.array(next(row["features"] for row in loaded if row["features"] is not None))
    except ImportError:
        pass
    if not readers:
        pytest.skip("none of pandas, polars and datasets is installed")
    for name, reader in readers.items():
        np.testing.assert_array_equal(np.asarray(reader(), np.float32), first, err_msg=name)


def test_npy(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    sg.extract(mel_file, corpus, tmp_path / "out", format="npy", workers=2, part_bytes=50_000)
    run = sg.load(mel_file)
    index = read(tmp_path / "out" / "index").to_pylist()
    assert [row["path"] for row in index] == names(corpus)
    for row in index:
        assert (row["file"] is None) == (row["path"] in BAD) == (row["error"] is not None)
        if row["file"]:
            assert row["file"] == f"features/{row['path']}.npy"
            features = np.load(tmp_path / "out" / row["file"])
            np.testing.assert_allclose(features, run(read_audio(corpus / row["path"], RATE).samples), rtol=1e-5, atol=1e-5)
            assert features.shape[1] == row["frames"]
    assert len([path for path in (tmp_path / "out" / "features").rglob("*") if path.is_file()]) == 28
    assert sorted(leftovers(tmp_path / "out")) == ["features", "index"]


def test_webdataset(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    sg.extract(mel_file, corpus, tmp_path / "out", format="webdataset", workers=2, part_bytes=100_000)
    run = sg.load(mel_file)
    index = {row["path"]: row for row in read(tmp_path / "out" / "index").to_pylist()}
    assert sorted(index) == names(corpus)
    seen = []
    for shard in sorted((tmp_path / "out").glob("shard-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, kind = member.name.partition(".")
                data = tar.extractfile(member)
                assert data is not None
                if kind == "npy":
                    features = np.load(io.BytesIO(data.read()))
                    continue
                about = json.load(data)
                seen.append(about["path"])
                assert (index[about["path"]]["shard"], index[about["path"]]["key"]) == (shard.name, key)
                np.testing.assert_allclose(features, run(read_audio(corpus / about["path"], RATE).samples), rtol=1e-5, atol=1e-5)
    assert sorted(seen) == [name for name in names(corpus) if name not in BAD]


# Faults


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[crews.Crew]:
    """The crews that jobs start."""
    made: list[crews.Crew] = []

    def start(how, workers: int) -> crews.Crew:
        made.append(crews.Crew(how, workers))
        return made[-1]

    monkeypatch.setattr(runs, "Crew", start)
    return made


def test_killed_workers(corpus: Path, mel_file: Path, tmp_path: Path, started: list[crews.Crew]) -> None:
    killed: list[int] = []

    def kill(done: int, files: int, seconds: float) -> None:
        if len(killed) < 3 and done >= 10 * (len(killed) + 1):
            worker = random.Random(done).choice([worker for worker in started[0]._workers if worker.work is not None])
            worker.process.kill()
            killed.append(worker.process.pid)

    found = sg.extract(mel_file, corpus, tmp_path / "out", workers=2, part_bytes=50_000, report=kill)
    assert len(killed) == 3
    check_table(read(tmp_path / "out"), corpus, mel_file)
    assert (found.files, found.wrong) == (40, 12)
    assert leftovers(tmp_path / "out") == []


# What a worker does before it begins; {} is the name of a signal
DIES = """
import os, signal, specgraph.decoding as decoding
class Dying(decoding.Decoder):
    def __init__(self, source, *rest):
        if 'killer' in str(source):
            os.kill(os.getpid(), signal.SIGSEGV)
        super().__init__(source, *rest)
decoding.Decoder = Dying
"""
SLOW = """
import time, specgraph.decoding as decoding
class Slow(decoding.Decoder):
    def __init__(self, *given):
        time.sleep(0.05)
        super().__init__(*given)
decoding.Decoder = Slow
"""


def before(code: str) -> str:
    """A worker's start, with ``code`` once its path is known."""
    path, _, rest = crews.START.partition("; from")
    return f"{path}\n{code}\nfrom{rest}"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_a_file_that_ends_its_process(mel_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "START", before(DIES))
    good = sound(tmp_path / "in", 12)
    for name in ("a/killer.wav", "b/killer.wav", "killer.wav"):
        (tmp_path / "in" / name).write_bytes(held("WAV"))
    found = sg.extract(mel_file, tmp_path / "in", tmp_path / "out", workers=2)
    table = read(tmp_path / "out").to_pylist()
    assert [row["path"] for row in table if row["error"] is None] == good
    assert found.kinds == {"crash": 3}
    assert table[-1]["error"] == "crash: killer.wav was read by 2 processes that ended, the last by signal SIGSEGV"


def test_a_worker_that_cannot_start(mel_file: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crews, "START", before("raise RuntimeError('no luck')"))
    with pytest.raises(OSError, match=r"cannot be started: it ended with exit code 1 \(RuntimeError: no luck\)"):
        sg.extract(mel_file, corpus, tmp_path / "out", workers=2)


JOB = """
import os, signal, sys
sys.path[:] = {path!r}
from specgraph.runtimes.extract import crew, run
crew.START = {start!r}
def report(done, files, seconds):
    if seconds >= {dies_at!r}:
        os.kill(os.getpid(), signal.SIGKILL)
run.extract({model!r}, {corpus!r}, {output!r}, workers=2, part_bytes=1, format={format!r}, retry_errors={retry_errors!r}, report=report)
"""


def driver(
    model: Path, corpus: Path, output: Path, format: str = "parquet", retry_errors: bool = False, dies_at: float = 1e9, **how
) -> subprocess.Popen[bytes]:
    """The job in a process of its own, slowed down so that it can be hit at any point; killed when so many seconds of audio are done."""
    given = {"model": str(model), "corpus": str(corpus), "output": str(output), "format": format, "retry_errors": retry_errors, "dies_at": dies_at}
    code = JOB.format(path=sys.path, start=before(SLOW), **given)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, **how)


def parts(folder: Path) -> int:
    return len(list(folder.glob("part-*.parquet")))


@pytest.mark.parametrize("format", ["parquet", "npy", "webdataset"])
def test_killed_driver(corpus: Path, mel_file: Path, tmp_path: Path, format: str) -> None:
    output = tmp_path / "out"
    index = output if format == "parquet" else output / "index"
    rng = random.Random(format)
    for _ in range(2):
        before_it = parts(index)
        with driver(mel_file, corpus, output, format) as process:
            limit = time.monotonic() + 60
            while parts(index) < before_it + 4 and process.poll() is None and time.monotonic() < limit:
                time.sleep(0.01)
            time.sleep(rng.uniform(0, 0.1))
            assert process.poll() is None, "it ended before it could be killed"
            process.kill()
        assert before_it < parts(index) < 40
    found = sg.extract(mel_file, corpus, output, format=format, workers=2)
    assert found.files == 40
    assert 0 < found.now_files < 36
    assert read(index)["path"].to_pylist() == names(corpus)
    assert set(leftovers(output)) <= {"index", "features", *(f"shard-{number:05d}.tar" for number in range(40))}
    if format == "parquet":
        check_table(read(index), corpus, mel_file)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped(corpus: Path, mel_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    """By Ctrl-C or by what stops a service: at once, with a word on how to go on, and with nothing half written."""
    start = f"from specgraph.runtimes.extract import crew; crew.START = {before(SLOW)!r}"
    code = f"import sys; sys.path[:] = {sys.path!r}; {start}; from specgraph.cli import main; main()"
    big = tmp_path / "list.txt"
    big.write_text("\n".join(str(corpus / name) for name in names(corpus)))
    with subprocess.Popen(
        [sys.executable, "-c", code, "extract", str(mel_file), str(big), "-o", str(tmp_path / "out"), "--workers", "1"],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        limit = time.monotonic() + 60
        while not list(tmp_path.glob("out/_work-*/.specgraph-*.parquet")) and time.monotonic() < limit:
            time.sleep(0.01)
        os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
    assert leftovers(tmp_path / "out") == []
    assert sg.extract(mel_file, big, tmp_path / "out").files == 40


@pytest.mark.skipif(os.name == "nt", reason="limits of a process")
@pytest.mark.parametrize("format", ["parquet", "npy", "webdataset"])
def test_full_disk(corpus: Path, mel_file: Path, tmp_path: Path, format: str) -> None:
    """Simulated by a limit on the size of a file: what cannot be written is said once, and nothing is half written."""
    import resource

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (7000, 7000))

    output = tmp_path / "out"
    output.mkdir()
    with driver(mel_file, corpus, output, format, preexec_fn=limited) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    last = said.decode().strip().splitlines()[-1]
    assert "cannot be written" in last, said.decode()
    assert "File too large" in last or "file too large" in last
    assert not [path for path in output.rglob("*") if path.name.startswith((".", "_work", "_lock"))]
    assert sg.extract(mel_file, corpus, output, format=format).files == 40


def test_a_part_that_was_changed_is_made_anew(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    sg.extract(mel_file, corpus, tmp_path / "out", part_bytes=50_000)
    first, second, third = sorted((tmp_path / "out").glob("part-*.parquet"))[:3]
    first.write_bytes(second.read_bytes())
    second.write_bytes(second.read_bytes()[:100])
    third.unlink()
    assert 3 <= sg.extract(mel_file, corpus, tmp_path / "out").now_files < 40
    check_table(read(tmp_path / "out"), corpus, mel_file)


def test_what_another_job_wrote_is_not_touched(corpus: Path, mel_file: Path, plain_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    sg.extract(mel_file, corpus, out)
    for how, words in (({"format": "npy"}, "of --format parquet, not of --format npy"), ({"on_damage": "salvage"}, "--on-damage skip, not of")):
        with pytest.raises(ValueError, match=words):
            sg.extract(mel_file, corpus, out, **how)
    with pytest.raises(ValueError, match="holds a job of another model, not of this one"):
        sg.extract(plain_file, corpus, out)
    with pytest.raises(ValueError, match=r"holds a job of .*corpus.*, not of .*a; choose"):
        sg.extract(mel_file, corpus / "a", out)
    with pytest.raises(ValueError, match="is not empty and holds no job"):
        sg.extract(mel_file, corpus, corpus)
    sg.extract(mel_file, corpus / "a", tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="exists, and is not what this job would write"):
        sg.extract(mel_file, corpus / "b", tmp_path / "a.parquet")


# What was wrong, and what is right now

MENDED = {"bad/text.wav", "bad/cut.wav", "bad/hole.flac", "gone.wav"}


@pytest.fixture
def mended(corpus: Path, tmp_path: Path) -> Callable[[], Path]:
    """A corpus with a missing file, of which some are mended when this is called."""
    copy = tmp_path / "corpus"
    shutil.copytree(corpus, copy)
    listing = tmp_path / "corpus.txt"
    listing.write_text("".join(f"corpus/{name}\n" for name in [*names(corpus), "gone.wav"]))

    def mend() -> Path:
        for name in MENDED:
            (copy / name).write_bytes(held("FLAC" if name.endswith("flac") else "WAV"))
        (copy / "a" / "000.wav").unlink()  # which is done, and stays so
        return listing

    return mend


def check_mended(table, before, features: str = "features") -> None:
    """Each file once; what was right is as it was, and what was mended has features."""
    assert table["path"].to_pylist() == before["path"].to_pylist()
    for row, old in zip(table.to_pylist(), before.to_pylist(), strict=True):
        if row["path"].removeprefix("corpus/") in MENDED:
            assert old["error"] is not None
            assert (row["error"], row["duration"]) == (None, 1.0)
            assert row[features] is not None
        else:
            assert row == old


@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_retry_errors(mended, mel_file: Path, tmp_path: Path, output: str) -> None:
    done = sg.extract(mel_file, tmp_path / "corpus.txt", tmp_path / output, workers=2, part_bytes=50_000)
    assert done.wrong == 13
    before = read(tmp_path / output)
    listing = mended()
    again = sg.extract(mel_file, listing, tmp_path / output, workers=2, part_bytes=50_000)
    assert (again.now_files, again.wrong) == (0, 13)
    found = sg.extract(mel_file, listing, tmp_path / output, workers=2, part_bytes=50_000, retry_errors=True)
    assert (found.files, found.now_files, found.wrong) == (41, 13, 9)
    check_mended(read(tmp_path / output), before)
    assert {path.name for path in tmp_path.iterdir()} == {output, "corpus", "corpus.txt"}


@pytest.mark.parametrize("format", ["npy", "webdataset"])
def test_retry_errors_of_other_formats(mended, mel_file: Path, tmp_path: Path, format: str) -> None:
    out = tmp_path / "out"
    sg.extract(mel_file, tmp_path / "corpus.txt", out, workers=2, part_bytes=50_000, format=format)
    before, files = read(out / "index"), contents(out)
    found = sg.extract(mel_file, mended(), out, workers=2, format=format, retry_errors=True)
    assert found.wrong == 9
    check_mended(read(out / "index"), before, "file" if format == "npy" else "key")
    after = contents(out)
    assert {key: after[key] for key in files} == files
    run = sg.load(mel_file)
    for row in read(out / "index").to_pylist():
        if row["path"].removeprefix("corpus/") in MENDED:
            wanted = run(read_audio(tmp_path / row["path"], RATE).samples)
            key = row["file"] if format == "npy" else f"{row['key']}.npy"
            np.testing.assert_allclose(np.load(io.BytesIO(after[key])), wanted, rtol=1e-5, atol=1e-5)


def contents(folder: Path) -> dict[str, bytes]:
    """What was written beside the index, by name; of tar files what they hold."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("features/**/*.npy")}
    for shard in folder.glob("*.tar"):
        with tarfile.open(shard) as tar:
            found |= {member.name: tar.extractfile(member).read() for member in tar}
    return found


def test_killed_while_parts_are_removed(corpus: Path, mel_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the merge: the same command finds the file done, whichever of its parts are left."""
    output = tmp_path / "out.parquet"
    unlink, left = Path.unlink, [2]

    def killed(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("part-") and output.exists():
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
        unlink(path, missing_ok)

    def removed(folder: Path, **_: object) -> None:
        for path in sorted(folder.iterdir()):  # _manifest.jsonl is the first
            path.unlink()
        folder.rmdir()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        patch.setattr(shutil, "rmtree", removed)
        with pytest.raises(KeyboardInterrupt):
            sg.extract(mel_file, corpus, output, workers=2, part_bytes=50_000)
    before = read(output)
    assert (tmp_path / "out.parquet.parts").is_dir()
    again = sg.extract(mel_file, corpus, output, workers=2, part_bytes=50_000)
    assert (again.files, again.now_files) == (before.num_rows, 0)
    assert read(output).equals(before)
    assert [path.name for path in tmp_path.iterdir()] == ["out.parquet"]


def test_retry_that_is_no_better(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    """Salvaged features are not lost to a file that has gone since."""
    shutil.copytree(corpus, tmp_path / "in")
    sg.extract(mel_file, tmp_path / "in", tmp_path / "out", workers=1, on_damage="salvage")
    before = read(tmp_path / "out")
    (tmp_path / "in" / "bad" / "cut.flac").unlink()
    found = sg.extract(mel_file, tmp_path / "in", tmp_path / "out", workers=1, on_damage="salvage", retry_errors=True)
    assert found.now_files == found.wrong == 12
    assert read(tmp_path / "out").equals(before)


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("output", ["out", "out.parquet"])
def test_retry_that_is_killed(mended, mel_file: Path, tmp_path: Path, output: str) -> None:
    """Rows that were right are there at every moment, and in the end each file once."""
    sg.extract(mel_file, tmp_path / "corpus.txt", tmp_path / output, workers=2, part_bytes=1)
    before = read(tmp_path / output)
    good = {row["path"] for row in before.to_pylist() if row["error"] is None}
    listing = mended()
    with driver(mel_file, listing, tmp_path / output, retry_errors=True, dies_at=2.0) as process:  # two of the four that are mended; a third may be in hand
        assert process.wait(60) == -signal.SIGKILL
    rows = read(tmp_path / output).to_pylist()
    assert [row["path"] for row in rows] == before["path"].to_pylist()
    assert good <= {row["path"] for row in rows if row["error"] is None}
    parts_of = tmp_path / (output if output == "out" else "out.parquet.parts")
    assert retried(parts_of) <= 3
    found = sg.extract(mel_file, listing, tmp_path / output, workers=2, part_bytes=1, retry_errors=True)
    assert (found.files, found.wrong) == (41, 9)
    assert 10 <= found.now_files <= 13
    check_mended(read(tmp_path / output), before)


def retried(folder: Path) -> int:
    """How many mended files have features."""
    rows = [row for part in sorted(folder.glob("part-*")) for row in pq.read_table(part, columns=["path", "error"]).to_pylist()]
    return sum(row["error"] is None and row["path"].removeprefix("corpus/") in MENDED for row in rows)


def test_one_at_a_time(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")

    def second(done: int, files: int, seconds: float) -> None:
        if done == 0:
            with pytest.raises(ValueError, match="is being written by another specgraph extract"):
                sg.extract(mel_file, corpus, tmp_path / "out")

    sg.extract(mel_file, corpus, tmp_path / "out", report=second)
    check_table(read(tmp_path / "out"), corpus, mel_file)


# The corpus


@pytest.fixture
def manifest(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / "lists" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def test_manifests(manifest, tmp_path: Path) -> None:
    sound(tmp_path / "lists", 2)
    first, second = "a/000.wav", "b/001.flac"
    texts = {
        "files.txt": f"{second}\n\n{first}\n./{first}\n",
        "files.csv": f"text,path\nx,{second}\n\"y, z\",{first}\nw,./{first}\n",
        "nemo.jsonl": "".join(json.dumps({"audio_filepath": name, "duration": 1}) + "\n" for name in (second, first, f"./{first}")),
    }
    for name, text in texts.items():
        corpus = read_corpus(manifest(name, text))
        files, again = corpus.inputs, corpus.again
        assert [file.path for file in files] == [f"./{first}", second]
        assert again == [first]
        assert [file.name for file in files] == [first, second]
        assert all(Path(file.file).stat().st_size == file.size > 0 for file in files)
    outside = tmp_path / "elsewhere" / "c.wav"
    files = read_corpus(manifest("out.txt", f"../elsewhere/d.wav\n{outside}\n{first}\n")).inputs
    assert [file.name for file in files] == ["elsewhere/d.wav", "elsewhere/c.wav", "lists/a/000.wav"]


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("files.csv", "file,text\na.wav,x\n", "has no column path or audio_filepath; it has file, text"),
        ("files.jsonl", '{"path": "a.wav"}\nno json\n', "line 2 of .* is not a JSON object"),
        ("files.jsonl", '{"text": "a"}\n', "line 1 of .* names no file"),
        ("files.txt", "\n  \n", "names no file"),
        ("files.csv", f"path\n{'a' * 200_000}\n", "line 2 of .* cannot be read: field larger"),
        ("files.csv", f"path,{'a' * 200_000}\na.wav,1\n", "line 1 of .* cannot be read: field larger"),
        ("files.csv", 'path\na.wav\n"b.wav\nc.wav\n', "line 3 of .* cannot be read: unexpected end of data"),
        ("files.csv", "path,offset\na.wav,1,5\n", "line 2 of .* has more values than there are columns; quote those"),
        ("files.jsonl", "[" * 100_000, "line 1 of .* is not a JSON object"),
        ("files.jsonl", '{"path": "a.wav"}\n{"path": "\\ud800.wav"}\n', r"line 2 of .* names '\\ud800.wav', which no file can be called"),
        ("speech.wav", "x", "is neither a folder nor a manifest"),
    ],
)
def test_manifests_that_are_refused(manifest, name: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_corpus(manifest(name, text))


def test_columns_of_manifests(manifest) -> None:
    """A space in a header hides no offset; nothing behind the last column is nothing; path may be null where audio_filepath is not."""
    for name, text in (
        ("files.csv", " path, offset ,duration\na.wav, 1.5,-0.0,,\n"),
        ("files.jsonl", '{"path": null, "audio_filepath": "a.wav", "offset": 1.5}\n'),
    ):
        assert [(file.path, file.offset, file.duration) for file in read_corpus(manifest(name, text)).inputs] == [("a.wav", 1.5, None)]
    (file,) = read_corpus(manifest("files.csv", "path,offset\na.wav,-0.0\n")).inputs
    assert str(file.offset) == "0.0"


def test_manifests_from_windows(manifest, tmp_path: Path) -> None:
    sound(tmp_path / "lists", 2)
    for name, text in (
        ("files.txt", "\ufeffa/000.wav\r\n \r\n\r\nb/001.flac"),
        ("files.csv", "\ufeffpath,text\r\na/000.wav,x\r\n\r\nb/001.flac,y\r\n"),
        ("files.jsonl", '\ufeff{"path": "a/000.wav"}\r\n\r\n{"path": "b/001.flac"}\r\n'),
    ):
        path = manifest(name, "")
        path.write_bytes(text.encode())
        assert [file.path for file in read_corpus(path).inputs] == ["a/000.wav", "b/001.flac"]


PARTS = [(0.0, 0.5), (0.0, 1.25), (1.0, None), (1.0, 0.5), (2.123, 0.333)]  # of two and a half seconds


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("rate", [RATE, 44100])
def test_parts_of_a_file(tmp_path: Path, mel_file: Path, kind: str, rate: int) -> None:
    """Each is what a file of just these samples gives."""
    soundfile.write(tmp_path / f"long.{kind}", noise(2.5, rate), rate)
    run = sg.load(mel_file)
    whole, _ = soundfile.read(tmp_path / f"long.{kind}", dtype="float32")
    held = (tmp_path / f"long.{kind}").read_bytes()
    table = sg.extract_batch(run, [("long", held, *part) for part in PARTS])
    assert sg.extract_batch(run, [("long", tmp_path / f"long.{kind}", *part) for part in PARTS]).equals(table)
    for row, (offset, duration) in zip(table.to_pylist(), PARTS, strict=True):
        first = round(offset * rate)
        cut = whole[first:] if duration is None else whole[first : first + round(duration * rate)]
        soundfile.write(tmp_path / "part.wav", cut, rate, subtype="FLOAT")
        (wanted,) = sg.extract_batch(run, [tmp_path / "part.wav"]).to_pylist()
        assert (row["error"], row["offset"]) == (None, offset)
        assert (row["frames"], row["duration"]) == (wanted["frames"], wanted["duration"])
        np.testing.assert_allclose(row["features"], wanted["features"], rtol=1e-5, atol=1e-4)  # decibels


def test_parts_that_are_not_there(tmp_path: Path, mel_file: Path) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2.0), RATE)
    cut = held("FLAC", 2.0)
    (tmp_path / "cut.flac").write_bytes(cut[: len(cut) // 2])
    asked = [("a.wav", 1.5, 9.0), ("a.wav", 2.0, None), ("a.wav", -1.0, None), ("a.wav", 0.0, float("inf")), ("cut.flac", 0.25, 0.25), ("cut.flac", 1.5, 0.25)]
    rows = sg.extract_batch(mel_file, [(name, tmp_path / name, *part) for name, *part in asked]).to_pylist()
    assert [(row["duration"], row["error"] and row["error"].partition(":")[0]) for row in rows] == [
        (0.5, None), (0, "no samples"), (0, "no samples"), (0, "no samples"), (0.25, None), (0, "damaged")
    ]  # fmt: skip
    assert rows[1]["error"] == "no samples: a.wav is 2 seconds long, and the part that is wanted begins at 2"


def test_manifest_of_parts(manifest, tmp_path: Path, mel_file: Path) -> None:
    """As NeMo writes it: parts of one file are items of their own, each once, in every format."""
    sound(tmp_path / "lists", 2)
    soundfile.write(tmp_path / "lists" / "long.wav", noise(2.5), RATE)
    entries = [("long.wav", *part) for part in PARTS] + [("a/000.wav", 0.05, 0.1), ("b/001.flac", None, 0.1), ("long.wav", 0, 0.5)]
    lines = [json.dumps({"audio_filepath": path, "offset": offset, "duration": duration, "text": "x"}) for path, offset, duration in entries]
    nemo = manifest("nemo.json", "\n".join(lines))
    table = "path,offset,duration\n" + "".join(f"{path},{offset or ''},{duration or ''}\n" for path, offset, duration in entries)
    assert read_corpus(manifest("parts.csv", table)) == read_corpus(nemo)
    files = read_corpus(nemo).inputs
    assert read_corpus(nemo).again == ["long.wav"]
    assert [file.name for file in files[2:]] == ["long.wav@0.0+0.5", "long.wav@0.0+1.25", "long.wav@1.0+0.5", "long.wav@1.0", "long.wav@2.123+0.333"]
    assert sum(file.size for file in files[2:]) == pytest.approx((tmp_path / "lists" / "long.wav").stat().st_size, abs=5)
    wanted = sg.extract_batch(mel_file, [(file.path, file.file, file.offset, file.duration) for file in files])
    assert wanted["error"].null_count == len(files) == 7
    sg.extract(mel_file, nemo, tmp_path / "out", workers=2, part_bytes=1)
    assert read(tmp_path / "out").equals(wanted)
    sg.extract(mel_file, nemo, tmp_path / "npy", workers=1, format="npy")
    for file, features in zip(files, wanted["features"].to_pylist(), strict=True):
        np.testing.assert_array_equal(np.load(tmp_path / "npy" / "features" / f"{file.name}.npy").T, features)


@pytest.mark.parametrize("wrong", ['"offset": -1', '"offset": "soon"', '"duration": NaN', '"duration": true', '"offset": 1e400'])
def test_manifest_of_wrong_parts(manifest, wrong: str) -> None:
    with pytest.raises(ValueError, match="line 1 of .* has (offset|duration) .*, which is not a number of seconds"):
        read_corpus(manifest("a.jsonl", f'{{"path": "a.wav", {wrong}}}'))


def test_a_name_too_long_for_an_npy_file_is_said_before_anything_is_computed(mel_file: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    name = "é" * 124 + ".wav"  # 252 bytes
    soundfile.write(tmp_path / "in" / name, noise(0.5), RATE)
    with pytest.raises(ValueError, match=r"\.npy is a longer name than a file can have"):
        sg.extract(mel_file, tmp_path / "in", tmp_path / "out", format="npy", workers=1)
    assert not (tmp_path / "out").exists()
    assert sg.extract(mel_file, tmp_path / "in", tmp_path / "out", format="webdataset", workers=1).wrong == 0


@pytest.mark.parametrize(("dtype", "channels"), [("int16", 1), ("int16", 2), ("float32", 2)])
def test_models_of_recorded_sound(tmp_path: Path, dtype: str, channels: int) -> None:
    mel = sg.MelSpectrogram(sample_rate=RATE, n_fft=400, hop_length=160, n_mels=40)
    sg.to_onnx(sg.with_input(mel, dtype=dtype, channels=channels), tmp_path / "mel.onnx")
    stereo = noise(0.5, channels=2)
    soundfile.write(tmp_path / "two\nlines.wav", stereo, RATE, subtype="PCM_16")
    (row,) = sg.extract_batch(tmp_path / "mel.onnx", [tmp_path / "two\nlines.wav"]).to_pylist()
    assert row["error"] is None
    recorded = soundfile.read(tmp_path / "two\nlines.wav", dtype="int16")[0]
    clip = recorded.T if channels == 2 else np.rint(recorded.mean(axis=1, dtype=np.float64)).astype(np.int16)
    wanted = sg.load(tmp_path / "mel.onnx")(clip if dtype == "int16" else clip.astype(np.float32) / 32768)
    np.testing.assert_allclose(np.array(row["features"], np.float32).T, wanted, rtol=1e-4, atol=1e-5 * wanted.max())


def test_a_name_that_is_not_utf8(mel_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    try:
        (folder / os.fsdecode(b"caf\xe9.wav")).write_bytes(held("WAV"))
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    sg.extract(mel_file, folder, tmp_path / "out.parquet")
    assert read(tmp_path / "out.parquet")["path"].to_pylist() == ["caf\\xe9.wav"]
    assert read(tmp_path / "out.parquet")["error"].to_pylist() == [None]


def test_batches_are_the_same_for_the_same_files(corpus: Path) -> None:
    files = read_corpus(corpus).inputs
    batches = planned(files, 50_000)
    assert [file for batch in batches for file in batch.inputs] == files
    assert all(batch.bytes <= 50_000 or len(batch.inputs) == 1 for batch in batches)
    assert planned(files, 50_000) == batches
    assert [batch.number for batch in batches] == list(range(len(batches)))


# The command


def test_command(cli, corpus: Path, mel_file: Path) -> None:
    code, out, err = cli("extract", mel_file, corpus, "-o", "features.parquet", "--workers", "2")
    assert code == 0
    assert "28 of 40 files" in out
    assert "times real time" in out
    assert "12 files with errors: 6 damaged, 2 not audio, 1 empty" in err
    assert all(sentence in err for sentence in BAD.values())
    check_table(read(Path("features.parquet")), corpus, mel_file)
    code, out, _ = cli("extract", mel_file, corpus, "-o", "features.parquet")
    assert code == 0
    assert "all of it was there already" in out
    code, out, err = cli("extract", mel_file, corpus, "-o", "again", "--on-damage", "fail")
    assert code == 1
    assert "12 files with errors" in err
    check_table(read(Path("again")), corpus, mel_file)
    code, out, err = cli("extract", mel_file, corpus / "a", "-o", "good", "--on-damage", "fail")
    assert (code, err) == (0, "")


def test_command_refuses(cli, corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    Path("text.onnx").write_text("not a model")
    Path("empty").mkdir()
    Path("file").write_text("x")
    sg.to_onnx(sg.InverseSpectrogram(sample_rate=RATE, n_fft=512), "back.onnx")
    refused = [
        (("none.onnx", corpus), "there is no file none.onnx"),
        (("text.onnx", corpus), "text.onnx is not"),
        (("back.onnx", corpus), "takes features, not audio"),
        ((mel_file, "nowhere"), "there is no folder or manifest nowhere"),
        ((mel_file, "empty"), "there is no audio in empty"),
        ((mel_file, "file"), "is neither a folder nor a manifest"),
        ((mel_file, corpus, "--format", "csv"), "format must be 'parquet', 'npy' or 'webdataset', not 'csv'"),
        ((mel_file, corpus, "--on-damage", "stop"), "on_damage must be 'fail', 'salvage' or 'skip', not 'stop'"),
        ((mel_file, corpus, "--workers", "0"), "workers must be a whole number above 0"),
        ((mel_file, corpus, "--engine", "spark"), "engine must be 'local' or 'ray', not 'spark'"),
        ((mel_file, corpus, "--num-gpus", "1"), "belong to the engine ray"),
    ]
    for arguments, sentence in refused:
        code, out, err = cli("extract", *arguments, "-o", "out")
        assert (code, out) == (1, "")
        assert sentence in one_sentence(err)
    assert not Path("out").exists()
    for output, format, sentence in (("file", "parquet", "file is a file"), ("x.parquet", "npy", "names a folder" ), ("no/out", "parquet", "the folder no does not exist")):
        code, _, err = cli("extract", mel_file, corpus, "-o", output, "--format", format)
        assert code == 1
        assert sentence.replace("names a folder", "name a folder") in one_sentence(err)
