"""A front end and a model of someone else's exporter as one file, against the two apart."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import specgraph as sg
from specgraph.metadata import MetadataError
from tests.conftest import one_sentence, peak_error
from tests.test_export import all_on_cuda, environment_of_cuda

RATE = 8000
BINS = 16
CLOSE = 1e-5  # of the output's peak
REFUSED = {"STFT", "DFT", "Col2Im", "Scan", "Loop", "ScatterND"}


def log_mel(**parameters: Any) -> sg.LogMelSpectrogram:
    return sg.LogMelSpectrogram(**{"sample_rate": RATE, "n_fft": 256, "hop_length": 80, "n_mels": BINS, "top_db": None} | parameters)


def noise(batch: int, samples: int) -> np.ndarray:
    return (0.2 * np.random.default_rng(samples).standard_normal((batch, samples))).astype(np.float32)


def session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def features(front_end: Any, wave: np.ndarray) -> np.ndarray:
    """By the definition in float64, rounded once."""
    (found,) = front_end.graph().numpy(wave).values()
    return found.astype(np.float32)


def parameter(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(len(shape)).standard_normal(shape) / 4).astype(dtype)


def saved(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, Sequence[Any]]],
    outputs: Mapping[str, tuple[int, Sequence[Any]]],
    arrays: Mapping[str, np.ndarray],
    opset: int = 18,
    ir_version: int = 8,
    **arguments: Any,
) -> Path:
    """A model as any exporter might write it, checked."""
    graph = helper.make_graph(
        list(nodes),
        "encoder",
        [helper.make_tensor_value_info(name, *value) for name, value in inputs.items()],
        [helper.make_tensor_value_info(name, *value) for name, value in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", opset), *arguments.pop("opsets", ())]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="someone", **arguments)
    onnx.checker.check_model(model)
    onnx.save_model(model, path)
    return path


def encoder(path: Path, sizes: Sequence[Any] = ("batch_size", BINS, "time"), opset: int = 18, dtype: Any = np.float32, **arguments: Any) -> Path:
    """A convolution over frames of input_features, laid out as (batch, bins, frames), and its mean over frames."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    ir_version = {11: 6, 12: 7, 13: 7}.get(opset, 8 if opset < 19 else 9 if opset < 21 else 10)
    nodes = [
        helper.make_node("Conv", ["input_features", "mel", "bias"], ["hidden"], "mel/Conv", pads=[1, 1]),
        helper.make_node("Tanh", ["hidden"], ["logits"], "const_0"),
    ]
    arrays = {"mel": parameter(4, BINS, 3, dtype=dtype), "bias": parameter(4, dtype=dtype)}
    outputs = {"logits": (kind, [sizes[0], 4, sizes[2]])}
    return saved(path, nodes, {"input_features": (kind, sizes)}, outputs, arrays, opset, ir_version, **arguments)


def attached(front_end: Any, model: Path, *lengths: int, close: float = CLOSE, **arguments: Any) -> sg.export.Report:
    """Attaches, and compares the file in plain onnxruntime with the two steps at these lengths; more arguments as of attach."""
    path = model.with_name("joined.onnx")
    layout = arguments.pop("apart", lambda array: array)
    report = sg.attach(front_end, model, path, **arguments)
    first, second = session(path), session(model)
    assert first.get_inputs()[0].name == "waveforms"
    held = onnx.load(path, load_external_data=False)
    assert not REFUSED & {node.op_type for node in held.graph.node}
    for batch, length in enumerate(lengths, 1):
        wave = noise(batch, length)
        wanted = second.run(None, {second.get_inputs()[0].name: layout(features(front_end, wave))})
        got = first.run(None, {"waveforms": wave})
        for array, expected in zip(got[: len(wanted)], wanted, strict=True):
            assert peak_error(array, expected) < close
    return report


class Whisper(nn.Module):
    """An encoder as Whisper's: two convolutions, positions of a fixed number of frames, attention."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(80, 16, 3, padding=1), nn.Conv1d(16, 16, 3, stride=2, padding=1)
        self.positions = nn.Parameter(torch.randn(frames // 2, 16))
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)

    def forward(self, input_features: torch.Tensor) -> torch.Tensor:
        hidden = nn.functional.gelu(self.second(nn.functional.gelu(self.first(input_features))))
        return self.layer(hidden.transpose(1, 2) + self.positions)


def exported(module: nn.Module, example: torch.Tensor, path: Path, **arguments: Any) -> Path:
    """By torch's own exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (example,), path, dynamo=True, verbose=False, input_names=["input_features"], **arguments)
    logger.setLevel(level)
    return path


@pytest.mark.parametrize(("opset", "external"), [(18, False), (20, True)])
def test_whisper(opset: int, external: bool, tmp_path: Path) -> None:
    """Made up, and exported by torch, with all of its arrays in another file or not."""
    torch.manual_seed(5)
    front_end = sg.preset("whisper-80", length=2 * 16000)
    model = exported(
        Whisper(200), torch.randn(2, 80, 200), tmp_path / "model.onnx", opset_version=opset, external_data=external,
        dynamic_shapes=({0: "batch_size"},), output_names=["last_hidden_state"],
    )  # fmt: skip
    report = attached(front_end, model, 16000, 1, 40000, output="features", input="input_features", keep=False)
    assert report.error <= report.tolerance == 1e-5
    assert {check.batch for check in report.checks} == {1, 2, 3}
    run = sg.load(report.path)
    assert run.sample_rate == 16000
    assert run.output_names == ("last_hidden_state",)
    assert run.meta.outputs["last_hidden_state"].axes[0] == "batch"
    assert run(noise(1, 16000)[0]).shape == (100, 16)
    assert (report.path.with_name("joined.onnx_data").exists(), model.with_name("model.onnx.data").exists()) == (False, external)


@pytest.mark.parametrize("opset", [11, 12, 13, 14, 15, 17, 18, 19, 21, 22, 23])
def test_every_opset(opset: int, tmp_path: Path) -> None:
    """The model's own is kept, or 13 taken for an older one; the front end has reductions, lengths and an odd size."""
    front_end = sg.LogMelSpectrogram(sample_rate=RATE, n_fft=250, hop_length=50, n_mels=BINS, top_db=80.0)
    report = attached(front_end, encoder(tmp_path / "model.onnx", opset=opset), RATE, 3001)
    held = onnx.load(report.path)
    assert [(one.domain, one.version) for one in held.opset_import] == [("", max(opset, 13))]
    assert held.producer_name == "someone"
    before = onnx.load(tmp_path / "model.onnx")
    assert held.ir_version == max(before.ir_version, 8)
    names = [array.name for array in held.graph.initializer]
    assert len(set(names)) == len(names)
    assert {"mel", "bias"} <= set(names)
    kept = [node for node in held.graph.node if not node.name.startswith("front_end/")]
    if opset >= 13:
        assert kept == list(before.graph.node), "the model's own nodes, as they were"


