"""Pictures: that they are drawn, and that what they say of time and frequency is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import specgraph as sg
from specgraph.export.describe import describe
from specgraph.metadata import OutputMetadata
from specgraph.plot import Panel, _draw, check_picture, save
from specgraph.plot_kernels import parts
from tests.conftest import one_sentence

RATE = 16000
TRANSFORMS = [
    sg.LogMelSpectrogram(sample_rate=RATE, n_fft=512, hop_length=160),
    sg.MelSpectrogram(sample_rate=RATE, n_fft=1024, hop_length=256, center=False),
    sg.MFCC(sample_rate=RATE),
    sg.Spectrogram(sample_rate=RATE),
    sg.Spectrogram(sample_rate=RATE, output="complex"),
    sg.Spectrogram(sample_rate=RATE, output="phase"),
    sg.Spectrogram(sample_rate=100, n_fft=64),
    sg.Spectrogram(sample_rate=1_000_000, n_fft=64),
]


def panel(transform: sg.transforms.Transform, wave: np.ndarray) -> Panel:
    graph = transform.graph()
    (features,) = graph.numpy(wave[None]).values()
    about = describe(graph).outputs["features"]
    return Panel(features[0], about, transform.sample_rate, type(transform).__name__)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: f"{type(t).__name__} {t.sample_rate}")
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_every_kind_is_drawn(tmp_path: Path, transform: sg.transforms.Transform, level: float) -> None:
    wave = level * np.random.default_rng(0).standard_normal(RATE)
    save([panel(transform, wave)], tmp_path / "p.png", dpi=40)
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"], "no temporary file is left"


@pytest.mark.parametrize("transform", TRANSFORMS[:2], ids=lambda t: type(t).__name__)
def test_a_tone_burst_is_where_the_axes_say(transform: sg.transforms.Transform) -> None:
    t = np.arange(2 * RATE) / RATE
    wave = 0.5 * np.sin(2 * np.pi * 1000 * t) * (np.abs(t - 1.2) < 0.02)
    axes, bar = drawn(panel(transform, wave))
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    levels = np.asarray(image.get_array())
    row, column = np.unravel_index(levels.argmax(), levels.shape)
    at = left + (column + 0.5) * (right - left) / levels.shape[1]
    assert abs(at - 1.2) < 0.03
    place = bottom + (row + 0.5) * (top - bottom) / levels.shape[0]
    labels = {text.get_text(): tick for tick, text in zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)}
    assert abs(place - labels["1k"]) < 1.5
    assert labels["500"] < labels["1k"] < labels["2k"]
    assert axes.get_ylabel() == "frequency (Hz)"
    assert "dB" in bar.get_ylabel()


def drawn(what: Panel) -> tuple:
    figure = Figure()
    FigureCanvasAgg(figure)
    axes, bar = figure.subplots(1, 2)
    _draw(axes, bar, what)
    return axes, bar


def test_bins_without_frequencies_are_counted() -> None:
    axes, _ = drawn(panel(TRANSFORMS[2], np.random.default_rng(0).standard_normal(RATE)))
    assert axes.get_ylabel() == "coefficient"
    assert all(float(tick).is_integer() for tick in axes.get_yticks())


def test_rows_and_signals(tmp_path: Path) -> None:
    about = OutputMetadata(("batch", "samples"), hop=2.0)
    wave = Panel(np.sin(np.arange(800) / 9), about, RATE, "low")
    save([wave, panel(TRANSFORMS[0], np.random.default_rng(0).standard_normal(RATE))], tmp_path / "two.svg")
    assert "time (s)" in (tmp_path / "two.svg").read_text()


def test_refused_in_one_sentence(tmp_path: Path) -> None:
    wave = Panel(np.zeros(10), OutputMetadata(("batch", "samples")), RATE, "")
    with pytest.raises(ValueError, match="does not end in a picture's suffix"):
        check_picture(tmp_path / "p.wav")
    with pytest.raises(FileNotFoundError, match="create it first"):
        save([wave], tmp_path / "no" / "p.png")
    with pytest.raises(ValueError, match="nothing to draw"):
        save([], tmp_path / "p.png")
    with pytest.raises(ValueError, match=r"shape \(1, 1, 1, 1\) cannot be drawn"):
        save([Panel(np.zeros((1, 1, 1, 1)), wave.about, RATE, "")], tmp_path / "p.png")
    assert list(tmp_path.iterdir()) == []


def test_harmonics_are_drawn_above_one_another(tmp_path: Path) -> None:
    about = OutputMetadata(("batch", "harmonics", "bins", "frames"), hop=512.0, quantity="magnitude of harmonics")
    save([Panel(np.ones((3, 12, 20)), about, 22050, "harmonics")], tmp_path / "h.png")
    assert (tmp_path / "h.png").stat().st_size > 0


def test_harmonics_in_a_models_own_layout_are_drawn_alike() -> None:
    """basic-pitch's (frames, bins, harmonics), with the first harmonic's frequencies."""
    features = np.arange(3 * 4 * 5.0).reshape(3, 4, 5)  # (harmonics, bins, frames)
    drawn = []
    for order in ((0, 1, 2), (2, 1, 0)):
        axes, bar = Figure().subplots(1, 2)
        names = ("batch", *(("harmonics", "bins", "frames")[axis] for axis in order))
        about = OutputMetadata(names, hop=512.0, quantity="x", unit="dB", frequencies=(100.0, 200.0, 300.0, 400.0))
        _draw(axes, bar, Panel(features.transpose(order), about, 22050, "x"))
        drawn.append(axes.images[0].get_array())
        assert axes.get_ylabel() == "bin"  # twelve rows, and four frequencies
    np.testing.assert_array_equal(drawn[0], features.reshape(12, 5))
    np.testing.assert_array_equal(drawn[1], drawn[0])


MEL = sg.MelSpectrogram(sample_rate=RATE, n_fft=64, hop_length=32, n_mels=6, allow_empty_filters=True)


def test_the_parts_of_a_front_end(tmp_path: Path) -> None:
    net = MEL.module(trainable=("fourier", "mel"))
    sg.to_onnx(net, tmp_path / "net.onnx")
    for source in (net, tmp_path / "net.onnx", MEL.graph(trainable=("fourier", "mel"))):
        found = parts(source)
        assert {name: part.kind for name, part in found.items()} == {"fourier": "kernels", "mel": "bank"}
        np.testing.assert_allclose(found["mel"].frequencies, np.arange(33) * RATE / 64)
        np.testing.assert_allclose(found["mel"].array, MEL.bank(), atol=1e-7)
    assert set(parts(MEL.module(trainable=("mel",)))) == {"mel"}, "the trainable ones"
    assert set(parts(sg.MFCC(sample_rate=RATE))) == {"mel", "dct"}, "or all where none is"


def test_a_response_is_what_a_tone_gives() -> None:
    part = parts(MEL.graph(trainable=("fourier",)))["fourier"]
    frequencies, responses = part.responses()
    place = 700
    wave = np.cos(2 * np.pi * frequencies[place] * np.arange(4096) / RATE)
    spectrum = sg.Spectrogram(sample_rate=RATE, n_fft=64, hop_length=1, center=False).graph().numpy(wave[None])["features"][0]
    middle = np.sqrt((spectrum**2).mean(1))  # over the beat of the tone with its image at minus its frequency
    kernel = int(middle.argmax())
    assert kernel == responses[:, place].argmax()
    assert middle[kernel] == pytest.approx(responses[kernel, place], rel=1e-3)


def test_kernels_before_and_after(tmp_path: Path) -> None:
    first, second = (MEL.module(trainable=("fourier", "mel")) for _ in range(2))
    with torch.no_grad():
        second.mel[2, 5] += 1
        second.fourier[0, 16] *= 3
    sg.to_onnx(first, tmp_path / "before.onnx")
    sg.to_onnx(second, tmp_path / "after.onnx")
    figure = sg.plot.kernels(tmp_path / "before.onnx", tmp_path / "after.onnx", tmp_path / "k.png", dpi=40)
    assert (tmp_path / "k.png").read_bytes().startswith(b"\x89PNG")
    titled = {axes.get_title(loc) or "": axes for axes in figure.axes for loc in ("left", "center") if axes.get_title(loc)}
    assert {"mel before", "mel after", "fourier: responses before", "fourier: responses after"} <= set(titled)
    before, after = (np.array([line.get_ydata() for line in titled[f"mel {when}"].lines]) for when in ("before", "after"))
    np.testing.assert_allclose(before, MEL.bank(), atol=1e-7)
    changed = np.argwhere(np.abs(after - before) > 1e-6)
    assert changed.tolist() == [[2, 5]]
    assert titled["mel after"].lines[2].get_xdata()[5] == 5 * RATE / 64
    assert titled["mel before"].get_ylim() == titled["mel after"].get_ylim()
    (curves,) = (axes for title, axes in titled.items() if title == "fourier: kernels, real part")
    assert [text.get_text() for text in curves.get_legend().get_texts()] == ["before", "after"]


def test_constant_q_kernels_have_a_logarithmic_axis() -> None:
    figure = sg.plot.kernels(sg.CQT(sample_rate=RATE, fmin=110, n_bins=60).graph(trainable=("cqt",)))
    assert {axes.get_xscale() for axes in figure.axes if axes.get_xlabel() == "frequency (Hz)" and axes.has_data()} == {"log"}


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (MEL.module(trainable=("mel",)), MEL.module(trainable=("fourier", "mel")), "before has mel and after has fourier, mel"),
        (MEL, sg.MelSpectrogram(sample_rate=RATE, n_fft=64, n_mels=5), r"mel is \(6, 33\) in before and \(5, 33\) in after"),
        (MEL, sg.MelSpectrogram(sample_rate=8000, n_fft=64, n_mels=6, allow_empty_filters=True), "for 16000 Hz and after for 8000 Hz"),
        (sg.Spectrogram(sample_rate=RATE), None, "before holds no arrays to draw"),
    ],
)
def test_kernels_that_cannot_be_compared(before: object, after: object, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        sg.plot.kernels(before, after)


def test_kernels_on_the_command_line(cli) -> None:
    for name, trainable in (("a.onnx", ("fourier", "mel")), ("b.onnx", ("fourier", "mel")), ("c.onnx", ("mel",))):
        sg.to_onnx(MEL.module(trainable=trainable), name)
    code, out, err = cli("plot", "--kernels", "a.onnx", "b.onnx", "-o", "k.png")
    assert (code, err) == (0, "")
    assert "drew k.png" in out
    assert cli("plot", "--kernels", "a.onnx", "-o", "k.svg")[0] == 0
    assert Path("k.png").stat().st_size > 0
    for arguments, sentence in [
        (["--kernels", "a.onnx", "c.onnx"], "a.onnx has fourier, mel and c.onnx has mel"),
        (["--kernels", "a.onnx", "b.onnx", "c.onnx"], "3 were named"),
        (["--kernels", "a.onnx", "--device", "cuda"], "runs nothing on 'cuda'"),
        (["a.onnx"], "name the audio files"),
        (["--kernels", "d.onnx"], "d.onnx"),
    ]:
        code, _, err = cli("plot", *arguments, "-o", "n.png")
        assert code == 1
        assert sentence in one_sentence(err)
    assert not Path("n.png").exists()
