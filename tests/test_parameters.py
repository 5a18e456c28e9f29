"""Any parameters of any transform or preset: a sentence that names one, or finite features."""

from __future__ import annotations

import dataclasses
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.graph import Graph
from specgraph.presets import Preset
from specgraph.transforms.base import Transform
from tests.conftest import given
from tests.parameter_sets import annotations, front_ends, parameter_set
from tests.test_module import small

SETS, SEED = 1000, 13
LONGEST = 30_000  # samples of a clip, or of what it is filled up to, that is still computed here
PACKAGE = Path(sg.__file__).resolve().parent.parent


def built(front_end: Transform | Preset, values: dict[str, Any]) -> Graph:
    made = front_end.with_parameters(**values) if isinstance(front_end, Preset) else dataclasses.replace(front_end, **values)
    return made.graph()


def check_sentence(error: Exception, front_end: Transform | Preset) -> None:
    """It is of this package, one line, and says which parameter or preset it is about."""
    raised = Path(traceback.extract_tb(error.__traceback__)[-1].filename).resolve()
    assert raised.is_relative_to(PACKAGE), error
    assert "site-packages" not in raised.relative_to(PACKAGE).parts, error
    sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 500
    names = {*annotations(front_end), getattr(front_end, "name", "features")}
    assert any(name in sentence or name.replace("_", " ") in sentence for name in names), sentence


def check_finite(graph: Graph, seed: int) -> None:
    size = max(graph.least_along_the_clip(), 300 if graph.takes_waveforms else 4)
    if size > LONGEST or (graph.parameters.get("length") or 0) > LONGEST:
        return
    wave = 0.3 * np.random.default_rng(seed).standard_normal((1, size)).astype(np.float32)
    features = graph.module()(torch.from_numpy(given(graph, wave, size)))
    for value in features.values() if isinstance(features, dict) else [features]:
        assert torch.isfinite(value).all()


def test_a_thousand_sets_are_refused_in_a_sentence_or_give_finite_features() -> None:
    rng, every, refused = np.random.default_rng(SEED), front_ends(), 0
    for number in range(SETS):
        front_end = every[rng.integers(len(every))]
        values = parameter_set(front_end, rng)
        try:
            graph = built(front_end, values)
        except (ValueError, TypeError) as error:
            check_sentence(error, front_end)
            refused += 1
        else:
            check_finite(graph, number)
    assert 0.1 * SETS < refused < 0.9 * SETS


@pytest.mark.parametrize("name", ["MelSpectrogram", "CQT", "OctavewiseCQT", "KaldiFbank", "GriffinLim"])
@pytest.mark.parametrize("window", [float("inf"), 2**63, float("nan"), 1e6, ("kaiser", float("nan")), ("gaussian", 0.0), True, {}, [None], 10**400], ids=lambda value: repr(value)[:20])
def test_a_window_without_finite_samples_is_refused(name: str, window: object) -> None:
    with pytest.raises(ValueError, match="window") as caught:
        dataclasses.replace(small(name), window=window)
    check_sentence(caught.value, small(name))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: sg.CQT(norm=0.01), "norm must be from 0.5 to 64 or None, not 0.01"),
        (lambda: sg.CQT(tuning=2**31), "tuning must be at most 100"),
        (lambda: sg.MelSpectrogram(n_fft=2**20, n_mels=2**20), "n_mels 1048576 and n_fft 1048576 make an array of .* GB"),
        (lambda: sg.MelSpectrogram(power=100), "power must be from 0.05 to 8, not 100"),
        (lambda: sg.MelSpectrogram(n_mels=10**400), "n_mels must be from -2147483647 to 2147483647, not 1000"),
        (lambda: sg.LogMelSpectrogram(amin=1e-300), "amin must be 0, or between 1.17549e-38 and 1e\\+30 in magnitude, not 1e-300"),
        (lambda: sg.InverseSpectrogram(n_fft=512, win_length=256, hop_length=300), "hop_length 300 leaves 45 of each 300 samples without a window"),
        (lambda: sg.InverseSpectrogram(n_fft=256, hop_length=256), "hop_length 256 leaves 1 of each 256"),
        (lambda: sg.GriffinLim(n_fft=256, win_length=100, hop_length=128), "hop_length 128 leaves 29 of each 128"),
        (lambda: sg.KaldiFbank(mel_floor=0), "mel_floor must be above 0"),
        (lambda: sg.preset("basic-pitch", output="phase"), "output must be 'magnitude', of which basic-pitch makes its features, not 'phase'"),
        (lambda: sg.preset("whisper-80", length=2**40), "length must be from"),
        (lambda: sg.preset("wav2vec2", bin_shift=(1.0,)).graph(), "bin_shift has 1 numbers, and wav2vec2 has no bins"),
    ],
)
def test_what_was_an_error_of_numpy_or_the_memory_is_a_sentence(make, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()
