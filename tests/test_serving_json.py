"""Large JSON of requests and answers: the same as Python's own, in pieces between which others are answered."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

pytest.importorskip("tritonclient.http")

import specgraph as sg
from specgraph.runtimes.serving import json_text
from specgraph.runtimes.serving.problems import Refusal
from tests.test_serving import Running, asked, clients, files, noise  # noqa: F401


def plain(value: Any) -> Any:
    """With lists for arrays."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def outcome(read: Any, text: bytes) -> Any:
    try:
        return repr(plain(read(text)))
    except ValueError:
        return "refused"


def same(found: Any, wanted: Any) -> bool:
    """Whether two values of JSON are the same: a row that holds whole numbers and others is read as one of floats."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and list(found) == list(wanted) and all(same(found[key], wanted[key]) for key in wanted)
    if isinstance(wanted, list):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(wanted, int) and isinstance(found, float):
        return found == float(wanted)
    return repr(found) == repr(wanted)


FLOATS = st.floats(allow_subnormal=True)
ROWS = st.one_of(st.lists(FLOATS, max_size=60), st.lists(st.integers(-(10**6), 10**6), max_size=60))
TEXTS = st.one_of(st.text(max_size=30), st.lists(st.integers(0, 9), max_size=40).map(str), st.just('"data": [' + "1," * 40 + "1]"))
VALUES = st.recursive(st.one_of(ROWS, TEXTS, st.none(), FLOATS), lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)), max_leaves=12)
BROKEN = st.sampled_from([b"", b",", b"[", b"]", b'"', b"1 2", b",,", b"1.2.3", b"--1", b"{", b"NaN", b"Infinit"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None, derandomize=True)
@example(value=[{"a": [2.18e-79]}], spaces=False, long=2, piece=90, broken=b",", at=0.7)
@given(value=VALUES, spaces=st.booleans(), long=st.integers(2, 90), piece=st.integers(1, 90), broken=BROKEN, at=st.floats(0, 1))
def test_pieces_are_what_the_whole_is(
    value: Any, spaces: bool, long: int, piece: int, broken: bytes, at: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps(value, separators=(" , ", " : ") if spaces else None).encode()
    place = round(at * len(text))
    with monkeypatch.context() as patch:
        patch.setattr(json_text, "LONG", long)
        patch.setattr(json_text, "PIECE", piece)
        for sent in (text, text[:place] + broken + text[place:]):
            try:
                wanted = json.loads(sent)
            except ValueError:
                assert outcome(json_text.read, sent) == "refused"
            else:
                assert same(plain(json_text.read(sent)), wanted)


def test_long_rows_are_arrays_and_short_ones_lists() -> None:
    wave = np.random.default_rng(0).standard_normal(20_000)
    text = json.dumps({"inputs": [{"name": "a", "data": wave.tolist()}, {"name": "b", "data": [wave.tolist(), wave.tolist()]}, {"data": [1, 2]}]}).encode()
    first, second, third = (one["data"] for one in json_text.read(text)["inputs"])
    np.testing.assert_array_equal(first, wave, strict=True)
    assert [type(row) for row in second] == [np.ndarray] * 2
    np.testing.assert_array_equal(second, [wave, wave])
    assert third == [1, 2]


@pytest.mark.parametrize("row", ["1,,2", "1,2,", ",1", "1 2", "[1", "1]", "01", "true,false", '"1"', "1,2,nan"])
def test_a_long_row_that_is_none_is_read_as_python_reads_it(row: str) -> None:
    text = ("[" + "0.5," * 40_000 + row + "]").encode()
    assert outcome(json_text.read, text) == outcome(json.loads, text)


def test_much_json_that_is_no_rows_is_refused() -> None:
    with pytest.raises(Refusal, match=r"bytes of JSON are more than 1,048,576, besides rows of numbers above 8,192 bytes; send binary data") as raised:
        json_text.read(b"[" + b"[1,2]," * 2_000_000 + b"[1,2]]")
    assert raised.value.kind.http == 413
    start = time.perf_counter()
    for text in (b"[" * 20_000_000, b"[]," * 7_000_000, b'"' + b"a" * 20_000_000, b"1," * 10_000_000, b"]" * 20_000_000):
        with pytest.raises((Refusal, ValueError)):
            json_text.read(text)
    assert time.perf_counter() - start < 5  # a search from each bracket would take hours


@settings(max_examples=60, deadline=None, derandomize=True)
@given(values=st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), max_size=30), piece=st.integers(1, 9))
def test_numbers_are_written_as_python_writes_them(values: list[float], piece: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "NUMBERS", piece)
        array = np.array(values, np.float32)
        assert json_text.numbers(array) == json.dumps(array.tolist(), separators=(",", ":")).encode()
        with pytest.raises(ValueError, match="not JSON compliant"):
            json_text.numbers(np.append(array, np.float32("nan")))


def turns(function: Any, *arguments: Any) -> int:
    """How often another thread got to run while a function ran."""
    thread, count = threading.Thread(target=function, args=arguments), 0
    thread.start()
    while thread.is_alive():
        time.sleep(1e-4)
        count += 1
    return count


def test_others_run_in_between() -> None:
    wave = np.random.default_rng(0).standard_normal(500_000)
    text = json_text.numbers(wave)
    assert len(text) > 9_000_000
    assert turns(json_text.read, text) > 50
    assert turns(json_text.numbers, wave) > 50
    assert turns(json.loads, text) < 25


@pytest.mark.parametrize("nested", [False, True])
def test_a_large_request_in_json(files: dict[str, Path], nested: bool) -> None:  # noqa: F811
    wave = noise(40_000)
    data = wave.astype(np.float64).tolist()
    sent = {"inputs": [{"name": "waveforms", "shape": [1, 40_000], "datatype": "FP32", "data": data if nested else data[0]}], "id": 'a "name"'}
    with Running({"mel": files["mel"]}) as running:
        status, answer = running.send("/v2/models/mel/infer", sent)
        assert (status, answer["id"], answer["model_name"], answer["model_version"]) == (200, 'a "name"', "mel", "1")
        wanted = sg.load(files["mel"])(wave)
        assert answer["outputs"][0]["shape"] == list(wanted.shape)
        np.testing.assert_array_equal(np.float32(answer["outputs"][0]["data"]).reshape(wanted.shape), wanted)
        for wrong, sentence in ((data[0][:-1], "takes 40000 numbers and 39999 were sent"), ([*data[0][:-1], "x"], "must be a list of FP32 numbers"),
                                ([data[0], data[0][:-1]], "must be a list of FP32 numbers"), ([*data[0][:-1], float("nan")], "1 values that are not finite")):  # fmt: skip
            status, answer = running.send("/v2/models/mel/infer", {"inputs": [{"name": "waveforms", "shape": [1, 40_000], "datatype": "FP32", "data": wrong}]})
            assert (status, sentence in answer["error"]) == (400, True), answer


LONG_ROW = [0.5] * 20_000


@pytest.mark.parametrize(
    ("around", "inside", "sentence"),
    [
        ({"inputs": LONG_ROW}, {}, '"inputs" must be a list of objects'),
        ({"outputs": LONG_ROW}, {}, '"outputs" must be a list of objects'),
        ({"parameters": LONG_ROW}, {}, '"parameters" must be an object'),
        ({"parameters": {"timeout": LONG_ROW}}, {}, "timeout must be a whole number"),
        ({}, {"parameters": LONG_ROW}, '"parameters" must be an object'),
        ({}, {"parameters": {"binary_data_size": LONG_ROW}}, "is [0.5, 0.5"),
        ({}, {"datatype": LONG_ROW}, "must be FP32 and was sent as [0.5"),
        ({}, {"shape": LONG_ROW}, "must be a list of whole numbers, not [0.5"),
        ({}, {"data": [*LONG_ROW[:-1], 1e39]}, "1 values that are not finite"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_long_row_where_none_belongs(files: dict[str, Path], around: dict[str, Any], inside: dict[str, Any], sentence: str) -> None:  # noqa: F811
    wave = {"name": "waveforms", "shape": [1, 20_000], "datatype": "FP32", "data": LONG_ROW}
    with Running({"mel": files["mel"]}) as running:
        status, answer = running.send("/v2/models/mel/infer", {"inputs": [wave | inside]} | around)
        assert (status, sentence in answer["error"]) == (400, True), answer


def test_a_request_that_unpacks_to_much(files: dict[str, Path]) -> None:  # noqa: F811
    head = json.dumps({"inputs": [{"name": "waveforms", "shape": [1, 1_500_000], "datatype": "FP32", "parameters": {"binary_data_size": 6_000_000}}]}).encode()
    with Running({"mel": files["mel"]}) as running:
        for end in (b"", b"\0"):
            status, answer = running.send(
                "/v2/models/mel/infer", gzip.compress(head + bytes(6_000_000) + end), Content_Encoding="gzip", Inference_Header_Content_Length=str(len(head)), Accept="application/x-npy"
            )
            if end:
                assert (status, "1 bytes follow the inputs" in answer["error"]) == (400, True)
            else:
                assert (status, np.load(io.BytesIO(answer)).shape) == (200, (1, 20, 1 + 1_500_000 // 80))
