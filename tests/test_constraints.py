"""Constraints hold after every step, in copies, in states and in what is exported."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.constraints import Band, NonNegative, Quadrature, UnitNorm
from specgraph.module import GraphModule
from tests.conftest import peak_error
from tests.test_module import small
from tests.test_training import trained

MEL = sg.MelSpectrogram(sample_rate=8000, n_fft=256, hop_length=64, n_mels=20)
STFT = sg.Spectrogram(sample_rate=8000, n_fft=64, hop_length=16)
CQT = sg.CQT(sample_rate=8000, hop_length=64, fmin=400.0, n_bins=6, bins_per_octave=3)
CASES = [
    (MEL, "mel", "non-negative"),
    (MEL, "mel", "band"),
    (MEL, "mel", ["non-negative", Band(margin=2), UnitNorm(order=1, keep=True)]),
    (MEL, "centres", NonNegative()),
    (STFT, "fourier", "quadrature"),
    (STFT, "fourier", ["quadrature", "unit-norm"]),
    (CQT, "cqt", Quadrature()),
    (small("HarmonicCQT"), "cqt", "quadrature"),
    (small("Resample"), "fir", UnitNorm(keep=True)),
    (small("MFCC"), "dct", "unit-norm"),
]
each_case = pytest.mark.parametrize(("transform", "part", "given"), CASES, ids=str)


def module_of(transform, part: str, given) -> GraphModule:
    return transform.module(trainable=(part,), constraints={part: given})


def wave(samples: int = 600) -> torch.Tensor:
    return 0.5 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


def disturbed(module: GraphModule, size: float = 0.5) -> None:
    """What the optimizer changes, far off."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * (p.abs().mean() + 0.01) * torch.randn(p.shape, generator=random))


def learned(module: GraphModule, part: str) -> np.ndarray:
    return next(constant.array for constant in module.graph.constants() if constant.name == part)


def test_no_weight_falls_below_zero() -> None:
    module = module_of(MEL, "mel", "non-negative")
    torch.testing.assert_close(module(wave()), MEL.module()(wave()))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        module(wave()).square().mean().backward()
        optimizer.step()
        assert (module.mel >= 0).all()
    assert (module.parametrizations.mel.original < 0).any(), "nothing was held back"
    assert (learned(module, "mel") >= 0).all()


def test_a_weight_at_zero_learns() -> None:
    module = module_of(MEL, "mel", "non-negative")
    (-module(wave()).sum()).backward()
    assert (module.parametrizations.mel.original.grad[:, 5] != 0).all()


@pytest.mark.parametrize("margin", [0, 3])
def test_filters_stay_in_their_band(margin: int) -> None:
    module = module_of(MEL, "mel", Band(margin=margin))
    trained(module, wave())
    disturbed(module)
    bank, design = learned(module, "mel"), MEL.bank()
    for row, designed in zip(bank, design, strict=True):
        inside = np.flatnonzero(designed)
        allowed = np.zeros(len(row), bool)
        allowed[max(inside[0] - margin, 0) : inside[-1] + margin + 1] = True
        assert (row[~allowed] == 0).all()
        assert (row[allowed] != 0).all()


def test_a_band_is_given_for_all_or_for_each_filter() -> None:
    module = module_of(MEL, "mel", Band(first=5, last=np.arange(20) + 60))
    disturbed(module)
    bank = learned(module, "mel")
    assert (bank[:, :5] == 0).all()
    assert (bank[3, 5:64] != 0).all()
    assert (bank[3, 64:] == 0).all()


def test_norms_stay() -> None:
    kept = module_of(MEL, "mel", UnitNorm(order=1, keep=True))
    torch.testing.assert_close(kept(wave()), MEL.module()(wave()))
    disturbed(kept)
    np.testing.assert_allclose(np.abs(learned(kept, "mel")).sum(1), MEL.bank().sum(1), rtol=1e-5)
    for order in (2.0, math.inf):
        unit = module_of(STFT, "fourier", UnitNorm(order))
        disturbed(unit)
        kernels = learned(unit, "fourier")
        norms = np.linalg.norm(np.concatenate(list(kernels), -1), order, axis=-1)  # of both parts together
        np.testing.assert_allclose(norms, 1.0, rtol=1e-5)


def test_a_row_of_zeros_stays_and_has_finite_gradients() -> None:
    transform = small("MelSpectrogram", n_mels=40)  # has empty filters
    assert not transform.bank().any(axis=1).all()
    module = module_of(transform, "mel", "unit-norm")
    module(wave()).square().sum().backward()
    assert torch.isfinite(module.parametrizations.mel.original.grad).all()


@pytest.mark.parametrize("transform", [STFT, CQT, sg.Spectrogram(n_fft=64, window="flattop", freq_scale="log", freq_bins=9)], ids=str)
def test_quadrature_ties_one_envelope_and_one_frequency(transform) -> None:
    part = transform.trainable_parts[0]
    module = module_of(transform, part, "quadrature")
    assert peak_error(module(wave()).detach().numpy(), transform.module(trainable=(part,))(wave()).detach().numpy()) < 1e-6
    trained(module, wave())
    with torch.no_grad():
        getattr(module.parametrizations, part).original1.add_(0.3)  # every frequency, by 0.3 bins
    real, imaginary = learned(module, part)
    before, other = learned(module_of(transform, part, "quadrature"), part)
    width = real.shape[1]
    kernels, designed = real + 1j * imaginary, before + 1j * other
    # What is left of a kernel without its designed carrier, at its new frequency, is real: one envelope for both parts.
    shift = getattr(module.parametrizations, part).original1.detach().numpy().astype(float)
    turn = np.exp(2j * np.pi * shift * (np.arange(width) - (width - 1) / 2) / width)
    assert np.abs((kernels * (designed * turn).conj()).imag).max() < 1e-5 * np.abs(kernels).max() * np.abs(designed).max()


