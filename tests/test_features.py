"""Chroma, tonnetz, PCEN, spectral descriptors, RMS and zero crossings against librosa."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import librosa
import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.design.chroma import chroma_filterbank, tonnetz_matrix
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import Input, Value
from specgraph.ops.stft import Stft
from specgraph.transforms import Transform
from specgraph.transforms.chroma import normalized, tonnetz
from tests.conftest import peak_error, session, waves

SAMPLES = 30_000
STFT = {"n_fft": 1024, "hop_length": 300}
LIBROSA = STFT | {"pad_mode": "reflect"}
RATE = 22050


def chroma(spectrum: np.ndarray, norm: float | None = np.inf, **options) -> np.ndarray:
    bank = librosa.filters.chroma(sr=RATE, n_fft=STFT["n_fft"], dtype=np.float64, **options)
    return librosa.util.normalize(bank @ np.abs(spectrum) ** 2, norm=norm, axis=0)


def mel(spectrum: np.ndarray, mel_power: float = 2.0) -> np.ndarray:
    return librosa.filters.mel(sr=RATE, n_fft=STFT["n_fft"], n_mels=40, dtype=np.float64) @ np.abs(spectrum) ** mel_power


def pcen(spectrum: np.ndarray, mel_power: float = 2.0, scale: float = 1.0, **options) -> np.ndarray:
    with np.errstate(divide="ignore"):  # librosa takes the logarithm of silence where bias is 0, and its exponential again
        return librosa.pcen(mel(spectrum, mel_power) * scale, sr=RATE, hop_length=STFT["hop_length"], **options)


def of(function: Callable, **options) -> Callable[[np.ndarray], np.ndarray]:
    """A function of librosa's, on a magnitude spectrogram."""
    return lambda spectrum: function(S=np.abs(spectrum), **options)


spectral = librosa.feature
PCEN = STFT | {"n_mels": 40}
SPECTRAL: list[tuple[Transform, Callable[[np.ndarray], np.ndarray]]] = [
    (sg.ChromaSTFT(**STFT), chroma),
    (sg.ChromaSTFT(**STFT, norm=2.0, n_chroma=24, tuning=0.3, base_c=False), lambda d: chroma(d, 2, n_chroma=24, tuning=0.3, base_c=False)),
    (sg.ChromaSTFT(**STFT, norm=None, octwidth=None), lambda d: chroma(d, None, octwidth=None)),
    (sg.ChromaSTFT(**STFT, norm=1.0, ctroct=4.0, octwidth=1.0), lambda d: chroma(d, 1, ctroct=4.0, octwidth=1.0)),
    (sg.Tonnetz(**STFT), lambda d: librosa.feature.tonnetz(chroma=chroma(d))),
    (sg.Tonnetz(**STFT, n_chroma=24), lambda d: librosa.feature.tonnetz(chroma=chroma(d, n_chroma=24))),
    (sg.PCEN(**PCEN), pcen),
    (sg.PCEN(**PCEN, mel_power=1.0, scale=2.0**31), lambda d: pcen(d, 1.0, 2.0**31)),
    (sg.PCEN(**PCEN, gain=0.5, bias=10.0, power=0.25, time_constant=5.0), lambda d: pcen(d, gain=0.5, bias=10, power=0.25, time_constant=5)),
    (sg.PCEN(**PCEN, power=0.0, b=0.2, eps=1e-3), lambda d: pcen(d, power=0, b=0.2, eps=1e-3)),
    (sg.PCEN(**PCEN, bias=0.0, eps=1e-3), lambda d: pcen(d, bias=0, eps=1e-3)),
    (sg.PCEN(**PCEN, b=1.0), lambda d: pcen(d, b=1)),
    (sg.SpectralCentroid(**STFT), of(spectral.spectral_centroid)),
    (sg.SpectralBandwidth(**STFT), of(spectral.spectral_bandwidth)),
    (sg.SpectralBandwidth(**STFT, p=3.0, norm=False), of(spectral.spectral_bandwidth, p=3, norm=False)),
    (sg.SpectralFlatness(**STFT), of(spectral.spectral_flatness)),
    (sg.SpectralFlatness(**STFT, power=1.0, amin=1e-5), of(spectral.spectral_flatness, power=1, amin=1e-5)),
    (sg.SpectralContrast(**STFT), of(spectral.spectral_contrast)),
    (sg.SpectralContrast(**STFT, n_bands=4, fmin=400.0, quantile=0.3, linear=True), of(spectral.spectral_contrast, n_bands=4, fmin=400, quantile=0.3, linear=True)),
]  # fmt: skip
FRAMES = {"frame_length": 1000, "hop_length": 300}
FRAMED: list[tuple[Transform, Callable[[np.ndarray], np.ndarray]]] = [
    (sg.RMS(**FRAMES), lambda w: librosa.feature.rms(y=w, pad_mode="reflect", dtype=np.float64, **FRAMES)),
    (sg.RMS(**FRAMES, pad_mode="constant"), lambda w: librosa.feature.rms(y=w, dtype=np.float64, **FRAMES)),
    (sg.RMS(**FRAMES, center=False), lambda w: librosa.feature.rms(y=w, center=False, dtype=np.float64, **FRAMES)),
    (sg.ZeroCrossingRate(**FRAMES), lambda w: librosa.feature.zero_crossing_rate(w, **FRAMES)),
    (sg.ZeroCrossingRate(**FRAMES, center=False, threshold=0.1), lambda w: librosa.feature.zero_crossing_rate(w, center=False, threshold=0.1, **FRAMES)),
    (sg.ZeroCrossingRate(**FRAMES, threshold=0.0, zero_pos=False), lambda w: librosa.feature.zero_crossing_rate(w, threshold=0, zero_pos=False, **FRAMES)),
]  # fmt: skip


