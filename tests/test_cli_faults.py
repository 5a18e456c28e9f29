"""What goes wrong on the command line: a sentence and an exit code, and nothing lost that was made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

import specgraph as sg
from specgraph.outside_text import printable, title
from tests.conftest import one_sentence

ROOT = Path(__file__).parents[1]
RATE = 16000


def write(path: str | bytes, channels: int = 1, seed: int = 0) -> np.ndarray:
    wave = (0.1 * np.random.default_rng(seed).standard_normal((RATE // 4, channels))).astype(np.float32)
    soundfile.write("written.wav", wave, RATE, subtype="FLOAT")
    os.replace("written.wav", path)
    return wave


@pytest.mark.parametrize("name", [r"$\frac$.wav", "$x$.wav", "a$.wav", "[bold]x[red].wav", "x" * 250 + ".wav", "tab\tand\x1b[31mred.wav", "\u4e2d\u6587.wav"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_text_from_outside_is_shown_as_it_is(cli, mel_file: Path, name: str) -> None:
    write(name)
    code, out, err = cli("run", mel_file, name, "-o", "f.npy", "--plot", "p.png")
    assert (code, err) == (0, "")
    assert np.load("f.npy").shape == (40, 26)
    assert Path("p.png").exists()
    assert f"{printable(name)}: 0.25 s" in out
    assert "\x1b" not in out


def test_titles() -> None:
    assert printable("a\x1b[31m\udce9\n") == r"a\x1b[31m\udce9\n"
    assert title("a$x$") == r"a\$x\$"
    assert len(title("x" * 250)) <= 105


@pytest.mark.parametrize("output", ["f.npy", "f.npz", "out"])
def test_features_are_written_before_they_are_drawn(cli, mel_file: Path, output: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.wav")

    def breaks(*arguments: object, **options: object) -> None:
        raise RuntimeError("no font\nis here")

    monkeypatch.setattr("specgraph.plot._draw", breaks)
    code, out, err = cli("run", mel_file, "a.wav", "-o", output, "--plot", "p.png")
    assert code == 1
    assert "wrote features of 1 of 1 files" in out
    assert one_sentence(err).startswith("the features are written, and the picture p.png is not: RuntimeError: no font is here")
    assert Path("out/a.npy" if output == "out" else output).exists()
    assert not Path("p.png").exists()


def test_features_that_cannot_be_drawn(cli) -> None:
    b = sg.Builder(sample_rate=RATE)
    wave = b.input("waveforms")
    sg.to_onnx(b.build(level=b.reduce(b.reduce(b.magnitude(b.stft(b.pad(wave, 32), n_fft=64, hop_length=32)), kind="mean", axis=2, keepdims=False), kind="mean", keepdims=False)), "level.onnx")
    write("a.wav")
    code, _, err = cli("run", "level.onnx", "a.wav", "-o", "f.npy", "--plot", "p.png")
    assert code == 1
    assert "the picture p.png is not: features of shape () cannot be drawn" in one_sentence(err)
    assert Path("f.npy").exists()


def test_a_name_that_ends_no_run(cli, mel_file: Path) -> None:
    """Bytes that are no text, and names to which nothing can be added."""
    os.mkdir("in")
    names = [b"lat\xe9.wav", b"y" * 251 + b".wav", b"z" * 252 + b".au", b"ok.wav"]
    for name in names:
        write(os.path.join(b"in", name))
    code, out, err = cli("run", mel_file, "in", "-o", "out")
    assert code == 1
    assert "1 of 4 files failed" in err
    assert "the name is too long" in err
    assert "wrote features of 3 of 4 files" in out
    assert r"lat\udce9: 0.25 s" in out
    assert sorted(os.listdir(b"out")) == [b"lat\xe9.npy", b"ok.npy", b"y" * 251 + b".npy"]
    code, out, _ = cli("run", mel_file, "in", "-o", "all.npz", "--plot", "p.png")
    assert code == 0
    with np.load("all.npz") as held:
        assert len(held.files) == 4
        assert r"lat\udce9.wav" in held.files


def test_what_is_passed_over_is_said(cli, mel_file: Path) -> None:
    os.mkdir("in")
    write("in/a.wav")
    for name in ("b.m4a", "c.webm", "d.m4a"):
        Path("in", name).touch()
    os.symlink("nothing", "in/e.wav")
    os.mkfifo("in/f.wav")
    code, _, err = cli("run", mel_file, "in", "-o", "out")
    assert code == 0
    said = next(line for line in err.splitlines() if line.startswith("passed over in in: "))
    for what in ("3 files that are not audio known here", ".m4a 2", "1 dangling link", "1 pipe"):
        assert what in said
    os.remove("in/a.wav")
    code, _, err = cli("run", mel_file, "in", "-o", "out")
    assert code == 1
    assert "there is no audio in in; passed over in in: 3 files" in one_sentence(err)


def test_one_channel(cli, mel_file: Path) -> None:
    wave = write("call.wav", channels=2)
    for channel in (0, 1):
        assert cli("run", mel_file, "call.wav", "-o", f"{channel}.npy", "--channel", channel)[0] == 0
        np.testing.assert_allclose(np.load(f"{channel}.npy"), sg.load(mel_file)(wave[:, channel]), atol=1e-4)
    code, _, err = cli("run", mel_file, "call.wav", "-o", "2.npy", "--channel", 2)
    assert (code, "has no channel 2; it has 2 channels, 0 to 1" in one_sentence(err)) == (1, True)
    assert "counts from 0" in one_sentence(cli("run", mel_file, "call.wav", "-o", "2.npy", "--channel", -1)[2])


def test_what_a_file_may_cost_is_an_option(cli, mel_file: Path) -> None:
    write("a.wav")
    code, _, err = cli("run", mel_file, "a.wav", "-o", "a.npy", "--max-seconds", 0.1)
    assert (code, "raise max_seconds (--max-seconds)" in one_sentence(err)) == (1, True)
    assert "raise max_bytes (--max-mb)" in one_sentence(cli("run", mel_file, "a.wav", "-o", "a.npy", "--max-mb", 0.01)[2])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["version"], "there is no command 'version'; use specgraph --version"),
        (["export", "mel", "-o", "m.onnx", "--n_mels", "80"], "there is no option --n_mels; parameters are set by --set n_mels=80"),
        (["export", "mel", "-o", "m.onnx", "--n-mels=80"], "there is no option --n-mels; parameters are set by --set n_mels=80"),
        (["export", "mel", "-o", "m.onnx", "--sr", "8000"], "there is no option --sr; parameters are set by --set sample_rate=8000"),
        (["export", "mel"], "missing option '--output' / '-o'; see specgraph export --help"),
        (["run", "m.onnx", "a.wav", "-o", "f.npy", "--threads", "many"], "invalid value for '--threads'"),
    ],
)
def test_wrong_usage_is_a_sentence(cli, arguments: list[str], sentence: str) -> None:
    code, _, err = cli(*arguments)
    assert (code, sentence in one_sentence(err)) == (2, True), err


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("whisper", "there is no transform or preset 'whisper'; presets: whisper-128, whisper-80"),
        ("mell", "there is no transform or preset 'mell' (did you mean 'mel'?)"),
        ("zzzz", "there is no transform or preset 'zzzz'; specgraph list shows"),
    ],
)
def test_unknown_names(cli, name: str, sentence: str) -> None:
    assert sentence in one_sentence(cli("list", name)[2])


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (KeyError("x"), "KeyError: 'x'; that is a fault of specgraph: SPECGRAPH_TRACEBACK=1 shows where"),
        (StopIteration(), "StopIteration; that is a fault of specgraph"),
        (PermissionError(13, "Permission denied"), "the system said: permission denied"),
        (PermissionError(13, "Permission denied", "f"), "f: permission denied"),
        (ModuleNotFoundError("No module named 'yaml'", name="yaml"), "this needs yaml, which is not installed: pip install PyYAML"),
        (MemoryError(), "there is not enough memory"),
        (ValueError("two\nlines"), "two lines"),
    ],
)
def test_errors_become_sentences(cli, error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("specgraph.cli.files._list_presets", breaks)
    code, _, err = cli("list", "--presets")
    assert (code, one_sentence(err).startswith(sentence)) == (1, True), err


def test_onnxruntimes_words(cli, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")

    def breaks(*arguments: object) -> None:
        onnxruntime.InferenceSession(b"no model")

    monkeypatch.setattr("specgraph.cli.files._list_presets", breaks)
    said = one_sentence(cli("list", "--presets")[2])
    assert said.startswith("onnxruntime refuses this file: ")
    assert "[ONNXRuntimeError]" not in said


def started(code: str, *arguments: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_ctrl_c() -> None:
    code = "import sys, time, specgraph.cli.files as files, specgraph.cli as cli\nfiles._list_presets = lambda: (print('begun', flush=True), time.sleep(60))\ncli.main()"
    process = started(code, "list", "--presets")
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "stopped\n")


def test_ctrl_c_while_it_starts() -> None:
    process = subprocess.Popen([sys.executable, "-m", "specgraph", "list"], cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(0.35)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert process.returncode != 130 or err == "stopped\n"


def test_a_closed_pipe_is_no_error() -> None:
    with started("import specgraph.cli as cli; cli.main()", "list", "mel") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) in (1, 141)


def test_a_host_without_what_the_command_line_needs() -> None:
    """numpy and onnxruntime are enough to serve; all else says what to install."""
    hide = "import sys\nfor name in ('typer', 'rich', 'soundfile', 'soxr', 'torch', 'onnx', 'scipy', 'matplotlib'): sys.modules[name] = None\n"
    done = subprocess.run([sys.executable, "-c", hide + "import specgraph.cli as cli; cli.main()", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the command line needs typer and rich, which are not installed: pip install typer rich" in one_sentence(done.stderr)


def test_audio_files_on_such_a_host(mel_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write("a.wav")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    run = sg.load(mel_file)
    with pytest.raises(ImportError, match="audio files need soundfile, which is not installed: pip install soundfile soxr; or give arrays"):
        list(run.map(["a.wav"]))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: sg.MelSpectrogram(sr=16000), TypeError, "MelSpectrogram has no parameter 'sr'; it is called sample_rate"),
        (lambda: sg.MFCC(f_max=16000), TypeError, "MFCC has no parameter 'f_max'; it is called fmax"),
        (lambda: sg.MelSpectrogram(window_fn="hann"), TypeError, "it is called window"),
        (lambda: sg.MelSpectrogram(mel_scale="htk"), TypeError, "it is called htk=True, or False"),
        (lambda: sg.MelSpectrogram(num_mel_bins=80), TypeError, "it is called n_mels"),
        (lambda: sg.MelSpectrogram(n_melss=80), TypeError, r"has no parameter 'n_melss' \(did you mean 'n_mels'\?\); it has"),
        (lambda: sg.MelSpectrogram(16000), TypeError, r"parameters go by name: MelSpectrogram\(sample_rate=16000\)"),
        (lambda: sg.MelSpectrogram(trainable_mel=True), TypeError, r"name them where the module is made: MelSpectrogram\(\).module\(trainable=\(\"mel\",\)\)"),
        (lambda: sg.MelSpectrogram().module(trainable=True), TypeError, r"name the parts to train: trainable=\(\"mel\",\); MelSpectrogram has "),
        (lambda: sg.MelSpectrogram.from_strings({"sr": "8000"}), ValueError, r"no parameter 'sr' \(did you mean 'sample_rate'\?\); it has"),
        (lambda: sg.Builder(8000).build(sg.Builder(8000).input()), TypeError, r"name the output: b.build\(features=w\)"),
    ],
)
def test_what_was_meant_is_named(call, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call()


def test_calls_of_a_runner(mel_file: Path, tmp_path: Path) -> None:
    run = sg.load(mel_file)
    wave = np.zeros(RATE, np.float32)
    with pytest.raises(TypeError, match=r"run has no argument 'sr'; did you mean sample_rate=\?"):
        run(wave, sr=RATE)
    with pytest.raises(TypeError, match="takes waveforms; it has no input 'audio'"):
        run(audio=wave)
    sg.to_onnx(sg.MelSpectrogram(sample_rate=8000, n_fft=128, n_mels=5), tmp_path / "live.onnx", streaming=True)
    with pytest.raises(TypeError, match=r"is a streaming file: run\(chunk, state\); state begins as zeros\(\(batch, \d+\)\)"):
        sg.load(tmp_path / "live.onnx")(wave)
