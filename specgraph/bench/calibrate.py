"""The prices of work on this machine: fitted to the times of many lowered graphs on one thread of onnxruntime's CPU provider."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from specgraph.bench import timing
from specgraph.bench.ranking import Candidate
from specgraph.bench.work import subject_named
from specgraph.cost import TARGETS, Target

SUBJECTS = ("mel", "stft", "spectrogram")
SIZES = ("400/160", "512/160", "1024/256", "2048/512", "2048/441")
BUILT_IN = TARGETS["cpu"]
TRUST = 0.003  # weight of the built-in prices: what the graphs do not tell apart stays as it was
RATES = {"matmul": "matmul", "vector": "vector", "moved": "bandwidth", "strided": "strided"}  # of Cost: their inverse, of Target
PRICES = {"launches": "launch", "held": "held"}
PARTS = (1e6, 1.5e6, 2.5e6, 4e6, 6e6, 1e7, 1e12)  # bytes that are tried as ``most_bytes`` of a runner; the last one cuts nothing
CLIPS, SECONDS = 8, 10.0  # of the batch that they are tried on


@dataclass(frozen=True)
class Fit:
    """The target with measured prices, and how far its prices are from the times: the median of the relative errors."""

    target: Target
    before: float
    after: float

    @property
    def numbers(self) -> dict[str, float]:
        """What is written: the fields of ``Target``, to three digits."""
        return {name: float(f"{getattr(self.target, name):.3g}") for name in (*RATES.values(), *PRICES.values())}


def fitted(candidates: Sequence[Candidate], built_in: Target = BUILT_IN) -> Fit:
    """Prices at which the candidates' work takes what was measured: least squares of relative errors, no price below 0."""
    from scipy.optimize import nnls

    names = list(built_in.prices)
    usual = np.array(list(built_in.prices.values()))
    work = np.array([[getattr(one.cost, name) for name in names] for one in candidates], np.float64)
    seconds = np.array([one.seconds for one in candidates])
    # In units of the built-in prices: their factor is 1, and what pulls it there is small beside the measurements.
    rows = np.concatenate([work * usual / seconds[:, None], TRUST * np.sqrt(len(seconds)) * np.eye(len(names))])
    wanted = np.concatenate([np.ones(len(seconds)), TRUST * np.sqrt(len(seconds)) * np.ones(len(names))])
    factors, _ = nnls(rows, wanted)
    measured = dict(zip(names, usual * np.maximum(factors, 1e-3), strict=True))
    numbers = {field: 1 / measured[name] for name, field in RATES.items()} | {field: measured[name] for name, field in PRICES.items()}
    target = replace(built_in, **numbers)

    def off(prices: dict[str, float]) -> float:
        return float(np.median(np.abs(work @ np.array(list(prices.values())) / seconds - 1)))

    return Fit(target, off(built_in.prices), off(target.prices))


def best_part(sizes: Sequence[str], budget: float) -> tuple[float, dict[float, float]]:
    """The ``most_bytes`` with which mel spectrograms of a batch take the least time on one thread, and how long each takes.

    The times are of the best at each size, in the geometric mean over the sizes.
    """
    from specgraph import load, to_onnx

    subject = subject_named("mel")
    logs = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            transform = subject.at(size)
            path = Path(folder) / "model.onnx"
            to_onnx(transform, path)
            wave = np.random.default_rng(0).standard_normal((CLIPS, int(SECONDS * transform.sample_rate))).astype(np.float32)
            runs = {str(most): partial(load(path, threads=1, most_bytes=most), wave) for most in PARTS}
            laps = timing.alternate(runs, budget)
            logs.append(np.log([min(lap.busy for lap in laps[str(most)]) for most in PARTS]))
    times = np.exp(np.mean([log - log.min() for log in logs], axis=0))
    return PARTS[int(times.argmin())], dict(zip(PARTS, times.tolist(), strict=True))
