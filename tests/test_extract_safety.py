"""What extraction must not do: touch what it did not write, mix two jobs or two models, or lose in silence what it was given."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph import files as files_module
from specgraph.audio import read_audio
from specgraph.files import whole
from specgraph.folders import audio_below
from specgraph.runtimes.extract import crew as crews
from specgraph.runtimes.extract import lock as locks
from specgraph.runtimes.extract import on_ray
from specgraph.runtimes.extract import run as runs
from specgraph.runtimes.extract.inputs import read_corpus
from specgraph.runtimes.extract.job import Job, Settings
from specgraph.runtimes.extract.names import check_case, is_inside, names_of, part_suffix, readable, unreadable
from tests.conftest import one_sentence
from tests.corpus import RATE, held, noise, sound

pq = pytest.importorskip("pyarrow.parquet")
posix = pytest.mark.skipif(os.name == "nt", reason="links, signals and pipes")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    sound(folder, 6)
    return folder


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the shape of ``mel_file`` with other numbers."""
    path = tmp_path_factory.mktemp("models") / "other.onnx"
    sg.to_onnx(sg.MelSpectrogram(sample_rate=RATE, n_fft=400, hop_length=160, n_mels=40), path)
    return path


def everything(folder: Path) -> dict[str, bytes | str | None]:
    """What is below a folder: files by content, links by where they lead."""
    found: dict[str, bytes | str | None] = {}
    for path in folder.rglob("*"):
        found[path.relative_to(folder).as_posix()] = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
    return found


# What is in the output already

FOREIGN = (".git/config", ".part-00000.abc.parquet", "._manifest.x.jsonl", ".shard-00000.tar", ".merged.parquet", ".cache/part-00000.parquet")


@pytest.mark.parametrize("format", ["parquet", "npy", "webdataset"])
def test_hidden_entries_of_the_user_stay(corpus: Path, mel_file: Path, tmp_path: Path, format: str) -> None:
    for name in FOREIGN:
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text("mine")
    before = everything(tmp_path / "out")
    for _ in range(2):
        assert sg.extract(mel_file, corpus, tmp_path / "out", format=format, workers=1).files == 6
        after = everything(tmp_path / "out")
        assert {name: after.get(name, "gone") for name in before} == before
        assert not [name for name in after if name.startswith(("_work", "_lock"))]


@pytest.mark.parametrize("name", ["x.parts/a", "part-00000.parquet", "_part-00000-abc/0", "_work-0123456789abcdef/model.onnx", "_lock", "index/a", "notes"])
def test_a_folder_of_something_else_is_refused_and_stays(corpus: Path, mel_file: Path, tmp_path: Path, name: str) -> None:
    for output, folder in (("out", "out"), ("out.parquet", "out.parquet.parts")):
        (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / name).write_text("mine")
        before = everything(tmp_path)
        with pytest.raises(ValueError, match=rf"{folder} is not empty and holds no job of specgraph extract; choose another output"):
            sg.extract(mel_file, corpus, tmp_path / output)
        assert everything(tmp_path) == before