def ids(case: object) -> str:
    if not isinstance(case, Transform):
        return ""
    default = type(case)()
    changed = {p.name: getattr(case, p.name) for p in case.parameters() if getattr(case, p.name) != getattr(default, p.name)}
    return f"{case.command}-" + "-".join(f"{k}={v}" for k, v in changed.items() if k not in (*STFT, *FRAMES))


def error(transform: Transform, got: np.ndarray, wanted: np.ndarray, spectrum: np.ndarray) -> float:
    """Of the peak, or of what a result is the difference of: magnitudes, decibels, shares of 1."""
    scale = {sg.Tonnetz: 1.0, sg.SpectralContrast: 1.0}.get(type(transform), 0.0)
    if getattr(transform, "linear", False):
        scale = float(np.abs(spectrum).max(initial=0.0))
    return peak_error(got, wanted) and float(np.abs(got - wanted).max()) / max(scale, float(np.abs(wanted).max()))


def behind_the_spectrum(transform: Transform) -> Graph:
    """The transform's graph with the spectrum as an input: what it computes of it, without what float32 makes of the FFT."""
    graph = transform.graph()
    place = next(value for value in graph.values() if isinstance(value.op, Stft))
    spectrum = Input("spectrum", ("batch", STFT["n_fft"] // 2 + 1, "frames", 2))()
    widened = dataclasses.replace(graph, inputs=(*graph.inputs, spectrum))
    return dataclasses.replace(widened.rewrite({place: spectrum}.get), inputs=(spectrum,))


@pytest.mark.parametrize(("transform", "reference"), SPECTRAL, ids=ids)
def test_librosa_gives_the_same_on_the_same_spectrogram(transform: Transform, reference) -> None:
    graph = behind_the_spectrum(transform)
    run, module, exact = session(lower(graph)), graph.module(), graph.module(dtype=torch.float64)
    for name, wave in waves(SAMPLES).items():
        complex64 = librosa.stft(wave.astype(np.float64), **LIBROSA).astype(np.complex64)
        spectrum = np.stack([complex64.real, complex64.imag], -1)[None]
        wanted = reference(complex64.astype(np.complex128))
        in64 = exact(torch.from_numpy(spectrum).double()).numpy()[0]
        assert error(transform, in64, wanted, complex64) < 1e-11, name
        assert error(transform, module(torch.from_numpy(spectrum)).numpy()[0], wanted, complex64) < 1e-5, name
        assert error(transform, run.run(None, {"spectrum": spectrum})[0][0], wanted, complex64) < 1e-5, name


@pytest.mark.parametrize(("transform", "reference"), SPECTRAL, ids=ids)
def test_the_definition_is_librosas_from_the_waveform_on(transform: Transform, reference) -> None:
    graph = transform.graph()
    for name, wave in waves(SAMPLES).items():
        spectrum = librosa.stft(wave.astype(np.float64), **LIBROSA)
        assert error(transform, graph.numpy(wave[None])["features"][0], reference(spectrum), spectrum) < 1e-10, name
    wave = waves(SAMPLES)["noise"]
    wanted = reference(librosa.stft(wave.astype(np.float64), **LIBROSA))
    in_onnx = session(lower(graph)).run(None, {"waveforms": wave[None]})[0][0]
    for got in (in_onnx, transform.module()(torch.from_numpy(wave)).numpy()):
        assert peak_error(got, wanted) < 2e-5  # decibels of a valley, which the spectrum's rounding moves more than the peak


@pytest.mark.parametrize(("transform", "reference"), FRAMED, ids=ids)
def test_rms_and_zero_crossings_are_librosas(transform: Transform, reference) -> None:
    graph = transform.graph()
    run, module, exact = session(lower(graph)), transform.module(), transform.module(dtype=torch.float64)
    for name, wave in waves(SAMPLES).items():
        wanted = reference(wave.astype(np.float64))
        assert peak_error(graph.numpy(wave[None])["features"][0], wanted) < 1e-12, name
        assert peak_error(exact(torch.from_numpy(wave).double()).numpy(), wanted) < 1e-12, name
        assert peak_error(module(torch.from_numpy(wave)).numpy(), wanted) < 1e-6, name
        assert peak_error(run.run(None, {"waveforms": wave[None]})[0][0], wanted) < 1e-6, name


@pytest.mark.parametrize("roll_percent", [0.85, 0.1, 0.99])
def test_rolloff_is_librosas_but_for_ties(roll_percent: float) -> None:
    signals = waves(SAMPLES)
    transform = sg.SpectralRolloff(**STFT, roll_percent=roll_percent)
    run, module, graph = session(lower(transform.graph())), transform.module(), transform.graph()
    for wave in signals.values():
        exact = wave.astype(np.float64)
        wanted = librosa.feature.spectral_rolloff(y=exact, sr=RATE, roll_percent=roll_percent, **LIBROSA)
        definition = graph.numpy(exact[None])["features"][0]
        total = np.cumsum(np.abs(librosa.stft(exact, **LIBROSA)), axis=0)
        near = np.abs(total - roll_percent * total[-1:]).min(0) < 1e-5 * total[-1]  # what float32 cannot tell apart
        np.testing.assert_allclose(definition, wanted, rtol=1e-12, atol=0)
        for got in (run.run(None, {"waveforms": wave[None]})[0][0], module(torch.from_numpy(wave[None])).numpy()[0]):
            np.testing.assert_allclose(got[:, ~near], wanted[:, ~near], rtol=1e-6)
            assert (np.abs(got - wanted) <= 1.001 * RATE / STFT["n_fft"]).all()
        assert near.mean() < 0.1 or not wave.any()


def test_chroma_stft_end_to_end_and_norm_as_librosa_writes_it() -> None:
    wave = waves(20_000)["sweep"]
    wanted = librosa.feature.chroma_stft(y=wave.astype(np.float64), tuning=0.0, pad_mode="reflect")
    transform = sg.ChromaSTFT(norm=np.inf)  # type: ignore[arg-type]
    assert transform == sg.ChromaSTFT()
    assert peak_error(transform.graph().numpy(wave[None])["features"][0], wanted) < 1e-6  # librosa's bank is float32


@pytest.mark.parametrize("options", [{}, {"n_chroma": 24, "tuning": 0.3, "octwidth": None, "base_c": False}, {"n_chroma": 7, "ctroct": 4.0}], ids=str)
@pytest.mark.parametrize(("sample_rate", "n_fft"), [(22050, 2048), (16000, 400), (8000, 401), (44100, 4096), (8000, 3)])
def test_chroma_bank_is_librosas(sample_rate: int, n_fft: int, options: dict) -> None:
    wanted = librosa.filters.chroma(sr=sample_rate, n_fft=n_fft, dtype=np.float64, **options)
    np.testing.assert_allclose(chroma_filterbank(sample_rate, n_fft, **options), wanted, atol=1e-12)


def test_tonnetz_of_any_chromagram() -> None:
    chromagram = np.random.default_rng(0).random((1, 12, 9))
    value = Input("chroma", ("batch", 12, "frames"))()
    graph = Graph((value,), {"features": tonnetz(normalized(value, 2.0))}, RATE)
    wanted = librosa.feature.tonnetz(chroma=librosa.util.normalize(chromagram[0], norm=2, axis=0))
    assert peak_error(graph.numpy(chromagram)["features"][0], wanted) < 1e-12
    assert tonnetz_matrix(12).shape == (6, 12)


def test_a_minor_triad_is_found_where_it_is() -> None:
    t = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * f * t) for f in (220.0, 261.63, 329.63))[None].astype(np.float32)
    found = sg.ChromaSTFT(n_fft=4096).graph().numpy(wave)["features"][0].mean(-1)
    assert set(np.argsort(found)[-3:]) == {9, 0, 4}  # A, C, E


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 128, 5000])
@pytest.mark.parametrize("coefficient", [0.9, 0.056, 1e-3, 1e-6])
def test_smoothing_is_scipys_however_many_frames(coefficient: float, frames: int) -> None:
    from scipy.signal import lfilter, lfilter_zi

    state = lfilter_zi([coefficient], [1, coefficient - 1])
    np.testing.assert_allclose(state, 1 - coefficient, rtol=1e-10)  # librosa's state, rounded by a linear system

    b = sg.Builder(RATE)
    graph = b.build(features=b.smooth(b.input("x", ("batch", 3, "frames")), coefficient=coefficient))
    x = (10.0 ** np.random.default_rng(0).uniform(-6, 3, (2, 3, frames))).astype(np.float32)
    x[:, :, frames // 2 :] = 0  # what was loud must die away at its own rate, for thousands of frames
    state = np.full((2, 3, 1), 1 - coefficient)
    wanted = lfilter([coefficient], [1, coefficient - 1], x.astype(np.float64), zi=state)[0]
    audible = wanted > 1e-30
    exact = graph.module(dtype=torch.float64)(torch.from_numpy(x).double()).numpy()
    np.testing.assert_allclose(exact[audible], wanted[audible], rtol=1e-11)
    for got in (session(graph).run(None, {"x": x})[0], graph.module()(torch.from_numpy(x)).numpy()):
        np.testing.assert_allclose(got[audible], wanted[audible], rtol=3e-5)  # a power with thousands of factors in float32
        assert peak_error(got, wanted) < 2e-6


def test_trained_pcen_begins_at_its_parameters_and_stays_positive(tmp_path) -> None:
    transform = sg.PCEN(**PCEN)
    module = transform.module(trainable=("pcen",))
    assert module.pcen.shape == (3, 40)
    wave = torch.from_numpy(waves(8000)["noise"][None])
    assert peak_error(module(wave).detach().numpy(), transform.module()(wave).numpy()) < 1e-5
    with torch.no_grad():
        module.pcen -= 3 * torch.rand_like(module.pcen)
    sg.to_onnx(module, tmp_path / "m.onnx")
    rows = np.exp(module.pcen.detach().double().numpy())
    got = sg.load(tmp_path / "m.onnx")(wave.numpy())[0]
    for band in (0, 7, 39):
        gain, bias, power = rows[:, band]
        energy = mel(librosa.stft(wave[0].double().numpy(), **LIBROSA))[band : band + 1]
        wanted = librosa.pcen(energy, sr=RATE, hop_length=STFT["hop_length"], gain=gain, bias=bias, power=power)
        assert peak_error(got[band : band + 1], wanted) < 1e-5
    with pytest.raises(ValueError, match="gain, bias and power must be above 0 to be trained, not 0.98, 0.0 and 0.5"):
        sg.PCEN(bias=0.0).module(trainable=("pcen",))


def test_silence_and_one_sample_have_values() -> None:
    silence = {"spectral-flatness": 1.0}
    for transform, _ in (*SPECTRAL, *FRAMED, (sg.SpectralRolloff(**STFT), None)):
        if transform.center:
            graph, module = transform.graph(), transform.module()
            run = session(lower(graph))
            for wave in (np.zeros((1, 4000), np.float32), np.zeros((2, 1), np.float32), np.full((1, 1), 0.5, np.float32)):
                wanted = graph.numpy(wave)["features"]
                if not wave.any():
                    np.testing.assert_allclose(wanted, silence.get(transform.command, 0.0), atol=1e-12)
                for got in (run.run(None, {"waveforms": wave})[0], module(torch.from_numpy(wave)).numpy()):
                    assert got.shape == wanted.shape
                    assert np.isfinite(got).all()
                    if not wave.any():
                        np.testing.assert_allclose(got, wanted, atol=1e-6 if wanted.any() else 0)


@pytest.mark.parametrize(
    ("cls", "parameters", "sentence"),
    [
        (sg.ChromaSTFT, {"norm": 0.5}, "norm must be a number of at least 1 or 'inf', not 0.5"),
        (sg.ChromaSTFT, {"octwidth": 0}, "octwidth must be above 0 or none, not 0.0"),
        (sg.ChromaSTFT, {"n_chroma": 0}, "n_chroma must be at least 1, not 0"),
        (sg.Tonnetz, {"n_fft": 2}, "n_fft must be at least 3, not 2"),
        (sg.PCEN, {"mel_power": 0}, "mel_power must be above 0, not 0.0"),
        (sg.PCEN, {"b": 1.5}, "b must be above 0 and at most 1, not 1.5"),
        (sg.PCEN, {"b": 0}, "b must be above 0 and at most 1, not 0.0"),
        (sg.PCEN, {"eps": 0}, "eps must be above 0, not 0.0"),
        (sg.PCEN, {"gain": -1}, "gain must be at least 0, not -1.0"),
        (sg.SpectralBandwidth, {"p": 0}, "p must be above 0, not 0.0"),
        (sg.SpectralRolloff, {"roll_percent": 1}, "roll_percent must be above 0 and below 1, not 1.0"),
        (sg.SpectralFlatness, {"amin": 0}, "amin must be above 0, not 0.0"),
        (sg.SpectralContrast, {"n_bands": 8}, "the last of 8 bands begins at 25600 Hz, above half the sample rate; lower fmin or n_bands"),
        (sg.SpectralContrast, {"n_fft": 64}, "no bin of an n_fft of 64 is left for band 0, 0 to 200 Hz; raise n_fft or fmin"),
        (sg.SpectralContrast, {"quantile": 0}, "quantile must be above 0 and below 1, not 0.0"),
        (sg.RMS, {"frame_length": 0}, "frame_length must be at least 1, not 0"),
        (sg.ZeroCrossingRate, {"threshold": -1}, "threshold must be at least 0, not -1.0"),
    ],
)
def test_wrong_parameters_are_named(cls: type[Transform], parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        cls(**parameters)
    assert "\n" not in str(caught.value)


def test_shapes_of_what_is_composed() -> None:
    value = Input("x", ("batch", 9, "frames"))()
    assert isinstance(normalized(value, None), Value)
    assert normalized(value, None) is value
