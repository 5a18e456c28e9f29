"""The README does what it says: its Python and shell blocks are run, installs and the tests themselves apart."""

from __future__ import annotations

import ast
import io
import os
import re
import shlex
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import soundfile

import specgraph as sg
from specgraph.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
SERVE = "specgraph serve mel.onnx"
ELSEWHERE = ("python3 -m venv", ".venv/bin/pip", ".venv/bin/pre-commit", ".venv/bin/python -m pytest")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the reader is: with a recording and a folder of them."""
    made = tmp_path_factory.mktemp("readme")
    (made / "recordings").mkdir()
    for name in ("speech.wav", "recordings/a.wav", "recordings/b.flac"):
        soundfile.write(made / name, 0.1 * np.random.default_rng(0).standard_normal((22050, 2)), 22050)
    return made


@pytest.mark.filterwarnings("ignore")  # of torch's exporter, about itself
def test_python_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    blocks = [text for language, text in BLOCKS if language == "python"]
    assert len(blocks) >= 2
    for text in blocks:
        exec(compile(text, "README.md", "exec"), names)  # noqa: S102
    promised = re.findall(r"^(\w+) = .*  # \((\d[\d, ]*)\)$", "".join(blocks), re.MULTILINE)
    assert promised, "shapes in comments are checked"
    for name, shape in promised:
        assert names[name].shape == tuple(map(int, shape.split(",")))  # type: ignore[attr-defined]
    outputs = names["outputs"]
    assert isinstance(outputs, dict)
    stated = re.search(r'# (\{"tones".*\})', README)
    assert stated
    assert {name: value.shape for name, value in outputs.items()} == ast.literal_eval(stated[1])


def test_shell_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PATH", "")
    ran = []
    for line in "".join(text for language, text in BLOCKS if language == "sh").splitlines():
        if line.startswith((*ELSEWHERE, SERVE)):
            continue
        arguments = shlex.split(line)
        assert arguments[0] == "specgraph", line
        monkeypatch.setattr(sys, "argv", arguments)
        code = 0
        try:
            main()
        except SystemExit as exit:
            code = int(exit.code or 0)
        assert code == 0, f"{line}: {capsys.readouterr().err}"
        ran.append(arguments[1])
    assert {"list", "export", "run", "plot", "inspect", "verify"} <= set(ran)
    assert np.load(folder / "features.npy").shape[0] == 80
    assert sorted(path.name for path in (folder / "features").iterdir()) == ["a.npy", "b.npy"]


def test_the_server_answers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("uvicorn")
    assert README.splitlines().count(SERVE) == 1
    monkeypatch.chdir(folder)
    for port in (8000, 8001):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"something listens at port {port} already")
    sg.to_onnx(sg.MelSpectrogram(sample_rate=16000), "mel.onnx")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-m", *SERVE.split()], stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        try:
            assert any(line.startswith("listening at") for line in process.stdout)
            headers = {"Content-Type": "audio/wav", "Accept": "application/x-npy"}
            request = urllib.request.Request("http://127.0.0.1:8000/v2/models/mel/infer", Path("speech.wav").read_bytes(), headers)
            with urllib.request.urlopen(request, timeout=20) as answer:
                features = np.load(io.BytesIO(answer.read()))
            assert features.shape[:2] == (1, 128)
        finally:
            process.terminate()
        assert process.wait(20) == 0


def test_ci_runs_the_commands_as_printed() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    for extras, last in [("gpu,test", "python -m pytest"), ("gpu", "specgraph demo")]:
        install = f"python3 -m venv .venv && .venv/bin/pip install -c .ci/constraints.txt -e '.[{extras}]'"
        assert README.splitlines().count(f"{install} && .venv/bin/{last}") == 1
        assert len(re.findall(f"^python3 -m venv .*{last}", README, re.MULTILINE)) == 1, "the line that the script takes"
        assert f"readme_command '{last}'" in script


def test_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert "docs/demo.png" in targets
    for target in targets:
        assert (ROOT / target).exists(), target


def test_every_word_of_the_command_line_exists() -> None:
    from specgraph.cli import app

    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"specgraph ([a-z]+)(?: |$)", "".join(text for kind, text in BLOCKS if kind == "sh"))) <= commands
