"""Exported files: the rules they keep, the lengths they run at, verification, and what comes back from them."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import specgraph as sg
from specgraph.export import VerificationError, verification
from specgraph.export.read import read_model
from specgraph.export.signals import SIGNALS, trials
from specgraph.ops.stft import Stft
from specgraph.presets import Preset
from specgraph.runtimes import slices
from specgraph.transforms import Transform, registry
from tests.conftest import opened, peak_error
from tests.sealing import resealed

LENGTHS = lambda n_fft: (1, 7, n_fft // 2, n_fft - 1, n_fft, n_fft + 1, 12_345, 480_000)
TRANSFORMS: list[Transform] = [
    sg.Spectrogram(n_fft=400, hop_length=160),
    sg.Spectrogram(n_fft=512, hop_length=441, output="complex"),
    sg.Spectrogram(n_fft=256, hop_length=256, output="power", pad_mode="edge"),
    sg.MelSpectrogram(n_fft=1024, hop_length=220, n_mels=40),
    sg.MelSpectrogram(n_fft=401, hop_length=160, n_mels=20, pad_mode="constant"),
    sg.LogMelSpectrogram(n_fft=400, hop_length=160, n_mels=30, log="ln", top_db=None),
    sg.MFCC(n_fft=2048, hop_length=512),
]


def plain(path: Path) -> onnxruntime.InferenceSession:
    return opened(path)


WHOLE_FIRST = {"StandardizedWaveform"}  # whose first step looks at the whole clip: only batches can be cut


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: f"{type(t).__name__}-{t.n_fft}-{t.hop}")
def test_one_export_runs_at_every_batch_and_length(transform: Transform, target: str, tmp_path: Path) -> None:
    sg.to_onnx(transform, tmp_path / "m.onnx", target=target)
    session, module = plain(tmp_path / "m.onnx"), transform.module()
    rng = np.random.default_rng(0)
    for samples in LENGTHS(transform.n_fft):
        for batch in (1, 3, 8) if samples < 20_000 else (1,):
            wave = (0.1 * rng.standard_normal((batch, samples))).astype(np.float32)
            got = session.run(None, {"waveforms": wave})[0]
            assert np.isfinite(got).all()
            wanted = module(torch.from_numpy(wave)).numpy()
            # One sample reflected is a constant: most of its bins are rounding, which a logarithm shows.
            loose = samples < transform.n_fft // 2 and isinstance(transform, sg.LogMelSpectrogram | sg.MFCC)
            assert peak_error(got, wanted) < (1e-2 if loose else 1e-5), (samples, batch)


# What takes long at its defaults, in fewer iterations or with shorter kernels.
SHORT = {"fmin": 262.0, "n_bins": 48}
QUICKER = {"GriffinLim": {"n_iter": 3}} | dict.fromkeys(("CQT", "CQT1992", "CQT1992v2", "CQT2010", "CQT2010v2", "OctavewiseCQT", "InverseCQT"), SHORT)
QUICKER |= {"HarmonicCQT": {"fmin": 262.0, "n_bins": 30}, "ChromaCQT": {"fmin": 262.0, "n_bins": 108}}


@pytest.mark.parametrize("name", sorted(registry()))
@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_the_file_keeps_the_rules(name: str, target: str, tmp_path: Path) -> None:
    transform = registry()[name](**QUICKER.get(name, {}))
    report = sg.to_onnx(transform, tmp_path / "m.onnx", target=target)
    model = onnx.load(tmp_path / "m.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert model.ir_version == 8
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 18)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"STFT", "DFT", "Col2Im", "Scan", "Loop", "If", "ScatterND", "ConvTranspose", "Einsum"}
    assert {node.domain for node in model.graph.node} == {""}
    assert not model.functions
    assert os.listdir(tmp_path) == ["m.onnx"]
    assert report.file_size == (tmp_path / "m.onnx").stat().st_size
    assert report.nodes == len(model.graph.node)
    assert [node.name for node in model.graph.input] == [transform.input().name]
    assert [node.name for node in model.graph.output] == list(transform.graph().outputs)
    axes = [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
    assert axes[0] == "batch"
    assert axes[1:].count("frames") == (len(axes) > 2)
    assert len(axes) > 2 or re.fullmatch("samples(_resampled)?", axes[1])
    if target == "cuda":
        assert "Conv" not in operators  # a MatMul has no cuDNN plan to make anew for every length
    else:
        parts_give_what_the_whole_gives(tmp_path / "m.onnx")


def parts_give_what_the_whole_gives(path: Path) -> None:
    """Clips apart, and stretches of a clip where it may be cut, on one thread and on two."""
    whole = sg.load(path, most_bytes=math.inf)
    pieces = whole.meta.slicing
    if whole.takes_waveforms:
        cuttable = whole.meta.name not in WHOLE_FIRST
        assert (pieces.before is not None) == cuttable, "the last step that reads a bounded stretch of the clip names the cut"
        t = np.arange(min(150_007, 7 + 5000 * pieces.step))
        given = np.stack([np.random.default_rng(0).standard_normal(len(t)), np.sin(1e-6 * t**2), (t % 9001 == 0) * 1.0])
    else:
        sizes = [{"batch": 3, "frames": 40, "samples": 40}.get(size, size) for size in whole.input_sizes[0]]
        given = np.abs(np.random.default_rng(0).standard_normal(sizes))
    wanted = named(whole, given)
    for threads in (1, 2):
        cut = sg.load(path, threads=threads, most_bytes=1.0)
        if whole.takes_waveforms:
            found = slices.parts(cut.meta, 3, given.shape[1], 1.0, apart=True)
            assert len(found) > 3 if cuttable else len(found) == 3
        for name, got in named(cut, given).items():
            assert peak_error(got, wanted[name]) < 3e-6, name


def named(run: Any, given: np.ndarray) -> dict[str, np.ndarray]:
    """All outputs by their names."""
    result = run(given.astype(np.float32))
    return result if isinstance(result, dict) else {run.output_names[0]: result}


def test_axes_of_several_outputs_have_names_of_their_own(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=8000)
    x = b.input("waveforms")
    low = b.fir_downsample(x, np.ones(3) / 3, factor=2)
    power = b.magnitude(b.stft(x, n_fft=16, hop_length=4), power=2.0)
    sg.to_onnx(b.build(features=power, level=b.log(power), low=low, wave=x), tmp_path / "m.onnx")
    shapes = {node.name: node.shape for node in plain(tmp_path / "m.onnx").get_outputs()}
    assert shapes == {
        "features": ["batch", 9, "frames"],
        "level": ["batch", 9, "frames"],
        "low": ["batch", "samples_low"],
        "wave": ["batch", "samples"],
    }


@pytest.mark.parametrize("lowering", list(Stft.lowerings))
def test_every_lowering_can_be_asked_for(lowering: str, tmp_path: Path) -> None:
    if lowering == "fft":
        with pytest.raises(ValueError, match="lowering fft of stft.* needs FFT, which cpu does not have"):
            sg.to_onnx(sg.MelSpectrogram(), tmp_path / "m.onnx", prefer={"Stft": "fft"})
        return
    report = sg.to_onnx(sg.MelSpectrogram(), tmp_path / "m.onnx", prefer={"Stft": lowering})
    assert report.choices[0].chosen == lowering
    assert 0 < report.error < 2e-6
    assert read_model(tmp_path / "m.onnx").metadata.lowering[0]["chosen"] == lowering


def test_tuning_measures_the_candidates(tmp_path: Path) -> None:
    report = sg.to_onnx(sg.MelSpectrogram(n_fft=400, hop_length=160, n_mels=20), tmp_path / "m.onnx", tune=True)
    choice = report.choices[0]
    measured = {name: seconds for name, seconds in choice.prices.items() if seconds is not None}
    assert choice.measured
    assert choice.chosen == min(measured, key=measured.__getitem__)


@pytest.mark.parametrize("trainable", [(), ("mel",), ("fourier",), ("fourier", "mel", "dct")], ids=str)
def test_what_was_learned_is_exported(trainable: tuple[str, ...], tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = sg.MFCC(n_fft=256, hop_length=100, n_mels=20, top_db=None, amin=1e-3).module(trainable)
    if trainable:
        optimizer = torch.optim.Adam(module.parameters(), lr=3e-4)
        for _ in range(4):
            optimizer.zero_grad()
            module(torch.randn(2, 3000)).square().mean().backward()
            optimizer.step()
    sg.to_onnx(module, tmp_path / "m.onnx")
    wave = torch.randn(2, 4000)
    got = sg.load(tmp_path / "m.onnx")(wave.numpy())
    assert peak_error(got, module(wave).detach().numpy()) < 1e-5
    again = sg.read_graph(tmp_path / "m.onnx").module()
    assert {name for name, _ in again.named_parameters()} == set(trainable)
    torch.testing.assert_close(again(wave), module(wave), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [sg.LogMelSpectrogram, sg.MFCC, lambda: trained(2048), lambda: trained(128)], ids="abcd")
def test_exporting_what_was_read_gives_the_same_file(make, tmp_path: Path) -> None:
    sg.to_onnx(make(), tmp_path / "a.onnx")
    sg.to_onnx(sg.read_graph(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def trained(n_fft: int):
    torch.manual_seed(0)
    module = sg.MelSpectrogram(n_fft=n_fft, n_mels=10).module(("fourier", "mel"))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1e-4 * torch.randn_like(parameter)
    return module


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_large_trained_arrays_are_not_written_twice(target: str, tmp_path: Path) -> None:
    report = sg.to_onnx(trained(2048), tmp_path / "m.onnx", target=target)
    assert report.file_size < 1.05 * 4 * 2 * 1025 * 2048
    graph = sg.read_graph(tmp_path / "m.onnx")
    for constant, wanted in zip(graph.constants(), trained(2048).graph.constants(), strict=True):
        np.testing.assert_array_equal(constant.array, wanted.array)


def test_verify_repeats_the_check_from_the_file_alone(mel_file: Path) -> None:
    report = sg.verify(mel_file)
    assert 0 < report.error < 2e-6
    assert {check.signal for check in report.checks} == set(SIGNALS)
    assert report.torch_error is not None
    assert report.choices[0].chosen in Stft.lowerings


@pytest.mark.parametrize(("initializer", "change"), [("mel", 1e-4), ("fourier_first", 1e-5)])
def test_verify_finds_what_was_changed(initializer: str, change: float, mel_file: Path, tmp_path: Path) -> None:
    model = onnx.load(mel_file)
    parts = [i for i in model.graph.initializer if i.name.split("/")[0] == initializer]  # a bank may be held in bands
    held = max(parts, key=lambda part: np.abs(onnx.numpy_helper.to_array(part)).max())
    array = onnx.numpy_helper.to_array(held).copy()
    array[np.unravel_index(np.abs(array).argmax(), array.shape)] *= 1 + 100 * change
    held.CopyFrom(onnx.numpy_helper.from_array(array, held.name))
    (tmp_path / "changed.onnx").write_bytes(resealed(model.SerializeToString()))  # as if it had been written so
    with pytest.raises(VerificationError, match="differs from its float64 definition by"):
        sg.verify(tmp_path / "changed.onnx")


def test_an_op_of_torch_alone_is_named(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=16000)
    graph = b.build(spectrum=b.rfft(b.frame(b.input("waveforms"), 400, 160), 400))
    with pytest.raises(ValueError, match=r"rfft\(.*\) runs in torch only and has no ONNX operators; use another op, such as stft"):
        sg.to_onnx(graph, tmp_path / "m.onnx")
    assert os.listdir(tmp_path) == []


def test_nothing_is_written_where_verification_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(VerificationError, match="on noise of 12007 samples, batch 1, .* and 1.0e-12 is allowed"):
        sg.to_onnx(sg.MelSpectrogram(), tmp_path / "m.onnx", tolerance=1e-12)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:100])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        sg.to_onnx(sg.MFCC(), path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.onnx"]


@pytest.mark.parametrize(
    ("options", "error", "sentence"),
    [
        ({"target": "tpu"}, ValueError, "target must be 'cpu' or 'cuda', not 'tpu'"),
        ({"opset": 17}, ValueError, "opset must be one of 18, 19, 20, 21, not 17"),
        ({"tolerance": 0}, ValueError, "tolerance must be above 0"),
        ({"prefer": {"Stft": "fast"}}, ValueError, "Stft has no lowering 'fast'"),
        ({"source": torch.nn.Linear(1, 1)}, TypeError, "Linear holds no specgraph module"),
        ({"path": "nowhere/m.onnx"}, FileNotFoundError, "the folder nowhere does not exist"),
        ({"path": "."}, IsADirectoryError, "is a folder"),
    ],
)
def test_wrong_arguments(options: dict, error: type[Exception], sentence: str, tmp_path: Path) -> None:
    given = {"source": sg.MFCC(), "path": tmp_path / "m.onnx"} | options
    with pytest.raises(error, match=sentence):
        sg.to_onnx(given.pop("source"), given.pop("path"), **given)


def test_allowances_follow_the_spectrum() -> None:
    """A bin may be off by the tolerance of the peak; behind a logarithm by what that means there."""
    wave = SIGNALS["sweep"](8000)[None]
    graph = sg.LogMelSpectrogram(n_fft=256, n_mels=10, top_db=None).graph()
    wanted, allowed = verification.with_allowances(graph, (wave,))
    linear = sg.MelSpectrogram(n_fft=256, n_mels=10).graph()
    mel, room = verification.with_allowances(linear, (wave,))
    loud = mel["features"] > 0.1 * mel["features"].max()
    assert (room["features"][loud] < 2e-5 * mel["features"][loud]).all()
    assert (allowed["features"][loud] < 1e-3).all()
    assert allowed["features"].max() > allowed["features"][loud].max()  # quiet bins are allowed more, in decibels
    assert wanted["features"].shape == allowed["features"].shape


def test_trials_cover_short_clips_and_every_signal() -> None:
    made = list(trials(sg.MFCC(n_fft=400, n_mels=40).graph()))
    assert {name for names, _ in made for name in names} == set(SIGNALS)
    lengths = {inputs[0].shape[1] for _, inputs in made}
    assert {1, 7, 200, 399, 400, 401} <= lengths
    assert {inputs[0].shape[0] for names, inputs in made if len(names) == 1} == {1, 2, 3}


@pytest.mark.parametrize("options", [{"n_fft": 256, "n_mels": 23}, {"n_fft": 401, "win_length": 301, "n_mels": 40, "top_db": None}])
def test_a_reference_that_is_the_maximum_is_verified(options: dict, tmp_path: Path) -> None:
    sg.to_onnx(sg.LogMelSpectrogram(sample_rate=8000, hop_length=80, ref="max", **options), tmp_path / "m.onnx")


def test_differences_of_features_are_verified(tmp_path: Path) -> None:
    """The allowances of two operands add up; they do not cancel because both are moved the same way."""
    b = sg.Builder(sample_rate=16000)
    power = b.magnitude(b.stft(b.pad(b.input("waveforms"), 200), n_fft=400, hop_length=160), power=2.0)
    level = b.log(b.filterbank(power, np.abs(np.random.default_rng(0).standard_normal((20, 201)))), amin=1e-6)
    centred = b.subtract(level, b.reduce(level, "mean", axis=-1))
    spread = b.power(b.reduce(b.multiply(centred, centred), "mean", axis=-1), exponent=0.5)
    normalised = b.divide(centred, b.clip(spread, minimum=1e-3))
    report = sg.to_onnx(b.build(centred=centred, normalised=normalised), tmp_path / "m.onnx")
    assert report.error < 1e-6


@pytest.mark.parametrize("change", ["scaled", "one weight", "hash"])
def test_a_file_that_was_changed_is_refused(change: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    net = sg.Spectrogram(n_fft=512).module(trainable=("fourier",))  # so large that definition and weights share an array
    sg.to_onnx(net, path)
    model = onnx.load(path)
    if change == "hash":
        next(entry for entry in model.metadata_props if entry.key == "specgraph.hash").value = "00"
    else:
        weights = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
        array = onnx.numpy_helper.to_array(weights).copy()
        array[...] *= 2 if change == "scaled" else 1
        array.flat[7] += 0.01
        weights.CopyFrom(onnx.numpy_helper.from_array(array, weights.name))
    onnx.save(model, path)
    with pytest.raises(ValueError, match="was changed after it was written: its checksum"):
        sg.verify(path)
    path.write_bytes(resealed(model.SerializeToString()))
    with pytest.raises(ValueError, match="was changed after it was written: its definition is not the one that its hash is of"):
        sg.verify(path)


def test_by_way_of_cuda_the_file_stays_the_same(tmp_path: Path) -> None:
    net = sg.LogMelSpectrogram(n_fft=512, n_mels=20).module(trainable=("fourier", "mel"))
    with torch.no_grad():
        net.fourier += 1e-3 * torch.randn(net.fourier.shape, generator=torch.Generator().manual_seed(0))
    sg.to_onnx(net, tmp_path / "a.onnx")
    sg.to_onnx(net, tmp_path / "cuda.onnx", target="cuda")
    sg.to_onnx(sg.read_graph(tmp_path / "cuda.onnx"), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_a_definition_that_is_not_finite_is_named(tmp_path: Path) -> None:
    net = sg.MelSpectrogram(n_mels=20).module(trainable=("mel",))
    with torch.no_grad():
        net.mel[0, 0] = float("nan")
    with pytest.raises(VerificationError, match="the definition of features is not finite itself"):
        sg.to_onnx(net, tmp_path / "m.onnx")


def test_only_onnx_files_are_written_and_no_device_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim.wav"
    victim.write_bytes(b"sound")
    with pytest.raises(ValueError, match=r"does not end in .onnx; name the file victim.onnx"):
        sg.to_onnx(sg.MFCC(), victim)
    assert victim.read_bytes() == b"sound"
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(FileExistsError, match="a device or a pipe"):
        sg.to_onnx(sg.MFCC(), tmp_path / "pipe.onnx")
    (tmp_path / "link.onnx").symlink_to(tmp_path / "real.onnx")
    sg.to_onnx(sg.MelSpectrogram(n_mels=10), tmp_path / "link.onnx")
    assert (tmp_path / "link.onnx").is_symlink()
    assert (tmp_path / "real.onnx").is_file()


# --- CUDA placement, without a GPU ------------------------------------------------------------------------------------

PLACE = """
import collections, json, pathlib, sys, tempfile
import onnx, onnxruntime
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
with tempfile.TemporaryDirectory() as folder:
    options.optimized_model_filepath = str(pathlib.Path(folder, "optimized.onnx"))
    session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    placed = collections.defaultdict(list)
    for part in session.get_provider_graph_assignment_info():
        placed[part.ep_name] += [node.op_type for node in part.get_nodes()]
    copies = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node if node.op_type.startswith("Memcpy")]