@pytest.mark.parametrize(
    "transform",
    [
        sg.MFCC(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20, n_mfcc=BINS, cmvn="utterance"),
        sg.MFCC(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=20, n_mfcc=BINS, cmvn="sliding", cmvn_window=40, min_cmvn_window=20),
        sg.PCEN(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=BINS),
        sg.CQT(sample_rate=RATE, n_bins=BINS, hop_length=128, fmin=110.0),
    ],
    ids=["mean", "sliding", "pcen", "cqt"],
)
def test_other_front_ends_at_an_old_opset(transform: Any, tmp_path: Path) -> None:
    close = 1e-3 if isinstance(transform, sg.CQT) else 1e-4  # against float64, which their lowerings may differ from
    attached(transform, encoder(tmp_path / "model.onnx", opset=13), RATE, 5000, close=close, keep=False)


def test_sound_as_it_was_recorded(tmp_path: Path) -> None:
    """16-bit samples of two channels at 48 kHz, in one session, against the two steps apart."""
    recorded = sg.with_input(sg.preset("whisper-80").with_parameters(length=None, n_mels=BINS), dtype="int16", rate=48000, channels=2)
    model = encoder(tmp_path / "encoder.onnx")
    sg.attach(recorded, model, tmp_path / "joined.onnx")
    run = sg.load(tmp_path / "joined.onnx")
    assert (run.sample_rate, run.channels, run.input_types) == (48000, 2, ("int16",))
    waves = np.random.default_rng(0).integers(-20000, 20000, (3, 2, 30000), np.int16)
    sg.to_onnx(recorded, tmp_path / "front.onnx")
    name, *_ = (node.name for node in session(model).get_inputs())
    wanted = session(model).run(None, {name: sg.load(tmp_path / "front.onnx")(waves)})[0]
    assert peak_error(run(waves), wanted) < CLOSE
    with pytest.raises(TypeError, match="must be int16"):
        run(waves.astype(np.float32))


@pytest.mark.parametrize(
    ("sizes", "move"),
    [
        (("batch", "frames", BINS), lambda x: x.transpose(0, 2, 1)),
        (("N", 1, BINS, "T"), lambda x: x[:, None]),
        (("N", "T", BINS, 1), lambda x: x.transpose(0, 2, 1)[..., None]),
        (("batch_size", "feature_size", "encoder_sequence_length"), lambda x: x),
        (("batch_size", "sequence_length", "feature_size"), lambda x: x.transpose(0, 2, 1)),
        ((1, BINS, "T"), lambda x: x),
        ((BINS, "T"), lambda x: x[0]),
        (("T", "batch", BINS), lambda x: x.transpose(2, 0, 1)),
    ],
    ids=lambda given: str(given) if isinstance(given, tuple) else "move",  # the same in every process
)
def test_layouts(sizes: Sequence[Any], move: Any, tmp_path: Path) -> None:
    nodes = [helper.make_node("Tanh", ["x"], ["y"])]
    kind = TensorProto.FLOAT
    model = saved(tmp_path / "model.onnx", nodes, {"x": (kind, sizes)}, {"y": (kind, sizes)}, {})
    lengths = (RATE,) if sizes[0] in (1, BINS) else (RATE, 3333)
    report = attached(log_mel(), model, *lengths, apart=move, keep=False)
    (size,) = (value for value in session(report.path).get_inputs())
    assert size.shape == [1 if sizes[0] in (1, BINS) else "batch", "samples"]
    times = [axis for axis, name in enumerate(sizes) if str(name)[0].lower() in "tfse" and name != "feature_size"]
    output = sg.load(report.path).meta.outputs["y"]
    assert output.hop == 80
    assert output.axes[times[0]] == sizes[times[0]]


def test_a_layout_that_sizes_leave_open_is_asked_for(tmp_path: Path) -> None:
    nodes = [helper.make_node("Tanh", ["x"], ["y"])]
    value = (TensorProto.FLOAT, ("x", "y", "z"))
    model = saved(tmp_path / "model.onnx", nodes, {"x": value}, {"y": value}, {})
    with pytest.raises(ValueError, match="may be laid out in x .* as bft or btf, and its sizes do not say which; give layout='bft'"):
        sg.attach(log_mel(), model)
    assert sorted(tmp_path.iterdir()) == [model]
    attached(log_mel(), model, RATE, 3333, apart=lambda x: x.transpose(0, 2, 1), layout="btf")
    attached(log_mel(), model, RATE, 3333, layout="bft")
    for layout, reason in (("bt", "a letter for each of the 3 axes"), ("bff", "has 'f', which is not one axis"), ("bfx", "has 'x'"), ("bcf", "an axis that is not 1")):
        with pytest.raises(ValueError, match=reason):
            sg.attach(log_mel(), model, layout=layout)


def test_a_fixed_number_of_frames(tmp_path: Path) -> None:
    """A front end of any length fixes that of the clip; one that always gives as many frames must give those."""
    model = encoder(tmp_path / "model.onnx", ("N", BINS, 51))
    report = attached(log_mel(), model, 4000, 4000)
    assert session(report.path).get_inputs()[0].shape == ["batch", 4000]
    with pytest.raises(ValueError, match="4001 instead of 4000"):
        sg.load(report.path)(noise(1, 4001))
    with pytest.raises(ValueError, match="30 frames are not 51"):
        sg.attach(sg.preset("whisper-80", length=30 * 160, n_mels=BINS), model)


def several_inputs(path: Path) -> Path:
    nodes = [
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "one"], ["column"]),
        helper.make_node("Mul", ["input_features", "column"], ["masked"]),
        helper.make_node("MatMul", ["masked", "weights"], ["projected"]),
        helper.make_node("Add", ["projected", "state"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "scale"], ["logits"]),
        helper.make_node("ReduceMean", ["state"], ["new_state"], keepdims=1),
    ]
    return saved(
        path,
        nodes,
        {
            "attention_mask": (TensorProto.INT64, ("batch_size", "sequence")),
            "input_features": (TensorProto.FLOAT, ("batch_size", "sequence", BINS)),
            "state": (TensorProto.FLOAT, ("batch_size", 1, 6)),
            "scale": (TensorProto.FLOAT, ()),
        },
        {"logits": (TensorProto.FLOAT, ("batch_size", "sequence", 6)), "new_state": (TensorProto.FLOAT, (1, 1, 1))},
        {"weights": parameter(BINS, 6), "one": np.array([2], np.int64)},
    )


