"""The torch module: dtypes, copies, gradients, compilation, and what was learned flowing back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

import specgraph as sg
from specgraph.transforms import registry
from tests.conftest import given, peak_error, waves

SMALL = {"sample_rate": 8000, "n_fft": 32, "hop_length": 12, "n_iter": 3}
BANKS = {"n_mels": 6, "n_filter": 6, "n_bins": 6, "fmax": 4000.0, "allow_empty_filters": True}
OTHERS = {"n_mfcc": 4, "n_lfcc": 4, "frame_length": 32, "n_bands": 1}
BY_NAME = {"SpectralContrast": {"fmin": 1000.0}, "HarmonicCQT": {"harmonics": (0.5, 1.0, 1.3)}, "ChromaCQT": {"n_chroma": 3}}
BY_NAME |= {name: {"frame_length": 4.0, "frame_shift": 1.5} for name in ("KaldiFbank", "KaldiMfcc")}  # milliseconds
CONSTANT_Q = {"sample_rate": 8000, "hop_length": 12, "fmin": 1300.0, "n_bins": 4, "bins_per_octave": 3}
PERIODICITY = {"win_length": 21, "fr": 250.0, "fc": 600.0, "tc": 1 / 2000, "bins_per_octave": 4}


def small(name: str, **options):
    cls = registry()[name]
    fields = {p.name for p in cls.parameters()}
    if name == "Spectrogram" and "freq_scale" not in options:
        fields -= {"fmax"}  # the DFT's bins have no limits
    sizes = SMALL | BANKS | OTHERS
    if "bins_per_octave" in fields:
        sizes = SMALL | PERIODICITY if "fr" in fields else CONSTANT_Q
    return cls(**{k: v for k, v in (sizes | BY_NAME.get(name, {}) | options).items() if k in fields})


def joined(result: torch.Tensor | dict) -> torch.Tensor:
    return torch.cat([part.flatten(1) for part in result.values()], 1) if isinstance(result, dict) else result


VARIANTS = [
    *((name, {}) for name in sorted(registry())),
    ("Spectrogram", {"output": "complex"}),
    ("Spectrogram", {"output": "phase"}),
    ("Spectrogram", {"power": 0.5}),
    ("Spectrogram", {"freq_scale": "log", "freq_bins": 9}),
    ("MelSpectrogram", {"power": 1.0}),
    ("LogMelSpectrogram", {"log": "ln"}),
    ("LogMelSpectrogram", {"top_db": None}),
    ("CQT", {"output": "complex"}),
    ("ChromaSTFT", {"norm": 2.0}),
    ("SpectralContrast", {"quantile": 0.6, "linear": True}),
    ("MFCC", {"cmvn": "utterance", "deltas": 2, "delta_width": 3, "norm": None}),
    ("LFCC", {"cmvn": "sliding", "cmvn_window": 4, "min_cmvn_window": 2, "log_lf": True}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_gradients_are_finite_at_silence_and_extremes(name: str, options: dict) -> None:
    transform = small(name, **options)
    module = transform.module(trainable=transform.trainable_parts)
    least = transform.graph().least()
    for clip in (torch.zeros(2, 100), torch.ones(2, 100), torch.full((1, least), 1e-30), torch.randn(1, 64) * 1e-22):
        wave = torch.from_numpy(given(transform.graph(), clip.numpy())).requires_grad_()
        module.zero_grad()
        joined(module(wave)).square().sum().backward()
        for tensor in (wave, *module.parameters()):
            assert tensor.grad is not None
            assert torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=str)
def test_gradcheck(name: str, options: dict) -> None:
    if options.get("output") == "phase":
        options = options | {"center": False}  # a reflected clip has real bins at its ends, whose phase jumps
    transform = small(name, **options)
    module = transform.module(trainable=transform.trainable_parts, dtype=torch.float64)
    wave = 0.5 * torch.randn(1, 60, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    wave = torch.from_numpy(given(transform.graph(), wave.numpy(), frames=3))
    parameters = dict(module.named_parameters())

    def run(wave: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        result = joined(torch.func.functional_call(module, dict(zip(parameters, values, strict=True)), (wave,)))
        return result[:, 1:-1] if options.get("output") == "phase" else result

    values = tuple(value.detach().clone().requires_grad_() for value in parameters.values())
    assert torch.autograd.gradcheck(run, (wave.requires_grad_(), *values), atol=1e-5)


def test_float64_by_dtype_and_by_moving_the_module() -> None:
    wave = waves(3000)["noise"][None].astype(np.float64)
    transform = sg.MelSpectrogram(n_mels=20)
    wanted = transform.graph().numpy(wave)["features"]
    for module in (transform.module(dtype=torch.float64), transform.module().double(), transform.module().to(torch.float64)):
        assert peak_error(module(torch.from_numpy(wave)).numpy(), wanted) < 1e-12
    assert transform.module().double().float()(torch.from_numpy(wave).float()).dtype == torch.float32


def test_copies_and_pickles_compute_the_same_and_are_apart() -> None:
    module = small("LogMelSpectrogram").module(trainable=("fourier", "mel"))
    wave = torch.randn(2, 300)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        torch.testing.assert_close(other(wave), module(wave), rtol=0, atol=0)
        with torch.no_grad():
            other.mel += 1.0
        assert not torch.equal(other(wave), module(wave))
        bank = next(c for c in other.graph.constants() if c.name == "mel")
        np.testing.assert_array_equal(bank.array, other.mel.detach().double().numpy())


def test_state_dict_holds_what_is_trained_and_nothing_else() -> None:
    assert list(small("MFCC").module().state_dict()) == []
    module = small("MFCC").module(trainable=("mel", "dct"))
    assert set(module.state_dict()) == {"mel", "dct"}
    other = small("MFCC").module(trainable=("mel", "dct"))
    with torch.no_grad():
        module.mel *= 2
    other.load_state_dict(module.state_dict())
    wave = torch.randn(1, 200)
    torch.testing.assert_close(other(wave), module(wave), rtol=0, atol=0)


def test_learned_arrays_flow_back_into_the_graph() -> None:
    module = small("MelSpectrogram").module(trainable=("fourier", "mel"))
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-2)
    wave = torch.randn(4, 300)
    for _ in range(3):
        optimizer.zero_grad()
        module(wave).log1p().mean().backward()
        optimizer.step()
    graph = module.graph
    wanted = module(wave).detach().numpy()
    assert peak_error(graph.numpy(wave.numpy())["features"], wanted) < 2e-6
    assert peak_error(small("MelSpectrogram").graph().numpy(wave.numpy())["features"], wanted) > 1e-3
    again = graph.module()
    assert {name for name, _ in again.named_parameters()} == {"fourier", "mel"}
    torch.testing.assert_close(again(wave), module(wave))


def test_one_clip_without_a_batch_axis_and_several_outputs() -> None:
    module = small("MFCC").module()
    wave = torch.randn(200)
    torch.testing.assert_close(module(wave), module(wave[None])[0])
    b = sg.Builder(sample_rate=8000)
    x = b.input("waveforms")
    both = b.build(loud=b.multiply(x, 2.0), low=b.fir_downsample(x, np.ones(3) / 3, factor=2)).module()
    result = both(wave)
    assert {name: tuple(value.shape) for name, value in result.items()} == {"loud": (200,), "low": (100,)}


@pytest.mark.parametrize(
    ("wave", "error", "sentence"),
    [
        (torch.zeros(()), ValueError, r"must be \(\.\.\., samples\), not of shape \(\)"),
        (torch.zeros(1, 0), ValueError, "needs at least 1 sample here and this one has 0"),
        (torch.zeros(1, 9, dtype=torch.int16), TypeError, "divide 16-bit samples by 32768"),
        (torch.zeros(1, 9, dtype=torch.float64), TypeError, "waveforms are torch.float64 and the module works in torch.float32"),
    ],
)
def test_wrong_waveforms_are_refused_in_a_sentence(wave, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        small("MelSpectrogram").module()(wave)


def test_uncentred_clips_shorter_than_a_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 32 samples here and this one has 31"):
        small("MelSpectrogram", center=False).module()(torch.zeros(1, 31))


def test_frozen_parts_run_through_the_fft_and_trained_ones_do_not() -> None:
    def ops(module) -> set[str]:
        return {op.method for _, op, _ in module._steps}

    assert "rfft" in ops(sg.MelSpectrogram().module(trainable=("mel",)))
    trained = ops(sg.MelSpectrogram().module(trainable=("fourier",)))
    assert "frame_conv" in trained
    assert "rfft" not in trained


@pytest.mark.filterwarnings("ignore")
def test_compiles() -> None:
    module = small("LogMelSpectrogram").module(trainable=("mel",))
    wave = torch.randn(2, 300)
    compiled = torch.compile(module, backend="aot_eager", fullgraph=True, dynamic=True)
    torch.testing.assert_close(compiled(wave), module(wave))
    torch.testing.assert_close(compiled(wave[:, :171]), module(wave[:, :171]))


def test_prints_what_it_is() -> None:
    assert repr(small("MFCC").module(trainable=("mel",))) == "GraphModule(MFCC, 8000 Hz, trainable: mel)"


def test_autocast_does_not_touch_the_front_end() -> None:
    module = small("LogMelSpectrogram").module()
    wave = torch.randn(2, 300)
    with torch.autocast("cpu", torch.bfloat16):
        got = module(wave)
    torch.testing.assert_close(got, module(wave), rtol=0, atol=0)


def test_to_empty_keeps_what_is_fixed() -> None:
    module, wave = small("MelSpectrogram").module(), torch.randn(1, 300)
    wanted = module(wave)
    torch.testing.assert_close(module.to_empty(device="cpu")(wave), wanted, rtol=0, atol=0)


@pytest.mark.parametrize(("given", "shown"), [("a.wav", "the path 'a.wav'"), (np.zeros((1, 9000), np.float32), "a numpy.ndarray")], ids=["path", "array"])
def test_what_is_no_tensor_is_refused_in_a_sentence(given: object, shown: str) -> None:
    with pytest.raises(TypeError, match=f"a module takes tensors, not {shown}; make one, by torch.from_numpy"):
        sg.MelSpectrogram().module()(given)
