"""Frames of the zeros behind a clip: computed once, and equal to what computing all of them gives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specgraph import Graph, lower, preset, with_lengths
from specgraph.export.write import to_onnx
from specgraph.op import Input
from specgraph.ops.affine import Affine
from specgraph.ops.cmvn import Cmvn
from specgraph.ops.fill_in_steps import FillInSteps
from specgraph.ops.fixed_length import FixedLength
from specgraph.ops.limit_range import LimitRange
from specgraph.ops.log import Log
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.ops.repeat_last import RepeatLast
from specgraph.ops.stft import Stft
from specgraph.runtimes import load
from specgraph.silence import without_silence
from tests.conftest import session

SIZE = 9000


def graph_of(n_fft: int, hop: int, pad: int, mode: str, size: int = SIZE, lengths: bool = False) -> Graph:
    """Logarithms of magnitudes of clips that are filled up, limited to a range."""
    wave = Input("waveforms", ("batch", "samples"))()
    value = FixedLength(size)(wave)
    for op in (Pad(pad, pad // 2, mode), Stft(n_fft, hop), Magnitude(2.0), Affine(1.0, 1e-6), Log(), LimitRange(8.0)):
        value = op(value)
    graph = Graph((wave,), {"features": value}, 16000)
    return with_lengths(graph) if lengths else graph


def ops(graph: Graph) -> list[type]:
    return [type(value.op) for value in graph.values()]


def wave(samples: int, batch: int = 2) -> np.ndarray:
    noise = np.random.default_rng(samples).standard_normal((batch, samples))
    noise[:, -300:] *= 30  # the largest of a clip lies where its end is
    return noise


@settings(max_examples=60, deadline=None)
@given(
    n_fft=st.sampled_from([64, 100, 256]), hop=st.sampled_from([25, 32, 60]), pad=st.integers(0, 200),
    mode=st.sampled_from(["reflect", "constant", "edge", "symmetric"]), size=st.integers(SIZE, SIZE + 400), data=st.data(),
)  # fmt: skip
def test_equal_at_every_length(n_fft: int, hop: int, pad: int, mode: str, size: int, data: st.DataObject) -> None:
    graph = graph_of(n_fft, hop, pad, mode, size)
    shorter = without_silence(graph)
    (filled,) = (value.op for value in shorter.values() if isinstance(value.op, FillInSteps))
    edge = size - filled.margin
    samples = data.draw(st.one_of(st.integers(1, 2 * n_fft), st.integers(edge - hop - 1, edge + hop), st.integers(size - 1, size + 50), st.integers(1, size)))
    clip = wave(samples)
    # float64 of an FFT at another offset of the frames in memory differs in the last bits
    np.testing.assert_allclose(shorter.numpy(clip)["features"], graph.numpy(clip)["features"], rtol=1e-12, atol=1e-11)
    assert filled.margin < size / 4


@pytest.mark.parametrize("name", ["whisper-80", "whisper-128", "clap", "tortoise"])
def test_presets_that_fill_up_are_shortened(name: str) -> None:
    lowered = lower(preset(name).graph())
    assert FillInSteps in ops(lowered)
    assert ops(lowered)[-1] is RepeatLast  # all the rest is computed for the clip alone
    assert lowered.outputs["features"].shape == preset(name).graph().outputs["features"].shape


def test_the_clip_and_not_the_silence_is_counted() -> None:
    """What Whisper computes for a second is a twentieth of what it does for 30."""
    lowered = lower(preset("whisper-80").graph())
    frames = next(value.shape[2] for value in lowered.values() if isinstance(value.op, LimitRange))
    assert (frames.at(16000), frames.at(480000), frames.at(10**6)) == (104, 3000, 3000)  # 100 and the margin


def test_what_looks_at_more_than_the_largest_sees_all_frames() -> None:
    """A mean over the clip depends on how often a frame stands there."""
    graph = graph_of(64, 32, 32, "reflect")
    mean = dataclasses.replace(graph, outputs={"features": Cmvn()(graph.outputs["features"])})
    lowered = lower(mean)
    places = {kind: place for place, kind in enumerate(ops(lowered))}
    assert FillInSteps in places
    assert places[RepeatLast] < places[Cmvn]
    clip = wave(3000)
    np.testing.assert_allclose(lowered.numpy(clip)["features"], mean.numpy(clip)["features"], atol=1e-9)


def test_both_outputs_of_a_graph_have_all_frames() -> None:
    graph = graph_of(64, 32, 32, "reflect")
    middle = next(value for value in graph.values() if isinstance(value.op, Magnitude))
    both = dataclasses.replace(graph, outputs={"power": middle, **graph.outputs})
    clip = wave(1234)
    wanted, made = both.numpy(clip), lower(both).numpy(clip)
    assert FillInSteps in ops(lower(both))
    for name in both.outputs:
        np.testing.assert_allclose(made[name], wanted[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("lengths", [False, True])
def test_files_and_modules(lengths: bool) -> None:
    graph = graph_of(64, 32, 32, "reflect", 9600, lengths)
    lowered = lower(graph)
    assert FillInSteps in ops(lowered)
    run, net = session(lowered), graph.module(dtype=torch.float64)
    for samples in (1, 500, 9600 - 200, 9600, 12000):
        clips = wave(samples, 3)
        feed = {"waveforms": clips.astype(np.float32)}
        given = [clips]
        if lengths:
            lens = np.array([samples, max(samples // 3, 1), max(samples - 1, 1)])
            clips[1, lens[1] :] = np.nan  # what stands behind a clip is not read
            feed = {"waveforms": clips.astype(np.float32), "waveforms_lens": lens}
            given = [np.nan_to_num(clips), lens]
        wanted = graph.numpy(*given)["features"]
        np.testing.assert_allclose(run.run(["features"], feed)[0], wanted, atol=2e-5)
        made = net(*(torch.from_numpy(array) for array in given))
        np.testing.assert_allclose((made[0] if lengths else made).detach().numpy(), wanted, atol=1e-9)


def test_gradients_are_those_of_all_frames() -> None:
    """A frame that stands for many has the gradient of all of them."""
    small, length = preset("whisper-80", length=16000), 4000
    net, all_frames = (small.graph(trainable=["mel"]).module(dtype=torch.float64) for _ in range(2))
    clip = torch.from_numpy(wave(length))
    net(clip).sum().backward()
    filled = torch.nn.functional.pad(clip, (0, 16000 - length))  # nothing is left out of a clip that is long enough
    all_frames(filled).sum().backward()
    np.testing.assert_allclose(net.mel.grad.numpy(), all_frames.mel.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_whisper_for_any_length(tmp_path) -> None:
    """The file and the definition at lengths around those where frames begin to be left out."""
    graph, path = preset("whisper-80", length=32000).graph(), tmp_path / "whisper.onnx"
    to_onnx(graph, path)
    run = load(path)
    (filled,) = (value.op for value in lower(graph).values() if isinstance(value.op, FillInSteps))
    for samples in (1, 159, 32000 - filled.margin - 160, 32000 - filled.margin, 32000 - filled.margin + 1, 31999, 32000, 50000):
        clip = wave(samples).astype(np.float32)
        np.testing.assert_allclose(run(clip), graph.numpy(clip)["features"], atol=2e-5)


def test_torch_exports_any_length() -> None:
    net = preset("whisper-80", length=32000).module()
    sizes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("samples", min=2)}
    exported = torch.export.export(net, (torch.randn(2, 7000),), dynamic_shapes=(sizes,)).module()
    for samples in (100, 31_999, 32_001):
        clip = torch.randn(3, samples)
        torch.testing.assert_close(exported(clip), net(clip), atol=1e-4, rtol=0)
