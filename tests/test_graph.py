"""Graphs: checked as they are built, listed, rewritten, priced, and written as JSON."""

from __future__ import annotations

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import specgraph as sg
from specgraph.bands import cut
from specgraph.cost import TARGETS
from specgraph.graph import Graph
from specgraph.lowering import lower
from specgraph.op import Constant, GraphError, Op, Value
from specgraph.ops.stft import Stft
from specgraph.rewrite import rewritten
from specgraph.serialize import digest, from_json, to_json
from specgraph.transforms import registry
from tests import conftest
from tests.conftest import peak_error, session


def small(**options) -> Graph:
    return sg.MelSpectrogram(sample_rate=8000, n_fft=96, hop_length=24, n_mels=10, **options).graph()


def built() -> Graph:
    b = sg.Builder(sample_rate=22050)
    wave = b.input("waveforms")
    kernels = np.exp(2j * np.pi * np.outer(np.arange(9), np.arange(64)) / 64)
    spectrum = b.frame_conv(b.pad(wave, 32, mode="reflect"), kernels, hop_length=16)
    low = b.fir_downsample(wave, np.ones(31) / 31, factor=2)
    bank = np.random.default_rng(0).random((4, 9))
    return b.build(features=b.log(b.filterbank(b.magnitude(spectrum, power=2.0), bank, trainable=True)), low=low)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda b, x: b.filterbank(x, np.ones((3, 4))), "features (batch, bins, frames)"),
        (lambda b, x: b.filterbank(b.frame_conv(x, np.ones((5, 8)), 4), np.ones((3, 4))), "4 columns and the features have 5 bins"),
        (lambda b, x: b.frame_conv(x, np.ones((5, 8)), 0), "hop_length must be a whole number of at least 1, not 0"),
        (lambda b, x: b.magnitude(x), "must hold the real and imaginary parts"),
        (lambda b, x: b.pad(x, 3, mode="wrap"), "mode must be one of reflect, constant, edge, symmetric, not 'wrap'"),
        (lambda b, x: b.add(x, np.ones((2, 3))), "do not broadcast"),
        (lambda b, x: b.reshape(x, (0, 7, -1)), "does not reshape"),
        (lambda b, x: b.decibel(x, ref=-1.0), "ref must be a power above 0"),
        (lambda b, x: b.stft(x, n_fft=8, hop_length=2, win_length=9), "win_length 9 is longer than n_fft 8"),
        (lambda b, x: b.concat(x, b.input("y", ("batch", "frames"))), "only one value may vary along axis 1"),
        (lambda b, x: b.take(x, (0,), axis=1), "varies"),
    ],
)
def test_errors_name_the_call_and_its_operands(build, sentence: str) -> None:
    b = sg.Builder(sample_rate=16000)
    with pytest.raises(GraphError) as caught:
        build(b, b.input("waveforms"))
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_error_says_where_operands_came_from() -> None:
    b = sg.Builder(sample_rate=16000)
    spectrum = b.stft(b.input("waveforms"), n_fft=512, hop_length=160)
    with pytest.raises(GraphError, match=r"filterbank\(\) on magnitude \(batch, 257, .*\), bank \(80, 513\): the bank has 513"):
        b.filterbank(b.magnitude(spectrum), np.zeros((80, 513)))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda b, x: b.frame_convolve(x), AttributeError, "the ops are"),
        (lambda b, x: b.pad(x, 3, width=4), TypeError, "pad has the parameters before, after, mode, value"),
        (lambda b, x: b.filterbank(x), TypeError, "bank is missing"),
        (lambda b, x: b.filterbank("no", np.ones((2, 2))), TypeError, "a constant holds numbers"),
        (lambda b, x: b.add(x, np.array([np.nan])), ValueError, "not finite"),
        (lambda b, x: b.build(features=3), TypeError, "outputs are values"),
        (lambda b, x: b.build(), GraphError, "needs an output"),
        (lambda b, x: b.build(waveforms=b.log(x)), GraphError, "used twice"),
        (lambda b, x: sg.Builder(sample_rate=0), ValueError, "above 0"),
        (lambda b, x: sg.Builder(16000).build(y=b.log(x)), GraphError, "another builder"),
    ],
)
def test_wrong_calls_of_the_builder(call, error: type[Exception], sentence: str) -> None:
    b = sg.Builder(sample_rate=16000)
    with pytest.raises(error, match=sentence):
        call(b, b.input("waveforms"))


def test_builder_has_a_method_for_every_op() -> None:
    b = sg.Builder(sample_rate=16000)
    for cls in Op.registry.values():
        if cls.__name__ not in ("Input", "Int16Input", "LengthsInput", "Constant"):
            assert cls.method in dir(b)
            assert getattr(b, cls.method).__doc__


