"""Ragged batches of every preset, as files: a clip's features are those of the clip alone, and what they are to other code."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.dims import Dim
from specgraph.lowering import lower
from specgraph.ops.layout import axis_along_the_clip
from specgraph.presets import presets
from tests.conftest import session

CUT = 3000  # samples, instead of half a minute
BLANK = {"nemo-80", "nemo-128", "parakeet", "nemotron-streaming"}  # their last frame is zeros and nobody's
OF_ONE_LENGTH = {  # frames; None where the features have one shape, and no lengths beside them
    "whisper-80": CUT // 160, "whisper-128": CUT // 160, "clap": CUT // 480 + 1, "ast": 1024, "tortoise": CUT // 256 + 1,
    "basic-pitch": CUT // 256 + 1, "htdemucs": -(-CUT // 1024), "clap-fused": None, "clap-unfused": None,
}  # fmt: skip
NAMES = [name for name, preset in presets().items() if preset.input().name == "waveforms"]
FILLINGS = (0.0, 1e3, np.inf, np.nan)


def small(name: str) -> sg.Preset:
    """A preset, for shorter clips where it cuts them."""
    made = presets()[name]
    return made if made.length is None else made.with_parameters(length=CUT)


@cache
def sessions(name: str) -> tuple[onnxruntime.InferenceSession, onnxruntime.InferenceSession]:
    """A file with lengths, and one without."""
    preset = small(name)
    return session(lower(preset.graph(lengths=True))), session(lower(preset.graph()))


def batch(lengths: list[int], filling: float, seed: int) -> np.ndarray:
    """Noise on a tone, (clips, the longest), with ``filling`` behind each clip."""
    rng, longest = np.random.default_rng(seed), max(lengths)
    waves = 0.1 * rng.standard_normal((len(lengths), longest)) + 0.3 * np.sin(0.2 * np.arange(longest))
    waves[np.arange(longest) >= np.array(lengths)[:, None]] = filling
    return waves.astype(np.float32)


def check(name: str, features: np.ndarray, counts: np.ndarray | None, alone: list[np.ndarray], tolerance: float) -> None:
    """Each clip's part of a batch is what it gives alone, and what follows is zero."""
    axis = axis_along_the_clip(small(name).graph().outputs[small(name).output_name].shape)
    counts = [None] * len(alone) if counts is None else counts
    for got, count, wanted in zip(features, counts, alone, strict=True):
        if axis is None:
            assert count == OF_ONE_LENGTH[name]
        else:
            assert count == wanted.shape[axis - 1] - (name in BLANK)
            got, rest = np.split(got, [wanted.shape[axis - 1]], axis - 1)
            assert not rest.any()
            assert not np.split(got, [count], axis - 1)[1].any()
        assert np.abs(got - wanted).max() <= tolerance * np.abs(wanted).max()


