"""Loading and running files: what is accepted, what is refused and how, and that a serving host needs little."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch
from onnx import numpy_helper

import specgraph as sg
from specgraph.lowering import Choice
from specgraph.metadata import FORMAT, Metadata, MetadataError, OutputMetadata
from specgraph.runtimes import RuntimeUnavailable, load
from specgraph.runtimes.base import Runner
from tests import sealing
from tests.conftest import peak_error, waves

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def run(mel_file: Path) -> Runner:
    return load(mel_file, threads=1)


def rewritten(mel_file: Path, path: Path, properties: dict[str, str | None]) -> Path:
    path.write_bytes(sealing.rewritten(mel_file.read_bytes(), properties, sealed=True))
    return path


def test_features_are_the_modules(mel_file: Path, run: Runner) -> None:
    wave = np.stack([waves(5000)["noise"], waves(5000)["noise"][::-1]])  # no band of which is below float32's floor
    wanted = sg.read_graph(mel_file).module()(torch.from_numpy(wave)).numpy()
    assert run(wave).dtype == np.float32
    assert peak_error(run(wave), wanted) < 1e-5
    assert peak_error(run(wave[0]), wanted[0]) < 1e-5
    assert peak_error(run(waveforms=wave), wanted) < 1e-5
    assert peak_error(load(mel_file, device="torch")(wave), wanted) < 1e-5
    got = run(torch.from_numpy(wave))
    assert isinstance(got, torch.Tensor)
    assert peak_error(got.numpy(), wanted) < 1e-5


def test_leading_axes_are_kept(mel_file: Path, run: Runner) -> None:
    wave = np.random.default_rng(0).standard_normal((2, 1, 3, 900)).astype(np.float32)
    wanted = run(wave.reshape(6, 900))
    np.testing.assert_array_equal(run(wave), wanted.reshape(2, 1, 3, *wanted.shape[1:]))
    assert run(torch.from_numpy(wave)).shape == (2, 1, 3, *wanted.shape[1:])


def test_other_dtypes_and_layouts_are_converted(run: Runner) -> None:
    wave = waves(3000)["noise"]
    pcm = np.round(wave.clip(-1, 1) * 32767).astype(np.int16)
    np.testing.assert_array_equal(run(pcm), run(pcm.astype(np.float32) / 32768))
    np.testing.assert_array_equal(run(wave.astype(np.float64)), run(wave))
    np.testing.assert_array_equal(run(torch.from_numpy(pcm)).numpy(), run(pcm))
    twice = np.repeat(wave, 2)
    np.testing.assert_array_equal(run(twice[::2]), run(wave))
    np.testing.assert_array_equal(run(wave.tolist()), run(wave))


@pytest.mark.parametrize(
    ("wave", "error", "sentence"),
    [
        (np.zeros((2, 0), np.float32), ValueError, r"shape \(2, 0\): there are no samples"),
        (np.zeros(0, np.float32), ValueError, "there are no samples"),
        (np.zeros((0, 9), np.float32), ValueError, "there are no clips"),
        (np.zeros((16000, 2), np.float32), ValueError, r"would be 16000 clips of 2 samples each; .*mix its channels to one"),
        (np.float32(1), ValueError, r"not of shape \(\)"),
        (np.zeros((1, 9), np.int32), TypeError, "not int32; convert it to float32"),
        (np.zeros((1, 9), np.float16), TypeError, "not float16"),
        (np.zeros((1, 9), np.complex64), TypeError, "not complex64"),
        (np.array([["a"]]), TypeError, "not <U1"),
        (np.array([[0, 1, np.nan]], np.float32), ValueError, "1 values that are not finite, the first NaN at sample 2 of clip 0"),
        (np.array([[0, 1], [-np.inf, np.nan]]), ValueError, "2 values that are not finite, the first infinity at sample 0 of clip 1"),
    ],
    ids=str,
)
def test_wrong_input_is_one_sentence(run: Runner, wave: np.ndarray, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence) as caught:
        run(wave)
    assert "\n" not in str(caught.value)


def test_large_finite_values_are_not_taken_for_infinity(mel_file: Path) -> None:
    wave = np.full((1, 500), 1e38, np.float32)
    run = load(mel_file)
    run._checked("waveforms", wave)  # their sum overflows in float32
    with pytest.raises(ValueError, match="not finite"):
        run(np.where(np.arange(500) == 3, np.inf, wave))


def test_checking_can_be_left_out(mel_file: Path) -> None:
    assert not np.isfinite(load(mel_file, check_finite=False)(np.full((1, 999), np.nan, np.float32))).all()


def test_wrong_names_and_numbers_of_inputs(run: Runner) -> None:
    wave = np.zeros((1, 99), np.float32)
    for given, named in (((wave, wave), {}), ((), {}), ((wave,), {"waveforms": wave}), ((), {"audio": wave})):
        with pytest.raises(TypeError, match="takes waveforms; "):
            run(*given, **named)


def test_times_frequencies_and_metadata(run: Runner) -> None:
    assert run.sample_rate == 16000
    np.testing.assert_allclose(run.times(3), [0.0, 0.01, 0.02])
    frequencies = run.frequencies
    assert frequencies is not None
    np.testing.assert_allclose(frequencies, sg.LogMelSpectrogram(sample_rate=16000, n_fft=400, n_mels=40).centres())
    for samples in (1, 159, 160, 16000):
        assert run.meta.outputs["features"].count(samples) == run(np.zeros(samples, np.float32)).shape[-1]
    assert run.meta.parameters["n_mels"] == 40
    with pytest.raises(ValueError, match="no output 'mel'; it has features"):
        run.times(1, "mel")


def test_latency_is_what_follows_a_frames_centre(tmp_path: Path, run: Runner) -> None:
    assert run.latency() is None  # top_db looks at the whole clip
    sg.to_onnx(sg.Spectrogram(sample_rate=8000, n_fft=400, hop_length=100), tmp_path / "s.onnx")
    assert load(tmp_path / "s.onnx").latency() == 199 / 8000


def test_a_clip_that_is_too_short_is_refused(tmp_path: Path) -> None:
    sg.to_onnx(sg.Spectrogram(n_fft=64, hop_length=16, center=False), tmp_path / "s.onnx")
    with pytest.raises(ValueError, match="has 63 samples and .* needs at least 64"):
        load(tmp_path / "s.onnx")(np.zeros(63, np.float32))


@pytest.mark.parametrize("path", ["speech.wav", Path("speech.wav")])
def test_map_refuses_one_path(mel_file: Path, path: str | Path) -> None:
    with pytest.raises(TypeError, match=r"map takes many clips or files, and 'speech.wav' is one path; give a list: \['speech.wav'\]"):
        sg.load(mel_file).map(path)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("speech.wav", r"waveforms must be an array of samples, not the path 'speech.wav'; run\(run.read\('speech.wav'\).samples\) reads a file and runs it, and "),
        (Path("speech.wav"), r"the path 'speech.wav'; .*, and run.map\(\['speech.wav', ...\]\) runs many files"),
        (["a.wav", "b.wav"], r"not a list of paths, 'a.wav' the first; .* run.map\(\['a.wav', ...\]\)"),
        (b"RIFF", r"not bytes; run\(run.read\(...\).samples\) reads a file and runs it$"),
    ],
    ids=str,
)
def test_a_file_instead_of_its_samples(run: Runner, tmp_path: Path, given: object, sentence: str) -> None:
    with pytest.raises(TypeError, match=sentence):
        run(given)
    with pytest.raises(TypeError, match=sentence):
        run(waveforms=given)
    for lengths in (False, True):
        sg.to_onnx(sg.MelSpectrogram(sample_rate=8000, n_fft=128, n_mels=5), tmp_path / "mel.onnx", lengths=lengths)
        other = sg.load(tmp_path / "mel.onnx")
        with pytest.raises(TypeError, match=sentence):
            other(given) if lengths else other.stream().push(given)


def test_what_the_sentence_says_to_do_works(run: Runner, tmp_path: Path) -> None:
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.zeros(20000), run.sample_rate)
    assert run(run.read(path).samples).shape == next(run.map([path])).shape


def test_a_path_for_a_model_of_features(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=8000)
    sg.to_onnx(b.build(y=b.log(b.input("x", ("batch", 3, "frames")))), tmp_path / "f.onnx")
    with pytest.raises(TypeError, match=r"x must be an array, not the path 'x.npy'; read the file first: numpy.load\('x.npy'\)"):
        sg.load(tmp_path / "f.onnx")("x.npy")


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=8000)
    x, bank = b.input("x", ("batch", 3, "frames")), b.input("y", ("batch", 3, "frames"))
    sg.to_onnx(b.build(total=b.add(x, bank), product=b.multiply(x, bank)), tmp_path / "two.onnx")
    rng = np.random.default_rng(0)
    p, q = rng.standard_normal((2, 2, 3, 5)).astype(np.float32)
    for device in ("cpu", "torch"):
        result = load(tmp_path / "two.onnx", device=device)(p, y=q)
        np.testing.assert_allclose(result["total"], p + q)
        np.testing.assert_allclose(result["product"], p * q)


def test_files_that_are_not_ours(tmp_path: Path, mel_file: Path) -> None:
    text, empty, foreign = tmp_path / "text.onnx", tmp_path / "empty.onnx", tmp_path / "foreign.onnx"
    text.write_text("not a model")
    empty.touch()
    rewritten(mel_file, foreign, {"specgraph.format": None})
    newer = rewritten(mel_file, tmp_path / "newer.onnx", {"specgraph.format": str(FORMAT + 1)})
    damaged = rewritten(mel_file, tmp_path / "damaged.onnx", {"specgraph.outputs": "{"})
    missing = rewritten(mel_file, tmp_path / "missing.onnx", {"specgraph.sample_rate": None})
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(mel_file.read_bytes()[:-100])
    for path, error, sentence in (
        (tmp_path / "none.onnx", FileNotFoundError, "there is no file"),
        (tmp_path, IsADirectoryError, "is a folder"),
        (text, ValueError, "not a whole ONNX model: it begins with b'not a model'"),
        (empty, ValueError, "not a whole ONNX model: it is empty"),
        (cut, ValueError, "not a whole ONNX model"),
        (foreign, MetadataError, "was not written by specgraph"),
        (newer, MetadataError, f"has format {FORMAT + 1}, newer than the format {FORMAT}"),
        (damaged, MetadataError, "damaged specgraph metadata"),
        (missing, MetadataError, "damaged specgraph metadata"),
    ):
        with pytest.raises(error, match=sentence) as caught:
            load(path)
        assert "\n" not in str(caught.value)


def test_tensors_in_other_files_are_refused(tmp_path: Path, mel_file: Path) -> None:
    model = onnx.load(mel_file)
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, size_threshold=0)
    with pytest.raises(ValueError, match="keeps tensors in other files"):
        load(tmp_path / "split.onnx")


def test_devices_and_threads_are_checked(mel_file: Path) -> None:
    for device in ("gpu", "cuda:", "cuda:x", "", "cpu:1"):
        with pytest.raises(ValueError, match="device must be 'cpu', 'cuda'"):
            load(mel_file, device=device)
    for threads in (0, -1, 1.5, True):
        with pytest.raises(ValueError, match="threads must be a whole number"):
            load(mel_file, threads=threads)  # type: ignore[arg-type]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_is_never_replaced_in_silence(mel_file: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"CUDA cannot be used: |has no CUDA provider: ") as caught:
        load(mel_file, device="cuda")
    assert "\n" not in str(caught.value)
    assert load(mel_file, device="auto").device == "cpu"
    with pytest.raises(RuntimeUnavailable, match="torch finds no CUDA device"):
        load(mel_file, device="torch:cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_cuda_gives_the_cpus_numbers_without_a_copy(mel_file: Path) -> None:
    wave = torch.randn(3, 16000)
    wanted = load(mel_file)(wave)
    run = load(mel_file, device="cuda")
    got = run(wave.cuda())
    assert got.device.type == "cuda"
    assert peak_error(got.cpu().numpy(), wanted.numpy()) < 1e-5
    assert peak_error(run(wave.numpy()), wanted.numpy()) < 1e-5


HOST = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ImportError(f"{{name}} is not installed", name=name)
sys.meta_path.insert(0, Blocker())
import numpy as np
import specgraph as sg
{body}
"""


