"""Files of a stream, ``chunk, state -> features, next_state``, in plain onnxruntime: every front end that streams, in chunks of several sizes."""

from __future__ import annotations

import collections
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.export.verification import with_allowances
from specgraph.graph import Graph
from specgraph.ops.layout import is_time
from specgraph.presets import presets
from specgraph.reach import common_step, margins
from specgraph.shapes import NEXT_STATE
from specgraph.streaming import streaming
from tests.conftest import peak_error
from tests.test_module import small
from tests.test_stream import EVERY, RATE, WHOLE, streamed

STREAMABLE = [name for name in EVERY if name not in WHOLE]
EQUAL = 1e-6  # of the peak


def session(path: Path) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def whole(path: Path, sound: np.ndarray) -> dict[str, np.ndarray]:
    run = session(path)
    return dict(zip((node.name for node in run.get_outputs()), run.run(None, {run.get_inputs()[0].name: sound}), strict=True))


def driven(path: Path, sound: np.ndarray, axes: Mapping[str, int]) -> dict[str, np.ndarray]:
    """All that the file gives for the sound and as many zeros as fill its last chunk: by output, put together along its axis."""
    run = session(path)
    sizes = {node.name: node.shape for node in run.get_inputs()}
    chunk, state = sizes["chunk"][-1], np.zeros((*sound.shape[:-1], sizes["state"][-1]), sound.dtype)
    sound = np.concatenate([sound, np.zeros((*sound.shape[:-1], -sound.shape[-1] % chunk), sound.dtype)], -1)
    found: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    for begin in range(0, sound.shape[-1], chunk):
        outputs = run.run(None, {"chunk": sound[..., begin : begin + chunk], "state": state})
        for node, array in zip(run.get_outputs(), outputs, strict=True):
            found[node.name].append(array)
        state = found.pop(NEXT_STATE)[0]
    return {name: np.concatenate(arrays, axes[name]) for name, arrays in found.items()}


def check_chunks_are_the_whole(graph: Graph, folder: Path, chunks: Sequence[int | None], sound: np.ndarray) -> None:
    """The sound in silence: all frames are those of the whole file, and those that read nothing but the clip those of the clip alone."""
    sg.to_onnx(graph, folder / "whole.onnx")
    alone = whole(folder / "whole.onnx", sound)
    axes = {name: next(axis for axis, length in enumerate(value.shape) if is_time(length)) for name, value in graph.outputs.items()}
    for chunk in chunks:
        sg.to_onnx(graph, folder / "stream.onnx", streaming=True, chunk=chunk)
        said = sg.load(folder / "stream.onnx").meta.parameters
        size, state, delay = said["stream_chunk"], said["stream_state"], said["stream_delay"]
        assert chunk in (None, size)
        lead = -(-2 * state // size) * size  # silence, by which the frames before the clip are whole too
        silence = np.zeros((*sound.shape[:-1], lead), sound.dtype)
        together = np.concatenate([silence, sound, silence, silence], -1)
        got, wanted = driven(folder / "stream.onnx", together, axes), whole(folder / "whole.onnx", together)
        assert got.keys() == wanted.keys() == graph.outputs.keys()
        for name, axis in axes.items():
            reach = graph.reach()[graph.outputs[name]]
            begin, end = int((lead - state) / reach.hop), int((lead + sound.shape[-1] + state) / reach.hop)
            before, after = margins([reach], approximate=False)
            first, last = math.ceil(before / reach.hop), math.floor((sound.shape[-1] - 1 - after) / reach.hop) + 1
            assert last > first + 1
            for reference, of, start, stop, ahead in ((wanted, together, begin, end, 0), (alone, sound, first, last, lead)):
                at = int(ahead / reach.hop) + delay[name]
                ours, theirs = got[name].take(range(start + at, stop + at), axis), reference[name].take(range(start, stop), axis)
                if not equal(ours, theirs):  # a logarithm shows what float32 cannot hold, and the definition by how much
                    allowed = with_allowances(graph, (of,))[1][name].take(range(start, stop), axis)
                    assert (np.abs(ours.astype(np.float64) - theirs) <= allowed).all()


def equal(got: np.ndarray, wanted: np.ndarray) -> bool:
    assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
    if got.dtype == np.float16:  # what float32 cannot tell may be rounded to the next number
        return bool((np.abs(got.astype(np.float64) - wanted) <= np.spacing(np.abs(wanted)) + EQUAL * np.abs(wanted).max()).all())
    return peak_error(got, wanted) < EQUAL


def step_of(graph: Graph) -> int:
    return common_step(graph.reach().values())


def noise(graph: Graph, seed: int = 0, seconds: float = 0.15) -> np.ndarray:
    """Two clips, long enough that some of their frames read nothing else."""
    samples = max(round(seconds * graph.sample_rate), sum(margins(graph.reach().values(), approximate=False)) + 3 * step_of(graph)) + 13
    return (0.2 * np.random.default_rng(seed).standard_normal((2, samples))).astype(np.float32)


@pytest.mark.parametrize("name", STREAMABLE)
def test_every_front_end_in_chunks_is_the_whole(name: str, tmp_path: Path) -> None:
    graph = EVERY[name].graph()
    step, rng = step_of(graph), np.random.default_rng(len(name))
    several = int(rng.integers(2, 3 + 0.2 * graph.sample_rate / step)) * step
    check_chunks_are_the_whole(graph, tmp_path, [step, several], noise(graph))


RECORDED: list[tuple[str, dict[str, Any]]] = [
    ("beats", {"dtype": "int16", "channels": 2}), ("gigaam-v3", {"dtype": "int16"}), ("KaldiMfcc", {"dtype": "int16", "channels": 3}),
    ("vocos", {"dtype": "int16"}), ("voxtral-realtime", {"dtype": "int16", "channels": 2, "rate": 24000}), ("panns", {"rate": 16000, "channels": 2}),
    ("wenet", {"dtype": "int16", "rate": 44100}), ("crepe", {"dtype": "int16", "channels": 2}), ("CQT", {"dtype": "int16", "channels": 2}),
    ("CombinedFrequencyPeriodicity", {"channels": 2}), ("RMS", {"dtype": "int16", "rate": 12000}), ("Resample", {"dtype": "int16", "channels": 2}),
]  # fmt: skip


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("name", "recorded"), RECORDED, ids=str)
def test_what_was_recorded_and_half_precision(name: str, recorded: dict[str, Any], half: bool, tmp_path: Path) -> None:
    graph = replace(sg.with_input(EVERY[name], **recorded), dtype="float16" if half else "float32")
    sound = noise(graph)
    sound = np.stack([sound, *[0.5 * sound[::-1]] * (recorded["channels"] - 1)], 1) if recorded.get("channels", 1) > 1 else sound
    sound = np.round(20000 * sound).astype(np.int16) if recorded.get("dtype") == "int16" else sound
    check_chunks_are_the_whole(graph, tmp_path, [None if half else step_of(graph)], sound)


