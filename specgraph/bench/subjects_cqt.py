"""The constant-Q subjects: the magnitude and the complex bins."""

from __future__ import annotations

import re
from typing import Any

from specgraph.bench.work import Subject, subject

CONSTANT_Q = ("cqt", "cqt-complex")
PAPER = "207x24/512@44100:55"  # of the accuracy section of the nnAudio paper
SIZES = ("84x12/512@22050", "84x24/512@44100:55", PAPER)


def parameters(size: str) -> dict[str, Any]:
    """``"84x24/512@44100:55"``, bins, bins an octave, hop, sample rate and fmin; without the last two 22050 and C1."""
    found = re.fullmatch(r"(\d+)x(\d+)/(\d+)(?:@(\d+))?(?::(\d+(?:\.\d+)?))?", size)
    if not found:
        raise ValueError(
            f"a size of cqt is n_bins x bins_per_octave / hop_length, perhaps @sample_rate and :fmin, such as {PAPER}, not {size!r}"
        )
    bins, octave, hop, rate, fmin = found.groups()
    given: dict[str, Any] = {"n_bins": int(bins), "bins_per_octave": int(octave), "hop_length": int(hop), "pad_mode": "reflect"}
    return given | {"sample_rate": int(rate or 22050)} | ({"fmin": float(fmin)} if fmin else {})


def _magnitude(size: str) -> Any:
    from specgraph import CQT

    return CQT(**parameters(size))


def _complex(size: str) -> Any:
    from specgraph import CQT

    return CQT(output="complex", **parameters(size))


ALIKE = (
    "periodic Hann window, frames centred, reflected at the ends, kernels of norm 1 times the root of their length. specgraph and librosa are "
    "compared with librosa's kernels, nnAudio with its own (CQT1992v2's); specgraph has both conventions"
)
COMMON: dict[str, Any] = {
    "sizes": SIZES,
    "accuracy": PAPER,
    "closer": {"tolerance": 1e-5},
    "inside": True,
    "pictured": ("specgraph", "nnAudio CQT1992v2", "nnAudio CQT2010v2", "librosa.cqt"),
    "faults": (-7.0, 0.0),
}
subject(Subject("cqt", "magnitude of the constant-Q transform", at=_magnitude, convention=f"{ALIKE}; magnitude", **COMMON))
subject(Subject("cqt-complex", "complex constant-Q transform", at=_complex, convention=f"{ALIKE}; complex, so that phase counts", **COMMON))
