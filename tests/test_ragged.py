"""Ragged batches: the features of a clip are those of the clip alone, whatever it is batched with and whatever stands behind it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from specgraph.dims import Dim
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.module import GraphModule
from specgraph.op import Constant, GraphError, Op, Value
from specgraph.ops.constant_q import ConstantQ
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.layout import axis_along_the_clip
from specgraph.ops.resample import Resample
from specgraph.ops.stft import Stft
from specgraph.ragged import with_lengths
from specgraph.transforms import registry
from tests.conftest import one_sentence, session
from tests.test_module import SMALL, small

ON_WAVES = [name for name in sorted(registry()) if small(name).input().sizes == ("batch", "samples")]
ON_FEATURES = [name for name in sorted(registry()) if name not in ON_WAVES]
VARIANTS = [
    *((name, {}) for name in ON_WAVES),
    ("Spectrogram", {"output": "complex", "pad_mode": "constant"}),
    ("Spectrogram", {"pad_mode": "edge", "win_length": 20}),
    ("Spectrogram", {"center": False}),
    ("Spectrogram", {"freq_scale": "log", "freq_bins": 9}),
    ("LogMelSpectrogram", {"ref": "max", "top_db": 30.0}),
    ("MFCC", {"cmvn": "utterance", "deltas": 2, "delta_width": 5}),
    ("MFCC", {"cmvn": "utterance", "norm_vars": False, "deltas": 1, "delta_mode": "nearest"}),
    ("LFCC", {"cmvn": "sliding", "cmvn_window": 4, "min_cmvn_window": 2}),
    ("LFCC", {"cmvn": "sliding", "cmvn_window": 4, "cmvn_center": True, "deltas": 1, "delta_mode": "regression"}),
    ("CQT", {"pad_mode": "edge", "output": "complex"}),
    ("CQT", {"pad_mode": "constant"}),
    ("Resample", {"new_freq": 12000}),
    ("RMS", {"pad_mode": "constant"}),
    ("KaldiFbank", {"snip_edges": False}),
]
LONGEST = 150
GARBAGE = 1e3


def batch(lengths: list[int], seed: int = 0, longest: int = LONGEST) -> tuple[np.ndarray, np.ndarray]:
    """Noise, (clips, longest), with garbage behind each clip; and how long the clips are."""
    waves = 0.3 * np.random.default_rng(seed).standard_normal((len(lengths), longest)).astype(np.float32)
    for wave, length in zip(waves, lengths, strict=True):
        wave[length:] = GARBAGE
    return waves, np.array(lengths)


def check_clips(graph: Graph, together: Mapping[str, np.ndarray], alone: list[dict[str, np.ndarray]], tolerance: float = 1e-9) -> None:
    """Each clip's part of a batch is what it gives alone, and what follows is zero."""
    for name, value in graph.outputs.items():
        axis = axis_along_the_clip(value.shape)
        for clip, results in enumerate(alone):
            wanted = results[name][0]
            if axis is None:
                got = together[name][clip]
            else:
                count = int(together[f"{name}_lens"][clip])
                assert count == wanted.shape[axis - 1]
                got, rest = np.split(together[name][clip], [count], axis - 1)
                assert not rest.any()
            assert np.abs(got - wanted).max() <= tolerance * max(np.abs(wanted).max(), 1.0), (name, clip)


def check(graph: Graph, lengths: list[int], seed: int = 0, lowered: tuple[Graph, Graph] | None = None) -> None:
    """In float64: a batch of clips of these lengths, and each of them alone; of the lowered graphs, if those are given."""
    ragged, single = lowered or (with_lengths(graph), graph)
    waves, counts = batch(lengths, seed)
    alone = [single.numpy(wave[None, :length]) for wave, length in zip(waves, lengths, strict=True)]
    with np.errstate(over="ignore"):  # of garbage
        together = ragged.numpy(waves, counts)
    check_clips(graph, together, alone)