def test_a_folder_that_was_there_stays(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.parquet.parts").mkdir()
    sg.extract(mel_file, corpus, tmp_path / "out.parquet", workers=1)
    assert everything(tmp_path).keys() == {"out.parquet", "out.parquet.parts"}


def test_what_comes_into_a_job_meanwhile_stays(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    def put(done: int, files: int, seconds: float) -> None:
        parts = tmp_path / "out.parquet.parts"
        (work,) = parts.glob("_work-*")
        for name in ("notes.txt", "part-00099.parquet", ".hidden/x", f"{work.name}/mine.txt"):
            (parts / name).parent.mkdir(exist_ok=True)
            (parts / name).write_text("mine")

    sg.extract(mel_file, corpus, tmp_path / "out.parquet", workers=1, report=put)
    left = everything(tmp_path / "out.parquet.parts")
    assert {name.split("/")[-1] for name, held in left.items() if held == b"mine"} == {"notes.txt", "part-00099.parquet", "x", "mine.txt"}
    assert not [name for name, content in left.items() if content not in (None, b"mine")]


@posix
def test_links_and_folders_by_the_names_of_a_job(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    sg.extract(mel_file, corpus, tmp_path / "out", workers=1)
    (tmp_path / "precious").write_text("precious")
    part = tmp_path / "out" / "part-00000.parquet"
    part.unlink()
    part.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match=r"part-00000\.parquet is a link, which specgraph did not make and does not replace"):
        sg.extract(mel_file, corpus, tmp_path / "out", workers=1)
    part.unlink()
    part.mkdir()
    with pytest.raises(OSError, match="is a folder, which specgraph did not make"):
        sg.extract(mel_file, corpus, tmp_path / "out", workers=1)
    (tmp_path / "elsewhere").mkdir()
    sg.extract(mel_file, corpus, tmp_path / "npy", workers=1, format="npy")
    shutil.rmtree(tmp_path / "npy" / "features")
    (tmp_path / "npy" / "features").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "npy" / "index" / "part-00000.parquet").unlink()
    with pytest.raises(OSError, match="features is a link or a file, where a folder is to be"):
        sg.extract(mel_file, corpus, tmp_path / "npy", workers=1, format="npy")
    assert not list((tmp_path / "elsewhere").iterdir())
    assert (tmp_path / "precious").read_text() == "precious"


@posix
def test_outputs_that_are_links(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "real").mkdir()
    for name, leads in (("a.parquet", "precious"), ("folder", "real"), ("b.parquet", "real/b.parquet"), ("c.parquet", "no/c"), ("d.parquet", "d.parquet"), ("e", "e")):
        (tmp_path / name).symlink_to(tmp_path / leads)
    for name, words in (
        ("a.parquet", "precious exists, and is not what this job would write"),
        ("c.parquet", "the folder .*no does not exist"),
        ("d.parquet", "is a link that leads to itself"),
        ("e", "is a link that leads nowhere"),
    ):
        with pytest.raises((OSError, ValueError), match=words):
            sg.extract(mel_file, corpus, tmp_path / name, workers=1)
    sg.extract(mel_file, corpus, tmp_path / "folder", workers=1)
    sg.extract(mel_file, corpus, tmp_path / "b.parquet", workers=1)
    assert (tmp_path / "precious").read_text() == "precious"
    assert (tmp_path / "b.parquet").is_symlink()
    assert {path.name for path in (tmp_path / "real").iterdir()} == {"b.parquet", "part-00000.parquet", "_manifest.jsonl"}


@pytest.mark.parametrize("name", ["x.h5", "x.npy", "x.npz", "x.tar", "x.CSV", "x.jsonl"])
def test_suffixes_that_are_no_format(corpus: Path, mel_file: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"is not a format that is written; name a file that ends in \.parquet, or a folder with --format parquet, npy or webdataset"):
        sg.extract(mel_file, corpus, tmp_path / name)
    assert not list(tmp_path.iterdir())


@posix
def test_an_output_that_is_not_utf8_is_refused(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not UTF-8, and Parquet files are written to such paths alone"):
        sg.extract(mel_file, corpus, tmp_path / os.fsdecode(b"out\xe9"))
    assert not list(tmp_path.iterdir())


# One job at a time

HOLD = """
import sys, time
sys.path[:] = {path!r}
from pathlib import Path
from specgraph.runtimes.extract.lock import alone
with alone(Path({folder!r})) as held:
    {then}
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path, then: str = "pass") -> subprocess.Popen[str]:
    """A process that holds a folder."""
    code = HOLD.format(path=sys.path, folder=str(folder), then=then)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@posix
def test_the_lock_comes_first_and_says_who_holds_it(corpus: Path, tmp_path: Path) -> None:
    """Before the model or the corpus is looked at."""
    with holder(tmp_path / "out") as process:
        before = everything(tmp_path)
        with pytest.raises(ValueError, match=rf"is being written by another specgraph extract \(process {process.pid} on \S+, since \d+-.*: -c\); wait for it"):
            sg.extract("no model", "no corpus", tmp_path / "out")
        assert everything(tmp_path) == before
        process.kill()


@posix
def test_what_a_killed_job_left_is_removed_by_name(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with holder(out, '(held.work / ".specgraph-abc.parquet").write_text("x"); (held.work / "mine").write_text("mine")') as process:
        process.kill()
    other = out / "_work-0123456789abcdef"  # by the right name, and of nobody that is recorded
    other.mkdir()
    (other / "model.onnx").write_text("mine")
    with pytest.raises(ValueError, match="is not empty and holds no job"):
        sg.extract(mel_file, corpus, out)
    shutil.rmtree(other)
    assert sg.extract(mel_file, corpus, out, workers=1).files == 6
    left = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith("part-")]
    assert sorted(path.name for path in left) == ["_manifest.jsonl", "mine"]


@posix
def test_the_lock_lasts_as_long_as_any_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.3)
    then = "import subprocess; print(subprocess.Popen(['sleep', '60'], pass_fds=[held.file], stdout=subprocess.DEVNULL).pid, file=sys.stderr, flush=True)"
    code = HOLD.format(path=sys.path, folder=str(tmp_path / "out"), then=then)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        worker = int(process.stderr.readline())
        process.stdout.readline()
        process.kill()
        process.wait()
        with pytest.raises(ValueError, match="which has ended and left others running"), locks.alone(tmp_path / "out"):
            pass
        os.kill(worker, signal.SIGKILL)
    with locks.alone(tmp_path / "out") as found:
        assert found.made


@posix
def test_a_worker_ends_with_the_job_that_started_it(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    """Whatever it has in hand: nothing of a killed job is written later."""
    slow = crews.START.replace("; from", "\nimport time, specgraph.decoding as d\nd.Decoder = lambda *given: time.sleep(60)\nfrom", 1)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\nfrom specgraph.runtimes.extract import crew, run\ncrew.START = {slow!r}\n"
        f"run.extract({str(mel_file)!r}, {str(corpus)!r}, {str(tmp_path / 'out')!r}, workers=1)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        limit = time.monotonic() + 60
        while not list(tmp_path.glob("out/_work-*/.specgraph-*.parquet")) and time.monotonic() < limit:
            time.sleep(0.01)
        process.kill()
    began = time.monotonic()
    with locks.alone(tmp_path / "out"):
        assert time.monotonic() - began < locks.PATIENCE / 2


def test_without_locks_the_record_decides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has none, such as some that are mounted over a network."""
    monkeypatch.setattr(locks, "_try", lambda file: None)
    out = tmp_path / "out"
    with locks.alone(out), pytest.raises(ValueError, match=f"process {os.getpid()} on"), locks.alone(out):
        pass
    out.mkdir()
    record = {"pid": 2**22 + 1, "host": locks.socket.gethostname(), "since": "", "command": "", "made": True, "work": []}
    (out / "_lock").write_text(json.dumps({"specgraph extract": record}))
    with locks.alone(out):  # of a process that is gone
        pass
    assert not out.exists()


# One model


def test_a_model_that_is_replaced_changes_nothing(
    corpus: Path, mel_file: Path, other_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that starts after that runs what the job began with; the job is not resumed with what the file holds now."""
    model = Path(shutil.copy(mel_file, tmp_path / "model.onnx"))
    made: list[crews.Crew] = []
    crew = crews.Crew
    monkeypatch.setattr(runs, "Crew", lambda *given: made.append(crew(*given)) or made[-1])

    def replace(done: int, files: int, seconds: float) -> None:
        if done == 2 and model.read_bytes() != other_file.read_bytes():
            shutil.copy(other_file, tmp_path / "new")
            os.replace(tmp_path / "new", model)
            made[0]._workers[0].process.kill()

    sg.extract(model, corpus, tmp_path / "out", workers=1, part_bytes=1, report=replace)
    run = sg.load(mel_file)
    for row in pq.read_table(tmp_path / "out").to_pylist():
        np.testing.assert_allclose(np.array(row["features"], np.float32).T, run(read_audio(corpus / row["path"], RATE).samples), rtol=1e-5, atol=1e-4)
    with pytest.raises(ValueError, match=r"holds a job of another model, not of this one \(SHA-256 .*\); choose another output"):
        sg.extract(model, corpus, tmp_path / "out")


def test_a_batch_is_of_the_model_that_is_there(corpus: Path, mel_file: Path, other_file: Path, tmp_path: Path) -> None:
    """One of the same size and time of writing, too."""
    files = sorted(corpus.rglob("*.wav"))[:1]
    wanted = [sg.extract_batch(model, files) for model in (mel_file, other_file)]
    for model, table in zip((mel_file, other_file), wanted, strict=True):
        shutil.copy(model, tmp_path / "new.onnx")
        os.utime(tmp_path / "new.onnx", ns=(10**18, 10**18))
        os.replace(tmp_path / "new.onnx", tmp_path / "model.onnx")
        assert sg.extract_batch(tmp_path / "model.onnx", files).equals(table)


def test_the_copy_of_the_model_is_checked(corpus: Path, mel_file: Path, other_file: Path, tmp_path: Path) -> None:
    def spoil(done: int, files: int, seconds: float) -> None:
        (copy,) = tmp_path.glob("out/_work-*/model.onnx")
        shutil.copy(other_file, copy)

    with pytest.raises(ValueError, match="is not what the job began with"):
        sg.extract(mel_file, corpus, tmp_path / "out", workers=1, report=spoil)


def test_an_actor_of_ray_runs_the_model_that_the_job_began_with(corpus: Path, mel_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ray calls it, in place of a cluster; ``test_extract_ray.py`` has one."""

    def events(how, pending, *rest):
        actor = on_ray.Actor(json.loads(json.dumps(how)))
        for batch in pending:
            done = actor({"batch": json.dumps(dataclasses.asdict(batch))})
            assert done["failed"] == ""
            yield crews.Event(done["files"], done["seconds"], batch)
        actor._crew.close()

    monkeypatch.setattr(on_ray, "events", events)
    found = sg.extract(mel_file, corpus, tmp_path / "ray", engine="ray")
    assert (found.files, found.now_files, found.wrong) == (6, 6, 0)
    sg.extract(mel_file, corpus, tmp_path / "local", workers=1)
    assert pq.read_table(tmp_path / "ray").equals(pq.read_table(tmp_path / "local"))
    assert {path.name for path in (tmp_path / "ray").iterdir()} == {"_manifest.jsonl", "part-00000.parquet"}


# The manifest of a job that is resumed


@pytest.fixture(scope="module")
def finished(corpus: Path, mel_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a finished job."""
    out = tmp_path_factory.mktemp("finished") / "out"
    sg.extract(mel_file, corpus, out, workers=1, format="npy")
    return out


@pytest.fixture
def begun(finished: Path, tmp_path: Path) -> tuple[Path, Settings]:
    """A copy of it, in a folder of its own, and its settings."""
    out = tmp_path / "deep" / "out"
    shutil.copytree(finished, out)
    head = json.loads((out / "_manifest.jsonl").read_text().splitlines()[0])
    return out, Settings(**{name: head[name] for name in Settings.__dataclass_fields__})


CHANGES = [
    ({"name": "../../pwned"}, "which is not inside"),
    ({"name": "/tmp/pwned"}, "which is not inside"),
    ({"name": "a/./b"}, "which is not inside"),
    ({"name": "a//b"}, "which is not inside"),
    ({"name": ".."}, "which is not inside"),
    ({"name": ""}, "has a field that is not of a file"),
    ({"name": 5}, "has a field that is not of a file"),
    ({"name": "b/004.flac"}, "it names 5 files, and begins with 6"),
    ({"size": -1}, "has a field that is not of a file"),
    ({"offset": "0"}, "has a field that is not of a file"),
    ({"duration": float("nan")}, "has a field that is not of a file"),
    ({"channel": True}, "has a field that is not of a file"),
    ({"part": 7}, "is of part 7, which does not follow"),
    ({"part": None}, "has a field that is not of a file"),
    ({"more": 1}, "has other fields"),
    (None, "is empty"),
    ("[]", "is not a JSON object"),
    ("{", "is not a JSON object"),
]


@pytest.mark.parametrize(("change", "words"), CHANGES)
def test_a_manifest_is_checked_field_by_field(begun, mel_file: Path, corpus: Path, tmp_path: Path, change, words: str) -> None:
    out, _ = begun
    lines = (out / "_manifest.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change) if isinstance(change, dict) else change or ""
    (out / "_manifest.jsonl").write_text("\n".join(lines) + "\n")
    shutil.rmtree(out / "index")
    with pytest.raises(ValueError, match=rf"_manifest\.jsonl is not as specgraph extract wrote it: .*{words}"):
        sg.extract(mel_file, corpus, out, format="npy")
    assert {path.name for path in tmp_path.iterdir()} == {"deep"}
    assert {path.name for path in (tmp_path / "deep").iterdir()} == {"out"}


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "it is empty"), ("\n", "it is empty"), ("x", "line 1 is not a JSON object"), ('{"specgraph": 2}', "begun by another version"), ("{}", "its first line is not of a job")],
)
def test_manifests_that_are_none(corpus: Path, mel_file: Path, tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "_manifest.jsonl").write_text(text)
    with pytest.raises(ValueError, match=words):
        sg.extract(mel_file, corpus, tmp_path / "out")
    assert {name: held for name, held in everything(tmp_path / "out").items()} == {"_manifest.jsonl": text.encode()}


def test_mutants_of_a_manifest(begun) -> None:
    """Whatever a byte becomes, the job is found, all of it inside, or refused in a sentence."""
    out, told = begun
    manifest = out / "_manifest.jsonl"
    text, rng, said = manifest.read_bytes(), np.random.default_rng(0), []
    for _ in range(400):
        changed = bytearray(text)
        for _ in range(rng.integers(1, 4)):
            place, kind = int(rng.integers(len(changed))), rng.integers(3)
            changed[place : place + int(kind != 1)] = b"" if kind == 2 else bytes([rng.choice(list(b'{}[]",:0123456789.-eE\n/\\ntf\xff'))])
        manifest.write_bytes(changed)
        try:
            job = Job.found(out, told)
        except ValueError as error:
            said.append(str(error))
            continue
        assert job is not None
        assert all(is_inside(file.name) for batch in job.batches for file in batch.inputs)
    assert len(said) > 200
    assert all("\n" not in text and str(out) in text for text in said)


# Names

TEXT = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.sampled_from("@.+0159eEx\\npyz#~"), min_size=1, max_size=12)
BYTES = st.lists(st.sampled_from([b"\xe9", b"\\", b"x", b"e", b"9", b"\xc3\xa9", b"a", b"\xff"]), min_size=1, max_size=8).map(b"".join)
PATHS = st.lists(st.lists(TEXT.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join), min_size=1, max_size=8, unique=True)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(BYTES, BYTES)
def test_paths_are_readable_and_back(first: bytes, second: bytes) -> None:
    one, two = first.decode("utf-8", "surrogateescape"), second.decode("utf-8", "surrogateescape")
    readable(one).encode()
    assert unreadable(readable(one)) == one
    assert (readable(one) == readable(two)) == (one == two)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(PATHS, st.sampled_from([0.0, 1.5, 1e-7]), st.sampled_from([None, 2.0]), st.sampled_from([None, 0, 1]))
def test_names_are_unique_and_inside(paths: list[str], offset: float, duration: float | None, channel: int | None) -> None:
    """No two files, no part and no file, and no file and no folder have one name."""
    names = names_of({f"/{path}": path for path in paths})
    written = [f"{name}.npy" for name in names.values()] + [f"{name}{part_suffix(offset, duration, channel)}.npy" for name in names.values()]
    assert len({*written}) == 2 * len(paths)
    assert all(is_inside(name) for name in written)
    folders = {"/".join(name.split("/")[:depth]) for name in written for depth in range(1, name.count("/") + 1)}
    assert not folders & {*written}


@posix
def test_files_that_only_look_the_same(tmp_path: Path, mel_file: Path) -> None:
    """Reached by a link and "..", named in bytes or by what stands for them, a part and a file of its name, a folder named as features are."""
    top = tmp_path / "in"
    (top / "a.wav.npy").mkdir(parents=True)
    (tmp_path / "far" / "deep").mkdir(parents=True)
    (top / "link").symlink_to(tmp_path / "far" / "deep")
    paths = ["a.wav", "link/../a.wav", "a.wav.npy/b.wav", "a.wav@0.0", "lat\\xe9.wav", os.fsdecode(b"lat\xe9.wav")]
    try:
        for number, path in enumerate(paths):
            soundfile.write(os.fsencode(top / path), noise(0.3, seed=number), RATE, format="WAV")
    except (OSError, RuntimeError):
        pytest.skip("this file system has UTF-8 names only")
    lines = [{"path": path} for path in paths] + [{"path": "a.wav", "duration": 0.2}, {"path": "./link//../a.wav"}, {"path": "link/../../in/a.wav"}]
    (top / "list.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = sg.extract(mel_file, top / "list.jsonl", tmp_path / "out", workers=1, format="npy")
    assert (found.files, found.wrong, found.duplicates) == (7, 0, 2)
    run = sg.load(mel_file)
    rows = pq.read_table(tmp_path / "out" / "index").to_pylist()
    assert len({row["file"] for row in rows}) == len({(row["path"], row["duration"]) for row in rows}) == 7
    for row in rows:
        clip = read_audio(os.fsdecode(os.fsencode(top / unreadable(row["path"]))), RATE).samples[: round(row["duration"] * RATE)]
        np.testing.assert_allclose(np.load(tmp_path / "out" / row["file"]), run(clip), rtol=1e-5, atol=1e-4)
    sg.extract(mel_file, top / "list.jsonl", tmp_path / "table.parquet", workers=1)
    assert pq.read_table(tmp_path / "table.parquet")["path"].to_pylist() == [row["path"] for row in rows]


def test_case_where_it_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_case([("A.wav", "A.wav"), ("a.wav", "a.wav")], tmp_path / "_work-ab")  # nothing of that name: case counts here
    (tmp_path / "_WORK-AB").mkdir()  # as if it did not
    with pytest.raises(ValueError, match="A.wav and a.wav have one name in .*, where case makes no difference"):
        check_case([("A.wav", "A.wav"), ("a.wav", "a.wav")], tmp_path / "_work-ab")


# What a corpus holds beside audio


@posix
def test_what_is_passed_over_is_counted(tmp_path: Path, mel_file: Path, cli, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "in"
    for folder in ("good/deep", "secret"):
        (top / folder).mkdir(parents=True)
    for name in ("good/a.wave", "good/deep/b.bwf", "c.AIFC", "secret/d.wav"):
        (top / name).write_bytes(held("AIFF" if name.endswith("C") else "WAV"))
    for name in ("x.m4a", "y.m4a", "z.webm", "README"):
        (top / name).write_text("x")
    (top / "gone.wav").symlink_to(top / "nowhere.wav")
    (top / "self.wav").symlink_to(top / "self.wav")
    (top / "good" / "up").symlink_to(top)
    os.mkfifo(top / "pipe.wav")
    scandir = os.scandir

    def guarded(path):
        if str(path).rstrip("/").endswith("secret"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    below = audio_below(top)
    assert below.names == ["c.AIFC", "good/a.wave", "good/deep/b.bwf"]
    told = (
        "4 files that are not audio known here (.m4a 2, .webm 1, without a suffix 1), 1 dangling link, 1 folder that may not be read (EACCES), "
        "1 link to a folder, which is not followed, 1 link that leads to itself, 1 pipe, socket or device"
    )
    assert sorted(str(below)) == sorted(told)
    for _ in range(2):  # begun, and found done
        code, out, err = cli("extract", mel_file, top, "-o", tmp_path / "out", "--workers", "1")
        assert code == 0
        assert "3 of 3 files" in out
        assert "passed over: 4 files that are not audio known here (.m4a 2, " in err.replace("\n", " ")
    with pytest.raises(OSError, match="the folder .*secret may not be read"):
        read_corpus(top / "secret")


TAKEN = [("WAV", "wave"), ("WAVEX", "bwf"), ("RF64", "rf64"), ("W64", "w64"), ("AIFF", "aifc"), ("AU", "snd"), ("CAF", "caf"), ("NIST", "sph"), ("NIST", "nist")]


@pytest.mark.parametrize(("format", "suffix"), TAKEN)
def test_formats_that_are_taken_can_be_read(tmp_path: Path, mel_file: Path, format: str, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", noise(0.3), RATE, format=format, subtype="PCM_16")
    assert audio_below(tmp_path).names == [f"a.{suffix}"]
    assert sg.extract_batch(mel_file, [tmp_path / f"a.{suffix}"])["error"].to_pylist() == [None]


# Channels


def test_channels_of_a_manifest(tmp_path: Path, mel_file: Path) -> None:
    call = noise(0.4, channels=2)
    soundfile.write(tmp_path / "call.wav", call, RATE, subtype="FLOAT")
    lines: list[dict[str, object]] = [{"channel": 1}, {"channel": [0]}, {"channel": "B"}, {"channel_selector": 0, "duration": 0.2}, {}, {"channel": None}, {"channel": "average"}]
    (tmp_path / "calls.jsonl").write_text("".join(json.dumps({"audio_filepath": "call.wav"} | line) + "\n" for line in lines))
    run = sg.load(mel_file)
    for format in ("parquet", "npy", "webdataset"):
        found = sg.extract(mel_file, tmp_path / "calls.jsonl", tmp_path / format, format=format, workers=1)
        assert (found.files, found.wrong, found.duplicates) == (4, 0, 3)
        rows = pq.read_table(tmp_path / format if format == "parquet" else tmp_path / format / "index").to_pylist()
        assert [(row["channel"], row["duration"]) for row in rows] == [(0, 0.2), (None, 0.4), (0, 0.4), (1, 0.4)]
        assert sg.extract(mel_file, tmp_path / "calls.jsonl", tmp_path / format, format=format, workers=1).now_files == 0
        for row in rows if format != "webdataset" else ():
            wave = (call.mean(axis=1) if row["channel"] is None else call[:, row["channel"]])[: round(row["duration"] * RATE)].astype(np.float32)
            features = np.load(tmp_path / format / row["file"]) if format == "npy" else np.array(row["features"], np.float32).T
            np.testing.assert_allclose(features, run(wave), rtol=1e-4, atol=1e-3)
    table = sg.extract_batch(run, [("call", tmp_path / "call.wav", 0.0, None, 1), ("call", tmp_path / "call.wav", 0.0, None, 2)])
    assert table["channel"].to_pylist() == [1, 2]
    assert table["error"].to_pylist() == [None, "no channel: call has no channel 2; it has 2 channels, 0 to 1"]


def test_the_channel_of_the_command(tmp_path: Path, mel_file: Path, cli) -> None:
    soundfile.write(tmp_path / "call.wav", noise(0.4, channels=2), RATE)
    (tmp_path / "calls.csv").write_text("path,channel\ncall.wav,\ncall.wav, 0\n")
    code, _, _ = cli("extract", mel_file, "calls.csv", "-o", "out", "--channel", "1", "--workers", "1")
    assert code == 0
    assert pq.read_table("out")["channel"].to_pylist() == [0, 1]
    code, _, err = cli("extract", mel_file, "calls.csv", "-o", "out")
    assert code == 1
    assert "out holds a job of --channel 1, not of no --channel" in one_sentence(err)


@pytest.mark.parametrize("channel", [-1, 1.0, True, "C", [0, 1], [], {}, "0x1", 99999999])
def test_channels_that_are_refused(tmp_path: Path, channel: object) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"path": "a.wav", "channel": channel}))
    with pytest.raises(ValueError, match="line 1 of .* has channel .*; give one number from 0, or in place of several channels a line for each"):
        read_corpus(tmp_path / "a.jsonl")


# What a user reads


@posix
@pytest.mark.parametrize("after", [0.15, 0.5])
def test_a_stop_in_the_first_second(corpus: Path, mel_file: Path, tmp_path: Path, after: float) -> None:
    code = f"import sys; sys.path[:] = {sys.path!r}; sys.argv[0] = 'specgraph'; print(flush=True); from specgraph.cli import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", code, "extract", str(mel_file), str(corpus), "-o", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert (process.returncode, said.partition(";")[0].strip()) == (130, "stopped")
    assert not [name for name in everything(tmp_path) if "_lock" in name or "_work" in name]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_errors_of_writing_are_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fails(file: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "a.txt").write_text("before")
    monkeypatch.setattr(files_module.os, "fsync", fails)
    with pytest.raises(OSError, match=rf"a\.txt cannot be written: {os.strerror(number)}$"), whole(tmp_path / "a.txt") as temporary:
        temporary.write_text("after")
    assert everything(tmp_path) == {"a.txt": b"before"}


def test_names_that_are_too_long_are_a_sentence(corpus: Path, mel_file: Path, tmp_path: Path) -> None:
    with whole(tmp_path / ("n" * 251 + ".txt")) as temporary:  # the longest there can be
        temporary.write_text("x")
    with pytest.raises(OSError, match="too long|longer name"):
        sg.extract(mel_file, corpus, tmp_path / ("n" * 300))


def test_a_file_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o600)
    with whole(tmp_path / "a") as temporary:
        temporary.write_text("y")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_what_a_file_may_cost_is_bounded_and_can_be_raised(tmp_path: Path, mel_file: Path, cli) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "slow.wav", noise(2.0), 1600)  # 20 seconds
    for options, error in ((("--max-seconds", "5"), "too long: slow.wav is 20.0 seconds long"), (("--max-mb", "0.1"), "too long: slow.wav is"), ((), None)):
        code, _, _ = cli("extract", mel_file, "in", "-o", "out", "--retry-errors", "--workers", "1", *options)
        assert code == 0
        (found,) = pq.read_table("out")["error"].to_pylist()
        assert found is None if error is None else found.startswith(error)


# Other commands


def test_run_does_not_write_over_what_it_reads(tmp_path: Path, cli) -> None:
    sg.to_onnx(sg.InverseSpectrogram(sample_rate=RATE, n_fft=64, hop_length=32), tmp_path / "back.onnx")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "a.npy", np.zeros((33, 8, 2), np.float32))
    before = everything(tmp_path)
    code, _, err = cli("run", "back.onnx", "in/a.npy", "-o", "in")
    assert code == 1
    assert "in/a.npy is one of the inputs; choose another output" in one_sentence(err)
    assert everything(tmp_path) == before


@pytest.mark.parametrize("beside", ["file", "folder", "link"])
def test_a_file_of_arrays_does_not_replace_another(tmp_path: Path, beside: str) -> None:
    """One that is not of the model of that name."""
    joined_file = pytest.importorskip("specgraph.export.joined_file")
    data = tmp_path / "m.onnx_data"
    if beside == "file":
        data.write_text("mine")
    elif beside == "folder":
        data.mkdir()
    else:
        data.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError, match=r"m\.onnx_data exists and is not of a model m\.onnx, and would be replaced"):
        joined_file._check_data(tmp_path / "m.onnx")
