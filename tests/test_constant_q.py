"""Constant-Q: against float64, librosa's filters and nnAudio, for every lowering, on signals that hurt and signals that sound."""

from __future__ import annotations

import re
import warnings

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.design import constant_q, multirate
from specgraph.lowering import lower
from tests.conftest import check_held, peak_error, session

SAMPLES = 30_000


def signals(sample_rate: int, samples: int = SAMPLES) -> np.ndarray:
    """(signals, samples): chirps, an impulse, noise, and tones with decaying harmonics up the scale."""
    t = np.arange(samples) / sample_rate
    top = 0.45 * sample_rate
    duration = samples / sample_rate
    growth = np.log(top / 55) / duration
    scale = np.zeros(samples)
    for note in range(12):
        since = t - note * duration / 12
        for harmonic in range(1, 9):
            frequency = 220 * 2 ** (note / 12) * harmonic
            if frequency < top:
                scale += (since >= 0) * np.exp(-np.maximum(since, 0) * 6 * harmonic**0.5) * np.sin(2 * np.pi * frequency * since) / harmonic
    impulse = np.zeros(samples)
    impulse[samples // 2 + 37] = 1
    made = [
        np.sin(2 * np.pi * (55 * t + (top - 55) * t**2 / (2 * duration))),
        np.sin(2 * np.pi * 55 * np.expm1(growth * t) / growth),
        impulse,
        0.3 * np.random.default_rng(5).standard_normal(samples),
        0.2 * scale,
    ]
    return np.stack(made).astype(np.float32)


def complex_of(parts: np.ndarray) -> np.ndarray:
    return parts[..., 0] + 1j * parts[..., 1]


def by_hand(wave: np.ndarray, filters: np.ndarray, hop_length: int, scale: np.ndarray, mode: str) -> np.ndarray:
    """Inner products with the conjugates of centred ``filters`` (bins, width), times ``scale``; width even."""
    half = filters.shape[1] // 2
    padded = np.pad(wave.astype(np.float64), ((0, 0), (half, half)), mode=mode)
    frames = np.lib.stride_tricks.sliding_window_view(padded, 2 * half, axis=1)[:, ::hop_length]
    frames = frames[:, : wave.shape[1] // hop_length + 1]
    return np.matmul(filters.conj() * scale[:, None], frames.swapaxes(1, 2))


@pytest.mark.parametrize("mode", ["reflect", "constant"])
@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (sg.CQT, {}),
        (sg.CQT, {"bins_per_octave": 24, "n_bins": 90, "filter_scale": 0.8, "norm": 2.0, "tuning": 0.3}),
        (sg.VQT, {"gamma": 4.0, "n_bins": 70, "window": "hamming"}),
        (sg.VQT, {"n_bins": 70, "norm": 3.0, "sample_rate": 16000}),
        (sg.CQT, {"n_bins": 60, "norm": None, "window": ("kaiser", 5.0)}),
    ],
)
def test_definition_is_librosas_filters(cls, options: dict, mode: str) -> None:
    transform = cls(fmin=65.0, **({"n_bins": 72} | options), output="complex", pad_mode=mode)
    op = transform.op(frozenset())
    filters, lengths = librosa.filters.wavelet(
        freqs=op.centres,
        sr=transform.sample_rate,
        window=transform.window,
        filter_scale=transform.filter_scale,
        norm=transform.norm,
        gamma=op.gamma,
        alpha=constant_q.relative_bandwidth(transform.bins_per_octave, "librosa"),
        dtype=np.complex128,
    )
    wave = signals(transform.sample_rate)
    wanted = by_hand(wave, filters, transform.hop_length, np.sqrt(lengths), mode)
    assert np.abs(complex_of(transform.graph().numpy(wave)["features"]) - wanted).max() < 1e-12 * np.abs(wanted).max()
    np.testing.assert_allclose(op.centres, 65.0 * 2 ** ((np.arange(op.n_bins) + transform.tuning) / op.bins_per_octave))
    if transform.tuning == 0:
        own = librosa.cqt_frequencies(op.n_bins, fmin=65.0, bins_per_octave=op.bins_per_octave)
        np.testing.assert_allclose(op.centres, own)
        np.testing.assert_allclose(op.lengths, librosa.filters.wavelet_lengths(freqs=own, sr=transform.sample_rate, window=transform.window, filter_scale=transform.filter_scale, gamma=op.gamma)[0])


def test_gamma_of_the_ear_is_librosas() -> None:
    own = librosa.cqt_frequencies(40, fmin=100)
    lengths, _ = librosa.filters.wavelet_lengths(freqs=own, sr=22050, gamma=None)
    np.testing.assert_allclose(sg.VQT(fmin=100.0, n_bins=40).op(frozenset()).lengths, lengths)