@each_case
def test_copies_pickles_and_states(transform, part: str, given, tmp_path) -> None:
    module = module_of(transform, part, given)
    disturbed(module)
    wanted = module(wave()).detach()
    loaded = module_of(transform, part, given)
    loaded.load_state_dict(module.state_dict())
    torch.save(module, tmp_path / "module.pt")
    others = [copy.deepcopy(module), copy.copy(module), pickle.loads(pickle.dumps(module)), loaded]
    for other in (*others, torch.load(tmp_path / "module.pt", weights_only=False)):
        torch.testing.assert_close(other(wave()).detach(), wanted, rtol=0, atol=0)
        assert [name for name, _ in other.named_parameters()] == [name for name, _ in module.named_parameters()]
        assert isinstance(other, GraphModule)
    others[2].load_state_dict(module_of(transform, part, given).state_dict())  # and is apart from the first
    torch.testing.assert_close(module(wave()).detach(), wanted, rtol=0, atol=0)
    double = copy.deepcopy(module).double()
    torch.testing.assert_close(double(wave().double()).detach().float(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@each_case
def test_a_state_without_constraints_is_loaded_under_them(transform, part: str, given) -> None:
    plain = transform.module(trainable=(part,))
    module = module_of(transform, part, given)
    wanted = module(wave()).detach()
    disturbed(module)
    model = torch.nn.Sequential(module)
    model.load_state_dict(torch.nn.Sequential(plain).state_dict())
    torch.testing.assert_close(module(wave()).detach(), wanted, rtol=1e-5, atol=1e-6 * float(wanted.abs().max()))
    with pytest.raises(RuntimeError, match=f"{part} was saved under constraints and has none here: make this module with the same"):
        plain.load_state_dict(module.state_dict())


@each_case
def test_gradcheck_and_compile(transform, part: str, given) -> None:
    module = module_of(transform, part, given).double()
    disturbed(module, 0.1)
    signal, names = wave(90)[:1].double(), [name for name, _ in module.named_parameters()]

    def run(*values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(module, dict(zip(names, values, strict=True)), (signal,))

    values = tuple(p.detach().clone().requires_grad_() for p in module.parameters())
    assert torch.autograd.gradcheck(run, values, atol=1e-5, fast_mode=True)


@pytest.mark.filterwarnings("ignore")
def test_constrained_modules_compile() -> None:
    for transform, part, given in (CASES[2], CASES[5]):
        module = module_of(transform, part, given)
        compiled = torch.compile(copy.deepcopy(module), backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(wave()), module(wave()))
        compiled(wave()).square().mean().backward()


@each_case
def test_the_constrained_value_is_exported(transform, part: str, given, tmp_path) -> None:
    module = module_of(transform, part, given)
    trained(module, wave(), 1)
    if part not in ("centres", "dct"):
        disturbed(module, 0.2)
    sg.to_onnx(module, tmp_path / "m.onnx")
    assert peak_error(sg.load(tmp_path / "m.onnx")(wave().numpy()), module(wave()).detach().numpy()) < 1e-5


@pytest.mark.parametrize(
    ("constraints", "error", "sentence"),
    [
        ({"mels": "non-negative"}, ValueError, "constraints name 'mels', which is not trained here; trained are fourier, mel"),
        ({"mel": "positive"}, ValueError, "no constraint 'positive' for mel; there are band, non-negative, quadrature, unit-norm"),
        ({"mel": 3}, TypeError, "a constraint of mel is a name or an object of specgraph.constraints, not 3"),
        ({"mel": NonNegative}, TypeError, "a constraint of mel is a name or an object"),
        ({"mel": "quadrature"}, ValueError, r"Quadrature of mel: quadrature is of complex kernels \(2, n, width\).*\(20, 129\)"),
        ({"mel": Band(first=[1, 2])}, ValueError, "first must be a bin or one for each of the 20 filters"),
        ({"fourier": ["unit-norm", "quadrature"]}, ValueError, "quadrature comes first in the constraints of fourier"),
    ],
    ids=str,
)
def test_what_cannot_be_constrained_is_refused_in_a_sentence(constraints: dict, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        MEL.module(trainable=("fourier", "mel"), constraints=constraints)


def test_kernels_that_are_no_pairs_and_wrong_arguments_are_refused() -> None:
    b = sg.Builder(sample_rate=8000)
    kernels = np.random.default_rng(0).standard_normal((3, 20, 2)) @ [1, 1j]
    graph = b.build(features=b.frame_conv(b.input("waveforms"), kernels, hop_length=5, trainable=True))
    with pytest.raises(ValueError, match="Quadrature of kernels: these kernels are no cosines and sines of one frequency each"):
        graph.module(constraints={"kernels": "quadrature"})
    with pytest.raises(ValueError, match="margin must be at least 0 bins, not -1"):
        Band(margin=-1)
    with pytest.raises(ValueError, match=r"the order of a norm is at least 1, not 0\.5"):
        UnitNorm(0.5)


def test_every_constraint_has_a_name() -> None:
    from specgraph.constraints import BY_NAME, Constraint

    assert set(BY_NAME.values()) == set(Constraint.__subclasses__())
    assert sg.constraints.Band is Band
