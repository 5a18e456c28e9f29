"""The command line as a user meets it: what it prints, what it writes, and what it says when something is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

import specgraph as sg
from tests.conftest import one_sentence

RATE = 16000


def write(path: str, seconds: float = 0.5, rate: int = RATE, channels: int = 1, seed: int = 0) -> np.ndarray:
    """An audio file of noise; returns what it holds."""
    wave = 0.1 * np.random.default_rng(seed).standard_normal((int(seconds * rate), channels))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, subtype="FLOAT" if path.endswith(".wav") else None)
    return wave.astype(np.float32)


def test_demo(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")  # pytest-xdist says that there are 80, where headings of tables are folded
    code, out, err = cli("demo", "-o", "made")
    assert (code, err) == (0, "")
    made = {path.name for path in Path("made").iterdir()}
    assert made == {"chord.wav", "sweep.wav", "bursts.wav", "log-mel.onnx", "features.png"}
    for said in ("full scale", "against float64", "against torch", "features.png"):
        assert said in out
    following = out.strip().splitlines()[-1].replace("YOUR.wav", "made/chord.wav").split()
    assert following[:2] == ["specgraph", "run"]
    assert cli(*following[1:])[0] == 0
    assert np.load("features.npy").shape == (80, 201)
    assert cli("demo", "-o", "made")[0] == 0, "a second time"
    code, _, err = cli("demo", "-o", "features.npy")
    assert code == 1
    assert "is a file" in one_sentence(err)


def test_list(cli) -> None:
    code, out, _ = cli("list")
    assert code == 0
    for cls in sg.transforms.registry().values():
        assert cls.command in out
        code, shown, _ = cli("list", cls.command)
        assert code == 0
        for parameter in cls.parameters():
            assert parameter.name in shown
    code, _, err = cli("list", "mell")
    assert code == 1
    assert "did you mean 'mel'" in one_sentence(err)


def test_export_inspect_verify(cli) -> None:
    code, out, err = cli("export", "mel", "-o", "mel.onnx", "--set", "sample_rate=16000", "-s", "n_mels=80", "-s", "fmax=none")
    assert (code, err) == (0, "")
    assert "factored" in out
    assert "specgraph run mel.onnx" in out
    run = sg.load("mel.onnx")
    assert (run.sample_rate, len(run.frequencies)) == (16000, 80)
    code, out, _ = cli("inspect", "mel.onnx", "--graph")
    assert code == 0
    for said in ("MelSpectrogram", "n_mels=80", "every 32 ms", "1024 samples before", "filterbank()", "MatMul"):
        assert said in out
    code, out, _ = cli("verify", "mel.onnx")
    assert code == 0
    assert "computes what it defines" in out
    code, _, err = cli("verify", "mel.onnx", "--tolerance", "1e-15")
    assert code == 1
    assert "1.0e-15 is allowed" in one_sentence(err)


def test_export_with_a_preference(cli) -> None:
    code, out, _ = cli("export", "spectrogram", "-o", "s.onnx", "--prefer", "Stft=conv", "-s", "n_fft=64", "-s", "output=complex")
    assert code == 0
    assert [choice["chosen"] for choice in sg.load("s.onnx").meta.lowering] == ["conv"]
    assert "conv" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mell"], "no transform or preset 'mell' (did you mean 'mel'?)"),
        (["mel", "-s", "n_mel=3"], "no parameter 'n_mel' (did you mean 'n_mels'?)"),
        (["mel", "-s", "n_mels"], "--set takes name=value"),
        (["mel", "-s", "n_mels=many"], "n_mels must be int, not 'many'"),
        (["mel", "-s", "fmax=90000"], "above half the sample rate"),
        (["mel", "-s", "window=hanning"], "window 'hanning'"),
        (["mel", "-s", "window=[1,2"], "window must be a window's name or a tuple"),
        (["mel", "--target", "tpu"], "target must be 'cpu' or 'cuda'"),
        (["mel", "--prefer", "Stft=fast"], "no lowering 'fast'"),
        (["mel", "--tolerance", "1e-12"], "1.0e-12 is allowed"),
    ],
)
def test_export_refuses(cli, arguments: list[str], sentence: str) -> None:
    code, _, err = cli("export", *arguments, "-o", "m.onnx")
    assert code == 1
    assert sentence in one_sentence(err)
    assert list(Path().iterdir()) == []


def test_run_one_file(cli, mel_file: Path) -> None:
    wave = write("speech.wav")
    code, out, err = cli("run", mel_file, "speech.wav", "-o", "features.npy", "--plot", "features.png")
    assert (code, err) == (0, "")
    assert "features (40, 51)" in out
    features = np.load("features.npy")
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features, sg.load(mel_file)(wave[:, 0]))
    assert Path("features.png").stat().st_size > 1000
    assert {path.name for path in Path().iterdir()} == {"speech.wav", "features.npy", "features.png"}


def test_run_there_and_back(cli) -> None:
    wave = write("speech.wav")
    settings = ("--set", "sample_rate=16000", "--set", "n_fft=512")
    assert cli("export", "spectrogram", "-o", "there.onnx", "--set", "output=complex", *settings)[0] == 0
    assert cli("export", "inverse-spectrogram", "-o", "back.onnx", *settings)[0] == 0
    assert cli("run", "there.onnx", "speech.wav", "-o", "spectrum.npy")[0] == 0
    code, out, err = cli("run", "back.onnx", "spectrum.npy", "-o", "wave.npy", "--plot", "wave.png")
    assert (code, err) == (0, "")
    assert "features (257, 63, 2) -> waveforms (7936,)" in out
    np.testing.assert_allclose(np.load("wave.npy"), wave[:7936, 0], atol=1e-5)
    assert Path("wave.png").stat().st_size > 1000
    code, _, err = cli("run", "back.onnx", "speech.wav", "-o", "wave.npy")
    assert code == 1
    assert "takes features (batch, 257, frames, 2), not audio; give a .npy file" in one_sentence(err)
    np.save("spectrum.npy", np.zeros((256, 63, 2)))
    code, _, err = cli("run", "back.onnx", "spectrum.npy", "-o", "wave.npy")
    assert code == 1
    assert "axis 1 has 256 instead of 257" in one_sentence(err)
    Path("bad.npy").write_text("no array")
    assert "cannot be read as a numpy array" in one_sentence(cli("run", "back.onnx", "bad.npy", "-o", "wave.npy")[2])
    code, out, _ = cli("inspect", "back.onnx")
    assert code == 0
    assert "waveform" in out


def test_run_reports_mixing_and_resampling(cli, mel_file: Path) -> None:
    write("song.flac", rate=44100, channels=2)
    _, out, _ = cli("run", mel_file, "song.flac", "-o", "song.npy")
    assert "mixed 2 channels to mono, resampled from 44100 to 16000 Hz" in out
    assert np.load("song.npy").shape == (40, 51)


def test_run_goes_on_after_a_bad_file(cli, mel_file: Path) -> None:
    write("in/a.wav")
    write("in/sub/b.flac", 0.25)
    Path("in/bad.wav").write_text("not audio")
    code, out, err = cli("run", mel_file, "in", "missing.wav", "-o", "out", "--plot", "all.png")
    assert code == 1
    assert "2 of 4 files" in out
    assert err.splitlines()[-3:] == [
        "2 of 4 files failed:",
        "  in/bad.wav cannot be read as audio (Format not recognised); give wav, flac, ogg or mp3",
        "  there is no file missing.wav",
    ]
    assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/a.npy", "out/sub/b.npy"]
    assert np.load("out/sub/b.npy").shape == (40, 26)
    assert Path("all.png").exists()


def test_run_into_one_archive(cli, mel_file: Path) -> None:
    write("x/a.wav", seed=1)
    write("y/a.wav", seed=2)
    code, _, _ = cli("run", mel_file, "x/a.wav", "y/a.wav", "x/../x/a.wav", "-o", "all.npz")
    assert code == 0
    with np.load("all.npz") as held:
        assert sorted(held) == ["x/a.wav", "y/a.wav"], "neither replaces the other; the one given twice is there once"
        assert not np.array_equal(held["x/a.wav"], held["y/a.wav"])


def test_run_keeps_names_apart_in_a_folder(cli, mel_file: Path) -> None:
    write("a.wav")
    write("a.flac")
    Path("out.v2").mkdir()
    assert cli("run", mel_file, "a.wav", "a.flac", "-o", "out.v2")[0] == 0
    assert sorted(path.name for path in Path("out.v2").iterdir()) == ["a.flac.npy", "a.wav.npy"]


def test_run_with_several_outputs(cli) -> None:
    b = sg.Builder(sample_rate=RATE)
    wave = b.input("waveforms")
    power = b.magnitude(b.stft(b.pad(wave, 32), n_fft=64, hop_length=32), power=2.0)
    sg.to_onnx(b.build(file=power, low=b.fir_downsample(wave, np.ones(5) / 5, factor=2)), "two.onnx")
    write("a.wav")
    write("b.wav")
    assert cli("run", "two.onnx", "a.wav", "-o", "a.npz", "--plot", "a.png")[0] == 0
    with np.load("a.npz") as held:
        assert {name: held[name].shape for name in held} == {"file": (33, 251), "low": (4000,)}
    assert cli("run", "two.onnx", "a.wav", "b.wav", "-o", "all.npz")[0] == 0
    with np.load("all.npz") as held:
        assert sorted(held) == ["a.wav:file", "a.wav:low", "b.wav:file", "b.wav:low"]
    assert cli("run", "two.onnx", "a.wav", "b.wav", "-o", "out")[0] == 0
    with np.load("out/b.npz") as held:
        assert sorted(held) == ["file", "low"]
    code, _, err = cli("run", "two.onnx", "a.wav", "-o", "a.npy")
    assert code == 1
    assert "2 outputs" in one_sentence(err)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["missing.wav", "-o", "f.npy"], "there is no file missing.wav"),
        (["empty", "-o", "f.npy"], "there is no audio in empty"),
        (["text.wav", "-o", "f.npy"], "text.wav cannot be read as audio"),
        (["a.wav", "-o", "f.txt"], "must end in .npy or .npz, or be a folder"),
        (["a.wav", "-o", "text"], "text is a file"),
        (["a.wav", "-o", "no/f.npy"], "the folder no does not exist"),
        (["a.wav", "-o", "a.wav"], "is one of the inputs"),
        (["a.wav", "b.wav", "-o", "f.npy"], "holds one array, and there are 2 files"),
        (["a.wav", "-o", "f.npy", "--plot", "f.wav"], "does not end in a picture's suffix"),
        (["a.wav", "-o", "f.npy", "--plot", "no/f.png"], "the folder no does not exist"),
        (["a.wav", "-o", "f.npy", "--device", "gpu"], "device must be"),
        (["a.wav", "-o", "f.npy", "--threads", "0"], "threads must be"),
    ],
)
def test_run_refuses(cli, mel_file: Path, arguments: list[str], sentence: str) -> None:
    write("a.wav")
    write("b.wav")
    Path("empty").mkdir()
    Path("text.wav").write_text("text")
    Path("text").write_text("text")
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    code, _, err = cli("run", mel_file, *arguments)
    assert code == 1
    assert sentence in one_sentence(err)
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before, "nothing is written"


@pytest.mark.parametrize("command", [["run", "-o", "f.npy"], ["run", "-o", "f.npz"], ["plot", "-o", "p.png"]], ids=" ".join)
def test_a_model_for_chunks_is_no_model_for_files(cli, command: list[str]) -> None:
    write("a.wav")
    sg.to_onnx(sg.MelSpectrogram(sample_rate=8000, n_fft=128, n_mels=5), "live.onnx", streaming=True)
    code, _, err = cli(command[0], "live.onnx", "a.wav", *command[1:])
    assert code == 1
    said = one_sentence(err)
    assert "live.onnx is for sound in chunks, chunk, state -> features, next_state" in said
    assert "export the front end without --streaming for whole files" in said
    assert not Path(command[-1]).exists()


@pytest.mark.parametrize("command", [["run", "-o", "f.npy"], ["plot", "-o", "p.png"], ["inspect"], ["verify"]])
@pytest.mark.parametrize("model", ["missing.onnx", "text.onnx", "empty.onnx", "folder"])
def test_a_wrong_model(cli, command: list[str], model: str) -> None:
    write("a.wav")
    Path("text.onnx").write_text("text")
    Path("empty.onnx").touch()
    Path("folder").mkdir()
    audio = ["a.wav"] if len(command) > 1 else []
    code, _, err = cli(command[0], model, *audio, *command[1:])
    assert code == 1
    assert model in one_sentence(err)


def test_plot(cli, mel_file: Path) -> None:
    for i in range(14):
        write(f"in/{i:02}.wav", 0.1)
    Path("in/bad.wav").write_text("text")
    code, out, err = cli("plot", mel_file, "in", "-o", "p.png")
    assert code == 1
    assert "drew p.png, without the last 2 files" in out
    assert "in/bad.wav" in err


def test_names_with_brackets_are_printed_as_they_are(cli) -> None:
    name = "m[bold]x[.onnx"
    code, out, _ = cli("export", "mel", "-o", name, "-s", "n_fft=64", "-s", "n_mels=4")
    assert code == 0
    assert f"wrote {name}:" in out
    assert f"specgraph run {name} speech.wav" in out
    assert name in cli("inspect", name)[1]
    assert name in cli("verify", name)[1]
    write("a[red].wav")
    code, out, _ = cli("run", name, "a[red].wav", "-o", "f[b].npy", "--plot", "p[b].png")
    assert (code, Path("f[b].npy").exists()) == (0, True)
    for said in ("a[red].wav:", "f[b].npy", "p[b].png"):
        assert said in out


def test_a_file_that_is_replaced_is_never_half_written(cli, mel_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.wav")
    Path("f.npy").write_bytes(b"before")

    def breaks(file: object, array: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(np, "save", breaks)
    code, _, err = cli("run", mel_file, "a.wav", "-o", "f.npy")
    assert code == 1
    assert one_sentence(err) == "no space left"
    assert Path("f.npy").read_bytes() == b"before"
    assert {path.name for path in Path().iterdir()} == {"a.wav", "f.npy"}


@pytest.mark.parametrize("command", ["list", "export", "inspect", "verify", "run", "plot", "bench", "demo"])
def test_help_has_an_example(cli, command: str) -> None:
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert f"Example: specgraph {command}" in " ".join(out.split())


def test_usage_errors(cli) -> None:
    code, _, err = cli("run", "m.onnx", "a.wav")
    assert code == 2
    assert "--output" in err
    assert cli("frobnicate")[0] == 2
    assert cli("--version")[1].strip() == sg.__version__


def test_traceback_on_request(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECGRAPH_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no transform"):
        cli("list", "mell")


def test_as_a_module() -> None:
    root = Path(__file__).parents[1]
    done = subprocess.run([sys.executable, "-m", "specgraph", "list"], cwd=root, capture_output=True, text=True, check=True)
    assert "log-mel" in done.stdout
