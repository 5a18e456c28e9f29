"""On the fly against stored: how fast a classifier trains with features computed in the step, in the loader, and read from disk.

The question of section "training overhead" of nnAudio's paper (arXiv 1912.12055), whose own run took windows of 327,680 samples in
batches of 16. Each clip has one of ten pitches, which a small convolutional network names.

    python docs/experiments/on_the_fly.py [--full] [-o FOLDER]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import experiment
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import specgraph as sg

RATE = 44100
PITCHES = 10


@dataclass(frozen=True)
class Size:
    """How much of the experiment is done."""

    clips: int
    samples: int
    epochs: int  # that are timed, after one that is not
    workers: int  # processes of the loader


SIZES = {"tiny": Size(16, 8192, 1, 0), "small": Size(160, 65_536, 2, 1), "full": Size(960, 327_680, 5, 2)}
BATCH = 16
FRONT_ENDS: dict[str, tuple[sg.transforms.Transform, tuple[str, ...]]] = {
    "log-mel": (sg.LogMelSpectrogram(sample_rate=RATE, n_mels=80, top_db=None), ("mel",)),
    "STFT": (sg.Spectrogram(sample_rate=RATE, n_fft=2048, hop_length=512), ("fourier",)),
    "CQT": (sg.CQT(sample_rate=RATE, fmin=55.0), ("cqt",)),
}


class Clips(Dataset[tuple[Any, int]]):
    """Clips and the pitch of each: as 16-bit waveforms on the disk, as they are or with features by ``front_end``."""

    def __init__(self, folder: Path, size: Size, seed: int, front_end: Path | None = None) -> None:
        self.path, self.front_end, self.run = folder / "clips.npy", front_end, None
        self.pitches = np.random.default_rng(seed).integers(0, PITCHES, size.clips)
        if not self.path.exists():
            rng, t = np.random.default_rng(seed + 1), np.arange(size.samples) / RATE
            held = np.lib.format.open_memmap(self.path, "w+", np.int16, (size.clips, size.samples))
            for number, pitch in enumerate(self.pitches):
                tone = sum(np.sin(2 * np.pi * 220 * 2 ** (pitch / PITCHES) * k * t + rng.uniform(0, 6)) / k for k in range(1, 6))
                held[number] = 3000 * (tone + rng.standard_normal(size.samples))
            held.flush()

    def __len__(self) -> int:
        return len(self.pitches)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        wave = np.load(self.path, mmap_mode="r")[number].astype(np.float32) / 32768
        if self.front_end is None:
            return wave, int(self.pitches[number])
        self.run = self.run or sg.load(self.front_end, threads=1)  # in the loader's own process
        return self.run(wave), int(self.pitches[number])


class Stored(Dataset[tuple[Any, int]]):
    """Features from an array on the disk, as float32."""

    def __init__(self, path: Path, pitches: np.ndarray) -> None:
        self.path, self.pitches = path, pitches

    def __len__(self) -> int:
        return len(self.pitches)

    def __getitem__(self, number: int) -> tuple[Any, int]:
        return np.array(np.load(self.path, mmap_mode="r")[number]), int(self.pitches[number])


class OverFrames(nn.Module):
    """(batch, channels, bins, frames) -> (batch, channels * bins): the mean over frames."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.mean(-1).flatten(1)


