"""Combined frequency and periodicity against nnAudio and against the formula in numpy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.signal
import torch

import specgraph as sg
from specgraph.design.cfp import frequency_filters, log_centres, quefrency_filters
from specgraph.lowering import lower
from tests.conftest import check_held, dft_rounding, peak_error, session, waves

NAMES = ("Z", "tfrL0", "tfrLF", "tfrLQ")
pytestmark = pytest.mark.filterwarnings("ignore:stft with return_complex=False")


@pytest.fixture
def nnaudio(monkeypatch: pytest.MonkeyPatch):
    """nnAudio's module, with the window that scipy 1.13 moved; its filters divide by a quefrency of zero."""
    monkeypatch.setattr(scipy.signal, "blackmanharris", scipy.signal.windows.blackmanharris, raising=False)
    import nnAudio.features.cfp

    def make(name: str, transform):
        with np.errstate(divide="ignore"):
            module = getattr(nnAudio.features.cfp, name)(
                fr=transform.fr,
                fs=transform.sample_rate,
                hop_length=transform.hop_length,
                window_size=transform.win_length,
                fc=transform.fc,
                tc=transform.tc,
                g=list(transform.g),
                NumPerOct=transform.bins_per_octave,
            )
            freq, quef = module.create_logfreq_matrix(
                module.f, module.q, transform.fr, transform.fc, transform.tc, transform.bins_per_octave, transform.sample_rate
            )
        module = module.double()  # and without the float32 of its buffers
        module.h = torch.from_numpy(scipy.signal.windows.blackmanharris(transform.win_length))
        module.freq2logfreq_matrix, module.quef2logfreq_matrix = torch.from_numpy(freq), torch.from_numpy(quef)
        return module

    return make