@pytest.mark.parametrize("normalization", ["librosa", "convolutional", "wrap"])
@pytest.mark.parametrize("options", [{}, {"n_bins": 100, "bins_per_octave": 24, "filter_scale": 0.5}, {"norm": 2}, {"norm": None}, {"pad_mode": "constant"}])
def test_nnaudio_convention_is_cqt1992v2(options: dict, normalization: str) -> None:
    from nnAudio.features import CQT1992v2

    # From 110 Hz on: nnAudio needs clips that are longer than its padding.
    given = {"fmin": 110.0, "n_bins": 60} | options
    theirs = CQT1992v2(sr=22050, output_format="Complex", verbose=False, **(given | {"norm": given.get("norm", 1)}))
    wave = signals(22050)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # In float64: its kernels were rounded to float32, its sums would be rounded on top.
        wanted = complex_of(theirs.double()(torch.from_numpy(wave).double(), normalization_type=normalization).numpy())
    ours = sg.CQT(convention="nnaudio", normalization=normalization, output="complex", **given)
    got = complex_of(ours.graph().numpy(wave)["features"])
    assert np.abs(got - wanted).max() < 1e-6 * np.abs(wanted).max()
    magnitude = sg.CQT(convention="nnaudio", normalization=normalization, **given).module(prefer={"ConstantQ": "direct"})
    for mine, theirs_ in zip(magnitude(torch.from_numpy(wave)).numpy(), np.abs(wanted), strict=True):
        assert peak_error(mine, theirs_) < 2e-6


GRID = [
    (16000, 256, 12, 84, 32.7),
    (22050, 441, 24, 120, 55.0),
    (22050, 512, 12, 84, 32.7),
    (44100, 512, 24, 207, 55.0),
    (44100, 441, 36, 200, 110.0),
    (48000, 1148, 12, 96, 32.7),
    (22050, 509, 12, 60, 110.0),  # a prime hop: nothing to decimate by
    (16000, 32, 36, 150, 110.0),
]


@pytest.mark.parametrize(("sample_rate", "hop_length", "bins_per_octave", "n_bins", "fmin"), GRID)
def test_every_lowering_on_every_signal(sample_rate: int, hop_length: int, bins_per_octave: int, n_bins: int, fmin: float) -> None:
    wave = signals(sample_rate)
    common = {"sample_rate": sample_rate, "hop_length": hop_length, "bins_per_octave": bins_per_octave, "n_bins": n_bins, "fmin": fmin}
    graph = sg.CQT(**common, output="complex").graph()
    wanted = complex_of(graph.numpy(wave)["features"])
    peaks = np.abs(wanted).max(axis=(1, 2))
    for lowering, allowed in (("direct", 2e-6), ("grouped", 2e-6), ("spectral", 2e-4), ("multirate", 2e-4)):
        got = complex_of(session(lower(graph, prefer={"ConstantQ": lowering})).run(None, {"waveforms": wave})[0])
        errors = np.abs(got - wanted).max(axis=(1, 2)) / peaks
        assert (errors < allowed).all(), (lowering, errors)
    fine = sg.CQT(**common, output="complex", tolerance=1e-5).graph()
    got = complex_of(session(lower(fine, prefer={"ConstantQ": "multirate"})).run(None, {"waveforms": wave})[0])
    assert (np.abs(got - wanted).max(axis=(1, 2)) < 1e-5 * peaks).all()


@given(
    hop_length=st.integers(3, 700),
    bins_per_octave=st.sampled_from([3, 7, 12, 24]),
    octaves=st.floats(0.5, 5),
    top=st.floats(0.1, 0.5),
    gamma=st.sampled_from([0.0, 3.0, 30.0]),
    samples=st.integers(1, 4000),
    pad_mode=st.sampled_from(["reflect", "constant", "edge"]),
    tolerance=st.sampled_from([1e-2, 2e-4, 1e-5]),
)
@settings(max_examples=40, deadline=None)
def test_multirate_holds_its_tolerance(hop_length, bins_per_octave, octaves, top, gamma, samples, pad_mode, tolerance) -> None:
    n_bins = max(int(octaves * bins_per_octave), 1)
    fmin = 8000 * top / 2 ** ((n_bins - 1) / bins_per_octave) * 0.999
    transform = sg.VQT(
        sample_rate=8000, hop_length=hop_length, bins_per_octave=bins_per_octave, n_bins=n_bins, fmin=fmin, gamma=gamma,
        pad_mode=pad_mode, tolerance=tolerance, output="complex",
    )  # fmt: skip
    graph = transform.graph()
    lowered = lower(graph, prefer={"ConstantQ": "multirate"})
    assert lowered.outputs["features"].shape == graph.outputs["features"].shape
    wave = np.random.default_rng(samples).standard_normal((2, samples))
    wanted = graph.numpy(wave)["features"]
    got = lowered.numpy(wave)["features"]
    energy = max(np.linalg.norm(kernel.samples) for kernel in transform.op(frozenset()).bank)
    for g, w, x in zip(got, wanted, wave, strict=True):
        assert np.abs(g - w).max() < tolerance * max(np.abs(w).max(), energy * np.sqrt(np.mean(x**2)))


