"""Torch models with front ends in them as one file: by ``to_onnx``, and by plain ``torch.onnx.export``."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import specgraph as sg
from specgraph.export.report import Report
from tests.conftest import peak_error

RATE = 8000
CLOSE = 1e-5  # of the output's peak
REFUSED = {"STFT", "DFT", "Col2Im", "Scan", "Loop", "ScatterND"}


def noise(batch: int, samples: int) -> torch.Tensor:
    return 0.2 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(samples))


def log_mel(hop: int = 80, trainable: tuple[str, ...] = (), n_mels: int = 16) -> Any:
    return sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=hop, n_mels=n_mels).module(trainable)


def perturbed(module: Any) -> Any:
    """As training leaves a module: every parameter a little off."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1 + 0.1 * torch.rand(parameter.shape, generator=torch.Generator().manual_seed(3)))
    return module


def settled(model: nn.Module) -> nn.Module:
    """With statistics in its batch normalisation that are not those it began with."""
    torch.manual_seed(0)
    model.train()
    with torch.no_grad():
        model(noise(4, RATE))
    return model


def classifier(bins: int = 16, channels: int = 6) -> list[nn.Module]:
    return [nn.BatchNorm1d(bins), nn.Conv1d(bins, channels, 5, padding=2), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(channels, 3)]


def exported(model: nn.Module, path: Path, *lengths: int, **arguments: Any) -> Report:
    """Exports, and compares the file in plain onnxruntime with torch in eval mode at these lengths."""
    report = sg.to_onnx(model, path, **arguments)
    held = onnx.load(path)
    operators = Counter(node.op_type for node in held.graph.node)
    assert not REFUSED & set(operators)
    assert [(one.domain, one.version) for one in held.opset_import] == [("", 18)]
    assert held.ir_version == 8
    assert not held.functions
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch, length in enumerate(lengths, 1):
        wave = noise(batch, length)
        got = session.run(None, {session.get_inputs()[0].name: wave.numpy()})
        for array, wanted in zip(got, flat(in_eval(model, wave)), strict=True):
            assert peak_error(array, wanted) < CLOSE
    return report


def in_eval(model: nn.Module, *inputs: torch.Tensor) -> Any:
    training = model.training
    model.eval()
    with torch.no_grad():
        result = model(*inputs)
    model.train(training)
    return result


def flat(result: Any) -> list[np.ndarray]:
    values = result.values() if isinstance(result, dict) else result if isinstance(result, tuple) else [result]
    return [value.numpy() for value in values]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
@pytest.mark.parametrize("trainable", [(), ("fourier", "mel")], ids=["fixed", "trained"])
def test_classifier(trainable: tuple[str, ...], target: str, tmp_path: Path) -> None:
    model = settled(nn.Sequential(perturbed(log_mel(trainable=trainable)), *classifier()))
    report = exported(model, tmp_path / "a.onnx", RATE, 3001, 20000, target=target)
    assert report.error < report.tolerance == 1e-4
    assert {check.signal for check in report.checks} >= {"noise", "impulse", "silence"}
    assert {check.batch for check in report.checks} == {1, 2, 3}
    assert model.training
    assert all(module.training for module in model.modules())
    if target == "cuda":  # the front end has no convolution: its only one is the classifier's
        assert [node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node].count("Conv") == 1


def test_the_file_says_what_it_is_and_runs(tmp_path: Path) -> None:
    model = settled(nn.Sequential(log_mel(), *classifier()))
    path = tmp_path / "a.onnx"
    report = exported(model, path, RATE)
    run = sg.load(path)
    wave = noise(2, 5000)
    assert run.input_names == ("waveforms",)
    assert run.output_names == ("output",)
    assert run.sample_rate == RATE
    assert run.meta.name == "Sequential"
    assert run.meta.front_ends[0]["name"] == "LogMelSpectrogram"
    assert run.meta.front_ends[0]["parameters"]["hop_length"] == 80
    assert run.meta.slicing.bytes == 0
    assert run.meta.outputs["output"].axes == ("batch", "axis_1")
    assert run.meta.verified["error"] == float(f"{report.error:.1e}")
    assert peak_error(run(wave.numpy()), in_eval(model, wave).numpy()) < CLOSE
    assert run(wave[0]).shape == (3,)
    with pytest.raises(ValueError, match="no frames"):
        run.times(3)
    with pytest.raises(ValueError, match="empty|no samples"):
        run(np.zeros((1, 0), np.float32))
    text = path.read_bytes()
    assert str(Path(__file__).parent).encode() not in text  # torch writes where a node comes from
    for refused in (sg.verify, sg.read_graph, lambda file: sg.load(file, device="torch")):
        with pytest.raises(ValueError, match="compared only with the torch model"):
            refused(path)
    from specgraph.cli import app

    shown = CliRunner().invoke(app, ["inspect", str(path)])
    assert shown.exit_code == 0, shown.output
    assert "LogMelSpectrogram" in shown.output