def check_what_stands_behind(ragged: Graph, lengths: list[int], in_onnx: bool = True) -> None:
    """Whatever stands behind the clips, not a bit of what onnxruntime and torch give of them changes."""
    run, net = session(lower(ragged)) if in_onnx else None, GraphModule(ragged)
    waves, counts = batch(lengths, longest=max(lengths))
    behind = np.arange(waves.shape[1]) >= counts[:, None]
    wanted: list[tuple[np.ndarray, ...]] = []
    for filling in (0.0, 1e30, np.nan):
        filled = np.where(behind, np.float32(filling), waves)
        feed = dict(zip((value.op.label for value in ragged.inputs), (filled, counts), strict=True))
        tensors = net.outputs(torch.from_numpy(filled), torch.from_numpy(counts))
        results = [*(run.run(None, feed) if run else []), *(tensor.numpy() for tensor in tensors.values())]
        wanted = wanted or results
        for got, same in zip(results, wanted, strict=True):
            assert np.isfinite(got).all(), filling
            np.testing.assert_array_equal(got, same)


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_a_clip_does_not_depend_on_its_batch(name: str, options: dict, data: st.DataObject) -> None:
    graph = small(name, **options).graph()
    least, n_fft = graph.least(), SMALL["n_fft"]
    edges = [size for size in (least, least + 1, n_fft // 2, n_fft // 2 + 1, n_fft - 1, n_fft, n_fft + 1) if size >= least]
    length = st.sampled_from(edges) | st.integers(least, LONGEST)
    check(graph, data.draw(st.lists(length, min_size=1, max_size=4)), data.draw(st.integers(0, 99)))


LOWERINGS = [
    *(("Spectrogram", {}, Stft, lowering) for lowering in Stft.lowerings),
    *(("MelSpectrogram", {"win_length": 21}, Stft, lowering) for lowering in Stft.lowerings),
    *(("CQT", {"output": "complex"}, ConstantQ, lowering) for lowering in ConstantQ.lowerings),
    *(("Resample", {"new_freq": 12000}, Resample, lowering) for lowering in Resample.lowerings),
]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize(("name", "options", "op", "lowering"), LOWERINGS, ids=lambda x: getattr(x, "__name__", str(x)))
def test_every_lowering_is_ragged(name: str, options: dict, op: type, lowering: str, target: str) -> None:
    graph = small(name, **options).graph()
    on = "torch" if lowering == "fft" else target
    lowered = [lower(each, on, {op.__name__: lowering}) for each in (with_lengths(graph), graph)]
    assert len({choice.chosen for each in lowered for choice in each.choices if choice.op.startswith(op.method)}) == 1
    lengths = [150, 1, 16, 17, 33, 149, 60]
    check(graph, lengths, lowered=(lowered[0], lowered[1]))
    check_what_stands_behind(lowered[0], lengths, on != "torch")


def test_decimated_bins_end_with_their_clip() -> None:
    graph = sg.CQT(sample_rate=8000, hop_length=64, n_bins=48, output="complex").graph()
    lowered = lower(with_lengths(graph)), lower(graph)
    assert lowered[0].choices[0].chosen == "multirate"
    waves, counts = batch([9000, 1, 64, 5000, 8999], longest=9000)
    alone = [lowered[1].numpy(wave[None, :length]) for wave, length in zip(waves, counts, strict=True)]
    check_clips(graph, lowered[0].numpy(waves, counts), alone)
    check_what_stands_behind(lowered[0], counts.tolist())


# --- every op, by its own examples ------------------------------------------------------------------------------------

EXAMPLES = [
    (op, operands)
    for cls in Op.registry.values()
    for op, *operands in cls.examples()
    if op.reads == "float" and (op.lengths_at is None or len(operands) == op.lengths_at)
]


def from_waves(wave: Value, shape: tuple) -> Value | None:
    """A value of an operand's shape that is made of waveforms, sample by sample."""
    if shape == ("batch", "samples"):
        return wave
    varying = [size for size in shape if isinstance(size, str)]
    if shape[0] != "batch" or len(shape) > 4 or len(varying) != 2:
        return None
    rng, sizes = np.random.default_rng(0), [size for size in shape if isinstance(size, int)]
    kernels = rng.standard_normal((2, sizes[0], 3)) if len(shape) == 4 and sizes[1:] == [2] else None
    if len(shape) == 3:
        made = FrameConv(1)(wave, Constant.of("kernels", rng.standard_normal((sizes[0], 3))))
        return made if isinstance(shape[1], int) else sg.Builder(8000).transpose(made, (0, 2, 1))
    return None if kernels is None or shape[2] != "frames" else FrameConv(1)(wave, Constant.of("kernels", kernels))


BACK = "goes from frames back to samples, of which the frames at a clip's end tell too little"
ELSEWHERE = "cuts, or fills up, to a length that is not made of the clip's own"
OTHERWISE = "lays clips, or time and something else, along one axis"
REFUSED = {  # with some parameters at least, and why
    "OverlapAdd": BACK, "OverlapNormalize": BACK, "Istft": BACK, "GriffinLim": BACK, "ConstantQSynthesis": BACK, "InverseConstantQ": BACK,
    "FitLength": ELSEWHERE, "Trim": ELSEWHERE, "FillInSteps": ELSEWHERE, "RepeatLast": ELSEWHERE, "PadToBlocks": ELSEWHERE, "Reshape": OTHERWISE, "Transpose": OTHERWISE,
}  # fmt: skip


@pytest.mark.parametrize(("op", "operands"), EXAMPLES, ids=lambda x: str(x) if isinstance(x, Op) else "")
def test_every_op_is_ragged_or_refused(op: Op, operands: list) -> None:
    b = sg.Builder(sample_rate=8000)
    wave = b.input("waveforms")
    values = [b.constant(o) if isinstance(o, np.ndarray) else from_waves(wave, o) for o in operands]
    if any(value is None for value in values):
        pytest.skip("its operands are not made of waveforms")
    graph = b.build(y=op(*values))
    if type(op).__name__ in REFUSED:
        try:
            with_lengths(graph)
        except GraphError as refused:
            sentence = str(refused)
        else:
            sentence = ""  # some are right as they are, with some parameters
        if sentence:
            assert re.search("cannot be in a ragged batch: .*; run clips one by one, without lengths", sentence)
            return
    least = graph.least()
    if least > LONGEST:
        pytest.skip("its clips are long")
    lengths = [LONGEST, *(size for size in (least, least + 1, 20, 63, 64, LONGEST - 1) if size >= least)]
    check(graph, lengths)
    check_what_stands_behind(with_lengths(graph), lengths, op.requires != "FFT")


def test_no_other_op_is_refused() -> None:
    refused = set()
    for op, operands in EXAMPLES:
        b = sg.Builder(sample_rate=8000)
        wave = b.input("waveforms")
        values = [b.constant(o) if isinstance(o, np.ndarray) else from_waves(wave, o) for o in operands]
        if all(value is not None for value in values):
            try:
                with_lengths(b.build(y=op(*values)))
            except GraphError:
                refused.add(type(op).__name__)
    assert refused == REFUSED.keys()


def test_ops_over_time_are_not_all_refused() -> None:
    b = sg.Builder(sample_rate=8000)
    wave = b.input("waveforms")
    power = b.magnitude(b.stft(b.pad(wave, 16), 32, 8), power=2.0)
    graph = b.build(
        mean=b.reduce(power, "mean", axis=2),
        loudest=b.reduce(power, "max", axis=-1, keepdims=False),
        quietest=b.reduce(b.subtract(power, 1.0), "min", axis=2),
        share=b.normalize(power, 1.0, axis=2),
        total=b.cumulative_sum(power, axis=2),
        low=b.fir_downsample(wave, np.hanning(9), factor=3),
        centred=b.subtract(power, b.reduce(power, "mean", axis=2)),
    )
    check(graph, [LONGEST, 1, 7, 16, 99])
    assert "mean_lens" not in with_lengths(graph).outputs


def test_what_cannot_be_ragged_is_refused_in_a_sentence() -> None:
    def built(make) -> Graph:
        b = sg.Builder(sample_rate=8000)
        return b.build(y=make(b, b.input("waveforms")))

    for make, sentence in (
        (lambda b, x: b.reduce(x, "max", axis=0), r"reduce\(kind='max', axis=0\) cannot be .* does not keep clips apart; run clips one by one"),
        (lambda b, x: b.overlap_normalize(x, np.ones(8), hop_length=4), "overlap_normalize.* cannot be .* run clips one by one"),
        (lambda b, x: b.fit_length(x, 100), r"fit_length\(length=100\) cannot be in a ragged batch: .*; run clips one by one, without lengths"),
    ):
        with pytest.raises(GraphError, match=sentence) as error:
            with_lengths(built(make))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ON_FEATURES)
def test_what_takes_features_is_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(GraphError, match=f"lengths are those of waveforms .*, and {name} takes features .*; run it without lengths"):
        small(name).graph(lengths=True)


def test_lengths_are_added_once_and_keep_parameters() -> None:
    graph = small("MelSpectrogram").graph(lengths=True)
    assert with_lengths(graph) is graph
    assert graph.name == "MelSpectrogram"
    assert graph.parameters["n_mels"] == 6
    assert [value.dtype for value in graph.inputs] == ["float", "int64"]
    assert graph.outputs["features_lens"].shape == (Dim("batch"),)


# --- the torch module -------------------------------------------------------------------------------------------------


def test_lengths_of_whatever_has_a_graph() -> None:
    preset = sg.preset("kaldi-fbank")
    wanted = str(with_lengths(preset.graph()))
    for source in (preset, preset.transform, preset.module(), with_lengths(preset.graph())):
        assert str(with_lengths(source)).splitlines()[1:] == wanted.splitlines()[1:]  # the first has the name
    with pytest.raises(TypeError, match="with_lengths takes a specgraph transform, graph or module, not builtins.int"):
        with_lengths(3)


def test_module_gives_features_and_lengths() -> None:
    transform = small("LogMelSpectrogram")
    net, alone = transform.module(lengths=True), transform.module()
    waves, lengths = (torch.from_numpy(array) for array in batch([150, 40, 1]))
    features, features_lens = net(waves, lengths)
    assert features_lens.tolist() == [13, 4, 1]
    assert features_lens.dtype == torch.int64
    for clip, length in enumerate(lengths):
        wanted = alone(waves[clip, :length])
        assert torch.allclose(features[clip, :, : features_lens[clip]], wanted, atol=1e-4)
        assert not features[clip, :, features_lens[clip] :].any()
    whole, counts = net(waves)
    assert torch.allclose(whole, alone(waves), atol=1e-4)
    assert counts.tolist() == [13, 13, 13]
    single, count = net(waves[0])
    assert torch.allclose(single, whole[0], atol=1e-4)  # how a product rounds depends on the shape of the batch
    assert int(count) == 13
    assert torch.equal(net(waves, lengths.int())[0], features)


def test_module_gives_dicts_for_several_outputs() -> None:
    net = small("CombinedFrequencyPeriodicity").module(lengths=True)
    features, lengths = net(*(torch.from_numpy(array) for array in batch([150, 40])))
    assert features.keys() == lengths.keys() == {"Z", "tfrL0", "tfrLF", "tfrLQ"}
    assert lengths["Z"].tolist() == [11, 2]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_gradients_stay_within_the_clip(name: str, options: dict) -> None:
    transform = small(name, **options)
    net = transform.module(trainable=transform.trainable_parts, lengths=True, dtype=torch.float64)
    least = transform.graph().least()
    waves, lengths = batch([150, max(41, least), least])
    waves[np.arange(150) >= lengths[:, None]] = np.nan
    tensor = torch.from_numpy(waves).double().requires_grad_()
    results = net(tensor, torch.from_numpy(lengths))[0]
    sum(part.square().sum() for part in (results.values() if isinstance(results, dict) else [results])).backward()
    assert tensor.grad is not None
    for clip, length in enumerate(lengths):
        assert not tensor.grad[clip, length:].any()
    for each in (tensor, *net.parameters()):
        assert torch.isfinite(each.grad).all()


@pytest.mark.parametrize(
    ("lengths", "error", "sentence"),
    [
        ([151, 3], ValueError, "waveforms_lens says that clip 0 has 151 samples, and waveforms has 150 of each clip"),
        ([150, 0], ValueError, "waveforms_lens says that clip 1 has 0 samples, and a clip needs at least 32 here"),
        ([150, -4], ValueError, "clip 1 has -4 samples"),
        ([150, 31], ValueError, "clip 1 has 31 samples, and a clip needs at least 32 here"),
        ([150], ValueError, "waveforms_lens has 1 lengths and waveforms has 2 clips; give one for each"),
        ([150.0, 40.0], TypeError, "waveforms_lens must be whole numbers .batch,., such as int64, not .*float"),
        ([[150, 40]], TypeError, "waveforms_lens must be whole numbers .batch,., such as int64"),
    ],
    ids=str,
)
def test_wrong_lengths(lengths: list, error: type[Exception], sentence: str, tmp_path: Path) -> None:
    transform = small("Spectrogram", center=False)
    waves, _ = batch([150, 150])
    with pytest.raises(error, match=sentence) as raised:
        transform.module(lengths=True)(torch.from_numpy(waves), torch.tensor(lengths))
    assert "\n" not in str(raised.value)
    sg.to_onnx(transform, tmp_path / "m.onnx", lengths=True)
    with pytest.raises(error, match=sentence) as raised:
        sg.load(tmp_path / "m.onnx")(waves, np.array(lengths))
    assert "\n" not in str(raised.value)


# --- the file ---------------------------------------------------------------------------------------------------------

FILES = {
    "mel": sg.MelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, pad_mode="constant"),
    "log-mel": sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40),
    "window": sg.MelSpectrogram(sample_rate=16000, n_fft=512, win_length=400, hop_length=160, n_mels=40),
    "mfcc": sg.MFCC(sample_rate=16000, n_fft=512, hop_length=160, n_mels=40, cmvn="utterance", deltas=2),
    "sliding": sg.MFCC(sample_rate=16000, n_fft=512, hop_length=160, n_mels=40, cmvn="sliding", cmvn_window=20, min_cmvn_window=9),
    "pcen": sg.PCEN(sample_rate=16000, n_fft=1024, hop_length=256, n_mels=40),
    "cqt": sg.CQT(sample_rate=16000, n_bins=40, fmin=100.0),
    "resample": sg.Resample(sample_rate=44100, new_freq=16000),
    "rms": sg.RMS(),
}