def test_the_plan_bounds_what_tones_give() -> None:
    op = sg.CQT(n_bins=84).op(frozenset())
    plan = op.plan
    assert [level.factor for level in plan.levels] == [2**i for i in range(len(plan.levels))]
    assert sum(len(stage.samples) for stage in plan.stages) == 84
    assert plan.bound < 1e-4
    tone = np.sin(2 * np.pi * 3000.5 / 22050 * np.arange(SAMPLES))[None]  # far above the low bins: what aliases falls there
    graph = sg.CQT(output="complex").graph()
    wanted = complex_of(graph.numpy(tone)["features"])
    got = complex_of(lower(graph, prefer={"ConstantQ": "multirate"}).numpy(tone)["features"])
    inside = np.s_[:, :, 15:-15]
    assert np.abs(got - wanted)[inside].max() < plan.bound * np.abs(wanted)[inside].max()


def test_decimators_halve_at_the_new_half_rate() -> None:
    for step in (2, 3, 5, 7):
        taps = multirate.decimator(step, 100.0)
        response = np.abs(np.fft.rfft(taps, 2**14))
        place = 2**14 // (2 * step)
        assert response[0] == pytest.approx(1, abs=1e-4)
        assert response[place] == pytest.approx(0.5, abs=1e-2)
        assert response[int(1.25 * place) :].max() < 1e-4


@pytest.mark.parametrize(("name", "lowering"), [("CQT1992", "spectral"), ("CQT1992v2", "direct"), ("CQT2010", "multirate"), ("CQT2010v2", "multirate")])
def test_names_of_the_paper_select_a_lowering(name: str, lowering: str) -> None:
    transform = getattr(sg, name)(n_bins=48, fmin=110.0)
    for hop_length in (512, 509):
        lowered = lower(getattr(sg, name)(n_bins=48, fmin=110.0, hop_length=hop_length).graph())
        assert lowered.choices[0].chosen == lowering
    net = transform.module(trainable=("cqt",))
    assert list(dict(net.named_parameters())) == ["cqt"]


def test_trained_kernels_are_exported(tmp_path) -> None:
    transform = sg.CQT(sample_rate=8000, hop_length=128, fmin=200.0, n_bins=36)
    net = transform.module(trainable=("cqt",))
    with torch.no_grad():
        net.cqt *= 1 + 0.1 * torch.randn(net.cqt.shape, generator=torch.Generator().manual_seed(0))
    report = sg.to_onnx(net, tmp_path / "m.onnx")
    assert report.error < 2e-6
    wave = signals(8000, 4000)
    wanted = net(torch.from_numpy(wave)).detach().numpy()
    for got, want in zip(sg.load(tmp_path / "m.onnx")(wave), wanted, strict=True):
        assert peak_error(got, want) < 1e-5