def on_a_host_without(blocked: set[str], body: str) -> subprocess.CompletedProcess[str]:
    code = HOST.format(blocked=blocked, body=body)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_serving_host_needs_numpy_and_onnxruntime_alone(mel_file: Path) -> None:
    blocked = {"torch", "onnx", "onnx_ir", "scipy", "soundfile", "soxr", "typer", "rich", "matplotlib", "librosa"}
    body = f"print(sg.load({str(mel_file)!r})(np.ones((2, 1600), np.float32)).shape)"
    done = on_a_host_without(blocked, body)
    assert (done.stdout.strip(), done.returncode) == ("(2, 40, 11)", 0), done.stderr


def test_the_blocker_blocks() -> None:
    assert "onnx_ir is not installed" in on_a_host_without({"onnx_ir"}, "sg.to_onnx").stderr


def test_without_onnxruntime_the_error_says_what_to_install(mel_file: Path) -> None:
    body = f"sg.load({str(mel_file)!r})"
    assert "pip install 'specgraph[cpu]', or 'specgraph[gpu]'" in on_a_host_without({"onnxruntime"}, body).stderr
    body = "sg.to_onnx(sg.MelSpectrogram(), 'never-written.onnx')"
    assert "pip install 'specgraph[cpu]', or 'specgraph[gpu]'" in on_a_host_without({"onnxruntime"}, body).stderr