def test_other_inputs_stay(tmp_path: Path) -> None:
    model = several_inputs(tmp_path / "model.onnx")
    path = tmp_path / "joined.onnx"
    report = sg.attach(log_mel(), model, path)
    assert report.error < CLOSE
    first, second = session(path), session(model)
    assert [value.name for value in first.get_inputs()] == ["waveforms", "attention_mask", "state", "scale"]
    assert [value.shape for value in first.get_inputs()] == [["batch", "samples"], ["batch", "sequence"], ["batch", 1, 6], []]
    wave = noise(3, 4000)
    rest = {"attention_mask": np.tile(np.arange(51) < 30, (3, 1)).astype(np.int64), "state": parameter(3, 1, 6), "scale": np.array(2, np.float32)}
    got = first.run(None, {"waveforms": wave} | rest)
    wanted = second.run(None, {"input_features": features(log_mel(), wave).transpose(0, 2, 1)} | rest)
    for array, expected in zip(got, wanted, strict=True):
        assert peak_error(array, expected) < CLOSE
    run = sg.load(path)
    outputs = run(wave, **rest)
    assert peak_error(outputs["logits"], wanted[0]) < CLOSE
    assert peak_error(run(wave, **rest | {"attention_mask": rest["attention_mask"].astype(np.int32)})["logits"], wanted[0]) < CLOSE
    with pytest.raises(TypeError, match="attention_mask must be int64, not float32"):
        run(wave, **rest | {"attention_mask": np.ones((3, 51), np.float32)})
    with pytest.raises(ValueError, match=r"may go with input_features .* or state .*; name one, input='input_features'"):
        sg.attach(log_mel(n_mels=1), saved_pair(tmp_path / "pair.onnx"), path)


def saved_pair(path: Path) -> Path:
    value = (TensorProto.FLOAT, ("batch", 1, "frames"))
    return saved(path, [helper.make_node("Add", ["input_features", "state"], ["y"])], {"input_features": value, "state": value}, {"y": value}, {})


def with_length(path: Path, kind: int, sizes: Sequence[Any] = ("audio_signal_dynamic_axes_1",)) -> Path:
    """As NeMo's: the mean over each clip's own frames."""
    count = "length" if len(sizes) == 1 else "flat"
    flatten = [] if len(sizes) == 1 else [helper.make_node("Squeeze", ["length", "one"], ["flat"])]
    nodes = [
        *flatten,
        helper.make_node("Cast", [count], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["count", "one"], ["column"]),
        helper.make_node("ReduceSum", ["audio_signal", "last"], ["sums"], keepdims=0),
        helper.make_node("Div", ["sums", "column"], ["logprobs"]),
        helper.make_node("Identity", ["length"], ["encoded_lengths"]),
    ]
    return saved(
        path,
        nodes,
        {"audio_signal": (TensorProto.FLOAT, ("audio_signal_dynamic_axes_1", BINS, "audio_signal_dynamic_axes_2")), "length": (kind, sizes)},
        {"logprobs": (TensorProto.FLOAT, ("logprobs_dynamic_axes_1", BINS)), "encoded_lengths": (kind, sizes)},
        {"one": np.array([1], np.int64), "last": np.array([2], np.int64)},
    )


@pytest.mark.parametrize(
    ("front_end", "arguments"),
    [
        (log_mel(), {"lengths": "length"}),
        (sg.with_lengths(log_mel().graph()), {}),
        (log_mel(), {"inputs": {"features": "audio_signal", "features_lens": "length"}}),
    ],
    ids=["lengths", "graph", "inputs"],
)
@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32], ids=["int64", "int32"])
def test_lengths(front_end: Any, arguments: dict[str, Any], kind: int, tmp_path: Path) -> None:
    model, path = with_length(tmp_path / "model.onnx", kind), tmp_path / "joined.onnx"
    sg.attach(front_end, model, path, **arguments)
    first, second = session(path), session(model)
    assert [value.name for value in first.get_inputs()] == ["waveforms", "waveforms_lens"]
    wave, lens = noise(3, 4000), np.array([4000, 2500, 800])
    got = dict(zip(("logprobs", "encoded_lengths"), first.run(None, {"waveforms": wave, "waveforms_lens": lens}), strict=True))
    for clip, length in enumerate(lens):
        alone = features(log_mel(), wave[clip : clip + 1, :length])
        count = np.array([alone.shape[2]], helper.tensor_dtype_to_np_dtype(kind))
        wanted = second.run(None, {"audio_signal": alone, "length": count})
        assert peak_error(got["logprobs"][clip : clip + 1], wanted[0]) < CLOSE
        assert got["encoded_lengths"][clip] == alone.shape[2]
    run = sg.load(path)
    assert peak_error(run([wave[0], wave[1, :2500], wave[2, :800]])["logprobs"], got["logprobs"]) < CLOSE
    assert run(wave[0])["logprobs"].shape == (BINS,)


def test_lengths_are_given_with_features_that_are_kept(tmp_path: Path) -> None:
    model = with_length(tmp_path / "model.onnx", TensorProto.INT32)
    sg.attach(log_mel(), model, tmp_path / "joined.onnx", lengths="length", keep=True)
    outputs, ends = sg.load(tmp_path / "joined.onnx")(noise(2, 4000), np.array([4000, 800]))
    assert outputs["features"].shape == (2, BINS, 51)
    assert not outputs["features"][1, :, 11:].any()
    assert ends["features"].tolist() == [51, 11]


def test_the_shortest_clip(tmp_path: Path) -> None:
    nodes = [helper.make_node("Conv", ["input_features", "kernel"], ["y"])]
    value = (TensorProto.FLOAT, ("N", BINS, "T"))
    model = saved(tmp_path / "model.onnx", nodes, {"input_features": value}, {"y": (TensorProto.FLOAT, ("N", 2, "U"))}, {"kernel": parameter(2, BINS, 7)})
    report = attached(log_mel(center=False), model, RATE, 256 + 6 * 80)
    run = sg.load(report.path)
    assert run.meta.min_samples == 256 + 6 * 80  # seven frames
    assert session(report.path).get_outputs()[0].shape == ["batch", 2, "U"]
    with pytest.raises(ValueError, match="needs at least 736"):
        run(noise(1, 735))


def test_lengths_with_an_axis_more(tmp_path: Path) -> None:
    model = with_length(tmp_path / "model.onnx", TensorProto.INT64, ("audio_signal_dynamic_axes_1", 1))
    sg.attach(log_mel(), model, tmp_path / "joined.onnx", lengths="length")
    got = session(tmp_path / "joined.onnx").run(None, {"waveforms": noise(2, 4000), "waveforms_lens": np.array([4000, 800])})
    assert got[1].tolist() == [[51], [11]]


