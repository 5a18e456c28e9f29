"""Configurations of NeMo: features against FilterbankFeatures, normalize_batch and torchaudio's MFCC, written here from their formulas in float64."""

from __future__ import annotations

import io
import re
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specgraph as sg
from tests.conftest import one_sentence
from tests.preset_formulas import bank, frames
from tests.test_imports import noise

MEL = "nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor"
MFCC = "nemo.collections.asr.modules.AudioToMFCCPreprocessor"
SYMMETRIC = {"hann": np.hanning, "hamming": np.hamming, "blackman": np.blackman, "bartlett": np.bartlett}
GUARDS = {"tiny": np.finfo(np.float32).tiny, "eps": np.finfo(np.float32).eps}


def section(target: str = MEL, **fields: Any) -> dict[str, Any]:
    return {"preprocessor": {"_target_": target} | fields}


def in_frame(window: np.ndarray, n_fft: int) -> np.ndarray:
    """torch.stft puts a shorter window into the middle."""
    left = (n_fft - len(window)) // 2
    return np.pad(window, (left, n_fft - len(window) - left))


def filterbank_features(
    x: np.ndarray, sample_rate: int = 16000, window_size: float = 0.02, window_stride: float = 0.01, n_window_size: int | None = None,
    n_window_stride: int | None = None, window: str = "hann", normalize: Any = "per_feature", n_fft: int | None = None, preemph: float | None = 0.97,
    features: int = 64, lowfreq: float = 0, highfreq: float | None = None, log: bool = True, log_zero_guard_type: str = "add",
    log_zero_guard_value: float | str = 2**-24, pad_to: int = 16, frame_splicing: int = 1, exact_pad: bool = False, pad_value: float = 0,
    mag_power: float = 2.0, mel_norm: str | None = "slaney", guard: float = 0.0, **training: Any,
) -> np.ndarray:  # fmt: skip
    """(features, frames): FilterbankFeatures.forward in evaluation, line by line."""
    width = int(window_size * sample_rate) if window_size else n_window_size
    hop = int(window_stride * sample_rate) if window_stride else n_window_stride
    assert width
    assert hop
    n_fft = n_fft or 2 ** int(np.ceil(np.log2(width)))
    amount = (n_fft - hop) // 2 if exact_pad else None
    valid = (len(x) + (2 * amount if amount is not None else n_fft // 2 * 2) - n_fft) // hop
    samples = len(x)
    if amount is not None:
        x = np.pad(x, amount)
    if preemph is not None:
        x = np.concatenate([x[:1], x[1:] - preemph * x[:-1]])
        x[samples:] = 0
    if amount is None:
        x = np.pad(x, n_fft // 2)
    spectrum = np.fft.rfft(frames(x, n_fft, hop) * in_frame(SYMMETRIC[window](width), n_fft)).T
    mel = bank(sample_rate, n_fft, features, lowfreq, highfreq or sample_rate / 2, norm=mel_norm == "slaney") @ np.sqrt(np.abs(spectrum) ** 2 + guard) ** mag_power
    least = GUARDS[log_zero_guard_value] if isinstance(log_zero_guard_value, str) else log_zero_guard_value
    if log:
        mel = np.log(mel + least) if log_zero_guard_type == "add" else np.log(np.maximum(mel, least))
    mel = np.concatenate([mel] * frame_splicing)
    if normalize == "per_feature":
        mel = (mel - mel[:, :valid].mean(1, keepdims=True)) / (mel[:, :valid].std(1, ddof=1, keepdims=True) + 1e-5)
    elif normalize == "all_features":
        mel = (mel - mel[:, :valid].mean()) / (mel[:, :valid].std(ddof=1) + 1e-5)
    mel[:, valid:] = pad_value
    over = mel.shape[1] % pad_to if pad_to else 0
    return np.pad(mel, ((0, 0), (0, pad_to - over if over else 0)), constant_values=pad_value)


def torchaudio_mfcc(
    x: np.ndarray, sample_rate: int = 16000, window_size: float = 0.02, window_stride: float = 0.01, window: str | None = "hann", n_fft: int | None = None,
    lowfreq: float = 0.0, highfreq: float | None = None, n_mels: int = 64, n_mfcc: int = 64, log: bool = True,
) -> np.ndarray:  # fmt: skip
    """(n_mfcc, frames): torchaudio.transforms.MFCC with a periodic window and an orthonormal DCT-II."""
    width, hop = int(window_size * sample_rate), int(window_stride * sample_rate)
    n_fft = n_fft or 2 ** int(np.ceil(np.log2(width)))
    shape = np.ones(width) if window in (None, "ones") else SYMMETRIC[window](width + 1)[:-1]
    spectrum = np.fft.rfft(frames(np.pad(x, n_fft // 2, mode="reflect"), n_fft, hop) * in_frame(shape, n_fft)).T
    mel = bank(sample_rate, n_fft, n_mels, lowfreq, highfreq or sample_rate / 2, "htk", False) @ np.abs(spectrum) ** 2
    level = np.log(mel + 1e-6) if log else 10 * np.log10(np.maximum(mel, 1e-10))
    if not log:
        level = np.maximum(level, level.max() - 80)
    n = np.arange(n_mels) + 0.5
    dct = np.array([np.sqrt((1 if k == 0 else 2) / n_mels) * np.cos(np.pi * k * n / n_mels) for k in range(n_mfcc)])
    return dct @ level


OPTIONS: list[dict[str, Any]] = [
    {},
    {"features": 80, "window_size": 0.025, "n_fft": 512, "pad_to": 0, "dither": 1e-5, "frame_splicing": 1},
    {"features": 128, "window_size": 0.025, "n_fft": 512, "pad_to": 2, "normalize": "NA", "pad_value": -1.5},
    {"features": 64, "normalize": "all_features", "pad_to": 8, "window": "hamming"},
    {"features": 40, "normalize": None, "log_zero_guard_type": "clamp", "log_zero_guard_value": 1e-5, "preemph": None, "mag_power": 1.0, "pad_to": 1},
    {"features": 80, "sample_rate": 22050, "n_window_size": 1024, "n_window_stride": 256, "window_size": None, "window_stride": None, "n_fft": 1024,
     "lowfreq": 0, "highfreq": 8000, "exact_pad": True, "preemph": None, "normalize": None, "pad_to": 1, "mag_power": 1.0, "mel_norm": None},
    {"exact_pad": True, "normalize": "per_feature", "window": "blackman", "pad_to": 4, "log_zero_guard_value": "eps"},
    {"frame_splicing": 3, "window": "bartlett", "lowfreq": 50, "highfreq": 7000, "normalize": "per_feature", "log_zero_guard_value": "tiny"},
    {"sample_rate": 11025, "n_fft": 401, "window_size": 0.02, "features": 40},
    {"exact_pad": True, "n_fft": 451, "preemph": 0.5, "features": 40},
    {"log": False, "normalize": "None", "sample_rate": 8000, "pad_to": 0, "nb_augmentation_prob": 0.5, "rng": None},
]  # fmt: skip
CEPSTRA: list[dict[str, Any]] = [
    {},
    {"n_mfcc": 20, "n_mels": 40, "window": "hamming", "lowfreq": 20.0, "highfreq": 7600, "n_fft": 1024},
    {"log": False, "n_mfcc": 40, "sample_rate": 8000, "window_size": 0.025, "window": None},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_features_are_the_formula(options: dict[str, Any]) -> None:
    p = sg.from_nemo(section(**options))
    for samples in (p.sample_rate + 77, p.sample_rate // 2):
        wave = noise(samples, samples).astype(np.float64)
        got, wanted = p.graph().numpy(wave[None])["features"][0], filterbank_features(wave.copy(), **options)
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, atol=1e-8)


@pytest.mark.parametrize("use_grads", [False, True])
def test_a_vocoders_features_are_the_formula(use_grads: bool) -> None:
    fields = {
        "nfilt": 80, "highfreq": 8000, "log_zero_guard_type": "clamp", "log_zero_guard_value": 1e-5, "lowfreq": 0, "mag_power": 1.0, "n_fft": 1024,
        "n_window_size": 1024, "n_window_stride": 256, "normalize": None, "pad_to": 0, "pad_value": -11.52, "preemph": None, "sample_rate": 22050,
        "exact_pad": True, "use_grads": use_grads, "max_duration": 16.7,
    }  # fmt: skip
    p = sg.from_nemo(section("nemo.collections.asr.parts.preprocessing.features.FilterbankFeatures", **fields))
    wave = noise(20000).astype(np.float64)
    options: dict[str, Any] = fields | {"features": 80, "window_size": 0, "window_stride": 0, "guard": 1e-5 if use_grads else 0.0}
    np.testing.assert_allclose(p.graph().numpy(wave[None])["features"][0], filterbank_features(wave.copy(), **options), atol=1e-8)


@pytest.mark.parametrize("options", CEPSTRA, ids=str)
def test_cepstra_are_the_formula(options: dict[str, Any]) -> None:
    p = sg.from_nemo(section(MFCC, **options))
    wave = noise(p.sample_rate + 77).astype(np.float64)
    got, wanted = p.graph().numpy(wave[None])["features"][0], torchaudio_mfcc(wave, **options)
    assert got.shape == wanted.shape
    np.testing.assert_allclose(got, wanted, atol=1e-8)


# ---- what a configuration may say ---------------------------------------------------------------------------------------------

YAML = """
sample_rate: &rate 16000
window: 0.025
model:
  sample_rate: 8000
preprocessor:
  _target_: nemo.collections.asr.modules.AudioToMelSpectrogramPreprocessor
  sample_rate: *rate
  normalize: per_feature
  window_size: ${window}
  window_stride: 1e-2
  window: hann
  features: 80
  n_fft: 512
  log: true
  frame_splicing: 1
  dither: 1.0e-05
  pad_to: 0
"""


def listing(p: Any) -> str:
    return str(p.graph()).split("\n", 1)[1]


def test_files_text_and_archives(tmp_path: Path) -> None:
    pytest.importorskip("yaml")
    wanted = listing(sg.preset("nemo-80"))
    assert listing(sg.from_nemo(YAML)) == wanted
    path = tmp_path / "model_config.yaml"
    path.write_text(YAML)
    assert listing(sg.from_nemo(path)) == wanted
    assert listing(sg.from_nemo(str(path))) == wanted
    for mode, inside in (("w", "./model_config.yaml"), ("w:gz", "model_config.yaml")):
        archive = tmp_path / "model.nemo"
        with tarfile.open(archive, mode) as file:
            weights, held = tarfile.TarInfo("./model_weights.ckpt"), tarfile.TarInfo(inside)
            held.size = len(YAML)
            file.addfile(weights)
            file.addfile(held, io.BytesIO(YAML.encode()))
        assert listing(sg.from_nemo(archive)) == wanted


def test_sections_wherever_they_are() -> None:
    fields = {"features": 80, "window_size": 0.025, "pad_to": 0}
    wanted = listing(sg.preset("nemo-80"))
    assert listing(sg.from_nemo(section(**fields))) == wanted
    assert listing(sg.from_nemo(section(**fields)["preprocessor"])) == wanted
    assert listing(sg.from_nemo({"model": section(**fields), "trainer": {}})) == wanted
    assert listing(sg.from_nemo({"preprocessor": {"cls": MEL, "params": fields}})) == wanted
    assert listing(sg.from_nemo(section(**fields | {"sample_rate": "${model.rate}"}) | {"model": {"rate": "${rate}"}, "rate": 16000})) == wanted
    assert listing(sg.from_nemo(section(**fields | {"sample_rate": "${model.rate}", "highfreq": "${top}"}) | {"rate": 16000, "top": None})) == wanted
    in_samples = {"features": 80, "n_window_size": 400, "n_window_stride": 160, "window_size": False, "window_stride": False, "pad_to": 0}
    assert listing(sg.from_nemo(section(**in_samples))) == wanted


REFUSED = [
    (section("nemo.collections.asr.modules.AudioToSpectrogram"), "the preprocessor's _target_ is 'nemo.collections.asr.modules.AudioToSpectrogram', which is not"),
    ({"encoder": {}}, "the configuration has no section preprocessor; give the configuration of a model with one"),
    (section(colour=1), "AudioToMelSpectrogramPreprocessor: the field colour, 1, is not known"),
    (section(feature=64), "the field feature, 64, is not known (did you mean 'features'?)"),
    (section(features="many"), "AudioToMelSpectrogramPreprocessor: features must be int, not 'many'"),
    (section(features=6000), "AudioToMelSpectrogramPreprocessor: features must be at most 4096, not 6000"),
    (section(features="???"), "AudioToMelSpectrogramPreprocessor: features must be int, not '???'"),
    (section(sample_rate="${model.rate}"), "${model.rate} is not in the configuration; write the number itself"),
    (section(sample_rate="${preprocessor.sample_rate}"), "${preprocessor.sample_rate} leads to itself; write the number"),
    (section(sample_rate=1), "AudioToMelSpectrogramPreprocessor: sample_rate must be at least 2, not 1"),
    (section(MFCC, sample_rate=11025), "AudioToMFCCPreprocessor: sample_rate must be even, not 11025: otherwise its own filters"),
    (section(window="none"), "AudioToMelSpectrogramPreprocessor: window must be hann | hamming | blackman | bartlett, not 'none'"),
    (section(window_size=0.02, n_window_size=320), "window_size is 0.02; n_window_size 320 is given too; take one of them out"),
    (section(n_window_stride=160), "n_window_stride is 160; window_stride is 0.01 where it is not there; set window_stride to null beside it"),
    (section(window_stride=None), "window_stride is None; that is no sample at 16000 Hz; raise it"),
    (section(n_fft=256), "n_fft is 256; it must be at least the window, 320 samples, and 2"),
    (section(MFCC, n_fft=513), "AudioToMFCCPreprocessor: n_fft must be even, not 513"),
    (section(highfreq=9000), "AudioToMelSpectrogramPreprocessor: highfreq must be at most 8000, not 9000"),
    (section(lowfreq=4000, highfreq=4000), "lowfreq is 4000; it must be below highfreq, 4000"),
    (section(normalize="per_frame"), "normalize is 'per_frame'; it must be per_feature, all_features or NA"),
    (section(normalize={"fixed_mean": [0], "fixed_std": [1]}), "fixed means are given by bin_shift and bin_scale here; set it to NA"),
    (section(use_torchaudio=True), "use_torchaudio is True; those features differ from NeMo's own"),
    (section(stft_conv=True), "stft_conv is True; NeMo 2 no longer looks at it; set it to false"),
    (section(exact_pad=True, window_stride=None, n_window_stride=161), "exact_pad is True; it goes with an even window_stride, not 161 samples"),
    (section(exact_pad=True, window_stride=0.1), "exact_pad is True; it goes with a window_stride of at most n_fft, 512 samples"),
    (section(pad_to="max"), "AudioToMelSpectrogramPreprocessor: pad_to must be int, not 'max'"),
    (section(frame_splicing=0), "AudioToMelSpectrogramPreprocessor: frame_splicing must be at least 1, not 0"),
    (section(mag_power=0), "AudioToMelSpectrogramPreprocessor: mag_power must be above 0, not 0"),
    (section(mel_norm=1), "AudioToMelSpectrogramPreprocessor: mel_norm must be slaney | None, not 1"),
    (section(log_zero_guard_type="max"), "AudioToMelSpectrogramPreprocessor: log_zero_guard_type must be add | clamp, not 'max'"),
    (section(log_zero_guard_value="small"), "AudioToMelSpectrogramPreprocessor: log_zero_guard_value must be float, not 'small'"),
    (section(preemph=1.5), "AudioToMelSpectrogramPreprocessor: preemph must be at most 1, not 1.5"),
    (section(MFCC, n_mfcc=80), "AudioToMFCCPreprocessor: n_mfcc 80 is more than the 64 mel filters; lower it or raise n_mels"),
    (section(MFCC, dct_type=3), "AudioToMFCCPreprocessor: dct_type must be 2, not 3"),
    (section(MFCC, norm=None), "AudioToMFCCPreprocessor: norm must be ortho, not None"),
    (section(MFCC, highfreq=0), "highfreq is 0; set it to null for half the sample_rate"),
    (section(MFCC, pad_to=16), "AudioToMFCCPreprocessor: the field pad_to, 16, is not known"),
]


@pytest.mark.parametrize(("fields", "sentence"), REFUSED, ids=str)
def test_what_is_not_supported_is_named(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
        sg.from_nemo(fields)
    assert "\n" not in str(caught.value)


def test_what_is_no_configuration_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(TypeError, match="takes a path, the text of a configuration or a dict, not int"):
        sg.from_nemo(3)  # type: ignore[arg-type]
    for text, sentence in (("{", "the text is not YAML ("), ("- 1\n- 2", "the text holds no fields by their names")):
        with pytest.raises(ValueError, match=re.escape(sentence)) as caught:
            sg.from_nemo(text)
        assert "\n" not in str(caught.value)
    broken = tmp_path / "model.nemo"
    broken.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="model.nemo is not an archive"):
        sg.from_nemo(broken)
    with tarfile.open(broken, "w"):
        pass
    with pytest.raises(ValueError, match="model.nemo has no model_config.yaml"):
        sg.from_nemo(broken)
    (tmp_path / "m.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="m.yaml is not text"):
        sg.from_nemo(tmp_path / "m.yaml")
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.nemo; give a \.nemo file or its model_config\.yaml"):
        sg.from_nemo(str(tmp_path / "none.nemo"))
    with pytest.raises(FileNotFoundError, match=r"there is no file .*model_config\.yaml; give"):
        sg.from_nemo(tmp_path)
    (tmp_path / "model_config.yaml").write_text(YAML)
    assert sg.from_nemo(tmp_path).graph().parameters == sg.from_nemo(YAML).graph().parameters  # the folder of an unpacked model
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ImportError, match=re.escape("needs PyYAML: pip install 'specgraph[nemo]', or give it as a dict")):
        sg.from_nemo(YAML)
    sg.from_nemo(section())  # a dict needs nothing


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(8, 800), hop=st.integers(1, 500), bins=st.integers(1, 128), rate=st.integers(8000, 48000),
    samples=st.integers(1, 40000), multiple=st.integers(0, 20), copies=st.integers(1, 3),
)  # fmt: skip
def test_valid_numbers_give_bins_and_frames(width: int, hop: int, bins: int, rate: int, samples: int, multiple: int, copies: int) -> None:
    sizes = {"window_size": None, "window_stride": None, "n_window_size": width, "n_window_stride": hop}
    graph = sg.from_nemo(section(**sizes, features=bins, sample_rate=rate, pad_to=multiple, frame_splicing=copies)).graph()
    shape, total = graph.outputs["features"].shape, 1 + samples // hop
    assert shape[1] == copies * bins
    assert graph.least_along_the_clip() == hop
    if samples >= hop:
        assert shape[2].at(samples) == (total if multiple == 0 else -(-total // multiple) * multiple)


@pytest.mark.parametrize("options", [OPTIONS[i] for i in (2, 3, 6, 7)], ids=str)
def test_files_give_the_features(options: dict[str, Any], tmp_path: Path) -> None:
    p = sg.from_nemo(section(**options))
    for target in ("cpu", "cuda"):
        path = tmp_path / f"{target}.onnx"
        assert sg.to_onnx(p, path, target=target).error < 2e-6
        for samples in (5000, 16001):
            wave = noise(samples)
            got, wanted = sg.load(path, device="cpu")(wave), filterbank_features(wave.astype(np.float64), **options)
            assert got.shape == wanted.shape
            np.testing.assert_allclose(got, wanted, atol=2e-4)


def test_exported_from_the_command_line(cli: Any) -> None:
    pytest.importorskip("yaml")
    Path("model_config.yaml").write_text(YAML)
    for name in ("model_config.yaml", "."):
        code, out, _ = cli("export", name, "-o", "x.onnx")
        assert code == 0, out
    wave = noise(20000)
    wanted = filterbank_features(wave.astype(np.float64), window_size=0.025, features=80, pad_to=0)
    np.testing.assert_allclose(sg.load("x.onnx")(wave), wanted, atol=2e-4)
    Path("model_config.yaml").write_text(YAML.replace("hann", "kaiser"))
    for name, sentence in (("model_config.yaml", "window must be hann | hamming"), ("other.nemo", "there is no file other.nemo; give a .nemo file")):
        code, _, err = cli("export", name, "-o", "y.onnx")
        assert code == 1
        assert sentence in one_sentence(err)