@pytest.fixture(scope="module", params=FILES)
def files(request, tmp_path_factory):
    """A file with lengths, and one without."""
    folder = tmp_path_factory.mktemp(request.param)
    sg.to_onnx(FILES[request.param], folder / "ragged.onnx", lengths=True)
    sg.to_onnx(FILES[request.param], folder / "alone.onnx")
    return folder / "ragged.onnx", folder / "alone.onnx"


def test_file_is_the_clip_alone(files: tuple[Path, Path]) -> None:
    run, alone = map(sg.load, files)
    waves, lengths = batch([9000, 8999, 700, 4321, 3000, 200], longest=9000)
    features, counts = run(waves, lengths)
    assert features.dtype == np.float32
    assert counts.dtype == np.int64
    for clip, length in enumerate(lengths):
        wanted = alone(waves[clip, :length])
        assert wanted.shape[-1] == counts[clip]
        assert np.abs(features[clip, ..., : counts[clip]] - wanted).max() < 2e-6 * np.abs(wanted).max()
        assert not features[clip, ..., counts[clip] :].any()


def test_file_has_the_names_that_others_read(files: tuple[Path, Path]) -> None:
    model = onnx.load(files[0])
    float32, int64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    inputs, outputs = ({v.name: v.type.tensor_type.elem_type for v in side} for side in (model.graph.input, model.graph.output))
    assert inputs == {"waveforms": float32, "waveforms_lens": int64}
    name = "resampled" if "resampled" in outputs else "features"  # both are onnx-asr's
    assert outputs == {name: float32, f"{name}_lens": int64}
    lens = model.graph.output[1].type.tensor_type.shape.dim
    assert [dim.dim_param for dim in lens] == ["batch"]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"STFT", "DFT", "Col2Im", "Scan", "Loop", "If", "ScatterND", "ConvTranspose", "Einsum"}
    assert {opset.domain: opset.version for opset in model.opset_import} == {"": 18}
    session = onnxruntime.InferenceSession(files[0], providers=["CPUExecutionProvider"])
    waves, lengths = batch([2000, 900], longest=2000)
    features, counts = session.run([name, f"{name}_lens"], {"waveforms": waves, "waveforms_lens": lengths})
    np.testing.assert_array_equal(counts, sg.load(files[0])(waves, lengths)[1])
    assert np.isfinite(features).all()


