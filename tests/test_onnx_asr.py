"""onnx-asr loads the files in place of its own, by its own loader, and what it computes itself is the same."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import onnx
import pytest

import specgraph as sg

pytest.importorskip("onnx_asr", reason="onnx-asr is not installed")

PRESETS = {
    "whisper80": "whisper-80", "whisper128": "whisper-128", "nemo80": "nemo-80", "nemo128": "nemo-128", "kaldi": "icefall",
    "wespeaker": "wespeaker", "gigaam_v2": "gigaam-v2", "gigaam_v3": "gigaam-v3",
}  # fmt: skip
CPU = ["CPUExecutionProvider"]
LENGTHS = [16000, 9999, 4321]


def batch() -> tuple[np.ndarray, np.ndarray]:
    """Chords in noise of different lengths, zeros behind each clip, as onnx-asr pads."""
    t, rng = np.arange(max(LENGTHS)), np.random.default_rng(0)
    tones = np.sin(2 * np.pi * np.array([[220], [740], [1900]]) * t / 16000)
    waves = 0.3 * tones * (1 + np.sin(t / 1500)) / 2 + 0.01 * rng.standard_normal((3, len(t)))
    lengths = np.array(LENGTHS)
    return np.where(t < lengths[:, None], waves, 0).astype(np.float32), lengths


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Its loader, which finds files in ``tmp_path / "data"``: its own, but for those that were written there in their place."""
    import onnx_asr.preprocessors
    from onnx_asr.loader import Manager
    from onnx_asr.preprocessors import preprocessor, resampler

    (tmp_path / "data").mkdir()
    for file in (files(onnx_asr.preprocessors) / "data").iterdir():
        (tmp_path / "data" / file.name).write_bytes(file.read_bytes())
    for module in (preprocessor, resampler):
        monkeypatch.setattr(module, "files", lambda package: tmp_path)

    def make(workers: int = 1) -> Manager:
        options = {"use_numpy_preprocessors": False, "use_conv_preprocessors": False, "max_concurrent_workers": workers, "providers": CPU}
        return Manager(providers=CPU, preprocessor_config=options, resampler_config={"providers": CPU})

    return make


def its_own(name: str):
    """What the package computes by itself on a CPU."""
    from onnx_asr.loader import Manager

    return Manager(providers=CPU)._create_preprocessor(name)


@pytest.mark.parametrize("name", PRESETS)
def test_it_loads_a_preset_in_place_of_its_own_file(name: str, manager, tmp_path: Path) -> None:
    preset = sg.preset(PRESETS[name], **({"scale": 1.0} if name == "wespeaker" else {}))  # onnx-asr takes waveforms as they are
    sg.to_onnx(preset, tmp_path / "data" / f"{name}.onnx", lengths=True)
    waves, lengths = batch()
    features, counts = manager()._create_preprocessor(name)(waves, lengths)
    both = manager(workers=2)._create_preprocessor(name)
    np.testing.assert_allclose(both(waves, lengths)[0], features, atol=1e-5 * np.abs(features).max())
    np.testing.assert_array_equal(both(waves, lengths)[1], counts)
    axis = 1 if preset.frames_first else 2
    for clip, length in enumerate(lengths):  # one by one: its mirrored ends, and the loudest frame that Whisper's floor is below, are the batch's
        wanted, wanted_count = its_own(name)(waves[clip : clip + 1, :length], lengths[clip : clip + 1])
        assert counts[clip] == wanted_count[0]
        got, wanted = (np.split(array, [counts[clip]], axis - 1)[0] for array in (features[clip], wanted[0]))
        if name == "wespeaker":  # less its mean, which its model's code takes away
            wanted = wanted - wanted.mean(0)
        difference = np.abs(got - wanted)
        assert difference.max() < 2e-3  # of logarithms, in the quietest bins of its float32 DFT
        assert difference.mean() < 2e-5


def test_a_recogniser_hears_the_same(manager, tmp_path: Path) -> None:
    """onnx_asr's batch recognition, of a model whose tokens are the loudest band of every eighth frame."""
    frames, bands = onnx.helper.make_tensor_value_info("audio_signal", 1, ["batch", 80, "frames"]), "logprobs"
    nodes = [
        onnx.helper.make_node("Transpose", ["audio_signal"], ["rows"], perm=[0, 2, 1]),
        onnx.helper.make_node("Slice", ["rows", "begin", "end", "axis", "step"], [bands]),
    ]
    numbers = {"begin": 0, "end": 2**31, "axis": 1, "step": 8}
    graph = onnx.helper.make_graph(
        nodes, "loudest", [frames, onnx.helper.make_tensor_value_info("length", 7, ["batch"])],
        [onnx.helper.make_tensor_value_info(bands, 1, ["batch", "steps", 80])],
        [onnx.numpy_helper.from_array(np.array([number]), name) for name, number in numbers.items()],
    )  # fmt: skip
    onnx.save(onnx.helper.make_model(graph, ir_version=8, opset_imports=[onnx.helper.make_opsetid("", 18)]), tmp_path / "model.onnx")
    (tmp_path / "vocab.txt").write_text("".join(f"{chr(0x4E00 + i)} {i}\n" for i in range(79)) + "<blk> 79\n")
    sg.to_onnx(sg.preset("nemo-80"), tmp_path / "data" / "nemo80.onnx", lengths=True)
    waves, lengths = batch()

    def recognise(made) -> list[str]:
        model = made.create_asr("nemo-conformer-ctc", tmp_path)
        return model.recognize([wave[:length] for wave, length in zip(waves, lengths, strict=True)])

    made = manager()
    heard = recognise(made)
    assert [len(text) > 1 for text in heard] == [True] * 3
    made._create_preprocessor = its_own
    assert recognise(made) == heard


@pytest.mark.parametrize("rate", [8000, 44100])
def test_it_loads_a_resampler_in_place_of_its_own(rate: int, manager, tmp_path: Path) -> None:
    waves, lengths = batch()
    own, own_counts = manager()._create_resampler(16000)(waves, lengths, rate)
    sg.to_onnx(sg.Resample(sample_rate=rate, new_freq=16000), tmp_path / "data" / f"resample_{rate // 1000}_16.onnx", lengths=True)
    resampled, counts = manager()._create_resampler(16000)(waves, lengths, rate)
    np.testing.assert_array_equal(counts, own_counts)
    for clip, count in enumerate(counts):
        assert np.abs(resampled[clip, :count] - own[clip, :count]).max() < 1e-5
