"""Input representations: a linear transcriber of polyphonic music on 34 spectrograms, its accuracy against what they cost.

The spectrograms of the nnAudio paper's MusicNet experiment (arXiv 1912.12055), and the transcription of Cheuk, Agres and Herremans,
"The impact of audio input representations on neural network based music transcription" (arXiv 2001.09989): windows of 16,384
samples, scaled to equal energy; the logarithm of a spectrogram with hop 512; one linear layer without bias that starts at zero, a
sigmoid for each of 128 notes at the window's centre; accuracy and total error of mir_eval.multipitch, averaged over test songs.

    python docs/experiments/representations.py [--full] [--musicnet FOLDER] [-o FOLDER]

Without MusicNet the music is made: three voices of random notes with decaying harmonics, or played by FluidSynth
with --soundfont FILE.
"""

from __future__ import annotations

import math
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import experiment
import music
import numpy as np
import torch
from music import NOTES, RATE, Song
from torch import nn

import specgraph as sg

WINDOW, HOP = 16384, 512
THRESHOLDS = np.linspace(0.05, 0.95, 19)


@dataclass(frozen=True)
class Size:
    """How much of the experiment is done."""

    names: tuple[str, ...]  # of the representations; none: all
    songs: tuple[int, int]  # made to train and to test on
    seconds: float  # of a made song
    draws: int  # windows of an epoch
    epochs: int
    tests: int  # windows of each test song
    rate: float | None  # Adam's; None: a share of what the layer's width allows


SOME = ("STFT 512", "STFT 2048", "log STFT 2048", "mel 2048/128", "mel 4096/512", "CQT 84", "CQT 168", "CQT 336")
SIZES = {
    "tiny": Size(("STFT 512", "CQT 84"), (1, 1), 2.0, 40, 1, 8, None),
    "small": Size(SOME, (40, 5), 12.0, 2000, 6, 120, None),
    "full": Size((), (320, 10), 120.0, 100_000, 35, 1000, 1e-6),
}


def representations() -> dict[str, sg.transforms.Transform]:
    """The 34 by name."""
    common: dict[str, Any] = {"sample_rate": RATE, "hop_length": HOP, "pad_mode": "constant"}
    scale: dict[str, Any] = {"fmin": 50.0, "fmax": 6000.0, **common}
    lengths = (256, 512, 1024, 2048, 4096)
    made: dict[str, sg.transforms.Transform] = {}
    for n_fft in lengths:
        made[f"STFT {n_fft}"] = sg.Spectrogram(n_fft=n_fft, freq_scale="linear", **scale)
    for n_fft in lengths:
        made[f"log STFT {n_fft}"] = sg.Spectrogram(n_fft=n_fft, freq_scale="log", **scale)
    for n_fft in lengths[1:]:
        for n_mels in (n for n in (128, 256, 512, 1024, 2048) if n < n_fft):
            made[f"mel {n_fft}/{n_mels}"] = sg.MelSpectrogram(n_fft=n_fft, n_mels=n_mels, allow_empty_filters=True, **common)
    for r in range(1, 11):
        made[f"CQT {84 * r}"] = sg.CQT(fmin=55.0, n_bins=84 * r, bins_per_octave=12 * r, **common)
    return made