def test_runner_takes_lists_of_clips_and_cuts_batches_by_rows(files: tuple[Path, Path]) -> None:
    run = sg.load(files[0])
    waves, lengths = batch([9000, 700, 3000], longest=9000)
    clips = [wave[:length] for wave, length in zip(waves, lengths, strict=True)]
    features, counts = run(waves, lengths)
    np.testing.assert_allclose(run(clips)[0], features, atol=1e-6 * np.abs(features).max())
    np.testing.assert_array_equal(run(clips)[1], counts)
    small_parts = sg.load(files[0], most_bytes=1000)
    np.testing.assert_allclose(small_parts(clips)[0], features, atol=1e-6 * np.abs(features).max())
    tensor, tensor_counts = run([torch.from_numpy(clip) for clip in clips])
    assert isinstance(tensor, torch.Tensor)
    assert tensor_counts.tolist() == counts.tolist()
    np.testing.assert_array_equal(run(waves[1], int(lengths[1]))[0], run(waves[1:2], lengths[1:2])[0][0])
    single, count = run(clips[1])
    assert single.shape[-1] == count == counts[1]
    [(mapped, _)] = run.map([clips])
    np.testing.assert_allclose(mapped, features, atol=1e-6 * np.abs(features).max())
    eager = sg.load(files[0], device="torch")
    np.testing.assert_allclose(eager(waves, lengths)[0], features, atol=1e-4 * np.abs(features).max())


