"""Frequency prediction: sine waves of 200 to 22,048 Hz, their frequency from a front end and a small model, fixed and trainable.

The experiment of nnAudio's paper (Cheuk and others, arXiv 1912.12055): 10,925 frequencies at 10 phases, 0.2 s at 44.1 kHz,
80 % to train on; STFT of 64 samples, mel spectrogram and CQT; a linear model and two small convolutions; Adam, squared error.

    python docs/experiments/frequency.py [--full] [-o FOLDER]
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import experiment
import numpy as np
import torch
from experiment import Curve
from torch import nn

import specgraph as sg
from specgraph.plot import kernels

RATE, SAMPLES, SECONDS = 44100, 8820, 0.2
LOW, HIGH = 200, 22048  # Hz, in steps of 2


@dataclass(frozen=True)
class Size:
    """How much of the experiment is done."""

    step: int  # every which frequency
    phases: int
    batch: int
    epochs: int
    rounds: int  # most rounds of ``epochs`` for the CNN behind a fixed front end
    settling: int  # iterations of L-BFGS on a linear model, after Adam


SIZES = {
    "tiny": Size(400, 2, 16, 2, 1, 20),
    "small": Size(10, 4, 64, 18, 8, 4000),
    "full": Size(1, 10, 512, 60, 8, 4000),
}


@dataclass(frozen=True)
class FrontEnd:
    """A front end of the paper, and how it was trained there."""

    transform: sg.transforms.Transform
    parts: tuple[str, ...]
    theirs: dict[str, float]  # learning rates, by model
    paper: dict[str, tuple[float, float]]  # test errors, fixed and trainable, by model


FRONT_ENDS = {
    "STFT": FrontEnd(
        sg.Spectrogram(sample_rate=RATE, n_fft=64, hop_length=512), ("fourier",),
        {"linear": 1e-4, "CNN": 1e-4},
        {"linear": (1.86e-5, 3.80e-6), "CNN": (2.28e-5, 3.49e-6)},
    ),
    "mel": FrontEnd(
        sg.MelSpectrogram(sample_rate=RATE, n_fft=512, hop_length=512, n_mels=32), ("fourier", "mel"),
        {"linear": 1e-6, "CNN": 1e-5},
        {"linear": (2.36e-3, 1.24e-5), "CNN": (4.70e-4, 4.73e-6)},
    ),
    "CQT": FrontEnd(
        sg.CQT1992v2(sample_rate=RATE, fmin=200.0, n_bins=82, pad_mode="constant", convention="nnaudio"), ("cqt",),
        {"linear": 8e-7, "CNN": 3e-6},
        {"linear": (1.00e-2, 4.13e-6), "CNN": (1.94e-2, 8.74e-6)},
    ),
}  # fmt: skip


ALONE = {"linear": 1e-3, "CNN": 3e-3}  # learning rates of a model behind a fixed front end
# Starts of a trainable front end: with a model as it began or with the one that converged behind the fixed front end; the
# learning rates of the model, and of the front end's arrays as a fraction of each one's root mean square.
STARTS = {"linear": (("converged", 1e-4, 1e-3),), "CNN": (("anew", 3e-3, 2e-2), ("converged", 3e-4, 1e-3))}


class Tones:
    """Sine waves by number: ``tones(numbers)`` are the waveforms (batch, samples) and the frequencies as fractions of 22,048 Hz."""

    def __init__(self, size: Size) -> None:
        frequencies = torch.arange(LOW, HIGH + 2, 2 * size.step, dtype=torch.float64)
        phases = torch.arange(size.phases, dtype=torch.float64) / size.phases
        self.frequencies = frequencies.repeat_interleave(size.phases)
        self.phases = phases.repeat(len(frequencies))
        self.targets = (self.frequencies / HIGH).float()
        self.waves = torch.empty(len(self.targets), SAMPLES)
        seconds = torch.linspace(0, SECONDS, SAMPLES, dtype=torch.float64)
        for part in torch.arange(len(self.targets)).split(256):
            turns = self.frequencies[part, None] * seconds + self.phases[part, None]
            self.waves[part] = torch.sin(2 * torch.pi * turns).float()
        order = np.random.RandomState(101).permutation(len(self.targets))  # as sklearn's train_test_split(random_state=101)
        tests = -(-len(order) // 5)
        self.split = (torch.from_numpy(order[tests:]), torch.from_numpy(order[:tests]))

    def __call__(self, numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.waves[numbers], self.targets[numbers]

    def features(self, front_end: nn.Module) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """The same with the features of a fixed front end, computed once, instead of the waveforms."""
        with torch.no_grad():
            held = torch.cat([front_end(waves) for waves in self.waves.split(512)])
        return lambda numbers: (held[numbers], self.targets[numbers])


def head(kind: str, shape: torch.Size) -> nn.Module:
    """(batch, bins, frames) -> (batch,) in [0, 1]: linear, or with two convolutions of 4 x 4 before it."""
    bins, frames = shape[-2:]
    if kind == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(bins * frames, 1), nn.Sigmoid(), nn.Flatten(0))
    first, second = nn.Conv2d(1, 1, 4), nn.Conv2d(1, 1, 4)
    for array in (*first.parameters(), *second.parameters()):
        array.data.abs_()  # one channel that begins below zero is cut to zeros, and never learns
    return nn.Sequential(
        nn.Unflatten(1, (1, bins)), first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear((bins - 6) * (frames - 6), 1), nn.Sigmoid(), nn.Flatten(0)
    )  # fmt: skip


def converged(model: nn.Module, kind: str, data: Any, tones: Tones, size: Size, seed: int) -> Curve:
    """Train a model on fixed features: a CNN by Adam, in rounds at falling rates while one gains 2 %; a linear one until it is settled."""
    whole = Curve()
    for number in range(size.rounds if kind == "CNN" else 1):
        rates = [{"params": list(model.parameters()), "lr": ALONE[kind] * 0.7**number}]
        curve = experiment.train(model, data, tones.split, nn.functional.mse_loss, rates, size.epochs, size.batch, seed + number)
        gain = 1 - curve.train[-1] / whole.train[-1] if whole.train else 1.0
        whole = Curve(whole.train + curve.train, whole.test + curve.test, whole.seconds + curve.seconds)
        if gain < 0.02:
            break
    return settled(whole, model, data, tones, size.settling) if kind == "linear" else whole


def settled(curve: Curve, model: nn.Module, data: Any, tones: Tones, iterations: int) -> Curve:
    """Go on with a model on fixed features by L-BFGS on the whole training set; the curve gets one point more.

    Adam leaves a linear model behind a mel spectrogram, whose bands differ in scale, hundreds of times above its least error.
    """
    inputs, targets = data(tones.split[0])
    optimiser = torch.optim.LBFGS(
        model.parameters(), max_iter=iterations, history_size=50, line_search_fn="strong_wolfe", tolerance_grad=1e-12, tolerance_change=1e-15
    )

    def error() -> torch.Tensor:
        optimiser.zero_grad()
        found = nn.functional.mse_loss(model(inputs), targets)
        found.backward()
        return found

    model.train()
    start = time.perf_counter()
    optimiser.step(error)
    last = [experiment.tested(model, data, numbers, nn.functional.mse_loss) for numbers in tones.split]
    return Curve([*curve.train, last[0]], [*curve.test, last[1]], curve.seconds + time.perf_counter() - start)


def cell(name: str, kind: str, tones: Tones, size: Size, recipe: int, seed: int) -> tuple[dict[str, Any], nn.Module, nn.Module]:
    """A front end and a model: fixed by the paper's recipe, of so many epochs; fixed, to convergence; and trainable; and what was trained last."""
    setting = FRONT_ENDS[name]
    loss = nn.functional.mse_loss
    exact = {"ConstantQ": "grouped"}
    data = tones.features(setting.transform.module(prefer=exact))
    torch.manual_seed(seed)
    untrained = head(kind, data(torch.arange(1))[0].shape)

    model = copy.deepcopy(untrained)
    rates = [{"params": list(model.parameters()), "lr": setting.theirs[kind]}]
    theirs = experiment.train(model, data, tones.split, loss, rates, recipe, size.batch, seed, decay=False)

    model = copy.deepcopy(untrained)
    fixed = converged(model, kind, data, tones, size, seed)

    trials = []
    for start, rate, learned in STARTS[kind]:
        front_end = setting.transform.module(trainable=setting.parts)
        behind = copy.deepcopy(untrained if start == "anew" else model)
        rates = [*experiment.relative_rates(front_end, learned), {"params": list(behind.parameters()), "lr": rate}]
        whole = nn.Sequential(front_end, behind)
        trained = experiment.train(whole, tones, tones.split, loss, rates, size.epochs, size.batch, seed)
        if kind == "linear":
            trained = settled(trained, behind, tones.features(front_end), tones, size.settling)
        trials.append((trained, front_end, behind))
    trained, front_end, model = min(trials, key=lambda trial: trial[0].train[-1])
    curves = {"recipe": theirs, "fixed": fixed, "trainable": trained}
    found = {"front end": name, "model": kind, "paper": setting.paper[kind]}
    return found | {key: dataclasses.asdict(curve) for key, curve in curves.items()}, front_end, model


