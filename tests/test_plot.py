"""Pictures: that they are drawn, and that what they say of time and frequency is true."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import specgraph as sg
from specgraph.export.describe import describe
from specgraph.metadata import OutputMetadata
from specgraph.plot import Panel, _draw, check_picture, save

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