@pytest.mark.parametrize("device", ["cpu", "torch"])
def test_only_a_clips_own_samples_must_be_finite(device: str, tmp_path: Path) -> None:
    sg.to_onnx(small("MelSpectrogram"), tmp_path / "m.onnx", lengths=True)
    run = sg.load(tmp_path / "m.onnx", device=device)
    waves, lengths = batch([150, 40])
    wanted = run(waves, lengths)[0]
    waves[1, 40:] = np.nan
    np.testing.assert_array_equal(run(waves, lengths)[0], wanted)
    np.testing.assert_array_equal(run(torch.from_numpy(waves), torch.from_numpy(lengths))[0].numpy(), wanted)
    waves[1, 39] = np.inf
    with pytest.raises(ValueError, match="waveforms has 1 values that are not finite, the first infinity at sample 39 of clip 1"):
        run(waves, lengths)


def test_file_is_verified_read_back_and_trained_on(tmp_path: Path) -> None:
    net = small("MelSpectrogram").module(trainable=("mel",), lengths=True)
    with torch.no_grad():
        net.mel *= 2
    report = sg.to_onnx(net, tmp_path / "m.onnx")
    assert "noise of different lengths" in {check.signal for check in report.checks}
    assert sg.verify(tmp_path / "m.onnx").error <= report.tolerance
    graph = sg.read_graph(tmp_path / "m.onnx")
    assert [value.op.label for value in graph.inputs] == ["waveforms", "waveforms_lens"]
    waves, lengths = (torch.from_numpy(array) for array in batch([150, 40]))
    assert torch.equal(graph.module()(waves, lengths)[0], net(waves, lengths)[0])
    sg.to_onnx(graph, tmp_path / "again.onnx", lengths=True)
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()
    meta = sg.load(tmp_path / "m.onnx").meta
    assert meta.outputs["features_lens"].axes == ("batch",)
    assert meta.slicing.before is None
    assert meta.slicing.bytes > 0