print(json.dumps({"providers": session.get_providers(), "placed": placed, "copies": copies}))
"""
SHAPE_ARITHMETIC = {"Shape", "Add", "Sub", "Mul", "Div", "Mod", "Max", "Min", "Squeeze", "Unsqueeze", "Concat", "Slice", "Cast", "Gather"}


def cuda_provider_environment() -> dict[str, str] | None:
    """The environment in which onnxruntime's CUDA provider loads here: a GPU's, or one with mock CUDA libraries."""
    if torch.cuda.is_available():
        return dict(os.environ)
    folder = os.environ.get("SPECGRAPH_MOCK_CUDA")
    if not folder:
        return None
    names = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10", "libcuda.so.1")
    return os.environ | {"LD_LIBRARY_PATH": folder, "LD_PRELOAD": " ".join(f"{folder}/{name}" for name in names)}


def environment_of_cuda() -> dict[str, str]:
    """``cuda_provider_environment``, or the test is skipped."""
    environment = cuda_provider_environment()
    if environment is None or (shutil.which("nvidia-smi") is None and "SPECGRAPH_MOCK_CUDA" not in os.environ):
        pytest.skip("needs a GPU, or SPECGRAPH_MOCK_CUDA naming a folder with mock CUDA libraries")
    return environment


def all_on_cuda(path: Path, environment: dict[str, str]) -> None:
    """Every node of a file but shape arithmetic is placed on CUDA, and nothing is copied."""
    done = subprocess.run([sys.executable, "-c", PLACE, str(path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    if "CUDAExecutionProvider" not in result["providers"]:
        pytest.skip("this onnxruntime has no CUDA provider that loads")
    assert result["copies"] == []
    assert set(result["placed"].get("CPUExecutionProvider", [])) <= SHAPE_ARITHMETIC


@pytest.mark.parametrize("lengths", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize(
    ("transform", "lowering"),
    [
        *((cls(**QUICKER.get(name, {})), None) for name, cls in registry().items()),
        *((sg.LogMelSpectrogram(n_fft=400, hop_length=160, n_mels=40), name) for name in ("conv", "matmul", "factored_matmul")),
        (sg.Spectrogram(output="phase", pad_mode="edge"), None),
        (sg.MFCC(cmvn="sliding", deltas=1), None),
        (sg.MFCC(cmvn="utterance", deltas=1), None),
        (sg.MFCC(cmvn="sliding", cmvn_center=True, deltas=1, delta_mode="nearest"), None),
        (sg.Spectrogram(output="complex", hop_length=441), None),
        (sg.MelSpectrogram(n_fft=1000, hop_length=7, n_mels=20, pad_mode="constant"), None),
        *((sg.preset(name), None) for name in ("whisper-80", "parakeet", "paraformer", "seamless-m4t", "wespeaker", "ast", "yamnet")),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Transform) else x.name if isinstance(x, Preset) else str(x),
)
def test_cuda_runs_every_node_without_a_copy(transform: Transform | Preset, lowering: str | None, lengths: bool, tmp_path: Path) -> None:
    environment = environment_of_cuda()
    if lengths and transform.input().name != "waveforms":
        pytest.skip("lengths are those of waveforms")
    prefer = {"Stft": lowering} if lowering else None
    sg.to_onnx(transform, tmp_path / "m.onnx", target="cuda", prefer=prefer, lengths=lengths)
    all_on_cuda(tmp_path / "m.onnx", environment)