def test_too_short_a_clip_is_refused(tmp_path: Path) -> None:
    front = sg.MelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=16, center=False).module()
    model = nn.Sequential(front, nn.Conv1d(16, 4, 7), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    exported(model, tmp_path / "a.onnx", 2000, 736)
    run = sg.load(tmp_path / "a.onnx")
    assert run.meta.min_samples == 256 + 6 * 80  # seven frames
    with pytest.raises(ValueError, match="needs at least 736"):
        run(np.zeros((1, 735), np.float32))


class TwoFrontEnds(nn.Module):
    """Mel spectra at two hops, put together as features of the clip."""

    def __init__(self) -> None:
        super().__init__()
        self.fast, self.slow = log_mel(40), log_mel(160, n_mels=12)
        self.head = nn.Linear(28, 2)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.fast(waveforms).mean(-1), self.slow(waveforms).amax(-1)], -1))


class Shared(nn.Module):
    """One trained front end, nested, called on a signal and on what is computed from it; outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Sequential(perturbed(log_mel(trainable=("mel",)))))
        self.scale = nn.Parameter(torch.tensor(0.5))

    def forward(self, waveforms: torch.Tensor) -> dict[str, torch.Tensor]:
        first, second = self.block(waveforms), self.block(self.scale * waveforms.tanh())
        return {"difference": first - second, "level": first.mean((1, 2))}


class Recurrent(nn.Module):
    """Cepstra, an LSTM and attention; two outputs, one of them as the frames are."""

    def __init__(self) -> None:
        super().__init__()
        self.front = sg.MFCC(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=20, n_mfcc=12, deltas=1).module()
        self.recurrent = nn.GRU(24, 8, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        frames, _ = self.recurrent(0.02 * self.front(clip).transpose(1, 2))
        frames = frames + self.attention(frames, frames, frames, need_weights=False)[0]
        return self.head(frames.mean(1)), frames


class Enhancer(nn.Module):
    """A mask on a spectrogram, and back to sound."""

    def __init__(self) -> None:
        super().__init__()
        self.forwards = sg.Spectrogram(sample_rate=RATE, n_fft=256, hop_length=64, output="complex").module()
        self.backwards = sg.InverseSpectrogram(sample_rate=RATE, n_fft=256, hop_length=64).module()
        self.mask = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        spectrum = self.forwards(waveforms)
        return self.backwards(spectrum * self.mask(spectrum.permute(0, 3, 1, 2)).sigmoid().permute(0, 2, 3, 1))


def test_two_front_ends(tmp_path: Path) -> None:
    report = exported(TwoFrontEnds(), tmp_path / "a.onnx", RATE, 4321, 12000)
    assert len(report.choices) == 2
    assert len(sg.load(tmp_path / "a.onnx").meta.front_ends) == 2


def test_a_shared_front_end_is_held_once(tmp_path: Path) -> None:
    model = Shared()
    report = exported(model, tmp_path / "a.onnx", RATE, 5001)
    held = onnx.load(tmp_path / "a.onnx").graph
    assert len(report.choices) == 1
    assert [output.name for output in held.output] == ["difference", "level"]
    banks = [array for array in held.initializer if "mel" in array.name and len(array.dims) == 2]
    assert len(banks) == 1
    assert sg.load(tmp_path / "a.onnx").meta.outputs["difference"].hop == 80


def test_recurrent_and_attention(tmp_path: Path) -> None:
    torch.manual_seed(1)
    exported(Recurrent(), tmp_path / "a.onnx", RATE, 5000, 9100, output_names=("classes", "frames"), input_names=("clip",))
    run = sg.load(tmp_path / "a.onnx")
    assert run.input_names == ("clip",)
    assert run.meta.outputs["frames"].axes[:2] == ("batch", "frames")
    np.testing.assert_allclose(run.times(3, "frames"), np.arange(3) * 100 / RATE)
    assert {name: array.shape for name, array in run(np.zeros(5000, np.float32)).items()} == {"classes": (3,), "frames": (51, 16)}


class Layers(nn.Module):
    """Each kind of recurrent layer on the same frames, in the ways that they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.front = log_mel()
        self.lstm = nn.LSTM(16, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.rnn = nn.RNN(16, 4, nonlinearity="relu", bias=False)
        self.gru = nn.GRU(16, 6, num_layers=2)

    def forward(self, waveforms: torch.Tensor) -> tuple[torch.Tensor, ...]:
        frames = 0.02 * self.front(waveforms).transpose(1, 2)
        one, (hidden, cell) = self.lstm(frames)
        two, end = self.rnn(frames.transpose(0, 1))
        three, _ = self.gru(frames.transpose(0, 1), 0.1 * torch.ones(2, frames.shape[0], 6))
        return one.reshape(one.shape[0], -1, 5, 2), hidden, cell, two, end, three


def test_every_kind_of_recurrent_layer(tmp_path: Path) -> None:
    torch.manual_seed(4)
    model = Layers()
    exported(model, tmp_path / "a.onnx", RATE, 5000)
    assert "forward" not in vars(model.lstm)
    run = sg.load(tmp_path / "a.onnx")
    assert run.meta.outputs["output_2"].axes == ("axis_0", "batch", "axis_2")
    assert run(np.zeros(800, np.float32))["output_2"].shape == (4, 5)


def test_back_to_sound(tmp_path: Path) -> None:
    torch.manual_seed(2)
    exported(Enhancer(), tmp_path / "a.onnx", RATE, 6400, 3000)


def test_constant_q(tmp_path: Path) -> None:
    torch.manual_seed(3)
    front = sg.CQT(sample_rate=RATE, n_bins=36, hop_length=128, fmin=110.0).module()
    model = nn.Sequential(front, nn.Unflatten(1, (1, 36)), nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten())
    report = sg.to_onnx(model, tmp_path / "a.onnx")
    wave = noise(3, 9000)
    allowed = 2 * (report.choices[0].tolerance or CLOSE)  # both may approximate
    assert peak_error(sg.load(tmp_path / "a.onnx")(wave.numpy()), in_eval(model, wave).numpy()) < allowed


class FromFeatures(nn.Module):
    """Spectra in, with a waveform beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.backwards = sg.InverseSpectrogram(sample_rate=RATE, n_fft=64, hop_length=16).module()
        self.front = log_mel()

    def forward(self, spectra: torch.Tensor, clip: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.backwards(spectra), self.front(clip)


def test_several_inputs(tmp_path: Path) -> None:
    model, spectra, clip = FromFeatures(), torch.randn(2, 33, 50, 2), noise(2, 4000)
    with pytest.raises(ValueError, match="takes spectra, clip; give an example of each"):
        sg.to_onnx(model, tmp_path / "a.onnx")
    sg.to_onnx(model, tmp_path / "a.onnx", inputs=(spectra, clip))
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_inputs()] == ["spectra", "clip"]
    spectra, clip = torch.randn(3, 33, 21, 2), noise(3, 3000)
    got = session.run(None, {"spectra": spectra.numpy(), "clip": clip.numpy()})
    for array, wanted in zip(got, flat(in_eval(model, spectra, clip)), strict=True):
        assert peak_error(array, wanted) < CLOSE


class Conditioned(nn.Module):
    """Lengths and a speaker's number beside the clips."""

    def __init__(self) -> None:
        super().__init__()
        self.front = sg.LogMelSpectrogram(sample_rate=RATE, n_fft=64, hop_length=16, n_mels=16, top_db=None).module(lengths=True)
        self.speakers = nn.Embedding(4, 16)

    def forward(self, waveforms: torch.Tensor, waveforms_lens: torch.Tensor, speaker: torch.Tensor) -> torch.Tensor:
        features, ends = self.front(waveforms, waveforms_lens)
        total = (features + 100.0 * (features != 0)).sum(2) / ends[:, None].float()
        return total + self.speakers(speaker)


def test_whole_numbers_beside_the_clips(tmp_path: Path) -> None:
    model, clips, speakers = Conditioned(), noise(2, 4000), torch.tensor([3, 1])
    report = sg.to_onnx(model, tmp_path / "a.onnx", inputs=(clips, torch.tensor([4000, 2500]), speakers))
    assert len({check.samples for check in report.checks}) > 2
    run = sg.load(tmp_path / "a.onnx")
    assert run.input_names == ("waveforms", "waveforms_lens", "speaker")
    clips, lengths, speakers = noise(3, 3000), torch.tensor([3000, 1000, 2999]), torch.tensor([0, 2, 2])
    assert peak_error(run(clips.numpy(), lengths.numpy(), speakers.numpy()), in_eval(model, clips, lengths, speakers).numpy()) < CLOSE
    with pytest.raises(TypeError, match="speaker must be int64, not float32"):
        run(clips.numpy(), lengths.numpy(), speakers.float().numpy())
    with pytest.raises(TypeError, match="float32, int64, int32 or bool tensors or arrays.*number 2 is torch.float64"):
        sg.to_onnx(model, tmp_path / "b.onnx", inputs=(clips, lengths, speakers.double()))


def test_a_fixed_length_must_be_asked_for(tmp_path: Path) -> None:
    model = nn.Sequential(log_mel(), nn.Flatten(), nn.Linear(16 * 51, 2))
    path = tmp_path / "a.onnx"
    clips = noise(2, 4000)
    with pytest.raises(ValueError, match=r"one size of samples only.*dynamic_shapes=\(\{0: 'batch'\},\)"):
        sg.to_onnx(model, path, inputs=(clips,))
    assert not path.exists()
    sg.to_onnx(model, path, inputs=(clips,), dynamic_shapes=({0: "batch"},))
    run = sg.load(path)
    assert run.input_sizes == (("batch", 4000),)
    assert peak_error(run(noise(5, 4000).numpy()), in_eval(model, noise(5, 4000)).numpy()) < CLOSE
    with pytest.raises(ValueError, match="4001 instead of 4000"):
        run(np.zeros((1, 4001), np.float32))


class Wrong(nn.Module):
    """Computes something else while it is exported, and returns what it is told to."""

    def __init__(self, result: str = "tensor") -> None:
        super().__init__()
        self.front, self.result = log_mel(), result

    def forward(self, waveforms: torch.Tensor) -> Any:
        if self.result == "unused":
            return waveforms * 2
        made = self.front(waveforms)
        if self.result == "one batch":
            return made.reshape(len(made), -1)  # len gives a number where shape[0] gives a size that varies
        if self.result == "nothing":
            return (made, None)
        return made + 1.0 if torch.compiler.is_exporting() else made


def test_what_differs_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(b"what was there")
    with pytest.raises(ValueError, match=r"on noise of 8000 samples, batch 2, output differs from the torch model by .* most at \(\d+, \d+, \d+\)"):
        sg.to_onnx(Wrong(), path)
    assert path.read_bytes() == b"what was there"
    assert [file.name for file in tmp_path.iterdir()] == ["a.onnx"]
    assert sg.to_onnx(Wrong(), path, tolerance=1.0).tolerance == 1.0


def test_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    cases: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
        (nn.Linear(3, 2), {}, TypeError, "Linear holds no specgraph module"),
        (nn.Sequential(log_mel()).double(), {}, TypeError, "exported in float32, and 0.* is torch.float64"),
        (nn.Sequential(log_mel(), nn.Linear(1, 1).half()), {}, TypeError, "1.weight is torch.float16"),
        (Wrong("unused"), {}, ValueError, "does not call the front end"),
        (Wrong("nothing"), {}, ValueError, "must return a tensor, or .* not a tuple of Tensor, NoneType"),
        (Wrong("one batch"), {}, ValueError, r"one size of batch only, as traced 2 .*dynamic_shapes=\(\{1: 'samples'\},\)"),
        (nn.Sequential(log_mel()), {"inputs": (torch.zeros(2, 800, dtype=torch.int64),)}, TypeError, "number 0 is torch.int64"),
        (nn.Sequential(log_mel()), {"output_names": ("a", "b")}, ValueError, "output_names must be 1 different identifiers"),
        (nn.Sequential(log_mel()), {"dynamic_shapes": ({7: "x"},)}, ValueError, "dynamic_shapes holds a dict of names by axis"),
        (nn.Sequential(log_mel()), {"target": "tpu"}, ValueError, "target must be"),
        (log_mel(), {"output_names": ("a",)}, TypeError, "output_names is for a whole model"),
    ]
    for model, arguments, kind, message in cases:
        with pytest.raises(kind, match=message):
            sg.to_onnx(model, path, **arguments)
    assert not path.exists()
    back = nn.Sequential(sg.InverseSpectrogram(sample_rate=RATE, n_fft=64, hop_length=16).module())
    with pytest.raises(ValueError, match="no front end of Sequential takes waveforms"):
        sg.to_onnx(back, path)


