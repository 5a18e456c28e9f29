"""Every trainable part of every transform: it begins at the design, it learns without surprises, it is exported as learned."""

from __future__ import annotations

import copy
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import specgraph as sg
from specgraph.design.fourier import windowed_basis
from specgraph.lowering import lower
from specgraph.module import GraphModule
from specgraph.op import Constant
from specgraph.transforms import registry
from tests.conftest import given, peak_error, session
from tests.test_module import joined, small

PARTS = [
    (name, part) for name, cls in sorted(registry().items()) for part in (*cls.trainable_parts, *cls.smooth_parts)
]
each_part = pytest.mark.parametrize(("name", "part"), PARTS, ids=str)


def clip(name: str, samples: int = 100, batch: int = 2, seed: int = 0) -> torch.Tensor:
    """Noise, or what else the transform takes, float32."""
    wave = 0.5 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))
    return torch.from_numpy(given(small(name).graph(), wave.numpy()))


def trained(module: GraphModule, wave: torch.Tensor, steps: int = 3) -> None:
    """A few steps of an optimizer towards something else, each a tenth of what a parameter holds."""
    sizes = [float(p.detach().abs().mean()) or 0.5 for p in module.parameters()]
    groups = [{"params": [p], "lr": 0.1 * size} for p, size in zip(module.parameters(), sizes, strict=True)]
    optimizer, random = torch.optim.Adam(groups), torch.Generator().manual_seed(5)
    for _ in range(steps):
        optimizer.zero_grad()
        result = joined(module(wave))
        (result * torch.randn(result.shape, generator=random)).sum().backward()
        optimizer.step()


def test_the_docs_list_what_is_trainable() -> None:
    known = {part for _, part in PARTS}
    for name, cls in registry().items():
        text = re.search(r"Trainable parts?:(.*?)(\n\n|$)", cls.__doc__ or "", re.DOTALL)
        named = set(re.findall(r"``(\w+)``", text.group(1))) & known if text else set()
        assert named == {*cls.trainable_parts, *cls.smooth_parts}, name


@each_part
def test_a_part_begins_at_the_design_and_is_named_as_asked(name: str, part: str) -> None:
    transform, wave = small(name), clip(name).double()
    module, fixed = transform.module(trainable=(part,), dtype=torch.float64), transform.module(dtype=torch.float64)
    assert {re.sub(r"_\d+$", "", found) for found, _ in module.named_parameters()} == {part}
    assert peak_error(joined(module(wave)).detach().numpy(), joined(fixed(wave)).numpy()) < 1e-10


@pytest.mark.parametrize(
    "transform",
    [
        sg.MelSpectrogram(),
        sg.MelSpectrogram(sample_rate=16000, n_fft=400, n_mels=80, htk=True, norm=None, fmin=20.0, fmax=7600.0),
        sg.LFCC(n_filter=100),
        sg.Gammatonegram(),
        sg.Gammatonegram(sample_rate=48000, n_fft=4096, n_bins=96),
    ],
    ids=str,
)
def test_centres_and_bandwidths_make_the_bank_itself_in_float32(transform) -> None:
    graph = transform.graph(trainable=("centres", "bandwidths"))
    values: dict = {}
    for value in graph.values():
        if isinstance(value.op, Constant):
            values[value] = torch.tensor(value.op.array, dtype=torch.float32)
        elif value.inputs and all(operand in values for operand in value.inputs):
            values[value] = value.op.torch(*(values[operand] for operand in value.inputs))
    bank = next(values[v.inputs[1]] for v in graph.values() if v.op.method == "filterbank" and v.inputs[1] in values)
    assert peak_error(bank.numpy(), transform.bank()) < 1e-6
    frozen = next(v.inputs[1].op for v in graph.frozen().values() if v.op.method == "filterbank")
    assert isinstance(frozen, Constant)  # one array, which every rewrite may fold
    assert peak_error(frozen.array, transform.bank()) < 1e-12


