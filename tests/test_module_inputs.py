"""What a module takes: inputs by name, any leading axes, half precision; and what it refuses."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import torch

import specgraph as sg
from tests.conftest import peak_error, waves
from tests.test_module import small

HALVES = [(torch.float16, 2**-11), (torch.bfloat16, 2**-8)]  # with the largest relative rounding


def noise(*shape: int) -> torch.Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("leading", [(), (2,), (2, 1), (2, 3, 2)], ids=str)
@pytest.mark.parametrize("name", ["LogMelSpectrogram", "CombinedFrequencyPeriodicity", "Waveform"])
def test_leading_axes_are_kept(name: str, leading: tuple[int, ...]) -> None:
    module, wave = small(name).module(), noise(*leading, 300)
    got, flat = module(wave), module(wave.reshape(-1, 300))
    for one, wanted in zip(*(result.values() if isinstance(result, dict) else [result] for result in (got, flat)), strict=True):
        assert torch.equal(one, wanted.reshape(*leading, *wanted.shape[1:]))


def test_so_are_those_of_features_and_of_clips_with_lengths() -> None:
    spectrum = noise(2, 3, 17, 9, 2)
    inverse = small("InverseSpectrogram").module()
    assert torch.equal(inverse(spectrum), inverse(spectrum.flatten(0, 1)).unflatten(0, (2, 3)))
    ragged, wave = small("MelSpectrogram").module(lengths=True), noise(3, 1, 300)
    lengths = torch.tensor([300, 200, 40])
    features, ends = ragged(wave, lengths)
    flat, flat_ends = ragged(wave[:, 0], lengths)
    assert torch.equal(features, flat[:, None])
    assert torch.equal(ends, flat_ends[:, None])


def test_inputs_go_by_name_as_the_graph_has_them() -> None:
    module = small("MelSpectrogram").module(trainable=("mel",), constraints={"mel": "non-negative"})
    ragged = small("MelSpectrogram").module(lengths=True)
    wave = noise(2, 300)
    assert list(inspect.signature(module.forward).parameters) == ["waveforms"]
    assert list(inspect.signature(ragged.forward).parameters) == ["waveforms", "waveforms_lens"]
    assert torch.equal(module(waveforms=wave), module(wave))
    assert torch.equal(ragged(waveforms=wave, waveforms_lens=torch.tensor([300, 300]))[0], ragged(wave)[0])
    for net in (module, ragged):
        for other in (copy.copy(net), copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
            assert inspect.signature(other.forward) == inspect.signature(net.forward)
            assert isinstance(other, sg.module.GraphModule)


def test_a_name_that_python_keeps_for_itself_is_followed_by_a_line() -> None:
    b = sg.Builder(sample_rate=8000)
    x = b.input("lambda")
    module = b.build(features=b.multiply(x, 2.0)).module()
    assert list(inspect.signature(module.forward).parameters) == ["lambda_"]
    assert torch.equal(module(noise(1, 9)), 2 * noise(1, 9))


@pytest.mark.parametrize("shape", [(16000, 2), (4000, 1), (1, 16000, 2)], ids=str)
def test_the_array_of_an_audio_file_is_not_taken_for_thousands_of_clips(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"would be {max(shape)} clips of {shape[-1]} samples? each; .*mix its channels to one"):
        small("MelSpectrogram").module()(torch.zeros(shape))
    stereo = sg.with_input(small("MelSpectrogram"), channels=2).module()
    assert stereo(torch.zeros(3, 2, 100)).shape[0] == 3


@pytest.mark.parametrize(("dtype", "rounding"), HALVES, ids=str)
@pytest.mark.parametrize("name", ["CQT", "LogMelSpectrogram", "MFCC"])
def test_half_precision_is_that_of_what_is_given(name: str, dtype: torch.dtype, rounding: float) -> None:
    transform = small(name)
    wave = torch.from_numpy(np.stack([*waves(600).values()]))
    wanted = transform.graph().numpy(wave.to(dtype).numpy(force=True) if dtype != torch.bfloat16 else wave.bfloat16().float().numpy())["features"]
    for module in (transform.module(dtype=dtype), transform.module().to(dtype), torch.nn.Sequential(transform.module()).to(dtype)):
        got = module(wave.to(dtype))
        assert got.dtype == dtype
        assert all(tensor.dtype == torch.float32 for tensor in (*module.parameters(), *module.buffers()))
        assert peak_error(got.double().numpy(), wanted) < 1.1 * rounding  # of one rounding, and of float32
        assert module(wave).dtype == dtype


def test_going_to_half_precision_and_back_loses_nothing() -> None:
    module, wave = small("MFCC").module(trainable=("mel",)), noise(2, 300)
    wanted, bank = module(wave), module.mel.clone()
    back = copy.deepcopy(module).half().bfloat16().float()
    assert torch.equal(back.mel, bank)
    assert torch.equal(back(wave), wanted)
    assert copy.deepcopy(module).half().double()(wave.double()).dtype == torch.float64
    for other in (copy.deepcopy(module.half()), pickle.loads(pickle.dumps(module))):
        assert other(wave).dtype == torch.float16
    assert small("StandardizedWaveform").module()(wave.half()).dtype == torch.float16  # it has nothing to be moved


@pytest.mark.parametrize("dtype", [dtype for dtype, _ in HALVES], ids=str)
def test_a_model_trains_in_half_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    front = small("LogMelSpectrogram").module(trainable=("fourier", "mel"))
    model = torch.nn.Sequential(front, torch.nn.Conv1d(6, 2, 3)).to(dtype)
    before = front.mel.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    wave = noise(2, 300).to(dtype).requires_grad_()
    model(wave).float().square().mean().backward()
    optimizer.step()
    assert wave.grad.dtype == dtype
    assert front.mel.grad.dtype == torch.float32
    assert torch.isfinite(front.fourier.grad).all()
    assert not torch.equal(front.mel, before)


def test_autocast_takes_what_a_half_layer_gives() -> None:
    front, wave = small("LogMelSpectrogram").module(), noise(2, 300)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(front(wave.bfloat16()), front(wave.bfloat16().float()))


def test_other_dtypes_are_refused_in_a_sentence() -> None:
    with pytest.raises(TypeError, match="dtype must be torch.float32, torch.float64, torch.float16 or torch.bfloat16, not torch.int32"):
        small("MFCC").module(dtype=torch.int32)


@pytest.mark.parametrize(
    ("transform", "advice"),
    [
        (sg.preset("kaldi-fbank"), "use snip_edges=False"),
        (sg.MelSpectrogram(center=False), "use center=True"),
        (sg.MelSpectrogram(center=False, align="start"), "pad it with zeros"),
        (sg.CombinedFrequencyPeriodicity(), "pad it with zeros"),
    ],
    ids=["kaldi", "mel", "start", "cfp"],
)
def test_a_clip_shorter_than_a_frame_is_refused_with_advice_that_can_be_taken(transform, advice: str) -> None:
    with pytest.raises(ValueError, match=f"at least \\d+ samples here and this one has 9; .*{advice}"):
        transform.module()(torch.zeros(1, 9))