def test_larger_than_a_file_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from specgraph.export import whole_model

    monkeypatch.setattr(whole_model, "MOST_BYTES", 10_000)
    with pytest.raises(ValueError, match="one self-contained file at most 10 KB"):
        sg.to_onnx(nn.Sequential(log_mel(), *classifier(channels=300)), tmp_path / "a.onnx")


def plainly_exported(model: nn.Module, path: Path, samples: int, **arguments: Any) -> onnxruntime.InferenceSession:
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model.eval(), (noise(2, samples),), path, dynamo=True, opset_version=18, external_data=False, verbose=False,
            dynamic_shapes=(axes,), **arguments,
        )  # fmt: skip
    logger.setLevel(level)
    held = onnx.load(path)
    assert not REFUSED & {node.op_type for node in held.graph.node}
    assert {one.domain for one in held.opset_import} == {""}
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(
    "front",
    [
        sg.LogMelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=16),
        sg.Spectrogram(sample_rate=RATE, n_fft=300, hop_length=75, output="complex", pad_mode="edge"),
        sg.MFCC(sample_rate=RATE, n_fft=256, hop_length=100, n_mels=20, n_mfcc=12, deltas=1, cmvn="sliding", cmvn_window=40, min_cmvn_window=20),
        sg.PCEN(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=16),
        sg.CQT(sample_rate=RATE, n_bins=24, hop_length=128, fmin=110.0),
    ],
    ids=lambda front: type(front).__name__,
)
def test_plain_torch_onnx_export(front: Any, tmp_path: Path) -> None:
    model = front.module()
    session = plainly_exported(model, tmp_path / "a.onnx", RATE)
    for batch, length in ((1, 12345), (3, 3001), (1, 7)):
        wave = noise(batch, length)
        (got,) = session.run(None, {session.get_inputs()[0].name: wave.numpy()})
        wanted = in_eval(model, wave).numpy()
        allowed = 4e-4 if isinstance(front, sg.CQT) else CLOSE  # each of two lowerings may be off by the tolerance
        assert peak_error(got, wanted) < allowed, (batch, length)