def test_centres_move_filters_and_bandwidths_widen_them() -> None:
    transform = sg.MelSpectrogram(sample_rate=16000, n_fft=1024, n_mels=20, norm=None)
    module = transform.module(trainable=("centres", "bandwidths"))
    corners = transform.corners() * 1024 / 16000
    with torch.no_grad():
        module.centres[7] = 0.5
        module.bandwidths[12] = np.log(3.0)
    bank = next(v.inputs[1].op.array for v in module.graph.frozen().values() if v.op.method == "filterbank")
    shift = 0.5 * (corners[9] - corners[7]) / 2
    k = np.arange(513)

    def triangle(low: float, peak: float, high: float) -> np.ndarray:
        return np.maximum(0.0, np.minimum((k - low) / (peak - low), (high - k) / (high - peak)))

    np.testing.assert_allclose(bank[7], triangle(*(corners[7:10] + shift)), atol=1e-6)
    low, peak, high = corners[12:15]
    np.testing.assert_allclose(bank[12], triangle(peak - 3 * (peak - low), peak, peak + 3 * (high - peak)), atol=1e-6)
    others = [i for i in range(20) if i not in (7, 12)]
    np.testing.assert_allclose(bank[others], transform.bank()[others], atol=1e-12)


def test_a_gammatone_filter_moves_as_its_design_says() -> None:
    from specgraph.design.gammatone import gammatone_response

    transform = sg.Gammatonegram(sample_rate=16000, n_fft=1024, n_bins=20)
    module = transform.module(trainable=("centres", "bandwidths"))
    centre = transform.centres()[9]
    bandwidth = 1.019 * (centre / 9.26449 + 24.7)
    moved = centre + 0.7 * bandwidth
    with torch.no_grad():
        module.centres[9] = 0.7
        module.bandwidths[9] = np.log((moved / 9.26449 + 24.7) * 1.019 / bandwidth)
    bank = next(v.inputs[1].op.array for v in module.graph.frozen().values() if v.op.method == "filterbank")
    wanted = gammatone_response([moved], np.arange(513) * 16000 / 1024, 16000)[0] / 1024
    assert peak_error(bank[9], wanted) < 1e-5


@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "flattop", "boxcar", ("gaussian", 50.0)], ids=str)
def test_window_shapes_begin_at_the_window(window) -> None:
    from scipy.signal import get_window

    transform = sg.Spectrogram(n_fft=400, win_length=399, window=window)
    module = transform.module(trainable=("window_shape",), dtype=torch.float64)
    assert module.window_shape.numel() == {"flattop": 5, "hann": 4}.get(window, module.window_shape.numel())
    frozen = [constant for constant in module.graph.frozen().constants() if constant.shape == (399,)]
    np.testing.assert_allclose(frozen[0].array, get_window(window, 399), atol=1e-12)


def test_windows_without_a_shape_and_parts_that_exclude_one_another_are_refused() -> None:
    with pytest.raises(ValueError, match="has no shape to train.*train part window instead"):
        sg.Spectrogram(window=("kaiser", 8.0)).module(trainable=("window_shape",))
    with pytest.raises(ValueError, match="part centres makes mel, so that mel cannot be trained beside it"):
        sg.MelSpectrogram().module(trainable=("mel", "centres"))
    with pytest.raises(ValueError, match="b must be below 1 for the smoothing to be trained, not 1"):
        sg.PCEN(b=1.0).module(trainable=("smoothing",))


def test_a_window_is_trained_beside_the_basis() -> None:
    transform, wave = small("Spectrogram", win_length=20), torch.randn(1, 200)
    module = transform.module(trainable=("fourier", "window"))
    assert {name: tuple(p.shape) for name, p in module.named_parameters()} == {"fourier": (2, 17, 32), "window": (20,)}
    assert peak_error(module(wave).detach().numpy(), transform.module()(wave).numpy()) < 1e-6
    scaled = small("Spectrogram", win_length=20, freq_scale="log", freq_bins=9)
    module = scaled.module(trainable=("window",))
    assert peak_error(module(wave).detach().numpy(), scaled.module()(wave).numpy()) < 1e-6


