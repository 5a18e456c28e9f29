"""Prices: what work costs, the numbers that a machine measures for itself, and whether they rank as the clock does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import specgraph as sg
from specgraph import prices
from specgraph.bench import calibrate, load, ranking
from specgraph.bench.ranking import Candidate
from specgraph.cost import TARGETS, Cost, target_named
from specgraph.lowering import lower
from specgraph.ops.layout import Transpose
from tests.conftest import one_sentence

load()
TINY = ("--sizes", "400/160", "--budget", 0)


@pytest.fixture
def own_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "specgraph" / "prices.json"


def test_costs_add_up_to_seconds() -> None:
    cpu = TARGETS["cpu"]
    cost = Cost(matmul=cpu.matmul) + Cost(moved=2 * cpu.bandwidth, strided=3 * cpu.strided) + Cost(vector=cpu.vector, launches=2)
    assert cpu.seconds(cost) == pytest.approx(7 + 2 * cpu.launch)


def test_a_transpose_of_rows_is_a_copy_and_others_are_not() -> None:
    rows = Transpose((1, 0, 2)).cost((3, 2, 500), (2, 3, 500))
    assert (rows.strided, rows.moved) == (0, 4 * 2 * 3000)
    one = Transpose((0, 2, 1)).cost((1, 500, 6), (1, 6, 500))
    several = Transpose((2, 1, 0)).cost((500, 3, 2), (2, 3, 500))
    assert one.strided == 3000
    assert several.strided > one.strided


def test_prices_are_read_from_the_users_configuration(own_config: Path) -> None:
    graph = sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=80).graph()
    assert lower(graph).choices[0].chosen == "factored"
    assert prices.read() == {}
    assert prices.write({"cpu": {"matmul": 1e15, "strided": 1e15, "bandwidth": 1e6}}, {}) == own_config
    assert target_named("cpu").matmul == 1e15
    assert target_named("cuda") == TARGETS["cuda"]
    assert target_named(TARGETS["cpu"]).matmul == TARGETS["cpu"].matmul
    assert lower(graph).choices[0].chosen == "conv"  # where arithmetic is for nothing and every byte is dear
    own_config.unlink()
    assert lower(graph).choices[0].chosen == "factored"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"targets": {"cpu": {"matmul": "fast"}}}', '{"targets": {"cpu": {"matmul": 0}}}'])
def test_a_damaged_file_is_named(own_config: Path, text: str, cli) -> None:
    own_config.parent.mkdir()
    own_config.write_text(text)
    code, _, err = cli("export", "mel", "-o", "m.onnx")
    assert code != 0
    assert "prices.json cannot be read" in one_sentence(err)
    assert "delete it, or run specgraph bench --calibrate again" in err


def made(cost: Cost, seconds: float) -> Candidate:
    return Candidate("mel", "400/160", 1, "factored", True, 1001, cost, 1.0, seconds)


def test_calibration_finds_the_prices_that_times_were_made_with() -> None:
    built_in = TARGETS["cpu"]
    costs = [
        Cost(a * 1e8, b * 1e6, c * 1e8, d * 1e6, 10, 1e5)
        for a, b, c, d in [(1, 1, 1, 1), (90, 1, 1, 1), (1, 90, 1, 1), (1, 1, 90, 1), (1, 1, 1, 90), (5, 50, 2, 2), (20, 10, 3, 0)]
    ]
    slow = {"matmul": 3e10, "vector": 1e9, "bandwidth": 2e10, "strided": 5e8}
    times = [c.matmul / 3e10 + c.vector / 1e9 + c.moved / 2e10 + c.strided / 5e8 for c in costs]
    fit = calibrate.fitted([made(cost, seconds) for cost, seconds in zip(costs, times, strict=True)], built_in)
    assert fit.after < 0.02 < fit.before
    for name, number in slow.items():
        assert getattr(fit.target, name) == pytest.approx(number, rel=0.15), name
    assert fit.target.lacks == built_in.lacks
    alone = calibrate.fitted([made(Cost(matmul=1e9), 1.0)], built_in).target  # nothing is told of the others
    assert alone.bandwidth == pytest.approx(built_in.bandwidth)


def test_calibrate_and_ranking(cli, own_config: Path) -> None:
    code, out, err = cli("bench", "mel", "stft", "--calibrate", *TINY)
    assert (code, err) == (0, "")
    assert "delete it to go back" in out
    kept = json.loads(own_config.read_text())
    assert set(kept["targets"]["cpu"]) == {"matmul", "vector", "bandwidth", "strided", "launch", "held", "most_bytes"}
    assert kept["targets"]["cpu"]["most_bytes"] in calibrate.PARTS
    assert set(kept["measured"]) == {"processor", "date", "packages", "command"}
    code, out, err = cli("bench", "mel", "--ranking", *TINY, "--batch", 2, "-o", "ranking.json")
    assert (code, err) == (0, "")
    found = json.loads(Path("ranking.json").read_text())
    assert {one["lowering"] for one in found["candidates"]} >= {"conv", "factored", "factored3", "matmul"}
    assert sum(one["chosen"] for one in found["candidates"]) == 1
    assert all(one["seconds"] > 0 and one["frames"] == 2 * 1001 for one in found["candidates"])
    assert "choices take at most 1.15 times" in out


def test_a_runner_cuts_as_was_measured(own_config: Path, tmp_path: Path) -> None:
    sg.to_onnx(sg.Spectrogram(n_fft=64, hop_length=16), tmp_path / "m.onnx")
    usual = sg.load(tmp_path / "m.onnx").most_bytes
    prices.write({"cpu": {"most_bytes": 3 * usual}}, {})
    assert sg.load(tmp_path / "m.onnx").most_bytes == 3 * usual
    assert sg.load(tmp_path / "m.onnx", most_bytes=7.0).most_bytes == 7.0


def test_what_they_refuse(cli) -> None:
    assert "leave out --ranking" in one_sentence(cli("bench", "--accuracy", "--ranking")[2])
    assert "leave out --device" in one_sentence(cli("bench", "--calibrate", "--device", "cuda")[2])


def test_a_choice_is_measured_against_the_best() -> None:
    cell = [Candidate("mel", "400/160", 1, name, name == "conv", 100, Cost(), 1.0, seconds) for name, seconds in (("conv", 3.0), ("factored", 2.0))]
    assert ranking.slower(cell) == 1.5
    assert ranking.table([cell, cell[:1]]).title.startswith("1 of 2 choices")


@pytest.mark.parametrize("size", ["400/160", "2048/512"])
def test_prices_rank_the_families_as_the_clock_does(size: str) -> None:
    (cell,) = ranking.candidates(("mel",), (size,), (1,), 0.3)
    at = {one.lowering: one for one in cell}
    for slow in ("conv", "blocked", "matmul"):  # twice as slow or more: neither a busy machine nor another changes that
        assert at["factored"].price < at[slow].price
        assert at["factored"].seconds < at[slow].seconds
    assert ranking.slower(cell) < 1.6