@pytest.mark.parametrize("name", ["MelSpectrogram", "CQT", "Resample", "KaldiFbank"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=4, deadline=None)
@given(steps=st.integers(1, 60), samples=st.integers(200, 3000), seed=st.integers(0, 9))
def test_a_chunk_of_any_number_of_hops(name: str, tmp_path: Path, steps: int, samples: int, seed: int) -> None:
    graph = EVERY[name].graph()
    sound = (0.2 * np.random.default_rng(seed).standard_normal((1, samples))).astype(np.float32)
    check_chunks_are_the_whole(graph, tmp_path, [steps * step_of(graph)], sound)


INSTEAD: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("LogMelSpectrogram", {}, {"top_db": None}, "give top_db=None"),
    ("MFCC", {}, {"top_db": None}, "give top_db=None"),
    ("MFCC", {"top_db": None, "cmvn": "utterance", "cmvn_window": 20, "min_cmvn_window": 9}, {"cmvn": "sliding"}, "give cmvn='sliding', over the last"),
    ("LFCC", {"log_lf": True, "cmvn": "utterance", "cmvn_window": 20, "cmvn_center": True}, {"cmvn": "sliding"}, "give cmvn='sliding', over the last"),
    ("SpectralContrast", {}, {"linear": True}, "give linear=True"),
    ("ced", {}, {"top_db": None}, "give top_db=None"),
    ("tortoise", {}, {"length": None}, "give length=None"),
    ("clap", {}, {"length": None}, "give length=None"),
]


@pytest.mark.parametrize(("name", "given", "advised", "sentence"), INSTEAD, ids=str)
def test_what_is_advised_instead_streams(name: str, given: dict[str, Any], advised: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    before = EVERY[name].with_parameters(**given) if name in presets() else small(name, sample_rate=RATE, **given)
    sg.to_onnx(before, tmp_path / "whole.onnx")
    for ask in (lambda: sg.load(tmp_path / "whole.onnx").stream(), lambda: sg.to_onnx(before, tmp_path / "s.onnx", streaming=True)):
        with pytest.raises(ValueError, match=rf"cannot stream: \w+\(.*\) looks at the whole clip; {sentence}"):
            ask()
    after = before.with_parameters(**advised) if name in presets() else replace(before, **advised)
    graph = after.graph()
    sound = noise(graph)
    check_chunks_are_the_whole(graph, tmp_path, [step_of(graph), None], sound)
    run = sg.load(tmp_path / "whole.onnx", threads=1)
    wanted = run(sound[:1])[0]
    got, allowed = streamed(run, sound[0], [7, 1000, 55]), with_allowances(graph, (sound[:1],))[1]["features"][0]
    assert got.shape == wanted.shape
    assert (np.abs(got.astype(np.float64) - wanted) <= np.maximum(allowed, EQUAL * np.abs(wanted).max())).all()


@pytest.mark.parametrize(("name", "sentence"), [
    ("PCEN", "smooth.* stream a MelSpectrogram of the same parameters and smooth its frames as they come"),
    ("StandardizedWaveform", "standardize.* use a fixed mean and scale in its place"), ("ast", "fixed_length.* leave fixed_length out, since a stream has no length"),
    ("granite-speech", "limit_range.* use fixed limits in its place"), ("wespeaker", "cmvn.* or for features sliding_cmvn"),
])  # fmt: skip
def test_what_has_no_parameter_for_it_says_what_to_do(name: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        streaming(EVERY[name].graph())


def test_pcen_of_a_stream_as_it_is_advised(tmp_path: Path) -> None:
    pcen = sg.PCEN(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=20, bias=2.0, power=0.5, scale=1000.0)
    mel = sg.MelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=20)
    sg.to_onnx(mel, tmp_path / "mel.onnx")
    sound = noise(mel.graph(), seconds=1.0)[0]
    stream, level, b, found = sg.load(tmp_path / "mel.onnx").stream(), np.ones(20), pcen.coefficient, []
    for frames in (stream.push(sound[:3001]), stream.push(sound[3001:]), stream.finish()):
        for frame in 1000.0 * frames.T.astype(np.float64):
            level = b * frame + (1 - b) * level
            found.append((frame / (pcen.eps + level) ** pcen.gain + 2.0) ** 0.5 - 2.0**0.5)
    assert peak_error(np.array(found).T, pcen.graph().numpy(sound[None])["features"][0]) < EQUAL