def lengths_from(least: int) -> st.SearchStrategy[list[int]]:
    edges = st.sampled_from([least, least + 1, least + 159, least + 160, max(least, CUT + 1), max(least, 2 * CUT)])
    return st.lists(edges | st.integers(least, least + 2 * CUT), min_size=1, max_size=4)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_clip_does_not_depend_on_its_batch(name: str, data: st.DataObject) -> None:
    preset = small(name)
    graph, ragged = preset.graph(), preset.graph(lengths=True)
    lengths = data.draw(lengths_from(graph.least()))
    waves = batch(lengths, 1e3, data.draw(st.integers(0, 99)))
    alone = [graph.numpy(wave[None, :length])[preset.output_name][0] for wave, length in zip(waves, lengths, strict=True)]
    with np.errstate(over="ignore"):
        features, counts = (*ragged.numpy(waves, lengths).values(), None)[:2]
    check(name, features, counts, alone, 1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_nor_does_it_in_the_file(name: str, data: st.DataObject) -> None:
    """Clips of a frame and more, of which no band is empty: the logarithm of rounding is any number."""
    preset = small(name)
    lengths = data.draw(lengths_from(max(preset.graph().least(), getattr(preset.transform, "n_fft", 400))))
    waves = batch(lengths, data.draw(st.sampled_from(FILLINGS)), data.draw(st.integers(0, 99)))
    ragged, alone = sessions(name)
    features, counts = (*ragged.run(None, {"waveforms": waves, "waveforms_lens": np.array(lengths)}), None)[:2]
    assert counts is None or counts.dtype == np.int64
    results = [alone.run(None, {"waveforms": wave[None, :length]})[0][0] for wave, length in zip(waves, lengths, strict=True)]
    check(name, features, counts, results, 1e-5)


def test_every_preset_has_lengths_and_few_are_of_one_length() -> None:
    along = {name: axis_along_the_clip(small(name).graph().outputs[small(name).output_name].shape) for name in NAMES}
    assert {name for name, axis in along.items() if axis is None} == OF_ONE_LENGTH.keys()
    for name in NAMES:
        first, *rest = small(name).graph(lengths=True).outputs.items()
        assert bool(rest) == (OF_ONE_LENGTH.get(name, 1) is not None)
        if not rest:
            continue
        (ends,) = rest
        assert ends[0] == f"{first[0]}_lens"
        assert ends[1].shape == (Dim("batch"),)


@pytest.mark.parametrize("name", ["parakeet", "paraformer", "wav2vec2", "clap", "ast", "vggish"])
def test_large_batches_run_in_parts_as_long_as_their_longest_clip(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sg.to_onnx(small(name), tmp_path / "m.onnx", lengths=True)
    lengths = np.array([20000, 16100, 39000, 15999, 16001, 39001, 20003])
    waves = batch(lengths.tolist(), np.nan, 0)
    wanted, counts = sg.load(tmp_path / "m.onnx", most_bytes=math.inf)(waves, lengths)
    assert not np.isnan(wanted).any()
    for most, threads in ((1e3, 1), (1e6, 1), (1e3, 2)):
        run = sg.load(tmp_path / "m.onnx", most_bytes=most, threads=threads)
        features, same = run(waves, lengths)
        np.testing.assert_array_equal(same, counts)
        assert features.shape == wanted.shape
        assert np.abs(features - wanted).max() <= 1e-5 * np.abs(wanted).max()
    seen: list[int] = []
    at_once = run._at_once
    monkeypatch.setattr(run, "_at_once", lambda made, names, arrays: seen.append(arrays[0].shape[1]) or at_once(made, names, arrays))
    run(waves, lengths)
    assert sorted(seen) == sorted(lengths)


@pytest.mark.parametrize("name", [name for name, preset in presets().items() if preset.graph().least() > 1])
def test_a_clip_that_is_too_short_is_refused_in_a_sentence(name: str) -> None:
    net, least = small(name).module(lengths=True), small(name).graph().least()
    waves = torch.zeros(2, least + 1)
    assert net(waves, torch.tensor([least + 1, least]))[1].min() >= (name not in BLANK)
    with pytest.raises(ValueError, match=f"clip 1 has {least - 1} samples, and a clip needs at least {least} here") as refused:
        net(waves, torch.tensor([least + 1, least - 1]))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["parakeet", "clap"])
def test_a_file_is_read_back(name: str, tmp_path: Path) -> None:
    sg.to_onnx(small(name), tmp_path / "m.onnx", lengths=True)
    sg.to_onnx(sg.read_graph(tmp_path / "m.onnx"), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


@pytest.mark.parametrize("name", ["parakeet", "paraformer", "seamless-m4t", "wav2vec2", "clap"])
def test_what_torch_exports_takes_lengths_of_any_batch(name: str) -> None:
    net, vary = small(name).module(lengths=True), torch.export.Dim.DYNAMIC
    inputs = torch.randn(2, 4011), torch.tensor([4011, 2000])  # of Kaldi's blocks of 80 torch asks that both or neither be whole
    program = torch.export.export(net, inputs, dynamic_shapes=({0: vary, 1: vary}, {0: vary}), strict=False)
    waves, lengths = torch.randn(3, 5001), torch.tensor([5001, 2222, 3000])
    got, counts = program.module()(waves, lengths)
    wanted, wanted_counts = net(waves, lengths)
    assert counts.tolist() == wanted_counts.tolist()
    assert (got - wanted).abs().max() <= 5e-5 * wanted.abs().max()  # another lowering: without an FFT


EXTRACTORS = {
    "whisper-80": ("WhisperFeatureExtractor", "input_features"),
    "wav2vec2": ("Wav2Vec2FeatureExtractor", "input_values"),
    "parakeet": ("ParakeetFeatureExtractor", "input_features"),
    "nemotron-streaming": ("NemotronAsrStreamingFeatureExtractor", "input_features"),
    "seamless-m4t": ("SeamlessM4TFeatureExtractor", "input_features"),
    "speech2text": ("Speech2TextFeatureExtractor", "input_features"),
    "ast": ("ASTFeatureExtractor", "input_values"),
}


@pytest.mark.filterwarnings("ignore:At least one mel filter")
@pytest.mark.parametrize("name", EXTRACTORS)
def test_batches_are_those_of_transformers(name: str) -> None:
    """Its features of a padded batch, the zeros in them, and how many are attended to."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    called, output = EXTRACTORS[name]
    lengths = [16000, 9999, 4400]
    waves = batch(lengths, 0.0, 0)
    clips = [wave[:length] for wave, length in zip(waves, lengths, strict=True)]
    options = {} if name in OF_ONE_LENGTH else {"padding": True}
    theirs = getattr(transformers, called)()(clips, sampling_rate=16000, return_attention_mask=True, return_tensors="pt", **options)
    net = sg.preset(name).module(lengths=True)
    features, counts = net(torch.from_numpy(waves), torch.tensor(lengths))
    assert features.shape == theirs[output].shape
    assert (features - theirs[output]).abs().max() < 3e-4  # of logarithms, in the quietest bins
    if name in OF_ONE_LENGTH:  # Whisper's mask says where the clip ends, which waveforms_lens does here
        assert counts.tolist() == [features.shape[1 if sg.preset(name).frames_first else 2]] * 3
    else:
        assert counts.tolist() == theirs["attention_mask"].sum(-1).tolist()
