"""LFCC, derivatives and CMVN: against scipy, librosa, kaldi_native_fbank, and formulas written out here."""

from __future__ import annotations

import dataclasses
import re

import kaldi_native_fbank as knf
import librosa
import numpy as np
import pytest
import scipy.fft
import torch

import specgraph as sg
from specgraph.lowering import lower
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.delta import Delta
from specgraph.ops.sliding_cmvn import SlidingCmvn
from tests.conftest import check_held, peak_error, session, waves


def everywhere(op: str, features: np.ndarray, float64: float = 1e-11, **options) -> tuple[np.ndarray, list[np.ndarray]]:
    """The definition of an op on features, and what float64 torch, float32 torch and onnxruntime make of them."""
    b = sg.Builder(16000)
    graph = b.build(features=getattr(b, op)(b.input("x", ("batch", features.shape[1], "frames")), **options))
    x = features.astype(np.float32)
    exact = graph.module(dtype=torch.float64)(torch.from_numpy(x).double()).numpy()
    wanted = graph.numpy(x)["features"]
    assert peak_error(exact, wanted) < float64
    return wanted, [graph.module()(torch.from_numpy(x)).numpy(), session(lower(graph)).run(None, {"x": x})[0]]


def cepstra(frames: int, bins: int = 5, seed: int = 0) -> np.ndarray:
    """Correlated in time, far from zero, as cepstra are: (2, bins, frames), exact in float32."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.standard_normal((2, bins, frames)), -1) / 5
    return (walk + 20 * rng.standard_normal((2, bins, 1)) - 60).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("frames", [9, 10, 17, 200])
@pytest.mark.parametrize("mode", ["interp", "nearest"])
@pytest.mark.parametrize(("width", "order"), [(9, 1), (9, 2), (3, 1), (5, 3), (7, 2)])
def test_deltas_are_librosas(width: int, order: int, mode: str, frames: int) -> None:
    x = cepstra(frames)
    definition, results = everywhere("delta", x, width=width, order=order, mode=mode)
    wanted = librosa.feature.delta(x, width=width, order=order, mode=mode)
    np.testing.assert_allclose(definition, wanted, atol=1e-11)
    for got in results:
        np.testing.assert_allclose(got, wanted, atol=1e-6 * np.abs(x).max())


@pytest.mark.parametrize("frames", [1, 2, 5, 8])
def test_deltas_of_a_clip_shorter_than_the_width(frames: int) -> None:
    x = cepstra(frames)
    definition, results = everywhere("delta", x)
    longer = np.pad(x, ((0, 0), (0, 0), (0, 9 - frames)), mode="edge")
    wanted = librosa.feature.delta(longer)[:, :, :frames]
    np.testing.assert_allclose(definition, wanted, atol=1e-11)
    for got in results:
        np.testing.assert_allclose(got, wanted, atol=1e-6 * np.abs(x).max())
    nearest, _ = everywhere("delta", x, mode="nearest")
    np.testing.assert_allclose(nearest, librosa.feature.delta(x, mode="nearest"), atol=1e-11)


@pytest.mark.parametrize("frames", [1, 3, 50])
@pytest.mark.parametrize("window", [1, 2, 4])
def test_regression_deltas_are_kaldis(window: int, frames: int) -> None:
    x = cepstra(frames)
    for order in (1, 2, 3):
        definition, results = everywhere("delta", x, width=2 * window + 1, order=order, mode="regression")
        for item in range(len(x)):
            options = knf.DeltaOptions(order=order, window=window)
            wanted = knf.compute_deltas(options, x[item].T.astype(np.float32)).T[-x.shape[1] :]
            for got in (definition[item], *(result[item] for result in results)):
                np.testing.assert_allclose(got, wanted, atol=2e-6 * np.abs(x).max())


def test_first_regression_delta_is_torchaudios_formula() -> None:
    # d[t] = sum_n n (c[t + n] - c[t - n]) / (2 sum_n n ** 2), the ends repeated: torchaudio.functional.compute_deltas
    x, n = cepstra(30), 2
    padded = np.pad(x, ((0, 0), (0, 0), (n, n)), mode="edge")
    at = lambda shift: padded[:, :, n + shift : n + shift + 30]
    wanted = sum(k * (at(k) - at(-k)) for k in range(1, n + 1)) / (2 * sum(k * k for k in range(1, n + 1)))
    for mode in ("regression", "nearest"):
        np.testing.assert_allclose(everywhere("delta", x, width=5, mode=mode)[0], wanted, atol=1e-12)


@pytest.mark.parametrize("norm_vars", [True, False])
@pytest.mark.parametrize("frames", [2, 30, 3000])
def test_cmvn_is_kaldis_and_the_formula(frames: int, norm_vars: bool) -> None:
    x = cepstra(frames)
    definition, results = everywhere("cmvn", x, norm_vars=norm_vars)
    wanted = x - x.mean(-1, keepdims=True)
    wanted = wanted / x.std(-1, keepdims=True) if norm_vars else wanted
    assert peak_error(definition, wanted) < 1e-10
    for got in results:
        assert peak_error(got, wanted) < 1e-5
    rows = (x[0] - x[0].mean(-1, keepdims=True)).T.astype(np.float32)  # its arithmetic is float32's, about zero
    options = knf.CmvnOptions()
    options.norm_vars = norm_vars
    assert peak_error(definition[0], knf.apply_cmvn(knf.compute_cmvn_stats(rows), options, rows).T) < 1e-4  # float32


def kaldi_sliding(x: np.ndarray, window: int, min_window: int, center: bool, norm_vars: bool) -> np.ndarray:
    """``apply-cmvn-sliding``'s windows, frame by frame, as its documentation has them."""
    result = np.empty_like(x)
    frames = x.shape[-1]
    for t in range(frames):
        if center:
            start = t - window // 2
            end = start + window
        else:
            start, end = t - window, t + 1
        if start < 0:
            start, end = 0, end - start
        if not center and end > t:
            end = max(t + 1, min_window)
        if end > frames:
            start, end = max(start - (end - frames), 0), frames
        part = x[..., start:end]
        result[..., t] = x[..., t] - part.mean(-1)
        if norm_vars:
            result[..., t] /= np.sqrt(np.maximum(part.var(-1), 1e-10))
            if end - start == 1:
                result[..., t] = 0
    return result