@pytest.mark.parametrize(("dtype", "close"), [(np.float16, 5e-3), (np.float64, CLOSE)], ids=["half", "double"])
def test_dtypes(dtype: Any, close: float, tmp_path: Path) -> None:
    front_end = sg.preset("whisper-80", n_mels=BINS, sample_rate=RATE, length=None)  # in -1 ... 1, as what is computed in 16 bits is
    model = encoder(tmp_path / "model.onnx", dtype=dtype) if dtype == np.float16 else doubles(tmp_path / "model.onnx")
    report = attached(front_end, model, RATE, 3001, close=close, apart=lambda x: x.astype(dtype), keep=True)
    assert report.error <= report.tolerance <= close
    assert report.tolerance == CLOSE or dtype == np.float16
    made = {np.float16: "tensor(float16)", np.float64: "tensor(double)"}[dtype]
    assert [(value.name, value.type) for value in session(report.path).get_outputs()[1:]] == [("features", made)]


def doubles(path: Path) -> Path:
    value = (TensorProto.DOUBLE, ("N", BINS, "T"))
    return saved(path, [helper.make_node("Tanh", ["x"], ["y"])], {"x": value}, {"y": value}, {})


@pytest.mark.parametrize("external", [False, True], ids=["", "external"])
def test_a_wrong_join_is_not_written(external: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise on an array of the joined model, one part in ten thousand, is found."""
    from specgraph.export import joined_file, joined_model

    if external:
        monkeypatch.setattr(joined_file, "MOST_BYTES", 100)
    before = joined_model.put_before

    def worse(model: Any, part: Any, *arguments: Any) -> Any:
        called = before(model, part, *arguments)
        held = model.graph.initializers["mel"]
        held.const_value = onnx_ir.tensor((held.const_value.numpy() * np.float32(1.0001)), name="mel")
        return called

    monkeypatch.setattr(joined_model, "put_before", worse)
    model = encoder(tmp_path / "model.onnx")
    (tmp_path / "joined.onnx").write_bytes(b"what was there")
    with pytest.raises(ValueError, match="on noise of 8000 samples, batch 2, logits differs from the two apart by .* 1.0e-05 is allowed"):
        sg.attach(log_mel(), model, tmp_path / "joined.onnx")
    assert (tmp_path / "joined.onnx").read_bytes() == b"what was there"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "two files"])
def test_external_data(apart: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Any) -> None:
    """The arrays are in the new file, or where it cannot hold them in one beside it, that loader and ``inspect`` find; the source stays as it was."""
    from specgraph.export import joined_file

    if apart:
        monkeypatch.setattr(joined_file, "MOST_BYTES", 100)
    (tmp_path / "source").mkdir()
    model = encoder(tmp_path / "source" / "model.onnx")
    loaded = onnx.load(model)
    del loaded.graph.initializer[:]
    loaded.graph.initializer.extend([numpy_helper.from_array(parameter(4, BINS, 3), "mel"), numpy_helper.from_array(parameter(4), "bias")])
    large = np.zeros((300, 1000), np.float32)
    loaded.graph.initializer.append(numpy_helper.from_array(large, "large"))
    loaded.graph.node.append(helper.make_node("ReduceSum", ["large"], ["total"], keepdims=0))
    loaded.graph.output.append(helper.make_tensor_value_info("total", TensorProto.FLOAT, []))
    onnx.save_model(loaded, model, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    source = {file.name: file.read_bytes() for file in model.parent.iterdir()}
    path = tmp_path / "joined.onnx"
    for _ in range(2):  # over what was there
        report = sg.attach(log_mel(), model, path)
        files = ["joined.onnx", *(["joined.onnx_data"] if apart else [])]
        assert sorted(file.name for file in tmp_path.iterdir()) == [*files, "source"]
        assert report.file_size == sum((tmp_path / name).stat().st_size for name in files)
        assert ("joined.onnx and joined.onnx_data, which must stay beside it" in str(report)) == apart
    assert (path.stat().st_size < 100_000) == apart
    assert {file.name: file.read_bytes() for file in model.parent.iterdir()} == source
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in files:
        shutil.move(tmp_path / name, moved / name)
    wave = noise(2, 4000)
    wanted = session(model).run(None, {"input_features": features(log_mel(), wave)})
    assert peak_error(sg.load(moved / "joined.onnx")(wave)["logits"], wanted[0]) < CLOSE
    code, out, _ = cli("inspect", moved / "joined.onnx")
    assert code == 0
    assert ("in joined.onnx_data; they belong together" in " ".join(out.replace("│", " ").split())) == apart
    if apart:
        held = bytearray((moved / "joined.onnx_data").read_bytes())
        held[5] ^= 1
        (moved / "joined.onnx_data").write_bytes(held)
        with pytest.raises(MetadataError, match="joined.onnx_data is not the file that joined.onnx was written with"):
            sg.load(moved / "joined.onnx")
        (moved / "joined.onnx_data").unlink()
        with pytest.raises(FileNotFoundError, match="joined.onnx needs joined.onnx_data beside it; copy both"):
            sg.load(moved / "joined.onnx")
    with pytest.raises(ValueError, match="model.onnx_data holds arrays of .*model.onnx, and those of model.onnx would replace it|is the model itself"):
        sg.attach(log_mel(), model, model)
    (model.parent / "model.onnx_data").unlink()
    with pytest.raises(FileNotFoundError, match="model.onnx needs model.onnx_data beside it; copy both"):
        sg.attach(log_mel(), model, path)


def test_twice_is_the_same_file_and_nothing_of_the_model_is_lost(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Twice", ["input_features"], ["doubled"], "front_end/Twice", domain="local"),
        helper.make_node("FusedMatMul", ["doubled", "weights"], ["waveforms"], "last", domain="com.microsoft", transA=1),
    ]
    function = helper.make_function("local", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 18)])
    model = saved(
        tmp_path / "model.onnx", nodes, {"input_features": (TensorProto.FLOAT, ("N", BINS, "T"))}, {"waveforms": (TensorProto.FLOAT, ("N", "T", 3))},
        {"weights": parameter(BINS, 3)}, functions=[function], opsets=[helper.make_opsetid("local", 1), helper.make_opsetid("com.microsoft", 1)],
    )  # fmt: skip
    held = onnx.load(model)
    held.metadata_props.add(key="languages", value="de,en")
    onnx.save_model(held, model)
    first, second = tmp_path / "first.onnx", tmp_path / "second.onnx"
    sg.attach(log_mel(), model, first)
    sg.attach(log_mel(), model, second)
    sg.to_onnx(log_mel(), tmp_path / "mel.onnx")
    assert first.read_bytes() == second.read_bytes()
    sg.attach(tmp_path / "mel.onnx", model, second)
    assert first.read_bytes() == second.read_bytes(), "of the front end's own file"
    sg.attach(log_mel().module(), model, second)
    assert first.read_bytes() == second.read_bytes(), "of its module"
    joined = onnx.load(first)
    assert [value.name for value in joined.graph.input] == ["front_end_waveforms"], "the model has a value of that name"
    assert [value.name for value in joined.graph.output] == ["waveforms"]
    assert {one.domain for one in joined.opset_import} == {"", "local", "com.microsoft"}
    assert [one.name for one in joined.functions] == ["Twice"]
    assert {one.key: one.value for one in joined.metadata_props}["languages"] == "de,en"
    assert {node.name.split("/")[0] for node in joined.graph.node[:-2]} == {"front_end_2"}
    wave = noise(2, 4000)
    (wanted,) = session(model).run(None, {"input_features": features(log_mel(), wave)})
    assert peak_error(sg.load(first)(wave), wanted) < CLOSE


def vocoder(path: Path, sizes: Sequence[Any], dtype: int = TensorProto.FLOAT) -> Path:
    """Makes a spectrogram of frames (batch, frames, 20)."""
    nodes = [
        helper.make_node("MatMul", ["mel", "weights"], ["wide"]),
        helper.make_node("Abs", ["wide"], ["spectrum_32"]),
        helper.make_node("Transpose", ["spectrum_32"], ["turned"], perm=[0, 2, 1]) if sizes[1] == 129 else helper.make_node("Identity", ["spectrum_32"], ["turned"]),
        helper.make_node("Cast", ["turned"], ["spectrum"], to=dtype),
        helper.make_node("ReduceMean", ["mel"], ["level"], keepdims=0, axes=[1, 2]),
    ]
    return saved(
        path, nodes, {"mel": (TensorProto.FLOAT, ("N", "T", 20))}, {"spectrum": (dtype, sizes), "level": (TensorProto.FLOAT, ("N",))},
        {"weights": parameter(20, 129)}, opset=17,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "dtype"),
    [(("N", 129, "T"), TensorProto.FLOAT), (("N", "T", 129), TensorProto.FLOAT), (("N", "T", 129), TensorProto.FLOAT16)],
    ids=["bft", "btf", "half"],
)
def test_an_inverse_behind_a_model(sizes: Sequence[Any], dtype: int, tmp_path: Path) -> None:
    inverse = sg.GriffinLim(sample_rate=RATE, n_fft=256, hop_length=64, n_iter=2)
    model, path = vocoder(tmp_path / "model.onnx", sizes, dtype), tmp_path / "joined.onnx"
    report = sg.attach(inverse, model, path, after=True, keep=True)
    assert report.error <= report.tolerance
    joined = session(path)
    assert [value.name for value in joined.get_inputs()] == ["mel"]
    assert [value.name for value in joined.get_outputs()] == ["waveforms", "spectrum", "level"]
    mel = np.abs(parameter(2, 30, 20))
    wave, spectrum, level = joined.run(None, {"mel": mel})
    wanted = session(model).run(None, {"mel": mel})
    assert peak_error(spectrum, wanted[0]) < 1e-3
    assert peak_error(level, wanted[1]) < CLOSE
    laid_out = wanted[0].astype(np.float32) if sizes[1] == 129 else wanted[0].astype(np.float32).transpose(0, 2, 1)
    if dtype == TensorProto.FLOAT:  # Griffin-Lim makes much of what 16 bits are rounded to
        assert peak_error(wave, inverse.graph().numpy(laid_out)["waveforms"].astype(np.float32)) < 1e-3
    sg.attach(inverse, model, path, after=True)
    assert [value.name for value in session(path).get_outputs()] == ["waveforms", "level"]
    run = sg.load(path)
    assert run(mel)["waveforms"].shape == wave.shape
    assert run.meta.front_ends[0]["attached"] == "after"


def test_before_and_behind(tmp_path: Path) -> None:
    """A mask on spectra, from sound to sound."""
    nodes = [helper.make_node("Mul", ["spectra", "mask"], ["masked"])]
    value = (TensorProto.FLOAT, ("batch", 129, "frames", 2))
    mask = np.abs(parameter(1, 129, 1, 1))
    model = saved(tmp_path / "mask.onnx", nodes, {"spectra": value}, {"masked": value}, {"mask": mask})
    size = {"sample_rate": RATE, "n_fft": 256, "hop_length": 64}
    forwards, backwards = sg.Spectrogram(output="complex", **size), sg.InverseSpectrogram(**size)
    sg.attach(forwards, model, tmp_path / "half.onnx")
    sg.attach(backwards, tmp_path / "half.onnx", tmp_path / "whole.onnx", after=True)
    run = sg.load(tmp_path / "whole.onnx")
    assert (run.input_names, run.output_names) == (("waveforms",), ("back_end_waveforms",))
    assert [one["name"] for one in run.meta.front_ends] == ["Spectrogram", "InverseSpectrogram"]
    wave = noise(3, 6400)
    wanted = backwards.graph().numpy(forwards.graph().numpy(wave)["features"] * mask)["waveforms"].astype(np.float32)
    assert peak_error(run(wave), wanted) < CLOSE
    with pytest.raises(ValueError, match=r"takes waveforms, not features.*already, Spectrogram and InverseSpectrogram; attach to the model"):
        sg.attach(sg.RMS(sample_rate=RATE), tmp_path / "whole.onnx", tmp_path / "again.onnx")
    sg.attach(sg.Resample(sample_rate=16000, new_freq=RATE), tmp_path / "whole.onnx", tmp_path / "again.onnx")
    assert sg.load(tmp_path / "again.onnx").sample_rate == 16000


def test_errors(tmp_path: Path) -> None:
    model, path = encoder(tmp_path / "model.onnx"), tmp_path / "joined.onnx"
    (tmp_path / "text.onnx").write_text("a model")
    sg.to_onnx(log_mel(), tmp_path / "mel.onnx")
    ids = saved(
        tmp_path / "ids.onnx", [helper.make_node("Identity", ["ids"], ["same"])], {"ids": (TensorProto.INT64, ("N", "T"))},
        {"same": (TensorProto.INT64, ("N", "T"))}, {},
    )  # fmt: skip
    old = encoder(tmp_path / "old.onnx", opset=11)
    brain = (TensorProto.BFLOAT16, ("N", BINS, "T"))
    saved(tmp_path / "brain.onnx", [helper.make_node("Cast", ["x"], ["y"], to=1)], {"x": brain}, {"y": (TensorProto.FLOAT, brain[1])}, {})
    saved(tmp_path / "foo.onnx", [helper.make_node("Foo", ["x"], ["y"], domain="ours")], {"x": (1, brain[1])}, {"y": (1, brain[1])}, {}, opsets=[helper.make_opsetid("ours", 1)])
    held = onnx.load(model)
    values, places = numpy_helper.from_array(np.ones(1, np.float32), "sparse"), numpy_helper.from_array(np.zeros(1, np.int64), "places")
    held.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [3]))
    onnx.save_model(held, tmp_path / "sparse.onnx")
    held = onnx.load(old)
    held.opset_import[0].version = 9
    onnx.save_model(held, old)
    cases: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (log_mel(), tmp_path / "none.onnx", {}, FileNotFoundError, "there is no file .*none.onnx"),
        (log_mel(), tmp_path, {}, IsADirectoryError, "is a folder"),
        (log_mel(), tmp_path / "text.onnx", {}, ValueError, "text.onnx is not a whole ONNX model: it begins with b'a model'"),
        (log_mel(), tmp_path / "mel.onnx", {}, ValueError, "is a front end itself, LogMelSpectrogram; the model comes second"),
        (log_mel(), old, {}, ValueError, "old.onnx has opset 9, and 11 or later is needed"),
        (log_mel(), tmp_path / "sparse.onnx", {}, ValueError, "sparse.onnx keeps sparse arrays"),
        (log_mel(), tmp_path / "brain.onnx", {}, ValueError, "x of .*brain.onnx holds bfloat16"),
        (log_mel(), tmp_path / "foo.onnx", {}, ValueError, "foo.onnx is not a model that onnxruntime loads on a CPU: .*Foo"),
        (log_mel(), model, {"input": "input_feature"}, ValueError, r"no input 'input_feature' \(did you mean 'input_features'\?\); it has input_features"),
        (log_mel(), model, {"output": "feature"}, ValueError, r"LogMelSpectrogram has no output 'feature' \(did you mean 'features'\?\)"),
        (log_mel(), model, {"inputs": {"features": "x"}}, ValueError, "has no input 'x'; it has input_features"),
        (log_mel(), model, {"inputs": {"features": "x"}, "input": "y"}, ValueError, "inputs says what is connected"),
        (log_mel(), model, {"lengths": "length"}, ValueError, "has no input 'length'"),
        (log_mel(n_mels=20), model, {}, ValueError, r"features \(batch, 20, .*\) of LogMel.* and input_features \(batch_size, 16, time\) of .*: 20 bins are not 16"),
        (sg.StandardizedWaveform(), model, {}, ValueError, "2 axes are not 3"),
        (log_mel(), ids, {}, ValueError, "has no input of floating-point numbers for features .*; it has ids"),
        (log_mel(), ids, {"input": "ids"}, ValueError, "ids of .* holds int64; connect another"),
        (sg.GriffinLim(n_fft=64), model, {"after": True}, ValueError, "33 bins are not 4"),
        (sg.GriffinLim(n_fft=64), model, {"after": True, "lengths": "x"}, ValueError, "leave them out with after=True"),
        (sg.GriffinLim(n_fft=64), model, {"after": True, "output": "logit"}, ValueError, "no output 'logit' .*did you mean 'logits'"),
        (log_mel(), model, {"target": "tpu"}, ValueError, "target must be"),
        (log_mel(), model, {"tolerance": 0}, ValueError, "tolerance must be above 0"),
        (log_mel(), model, {"examples": {"x": np.zeros(3)}}, ValueError, r"examples has x of shape \(3,\), and .* takes waveforms \(batch, samples\)"),
        (sg.LogMelSpectrogram, model, {}, TypeError, "attach takes a transform with its parameters"),
        (3, model, {}, TypeError, "attach takes a specgraph transform, graph or module, not builtins.int"),
        (tmp_path / "none.onnx", model, {}, FileNotFoundError, "there is no file"),
    ]
    for front_end, file, arguments, kind, message in cases:
        with pytest.raises(kind, match=message):
            sg.attach(front_end, file, path, **arguments)
        assert not path.exists(), message
    for destination, message in ((model, "is the model itself"), (tmp_path / "mel.onnx", "is the front end itself"), (tmp_path / "a.txt", "does not end in .onnx")):
        with pytest.raises(ValueError, match=message):
            sg.attach(tmp_path / "mel.onnx", model, destination)


def picky(path: Path) -> Path:
    """Looks a row up by a number that must not be 0, which is what is made up."""
    nodes = [
        helper.make_node("Sub", ["speaker", "one"], ["row"]),
        helper.make_node("Gather", ["rows", "row"], ["offset"]),
        helper.make_node("Unsqueeze", ["offset", "two"], ["column"]),
        helper.make_node("Reshape", ["column", "shape"], ["same"]),
        helper.make_node("Add", ["input_features", "same"], ["y"]),
    ]
    value = (TensorProto.FLOAT, ("N", BINS, "T"))
    arrays = {"rows": parameter(3, BINS), "one": np.array([5], np.int64), "two": np.array([2], np.int64), "shape": np.array([0, BINS, 1], np.int64)}
    return saved(path, nodes, {"input_features": value, "speaker": (TensorProto.INT64, ("N",))}, {"y": value}, arrays)


def test_examples(tmp_path: Path) -> None:
    model, path = picky(tmp_path / "model.onnx"), tmp_path / "joined.onnx"
    with pytest.raises(ValueError, match=r"cannot be run on what was made up for waveforms \(batch, samples\), speaker \(batch\): .*give examples="):
        sg.attach(log_mel(), model, path)
    assert sg.attach(log_mel(), model, path, examples={"speaker": np.array([7, 5])}).error < CLOSE


def test_a_batch_of_one(tmp_path: Path) -> None:
    """A model that says it takes any batch, and takes one clip."""
    nodes = [helper.make_node("Reshape", ["input_features", "shape"], ["flat"]), helper.make_node("Tanh", ["flat"], ["y"])]
    model = saved(
        tmp_path / "model.onnx", nodes, {"input_features": (TensorProto.FLOAT, ("N", BINS, "T"))}, {"y": (TensorProto.FLOAT, ("M", BINS, "T"))},
        {"shape": np.array([1, BINS, -1], np.int64)},
    )  # fmt: skip
    held = onnx.load(model)
    held.graph.node.insert(0, helper.make_node("Squeeze", ["input_features", "zero"], ["one"]))
    held.graph.node[1].input[0] = "one"
    held.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    onnx.save_model(held, model)
    sg.attach(log_mel(), model, tmp_path / "joined.onnx")
    assert session(tmp_path / "joined.onnx").get_inputs()[0].shape == [1, "samples"]
    assert sg.load(tmp_path / "joined.onnx")(noise(1, 4000)).shape == (1, BINS, 51)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_model_of_one_clip_takes_audio(channels: int, tmp_path: Path, cli: Any) -> None:
    """What torch.onnx.export makes unless it is told what varies: a batch of 1, here with frames that vary."""
    model = encoder(tmp_path / "model.onnx", (1, BINS, "time"))
    sg.attach(sg.with_input(log_mel(), dtype="int16", channels=channels), model, tmp_path / "joined.onnx")
    run = sg.load(tmp_path / "joined.onnx")
    assert run.input_sizes == (((1, 2, "samples") if channels == 2 else (1, "samples")),)
    assert (run.takes_waveforms, run.channels) == (True, channels)
    wave = np.round(noise(channels, 4000) * 3000).astype(np.int16)
    clip = wave if channels == 2 else wave[0]
    wanted = session(model).run(None, {"input_features": features(log_mel(), clip.reshape(channels, -1).mean(0, keepdims=True) / 32768)})[0]
    assert peak_error(run(clip[None]), wanted) < CLOSE
    alone = run(clip)
    assert alone.shape == wanted.shape[1:]
    np.testing.assert_array_equal(alone, run(clip[None])[0])
    soundfile.write(tmp_path / "a.wav", clip.T, run.sample_rate, subtype="PCM_16")
    np.testing.assert_array_equal(next(run.map([tmp_path / "a.wav"])), alone)
    cli("run", tmp_path / "joined.onnx", tmp_path / "a.wav", "-o", tmp_path / "a.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), alone)
    with pytest.raises(ValueError, match=r"waveforms must be \(1, (2, )?samples\), and axis 0 has 2 instead of 1"):
        run(np.stack([clip, clip]))


def test_a_length_that_is_fixed_and_not_said(tmp_path: Path) -> None:
    """Weights of so many frames, for any number of them by what the file says."""
    nodes = [helper.make_node("MatMul", ["input_features", "weights"], ["y"])]
    value = (TensorProto.FLOAT, ("N", BINS, "T"))
    for frames, samples in ((101, 8000), (51, 4000)):
        model = saved(tmp_path / f"{frames}.onnx", nodes, {"input_features": value}, {"y": (1, ("N", BINS, 3))}, {"weights": parameter(frames, 3)})
        given = {} if samples == RATE else {"examples": {"waveforms": noise(2, samples)}}
        if given:
            with pytest.raises(ValueError, match="cannot be run on what was made up for waveforms"):
                sg.attach(log_mel(), model)
        report = attached(log_mel(), model, samples, samples, **given)
        assert session(report.path).get_inputs()[0].shape == ["batch", samples]
        with pytest.raises(ValueError, match=f"9999 instead of {samples}"):
            sg.load(report.path)(noise(1, 9999))


def test_command_line(cli: Any) -> None:
    model = encoder(Path("model.onnx"))
    code, out, err = cli("attach", "log-mel", model, "-o", "joined.onnx", "-s", "sample_rate=8000", "-s", "n_fft=256", "-s", "hop_length=80", "-s", "n_mels=16")
    assert (code, err) == (0, "")
    assert "verified against the two apart" in out
    assert "wrote joined.onnx" in out
    code, out, _ = cli("inspect", "joined.onnx")
    assert code == 0
    for said in ("LogMelSpectrogram", "before the model", "features to input_features", "laid out as bft", "against the two apart"):
        assert said in " ".join(out.replace("│", " ").split()), said
    code, _, err = cli("verify", "joined.onnx")
    assert code == 1
    assert "compared with the two apart when it was attached" in one_sentence(err)
    soundfile.write("clip.wav", noise(1, 4000)[0], RATE)
    assert cli("run", "joined.onnx", "clip.wav", "-o", "logits.npy")[0] == 0
    assert np.load("logits.npy").shape == (4, 51)
    cli("export", "log-mel", "-o", "mel.onnx", "-s", "sample_rate=8000", "-s", "n_fft=256", "-s", "hop_length=80", "-s", "n_mels=16")
    assert cli("attach", "mel.onnx", model, "-o", "again.onnx", "--connect", "features=input_features")[0] == 0
    assert Path("again.onnx").read_bytes() == Path("joined.onnx").read_bytes()
    recorded = ("--input-dtype", "int16", "--input-rate", "16000", "--channels", "2")
    for front_end in ("mel.onnx", "joined"):
        parameters = ("-s", "sample_rate=8000", "-s", "n_fft=256", "-s", "hop_length=80", "-s", "n_mels=16") if front_end == "joined" else ()
        name = "log-mel" if front_end == "joined" else front_end
        assert cli("attach", name, model, "-o", f"recorded-{front_end}.onnx", *parameters, *recorded)[0] == 0
        run = sg.load(f"recorded-{front_end}.onnx")
        assert (run.sample_rate, run.channels, run.input_types) == (16000, 2, ("int16",))
    vocoder(Path("vocoder.onnx"), ("N", "T", 129))
    code, out, _ = cli("attach", "griffin-lim", "vocoder.onnx", "-o", "sound.onnx", "-s", "n_fft=256", "-s", "hop_length=64", "-s", "n_iter=1", "--after", "--keep")
    assert code == 0
    assert sg.load("sound.onnx").output_names == ("waveforms", "spectrum", "level")
    np.savez("speaker.npz", speaker=np.array([6, 7]))
    picky(Path("picky.onnx"))
    assert cli("attach", "mel.onnx", "picky.onnx", "-o", "picked.onnx", "--examples", "speaker.npz")[0] == 0
    for arguments, message in (
        (("whisper-81", model), "did you mean 'whisper-80'"),
        (("mel.onnx", model, "-s", "n_mels=3"), "--set is for a transform or a preset"),
        (("mel.onnx", model, "--input-name", "x"), "has no input 'x'"),
        (("mel.onnx", model, "--input-dtype", "int8"), "dtype must be 'float32' or 'int16', not 'int8'"),
        (("mel.onnx", model, "--connect", "features"), "--connect takes name=value, such as --connect features=input_features"),
        (("mel.onnx", model, "--examples", model), "is not a .npz file"),
        (("mel.onnx", "nowhere.onnx"), "there is no file nowhere.onnx"),
    ):
        code, _, err = cli("attach", *arguments, "-o", "x.onnx")
        assert code == 1
        assert message in one_sentence(err)


def test_cuda_runs_a_joined_file_without_a_copy(tmp_path: Path) -> None:
    environment = environment_of_cuda()
    sg.attach(sg.preset("whisper-80", n_mels=BINS), encoder(tmp_path / "model.onnx", ("N", BINS, 3000)), tmp_path / "joined.onnx", target="cuda")
    all_on_cuda(tmp_path / "joined.onnx", environment)


def test_a_model_that_uses_its_input_in_a_branch_and_gives_it_back(tmp_path: Path) -> None:
    """Of an old IR version, which lists arrays among inputs; the input is read within a node only, and is an output itself."""
    value = (TensorProto.FLOAT, ("N", BINS, "T"))
    branches = {}
    for name, op in (("then_branch", "Tanh"), ("else_branch", "Neg")):
        made = helper.make_tensor_value_info(f"{op}_made", *value)
        branches[name] = helper.make_graph([helper.make_node(op, ["input_features"], [f"{op}_made"])], name, [], [made])
    node = helper.make_node("If", ["choice"], ["y"], "if", **branches)
    nodes = [node, helper.make_node("Add", ["input_features", "small"], ["z"])]
    arrays = {"choice": np.array(True), "small": parameter(1, BINS, 1)}
    inputs = {"input_features": value, "choice": (TensorProto.BOOL, ()), "small": (TensorProto.FLOAT, (1, BINS, 1))}
    model = saved(tmp_path / "model.onnx", nodes, inputs, {"y": value, "z": value, "input_features": value}, arrays, opset=13, ir_version=3)
    report = attached(log_mel(), model, RATE, 4000)
    assert [one.name for one in session(report.path).get_inputs()] == ["waveforms"]
    assert [one.name for one in session(report.path).get_outputs()] == ["y", "z", "input_features"]


def test_a_large_model_is_run_a_few_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from specgraph.export import attachment

    monkeypatch.setattr(attachment, "LARGE", 100)
    report = attached(log_mel(), encoder(tmp_path / "model.onnx"), RATE, 4000)
    assert [(check.signal, check.batch) for check in report.checks] == [("noise", 2), ("silence", 2), ("noise", 1), ("noise", 2)]
    assert report.checks[3].samples > report.checks[0].samples


def test_a_shape_that_the_file_does_not_say(tmp_path: Path) -> None:
    model = encoder(tmp_path / "model.onnx")
    held = onnx.load(model)
    held.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save_model(held, model)
    with pytest.raises(ValueError, match="does not say what shape input_features has; give layout='bft', say"):
        sg.attach(log_mel(), model)
    attached(log_mel(), model, RATE, 4000, layout="bft")


@given(st.permutations(range(4)), st.lists(st.integers(0, 4), max_size=2), st.integers(0, 2))
def test_an_arrangement_and_back(order: list[int], new: list[int], left_out: int) -> None:
    """With axes of one left out and put in."""
    from specgraph.export.arrange import Arrangement

    shape = [1 if axis < left_out else axis + 2 for axis in range(4)]
    kept: list[int | None] = [axis for axis in order if axis >= left_out]
    for place in new:
        kept.insert(min(place, len(kept)), None)
    arrangement = Arrangement(tuple(kept), 4)
    array = np.random.default_rng(0).standard_normal(shape)
    moved = arrangement.numpy(array)
    assert moved.shape == tuple(1 if axis is None else shape[axis] for axis in kept)
    np.testing.assert_array_equal(arrangement.back().numpy(moved), array)
    assert arrangement.back().back() == arrangement


TANH = [helper.make_node("Tanh", ["x"], ["y"])]


def of_features(path: Path, nodes: Sequence[onnx.NodeProto], shape: Sequence[Any] | None, sizes: Sequence[Any] = ("N", BINS, "T"), **arrays: np.ndarray) -> Path:
    """A model of features x of these sizes, whose output y has this shape."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def mean_of(axes: Sequence[int], keepdims: int = 0) -> tuple[onnx.NodeProto, np.ndarray]:
    return helper.make_node("ReduceMean", ["x", "axes"], ["mean" if keepdims else "y"], keepdims=keepdims), np.array(axes, np.int64)


def test_clips_of_a_batch_are_not_mixed(tmp_path: Path) -> None:
    mean, axes = mean_of((0, 2))
    pooled, last = mean_of((1, 2), keepdims=1)
    frames = np.array([-1, BINS, 51], np.int64)
    turned = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), helper.make_node("Reshape", ["t", "three"], ["y"])]
    cases = {
        "softmax": (of_features(tmp_path / "a.onnx", [helper.make_node("Softmax", ["x"], ["y"], axis=0)], ("N", BINS, "T")), "y of a clip changes with the other clips"),
        "mean": (of_features(tmp_path / "b.onnx", [mean], (BINS,), axes=axes), "y is one answer for a whole batch"),
        "reshape": (of_features(tmp_path / "c.onnx", turned, ("N", BINS, "T"), three=frames), "y of a clip changes with the other clips"),
        "squeeze": (
            of_features(tmp_path / "d.onnx", [pooled, helper.make_node("Squeeze", ["mean"], ["y"])], None, axes=last),
            r"y has shape \(\) for one clip and \(2,\) for 2",
        ),
    }
    for case, (model, message) in cases.items():
        given = {"waveforms": noise(2, 4000)} if case == "reshape" else {}
        with pytest.raises(ValueError, match=f"does not compute clip by clip: {message}.*give examples="):
            sg.attach(log_mel(), model, tmp_path / "joined.onnx", examples=given)
        sg.attach(log_mel(), model, tmp_path / "joined.onnx", examples={"waveforms": noise(1, 4000)})
        assert session(tmp_path / "joined.onnx").get_inputs()[0].shape == [1, "samples" if case != "reshape" else 4000]
        (wanted,) = session(model).run(None, {"x": features(log_mel(), noise(1, 4000))})
        (got,) = session(tmp_path / "joined.onnx").run(None, {"waveforms": noise(1, 4000)})
        assert peak_error(got, wanted) < CLOSE
    chance = [helper.make_node("RandomNormalLike", ["x"], ["r"]), helper.make_node("Add", ["x", "r"], ["y"])]
    with pytest.raises(ValueError, match="gives another y when the same clips are given again"):
        sg.attach(log_mel(), of_features(tmp_path / "e.onnx", chance, ("N", BINS, "T")))


