"""What torch records of a module runs at any length: ``torch.export``, ``torch.jit``, and models that hold front ends."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import specgraph as sg
from specgraph.dims import Dim as Size
from specgraph.module import GraphModule
from specgraph.transforms import registry
from tests.test_module import small

Dim = torch.export.Dim
OPTIONS: dict[str, dict[str, Any]] = {"GriffinLim": {"n_iter": 1}, "InverseMelSpectrogram": {"n_iter": 2}, "InverseCQT": {"n_iter": 1}}
FRONT_ENDS = [  # each with ops, or a way of framing, that the others lack
    "CQT", "CQT1992", "CombinedFrequencyPeriodicity", "GriffinLim", "InverseCQT", "InverseSpectrogram", "KaldiFbank", "PCEN", "Resample",
    "RMS", "SpectralContrast", "StandardizedWaveform", "Uncentred", "whisper-80",
]  # fmt: skip


def made(name: str) -> GraphModule:
    if name == "Uncentred":
        return small("LogMelSpectrogram", center=False).module()
    return (small(name, **OPTIONS.get(name, {})) if name in registry() else sg.preset(name)).module()


def example(module: GraphModule, batch: int, size: int) -> torch.Tensor:
    """Noise for a graph of one input, of positive numbers where it takes features."""
    shape = module.definition.inputs[0].shape
    sizes = [(batch if axis.root == "batch" else size) if isinstance(axis, Size) else axis for axis in shape]
    made = torch.randn(sizes, generator=torch.Generator().manual_seed(size))
    return made if module.definition.takes_waveforms else made.abs()


def check_close(got: Any, wanted: Any) -> None:
    for one, other in zip(*(result.values() if isinstance(result, dict) else [result] for result in (got, wanted)), strict=True):
        assert one.shape == other.shape
        assert (one - other).abs().max() <= 1e-4 * other.abs().max()


def others(module: GraphModule) -> list[tuple[int, int]]:
    """Batches and lengths: the shortest, an odd one, a longer one."""
    least = max(module.definition.least_along_the_clip(), 2)
    return [(1, least), (3, least + 101), (2, 3 * least + 358)]


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_an_exported_program_is_for_any_length(name: str) -> None:
    module = made(name)
    (given,), least = module.definition.inputs, max(module.definition.least_along_the_clip(), 2)
    sizes = {axis: Dim("batch") if size.root == "batch" else Dim("length", min=least) for axis, size in enumerate(given.shape) if isinstance(size, Size)}
    program = torch.export.export(module, (example(module, 2, least + 200),), dynamic_shapes={given.op.label: sizes}).module()
    for batch, size in others(module):
        wave = example(module, batch, size)
        check_close(program(wave), module(wave))


@pytest.mark.filterwarnings("ignore")  # torch.jit is deprecated, and says so in several ways
@pytest.mark.parametrize("name", ["GriffinLim", "InverseSpectrogram", "KaldiFbank", "PCEN", "Resample", "Uncentred"])
def test_so_is_a_script(name: str) -> None:
    module = made(name)
    for program in (torch.jit.script(module), torch.jit.trace(module, example(module, 2, 300), check_trace=False)):
        for batch, size in others(module):
            wave = example(module, batch, size)
            check_close(program(wave), module(wave))


class Classifier(nn.Module):
    """A front end, layers, and clips of different lengths."""

    def __init__(self) -> None:
        super().__init__()
        self.front = small("LogMelSpectrogram").module(trainable=("mel",), lengths=True)
        self.layer = nn.Conv1d(6, 3, 1)

    def forward(self, audio: torch.Tensor, ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, frames = self.front(audio, ends)
        return self.layer(features), frames


def test_a_model_with_lengths_is_exported_by_the_names_of_its_inputs() -> None:
    model, wave, ends = Classifier(), torch.randn(2, 400), torch.tensor([400, 300])
    sizes = {"audio": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, "ends": {0: Dim.DYNAMIC}}
    program = torch.export.export(model, (wave, ends), dynamic_shapes=sizes).module()
    front = torch.export.export(
        model.front, (), {"waveforms": wave, "waveforms_lens": ends}, dynamic_shapes={"waveforms": {0: Dim.DYNAMIC, 1: Dim.DYNAMIC}, "waveforms_lens": {0: Dim.DYNAMIC}}
    ).module()
    for lengths in ([37], [1234, 5, 700]):
        wave, ends = torch.randn(len(lengths), max(lengths)), torch.tensor(lengths)
        for got, wanted in zip(program(wave, ends), model(wave, ends), strict=True):
            torch.testing.assert_close(got, wanted)
        for got, wanted in zip(front(waveforms=wave, waveforms_lens=ends), model.front(wave, ends), strict=True):
            torch.testing.assert_close(got, wanted)


def test_a_program_in_half_precision_computes_in_float32() -> None:
    module = small("LogMelSpectrogram").module().half()
    program = torch.export.export(module, (torch.randn(2, 400).half(),), dynamic_shapes={"waveforms": {1: Dim.DYNAMIC}}).module()
    wave = torch.randn(2, 1001).half()
    assert program(wave).dtype == torch.float16
    torch.testing.assert_close(program(wave), module(wave), rtol=2e-3, atol=2e-3)
