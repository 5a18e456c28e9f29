"""Large inputs in parts, and many of them on all cores: the same features, in order, in bounded memory."""

from __future__ import annotations

import itertools
import math
import threading
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

import specgraph as sg
from specgraph.bench.memory import Growth
from specgraph.metadata import Metadata, OutputMetadata, Slicing
from specgraph.runtimes import slices, split
from specgraph.runtimes.workers import in_worker
from tests.conftest import peak_error

RATE = 8000
MEL = {"sample_rate": RATE, "n_fft": 256, "hop_length": 100, "n_mels": 20}


def clips(count: int, samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, samples)).astype(np.float32)


@pytest.fixture(scope="module")
def mel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "mel.onnx"
    sg.to_onnx(sg.MelSpectrogram(**MEL), path)
    return path


@given(
    hop=st.sampled_from([1, 100, 512, 441]),
    before=st.integers(0, 3000),
    after=st.integers(0, 3000),
    batch=st.integers(1, 5),
    samples=st.integers(1, 200_000),
    most=st.floats(1.0, 1e7),
    apart=st.booleans(),
)
def test_every_frame_is_in_one_part_that_holds_all_it_reads(
    hop: int, before: int, after: int, batch: int, samples: int, most: float, apart: bool
) -> None:
    output = OutputMetadata(("batch", "bins", "frames"), hop=float(hop), frames=((1, hop, hop),))
    meta = Metadata("X", "0", RATE, slicing=Slicing(hop, before, after, 16.0), outputs={"y": output})
    seen = np.zeros((batch, output.count(samples)), int)
    for part in slices.parts(meta, batch, samples, most, apart):
        if part.stop is None:
            seen[part.clips] += 1
            continue
        kept, begin = part.frames(output)
        length = output.count(part.stop - part.start)
        count = len(range(length)[kept])
        seen[part.clips, begin : begin + count] += 1
        inside = range(begin, begin + count)
        assert part.start == 0 or inside[0] * hop - before >= part.start
        assert part.stop == samples or inside[-1] * hop + after < part.stop
    assert (seen == 1).all()