def rows(cells: list[dict[str, Any]], rounds: int) -> list[list[str]]:
    """The table's rows; a star says that the fixed front end's CNN still gained in its last round."""
    made = []
    for found in cells:
        last = {key: found[key]["test"][-1] for key in ("recipe", "fixed", "trainable")}
        epochs = [str(len(found[key]["train"])) for key in ("fixed", "trainable")]
        numbers = (found["paper"][0], last["recipe"], last["fixed"], found["paper"][1], last["trainable"])
        fixed_theirs, recipe, fixed, theirs, trained = (f"{number:.2e}" for number in numbers)
        if found["model"] == "CNN" and len(found["fixed"]["train"]) == rounds * len(found["trainable"]["train"]):
            fixed += "*"
        made.append([f"{found['front end']}, {found['model']}", fixed_theirs, recipe, fixed, epochs[0], theirs, trained, epochs[1]])
    return made


HEADER = (
    "squared error on the test set", "fixed: paper", "fixed: the paper's recipe, here", "fixed: converged", "epochs",
    "trainable: paper", "trainable: here", "epochs",
)  # fmt: skip


def draw(cells: list[dict[str, Any]], path: Path) -> None:
    """Test errors over epochs, with the paper's as dotted lines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.6 + 2.6 * -(-len(cells) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(cells) // 2), 2, squeeze=False, sharey=True).ravel()
    for axes, found in zip(grid, cells, strict=False):
        for key, colour, label in (("recipe", "C7", "fixed, paper's recipe"), ("fixed", "C0", "fixed"), ("trainable", "C1", "trainable")):
            axes.loglog(np.arange(1, 1 + len(found[key]["test"])), found[key]["test"], color=colour, label=label)
        for error, colour in zip(found["paper"], ("C0", "C1"), strict=True):
            axes.axhline(error, color=colour, linestyle=":", linewidth=0.8)
        axes.set_title(f"{found['front end']}, {found['model']} (dotted: the paper's)", loc="left", fontsize=9)
        axes.set_xlabel("epochs")
    for axes in grid[len(cells) :]:
        axes.set_axis_off()
    grid[0].set_ylabel("squared error, test")
    grid[0].legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the experiment; results, picture and models go to the folder."""
    parser = experiment.parser("Frequency prediction with fixed and trainable front ends.")
    parser.add_argument("--epochs", type=int, help="instead of the size's; the paper's recipe keeps those")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=FRONT_ENDS, default=list(FRONT_ENDS), help=", ".join(FRONT_ENDS))
    parser.add_argument("--resume", action="store_true", help="leave out what the folder has results of, as after a run that was stopped")
    options: argparse.Namespace = parser.parse_args(arguments)
    folder = experiment.begin(options, "frequency")
    usual = SIZES[experiment.size(options)]
    size = dataclasses.replace(usual, epochs=options.epochs or usual.epochs)
    tones = Tones(size)
    done = before(folder, size, options.seed)
    for name in options.only:
        for kind in ("linear", "CNN"):
            if options.resume and any((one["front end"], one["model"]) == (name, kind) for one in done["cells"]):
                continue
            found, front_end, model = cell(name, kind, tones, size, usual.epochs, options.seed)
            done["cells"] = [one for one in done["cells"] if (one["front end"], one["model"]) != (name, kind)] + [found]
            print(*rows([found], size.rounds)[0], f"{found['trainable']['seconds']:.0f} s", sep="  ", file=sys.stderr, flush=True)
            if found["trainable"]["test"][-1] <= min(one["trainable"]["test"][-1] for one in done["cells"]):
                waves = tones(tones.split[1][:512])[0]
                difference = experiment.ship(front_end, model, folder / "frequency.onnx", waves)
                done["shipped"] = {"front end": name, "model": kind, "difference": difference}
                kernels((setting := FRONT_ENDS[name]).transform.module(setting.parts), front_end, folder / "kernels.png", dpi=80)
            report(folder, done, tones)  # after every cell, since the full size takes hours
    return done