class Transcriber(nn.Module):
    """(batch, bins, frames) -> (batch, NOTES) probabilities."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, NOTES, bias=False)
        nn.init.zeros_(self.layer.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layer(torch.log(features + 1e-5).flatten(1)))


class Windows:
    """``windows(numbers)``: waveforms (batch, WINDOW) and the notes at their centres (batch, NOTES)."""

    def __init__(self, places: Sequence[tuple[Song, int]]) -> None:
        self.places = places

    def __call__(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chosen = [self.places[number] for number in numbers.tolist()]
        waves = np.stack([song.window(centre, WINDOW) for song, centre in chosen])
        return torch.from_numpy(waves), torch.from_numpy(np.stack([song.sounding(centre) for song, centre in chosen]))


def drawn(songs: Sequence[Song], count: int, seed: int) -> Windows:
    """Windows anywhere in the songs, longer songs more often."""
    rng = np.random.default_rng(seed)
    lengths = np.array([len(song.wave) for song in songs], float)
    chosen = rng.choice(len(songs), count, p=lengths / lengths.sum())
    return Windows([(songs[number], int(rng.integers(len(songs[number].wave)))) for number in chosen])


def scores(wanted: np.ndarray, found: np.ndarray) -> tuple[float, float]:
    """Accuracy and total error of multi-pitch estimates, (frames, NOTES) of 0 and 1 each, both in percent.

    Of Poliner and Ellis, "A discriminative model for polyphonic piano transcription", 2007, as ``mir_eval.multipitch`` has them:
    with N notes wanted, M found and C in common in a frame, the sums over frames ``C / (N + M - C)`` and ``(max(N, M) - C) / N``.
    """
    both, n, m = (wanted * found).sum(1), wanted.sum(1), found.sum(1)
    return 100 * float(both.sum() / max((n + m - both).sum(), 1)), 100 * float((np.maximum(n, m) - both).sum() / max(n.sum(), 1))


def average_precision(wanted: np.ndarray, probabilities: np.ndarray) -> float:
    """Over all frames and notes together, in percent: the area below precision over recall."""
    order = np.argsort(-probabilities.ravel(), kind="stable")
    hits = wanted.ravel()[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return 100 * float((precision * hits).sum() / max(hits.sum(), 1))


@torch.no_grad()
def predicted(model: nn.Module, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """The notes wanted and the probabilities found, (windows, NOTES) each."""
    pairs = [(notes, model(waves)) for waves, notes in map(windows, torch.arange(len(windows.places)).split(100))]
    return torch.cat([notes for notes, _ in pairs]).numpy(), torch.cat([found for _, found in pairs]).numpy()


def measured(name: str, transform: sg.transforms.Transform, songs: tuple[list[Song], list[Song]], size: Size, seed: int) -> tuple[dict[str, Any], nn.Module, nn.Module]:
    """Train on a representation and test: what was found, the front end and the transcriber."""
    front_end = transform.module()
    held_out = drawn(songs[0], max(size.tests, 50), seed + 1000)
    bins = front_end(torch.zeros(1, WINDOW)).shape[1:]
    model = Transcriber(math.prod(bins))
    whole = nn.Sequential(front_end, model)
    rate = size.rate or 0.3 / math.prod(bins)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, size.epochs * -(-size.draws // 100)) if size.rate is None else None
    losses, start = [], time.perf_counter()
    for epoch in range(size.epochs):
        windows, total = drawn(songs[0], size.draws, seed + epoch), 0.0
        for numbers in torch.arange(size.draws).split(100):
            waves, notes = windows(numbers)
            loss = nn.functional.binary_cross_entropy(whole(waves), notes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            if schedule:
                schedule.step()
            total += float(loss.detach()) * len(numbers)
        losses.append(total / size.draws)
    seconds = time.perf_counter() - start

    wanted, found = predicted(whole, held_out)
    threshold = float(max(THRESHOLDS, key=lambda level: scores(wanted, (found > level).astype(float))[0]))
    songs_found = []
    for song in songs[1]:
        wanted, found = predicted(whole, Windows([(song, int(at)) for at in np.linspace(0, len(song.wave) - 1, size.tests)]))
        songs_found.append((*scores(wanted, (found > threshold).astype(float)), average_precision(wanted, found)))
    accuracy, error, precision = np.mean(songs_found, axis=0).tolist()
    result = {
        "name": name, "bins": bins[0], "accuracy": accuracy, "error": error, "precision": precision, "threshold": threshold,
        "losses": losses, "training": seconds, "rate": rate,
    }  # fmt: skip
    return result, front_end, model


def cost(path: Path, seconds: float = 10.0, runs: int = 15) -> float:
    """Milliseconds of processor time that onnxruntime takes on one thread for ten seconds of audio: the least of some runs."""
    run = sg.load(path, threads=1)
    wave = np.random.default_rng(0).standard_normal((1, int(seconds * RATE)), dtype=np.float32)
    run(wave)
    times = []
    for _ in range(runs):
        start = time.process_time()
        run(wave)
        times.append(time.process_time() - start)
    return 1000 * min(times)


HEADER = ("representation", "bins", "accuracy %", "total error %", "average precision %", "ms for 10 s of audio", "training s")


def rows(found: list[dict[str, Any]]) -> list[list[str]]:
    """The table's rows."""
    return [
        [one["name"], str(one["bins"]), *(f"{one[key]:.1f}" for key in ("accuracy", "error", "precision", "milliseconds")), f"{one['training']:.0f}"]
        for one in found
    ]


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Accuracy over cost, a colour for each kind."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind, colour in (("STFT", "C0"), ("log STFT", "C1"), ("mel", "C2"), ("CQT", "C3")):
        these = [one for one in found if one["name"].rsplit(" ", 1)[0] == kind]
        axes.plot([one["milliseconds"] for one in these], [one["accuracy"] for one in these], "o", color=colour, label=kind)
        for one in these:
            axes.annotate(one["name"].rsplit(" ", 1)[1], (one["milliseconds"], one["accuracy"]), (4, 3), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="milliseconds for ten seconds of audio (onnxruntime, one thread)", ylabel="accuracy (%)")
    axes.legend()
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the experiment; results, picture and models go to the folder."""
    parser = experiment.parser("Transcription on many input representations: accuracy against cost.")
    parser.add_argument("--musicnet", type=Path, metavar="FOLDER", help="MusicNet, unpacked; music is made if not given")
    parser.add_argument("--soundfont", type=Path, metavar="FILE", help="a .sf2 file: FluidSynth plays the made music on its instruments")
    parser.add_argument("--all", action="store_true", help="all 34 representations, at the small size too")
    parser.add_argument("--only", nargs="+", metavar="NAME", help='such as "STFT 4096" "CQT 84"')
    options = parser.parse_args(arguments)
    every, size = representations(), SIZES[experiment.size(options)]
    names = options.only or (tuple(every) if options.all else size.names) or tuple(every)
    if unknown := [name for name in names if name not in every]:
        parser.error(f"there is no representation {unknown[0]!r}; there are {', '.join(every)}")
    folder = experiment.begin(options, "representations")
    try:
        if options.musicnet:
            most = (None, None) if options.full else size.songs
            songs = (music.musicnet(options.musicnet, "train", most[0]), music.musicnet(options.musicnet, "test", most[1]))
        else:
            train, test = (music.made(count, size.seconds, options.seed + part, options.soundfont) for part, count in enumerate(size.songs))
            songs = (train, test)
    except ValueError as problem:
        parser.error(str(problem))
    found: list[dict[str, Any]] = []
    shipped: dict[str, Any] = {}
    for name in names:
        torch.manual_seed(options.seed)
        one, front_end, model = measured(name, every[name], songs, size, options.seed)
        waves = drawn(songs[1], 64, options.seed)(torch.arange(64))[0]
        with tempfile.TemporaryDirectory() as there:
            path = Path(there) / "transcriber.onnx"
            sg.to_onnx(front_end, path)
            milliseconds = cost(path)
            difference = experiment.ship(front_end, model, path, waves)
            found.append(one | {"milliseconds": milliseconds, "difference": difference})
            if one["accuracy"] >= max(other["accuracy"] for other in found):
                shutil.move(path, folder / path.name)
                shipped = {"name": name, "difference": difference}
        print(*rows([found[-1]])[0], sep="  ", file=sys.stderr, flush=True)
        how = "played" if options.soundfont else "made"
        source = "MusicNet" if options.musicnet else f"{size.songs[0]} {how} songs of {size.seconds:g} s, tested on {size.songs[1]} others"
        text = (
            f"{source}; {size.epochs} epochs of {size.draws:,} windows.\n\n{experiment.table(HEADER, rows(found))}\n\n"
            f"The best, {shipped['name']}, was exported: in onnxruntime its probabilities for 64 windows differ from torch's by at most "
            f"{shipped['difference']:.1e}."
        )
        draw(found, folder / "accuracy.png")
        results = {"experiment": "representations", "music": source, "seed": options.seed, "size": asdict(size), "found": found, "shipped": shipped}
        experiment.record(folder, results, text)
    return results


if __name__ == "__main__":
    main()
