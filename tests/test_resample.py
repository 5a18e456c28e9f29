"""Resampling against torchaudio's formula evaluated sample by sample, and against scipy and soxr on tones."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import scipy.signal
import soxr
import torch

import specgraph as sg
from specgraph.lowering import lower
from tests.conftest import peak_error, session, waves

RATIOS = [(44100, 16000), (48000, 16000), (22050, 16000), (16000, 44100), (8000, 16000), (44101, 16000), (16000, 11), (7, 5)]


def torchaudio_resample(
    waves: np.ndarray, orig: int, new: int, lowpass_filter_width=6, rolloff=0.99, resampling_method="sinc_interp_hann", beta=None
) -> np.ndarray:
    """Each output as the sum over the whole clip that torchaudio's documentation of its kernel states."""
    common = math.gcd(orig, new)
    orig, new = orig // common, new // common
    base, samples = min(orig, new) * rolloff, waves.shape[1]
    m = np.arange(math.ceil(new * samples / orig))[:, None]
    t = np.clip((np.arange(samples) / orig - m / new) * base, -lowpass_filter_width, lowpass_filter_width)
    if resampling_method == "sinc_interp_hann":
        window = np.cos(t * np.pi / lowpass_filter_width / 2) ** 2
    else:
        beta = 14.769656459379492 if beta is None else beta
        window = np.i0(beta * np.sqrt(1 - (t / lowpass_filter_width) ** 2)) / np.i0(beta)
    return waves @ (np.sinc(t) * window * base / orig).T


@pytest.mark.parametrize("options", [{}, {"lowpass_filter_width": 16, "resampling_method": "sinc_interp_kaiser"}, {"rolloff": 0.8}], ids=str)
@pytest.mark.parametrize(("orig", "new"), RATIOS)
def test_is_torchaudios_formula(orig: int, new: int, options: dict) -> None:
    transform = sg.Resample(sample_rate=orig, new_freq=new, **options)
    graph = transform.graph()
    exact, single = transform.module(dtype=torch.float64), transform.module()
    runs = {target: session(lower(graph, target)) for target in ("cpu", "cuda")}
    for samples in (1, 2, 997):
        wave = waves(samples)
        rows = np.stack(list(wave.values()))
        wanted = torchaudio_resample(rows.astype(np.float64), orig, new, **options)
        for i, name in enumerate(wave):
            assert peak_error(graph.numpy(rows)["resampled"][i], wanted[i]) < 1e-11, name
            assert peak_error(exact(torch.from_numpy(rows).double()).numpy()[i], wanted[i]) < 1e-11, name
            assert peak_error(single(torch.from_numpy(rows)).numpy()[i], wanted[i]) < 2e-6, name
            for target, run in runs.items():
                assert peak_error(run.run(None, {"waveforms": rows})[0][i], wanted[i]) < 2e-6, (name, target)