def before(folder: Path, size: Size, seed: int) -> dict[str, Any]:
    """What an earlier run of the same size left in the folder, which ``--only`` adds to; else an empty record."""
    sizes = {key: value for key, value in dataclasses.asdict(size).items() if key != "epochs"}  # which the curves have
    record = {"experiment": "frequency", "seed": seed, "size": sizes, "cells": [], "shipped": {}}
    if (folder / "results.json").exists():
        earlier = json.loads((folder / "results.json").read_text())
        if all(earlier.get(key) == record[key] for key in ("experiment", "seed", "size")):
            return earlier
    return record


def report(folder: Path, done: dict[str, Any], tones: Tones) -> None:
    """Write and print what was found so far."""
    order = [(name, kind) for name in FRONT_ENDS for kind in ("linear", "CNN")]
    done["cells"].sort(key=lambda one: order.index((one["front end"], one["model"])))
    shipped = done["shipped"]
    text = (
        f"{len(tones.targets):,} sine waves, {len(tones.split[0]):,} to train on.\n\n{experiment.table(HEADER, rows(done['cells'], done['size']['rounds']))}\n\n"
        f"The best, {shipped['front end']} with the {shipped['model']} model, was exported: in onnxruntime its predictions for "
        f"{min(512, len(tones.split[1]))} test waves differ from torch's by at most {shipped['difference']:.1e}."
    )
    draw(done["cells"], folder / "errors.png")
    experiment.record(folder, done, text)


if __name__ == "__main__":
    main()
