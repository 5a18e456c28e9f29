"""Whole models whose front ends amplify float32: written where the features are what they may be, and refused where anything is wrong."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import specgraph as sg
from specgraph.export import whole_model
from specgraph.export.join import join
from specgraph.export.report import VerificationError
from specgraph.lowering import lower
from tests.conftest import peak_error

RATE = 16000


class Acoustic(nn.Module):
    """A front end, a convolution and a GRU."""

    def __init__(self, front_end: Any, bins: int = 80) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.front_end = front_end
        self.conv = nn.Conv1d(bins, 24, 5, stride=2, padding=2)
        self.gru = nn.GRU(24, 24, batch_first=True)

    def layers(self, features: torch.Tensor) -> torch.Tensor:
        return self.gru(torch.relu(self.conv(features)).transpose(1, 2))[0]

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.layers(self.front_end(waveforms))


class Layers(nn.Module):
    """What follows the front end."""

    def __init__(self, model: Acoustic) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.model.layers(features)


def normalised() -> sg.Graph:
    """A log-mel spectrogram, each band of which is normalised."""
    return sg.with_input(sg.preset("nemo-80"), dtype="int16")


def recorded() -> sg.Graph:
    return sg.with_input(sg.preset("nemo-80"), dtype="int16", rate=48000, channels=2)


def quiet(samples: int, channels: int) -> np.ndarray:
    """Clips of 16-bit samples, a few steps loud."""
    return np.random.default_rng(samples).normal(0, 6, (2, channels, samples)).round().astype(np.int16)


def test_a_front_end_that_normalises_is_no_error_of_the_file(tmp_path: Path) -> None:
    model = Acoustic(recorded().module()).eval()
    report = sg.to_onnx(model, tmp_path / "whole.onnx")
    assert report.tolerance == 1e-4
    assert report.error < 1e-4 < report.front_end_error == report.torch_error
    assert "on the same features" in str(report)
    run = sg.load(tmp_path / "whole.onnx")
    assert run.meta.verified["front_end_error"] == float(f"{report.front_end_error:.1e}")
    assert run.meta.verified["error"] < 1e-4


@pytest.mark.parametrize("name", ["whisper-80", "nemo-80"])
def test_a_model_exported_both_ways_gives_what_two_steps_give(name: str, tmp_path: Path) -> None:
    front_end = sg.with_input(sg.preset(name), dtype="int16", rate=48000, channels=2)
    model = Acoustic(front_end.module()).eval()
    assert sg.to_onnx(model, tmp_path / "whole.onnx", tolerance=1e-5).error < 1e-5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's exporter of before, which takes a GRU of any length
        torch.onnx.export(
            Layers(model), (torch.zeros(2, 80, 100),), tmp_path / "layers.onnx", dynamo=False, input_names=["input_features"], output_names=["hidden"],
            dynamic_axes={"input_features": {0: "batch", 2: "frames"}, "hidden": {0: "batch", 1: "steps"}},
        )  # fmt: skip
    assert sg.attach(front_end, tmp_path / "layers.onnx", tmp_path / "attached.onnx").error < 1e-5
    sg.to_onnx(front_end, tmp_path / "features.onnx")
    for samples in (24000, 60001):
        wave = quiet(samples, 2)
        with torch.no_grad():
            in_two_steps = model.layers(torch.from_numpy(sg.load(tmp_path / "features.onnx")(wave))).numpy()
        for path in ("whole.onnx", "attached.onnx"):
            assert peak_error(sg.load(tmp_path / path)(wave), in_two_steps) < 1e-5


def test_a_model_that_needs_no_second_look_says_nothing_of_it(tmp_path: Path) -> None:
    report = sg.to_onnx(Acoustic(sg.preset("whisper-80").module()), tmp_path / "whole.onnx")
    assert report.front_end_error is None
    assert report.error == report.torch_error
    assert "same features" not in str(report)
    assert "front_end_error" not in sg.load(tmp_path / "whole.onnx").meta.verified


def rolled(graph: sg.Graph) -> sg.Graph:
    """Every filter in the place of its neighbour."""
    return graph.with_arrays({c: np.roll(c.array, 1, axis=0) for c in graph.constants() if c.name == "mel"})


def rough(graph: sg.Graph) -> sg.Graph:
    """Each weight of the filters up to one per cent off."""
    draw = np.random.default_rng(0).uniform
    return graph.with_arrays({c: c.array * draw(0.99, 1.01, c.shape) for c in graph.constants() if c.name == "mel"})


@pytest.mark.parametrize("wrong", [rolled, rough])
def test_a_wrong_front_end_in_the_file_is_refused(wrong: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_model, "lower", lambda *arguments: wrong(lower(*arguments)))
    with pytest.raises(VerificationError, match="features of nemo-80 in the file are .* times as far from their float64 definition as they may be"):
        sg.to_onnx(Acoustic(normalised().module()), tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx").exists()


def test_a_front_end_that_was_changed_in_torch_alone_is_refused(tmp_path: Path) -> None:
    model = Acoustic(normalised().module())
    with torch.no_grad():
        model.front_end.mel.copy_(model.front_end.mel.roll(1, 0))  # no parameter: the file has the bank that the graph has
    with pytest.raises(VerificationError, match="in the torch model are .* times as far .*; what is no parameter of a front end must stay"):
        sg.to_onnx(model, tmp_path / "whole.onnx")


def wrong_layer(name: str, factor: float) -> Any:
    """``join`` as it is, and then an array of the layers multiplied by a factor."""

    def wrongly(*arguments: Any) -> ir.Model:
        model = join(*arguments)
        value = model.graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor((value.const_value.numpy() * factor).astype(np.float32), name=name)
        return model

    return wrongly


@pytest.mark.parametrize("factor", [1.01, 1.0005], ids=str)
def test_a_wrong_layer_behind_the_front_end_is_refused(factor: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole_model, "join", wrong_layer("conv.weight", factor))
    with pytest.raises(VerificationError, match="output differs from the torch model by .* of its peak on the same features"):
        sg.to_onnx(Acoustic(recorded().module()), tmp_path / "whole.onnx")
    assert not (tmp_path / "whole.onnx").exists()


class Weighted(nn.Module):
    """A layer before the front end, which leaves next to nothing in the upper bands, and one behind it."""

    def __init__(self, front_end: Any) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.before, self.front_end, self.after = nn.Conv1d(1, 1, 33, padding=16, bias=False), front_end, nn.Conv1d(80, 4, 3)
        with torch.no_grad():
            self.before.weight.copy_(torch.hann_window(35)[1:-1] / 17)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.after(self.front_end(self.before(waveforms[:, None])[:, 0]))


def test_a_layer_before_the_front_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Weighted(sg.preset("nemo-80").module())
    report = sg.to_onnx(model, tmp_path / "whole.onnx")
    assert report.error < 1e-4 < report.front_end_error
    monkeypatch.setattr(whole_model, "join", wrong_layer("before.weight", 1.5))
    # Both of them: the file whose features are looked at, and the one that is to be written.
    monkeypatch.setattr("specgraph.export.inner_features.join", wrong_layer("before.weight", 1.5))
    with pytest.raises(VerificationError, match="waveforms of nemo-80, before any feature is computed, differs from the torch model by"):
        sg.to_onnx(model, tmp_path / "wrong.onnx")


class Several(nn.Module):
    """Two front ends, one of them called twice, and a decision."""

    def __init__(self) -> None:
        super().__init__()
        self.quiet, self.loud = sg.preset("nemo-80").module(), sg.preset("nemo-128").module()

    def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        first, second = self.quiet(waveforms), self.quiet(0.5 * waveforms)
        loud = self.loud(waveforms)
        return {"first": first, "both": first + second, "loudest": loud.argmax(1)}


def test_several_calls_and_outputs_of_whole_numbers(tmp_path: Path) -> None:
    """A decision between two bands that are nearly the same falls one way or the other by rounding, and is compared on the same features."""
    model = Several().eval()
    report = sg.to_onnx(model, tmp_path / "whole.onnx")
    assert report.error < 1e-4 < report.front_end_error
    wave = 0.1 * torch.randn(1, 30000, generator=torch.Generator().manual_seed(0))
    run = sg.load(tmp_path / "whole.onnx")
    got, wanted = run(wave.numpy()), model(wave)
    assert peak_error(got["both"], wanted["both"].numpy()) < 1e-3
    assert (got["loudest"] == wanted["loudest"].numpy()).mean() > 0.99


def test_the_front_ends_compute_their_own_features_again_afterwards(tmp_path: Path) -> None:
    model = Acoustic(recorded().module())
    wave = torch.from_numpy(quiet(24000, 2))
    before = model(wave)
    sg.to_onnx(model, tmp_path / "whole.onnx")
    assert torch.equal(model(wave), before)
    assert "_run" not in vars(model.front_end)