def test_plain_export_of_a_trained_classifier_and_an_inverse(tmp_path: Path) -> None:
    model = settled(nn.Sequential(perturbed(log_mel(trainable=("fourier", "mel"))), *classifier()))
    for name, made in (("a", model), ("b", nn.Sequential(Enhancer()))):
        session = plainly_exported(made, tmp_path / f"{name}.onnx", RATE)
        for batch, length in ((1, 12345), (3, 3001)):
            wave = noise(batch, length)
            (got,) = session.run(None, {session.get_inputs()[0].name: wave.numpy()})
            assert peak_error(got, in_eval(made, wave).numpy()) < CLOSE


def test_a_module_alone_is_exported_as_ever(tmp_path: Path) -> None:
    module = perturbed(log_mel(trainable=("mel",)))
    sg.to_onnx(module, tmp_path / "a.onnx")
    run = sg.load(tmp_path / "a.onnx")
    assert run.output_names == ("features",)
    assert not run.meta.front_ends
    assert "specgraph.front_ends" not in run.meta.to_properties()
    assert sg.verify(tmp_path / "a.onnx").error < 2e-6


class Applied(nn.Module):
    """A front end, and a function of its features (batch, 16, frames)."""

    def __init__(self, function: Any, **parameters: Any) -> None:
        super().__init__()
        self.front = sg.MelSpectrogram(sample_rate=RATE, n_fft=256, hop_length=80, n_mels=16, **parameters).module()
        self.function = function

    def forward(self, waveforms: torch.Tensor) -> Any:
        return self.function(self.front(waveforms))