@each_part
def test_gradcheck(name: str, part: str) -> None:
    module = small(name).module(trainable=(part,), dtype=torch.float64)
    wave, names = clip(name, 60, 1, seed=3).double(), [name for name, _ in module.named_parameters()]
    with torch.no_grad():  # off the design, where corners of filters stand on bins
        for p in module.parameters():
            p.add_(1e-2 * (p.abs().mean() + 0.1) * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))

    def run(*values: torch.Tensor) -> torch.Tensor:
        return joined(torch.func.functional_call(module, dict(zip(names, values, strict=True)), (wave,)))

    values = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
    assert torch.autograd.gradcheck(run, values, atol=1e-5, fast_mode=True)


@each_part
def test_gradients_are_finite_at_silence_full_scale_and_one_sample(name: str, part: str) -> None:
    transform = small(name)
    module = transform.module(trainable=(part,))
    square = torch.where(torch.arange(400) // 20 % 2 == 1, 1.0, -1.0)[None]
    for wave in (torch.zeros(2, 100), square, torch.full((1, transform.graph().least()), 0.7)):
        features = torch.from_numpy(given(transform.graph(), wave.numpy())).requires_grad_()
        module.zero_grad()
        joined(module(features)).square().sum().backward()
        for tensor in (features, *module.parameters()):
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()


@each_part
def test_copies_pickles_and_states_hold_what_was_learned(name: str, part: str) -> None:
    transform, wave = small(name), clip(name)
    module = transform.module(trainable=(part,))
    trained(module, wave, 1)
    loaded = transform.module(trainable=(part,))
    loaded.load_state_dict(module.state_dict())
    wanted = joined(module(wave)).detach()
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module)), loaded):
        torch.testing.assert_close(joined(other(wave)).detach(), wanted, rtol=0, atol=0)
        assert not {p.data_ptr() for p in other.parameters()} & {p.data_ptr() for p in module.parameters()}
    double = copy.deepcopy(module).double()
    assert joined(double(wave.double())).dtype == torch.float64
    if name not in ("CFP", "CombinedFrequencyPeriodicity"):  # small differences of large numbers
        torch.testing.assert_close(joined(double(wave.double())).detach().float(), wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))


@each_part
def test_what_was_learned_is_exported(name: str, part: str) -> None:
    transform, wave = small(name), clip(name)
    module = transform.module(trainable=(part,))
    before = joined(module(wave)).detach().numpy()
    trained(module, wave)
    result = module(wave)
    results = [value.detach().numpy() for value in (result.values() if isinstance(result, dict) else [result])]
    assert peak_error(joined(result).detach().numpy(), before) > 1e-3, "the steps changed nothing"
    graph = module.graph
    again = graph.module()
    torch.testing.assert_close(joined(again(wave)), joined(result))
    assert [found for found, _ in again.named_parameters()] == [found for found, _ in module.named_parameters()]
    for target in ("cpu", "cuda"):
        run = session(lower(graph.frozen(), target))
        for got, wanted in zip(run.run(None, {graph.inputs[0].op.label: wave.numpy()}), results, strict=True):
            assert peak_error(got, wanted) < 1e-5, target