OPTIONS = [
    {},
    {"sample_rate": 22050, "hop_length": 441, "win_length": 1025, "fr": 5.0, "fc": 60.0, "tc": 1 / 1500, "bins_per_octave": 24},
    {"sample_rate": 8000, "hop_length": 100, "win_length": 513, "fr": 7.0, "g": (0.3, 0.5)},
    {"sample_rate": 8000, "hop_length": 200, "win_length": 800, "fr": 10.0, "g": (0.24, 0.6, 1.0, 0.7, 0.9)},
    {"sample_rate": 8000, "hop_length": 200, "win_length": 301, "fr": 26.5, "g": (1.0, 0.5, 0.0)},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_is_nnaudios(options: dict, nnaudio) -> None:
    ours, parts = sg.CFP(**options), sg.CombinedFrequencyPeriodicity(**options)
    signals = waves(6400, ours.sample_rate)
    wave = np.stack(list(signals.values()))
    double = torch.from_numpy(wave).double()
    with torch.no_grad():
        wanted = nnaudio("CFP", ours)(double).numpy()
        wanted_parts = dict(zip(NAMES, nnaudio("Combined_Frequency_Periodicity", parts)(double), strict=True))
        got = ours.module(dtype=torch.float64)(double).numpy()
        got_parts = parts.module(dtype=torch.float64)(double)
    defined, defined_parts = ours.graph().numpy(wave)["features"], parts.graph().numpy(wave)
    assert wanted.shape == got.shape
    assert got.shape[2] == 1 + (6400 - ours.n_fft % 2) // ours.hop_length
    # Where a tone or an impulse leaves zeros, both compute rounding, and roots make more of that: the graph says how much.
    # A filter's sides are (f - centre) / spacing, where some eight roundings of f and the centre count as often as f holds the spacing.
    sides = 8 * 2.0**-53 * max(ours.high_bin, ours.high_quefrency)
    rounding, theirs = dft_rounding(ours.n_fft), {name: part.numpy() for name, part in wanted_parts.items()}
    for array in (got, defined):
        check_held({"features": array}, ours.graph(), wave, rounding, {"features": wanted}, sides)
    for arrays in ({name: part.numpy() for name, part in got_parts.items()}, defined_parts):
        check_held(arrays, parts.graph(), wave, rounding, theirs, sides)
    noise = list(signals).index("noise")  # which leaves no zeros
    assert peak_error(got[noise], wanted[noise]) < 1e-12


@pytest.mark.parametrize("options", OPTIONS[:4], ids=str)
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_float32_in_torch_and_onnxruntime(options: dict, target: str) -> None:
    for transform in (sg.CFP(**options), sg.CombinedFrequencyPeriodicity(**options)):
        graph, net = transform.graph(), transform.module()
        run = session(lower(graph, target))
        outputs = [output.name for output in run.get_outputs()]
        for batch, samples in ((1, 3000), (3, 5001), (8, 2 * transform.hop_length)):
            wave = 0.3 * np.random.default_rng(samples).standard_normal((batch, samples)).astype(np.float32)
            wanted = graph.numpy(wave)
            results = net(torch.from_numpy(wave))
            results = results if isinstance(results, dict) else {"features": results}
            for name, got in zip(outputs, run.run(None, {"waveforms": wave}), strict=True):
                # An error of 3e-8 where the cepstrum crosses zero comes out as its power: 3e-5 for 0.6.
                floor = 3e-6 if name == "tfrL0" else 3e-8 ** min(transform.g[1:])
                assert peak_error(got, wanted[name]) < floor, name
                assert peak_error(results[name].numpy(), wanted[name]) < floor, name


@pytest.mark.parametrize("transform", [sg.CFP(), sg.CombinedFrequencyPeriodicity()], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_file(transform, target: str, tmp_path) -> None:
    report = sg.to_onnx(transform, tmp_path / "cfp.onnx", target=target)
    assert report.file_size < {"cpu": 5e6, "cuda": 15e6}[target]
    results = sg.load(tmp_path / "cfp.onnx")(np.zeros((1, 3000), np.float32))
    for array in results.values() if isinstance(results, dict) else [results]:
        assert array.any() == 0
        assert np.isfinite(array).all()


def test_a_harmonic_tone_peaks_at_its_pitch_only() -> None:
    t = np.arange(16000) / 16000
    tone = sum(np.sin(2 * np.pi * 220.0 * k * t) / k for k in range(1, 8))
    parts = sg.CombinedFrequencyPeriodicity()
    got, centres = parts.graph().numpy(tone[None]), np.array(parts.frequencies())
    middle = got["Z"][0, :, 20]
    assert abs(np.log2(centres[middle.argmax()] / 220.0)) < 1 / 48
    octaves = [np.abs(centres - f).argmin() for f in (110.0, 440.0)]
    assert middle[octaves].max() < 0.5 * middle.max()


def test_one_sample_and_too_short_clips() -> None:
    wave = np.ones((1, 1), np.float32)
    assert sg.CFP().graph().numpy(wave)["features"].shape == (1, 174, 1)
    assert session(lower(sg.CFP().graph())).run(None, {"waveforms": wave})[0].shape == (1, 174, 1)
    with pytest.raises(ValueError, match="a clip needs at least 640 samples here and this one has 639"):
        sg.CombinedFrequencyPeriodicity().module()(torch.zeros(1, 639))


def test_exact_bins() -> None:
    # Triangles as linear interpolation between the centres draws them.
    centres = log_centres(80.0, 1000.0, 12)
    exact = frequency_filters(centres, 16000, 8000, 2.0, 501, exact=True)
    bins = np.arange(501) * 2.0
    for row in range(1, len(centres) - 1):
        wanted = np.interp(bins, centres[row - 1 : row + 2], [0.0, 1.0, 0.0], left=0, right=0)
        np.testing.assert_allclose(exact[row], wanted, atol=1e-12)
    assert quefrency_filters(centres, 16000, 201, exact=True)[12, 100] == 1.0  # 160 Hz is 100 samples
    assert quefrency_filters(centres, 16000, 201, exact=False)[12, 100] == 0.0


@pytest.mark.parametrize("g", [(0.24, 0.6, 1.0), (0.5, 0.0, 0.7), (1.0, 0.6)])
def test_gradients(g: tuple) -> None:
    options = {"sample_rate": 400, "hop_length": 8, "win_length": 21, "fr": 8.0, "fc": 30.0, "tc": 0.01, "bins_per_octave": 4}
    net = sg.CFP(**options, g=g).module(("frequency", "quefrency"), torch.float64)
    wave = torch.randn(1, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    names, parts = zip(*net.named_parameters(), strict=True)
    assert sorted(names) == ["frequency", "quefrency"]

    def run(wave, *parts):
        return torch.func.functional_call(net, dict(zip(names, parts, strict=True)), (wave,))

    assert torch.autograd.gradcheck(run, (wave, *(part.detach().clone().requires_grad_() for part in parts)))
    silent = torch.zeros(1, 30, dtype=torch.float64, requires_grad=True)
    net(silent).sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (silent, *net.parameters()))


def test_trained_filters_are_exported(tmp_path) -> None:
    options = {"sample_rate": 4000, "hop_length": 80, "win_length": 301, "fr": 8.0, "tc": 1 / 500, "bins_per_octave": 12}
    for transform in (sg.CFP(**options), sg.CombinedFrequencyPeriodicity(**options)):
        net = transform.module(("frequency", "quefrency"))
        assert len(list(net.parameters())) == (2 if isinstance(transform, sg.CFP) else 3)
        with torch.no_grad():
            for part in net.parameters():
                part.mul_(torch.linspace(0.5, 2, part.shape[1]))
        sg.to_onnx(net, tmp_path / "learned.onnx")
        wave = 0.1 * np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
        got, wanted = sg.load(tmp_path / "learned.onnx")(wave), net(torch.from_numpy(wave))
        pairs = [(got, wanted)] if isinstance(transform, sg.CFP) else [(got[name], wanted[name]) for name in NAMES]
        assert all(peak_error(ours, theirs.detach().numpy()) < 3e-5 for ours, theirs in pairs)


def test_parameters_from_text() -> None:
    assert sg.CFP.from_strings({"g": "0.2, 0.5,1"}) == sg.CFP(g=(0.2, 0.5, 1.0)) == sg.CFP(g=[0.2, 0.5, 1])
    with pytest.raises(ValueError, match="g must be numbers, not 'many'"):
        sg.CFP.from_strings({"g": "many"})
    assert sg.Combined_Frequency_Periodicity is sg.CombinedFrequencyPeriodicity


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"fr": 0}, "fr, fc and tc must be above 0, not 0.0"),
        ({"g": (0.24,)}, "g must have two exponents or more"),
        ({"g": (0, 1, 1)}, "g must have two exponents or more, none below 0 and the first above 0, not (0.0, 1.0, 1.0)"),
        ({"g": 0.5}, "g must be numbers, not 0.5"),
        ({"fr": 16}, "fr 16 Hz makes a DFT of 1000 samples, which must be at least win_length, 2049"),
        ({"tc": 1e-4}, "1 / tc is 10000 Hz, and must be below half the sample rate, 8000 Hz"),
        ({"fc": 3}, "fc 3 Hz is too low for a resolution of 2 Hz; raise it above 4 Hz"),
        ({"fc": 990}, "three filters fit between"),
        ({"fc": 2000}, "three filters fit between"),
        ({"hop_length": 0}, "hop_length must be at least 1, not 0"),
    ],
)
def test_wrong_parameters_are_named(parameters: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.CFP(**parameters)
    assert "\n" not in str(caught.value)