def test_importing_specgraph_loads_nothing_heavy() -> None:
    body = "print(sorted({'torch', 'onnx', 'onnx_ir', 'onnxruntime', 'scipy', 'numpy'} & set(sys.modules) - {'numpy'}))"
    assert on_a_host_without(set(), body).stdout.strip() == "[]"


def test_metadata_round_trip_and_frame_counts() -> None:
    output = OutputMetadata(("batch", "bins", "frames"), 160.0, 0.0, 200, 199, "power", "", (1.0, 2.5), ((1, 160, 160),))
    meta = Metadata("X", "0", 16000, parameters={"a": None}, outputs={"y": output}, lowering=(asdict(Choice("Stft", "conv", {"conv": 1e-3})),), hash="h")
    assert Metadata.from_properties(meta.to_properties(), "p") == meta
    assert output.count(1600) == 11


def test_foreign_models_keep_working_in_plain_onnxruntime(mel_file: Path) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(mel_file, providers=["CPUExecutionProvider"])
    assert [node.name for node in session.get_inputs()] == ["waveforms"]
    assert session.get_inputs()[0].shape == ["batch", "samples"]
    assert session.get_outputs()[0].shape == ["batch", 40, "frames"]
    assert session.get_modelmeta().custom_metadata_map["specgraph.sample_rate"] == "16000"
    assert numpy_helper.to_array(onnx.load(mel_file).graph.initializer[0]).size


def test_a_model_that_onnxruntime_refuses(mel_file: Path, tmp_path: Path) -> None:
    import onnx

    model = onnx.load(mel_file)
    model.graph.node[3].op_type = "NoSuchOp"
    (tmp_path / "bad.onnx").write_bytes(sealing.resealed(model.SerializeToString()))
    with pytest.raises(ValueError, match="is not a model that onnxruntime loads on a CPU: ") as caught:
        sg.load(tmp_path / "bad.onnx")
    assert "\n" not in str(caught.value)


def test_devices_that_do_not_exist(mel_file: Path) -> None:
    for device in ("torch:nonsense", None, 3, "torch:cuda:x"):
        with pytest.raises(ValueError, match="device must be 'cpu'"):
            sg.load(mel_file, device=device)
    with pytest.raises(ValueError, match="threads must be a whole number from 1 to 1024"):
        sg.load(mel_file, threads=100_000)