@pytest.mark.parametrize(
    ("transform", "parts"),
    [
        (sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, hop_length=160, n_mels=40, top_db=None, amin=1e-4), ("window",)),
        (sg.MelSpectrogram(n_fft=512, n_mels=20), ("window_shape", "centres", "bandwidths")),
        (sg.Gammatonegram(n_fft=512, n_bins=16), ("centres", "bandwidths")),
        (sg.PCEN(n_fft=512, n_mels=20), ("pcen", "smoothing", "centres")),
    ],
    ids=str,
)
def test_files_are_verified_small_and_train_on(transform, parts: tuple[str, ...], tmp_path) -> None:
    module = transform.module(trainable=parts)
    wave = 0.3 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(2))
    trained(module, wave)
    report = sg.to_onnx(module, tmp_path / "learned.onnx")
    assert "conv" not in [choice.chosen for choice in report.choices if choice.op.startswith("stft")]  # not of a trained basis
    fixed = sg.to_onnx(transform, tmp_path / "fixed.onnx")
    assert report.file_size < 1.3 * fixed.file_size
    got = sg.load(tmp_path / "learned.onnx")(wave.numpy())
    assert peak_error(got, module(wave).detach().numpy()) < 1e-5
    again = sg.read_graph(tmp_path / "learned.onnx").module()
    assert {name for name, _ in again.named_parameters()} == set(parts)
    torch.testing.assert_close(again(wave), module(wave), rtol=1e-4, atol=1e-5)


def test_learning_finds_what_made_the_target() -> None:
    transform = sg.LogMelSpectrogram(sample_rate=8000, n_fft=256, hop_length=64, n_mels=12, top_db=None, log="ln", amin=1e-6)
    target = transform.module(trainable=("centres", "bandwidths"))
    with torch.no_grad():
        target.centres.uniform_(-0.3, 0.3, generator=torch.Generator().manual_seed(0))
        target.bandwidths.fill_(0.2)
    module = transform.module(trainable=("centres", "bandwidths"))
    wave = torch.randn(8, 4000, generator=torch.Generator().manual_seed(1))
    optimizer = torch.optim.Adam(module.parameter_groups(lr=0.02))
    for _ in range(200):
        optimizer.zero_grad()
        functional.mse_loss(module(wave), target(wave).detach()).backward()
        optimizer.step()
    for name in ("centres", "bandwidths"):
        torch.testing.assert_close(getattr(module, name), getattr(target, name), rtol=0, atol=0.03)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(name for name, cls in registry().items() if cls.trainable_parts))
def test_compiles_without_a_break(name: str) -> None:
    cls = registry()[name]
    smooth = [part for part in cls.trainable_parts if part not in cls.smooth_parts.values()] + list(cls.smooth_parts)
    for parts in {cls.trainable_parts, tuple(smooth)}:
        torch._dynamo.reset()
        module, wave = small(name).module(trainable=parts), clip(name)
        torch.testing.assert_close(joined(torch.compile(module, backend="eager", fullgraph=True)(wave)), joined(module(wave)))