def classifier(bins: int) -> nn.Module:
    """(batch, bins, frames) -> (batch, PITCHES) probabilities."""
    strided = ((bins - 5) // 4 + 1 - 5) // 4 + 1
    return nn.Sequential(
        nn.Unflatten(1, (1, bins)), nn.BatchNorm2d(1), nn.Conv2d(1, 8, (5, 3), (4, 2)), nn.ReLU(), nn.Conv2d(8, 16, (5, 3), (4, 2)), nn.ReLU(),
        OverFrames(), nn.Linear(16 * strided, PITCHES), nn.Softmax(1),
    )  # fmt: skip


def batches(clips: Dataset[tuple[Any, int]], workers: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """An epoch."""
    order = torch.Generator().manual_seed(seed)
    context = "forkserver" if workers else None  # a fork of a process with threads may lock up
    yield from DataLoader(clips, BATCH, shuffle=True, num_workers=workers, generator=order, multiprocessing_context=context)


def trained(clips: Dataset[tuple[Any, int]], whole: nn.Sequential, size: Size, seed: int) -> dict[str, float]:
    """Train; clips a second, without the first epoch and the start of the loader's processes, and the last epoch's loss."""
    *before, model = whole
    rates = [group for front_end in before for group in experiment.relative_rates(front_end, 1e-3)]
    optimiser = torch.optim.Adam([*rates, {"params": list(model.parameters()), "lr": 1e-3}])
    seconds = seen = 0.0
    for epoch in range(1 + size.epochs):
        total, count, start = 0.0, 0, 0.0
        for inputs, pitches in batches(clips, size.workers, seed + epoch):
            start = start or time.perf_counter()
            loss = nn.functional.nll_loss(torch.log(whole(inputs) + 1e-9), pitches)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total, count = total + float(loss.detach()) * len(pitches), count + len(pitches)
        if epoch:
            seconds, seen = seconds + time.perf_counter() - start, seen + count
    return {"clips a second": seen / seconds, "loss": total / count}


def measured(name: str, folder: Path, size: Size, seed: int) -> tuple[dict[str, Any], nn.Module, nn.Module]:
    """All ways of one front end, and what was trained."""
    transform, parts = FRONT_ENDS[name]
    path, stored = folder / "front-end.onnx", folder / "features.npy"
    sg.to_onnx(transform, path)
    clips = Clips(folder, size, seed)
    start, run = time.perf_counter(), sg.load(path)
    shape = run(clips[0][0]).shape
    held = np.lib.format.open_memmap(stored, "w+", np.float32, (size.clips, *shape))
    for number in range(size.clips):
        held[number] = run(clips[number][0])
    held.flush()
    preparing = time.perf_counter() - start
    found: dict[str, Any] = {"front end": name, "preparing": preparing, "megabytes": stored.stat().st_size / 1e6}
    front_end, model = transform.module(), classifier(shape[0])
    ways: dict[str, tuple[Dataset[tuple[Any, int]], nn.Sequential]] = {
        "read from disk": (Stored(stored, clips.pitches), nn.Sequential(classifier(shape[0]))),
        "in the loader": (Clips(folder, size, seed, path), nn.Sequential(classifier(shape[0]))),
        "in the step": (clips, nn.Sequential(front_end, model)),
        "in the step, trainable": (clips, nn.Sequential(transform.module(trainable=parts), classifier(shape[0]))),
    }
    for way, (source, whole) in ways.items():
        found[way] = trained(source, whole, size, seed)
    stored.unlink()
    path.unlink()
    return found, front_end, model


WAYS = ("read from disk", "in the loader", "in the step", "in the step, trainable")
HEADER = ("clips a second", *WAYS, "preparing the disk's, s", "MB")


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """The table's rows."""
    return [
        [one["front end"], *(f"{one[way]['clips a second']:.0f}" for way in WAYS), f"{one['preparing']:.1f}", f"{one['megabytes']:.0f}"]
        for one in found
    ]


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Bars."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    for place, way in enumerate(WAYS):
        axes.bar(np.arange(len(found)) + 0.2 * (place - 1.5), [one[way]["clips a second"] for one in found], 0.2, label=way)
    axes.set_xticks(range(len(found)), [one["front end"] for one in found])
    axes.set_ylabel("clips a second, training")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the experiment; results, picture and the model go to the folder."""
    options = experiment.parser("Training throughput: features on the fly, in the loader, or from disk.").parse_args(arguments)
    folder, size = experiment.begin(options, "on_the_fly"), SIZES[experiment.size(options)]
    found: list[dict[str, Any]] = []
    best, shipped = float("inf"), {}
    try:
        for name in FRONT_ENDS:
            one, front_end, model = measured(name, folder, size, options.seed)
            found.append(one)
            print(*rows([one])[0], sep="  ", file=sys.stderr, flush=True)
            if one["in the step"]["loss"] < best:
                best = one["in the step"]["loss"]
                waves = torch.from_numpy(np.stack([Clips(folder, size, options.seed)[number][0] for number in range(8)]))
                shipped = {"name": name, "difference": experiment.ship(front_end, model, folder / "pitch.onnx", waves)}
    finally:
        (folder / "clips.npy").unlink(missing_ok=True)
    text = (
        f"{size.clips} clips of {size.samples:,} samples, batches of {BATCH}, {size.workers} process(es) of the loader.\n\n"
        f"{experiment.table(HEADER, rows(found))}\n\n"
        f"The best, {shipped['name']}, was exported: in onnxruntime its probabilities for 8 clips differ from torch's by at most "
        f"{shipped['difference']:.1e}."
    )
    draw(found, folder / "throughput.png")
    results = {"experiment": "on the fly", "seed": options.seed, "size": asdict(size), "found": found, "shipped": shipped}
    experiment.record(folder, results, text)
    return results


if __name__ == "__main__":
    main()