@pytest.mark.parametrize("norm_vars", [True, False])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("window", "min_window"), [(10, 4), (11, 11), (2, 1), (600, 100)])
@pytest.mark.parametrize("frames", [1, 3, 10, 11, 57])
def test_sliding_cmvn_is_kaldis(frames: int, window: int, min_window: int, center: bool, norm_vars: bool) -> None:
    x = cepstra(frames)
    options = {"window": window, "min_window": min_window, "center": center, "norm_vars": norm_vars}
    definition, results = everywhere("sliding_cmvn", x, 1e-9, **options)  # variances from running sums
    wanted = kaldi_sliding(x, **options)
    assert peak_error(definition, wanted) < 1e-9
    for got in results:
        assert peak_error(got, wanted) < 1e-5


def test_sliding_cmvn_of_a_long_clip_is_as_exact_as_of_a_short_one() -> None:
    x = cepstra(20_000, bins=2) + 1000 * np.linspace(0, 1, 20_000).astype(np.float32)
    x = x.astype(np.float32).astype(np.float64)
    wanted, results = everywhere("sliding_cmvn", x, 1e-8, window=300, min_window=100, norm_vars=True)
    assert peak_error(wanted[:, :, 15_000:], kaldi_sliding(x[:, :, 14_000:], 300, 100, False, True)[:, :, 1000:]) < 1e-8
    for got in results:
        assert peak_error(got, wanted) < 1e-5


