"""The benchmark: a tiny matrix through the command line, what it reports, and what it does where something is missing."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.signal

from specgraph.bench import load, matrix, memory, paper, pictures, startup, tables, timing, tones, work
from specgraph.bench.peers_own import PLAIN
from specgraph.bench.work import PEERS, SUBJECTS, Peer, Ready, definition, error, to_array
from tests.conftest import one_sentence

load()
ROOT = Path(__file__).parents[1]
TINY = ("--sizes", "400/160", "--batch", 1, "--batch", 2, "--threads", 1, "--seconds", 0.5, "--rounds", 1, "--budget", 20)
LESS_EXACT = ("ONNX STFT op", "Essentia")  # at lengths that are not powers of two; in the filters' edges
FLOAT32 = 1e-5  # of the peak: far above what any of these libraries loses in float32, far below another definition


def test_speed(cli) -> None:
    code, out, err = cli("bench", "mel", *TINY, "--lowerings", "all", "-o", "r.json", "--plot", "p.png")
    assert (code, err) == (0, "")
    assert Path("p.png").read_bytes().startswith(b"\x89PNG")
    results = json.loads(Path("r.json").read_text())
    assert results["machine"]["packages"]["specgraph"]
    assert results["machine"]["command"].startswith("specgraph bench mel --sizes 400/160")
    assert [cell["batch"] for cell in results["cells"]] == [1, 2]
    peers = {peer["name"]: peer for peer in results["peers"] if "mel" in peer["computes"]}
    assert {"librosa", "torch.stft", "nnAudio", "torchlibrosa", "kaldi-native-fbank", "ONNX STFT op", "ONNX one Conv"} <= set(peers)
    for cell in results["cells"]:
        assert (cell["subject"], cell["size"], cell["threads"], cell["samples"]) == ("mel", "400/160", 1, 8000)
        rows = {row["name"]: row for row in cell["rows"]}
        assert cell["left_out"] == []
        assert {name for name, peer in peers.items() if not peer["missing"]} == {name for name in rows if not name.startswith("specgraph")}
        assert {"specgraph", "specgraph in torch", "specgraph Stft=conv", "specgraph Stft=factored_matmul"} <= set(rows)
        for name, row in rows.items():
            assert row["frames"] == cell["batch"] * (1 + (8000 - 400) // 160 if name == "kaldi-native-fbank" else 51)
            assert row["error"] < (1e-6 if name.startswith("specgraph") else 1e-4 if name in LESS_EXACT else FLOAT32), name
            assert row["rounds"] == 1
            for clock in ("cpu", "wall"):
                times = row[clock]
                assert 0 < times["min"] <= times["median"]
                assert math.isclose(times["us_per_frame"], 1e6 * times["min"] / row["frames"])
                assert math.isclose(times["ratio"], times["us_per_frame"] / rows["specgraph"][clock]["us_per_frame"])
        assert rows["specgraph"]["bytes"] > 50_000
    for name in rows:
        assert name in out


def test_starting_is_measured_in_new_processes(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "ROUNDS", 1)
    monkeypatch.setattr(startup, "PROGRAMS", {name: startup.PROGRAMS[name] for name in ("specgraph", "librosa")} | {"broken": ("numpy", "1 / 0")})
    monkeypatch.setattr(matrix, "PEERS", [])
    code, out, err = cli("bench", "mel", *TINY[:3], 1, *TINY[6:], "--start", "-o", "b")
    assert (code, err) == (0, "")
    own, librosa, broken = json.loads(Path("b/results.json").read_text())["start"]
    assert 0.01 < own["seconds"] < 20
    assert 20e6 < own["bytes"] < librosa["bytes"]
    assert broken == {"name": "broken", "error": "ZeroDivisionError: division by zero"}
    assert "| broken | ZeroDivisionError" in Path("b/README.md").read_text()
    assert "From importing to the first mel spectrogram" in out


def test_a_folder_holds_the_report(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("nnAudio", "nnAudio.features"):
        monkeypatch.setitem(sys.modules, module, None)
    code, out, err = cli("bench", "log-mel", "stft", *TINY[:4], *TINY[6:], "-o", "bench")
    assert (code, err) == (0, "")
    assert {path.name for path in Path("bench").iterdir()} == {"results.json", "README.md", "speed.png"}
    assert "without nnAudio: nnAudio is not installed" in out
    text = Path("bench/README.md").read_text()
    assert "nnAudio is not installed: pip install" in text
    results = json.loads(Path("bench/results.json").read_text())
    for cell in results["cells"]:
        names = [row["name"] for row in cell["rows"]]
        assert "nnAudio" not in names
        for row in cell["rows"]:
            assert f"| {row['name']} |" in text
            limit = {"stft": FLOAT32, "log-mel": 2e-3}[cell["subject"]]  # noise has no quiet bins: 1e-5 of the peak is far below 2e-3 dB
            assert row["error"] < limit or row["name"] == "ONNX STFT op"
        assert cell["error_unit"] == {"stft": "of the peak", "log-mel": "dB"}[cell["subject"]]


def test_a_library_that_fails_is_listed(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(work: work.Work) -> Ready:
        raise RuntimeError("no such kernel\nat line 3")

    def made(name: str, build) -> Peer:
        return Peer(name, build, "numpy", frozenset({"mel"}), frozenset({"cpu"}), "")

    peers = [
        made("fails", fails),
        made("cannot", lambda work: None),
        made("short", lambda work: Ready(lambda waves: np.zeros((len(waves), 3, 4)))),
        made("slow", lambda work: Ready(lambda waves: time.sleep(0.2) or definition(work.transform, waves))),
        made("twice", lambda work: Ready(lambda waves: 2 * definition(work.transform, waves))),
    ]
    monkeypatch.setattr(matrix, "PEERS", peers)
    code, out, _ = cli("bench", "mel", "--sizes", "400/160", "--batch", 1, "--threads", 1, "--seconds", 60, "--budget", 0, "-o", "r.json")
    assert code == 0
    cell = json.loads(Path("r.json").read_text())["cells"][0]
    assert [row["name"] for row in cell["rows"]] == ["specgraph", PLAIN, "specgraph in torch", "twice"]
    assert math.isclose(cell["rows"][-1]["error"], 1.0), "a library that is wrong is seen to be"
    left_out = {one["name"]: one["why"] for one in cell["left_out"]}
    assert left_out["fails"] == "RuntimeError: no such kernel"
    assert "gives (1, 3, 4) where the definition gives (1, 80, 201)" in left_out["short"]
    assert re.fullmatch(r"a run would take about \d+ s; raise --budget", left_out["slow"])
    assert "without fails: RuntimeError: no such kernel" in out


def test_a_lowering_that_is_not_exact_is_listed(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = matrix.exported

    def refuses(work: work.Work, prefer: dict[str, str] | None = None) -> bytes:
        if prefer:
            raise ValueError(f"{prefer} is off")
        return exported(work)

    monkeypatch.setattr(matrix, "exported", refuses)
    monkeypatch.setattr(matrix, "PEERS", [])
    assert cli("bench", "mel", *TINY, "--lowerings", "all", "-o", "r.json")[0] == 0
    cell = json.loads(Path("r.json").read_text())["cells"][0]
    assert [row["name"] for row in cell["rows"]] == ["specgraph", PLAIN, "specgraph in torch"]
    assert {"name": "specgraph Stft=conv", "why": "ValueError: {'Stft': 'conv'} is off"} in cell["left_out"]


def two_tones() -> np.ndarray:
    """The first of the scale, for a test that is quick."""
    return tones.chromatic_scale()[: tones.RATE // 2]


def test_accuracy(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST", 2)
    monkeypatch.setitem(tones.SIGNALS, "chromatic scale", two_tones)
    code, out, err = cli("bench", "mel", "--accuracy", "-o", "acc")
    assert (code, err) == (0, "")
    assert {path.name for path in Path("acc").iterdir()} == {"results.json", "README.md", "mel-linear-chirp.png", "mel-log-chirp.png"}
    (result,) = json.loads(Path("acc/results.json").read_text())["results"]
    assert result["left_out"] == []
    rows = {row["name"]: row for row in result["rows"]}
    assert {"specgraph", "specgraph in torch", "specgraph Stft=conv", "ONNX one Conv"} <= set(rows)
    for name, row in rows.items():
        assert set(row["largest"]) == set(row["rms"]) == set(tones.SIGNALS)
        assert max(row["largest"].values()) < (2e-6 if name.startswith("specgraph") else 1e-4 if name in LESS_EXACT else FLOAT32), name
        assert row["compared_with"] == ({"center": False} if name == "kaldi-native-fbank" else {})
        assert f"| {name}" in Path("acc/README.md").read_text()
        assert name in out


CQT_SIZE = "24x12/256@8000:220"  # so small that direct is chosen
EXACT = ("specgraph", PLAIN, "specgraph ConstantQ=grouped", "specgraph tolerance=1e-05", "nnAudio CQT1992v2")
ROUGH = ("librosa.cqt", "nnAudio CQT2010v2", "nnAudio CQT2010")  # octaves at lower rates: percents, as ever they are


def test_speed_of_constant_q(cli) -> None:
    arguments = ("--sizes", CQT_SIZE, *TINY[2:], "--lowerings", "all", "-o", "r.json")
    assert cli("bench", "cqt", *arguments)[0] == 0
    for cell in json.loads(Path("r.json").read_text())["cells"]:
        rows = {row["name"]: row for row in cell["rows"]}
        assert cell["left_out"] == []
        assert set(rows) == {
            "specgraph in torch", "specgraph ConstantQ=spectral", "specgraph ConstantQ=multirate", "nnAudio CQT1992", *EXACT, *ROUGH,
        }  # fmt: skip
        for name, row in rows.items():
            assert row["frames"] == cell["batch"] * (1 + 4000 // 256)
            assert row["error"] < (1e-5 if name in EXACT else 5.0 if name in ROUGH else 2e-4), name


@pytest.mark.parametrize("output", ["magnitude", "complex"])
def test_librosas_kernels_are_reversed(output: str) -> None:
    import librosa

    from specgraph import CQT
    from specgraph.bench.peers_cqt import reversed_definition

    # One octave near the half rate: librosa does not resample, and what is left is its kernels.
    transform = CQT(sample_rate=8000, hop_length=64, fmin=1700.0, n_bins=12, output=output)
    wave = np.random.default_rng(0).standard_normal((2, 3000))
    bins = librosa.cqt(wave, sr=8000, hop_length=64, fmin=1700.0, n_bins=12, pad_mode="reflect", sparsity=0, dtype=np.complex128)
    theirs = to_array(bins if output == "complex" else np.abs(bins))
    inside = np.s_[:, :, 3:-3]  # librosa's kernels reach as far as their Fourier transform, and so does its padding
    off = error(theirs[inside], definition(reversed_definition(transform), wave)[inside], "of the peak")
    assert off.largest < 2e-3, "upper half of the spectrum is not there, which leaks little"
    assert error(theirs[inside], definition(transform, wave)[inside], "of the peak").largest > 10 * off.largest


def test_accuracy_of_constant_q(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tones.SIGNALS, "chromatic scale", two_tones)
    for name in ("cqt", "cqt-complex"):
        monkeypatch.setitem(SUBJECTS, name, dataclasses.replace(SUBJECTS[name], accuracy="12x12/512@44100:1760"))
    code, _, err = cli("bench", "cqt", "cqt-complex", "--accuracy", "-o", "acc")
    assert (code, err) == (0, "")
    text = Path("acc/README.md").read_text()
    assert "The lowering that specgraph chose: direct of constant_q" in text
    assert "one sample of window off" in text
    results = json.loads(Path("acc/results.json").read_text())["results"]
    for result in results:
        assert result["left_out"] == []
        assert Path(f"acc/{result['subject']}-log-chirp.png").exists()
        rows = {row["name"]: row for row in result["rows"]}
        for name, row in rows.items():
            compared = {"convention": "nnaudio"} if name.startswith("nnAudio") else {"transform": "ReversedCQT"} if "its own" in name else {}
            assert row["compared_with"] == compared
            assert all(row["inside"][signal] <= row["largest"][signal] for signal in tones.SIGNALS)
            if name in EXACT or name.startswith("specgraph"):
                assert max(row["largest"].values()) < (1e-5 if name in EXACT else 2e-4), name


def test_the_papers_experiment(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paper, "EXPERIMENTS", {"CQT": ("cqt", "12x12/512@44100:3520")})
    monkeypatch.setattr(paper, "SAMPLES", 6000)
    monkeypatch.setattr(paper, "CLIPS", 4)
    monkeypatch.setattr(paper, "BATCHES", (1, 4))
    monkeypatch.setattr(timing, "cores", lambda: 2)
    code, _, err = cli("bench", "--paper", "--rounds", 1, "--budget", 0, "-o", "b")
    assert (code, err) == (0, "")
    assert {path.name for path in Path("b").iterdir()} == {"results.json", "README.md"}
    cells = json.loads(Path("b/results.json").read_text())["paper"]
    assert [(cell["experiment"], cell["threads"], cell["clips"]) for cell in cells] == [("CQT", 1, 4), ("CQT", 2, 4)]
    for cell in cells:
        names = {row["name"] for row in cell["rows"]}
        assert {"specgraph", "specgraph in torch", "librosa.cqt", "nnAudio CQT1992v2", "nnAudio CQT2010v2"} <= names
        assert cell["left_out"] == []
        for row in cell["rows"]:
            assert row["batch"] in (1, 4)
            assert min(row["cpu"]["min"], row["wall"]["min"]) > 0
            assert f"| {row['name']} |" in Path("b/README.md").read_text()
    waves = paper.clips(3)
    assert (waves.shape, waves.dtype) == ((3, 6000), np.float32)
    assert (np.abs(waves).max(1) > 0.05).all()
    assert (np.abs(waves).max(1) < 1).all()


def test_what_needs_too_much_memory_is_left_out(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("bench", "mel", *TINY, "--memory", 1e-4, "-o", "r.json")[0] == 0
    for cell in json.loads(Path("r.json").read_text())["cells"]:
        assert cell["rows"] == []
        assert all("raise --memory" in one["why"] for one in cell["left_out"])

    def greedy(waves: np.ndarray) -> np.ndarray:
        np.ones(4_000_000 * len(waves))
        return definition(SUBJECTS["mel"].at("400/160"), waves)

    peers = [Peer("greedy", lambda work: Ready(greedy), "numpy", frozenset({"mel"}), frozenset({"cpu"}), "")]
    monkeypatch.setattr(matrix, "PEERS", peers)
    monkeypatch.setattr(matrix, "HELD", 0.0)
    assert cli("bench", "mel", *TINY[:2], "--batch", 8, *TINY[6:], "--memory", 0.2, "-o", "r.json")[0] == 0
    (cell,) = json.loads(Path("r.json").read_text())["cells"]
    assert [(row["name"], row["alone"]) for row in cell["rows"][:3]] == [("specgraph", True), (PLAIN, True), ("specgraph in torch", True)]
    if Path("/proc/self/clear_refs").exists():
        assert [one["name"] for one in cell["left_out"]] == ["greedy"]
        assert re.match(r"it may need 0\.[23] GB, and 0\.2 GB may be used", cell["left_out"][0]["why"])


def test_sizes_choose_the_subjects_that_know_them() -> None:
    usual = matrix.Settings()
    assert usual.that_take(()) == usual.names == ("mel", "spectrogram", "log-mel", "cqt")
    assert usual.that_take(["400/160", "512/160"]) == ("mel", "spectrogram", "log-mel")
    assert usual.that_take([CQT_SIZE]) == ("cqt",)
    assert usual.that_take(["400/160", CQT_SIZE]) == usual.names


def test_a_machine_in_use_makes_times_provisional() -> None:
    found = {"memory": None, "load": 1.0, "packages": {}, "date": "", "processor": "", "cores": 2, "system": "", "python": ""}
    assert "Provisional" not in tables.machine_text(found | {"load_before": 0.1})
    assert "Provisional" in tables.machine_text(found | {"load_before": 3.0})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["cqt", "--sizes", "400/160"], "a size of cqt is n_bins x bins_per_octave / hop_length"),
        (["cqt", "--sizes", "84x12/512@7000"], "3951.07 Hz, is above half the sample rate"),
        (["--full"], "--full is of --paper; give both"),
        (["--paper", "--device", "cuda"], "--paper runs on the CPU"),
        (["--paper", "--accuracy"], "leave out --paper"),
        (["mel", "--memory", "0"], "--memory must be above 0"),
        (["mell"], "no benchmark of 'mell'; there are mel, spectrogram"),
        (["mel", "--sizes", "400"], "a size is n_fft/hop_length"),
        (["mel", "--sizes", "0/160"], "n_fft must be at least 1"),
        (["mel", "--batch", "0"], "--batch must be at least 1, not 0"),
        (["mel", "--threads", "-1"], "--threads must be at least 0, not -1"),
        (["mel", "--rounds", "0"], "--rounds must be at least 1, not 0"),
        (["mel", "--seconds", "0"], "--seconds must be above 0"),
        (["mel", "--lowerings", "some"], "--lowerings must be chosen or all, not 'some'"),
        (["mel", "--device", "tpu"], "device must be cpu or cuda, not 'tpu'"),
        (["mel", "-o", "r.txt"], "-o takes a .json file or a folder"),
        (["mel", "-o", "no/r.json"], "the folder no does not exist"),
        (["mel", "--plot", "p.wav"], "does not end in a picture's suffix"),
        (["--accuracy", "--batch", "8"], "leave out --batch"),
        (["--accuracy", "log-mel"], "log-mel is not part of the accuracy report"),
        (["--accuracy", "--device", "cuda"], "--accuracy runs on the CPU"),
    ],
)
def test_refuses(cli, arguments: list[str], sentence: str) -> None:
    code, _, err = cli("bench", *arguments)
    assert code == 1
    assert sentence in one_sentence(err)
    assert list(Path().iterdir()) == []


def test_refuses_cuda_where_there_is_none(cli) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    code, _, err = cli("bench", "mel", "--device", "cuda")
    assert code == 1
    assert "needs a torch that can use a GPU, and torch" in one_sentence(err)


def test_runners_take_turns_and_stop_in_time() -> None:
    order: list[str] = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    laps = timing.alternate(runs, budget=60, most=30)
    rounds = ["".join(order[turn : turn + 3]) for turn in range(0, 90, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert len(set(rounds)) == 6, "nobody always follows the same one"
    assert {name: len(found) for name, found in laps.items()} == {"a": 30, "b": 30, "c": 30}
    start = time.perf_counter()
    laps = timing.alternate({"slow": lambda: time.sleep(0.05)}, budget=0.2)
    assert time.perf_counter() - start < 2.0
    assert 1 <= len(laps["slow"]) <= 5
    assert all(lap.wall >= 0.05 > lap.busy for lap in laps["slow"]), "sleeping takes time and no processor"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_memory_is_seen() -> None:
    with memory.Growth() as growth:
        np.ones(10_000_000).sum()
    assert growth.bytes is not None
    assert 70e6 < growth.bytes < 200e6


def test_threads_are_limited_and_given_back() -> None:
    import torch

    before = torch.get_num_threads()
    with timing.limited(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_signals() -> None:
    t = np.arange(tones.RATE) / tones.RATE
    for made, method in ((tones.linear_chirp(), "linear"), (tones.log_chirp(), "logarithmic")):
        np.testing.assert_allclose(made, scipy.signal.chirp(t, 55, 1, 22050, method=method, phi=-90), atol=1e-9)
    for name in tones.SIGNALS:
        wave = tones.wave(name)
        assert (wave.dtype, wave.shape[0]) == (np.float32, 1)
        assert np.isfinite(wave).all()
        assert 0.1 < np.abs(wave).max() <= 1.0
    scale = tones.chromatic_scale().reshape(25, -1)
    pitches = np.abs(np.fft.rfft(scale * np.hanning(scale.shape[1]), 2**17)).argmax(1) * tones.RATE / 2**17
    np.testing.assert_allclose(pitches, 110 * 2 ** (np.arange(25) / 12), rtol=0.005)


def test_errors() -> None:
    wanted = np.array([[[1.0, -4.0]]])
    off = error(wanted + np.array([0.0, 0.4]), wanted, "of the peak")
    assert math.isclose(off.largest, 0.1)
    assert math.isclose(off.rms, 0.4 / math.sqrt(17))
    assert math.isclose(error(wanted + 0.5, wanted, "dB").largest, 0.5)
    assert math.isclose(error(wanted + np.array([0.0, 0.4]), wanted, "of the peak", slice(0, 1)).inside, 0.0)
    parts = np.array([[[[3.0, 4.0]]]])
    assert math.isclose(error(np.zeros_like(parts), parts, "of the peak").largest, 1.0), "complex: by the modulus"
    assert math.isclose(error(parts * [1, -1], parts, "of the peak").largest, 8 / 5)
    assert to_array(np.array([1 + 2j])).tolist() == [[1.0, 2.0]]


def test_every_subject_has_its_sizes() -> None:
    for subject in SUBJECTS.values():
        for size in subject.sizes:
            assert subject.at(size).graph().outputs
        assert subject.accuracy is None or (subject.at(subject.accuracy) and subject.convention)
    assert len({(peer.name, name) for peer in PEERS for name in peer.computes}) == sum(len(peer.computes) for peer in PEERS)


def test_the_readme_shows_what_was_measured() -> None:
    readme, measured = ((ROOT / path).read_text() for path in ("README.md", "docs/benchmarks/README.md"))
    section = readme.split("## How it compares")[1].split("\n## ")[0]
    rows = re.findall(r"^\| .*\|$", section, re.MULTILINE)
    assert len(rows) > 5
    for row in rows:
        assert row in measured, "copy the first table of docs/benchmarks/README.md into README.md"
    results = json.loads((ROOT / "docs/benchmarks/results.json").read_text())
    assert f"`{results['machine']['command']}`" in section


def test_presets_are_timed_beside_their_references(cli) -> None:
    pytest.importorskip("kaldi_native_fbank")
    code, _, err = cli("bench", "--presets", "kaldi-fbank", "crepe", "--seconds", 0.5, "--budget", 0, "--batch", 2, "-o", "p.md")
    assert (code, err) == (0, "")
    text = Path("p.md").read_text()
    row = next(line for line in text.splitlines() if line.startswith("| kaldi-fbank | kaldi-native-fbank "))
    own, other, ratio, wanted, difference = (float(cell) for cell in row.strip("| ").split(" | ")[2:])
    assert min(own, other) > 0
    assert abs(ratio - other / own) < 0.1 + 0.02 * ratio
    assert wanted == 5
    assert difference < 1e-3
    assert "| crepe | no package: none that installs without TensorFlow" in text
    for wrong, sentence in ((("-o", "p.json"), "writes a .md file"), (("--threads", "1"), "leave out the other options"), (("--parity",), "leave out")):
        code, _, err = cli("bench", "--presets", *wrong)
        assert code == 1
        assert sentence in one_sentence(err)
