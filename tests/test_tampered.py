"""Files that were changed after they were written: refused by their checksum, and where that was made again held within bounds."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import specgraph as sg
from specgraph import serialize
from specgraph.metadata import CHECKSUM, PREFIX, Metadata, MetadataError
from specgraph.op import GraphError
from specgraph.runtimes import slices
from specgraph.runtimes.described import check_described
from specgraph.runtimes.ort import OrtRunner
from specgraph.runtimes.wire import metadata_entry, read_header
from specgraph.serialize import from_json, to_json
from tests import sealing
from tests.conftest import one_sentence

SEED = 13
OLDER = Path(__file__).parent / "older_files"
SMALL: dict[str, Any] = {"sample_rate": 8000, "n_fft": 64, "hop_length": 32, "n_mels": 8}
GARBAGE = 12345.678  # what memory that was not written holds
EXTREMES = (
    0, -1, 1, 2, 3, 7, 2**31, 2**40, 2**40 + 1, 2**63, -(2**63), 10**400, 0.5, -0.5, 1e-320, 1e-9, 1e18, 1e308, -1e308, None, True, False, "", "x", "frames",
    "[/red]", "\x1b[2J", "\ud800", "x" * 20_000, "x" * (2**20 + 1), [], {}, [[]], [1], [None], ["frames"], [0, 0, 0], [[1, 0, 0]], [[0, 10**9, 1]], [[1, 0, 1]] * 2000, {"x": {}},
)  # fmt: skip
TEXTS = ("", "x", "[", "{}", "[]", "null", "NaN", "-Infinity", "1e999", "9" * 5000, "[" * 100_000, '{"a":' * 5000, '"\\ud800"', "true", "\0", "2", "1")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small files, one of whose values at the end looks at the whole clip, and one of which takes lengths."""
    folder = tmp_path_factory.mktemp("tampered")
    made = {"mfcc": (sg.MFCC(n_mfcc=5, **SMALL), False), "log_mel": (sg.LogMelSpectrogram(top_db=None, **SMALL), False), "ragged": (sg.MelSpectrogram(**SMALL), True)}
    for name, (transform, lengths) in made.items():
        sg.to_onnx(transform, folder / f"{name}.onnx", lengths=lengths)
    return {name: (folder / f"{name}.onnx").read_bytes() for name in made}


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the parts of a JSON value are."""
    yield path
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*path, key))


def changed(value: Any, chance: random.Random) -> Any:
    """A JSON value with a part of it taken away, put in twice, renamed or made something else."""
    value = copy.deepcopy(value)
    *before, last = chance.choice([place for place in places(value) if place] or [(None,)])
    if last is None:
        return chance.choice(EXTREMES)
    holder = value
    for key in before:
        holder = holder[key]
    how = chance.random()
    if how < 0.15:
        del holder[last]
    elif how < 0.25 and isinstance(holder, list):
        holder.insert(last, holder[last])
    elif how < 0.25:
        holder[chance.choice(("x", "", "[/red]", "features", "hop"))] = holder.pop(last)
    elif how < 0.5 and isinstance(holder[last], int | float):
        holder[last] = chance.choice((holder[last] + 1, -holder[last], 2 * holder[last], holder[last] / 2, holder[last] * 1000, str(holder[last])))
    else:
        holder[last] = chance.choice(EXTREMES)
    return value


def mutant(properties: dict[str, str], chance: random.Random) -> dict[str, str | None]:
    """The properties that differ; None for one that is taken away."""
    used = [PREFIX + name for name in ("outputs", "slicing", "slicing", "outputs", "min_samples")]  # these decide more than others
    key = chance.choice(sorted(properties.keys() - {CHECKSUM, PREFIX + "graph"}) + 3 * used)
    how = chance.random()
    if how < 0.1:
        return {key: None}
    if how < 0.2:
        return {key: chance.choice(TEXTS)}
    try:
        return {key: json.dumps(changed(json.loads(properties[key]), chance))}
    except ValueError:  # text
        return {key: chance.choice((properties[key] + "x", "cuda", "int16", "float16", "\ud7ff", "x" * 20_000))}


def in_use(runner: OrtRunner) -> None:
    """All that metadata decides in a runner; memory that nobody wrote must not be seen."""
    shape = (2, 3000)
    wave = np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)
    found = runner.outputs(wave)
    assert not any((np.abs(array - GARBAGE) < 1).any() for array in found.values())
    runner.outputs(wave[0])
    for name in runner.output_names:
        runner.latency(name)
        runner.frequencies_of(name)
        ours(lambda: runner.times(3, name))  # noqa: B023

    def streamed() -> None:
        stream = runner.stream()
        stream.push(wave[0])
        stream.finish()

    ours(streamed)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is not written holds what can be told."""
    monkeypatch.setattr(slices.np, "empty", lambda shape, dtype=float: np.full(shape, GARBAGE, dtype))


