"""What the experiments share: their arguments, a training loop, shipping to onnxruntime, and what is written."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import specgraph as sg
from specgraph.bench.machine import machine
from specgraph.files import whole

Metric = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
AGREEMENT = 1e-4  # by how much onnxruntime's predictions, probabilities or numbers in [0, 1], may differ from torch's


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that every experiment has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--full", action="store_true", help="the paper's size instead of minutes")
    made.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)  # seconds, for the tests
    made.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="where results, picture and models go")
    made.add_argument("--seed", type=int, default=0)
    made.add_argument("--threads", type=int, help="of torch; if not given 1, or with --full all cores")
    return made


def begin(options: argparse.Namespace, name: str) -> Path:
    """Set the seed and the threads; the folder that results go to."""
    torch.manual_seed(options.seed)
    if options.threads or not options.full:
        torch.set_num_threads(options.threads or 1)  # what the small sizes do is too little to share
    folder = options.output or Path(__file__).parent / "results" / (f"{name}-full" if options.full else name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def size(options: argparse.Namespace) -> str:
    """tiny, small or full."""
    return "tiny" if options.tiny else "full" if options.full else "small"


@dataclass(frozen=True)
class Curve:
    """How a training went: the error on what it was trained on and on what it was not, after every epoch."""

    train: list[float] = field(default_factory=list)
    test: list[float] = field(default_factory=list)
    seconds: float = 0.0


def train(
    model: nn.Module,
    data: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    split: tuple[torch.Tensor, torch.Tensor],
    metric: Metric,
    rates: Sequence[dict[str, Any]],
    epochs: int,
    batch: int,
    seed: int,
    decay: bool = True,
) -> Curve:
    """Train by Adam; with ``decay`` the learning rates fall along half a cosine to nothing.

    Args:
        model: from what ``data`` gives to predictions.
        data: (inputs, targets) of the examples with these numbers.
        split: the numbers of the examples to train on, and to test on.
        metric: from predictions and targets to the error, a scalar.
        rates: Adam's parameter groups.
        epochs: passes over the examples to train on.
        batch: examples of a step.
        seed: of the order of the examples.
        decay: otherwise the rates stay as they are.
    """
    optimiser = torch.optim.Adam(rates)
    steps = epochs * -(-len(split[0]) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps) if decay else None
    order = torch.Generator().manual_seed(seed)
    curve, start = Curve(), time.perf_counter()
    for _ in range(epochs):
        model.train()
        sums = 0.0
        for chosen in split[0][torch.randperm(len(split[0]), generator=order)].split(batch):
            inputs, targets = data(chosen)
            error = metric(model(inputs), targets)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            if schedule:
                schedule.step()
            sums += float(error.detach()) * len(chosen)
        curve.train.append(sums / len(split[0]))
        curve.test.append(tested(model, data, split[1], metric))
    return Curve(curve.train, curve.test, time.perf_counter() - start)


@torch.no_grad()
def tested(model: nn.Module, data: Callable[[torch.Tensor], Any], examples: torch.Tensor, metric: Metric) -> float:
    """The mean error over examples."""
    model.eval()
    found = [(float(metric(model(inputs), targets)), len(targets)) for inputs, targets in map(data, examples.split(1024))]
    return sum(error * count for error, count in found) / len(examples)


def relative_rates(front_end: nn.Module, rate: float) -> Iterator[dict[str, Any]]:
    """A group for each learned array of a front end, whose rate is ``rate`` of the array's root mean square.

    Adam moves every number by about its rate whatever the gradient, and the arrays of front ends differ in scale: a Fourier
    basis is of the order of 1, a mel bank of area 1 of 1e-3.
    """
    for array in front_end.parameters():
        yield {"params": [array], "lr": rate * float(array.detach().pow(2).mean().sqrt())}


def ship(front_end: nn.Module, model: nn.Module, path: Path, waves: torch.Tensor) -> float:
    """Export ``model(front_end(waveforms))`` as one file and run ``waves`` (batch, samples) through onnxruntime.

    Returns:
        The largest difference between onnxruntime's predictions and torch's.

    Raises:
        ValueError: the file differs from the model on the signals that it is verified on; nothing is written.
        RuntimeError: predictions for ``waves`` differ by more than ``AGREEMENT``.
    """
    whole_model = nn.Sequential(front_end, model).eval()
    sg.to_onnx(whole_model, path, inputs=(waves,), dynamic_shapes=({0: "batch"},), output_names=["predictions"])
    with torch.no_grad():
        wanted = whole_model(waves).numpy()
    difference = float(np.abs(sg.load(path)(waves.numpy()) - wanted).max())
    if not difference <= AGREEMENT:
        raise RuntimeError(f"onnxruntime's predictions differ from torch's by {difference:.1e}, and {AGREEMENT:.0e} are allowed")
    return difference


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in markdown, the first column to the left and numbers to the right."""
    lines = [list(header), ["---", *["---:"] * (len(header) - 1)], *map(list, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def record(folder: Path, results: dict[str, Any], text: str) -> None:
    """Write ``results.json`` and ``results.md``, with what they were measured on, and print the text."""
    host = machine("cpu")
    host["command"] = shlex.join(["python", f"docs/experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    results = results | {"machine": host | {"threads": torch.get_num_threads()}}
    packages = ", ".join(f"{name} {host['packages'][name]}" for name in ("torch", "specgraph"))
    threads = torch.get_num_threads()
    text += f"\n\nSeed {results['seed']}; {host['processor']}, {threads} thread{'s' * (threads > 1)}, {packages}, {host['date']}.\n"
    for name, written in (("results.json", json.dumps(results, indent=1) + "\n"), ("results.md", text)):
        with whole(folder / name) as temporary:
            temporary.write_text(written)
    print(text)