def standardized(mel: torch.Tensor) -> torch.Tensor:
    """As everybody writes it: on silence both are rounding."""
    features = torch.log(mel + 1e-6)
    return (features - features.mean(2, keepdim=True)) / (features.std(2, keepdim=True) + 1e-8)


SMALL = {
    "log_8": lambda mel: torch.log(mel + 1e-8),
    "log_12": lambda mel: torch.log(1e-12 + mel),
    "log10": lambda mel: torch.log10(mel - -1e-10),
    "clamped": lambda mel: mel.clamp(min=1e-10).log(),
    "ratio": lambda mel: mel / (mel.sum(1, keepdim=True) + 1e-9),
    "root": lambda mel: (mel + torch.tensor(1e-9)).sqrt(),
    "log1p": torch.log1p,
    "expm1": torch.expm1,
    "logsigmoid": lambda mel: nn.functional.logsigmoid(mel - 200),
    "logaddexp": lambda mel: torch.logaddexp(9 * mel, 9 * mel.flip(1)),
    "squeezed": lambda mel: mel.squeeze(1),
}


def test_small_constants_and_functions_near_zero(tmp_path: Path) -> None:
    """torch's own optimization takes 1e-8 for zero, and its exporter writes log1p as log(1 + x)."""
    model = Applied(lambda mel: {name: function(mel) for name, function in SMALL.items()})
    report = exported(model, tmp_path / "a.onnx", RATE)
    assert report.error <= report.tolerance == 1e-4
    wave = 1e-4 * noise(2, 5000)
    wave[1] = 0
    got = sg.load(tmp_path / "a.onnx")(wave.numpy())
    for name, wanted in in_eval(model, wave).items():
        assert peak_error(got[name], wanted.numpy()) < CLOSE, name