def test_examples_say_how_long_a_clip_of_a_fixed_length_is(tmp_path: Path) -> None:
    model = encoder(tmp_path / "model.onnx", ("N", BINS, 51))
    report = attached(log_mel(), model, 4079, 4079, examples={"waveforms": noise(2, 4079)})
    assert session(report.path).get_inputs()[0].shape == ["batch", 4079]
    with pytest.raises(ValueError, match="takes 51 only, and 4080 samples, as in examples, give 52; from 4000 to 4079 give 51"):
        sg.attach(log_mel(), model, examples={"waveforms": noise(2, 4080)})


def test_windows_are_asked_about(tmp_path: Path) -> None:
    """A batch of images of a fixed number of frames may be the windows of one clip."""
    model = of_features(tmp_path / "model.onnx", TANH, ("N", 76, BINS, 1), ("N", 76, BINS, 1))
    with pytest.raises(ValueError, match=r"takes windows of 76 frames, and a longer clip would be several of them; give layout='btfc'"):
        sg.attach(log_mel(), model)
    attached(log_mel(), model, 6000, 6000, layout="btfc", apart=lambda x: x.transpose(0, 2, 1)[..., None])


def test_the_tolerance_is_the_front_ends_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from specgraph.export import attachment

    allowed = []
    checked = attachment.checked

    def noted(*given: Any, **named: Any) -> Any:
        allowed.append(given[3])
        return checked(*given, **named)

    monkeypatch.setattr(attachment, "checked", noted)
    model = encoder(tmp_path / "model.onnx")
    for tolerance in (None, 1e-6, 1e-3):
        sg.attach(log_mel(), model, tolerance=tolerance)
    assert allowed == [2e-6, 2e-6, 1e-3]
