"""Audio files of several parts, with wrong headers, and damaged ones: all of the sound, or a sentence."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from specgraph.audio import AudioError, read_audio
from specgraph.decoding import Decoder, Limits

RATE = 16000
FORMATS = [
    *(("WAV", subtype) for subtype in ("PCM_16", "PCM_24", "PCM_U8", "FLOAT", "ULAW", "IMA_ADPCM", "GSM610")),
    *((name, "PCM_16") for name in ("WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST")),
    ("AIFF", "FLOAT"),
    ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("OGG", "FLAC"),
    ("MP3", "MPEG_LAYER_III"),
]
NAMES = ["-".join(one) for one in FORMATS]
ID3 = b"ID3\x04\0\0\0\0\0\x0a" + bytes(10)
ID3V1 = b"TAG" + b"x" * 125


@functools.cache
def file(name: str, subtype: str, samples: int = 6000, seed: int = 0, rate: int = RATE, channels: int = 1) -> bytes:
    """An audio file of noise."""
    if (name, subtype) == ("OGG", "FLAC"):
        return ogg_of_flac(file("FLAC", "PCM_16", samples, seed, rate, channels))
    wave = 0.2 * np.random.default_rng(seed).standard_normal((samples, channels))
    held = io.BytesIO()
    soundfile.write(held, wave, rate, format=name, subtype=subtype)
    return held.getvalue()


def ogg_page(serial: int, number: int, flags: int, position: int, packets: list[bytes]) -> bytes:
    """A page of whole packets."""
    lacing = b"".join(b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255]) for packet in packets)
    head = b"OggS\0" + struct.pack("<BqIII", flags, position, serial, number, 0) + bytes([len(lacing)]) + lacing
    page = head + b"".join(packets)
    checksum = 0
    for byte in page:  # by the definition, bit by bit
        checksum ^= byte << 24
        for _ in range(8):
            checksum = (checksum << 1) ^ (0x04C11DB7 if checksum & 0x80000000 else 0)
        checksum &= 0xFFFFFFFF
    return page[:22] + struct.pack("<I", checksum) + page[26:]


def ogg_of_flac(data: bytes) -> bytes:
    """Native FLAC in pages of Ogg, which libsndfile reads and does not write."""
    assert data[:4] == b"fLaC"
    info, at = data[4:42], 4
    while True:
        last, at = data[at] & 0x80, at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
        if last:
            break
    sync, starts = data[at : at + 2], [at]
    while (at := data.find(sync, at + 2)) >= 0:
        if data[at + 4] == len(starts):  # the frame's number
            starts.append(at)
    frames = [data[start:stop] for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)]
    block = int.from_bytes(info[4:6], "big")
    total = int.from_bytes(info[14:22], "big") % 2**36
    header = b"\x7fFLAC\1\0\0\1fLaC" + info
    comment = b"\x84\0\0\x08" + bytes(8)
    pages = [ogg_page(7, 0, 2, 0, [header]), ogg_page(7, 1, 0, 0, [comment])]
    for number, frame in enumerate(frames):
        final = number == len(frames) - 1
        pages.append(ogg_page(7, number + 2, 4 if final else 0, total if final else block * (number + 1), [frame]))
    return b"".join(pages)


def decoded(data: bytes, **options) -> np.ndarray:
    return read_audio(data, options.pop("rate", RATE), name="f", **options).samples


def test_ogg_of_flac_is_what_libsndfile_reads() -> None:
    np.testing.assert_array_equal(decoded(file("OGG", "FLAC")), decoded(file("FLAC", "PCM_16")))


@pytest.mark.parametrize(("name", "subtype"), FORMATS, ids=NAMES)
def test_files_one_after_the_other_are_decoded_whole(name: str, subtype: str, tmp_path: Path) -> None:
    """Chained Ogg, as streaming servers write, and what ``cat`` makes of other formats; libsndfile decodes the first."""
    one, two = file(name, subtype), file(name, subtype, 3000, seed=1)
    expected = np.concatenate([decoded(one), decoded(two), decoded(one)])
    np.testing.assert_array_equal(decoded(one + two + one), expected)
    (tmp_path / "chained").write_bytes(ID3 + one + two + one)
    np.testing.assert_array_equal(read_audio(tmp_path / "chained", RATE).samples, expected)
    half = read_audio(one + two + one, RATE // 2)
    assert half.samples.shape[-1] == pytest.approx(len(expected) / 2, abs=2)
    offset, duration = (len(decoded(one)) + 1000) / RATE, 4000 / RATE  # a stretch across the second join
    part = np.concatenate([*Decoder(one + two + one, RATE, offset=offset, duration=duration).blocks()])
    tolerance = 2e-3 if name == "MP3" else 1e-6
    np.testing.assert_allclose(part, expected[round(offset * RATE) :][:4000], atol=tolerance)


@pytest.mark.parametrize(("name", "subtype"), FORMATS, ids=NAMES)
def test_a_part_that_was_cut_off_is_damage(name: str, subtype: str) -> None:
    one, two = file(name, subtype), file(name, subtype, 3000, seed=1)
    for data in (one[:-2], one[: len(one) * 2 // 3], one + two[:-2], one + two[: len(two) * 2 // 3], one[: len(one) * 2 // 3] + two):
        with pytest.raises(AudioError, match="^f is damaged: it ") as caught:
            decoded(data)
        assert caught.value.kind == "damaged"
    salvaged = decoded(one + two[: len(two) * 2 // 3], salvage=True)
    np.testing.assert_array_equal(salvaged[:5000], decoded(one)[:5000])


@pytest.mark.parametrize(("name", "subtype"), FORMATS, ids=NAMES)
def test_tags_and_padding_change_nothing(name: str, subtype: str) -> None:
    data = file(name, subtype)
    for around in (ID3 + data, data + ID3V1, data + bytes(100)):
        np.testing.assert_array_equal(decoded(around), decoded(data))


@pytest.mark.parametrize(("name", "subtype"), FORMATS, ids=NAMES)
def test_sound_of_another_format_after_it_is_not_lost(name: str, subtype: str) -> None:
    one, two = file(name, subtype), file("WAV", "PCM_16")
    if name in ("FLAC", "OGG", "MP3"):  # whose ends only decoding finds
        with pytest.raises(AudioError) as caught:
            decoded(one + two)
        assert caught.value.kind == "damaged"
    else:
        np.testing.assert_array_equal(decoded(one + two), np.concatenate([decoded(one), decoded(two)]))


@pytest.mark.parametrize(("name", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("FLAC", "PCM_16"), ("WAV", "PCM_16")])
def test_parts_of_other_rates_and_channels_are_named(name: str, subtype: str) -> None:
    one = file(name, subtype)
    for other, sentence in ((file(name, subtype, rate=22050), "22050 Hz and 1 channel"), (file(name, subtype, channels=2), "16000 Hz and 2 channels")):
        with pytest.raises(AudioError, match=f"has 2 parts: the 2. has {sentence}, and the one before it 16000 Hz and 1 channel"):
            decoded(one + other)
        np.testing.assert_array_equal(decoded(one + other, salvage=True), decoded(one))


def put(data: bytes, at: int, layout: str, value: float) -> bytes:
    return data[:at] + struct.pack(layout, value) + data[at + struct.calcsize(layout) :]


def sized(name: str, size: int, data: bytes) -> bytes:
    """The file with another size of its samples in the header."""
    mark, after, layout = {
        "WAV": (b"data", 4, "<I"), "RF64": (b"ds64", 16, "<Q"), "W64": (b"data", 16, "<Q"), "AIFF": (b"SSND", 4, ">I"), "AU": (b".snd", 8, ">I"), "CAF": (b"data", 4, ">Q"),
    }[name]  # fmt: skip
    return put(data, data.index(mark) + after, layout, size % 256 ** struct.calcsize(layout))


@pytest.mark.parametrize("name", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
@pytest.mark.parametrize("size", [0, -1])
def test_a_size_that_a_streaming_writer_left_means_all_that_is_there(name: str, size: int) -> None:
    data = file(name, "PCM_16")
    open_ended = sized(name, size, data)
    np.testing.assert_array_equal(decoded(open_ended), decoded(data))
    np.testing.assert_array_equal(decoded(open_ended + open_ended), np.concatenate([decoded(data)] * 2))
    with pytest.raises(AudioError, match="ends in the middle of a sample"):
        decoded(open_ended[:-1])


@pytest.mark.parametrize("name", ["WAV", "RF64", "W64", "AIFF", "AU", "CAF"])
def test_a_wrong_size_is_damage(name: str) -> None:
    data = file(name, "PCM_16")
    for size in (1001, 3000, 12345, 2**30):
        with pytest.raises(AudioError, match="is damaged: it (has|ends)"):
            decoded(sized(name, size, data))


def test_a_wav_file_without_samples_has_none() -> None:
    header = sized("WAV", 0, file("WAV", "PCM_16"))[:44]
    for data in (header, header + b"LIST\4\0\0\0abcd"):
        with pytest.raises(AudioError, match="a header and no samples"):
            decoded(data)


@pytest.mark.parametrize("width", [0, 1, 6, 65535])
def test_a_wav_header_that_contradicts_itself_is_damage(width: int) -> None:
    with pytest.raises(AudioError, match=f"gives {width} bytes to a sample of 16 bits in each of 1 channels"):
        decoded(put(file("WAV", "PCM_16"), 32, "<H", width))


def flac_of(total: int) -> bytes:
    data = file("FLAC", "PCM_16")
    return put(data, 18, ">Q", int.from_bytes(data[18:26], "big") >> 36 << 36 | total)


@pytest.mark.parametrize("total", [0, 1, 5999, 6000])
def test_flac_is_decoded_whatever_it_declares(total: int) -> None:
    np.testing.assert_array_equal(decoded(flac_of(total)), decoded(file("FLAC", "PCM_16")))


@pytest.mark.parametrize(("total", "kind"), [(6001, "damaged"), (10**6, "damaged"), (2**36 - 1, "too long")])
def test_flac_that_declares_more_than_there_is_has_an_error(total: int, kind: str) -> None:
    with pytest.raises(AudioError) as caught:
        decoded(flac_of(total))
    assert caught.value.kind == kind


def untagged(data: bytes) -> bytes:
    """An MP3 file without the frame that counts the others."""
    return data[data.index(data[:2], 4) :]


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 32000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_without_a_count_is_decoded_whole(rate: int, channels: int) -> None:
    """libsndfile guesses the length from the first frame, and decodes no more: a third of this, at variable rates."""
    held, quiet = io.BytesIO(), np.zeros((8000, channels))
    noise = 0.2 * np.random.default_rng(0).standard_normal((8000, channels))
    with soundfile.SoundFile(held, "w", rate, channels, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode="VARIABLE") as out:
        out.write(np.concatenate([noise, quiet, noise]))
    tagged = decoded(held.getvalue(), rate=rate)
    assert len(tagged) == 24000
    found = decoded(untagged(held.getvalue()), rate=rate)
    delay = 1105  # samples, LAME's and the decoder's, which the tag says
    np.testing.assert_allclose(found[delay : delay + 24000], tagged, atol=1e-6)
    twice = decoded(untagged(held.getvalue()) * 2, rate=rate)
    assert len(twice) == 2 * len(found)
    np.testing.assert_array_equal(decoded(held.getvalue() + untagged(held.getvalue()), rate=rate).shape, (len(twice),))


def test_mp3_with_a_wrong_count() -> None:
    data = file("MP3", "MPEG_LAYER_III")
    at = data.index(b"Xing") + 8 if b"Xing" in data else data.index(b"Info") + 8
    frames = int.from_bytes(data[at : at + 4], "big")
    assert len(decoded(put(data, at, ">I", frames // 2))) >= 6000
    with pytest.raises(AudioError, match=r"has \d+ of \d+ samples"):
        decoded(put(data, at, ">I", frames + 2))


def test_mp3_is_read_beside_a_file_that_macos_wrote(tmp_path: Path) -> None:
    """libsndfile takes ``._a.mp3`` for a resource fork of ``a.mp3``, in which it looks for the format."""
    (tmp_path / "a.mp3").write_bytes(file("MP3", "MPEG_LAYER_III"))
    (tmp_path / "._a.mp3").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X        " + bytes(4000))
    np.testing.assert_array_equal(read_audio(tmp_path / "a.mp3", RATE).samples, decoded(file("MP3", "MPEG_LAYER_III")))


def pages(data: bytes) -> list[bytes]:
    starts = [at for at in range(len(data)) if data.startswith(b"OggS\0", at)]
    return [data[start:stop] for start, stop in zip(starts, [*starts[1:], len(data)], strict=True)]


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS", "FLAC"])
def test_ogg_without_some_of_its_pages(subtype: str) -> None:
    data = file("OGG", subtype, 30000)
    whole = pages(data)
    assert b"".join(whole) == data
    flipped = bytearray(data)
    flipped[-20] ^= 1
    for found, sentence in (
        (b"".join(whole[:2] + whole[3:]), "lacks the pages from 2 to 3"),
        (b"".join(whole[:-1]), "ends before the last page of its stream"),
        (b"".join(whole[1:]), "lacks the first page"),
        (data[:-10], "ends before the last page of its stream"),
        (bytes(flipped), "has a page with a wrong checksum"),
        (b"".join([*whole[:2], b"junk", *whole[2:]]), "has 4 bytes between its pages"),
    ):
        if len(whole) > 3 or "lacks the pages" not in sentence:
            with pytest.raises(AudioError, match=sentence):
                decoded(found)


def test_streams_side_by_side() -> None:
    """Sound beside a stream that is none is decoded; of two that are sound one would be lost."""
    sound, other = pages(file("OGG", "VORBIS")), pages(file("OGG", "OPUS"))
    text = [ogg_page(99, 0, 2, 0, [b"fishead\0" + bytes(56)]), ogg_page(99, 1, 4, 0, [b"x" * 50])]
    np.testing.assert_array_equal(decoded(b"".join([text[0], sound[0], text[1], *sound[1:]])), decoded(file("OGG", "VORBIS")))
    with pytest.raises(AudioError, match="has 2 streams of sound side by side"):
        decoded(b"".join([sound[0], other[0], *sound[1:], *other[1:]]))


@pytest.mark.parametrize("rate", [1, 7, 999, 768_001, 2**31 - 1])
def test_rates_that_no_sound_has_are_refused(rate: int) -> None:
    data = put(file("WAV", "PCM_16"), 24, "<I", rate)
    with pytest.raises(AudioError, match=f"says that it has {rate:,} Hz; 1,000 to 768,000 Hz are read") as caught:
        decoded(data)
    assert caught.value.kind == "sample rate"


@pytest.mark.parametrize("exponent", ["7fffc000000000000000", "7fff8000000000000000", "00000000000000000000", "7ffeffffffffffffffff", "c00cfa00000000000000"])
def test_rates_of_aiff_that_are_no_numbers(exponent: str) -> None:
    data = file("AIFF", "PCM_16")
    at = data.index(b"COMM") + 16
    with pytest.raises(AudioError):
        decoded(data[:at] + bytes.fromhex(exponent) + data[at + 10 :])


def test_what_a_file_may_cost() -> None:
    data = file("WAV", "PCM_16", 4 * RATE)
    for source in (data, file("FLAC", "PCM_16", 4 * RATE), sized("WAV", -1, data), flac_of(0)):
        with pytest.raises(AudioError, match=r"seconds long, and at most 0.25 are read; raise max_seconds \(--max-seconds\)") as caught:
            decoded(source, limits=Limits(seconds=0.25))
        assert caught.value.kind == "too long"
    with pytest.raises(AudioError, match=r"is 4.0 seconds long, 0.3 MB of samples, and at most 0.1 MB are used; raise max_bytes \(--max-mb\)"):
        decoded(data, limits=Limits(bytes=100_000))
    assert len(decoded(data, limits=Limits(bytes=4 * 4 * RATE))) == 4 * RATE
    part = Decoder(data, RATE, duration=0.2, limits=Limits(seconds=0.25))
    assert sum(len(block) for block in part.blocks()) == RATE // 5


def silent_flac(frames: int) -> bytes:
    """FLAC that says little and holds much: 65,535 samples of silence in each frame of some 14 bytes; without a total."""
    info = struct.pack(">HH", 65535, 65535) + bytes(6) + (RATE << 44 | 15 << 36).to_bytes(8, "big") + bytes(16)
    held = bytearray(b"fLaC\x80\0\0\x22" + info)
    for number in range(frames):
        coded = bytes([number]) if number < 128 else bytes([0xC0 | number >> 6, 0x80 | number & 63])
        head = b"\xff\xf8\x70\x08" + coded + struct.pack(">H", 65534)
        head += bytes([crc(head, 0x07, 8)])
        body = head + b"\0\0\0"  # a constant, 0
        held += body + struct.pack(">H", crc(body, 0x8005, 16))
    return bytes(held)


def crc(data: bytes, polynomial: int, bits: int) -> int:
    value = 0
    for byte in data:
        value ^= byte << bits - 8
        for _ in range(8):
            value = (value << 1 ^ (polynomial if value >> bits - 1 else 0)) & (1 << bits) - 1
    return value


def test_limits_hold_while_it_is_decoded() -> None:
    """Where no header says how long it is."""
    data = silent_flac(400)
    assert len(data) < 8000
    assert len(decoded(data)) == 400 * 65535
    given = 0
    with pytest.raises(AudioError, match="is at least") as caught:  # noqa: PT012
        for block in Decoder(data, RATE, limits=Limits(bytes=2**22)).blocks():
            given += block.nbytes
    assert caught.value.kind == "too long"
    assert given <= 2**22


def test_many_channels_cost_no_more_memory_than_few() -> None:
    data = file("WAV", "PCM_16", 2000, channels=1024)
    blocks = [*Decoder(data, 2 * RATE).blocks()]
    assert len(blocks) > 3
    assert sum(map(len, blocks)) == 4000


# The fuzz: for each number a file, made and damaged in a way that it decides, and what is wrong with what is read of it.


def concatenated(rng: np.random.Generator, one: bytes, two: bytes) -> tuple[bytes, Callable[[], np.ndarray]]:
    between = (b"", ID3)[int(rng.integers(2))]
    return one + between + two, lambda: np.concatenate([decoded(one), decoded(two)])


def cut(rng: np.random.Generator, one: bytes, two: bytes) -> tuple[bytes, Callable[[], np.ndarray]]:
    data = one + two
    return data[: int(rng.integers(1, len(data)))], lambda: np.concatenate([decoded(one), decoded(two)])


def spliced(rng: np.random.Generator, one: bytes, two: bytes) -> tuple[bytes, None]:
    start, stop = sorted(int(at) for at in rng.integers(0, len(one), 2))
    return one[:start] + one[stop:] + two * int(rng.integers(2)), None


def flipped(rng: np.random.Generator, one: bytes, two: bytes) -> tuple[bytes, None]:
    data = bytearray(one + two * int(rng.integers(2)))
    for at in rng.integers(0, min(len(data), int(rng.choice([200, len(data)]))), int(rng.integers(1, 9))):
        data[at] ^= 1 << int(rng.integers(8))
    return bytes(data), None


def extreme(rng: np.random.Generator, one: bytes, two: bytes) -> tuple[bytes, None]:
    width = int(rng.choice([2, 4, 8]))
    value = int(rng.choice([0, 1, 2, 255, 256**width - 1, 256**width // 2, 256**width // 2 - 1], p=None) if width < 8 else rng.choice([0, 1, 2**63 - 1]))
    at = int(rng.integers(0, 120))
    return one[:at] + value.to_bytes(width, ("little", "big")[int(rng.integers(2))]) + one[at + width :] + two * int(rng.integers(2)), None


WAYS = (concatenated, cut, spliced, flipped, extreme)


def peak_memory(reset: bool = False) -> int:
    """The most bytes that this process held since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def fuzzed(numbers: range) -> Iterator[str]:
    for number in numbers:
        rng = np.random.default_rng(number)
        name, subtype = FORMATS[number % len(FORMATS)]
        way = WAYS[number // len(FORMATS) % len(WAYS)]
        data, expected = way(rng, file(name, subtype), file(name, subtype, 3000, seed=1))
        try:
            found = decoded(data, limits=Limits(seconds=3600, bytes=2**26))
        except AudioError as error:
            text = str(error)
            if way is concatenated or "\n" in text or not text.startswith("f "):
                yield f"{number} {name} {subtype} {way.__name__}: {error!r}"
            continue
        except Exception as error:  # noqa: BLE001  (which is what must not be)
            yield f"{number} {name} {subtype} {way.__name__}: {error!r}"
            continue
        if not (np.isfinite(found).all() and found.dtype == np.float32 and len(found)):
            yield f"{number} {name} {subtype} {way.__name__}: no samples, or not of float32"
        elif way is concatenated and not np.array_equal(found, expected()):
            yield f"{number} {name} {subtype} {way.__name__}: {len(found)} samples"
        elif way is cut and not any(np.array_equal(found, whole) for whole in (expected(), decoded(file(name, subtype)))):
            yield f"{number} {name} {subtype} {way.__name__}: {len(found)} samples without a word"


@pytest.mark.filterwarnings("default")
def test_fuzz() -> None:
    limited = Path("/proc/self/clear_refs").exists()
    before = peak_memory(reset=True) if limited else 0
    assert [*fuzzed(range(500))] == []
    if limited:
        assert peak_memory() - before < 2**28