def test_what_layers_make_of_rounding_is_no_error_of_the_file(tmp_path: Path) -> None:
    model = Applied(standardized)
    sg.to_onnx(model, tmp_path / "a.onnx")
    wave = noise(2, 5000)
    assert peak_error(sg.load(tmp_path / "a.onnx")(wave.numpy()), in_eval(model, wave).numpy()) < CLOSE


class OfChannels(nn.Module):
    """Clips (batch, channels, samples), each channel with features of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.front, self.layer = log_mel(), nn.Conv2d(channels, 3, 3)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        batch, channels, samples = clips.shape
        features = self.front(clips.reshape(batch * channels, samples))
        return self.layer(0.02 * features.reshape(batch, channels, 16, -1)).mean((2, 3))


class OfMeans(OfChannels):
    """Takes (batch, samples) too, and takes the mean of the clips of a batch then."""

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.front(torch.atleast_2d(clips.mean(-2))).mean(-1)


@pytest.mark.parametrize(("kind", "channels"), [(OfChannels, 1), (OfChannels, 2), (OfMeans, 1)])
def test_clips_with_channels(kind: Any, channels: int, tmp_path: Path) -> None:
    torch.manual_seed(6)
    model = kind(channels)
    sg.to_onnx(model, tmp_path / "a.onnx")
    run = sg.load(tmp_path / "a.onnx")
    assert run.input_sizes == (("batch", channels, "samples"),)
    assert run.channels == channels
    clips = noise(3 * channels, 5000).reshape(3, channels, 5000)
    assert peak_error(run(clips.numpy()), in_eval(model, clips).numpy()) < CLOSE


def test_a_model_that_mixes_the_clips_of_a_batch_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    neighbours, one, place = "output of a clip changes with the other clips", "output is one answer for a whole batch", "changes with its place"
    cases: list[tuple[nn.Module, str]] = [
        (Applied(lambda mel: mel.mean(2).softmax(0)), neighbours),
        (Applied(lambda mel: mel - mel.mean(0, keepdim=True)), neighbours),
        (Applied(lambda mel: mel.movedim(-2, 0).reshape(mel.shape[0], 16, -1)), neighbours),
        (Applied(lambda mel: mel.flip(0)), neighbours),
        (nn.Sequential(log_mel(), nn.BatchNorm1d(16, track_running_stats=False)), neighbours),
        (Applied(lambda mel: torch.maximum(mel.clamp(min=1e-10).log10(), mel.max().log10() - 8)), neighbours),  # 80 dB below a batch
        (Applied(lambda mel: mel.mean((0, 2))), one),
        (Applied(lambda mel: {"loss": mel.mean()}), "loss is one answer"),
        (Applied(lambda mel: mel.mean((1, 2)) * torch.arange(1.0, 1 + len(mel))), place),
        (Applied(lambda mel: mel.mean((1, 2)).squeeze()), r"output has shape \(\) for one clip and \(2,\) for 2"),
    ]
    for model, message in cases:
        for given in ({}, {"inputs": (noise(2, 4000),)}):
            with pytest.raises(ValueError, match=f"does not compute clip by clip: .*{message}.*; or give inputs="):
                sg.to_onnx(model, path, **given)
    with pytest.raises(ValueError, match="gives another output when the same clips are given again"):
        sg.to_onnx(Applied(lambda mel: mel + torch.randn(1)), path)
    assert not path.exists()
    sg.to_onnx(cases[0][0], path, inputs=(noise(1, 4000),), dynamic_shapes=({1: "samples"},))
    assert sg.load(path).input_sizes == ((1, "samples"),)
    got = sg.load(path)(noise(1, 5000).numpy())
    assert peak_error(got, in_eval(cases[0][0], noise(1, 5000)).numpy()) < CLOSE


class Takes(nn.Module):
    """Takes arguments in every way, and counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.front = log_mel()
        self.register_buffer("calls", torch.tensor(0))

    def forward(self, clips: torch.Tensor, gains: torch.Tensor | None = None, *, doubled: bool = False) -> torch.Tensor:
        self.calls.add_(1)
        if clips.shape[1] > 20000:
            clips = clips[:, :20000]
        made = self.front(clips).mean(2)
        return made if gains is None else made * gains


