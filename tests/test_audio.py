"""Audio files: what is read, what is done to it, and what is refused in one sentence."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from specgraph.audio import AudioError, audio_files, demo_signals, read_audio
from specgraph.decoding import BLOCK, Decoder


def tone(sample_rate: int, seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize(
    ("suffix", "subtype", "tolerance"),
    [
        (".wav", "PCM_16", 4e-5),
        (".wav", "PCM_24", 1e-6),
        (".wav", "PCM_U8", 9e-3),
        (".wav", "FLOAT", 1e-7),
        (".wav", "DOUBLE", 1e-7),
        (".flac", "PCM_16", 4e-5),
        (".ogg", "VORBIS", 0.03),
    ],
)
def test_formats(tmp_path: Path, suffix: str, subtype: str, tolerance: float) -> None:
    path, wave = tmp_path / f"tone{suffix}", tone(16000)
    soundfile.write(path, wave, 16000, subtype=subtype)
    audio = read_audio(path, 16000)
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (16000,)
    np.testing.assert_allclose(audio.samples, wave, atol=tolerance)
    assert (audio.seconds, audio.changes) == (1.0, "")


def test_mp3(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "tone.mp3", tone(22050), 22050)
    audio = read_audio(tmp_path / "tone.mp3", 22050)
    assert abs(audio.seconds - 1) < 0.1
    assert np.abs(np.fft.rfft(audio.samples[:22050])).argmax() == 440


def test_stereo_is_mixed_by_the_mean(tmp_path: Path) -> None:
    left, right = tone(8000), tone(8000, frequency=1000.0)
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, right], 1), 8000, subtype="FLOAT")
    audio = read_audio(tmp_path / "stereo.wav", 8000)
    np.testing.assert_allclose(audio.samples, (left + right) / 2, atol=1e-7)
    assert audio.changes == "mixed 2 channels to mono"


@pytest.mark.parametrize("sample_rate", [8000, 16000])
def test_one_channel_is_taken(tmp_path: Path, sample_rate: int) -> None:
    """Counted from 0, as manifests count."""
    left, right = tone(8000), tone(8000, frequency=1000.0)
    path, alone = tmp_path / "call.wav", tmp_path / "alone.wav"
    soundfile.write(path, np.stack([left, right], 1), 8000, subtype="PCM_16")
    for channel, wave in enumerate((left, right)):
        soundfile.write(alone, wave, 8000, subtype="PCM_16")
        for dtype in ("float32", "int16"):
            audio, expected = read_audio(path, sample_rate, dtype=dtype, channel=channel), read_audio(alone, sample_rate, dtype=dtype)
            np.testing.assert_array_equal(audio.samples, expected.samples)
            assert audio.changes == f"channel {channel} of 2" + (f", {expected.changes}" if expected.changes else "")
    twice = read_audio(path, sample_rate, channels=2, channel=1)
    np.testing.assert_array_equal(twice.samples, np.stack([read_audio(alone, sample_rate).samples] * 2))
    assert "repeated for 2 channels" in twice.changes
    for channel, file in ((2, path), (-1, path), (1, alone)):
        with pytest.raises(AudioError, match=f"has no channel {channel}; it has ") as caught:
            read_audio(file, 8000, channel=channel)
        assert caught.value.kind == "no channel"


@pytest.mark.parametrize("file_rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_time_pitch_and_level(tmp_path: Path, file_rate: int) -> None:
    soundfile.write(tmp_path / "tone.wav", tone(file_rate), file_rate, subtype="FLOAT")
    audio = read_audio(tmp_path / "tone.wav", 16000)
    inside = slice(1000, 15000)
    np.testing.assert_allclose(audio.samples[inside], tone(16000)[inside], atol=1e-4)
    assert audio.changes == f"resampled from {file_rate} to 16000 Hz"


def bad_files(folder: Path) -> dict[str, Path]:
    made = {name: folder / f"{name}.wav" for name in ("missing", "empty", "text", "truncated", "no_samples", "nan", "short")}
    made["folder"] = folder
    made["empty"].touch()
    made["text"].write_text("not audio at all\n" * 40)
    soundfile.write(made["truncated"], tone(8000), 8000)
    made["truncated"].write_bytes(made["truncated"].read_bytes()[:20])
    soundfile.write(made["no_samples"], np.zeros(0), 8000)
    soundfile.write(made["nan"], np.array([0.0, np.nan]), 8000, subtype="FLOAT")
    soundfile.write(made["short"], np.zeros(1), 96000)
    return made


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("missing", FileNotFoundError, "there is no file"),
        ("folder", IsADirectoryError, "is a folder"),
        ("empty", AudioError, "is empty"),
        ("text", AudioError, "cannot be read as audio"),
        ("truncated", AudioError, "cannot be read as audio"),
        ("no_samples", AudioError, "no samples"),
        ("nan", AudioError, "not finite"),
        ("short", AudioError, "too short to resample from 96000 to 8000 Hz"),
    ],
)
def test_refused_in_one_sentence(tmp_path: Path, name: str, error: type[Exception], sentence: str) -> None:
    path = bad_files(tmp_path)[name]
    with pytest.raises(error, match=sentence) as caught:
        read_audio(path, 8000)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folders_are_searched(tmp_path: Path) -> None:
    for name in ("b.wav", "sub/a.FLAC", "sub/notes.txt", "sub/deep/c.mp3"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    named = tmp_path / "sub" / "notes.txt"  # a file that is named is tried, whatever its suffix
    found = audio_files([tmp_path, named])
    assert [str(name) for _, name in found] == ["b.wav", "sub/a.FLAC", "sub/deep/c.mp3", "notes.txt"]
    assert all(file.exists() for file, _ in found)


def test_demo_signals() -> None:
    made, again = demo_signals(16000), demo_signals(16000)
    assert set(made) == {"chord", "sweep", "bursts"}
    for name, wave in made.items():
        assert wave.dtype == np.float32
        assert 0.1 < np.abs(wave).max() < 1, f"{name} is silent, or clips"
        assert (wave == again[name]).all()
    sweep = made["sweep"]
    crossings = [np.count_nonzero(np.diff(np.signbit(part))) for part in np.array_split(sweep, 6)]
    assert crossings == sorted(crossings)
    chord = np.abs(np.fft.rfft(made["chord"][16000:]))
    for root in (220.0, 277.18, 329.63):
        assert chord[round(root)] > 20 * np.median(chord)


@pytest.mark.parametrize(
    ("suffix", "kept", "sentence"),
    [
        ("wav", 20000, "has 19956 of 32000 bytes of samples"),
        ("aiff", 20000, "has 19946 of 32000 bytes of samples"),
        ("mp3", 2000, r"has \d+ of 16000 samples"),
        ("flac", 9000, "cannot be decoded to its end"),
        ("ogg", -10, "ends before the last page of its stream"),
    ],
)
def test_a_file_that_was_cut_off_is_refused_or_salvaged(tmp_path: Path, suffix: str, kept: int, sentence: str) -> None:
    """libsndfile takes most of them for shorter ones."""
    path = tmp_path / f"cut.{suffix}"
    wave = 0.1 * np.random.default_rng(0).standard_normal(16000)
    soundfile.write(path, wave, 16000)
    sound = read_audio(path, 16000)
    assert sound.damage == ""
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(AudioError, match=sentence) as caught:
        read_audio(path, 16000)
    assert caught.value.kind == "damaged"
    if suffix == "ogg":  # libsndfile finds nothing in it
        return
    rest = read_audio(path.read_bytes(), 16000, name="some bytes", salvage=True)
    assert rest.damage == str(caught.value).replace(str(path), "some bytes")
    assert 1000 < len(rest.samples) < 16000
    if suffix != "mp3":  # whose frames overlap
        np.testing.assert_array_equal(rest.samples, sound.samples[: len(rest.samples)])


def test_a_length_that_nobody_declared_is_not_missed(tmp_path: Path) -> None:
    """A WAV file from a pipe, which has no size in its header, and an MP3 file without the tag that counts its frames."""
    soundfile.write(tmp_path / "pipe.wav", tone(16000), 16000, subtype="PCM_16")
    held = bytearray((tmp_path / "pipe.wav").read_bytes())
    held[4:8] = held[40:44] = b"\xff\xff\xff\xff"
    assert len(read_audio(bytes(held), 16000).samples) == 16000
    soundfile.write(tmp_path / "tagged.mp3", tone(44100), 44100)
    held = bytearray((tmp_path / "tagged.mp3").read_bytes())
    second = held.index(held[:2], 4)  # the tag is in a frame of its own, the first
    untagged = bytes(held[second:])
    assert not {b"Xing", b"Info"} & {untagged[at : at + 4] for at in range(300)}
    whole = len(read_audio(untagged, 44100).samples)
    end = untagged.index(untagged[:2], len(untagged) // 2)  # of a frame
    assert 0 < len(read_audio(untagged[:end], 44100).samples) < whole
    with pytest.raises(AudioError, match="ends in the middle of a frame"):
        read_audio(untagged[: end + 20], 44100)


@pytest.mark.parametrize("rate", [1000, 8000, 44_100])
def test_a_block_is_bounded_whatever_rate_a_header_says(rate: int) -> None:
    samples, file = max(3000, 60 * rate), io.BytesIO()
    soundfile.write(file, np.zeros(samples, np.int16), rate, format="WAV")
    sizes = [block.shape[-1] for block in Decoder(file.getvalue(), 16_000).blocks()]
    assert max(sizes) <= BLOCK + 1000 * 16_000 // rate  # and what the resampler's filter held back
    assert sum(sizes) == pytest.approx(samples * 16_000 / rate, abs=2)