def test_a_list_needs_a_file_with_lengths(tmp_path: Path) -> None:
    sg.to_onnx(small("MelSpectrogram"), tmp_path / "m.onnx")
    with pytest.raises(ValueError, match="different lengths; run them one by one, or export with lengths=True"):
        sg.load(tmp_path / "m.onnx")([np.zeros(100), np.zeros(50)])
    sg.to_onnx(small("MelSpectrogram"), tmp_path / "ragged.onnx", lengths=True)
    with pytest.raises(ValueError, match=r"a list of clips holds waveforms \(samples,\), and clip 1 has shape \(2, 50\)"):
        sg.load(tmp_path / "ragged.onnx")([np.zeros(100), np.zeros((2, 50))])


def test_lengths_go_with_neither_streams_nor_whole_models(tmp_path: Path) -> None:
    mel, path = small("MelSpectrogram"), tmp_path / "m.onnx"
    with pytest.raises(ValueError, match="give streaming=True or lengths=True, not both"):
        sg.to_onnx(mel, path, lengths=True, streaming=True)
    with pytest.raises(TypeError, match="lengths is of front ends: export the front end with lengths=True"):
        sg.to_onnx(torch.nn.Sequential(mel.module()), path, lengths=True)
    with pytest.raises(GraphError, match="a stream is of waveforms"):
        sg.to_onnx(mel.graph(lengths=True), path, streaming=True)
    assert not path.exists()
    sg.to_onnx(mel, path, lengths=True)
    with pytest.raises(ValueError, match="different lengths, so it has no stream; export it without lengths"):
        sg.load(path).stream()


def test_constraints_hold_in_a_module_with_lengths() -> None:
    net = small("MelSpectrogram").module(trainable=("mel",), constraints={"mel": "non-negative"}, lengths=True)
    waves, lengths = (torch.from_numpy(array) for array in batch([150, 40]))
    net(waves, lengths)[0].sum().backward()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter -= 10 * parameter.grad
    assert net.mel.min() >= 0
    assert net(waves, lengths)[1].tolist() == [13, 4]