def test_a_batch_is_run_in_the_parts_that_were_asked_for(mel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wave = clips(6, 20_000)
    run = sg.load(mel, threads=1, most_bytes=2.1 * sg.load(mel).meta.slicing.bytes * 20_000)
    wanted = sg.load(mel, most_bytes=math.inf)(wave)
    shapes = []
    at_once = run._at_once
    monkeypatch.setattr(run, "_at_once", lambda made, names, arrays: (shapes.append(arrays[0].shape), at_once(made, names, arrays))[1])
    np.testing.assert_allclose(run(wave), wanted, rtol=1e-5, atol=1e-5)
    assert shapes == [(2, 20_000)] * 3
    shapes.clear()
    assert peak_error(run(wave[0]), wanted[0]) < 1e-6
    assert shapes == [(1, 20_000)]


def test_an_hour_needs_no_more_memory_than_its_features(mel: Path) -> None:
    hour = np.tile(clips(1, 60 * RATE)[0], 60)
    run = sg.load(mel, threads=1)
    run(hour[: 120 * RATE])
    with Growth() as growth:
        features = run(hour)
    assert features.shape == (20, 3600 * RATE // 100 + 1)
    if growth.bytes is not None:
        assert growth.bytes < features.nbytes + 20e6  # at once it takes half a gigabyte
    np.testing.assert_allclose(features[:, 4800:9600], features[:, 48_000:52_800], rtol=1e-4)  # every minute is the same, and no seams


@pytest.mark.parametrize("threads", [1, 3])
def test_what_looks_at_the_whole_clip_is_run_on_what_the_parts_give(threads: int, tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=RATE)
    power = b.magnitude(b.stft(b.input("waveforms"), n_fft=256, hop_length=100), power=2.0)
    loudest = b.reduce(power, "max", axis=-1)
    sg.to_onnx(b.build(power=power, level=b.log(power), relative=b.subtract(power, loudest), loudest=loudest), tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx", threads=threads, most_bytes=1.0)
    assert list(run.meta.slicing.cut) == ["power"]
    wave = clips(2, 40_000)
    got, wanted = run(wave), sg.load(tmp_path / "m.onnx", most_bytes=math.inf)(wave)
    for name, value in wanted.items():
        assert peak_error(got[name], value) < 1e-6


def test_what_begins_with_the_whole_clip_is_not_cut(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=RATE)
    wave = b.input("waveforms")
    sg.to_onnx(b.build(features=b.magnitude(b.stft(b.subtract(wave, b.reduce(wave, "mean", axis=-1)), n_fft=256, hop_length=100))), tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx", threads=1, most_bytes=1.0)
    assert run.meta.slicing.before is None
    loud = np.concatenate([clips(1, 30_000)[0], 9 * clips(1, 30_000)[0]])
    assert peak_error(run(loud), sg.load(tmp_path / "m.onnx", most_bytes=math.inf)(loud)) < 1e-6


def test_clips_that_are_not_independent_are_run_together(tmp_path: Path) -> None:
    b = sg.Builder(sample_rate=RATE)
    power = b.magnitude(b.stft(b.input("waveforms"), n_fft=256, hop_length=100), power=2.0)
    sg.to_onnx(b.build(features=b.subtract(power, b.reduce(power, "max", axis=0))), tmp_path / "m.onnx")
    run = sg.load(tmp_path / "m.onnx", threads=1, most_bytes=1.0)
    assert run.meta.slicing.bytes == 0
    assert run(clips(3, 5000)).max() == 0.0


def test_a_model_is_split_at_a_value(tmp_path: Path) -> None:
    sg.to_onnx(sg.LogMelSpectrogram(**MEL), tmp_path / "m.onnx")
    data, cut = (tmp_path / "m.onnx").read_bytes(), list(sg.load(tmp_path / "m.onnx").meta.slicing.cut)
    head, tail = split.before(data, cut), split.after(data, cut, ["features"])
    assert len(head) + len(tail) < len(data)
    sessions = [onnxruntime.InferenceSession(part, providers=["CPUExecutionProvider"]) for part in (data, head, tail)]
    wave = clips(2, 3000)
    whole, inner = (made.run(None, {"waveforms": wave})[0] for made in sessions[:2])
    np.testing.assert_array_equal(sessions[2].run(None, {cut[0]: inner})[0], whole)


@pytest.mark.parametrize("wrong", [0, -1, float("nan")])
def test_most_bytes_is_above_zero(mel: Path, wrong: float) -> None:
    with pytest.raises(ValueError, match=f"most_bytes must be above 0 or None, not {wrong}"):
        sg.load(mel, most_bytes=wrong)


# Many items.


def test_map_gives_the_features_of_each_in_order(mel: Path, tmp_path: Path) -> None:
    run = sg.load(mel)
    items = [clips(1, 3000 + 700 * (7 * number % 5), number)[0] for number in range(20)]
    soundfile.write(tmp_path / "a.wav", np.stack([items[3], items[3]], 1), 2 * RATE, subtype="FLOAT")
    for workers in (1, 3, None):
        found = list(run.map([*items, tmp_path / "a.wav"], workers=workers))
        for item, features in zip(items, found, strict=False):
            np.testing.assert_allclose(features, run(item), rtol=1e-5, atol=1e-5)
        assert found[-1].shape[1] == len(items[3]) // 2 // 100 + 1


def test_map_runs_each_item_on_one_thread(mel: Path) -> None:
    run = sg.load(mel, threads=2, most_bytes=1000.0)  # in many parts
    names = set()

    def function(wave: np.ndarray) -> np.ndarray:
        assert in_worker()
        names.add(threading.current_thread().name)
        return run(wave)

    before = threading.active_count()
    for features in run.map(clips(9, 30_000), workers=3, function=function):
        assert features.shape == (20, 301)
        assert threading.active_count() <= before + 3
    assert 1 <= len(names) <= 3
    assert not in_worker()


def test_map_reads_as_results_are_taken(mel: Path) -> None:
    read = itertools.count()
    results = sg.load(mel).map((clips(1, 1000 + 0 * next(read))[0] for _ in itertools.count()), workers=2)
    for _ in range(5):
        next(results)
    assert next(read) <= 5 + 2 * 2 + 1
    results.close()  # of an endless source


def test_map_raises_where_the_result_would_have_come(mel: Path, tmp_path: Path) -> None:
    wave = clips(1, 1000)[0]
    results = sg.load(mel).map([wave, wave, np.full(1000, np.nan), wave], workers=2)
    assert next(results).shape == next(results).shape == (20, 11)
    with pytest.raises(ValueError, match="waveforms has 1000 values that are not finite"):
        next(results)
    (tmp_path / "a.wav").write_text("not audio")
    with pytest.raises(ValueError, match=r"a\.wav cannot be read as audio"):
        list(sg.load(mel).map([tmp_path / "a.wav"]))
    soundfile.write(tmp_path / "b.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"b\.wav has a header and no samples"):
        list(sg.load(mel).map([str(tmp_path / "b.wav")]))
    for wrong in (0, True, 1.5):
        with pytest.raises(ValueError, match=f"workers must be a whole number above 0 or None, not {wrong}"):
            sg.load(mel).map([wave], workers=wrong)


def test_one_runner_serves_many_threads(mel: Path) -> None:
    run = sg.load(mel, threads=2, most_bytes=1e5)
    waves = [clips(3, 20_000, seed) for seed in range(4)]
    wanted = [run(wave) for wave in waves]
    wrong: list[int] = []

    def work(number: int) -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            if not np.array_equal(run(waves[number]), wanted[number]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