@pytest.mark.filterwarnings("ignore")
def test_a_compiled_step_has_the_same_gradients() -> None:
    wave = torch.randn(2, 300)
    for part in ("fourier", "window", "centres"):
        module = small("MelSpectrogram").module(trainable=(part,))
        other = copy.deepcopy(module)
        module(wave).square().mean().backward()
        torch.compile(other, backend="aot_eager", fullgraph=True)(wave).square().mean().backward()
        for a, b in zip(module.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(b.grad, a.grad)


def test_autocast_leaves_every_part_in_float32() -> None:
    for part in ("fourier", "mel", "window", "window_shape", "centres", "bandwidths"):
        module, wave = small("LogMelSpectrogram").module(trainable=(part,)), torch.randn(2, 300)
        model = nn.Sequential(module, nn.Conv1d(6, 2, 1))
        with torch.autocast("cpu", torch.bfloat16):
            got, deeper = module(wave), model(wave)
        torch.testing.assert_close(got, module(wave), rtol=0, atol=0)
        assert (got.dtype, deeper.dtype) == (torch.float32, torch.bfloat16)
        deeper.float().square().mean().backward()
        assert all(torch.isfinite(p.grad).all() for p in module.parameters() if p.grad is not None)


def trained_in_two_steps(model: nn.Module, wave: torch.Tensor) -> nn.Module:
    optimizer = torch.optim.SGD(sg.parameter_groups(model, lr=1e-3, front_end_lr=1e-6))
    for _ in range(2):
        optimizer.zero_grad()
        model(wave).square().mean().backward()
        optimizer.step()
    return model


def one_of_two_processes(rank: int, folder: Path, model: nn.Module, wave: torch.Tensor) -> None:
    torch.set_num_threads(1)
    model = copy.deepcopy(model)  # whose arrays the processes share
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    spread = nn.parallel.DistributedDataParallel(model)
    trained_in_two_steps(spread, wave[2 * rank : 2 * rank + 2])
    torch.save(spread.module.state_dict(), folder / f"{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    front = small("LogMelSpectrogram").module(trainable=("mel", "window"), constraints={"mel": "non-negative"})
    model, wave = nn.Sequential(front, nn.Conv1d(6, 2, 1)), torch.randn(4, 300)
    before = copy.deepcopy(model.state_dict())
    torch.multiprocessing.spawn(one_of_two_processes, (tmp_path, model, wave), nprocs=2)
    alone = trained_in_two_steps(model, wave).state_dict()
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert found.keys() == alone.keys()
        for name, array in found.items():
            torch.testing.assert_close(array, alone[name], rtol=1e-5, atol=1e-6)
    assert any((alone[name] - array).abs().max() > 1e-4 for name, array in before.items())


def test_replicas_compute_the_same() -> None:
    # What DataParallel does on every GPU, without one: shallow copies whose parameters are plain tensors.
    wave = torch.randn(2, 300)
    module = small("LogMelSpectrogram").module(trainable=("mel", "window"))
    replica = module._replicate_for_data_parallel()
    for name, parameter in module.named_parameters():
        setattr(replica, name, parameter * 1)
    torch.testing.assert_close(replica(wave), module(wave))
    replica(wave).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def saved(run: Callable[[], torch.Tensor], *held: torch.Tensor) -> int:
    """Bytes that are kept for the backward pass, beside the tensors that are there anyway."""
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        found[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result.requires_grad == bool(found)
    return sum(found.values()) - sum(found.get(t.untyped_storage().data_ptr(), 0) and t.untyped_storage().nbytes() for t in held)


@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize(("n_fft", "hop"), [(2048, 512), (400, 160)])
@pytest.mark.parametrize("part", ["mel", "centres", "bandwidths", "window", "window_shape", "fourier", None])
def test_a_step_keeps_no_more_than_the_leanest_way(part: str | None, n_fft: int, hop: int, power: float) -> None:
    # The leanest way: torch.stft, its magnitude and a product; where the basis is trained, one convolution.
    wave = torch.randn(8, 22050 * 10)
    transform = sg.MelSpectrogram(n_fft=n_fft, hop_length=hop, n_mels=80, power=power)
    module = transform.module(trainable=(part,) if part else ())
    bank = torch.tensor(transform.bank(), dtype=torch.float32, requires_grad=part in ("mel", "centres", "bandwidths"))
    window = torch.hann_window(n_fft).requires_grad_(part in ("window", "window_shape"))
    kernels = torch.tensor(windowed_basis(np.hanning(n_fft + 1)[:-1]), dtype=torch.float32).reshape(-1, 1, n_fft).requires_grad_()
    held: tuple[torch.Tensor, ...] = (wave, bank, window, kernels, *module.parameters(), *module.buffers())
    if part is None:  # nothing is kept where nothing asks for a gradient; where the waveform does, the spectrum is
        assert saved(lambda: module(wave)) == 0
        wave = wave.clone().requires_grad_()
        held = (*held, wave)

    def leanest() -> torch.Tensor:
        if part == "fourier":
            padded = functional.pad(wave[:, None], (n_fft // 2, n_fft // 2), mode="reflect")
            real, imaginary = functional.conv1d(padded, kernels, stride=hop).chunk(2, 1)
            energy = real * real + imaginary * imaginary
            return bank @ (energy if power == 2 else energy.sqrt())
        spectrum = torch.stft(wave, n_fft, hop, window=window, center=True, pad_mode="reflect", return_complex=True)
        real, imaginary = torch.view_as_real(spectrum).unbind(-1)
        return bank @ (real * real + imaginary * imaginary if power == 2 else spectrum.abs())

    assert saved(lambda: module(wave), *held) < 1.3 * saved(leanest, *held)


def test_parameter_groups_hold_every_parameter_once() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.left = small("LogMelSpectrogram").module(trainable=("mel", "window"), constraints={"mel": ["non-negative", "band"]})
            self.right = small("Resample").module(trainable=("fir",))
            self.frozen = small("MFCC").module()
            self.body = nn.ModuleList([nn.Linear(6, 3), nn.Conv1d(6, 3, 1)])
            self.tied = self.body[0].weight

    model = Model()
    others, front = sg.parameter_groups(model, lr=1e-3, front_end_lr=1e-5)
    assert (others["lr"], front["lr"]) == (1e-3, 1e-5)
    assert {id(p) for p in front["params"]} == {id(p) for p in (*model.left.parameters(), *model.right.parameters())}
    listed = [id(p) for group in (others, front) for p in group["params"]]
    assert sorted(listed) == sorted({id(p) for p in model.parameters()})
    (own,) = model.left.parameter_groups(lr=1e-2)
    assert own["lr"] == 1e-2
    assert len(own["params"]) == 2
    torch.optim.AdamW(sg.parameter_groups(model, lr=1e-3))
    with pytest.raises(ValueError, match="the model has no parameters"):
        sg.parameter_groups(model.frozen, lr=1e-3)
    with pytest.raises(ValueError, match="a learning rate is at least 0, not -1"):
        sg.parameter_groups(model, lr=1e-3, front_end_lr=-1)


def test_states_of_other_parts_are_refused_in_a_sentence() -> None:
    state = small("MFCC").module(trainable=("mel", "dct")).state_dict()
    with pytest.raises(RuntimeError, match=r"dct is in the state and not trained here; trained are mel: make this module with"):
        small("MFCC").module(trainable=("mel",)).load_state_dict(state)
    with pytest.raises(RuntimeError, match='Missing key.*"fourier"'):
        small("MFCC").module(trainable=("mel", "dct", "fourier")).load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch for mel"):
        small("MFCC", n_mels=7).module(trainable=("mel", "dct")).load_state_dict(state)
    small("MFCC").module(trainable=("mel",)).load_state_dict(state, strict=False)


STEP = """
import torch
import specgraph as sg
from specgraph.bench.memory import Growth

torch.set_num_threads(1)
transform = sg.MelSpectrogram(n_fft=2048, hop_length=512, n_mels=80)
module, wave, head = transform.module(), torch.randn(8, 220500), torch.nn.Conv1d(80, 8, 3)
bank, window = torch.tensor(transform.bank(), dtype=torch.float32), torch.hann_window(2048)

def leanest(wave):
    real, imaginary = torch.view_as_real(torch.stft(wave, 2048, 512, window=window, return_complex=True)).unbind(-1)
    return bank @ (real * real + imaginary * imaginary)

head(torch.randn(1, 80, 9)).sum().backward()
with Growth() as growth:
    head({way}(wave)).square().mean().backward()
print(growth.bytes)
"""


def test_a_frozen_front_end_peaks_no_higher_than_the_leanest_way() -> None:
    root = Path(__file__).parents[1]
    peaks = []
    for way in ("module", "leanest"):
        code = STEP.format(way=way)
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
        if result.stdout.strip() == "None":
            pytest.skip("this system does not tell how much memory a process had")
        peaks.append(int(result.stdout))
    assert peaks[0] < 1.3 * peaks[1]