def test_listing_names_ops_shapes_and_constants() -> None:
    text = str(built())
    assert "%features" in text
    assert "frame_conv(hop_length=16)" in text
    assert "(batch, 9, (samples + 16) // 16, 2)" in text
    assert "144 B trainable" in text
    assert text.splitlines()[0] == "Graph at 22050 Hz: 6 ops, 4.88 KB of constants"
    assert "stft(n_fft=96, hop_length=24): " in str(lower(small()))


def test_two_ops_of_one_name_are_refused() -> None:
    with pytest.raises(TypeError, match="two ops named Stft"):
        type("Stft", (Op,), {})


@pytest.mark.parametrize("target", ["cpu", "cuda", "torch"])
@pytest.mark.parametrize("lowering", list(Stft.lowerings))
@pytest.mark.parametrize("output", ["mel", "complex", "phase"])
def test_rewrites_keep_the_numbers(output: str, lowering: str, target: str) -> None:
    transform = sg.Spectrogram(n_fft=96, hop_length=24, output=output) if output != "mel" else None
    graph = transform.graph() if transform else small()
    plain = graph.rewrite(
        lambda value: Stft.lowerings[lowering](value.op, *value.inputs) if isinstance(value.op, Stft) else None
    )
    wave = np.random.default_rng(0).standard_normal((2, 333))
    got = rewritten(plain, target).numpy(wave)["features"]
    wanted = plain.numpy(wave)["features"]
    if output == "phase":  # the imaginary parts of real bins are rounding in one and zero in the other
        wanted, got = np.exp(1j * wanted[:, 1:-1]), np.exp(1j * got[:, 1:-1])
        assert np.abs(got - wanted).max() < 1e-9
    else:
        assert peak_error(got, wanted) < 1e-13


def names(graph: Graph) -> list[str]:
    return [value.op.method for value in graph.values() if value.inputs]


def test_bin_order_folds_into_the_bank_and_magnitude_comes_first() -> None:
    lowered = names(lower(small(), "cpu", prefer={"Stft": "factored"}))
    assert "take" not in lowered[lowered.index("conv") :]
    assert "select_bins" not in lowered
    assert lowered.index("magnitude") < lowered.index("filterbank")


@pytest.mark.parametrize("lowering", ["conv", "blocked", "matmul", "factored", "factored3"])
@pytest.mark.parametrize("pad_mode", ["reflect", "constant", "edge"])
def test_padding_under_a_short_window_is_not_made(lowering: str, pad_mode: str) -> None:
    graph = sg.Spectrogram(n_fft=96, hop_length=24, win_length=31, pad_mode=pad_mode, output="complex").graph()
    lowered = lower(graph, prefer={"Stft": lowering})
    assert "slice" not in names(lowered)
    for samples in (1, 30, 333):
        wave = np.random.default_rng(0).standard_normal((2, samples))
        assert peak_error(lowered.numpy(wave)["features"], graph.numpy(wave)["features"]) < 1e-13


@pytest.mark.parametrize("lowering", ["conv", "blocked", "matmul", "factored", "factored3"])
@pytest.mark.parametrize(("fmin", "fmax"), [(0.0, 1500.0), (900.0, 1700.0), (2000.0, 4000.0), (0.0, 4000.0)])
def test_bins_that_no_filter_reads_are_not_computed(lowering: str, fmin: float, fmax: float) -> None:
    graph = sg.MelSpectrogram(
        sample_rate=8000, n_fft=256, hop_length=64, n_mels=6, fmin=fmin, fmax=fmax, allow_empty_filters=True
    ).graph()
    lowered = lower(graph, prefer={"Stft": lowering})
    wave = np.random.default_rng(0).standard_normal((2, 999))
    assert peak_error(lowered.numpy(wave)["features"], graph.numpy(wave)["features"]) < 1e-13
    bank = next(value.op for value in lowered.values() if isinstance(value.op, Constant) and value.op.name == "mel")
    read = int(np.count_nonzero(graph.constants()[0].array.any(axis=0)))
    if lowering in ("conv", "blocked"):
        assert bank.shape == (6, read)
    elif lowering != "matmul" and read < 60:  # whole rows of slots go
        assert bank.shape[1] < 110


def test_bins_that_something_else_reads_are_computed_once() -> None:
    b = sg.Builder(sample_rate=8000)
    power = b.magnitude(b.stft(b.pad(b.input("waveforms"), 128), n_fft=256, hop_length=64), power=2.0)
    bank = np.eye(5, 129)
    graph = b.build(low=b.filterbank(power, bank), power=power)
    for lowering in ("conv", "factored"):
        lowered = lower(graph, prefer={"Stft": lowering})
        assert names(lowered).count("magnitude") == 1