def ours(function: Callable[[], Any]) -> bool:
    """Whether it went well; whatever goes wrong is said in a sentence of ours, soon."""
    began = time.process_time()
    failure: Exception | None = None
    try:
        function()
    except (ValueError, TypeError) as error:
        failure = error
    assert type(failure) in (type(None), ValueError, TypeError, MetadataError, GraphError), repr(failure)
    assert "\n" not in str(failure)
    assert len(str(failure)) < 2000
    assert time.process_time() - began < 5
    return failure is None


@pytest.mark.usefixtures("seen")
@pytest.mark.parametrize("name", ["mfcc", "log_mel", "ragged"])
def test_metadata_with_a_new_checksum(name: str, files: dict[str, bytes], tmp_path: Path) -> None:
    """500 of each file: refused, or run within the bounds of memory and time, without a number that was not computed."""
    chance = random.Random(SEED)
    path = tmp_path / "m.onnx"
    path.write_bytes(files[name])
    base, properties = sg.load(path, threads=1, most_bytes=10_000), read_header(files[name], "m").properties
    assert isinstance(base, OrtRunner)
    runner, parsed, run = copy.copy(base), 0, 0
    for _ in range(500):
        given = {key: value for key, value in (properties | mutant(properties, chance)).items() if value is not None}
        read: list[Metadata] = []
        if not ours(lambda: read.append(Metadata.from_properties(given, "m.onnx"))):  # noqa: B023
            continue
        runner.meta = read[0]
        parsed += 1
        if ours(lambda: check_described("m.onnx", read[0], runner.output_names, runner.output_sizes)):  # noqa: B023
            run += ours(lambda: in_use(runner))
    assert 50 < run < parsed < 450  # so many run, so many are refused then, and so many before


@pytest.mark.usefixtures("seen")
def test_whole_files(files: dict[str, bytes], tmp_path: Path) -> None:
    """150: with the old checksum, every one is refused; with a new one, as above."""
    chance = random.Random(SEED)
    path = tmp_path / "m.onnx"
    for number in range(150):
        data = files[chance.choice(sorted(files))]
        properties = read_header(data, "m").properties
        difference = mutant(properties, chance)
        sealed = number % 2 == 0
        try:
            path.write_bytes(sealing.rewritten(data, difference, sealed))
        except (UnicodeEncodeError, ValueError):  # protobuf itself does not write it
            continue
        well = ours(lambda: in_use(sg.load(path, threads=1, most_bytes=10_000)))  # type: ignore[arg-type]
        assert sealed or not well or all(properties.get(key) == value for key, value in difference.items())


def test_bytes(files: dict[str, bytes], tmp_path: Path) -> None:
    """150 files cut off, with a bit turned or bytes that do not belong there: all are refused but those that differ in a note."""
    chance = random.Random(SEED)
    data, path = files["mfcc"], tmp_path / "m.onnx"
    wave = np.sin(np.arange(3000, dtype=np.float32))
    path.write_bytes(data)
    wanted = sg.load(path, threads=1)(wave)
    loaded = 0
    for number in range(150):
        held, place = bytearray(data), chance.randrange(len(data))
        if number % 3 == 0:
            del held[place:]
        elif number % 3 == 1:
            held[place] ^= 1 << chance.randrange(8)
        else:
            held[place:place] = chance.randbytes(chance.randrange(1, 9))
        path.write_bytes(held)
        if ours(lambda: sg.load(path, threads=1)):
            loaded += 1
            np.testing.assert_array_equal(sg.load(path, threads=1)(wave), wanted)
    assert loaded < 5