@pytest.mark.parametrize("op", [Cmvn(), SlidingCmvn(20, 5), SlidingCmvn(20, 5, center=True)], ids=str)
@pytest.mark.parametrize("value", [0.0, -100.0, 1e-20, 12345.678])
def test_constant_features_normalise_to_zero(op, value: float) -> None:
    options = {field.name: getattr(op, field.name) for field in dataclasses.fields(op)}
    definition, results = everywhere(op.method, np.full((2, 3, 70), value), **options)
    for got in (definition, *results):
        np.testing.assert_array_equal(got, 0.0)
    x = torch.full((2, 3, 70), value, requires_grad=True)
    op.torch(x).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(
    "op", [Cmvn(), Cmvn(False), SlidingCmvn(6, 3), SlidingCmvn(6, 3, True), Delta(5, 2), Delta(5, 2, "regression")], ids=str
)
def test_gradients(op) -> None:
    x = torch.randn(2, 3, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(op.torch, (x,))


def torchaudio_lfcc(wave: np.ndarray, rate: int, n_fft: int, hop: int, n_filter: int, n_lfcc: int, fmin: float, fmax: float, log_lf: bool):
    """torchaudio.transforms.LFCC's steps, as its documentation and source have them, one clip at a time."""
    power = np.abs(librosa.stft(wave.astype(np.float64), n_fft=n_fft, hop_length=hop, pad_mode="reflect")) ** 2
    every = np.linspace(0, rate // 2, n_fft // 2 + 1)
    points = np.linspace(fmin, fmax, n_filter + 2)
    step = np.diff(points)
    slopes = points[None] - every[:, None]
    bank = np.maximum(0, np.minimum(-slopes[:, :-2] / step[:-1], slopes[:, 2:] / step[1:]))
    bands = bank.T @ power
    if log_lf:
        level = np.log(bands + 1e-6)
    else:
        level = 10 * np.log10(np.maximum(bands, 1e-10))
        level = np.maximum(level, level.max() - 80)
    return scipy.fft.dct(level, axis=0, norm="ortho")[:n_lfcc]


@pytest.mark.parametrize("log_lf", [False, True])
@pytest.mark.parametrize(
    ("rate", "n_fft", "hop", "n_filter", "n_lfcc", "fmin", "fmax"),
    [(16000, 400, 200, 128, 40, 0.0, 8000.0), (22050, 2048, 512, 60, 13, 300.0, 9000.0), (16000, 512, 160, 20, 20, 0.0, 4000.0)],
)
def test_lfcc_is_torchaudios_formula(rate, n_fft, hop, n_filter, n_lfcc, fmin, fmax, log_lf) -> None:
    transform = sg.LFCC(
        sample_rate=rate, n_fft=n_fft, hop_length=hop, n_filter=n_filter, n_lfcc=n_lfcc, fmin=fmin, fmax=fmax, log_lf=log_lf
    )
    run, module = session(lower(transform.graph())), transform.module()
    for name, wave in waves(8990, rate).items():  # librosa.stft reflects too little where the last frame ends the clip exactly
        wanted = torchaudio_lfcc(wave, rate, n_fft, hop, n_filter, n_lfcc, fmin, fmax, log_lf)
        assert peak_error(transform.graph().numpy(wave[None])["features"][0], wanted) < 1e-10, name
        if name in ("noise", "silence"):  # of the others ``to_onnx`` knows what the spectrum's rounding may do to a quiet band
            for got in (run.run(None, {"waveforms": wave[None]})[0][0], module(torch.from_numpy(wave)).numpy()):
                assert peak_error(got, wanted) < 1e-5, name


def test_lfcc_limits_each_clip_by_itself() -> None:
    wave = np.stack([waves(6000)["noise"], 1e-4 * waves(6000)["noise"]])
    transform = sg.LFCC(n_fft=512, n_filter=40)
    together = transform.graph().numpy(wave)["features"]
    np.testing.assert_allclose(together[1], transform.graph().numpy(wave[1:])["features"][0], atol=1e-9)


def test_mfcc_with_cmvn_and_deltas() -> None:
    wave = waves(20_000)["noise"]
    plain = sg.MFCC(n_mfcc=13).graph().numpy(wave[None])["features"][0]
    wanted = np.concatenate([plain, librosa.feature.delta(plain), librosa.feature.delta(plain, order=2)])
    transform = sg.MFCC(n_mfcc=13, deltas=2)
    assert transform.graph().outputs["features"].shape[1] == 39
    assert peak_error(transform.graph().numpy(wave[None])["features"][0], wanted) < 1e-12
    normal = (plain - plain.mean(-1, keepdims=True)) / plain.std(-1, keepdims=True)
    wanted = np.concatenate([normal, librosa.feature.delta(normal, width=5, mode="nearest")])
    transform = sg.MFCC(n_mfcc=13, cmvn="utterance", deltas=1, delta_width=5, delta_mode="nearest")
    assert peak_error(transform.graph().numpy(wave[None])["features"][0], wanted) < 1e-12
    assert peak_error(session(lower(transform.graph())).run(None, {"waveforms": wave[None]})[0][0], wanted) < 2e-5
    wanted = kaldi_sliding(plain, 20, 7, False, False)
    transform = sg.MFCC(n_mfcc=13, cmvn="sliding", cmvn_window=20, min_cmvn_window=7, norm_vars=False)
    assert peak_error(transform.graph().numpy(wave[None])["features"][0], wanted) < 1e-11


SHORT = [
    sg.LFCC(n_fft=400, hop_length=160, n_filter=30, n_lfcc=20, deltas=2),
    sg.LFCC(n_fft=400, hop_length=160, n_filter=30, n_lfcc=20, log_lf=True, cmvn="utterance"),
    sg.MFCC(n_fft=400, hop_length=160, n_mels=30, deltas=2, delta_mode="regression", cmvn="sliding"),
    sg.MFCC(n_fft=400, hop_length=160, n_mels=30, deltas=1, cmvn="sliding", cmvn_center=True),
    sg.PCEN(n_fft=400, hop_length=160, n_mels=30),
    sg.ChromaSTFT(n_fft=400, hop_length=160),
    sg.SpectralContrast(n_fft=400, hop_length=160),
    sg.RMS(frame_length=400, hop_length=160),
    sg.ZeroCrossingRate(frame_length=400, hop_length=160),
]


@pytest.mark.parametrize("transform", SHORT, ids=lambda t: t.command)
def test_one_export_runs_at_every_batch_and_length(transform, tmp_path) -> None:
    sg.to_onnx(transform, tmp_path / "m.onnx")
    run, module = sg.load(tmp_path / "m.onnx"), transform.module()
    rng = np.random.default_rng(0)
    for samples in (1, 2, 161, 399, 400, 1000, 12_345):
        for batch in (1, 3, 8):
            wave = (0.1 * rng.standard_normal((batch, samples))).astype(np.float32)
            got, wanted = run(wave), module(torch.from_numpy(wave)).numpy()
            assert got.shape == wanted.shape == (batch, wanted.shape[1], 1 + samples // 160)
            assert np.isfinite(got).all()
            if samples >= 1000:
                check_held({"features": got}, transform.graph(), wave, wanted={"features": wanted})


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"deltas": -1}, "deltas must be at least 0, not -1"),
        ({"delta_width": 4}, "delta_width must be odd, not 4"),
        ({"deltas": 9}, "9 orders of deltas need a delta_width of more frames than 9"),
        ({"cmvn": "sliding", "cmvn_window": 50}, "min_cmvn_window 100 is more than the 50 frames of cmvn_window"),
        ({"cmvn": "global"}, "cmvn must be none | utterance | sliding, not 'global'"),
        ({"n_lfcc": 200}, "n_lfcc 200 is more than the 128 filters"),
        ({"n_fft": 64}, "66 of 128 linear filters are empty, the first of them filter 0: no bin of an n_fft of 64"),
        ({"fmax": 20000}, "fmax 20000 Hz is above half the sample rate, 11025 Hz"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.LFCC(**parameters)
    assert "\n" not in str(caught.value)