class ByKeyword(Takes):
    def forward(self, clips: torch.Tensor, *, gains: torch.Tensor) -> torch.Tensor:
        return self.front(clips).mean(2) * gains


class Nothing(Takes):
    def forward(self) -> torch.Tensor:
        return self.front(torch.zeros(1, 800))


def test_what_forward_takes(tmp_path: Path) -> None:
    path, model = tmp_path / "a.onnx", Takes()
    with pytest.raises(ValueError, match="on noise of 30001 samples, .*traced for the size of the example inputs alone"):
        sg.to_onnx(model, path)  # a clip that is longer goes another way
    assert model.calls.item() == 0
    cases: list[tuple[nn.Module, dict[str, Any], str]] = [
        (ByKeyword(), {}, "takes gains by keyword only"),
        (Nothing(), {}, "takes nothing, and a file has inputs"),
        (model, {"inputs": (noise(1, 4000)[0],)}, r"the first of inputs has shape \(4000,\), and a file takes a batch of clips"),
        (Applied(torch.abs), {"inputs": (noise(2, 4000), noise(2, 4000))}, r"fails on inputs of shape \(2, 4000\), \(2, 4000\): .*takes 2 positional"),
        (Applied(lambda mel: mel @ torch.ones(7, 2)), {}, r"fails on waveforms of shape \(2, 8000\) .*give an example of what it takes"),
        (Applied(lambda mel: mel * 2 if mel.mean() > 0 else mel), {}, "depends on a tensor's values: use torch.where"),
        (Applied(lambda mel: {"a": (mel, mel)}), {}, "must return a tensor, .* not a dict of a: tuple"),
    ]
    for made, given, message in cases:
        with pytest.raises(ValueError, match=message):
            sg.to_onnx(made, path, **given)
    assert not path.exists()
    sg.to_onnx(Applied(torch.abs), path, inputs=(noise(1, 4000),))
    assert sg.load(path).input_sizes == (("batch", "samples"),), "one clip is an example of any number"