def test_definitions_with_a_new_hash(files: dict[str, bytes]) -> None:
    """200 graphs with parts changed: an error of ours, or a graph."""
    chance = random.Random(SEED)
    texts = [read_header(files[name], "m").properties[PREFIX + "graph"] for name in sorted(files)]
    for number in range(200):
        text = chance.choice(texts)
        text = json.dumps(changed(json.loads(text), chance)) if number % 4 else _cut(text, chance)
        ours(lambda: from_json(text, None))  # noqa: B023


def _cut(text: str, chance: random.Random) -> str:
    place = chance.randrange(len(text))
    return chance.choice((text[:place], text[:place] + chance.choice('x"[]{}0') + text[place + 1 :], text[:place] + "[" * 5000 + text[place:]))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slicing", '{"step":32,"before":0,"after":0,"bytes":1000.0,"cut":{},"whole":""}'),
        ("outputs", '{"features":{"axes":["batch","bins","frames"],"hop":32.0,"centre":0.0,"before":32,"after":31,"frames":[[1,3200,32]]}}'),
        ("min_samples", "2"), ("sample_rate", "16000"), ("dtype", "float16"), ("lowering", "[]"), ("verified", "{}"), ("parameters", "{}"), ("name", "x"),
    ],
)  # fmt: skip
def test_whatever_opens_a_file_checks_all_that_it_says(key: str, value: str, files: dict[str, bytes], tmp_path: Path, cli: Any) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(sealing.rewritten(files["log_mel"], {PREFIX + key: value}, sealed=False))
    for opened in (sg.load, sg.read_graph, sg.verify, lambda path: sg.load(path, device="torch"), lambda path: sg.attach(path, path, tmp_path / "joined.onnx")):
        with pytest.raises(MetadataError, match="was changed after it was written: its checksum is not that of what it holds"):
            opened(path)
    for command in (("inspect", path), ("run", path, "x.wav", "-o", "x.npy"), ("extract", path, tmp_path, "-o", "out"), ("triton", path, "-o", "models"), ("serve", path)):
        code, _, err = cli(*command)
        assert code
        assert "was changed after it was written" in one_sentence(err), command