@pytest.mark.parametrize(("name", "options"), [
    ("LogMelSpectrogram", {"ref": "max", "top_db": 30.0}),
    ("MFCC", {"cmvn": "sliding", "cmvn_window": 4, "min_cmvn_window": 2, "deltas": 1}),
    ("KaldiFbank", {"snip_edges": False}),
])
def test_what_torch_exports_takes_lengths_of_any_batch(name: str, options: dict) -> None:
    net = small(name, **options).module(lengths=True)
    waves, lengths = (torch.from_numpy(array) for array in batch([150, 40]))
    vary = torch.export.Dim.DYNAMIC
    program = torch.export.export(net, (waves, lengths), dynamic_shapes=({0: vary, 1: vary}, {0: vary}), strict=False)
    waves, lengths = (torch.from_numpy(array) for array in batch([177, 7, 60], longest=177))
    got, counts = program.module()(waves, lengths)
    wanted, wanted_counts = net(waves, lengths)
    assert counts.tolist() == wanted_counts.tolist()
    assert (got - wanted).abs().max() <= 1e-5 * wanted.abs().max()


class Loudness(torch.nn.Module):
    """A model that finds out itself where its clips end: at the zeros behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.front = small("LogMelSpectrogram").module(lengths=True)

    def forward(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features, counts = self.front(waveforms, (waveforms != 0).sum(1).clamp_min(1))
        return features.sum((1, 2)) / counts, counts


def test_a_whole_model_may_have_a_front_end_with_lengths(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="torch exports with it")
    model = Loudness()
    sg.to_onnx(model, tmp_path / "m.onnx")
    waves, lengths = batch([150, 40, 77])
    waves[np.arange(150) >= lengths[:, None]] = 0
    got, counts = sg.load(tmp_path / "m.onnx")(waves).values()
    wanted, wanted_counts = model(torch.from_numpy(waves))
    assert counts.tolist() == wanted_counts.tolist() == [13, 4, 7]
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-5)


def test_command_line(cli, tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", 0.1 * np.ones(4000), 8000)
    code, _, err = cli("export", "mel", "-o", "m.onnx", "--set", "sample_rate=8000", "--set", "n_fft=256", "--set", "n_mels=8", "--lengths")
    assert code == 0, err
    code, _, err = cli("run", "m.onnx", "a.wav", "-o", "a.npy", "--plot", "a.png")
    assert code == 0, err
    run = sg.load("m.onnx")
    features, count = run([soundfile.read("a.wav", dtype="float32")[0]])
    np.testing.assert_array_equal(np.load("a.npy"), features[0])
    assert count[0] == features.shape[2]
    code, out, _ = cli("inspect", "m.onnx", "--graph")
    assert code == 0
    assert "how much of features is each clip's" in out
    assert cli("verify", "m.onnx")[0] == 0
    code, _, err = cli("export", "griffin-lim", "-o", "g.onnx", "--lengths")
    assert code == 1
    assert "lengths are those of waveforms" in one_sentence(err)


def test_onnx_asr_loads_the_file(files: tuple[Path, Path]) -> None:
    preprocessor = pytest.importorskip("onnx_asr.preprocessors.preprocessor", reason="onnx-asr is not installed")
    options = {"providers": ["CPUExecutionProvider"]}
    waves, lengths = batch([2000, 900], longest=2000)
    wanted, wanted_counts = sg.load(files[0])(waves, lengths)
    if sg.load(files[0]).output_names[0] == "resampled":
        from onnx_asr.preprocessors.resampler import Resampler

        resampler = Resampler(16000, options)
        resampler._preprocessors[44100] = onnxruntime.InferenceSession(files[0], **options)
        resampled, counts = resampler(waves, lengths, 44100)
        np.testing.assert_array_equal(resampled, wanted)
        np.testing.assert_array_equal(counts, wanted_counts)
        return
    loaded = preprocessor.OnnxPreprocessor(str(files[0]), options)
    features, counts = loaded(waves, lengths)
    np.testing.assert_allclose(features, wanted, atol=1e-6 * np.abs(wanted).max())
    np.testing.assert_array_equal(counts, wanted_counts)
    both = preprocessor.ConcurrentPreprocessor(loaded)
    np.testing.assert_allclose(both(waves, lengths)[0], wanted, atol=1e-6 * np.abs(wanted).max())