@pytest.mark.parametrize(("orig", "new"), [(44100, 16000), (48000, 16000), (16000, 22050)])
def test_tones_are_where_scipy_and_soxr_put_them(orig: int, new: int) -> None:
    # The default filter's ripple is 0.5 % up to 0.6 of the lower Nyquist frequency, half a decibel at 0.8; a Kaiser window of
    # 64 crossings has 1e-7. scipy's default filter is off by 0.4 % there, and soxr's at this ratio by 3e-4.
    t = np.arange(orig) / orig
    middle = slice(new // 10, -new // 10)
    for share, floor in ((0.01, 1e-3), (0.6, 5e-3), (0.8, 0.1)):
        frequency = share * min(orig, new) / 2
        wave = np.sin(2 * np.pi * frequency * t)
        tone = np.sin(2 * np.pi * frequency * np.arange(new) / new)
        common = math.gcd(orig, new)
        references = {
            "tone": (tone, 0.0),
            "soxr": (soxr.resample(wave, orig, new, quality="VHQ"), 3e-4),
            "scipy": (scipy.signal.resample_poly(wave, new // common, orig // common), 4e-3),
        }
        sharp = {"lowpass_filter_width": 64, "resampling_method": "sinc_interp_kaiser", "rolloff": 0.95}
        for options, own in (({}, floor), (sharp, 1e-7)):
            got = sg.Resample(sample_rate=orig, new_freq=new, **options).graph().numpy(wave[None])["resampled"][0]
            assert len(got) == new
            for name, (reference, theirs) in references.items():
                assert np.abs(got - reference)[middle].max() < own + theirs, name


def test_what_lies_above_the_new_nyquist_frequency_is_gone() -> None:
    t = np.arange(44100) / 44100
    wave = np.sin(2 * np.pi * 12_000 * t)[None]
    sharp = sg.Resample(sample_rate=44100, lowpass_filter_width=64, resampling_method="sinc_interp_kaiser")
    assert np.abs(sharp.graph().numpy(wave)["resampled"])[:, 500:-500].max() < 1e-6


def test_same_rate_is_the_signal_itself() -> None:
    wave = waves(100)["noise"][None]
    graph = sg.Resample(sample_rate=16000, new_freq=16000).graph()
    np.testing.assert_array_equal(graph.module()(torch.from_numpy(wave)).numpy(), wave)
    np.testing.assert_array_equal(session(lower(graph)).run(None, {"waveforms": wave})[0], wave)


def test_length_and_times_are_exact() -> None:
    graph = sg.Resample(sample_rate=44100, new_freq=16000).graph()
    length = graph.outputs["resampled"].shape[1]
    assert str(length) == "(samples * 160 + 440) // 441"
    for samples in (1, 2, 440, 441, 442, 10**12 + 1):  # torchaudio's own length is off from 2**24 samples on
        assert length.at(samples) == -(-samples * 160 // 441)
    b = sg.Builder(sample_rate=44100)
    low = b.resample(b.input("waveforms"), orig_freq=44100, new_freq=16000)
    frames = b.stft(b.pad(low, 200), n_fft=400, hop_length=160)
    graph = b.build(features=b.magnitude(frames))
    reach = graph.reach()[graph.outputs["features"]]
    assert (reach.hop, reach.centre) == (441, 0)
    assert -reach.first == pytest.approx(200 * 441 / 160 + 6 * 441 / (160 * 0.99))


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("orig", [44100, 48000, 22050, 8000])
def test_file_runs_at_any_size(orig: int, target: str, tmp_path) -> None:
    path = tmp_path / "resample.onnx"
    report = sg.to_onnx(sg.Resample(sample_rate=orig), path, target=target)
    assert report.error < 1e-6
    run = sg.load(path)
    for batch, samples in ((1, 1), (3, 999), (8, 4411)):
        wave = np.random.default_rng(samples).standard_normal((batch, samples)).astype(np.float32)
        wanted = sg.Resample(sample_rate=orig).graph().numpy(wave)["resampled"]
        assert peak_error(run(wave), wanted) < 1e-6


def test_filters_are_trained_and_exported(tmp_path) -> None:
    net = sg.Resample(sample_rate=48, new_freq=32).module(trainable=("fir",), dtype=torch.float64)
    assert dict(net.named_parameters()).keys() == {"fir"}
    wave = torch.randn(2, 31, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(net, (wave,))
    weight = net.fir.detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda w: torch.func.functional_call(net, {"fir": w}, (wave.detach(),)), (weight,))
    silent = net(torch.zeros(1, 9, dtype=torch.float64))
    silent.sum().backward()
    assert torch.isfinite(net.fir.grad).all()
    with torch.no_grad():
        net.fir.mul_(torch.linspace(0.5, 1.5, net.fir.shape[1], dtype=torch.float64))
    sg.to_onnx(net, tmp_path / "learned.onnx")
    got = sg.load(tmp_path / "learned.onnx")(wave.detach().float().numpy())
    assert peak_error(got, net(wave).detach().numpy()) < 1e-6


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"new_freq": 0}, "new_freq must be at least 1, not 0"),
        ({"new_freq": 5512.5}, "new_freq must be int, not 5512.5"),
        ({"lowpass_filter_width": 0}, "lowpass_filter_width must be at least 1, not 0"),
        ({"rolloff": 1.5}, "rolloff must be above 0 and at most 1, not 1.5"),
        ({"beta": 3.0}, "beta 3.0 goes with resampling_method sinc_interp_kaiser"),
        ({"resampling_method": "linear"}, "must be sinc_interp_hann | sinc_interp_kaiser, not 'linear'"),
        ({"sample_rate": 1_000_003, "new_freq": 999_983}, "choose rates with a larger common divisor"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.Resample(**parameters)
    assert "\n" not in str(caught.value)
    assert "orig_freq" not in str(caught.value)