@pytest.mark.parametrize("lowering", ["conv", "factored", "factored3"])
def test_a_bank_of_narrow_filters_is_cut_into_bands(lowering: str) -> None:
    graph = sg.MelSpectrogram(sample_rate=22050, n_fft=1024, hop_length=256, n_mels=128).graph()
    lowered = lower(graph, prefer={"Stft": lowering})
    (banded,) = (value for value in lowered.values() if value.op.method == "banded_filterbank")
    filters, bins = banded.inputs[1].shape
    blocks = sum((high - low) * (last - first) for low, high, first, last in banded.op.bands)
    assert blocks < 0.6 * filters * bins
    wave = np.random.default_rng(0).standard_normal((2, 3000)).astype(np.float32)
    wanted = graph.numpy(wave)["features"]
    assert peak_error(lowered.numpy(wave)["features"], wanted) < 1e-13
    assert peak_error(session(lowered).run(None, {"waveforms": wave})[0], wanted) < 1e-6
    assert names(lower(sg.MFCC(n_mels=128, n_mfcc=40).graph()))[-1] == "filterbank"  # a DCT has no zeros


@given(st.integers(1, 12), st.integers(1, 60), st.floats(0, 0.3), st.integers(0, 2**32 - 1))
def test_bands_hold_all_that_a_bank_has(filters: int, bins: int, density: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bank = np.where(rng.random((filters, bins)) < density, rng.standard_normal((filters, bins)), 0.0)
    eager = replace(TARGETS["cpu"], matmul=1.0, launch=1e-30)  # cuts wherever it can
    bands = cut(bank, eager)
    kept = np.zeros_like(bank)
    for low, high, first, last in bands:
        kept[first:last, low:high] += bank[first:last, low:high]
    np.testing.assert_array_equal(kept, bank)
    assert any([band[i : i + 2] for band in bands] == sorted(band[i : i + 2] for band in bands) for i in (0, 2))
    assert cut(np.ones((filters, bins)), eager) == ((0, bins, 0, filters),)


def test_bands_beyond_the_bank_are_refused() -> None:
    b = sg.Builder(sample_rate=16000)
    power = b.magnitude(b.stft(b.input("waveforms"), n_fft=16, hop_length=4), power=2.0)
    for bands, sentence in ((((0, 10, 0, 1),), "reaches to bin 10"), ((), "blocks of ascending bins"), (((3, 9, 0, 1), (0, 3, 0, 1)), "ascending")):
        with pytest.raises(GraphError, match=sentence):
            b.banded_filterbank(power, np.ones((2, 9)), bands=bands)


def test_cuda_has_the_constant_on_the_right_and_no_convolution() -> None:
    for lowering in ("conv", "matmul", "factored_matmul"):
        graph = lower(small(), "cuda", prefer={"Stft": lowering})
        assert not {"conv", "frame_conv", "filterbank"} & set(names(graph))
        for value in graph.values():
            if value.op.method == "matmul":
                assert isinstance(value.inputs[1].op, Constant)
        assert sum(name == "transpose" for name in names(graph)) <= (1 if lowering != "factored_matmul" else 4)


def test_prefer_is_followed_and_checked() -> None:
    assert lower(small(), prefer={"Stft": "conv"}).choices[0].chosen == "conv"
    with pytest.raises(GraphError, match="did you mean 'factored'"):
        lower(small(), prefer={"Stft": "factord"})
    with pytest.raises(GraphError, match="compound ops are .*Stft"):
        lower(small(), prefer={"Sfft": "conv"})
    with pytest.raises(ValueError, match="no target 'tpu'"):
        lower(small(), "tpu")
    prime = sg.Spectrogram(n_fft=97, hop_length=20).graph()
    assert lower(prime, prefer={"Stft": "factored"}).choices[0].chosen in ("conv", "blocked", "matmul")


def test_a_trained_basis_is_never_replaced() -> None:
    graph = sg.MelSpectrogram(n_fft=512).graph(trainable=("fourier",))
    choice = lower(graph, "cpu", prefer={"Stft": "factored"}).choices[0]
    assert choice.chosen == "conv"
    assert list(choice.prices) == ["conv"]


@pytest.mark.parametrize("name", sorted(registry()))
def test_json_round_trip(name: str) -> None:
    graph = registry()[name]().graph()
    text = to_json(graph)
    again = from_json(text)
    assert to_json(again) == text
    assert digest(again) == digest(graph)
    wave = conftest.given(graph, np.random.default_rng(0).standard_normal((1, 3000)))
    wanted = graph.numpy(wave)
    for output, got in again.numpy(wave).items():
        np.testing.assert_array_equal(got, wanted[output])


def test_json_of_a_built_graph_and_of_windows_given_as_samples() -> None:
    for graph in (built(), sg.Spectrogram(n_fft=16, window=np.hanning(16)).graph()):
        again = from_json(to_json(graph))
        wave = np.random.default_rng(0).standard_normal((2, 300))
        for name, wanted in graph.numpy(wave).items():
            np.testing.assert_array_equal(again.numpy(wave)[name], wanted)
    with pytest.raises(GraphError, match="cannot be read"):
        from_json("{}")


def test_a_graph_pickles_its_arrays() -> None:
    graph = lower(small())
    wave = np.random.default_rng(0).standard_normal((1, 300))
    again = pickle.loads(pickle.dumps(graph))
    np.testing.assert_array_equal(again.numpy(wave)["features"], graph.numpy(wave)["features"])


def test_reach_of_a_centred_spectrogram() -> None:
    graph = sg.Spectrogram(n_fft=400, hop_length=160).graph()
    reach = graph.reach()[graph.outputs["features"]]
    assert (reach.hop, reach.first, reach.last, reach.centre) == (160, -200, 199, 0.0)
    whole = sg.LogMelSpectrogram(n_mels=20).graph()
    assert not whole.reach()[whole.outputs["features"]].finite
    local = sg.LogMelSpectrogram(n_mels=20, top_db=None).graph()
    assert local.reach()[local.outputs["features"]].finite


def test_values_are_only_made_of_values() -> None:
    with pytest.raises(TypeError, match="operand 0 is a ndarray"):
        Stft(16, 4)(np.zeros((1, 100)))  # type: ignore[arg-type]
    assert isinstance(built().outputs["low"], Value)


def test_public_names_are_not_shadowed_by_modules_of_the_same_name() -> None:
    import specgraph.export
    import specgraph.runtimes

    for package in (sg, specgraph.export, specgraph.runtimes):
        for name, value in list(vars(package).items()):
            module = sys.modules.get(f"{package.__name__}.{name}")
            assert module is None or module is value, f"{package.__name__}.{name} is both a module and something else"
    assert callable(sg.lower)
    assert callable(sg.load)


def test_numpys_numbers_are_taken_as_pythons(tmp_path) -> None:
    b = sg.Builder(np.int64(16000))
    x = b.input("waveforms")
    kernels = torch.ones(3, 40, requires_grad=True)
    tones = b.frame_conv(b.pad(x, np.int64(3)), kernels, hop_length=np.int64(10))
    spectrum = b.magnitude(b.stft(x, n_fft=np.int64(64), hop_length=np.int16(16)), power=np.float64(2))
    sg.to_onnx(b.build(tones=tones, spectrum=spectrum), tmp_path / "m.onnx")


def test_what_a_builder_refuses() -> None:
    b = sg.Builder(16000)
    with pytest.raises(GraphError, match="no input; begin with Builder.input"):
        b.build(a=b.constant([1.0]))
    x = b.input("waveforms")
    for kernels in (np.ones((3, 0)), np.ones((0, 64))):
        with pytest.raises(GraphError, match="sizes must be numbers of at least 1"):
            b.frame_conv(x, kernels, hop_length=4)
    with pytest.raises(TypeError, match="about holds an About"):
        b.build(features=x, about={"features": 1})
    with pytest.raises(TypeError, match="prefer is a dict"):
        lower(b.build(y=b.log(x)), prefer="conv")


def test_parts_that_are_wanted_apart_are_never_side_by_side() -> None:
    """As HTDemucs has them: planes are moved, not numbers."""
    b = sg.Builder(sample_rate=44100)
    spectrum = b.slice(b.take(b.stft(b.input("waveforms"), n_fft=2048, hop_length=512), tuple(range(1000))), start=1, stop=-1, axis=2)
    graph = b.build(features=b.transpose(spectrum, (0, 3, 1, 2)))
    lowered = lower(graph, prefer={"Stft": "factored3"})
    assert [value.op.order for value in lowered.values() if value.op.method == "transpose"] == [(0, 2, 1, 3, 4)]
    assert names(lowered).count("take") == 2  # phases in order, and bins once
    wave = np.random.default_rng(0).standard_normal((2, 6000))
    np.testing.assert_allclose(lowered.numpy(wave)["features"], graph.numpy(wave)["features"], atol=1e-10)