def test_export_reports_the_bound_and_stays_small(tmp_path) -> None:
    report = sg.to_onnx(sg.CQT(), tmp_path / "cqt.onnx")
    assert report.choices[0].chosen == "multirate"
    assert report.choices[0].tolerance == 2e-4
    assert report.choices[0].bound is not None
    assert report.choices[0].bound < 1e-4
    assert report.error < 2e-4
    assert report.file_size < 2e6
    assert "error bound" in str(report)
    run = sg.load(tmp_path / "cqt.onnx")
    np.testing.assert_allclose(run.frequencies, sg.CQT().op(frozenset()).centres)
    assert run(np.zeros(1, np.float32)).shape == (84, 1)
    sg.verify(tmp_path / "cqt.onnx")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"n_bins": 120}, "the highest bin, 31608.5 Hz, is above half the sample rate, 11025 Hz"),
        ({"fmin": 0.0}, "fmin must be above 0"),
        ({"hop_length": 0}, "hop_length must be at least 1"),
        ({"tolerance": 1e-9}, "tolerance must be at least 1e-06"),
        ({"convention": "essentia"}, "convention must be librosa | nnaudio"),
        ({"window": "hnn"}, "window 'hnn'"),
        ({"fmin": 0.001, "n_bins": 3}, "has a kernel of"),
        ({"filter_scale": 0.001}, "the highest bin's kernel has"),
        ({"norm": 0.0}, "norm must be from 0.5 to 64 or None, not 0.0"),
    ],
)
def test_wrong_parameters_are_named(options: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.CQT(**options)
    assert "\n" not in str(caught.value)


def in_band(samples: int, low: float, high: float, sample_rate: int) -> np.ndarray:
    """Noise between two frequencies that rises and falls."""
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    frequencies = np.fft.rfftfreq(samples, 1 / sample_rate)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return (np.fft.irfft(spectrum, samples) * np.hanning(samples)).astype(np.float32)


@pytest.mark.parametrize(("hop_length", "bins_per_octave", "decibels"), [(16, 12, 95), (24, 12, 85), (64, 36, 80), (64, 24, 70)])
def test_the_inverse_gives_the_band_back(hop_length: int, bins_per_octave: int, decibels: float, tmp_path) -> None:
    common = {"hop_length": hop_length, "fmin": 130.8, "n_bins": 5 * bins_per_octave, "bins_per_octave": bins_per_octave}
    centres = sg.CQT(**common).op(frozenset()).centres
    samples = hop_length * (24_000 // hop_length)
    wave = in_band(samples, centres[0], centres[-1], 22050)
    features = sg.CQT(output="complex", **common).module()(torch.from_numpy(wave)[None]).numpy()
    back = session(lower(sg.InverseCQT(**common).graph())).run(None, {"features": features})[0][0]
    assert back.shape == wave.shape
    error, held = np.abs(np.fft.rfft(back - wave)) ** 2, np.abs(np.fft.rfft(wave)) ** 2
    frequencies = np.fft.rfftfreq(samples, 1 / 22050)
    band = (frequencies >= centres[0]) & (frequencies <= centres[-1])
    assert 10 * np.log10(held[band].sum() / error[band].sum()) > decibels
    assert 10 * np.log10(held.sum() / error.sum()) > 40


def test_a_variable_q_transform_is_inverted_too() -> None:
    common = {"hop_length": 16, "fmin": 130.8, "n_bins": 60, "gamma": 10.0}
    wave = in_band(16_000, 150, 3500, 22050)
    features = sg.VQT(output="complex", **common).module()(torch.from_numpy(wave)[None])
    back = sg.InverseCQT(**common).module()(features).numpy()[0]
    assert 10 * np.log10((wave**2).sum() / ((back - wave) ** 2).sum()) > 60


def test_chroma_is_librosas_on_the_same_bins() -> None:
    from specgraph.design.chroma import cqt_to_chroma

    for fmin in (librosa.note_to_hz("C1"), librosa.note_to_hz("A1"), 50.0):
        for bins_per_octave, n_chroma in ((36, 12), (12, 12), (24, 12), (24, 24)):
            wanted = librosa.filters.cq_to_chroma(80, bins_per_octave=bins_per_octave, n_chroma=n_chroma, fmin=fmin)
            np.testing.assert_array_equal(cqt_to_chroma(80, bins_per_octave, n_chroma, fmin), wanted)
    wave = signals(22050)
    for options in ({}, {"threshold": 0.5}, {"chroma_norm": 2.0}):
        transform = sg.ChromaCQT(fmin=110.0, n_bins=180, **options)
        bins = sg.CQT(fmin=110.0, n_bins=180, bins_per_octave=36).graph().numpy(wave)["features"]
        wanted = [
            librosa.feature.chroma_cqt(
                C=row, fmin=110.0, bins_per_octave=36, threshold=options.get("threshold"), norm=options.get("chroma_norm", np.inf)
            )
            for row in bins
        ]
        assert peak_error(transform.graph().numpy(wave)["features"], np.stack(wanted)) < 1e-12
        exact = transform.module(prefer={"ConstantQ": "grouped"})(torch.from_numpy(wave)).numpy()
        if not options.get("threshold"):  # at which rounding decides too
            check_held({"features": exact}, transform.graph(), wave)


def test_harmonics_are_transforms_of_their_own(tmp_path) -> None:
    wave = signals(22050)
    transform = sg.HarmonicCQT(fmin=110.0, n_bins=36, harmonics=(0.5, 1.0, 2.0, 3.0))
    sg.to_onnx(transform, tmp_path / "h.onnx")
    got = sg.load(tmp_path / "h.onnx")(wave)
    assert got.shape == (len(wave), 4, 36, SAMPLES // 512 + 1)
    for row, harmonic in enumerate(transform.harmonics):
        wanted = sg.CQT(fmin=110.0 * harmonic, n_bins=36).graph().numpy(wave)["features"]
        for mine, theirs in zip(got[:, row], wanted, strict=True):
            assert np.abs(mine - theirs).max() < 2e-4 * wanted.max()
    with pytest.raises(ValueError, match=r"harmonic 9: the highest bin"):
        sg.HarmonicCQT(harmonics=(1.0, 9.0, 12.0), n_bins=84)
