"""The tutorial, docs/training.md: its block runs, at a small size here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "training.md").read_text()
(BLOCK,) = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_the_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    small, changed = re.subn(r"CLIPS, EPOCHS = (\d+, )(\d+, )\d+, \d+", r"CLIPS, EPOCHS = \g<1>\g<2>300, 10", BLOCK)
    assert changed == 1
    names: dict[str, object] = {}
    exec(compile(small, "training.md", "exec"), names)  # noqa: S102
    assert float(names["difference"]) < 1e-4  # type: ignore[arg-type]
    assert float(names["accuracy"]) > 0.2, "better than one in ten words"  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"words.onnx", "learned.png"}
    said = capsys.readouterr().out
    assert "with trained ones" in said
    assert "differs from torch by at most" in said


def test_it_is_short() -> None:
    assert len(BLOCK.splitlines()) <= 75
