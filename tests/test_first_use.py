"""What a new user meets: names that are nearly right, folders that hold something else, processes that die before they begin."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import specgraph as sg
from specgraph.cli.bench import _check_output
from specgraph.cli.demo import demo
from specgraph.cli.sink import Sink
from specgraph.runtimes.extract.inputs import read_corpus

REPLICA_DIES = """
from specgraph.runtimes.serving import replicas
from specgraph.runtimes.serving.server import Addresses
replicas.MOST_FAILURES = 0
replicas.Replicas(print, (bytes(10**6),), Addresses(http=0, grpc=None), 1).run()
"""


@pytest.mark.parametrize(("name", "like"), [("whisper", "; presets: whisper-128, whisper-80, "), ("wisprr-80", "did you mean 'whisper-80'")])
def test_a_preset_that_is_nearly_named_is_answered_by_the_near_ones(name: str, like: str) -> None:
    with pytest.raises(ValueError, match=f"there is no preset '{name}'.*{like}") as raised:
        sg.preset(name)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize("name", ["chord.wav", "features.png", "log-mel.onnx"])
def test_the_demo_replaces_nothing_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=f"{name} is there already, and the demo did not write it"):
        demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["README.md", "results.json", "speed.png"])
def test_a_benchmark_replaces_nothing_of_others(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"[]")
    with pytest.raises(FileExistsError, match="no benchmark wrote it"):
        _check_output(tmp_path)
    (tmp_path / "results.json").write_text('{"format": 1, "machine": {"command": "specgraph bench"}}')
    _check_output(tmp_path)


@pytest.mark.parametrize(("suffix", "text"), [(".csv", "path,Channel\na.wav,1\n"), (".jsonl", '{"path": "a.wav", "Channel": 1}\n')])
def test_a_column_with_other_capitals_is_not_passed_over(suffix: str, text: str, tmp_path: Path) -> None:
    manifest = tmp_path / f"corpus{suffix}"
    manifest.write_text(text)
    with pytest.raises(ValueError, match="'Channel'; the column is called 'channel'"):
        read_corpus(manifest)


def test_a_replica_that_dies_before_it_reads_its_model_does_not_hang_the_server(tmp_path: Path) -> None:
    script = tmp_path / "without_a_main_guard.py"
    script.write_text(REPLICA_DIES)
    done = subprocess.run([sys.executable, script], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "replicas end as soon as they begin, the last with exit code 1" in done.stderr


@pytest.mark.parametrize(("name", "sentence"), [("-", "and - is neither"), ("loop", "a link that leads to itself")])
def test_features_go_into_no_folder_called_minus_and_no_loop(name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop").symlink_to("loop")
    sg.to_onnx(sg.MelSpectrogram(n_fft=64, n_mels=4), "mel.onnx")
    with pytest.raises((ValueError, OSError), match=sentence):
        Sink(Path(name), [(Path("a.wav"), Path("a.wav"))], sg.load("mel.onnx"))