def test_a_weight_decides_a_result_and_a_note_does_not(files: dict[str, bytes], tmp_path: Path) -> None:
    model = onnx.ModelProto.FromString(files["log_mel"])
    model.metadata_props.add(key="author", value="me")
    model.doc_string, model.producer_name = "a note", "another tool"
    (tmp_path / "note.onnx").write_bytes(model.SerializeToString())
    sg.load(tmp_path / "note.onnx")
    sg.verify(tmp_path / "note.onnx")
    weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    array = onnx.numpy_helper.to_array(weights) * np.float32(1.001)
    weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    (tmp_path / "weight.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(MetadataError, match="so what was verified is not what would run; export it again, or run it with onnxruntime itself"):
        sg.load(tmp_path / "weight.onnx")


def test_a_checksum_cannot_be_left_out(files: dict[str, bytes], tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(sealing.rewritten(files["mfcc"], {CHECKSUM: None}, sealed=False))
    with pytest.raises(MetadataError, match="was changed after it was written"):
        sg.load(tmp_path / "m.onnx")


def test_a_definition_is_unpacked_up_to_a_bound(files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """32 MB of zeros in an array of 32 KB, in one array and in many, with a checksum of their own; what is above the bound is not unpacked."""
    assert serialize.MOST_UNPACKED == 2**29
    monkeypatch.setattr(serialize, "MOST_UNPACKED", 2**20)
    size = 2**25
    content = json.loads(read_header(files["log_mel"], "m").properties[PREFIX + "graph"])
    bomb = base64.b64encode(zlib.compress(bytes(size), 9)).decode()
    for shape, said in (
        ([size], "take more than 1 MiB"), ([1], "an array of 1 bytes holds more"), ([2**40], "take more than 1 MiB"), ([2**62, 4], "take more than 1 MiB"),
        ([-1], "an array is of dtype uint8 and shape [-1]"), ([True], "an array is of dtype uint8"), (["x"], "an array is of dtype uint8"),
    ):  # fmt: skip
        for node in content["nodes"]:
            if node["op"] == "Constant":
                node["array"] = {"__array__": bomb, "dtype": "|u1", "shape": shape}
        data = sealing.rewritten(files["log_mel"], {PREFIX + "graph": json.dumps(content)}, sealed=True)
        (tmp_path / "m.onnx").write_bytes(data)
        tracemalloc.start()
        with pytest.raises(MetadataError, match="damaged specgraph metadata: the graph in the file's metadata cannot be read") as caught:
            sg.read_graph(tmp_path / "m.onnx")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert said in str(caught.value)
        assert peak < 10e6


def test_a_definition_that_could_not_be_read_back_is_not_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(serialize, "MOST_UNPACKED", 100)
    with pytest.raises(GraphError, match="bytes of arrays in float64, and at most 100 are read back"):
        sg.to_onnx(sg.LogMelSpectrogram(**SMALL), tmp_path / "m.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["inspect", "verify", "run"])
def test_what_is_no_file_of_ours_is_said_at_once(command: str, tmp_path: Path, cli: Any) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "text.onnx").write_text("a text\n" * 1000)
    (tmp_path / "folder.onnx").mkdir()
    with (tmp_path / "huge.onnx").open("wb") as file:
        file.truncate(2**40)
    with (tmp_path / "zeros.onnx").open("wb") as file:
        file.truncate(2**31 - 1)
    (tmp_path / "fields.onnx").write_bytes(b"\x08\x01" * 10)
    (tmp_path / "round.onnx").symlink_to("round.onnx")
    began = time.process_time()
    for name, said in {
        "pipe.onnx": "is a device or a pipe", "/dev/zero": "is a device or a pipe", "empty.onnx": "it is empty", "text.onnx": "it begins with b'a text",
        "folder.onnx": "is a folder", "huge.onnx": "it holds 1099.5 GB, and one has at most 2.1 GB", "zeros.onnx": "not a whole ONNX model",
        "fields.onnx": "not a whole ONNX model", "round.onnx": "cannot be read", "no.onnx": "there is no file", "a" * 300: "cannot be read",
    }.items():  # fmt: skip
        arguments = (name, "x.wav", "-o", "x.npy") if command == "run" else (name,)
        code, _, err = cli(command, *arguments)
        assert code
        assert said in one_sentence(err)
    assert time.process_time() - began < 5


@pytest.mark.parametrize("name", ["mfcc", "log_mel", "ragged", "whole", "attached"])
def test_files_of_format_1_load(name: str, cli: Any, tmp_path: Path) -> None:
    """They have no checksum; what they say is bounded, and the hash of a definition is checked where it is read."""
    path = OLDER / f"{name}.onnx"
    wave = 0.1 * np.sin(0.3 * np.arange(20_000, dtype=np.float32))[None]
    run, at_once = sg.load(path, most_bytes=10_000), sg.load(path, most_bytes=float("inf"))
    for output, array in at_once.outputs(wave).items():
        np.testing.assert_allclose(run.outputs(wave)[output], array, rtol=1e-3, atol=1e-3)
    code, out, _ = cli("inspect", path)
    assert code == 0
    assert "of format 1, which has no checksum" in " ".join(out.replace("│", " ").split())
    if name in ("mfcc", "log_mel", "ragged"):
        assert sg.verify(path).error < 1e-6
        text = to_json(sg.read_graph(path)).replace("8000", "8001")
        (tmp_path / "m.onnx").write_bytes(sealing.rewritten(path.read_bytes(), {PREFIX + "graph": text}, sealed=False))
        with pytest.raises(MetadataError, match="its definition is not the one that its hash is of"):
            sg.read_graph(tmp_path / "m.onnx")
    data = sealing.rewritten(path.read_bytes(), {PREFIX + "slicing": '{"step":0}'}, sealed=False)
    (tmp_path / "m.onnx").write_bytes(data)
    with pytest.raises(MetadataError, match="damaged specgraph metadata: slicing.step must be from 1 to"):
        sg.load(tmp_path / "m.onnx")


def test_an_entry_is_read_back() -> None:
    assert onnx.ModelProto.FromString(metadata_entry("a", "b" * 200)).metadata_props[0].value == "b" * 200
