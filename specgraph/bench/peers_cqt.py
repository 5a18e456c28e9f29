"""Constant-Q transforms of librosa and of nnAudio, each compared with the float64 definition of its own convention."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any

from specgraph.bench.peers_torch import in_torch
from specgraph.bench.subjects_cqt import CONSTANT_Q
from specgraph.bench.work import Ready, Work, peer
from specgraph.design.constant_q import Kernel, half_width, stacked
from specgraph.op import Constant, Value
from specgraph.ops.frame_conv import FrameConv
from specgraph.ops.magnitude import Magnitude
from specgraph.ops.pad import Pad
from specgraph.transforms.constant_q import CQT

LIBROSA = "librosa.cqt"
OWN_KERNELS, KERNELS_ALONE = "librosa.cqt and its own kernels", "librosa's kernels in float64"
COPIES = 3.3  # measured: memory that CQT1992 needs while it is made, in sizes of its Fourier kernels


@dataclass(frozen=True, kw_only=True)
class ReversedCQT(CQT):
    """The kernels as ``librosa.cqt`` applies them: reversed in time instead of conjugated. As a definition only.

    Conjugation reverses a kernel whose window is symmetric about the frame's centre. That of a kernel of odd length is
    centred half a sample before it, and reversed half a sample after it.
    """

    command = ""

    def compose(self, wave: Value, trainable: frozenset[str]) -> Value:
        op = self.op(frozenset())
        bank = [Kernel(-kernel.last, kernel.samples[::-1].conj()) for kernel in op.bank]
        half = half_width(bank)
        kernels = Constant.of("cqt", stacked(bank, half))
        bins = FrameConv(op.hop_length)(Pad(half, mode=op.pad_mode)(wave), kernels)
        return bins if self.output == "complex" else Magnitude(1.0)(bins)


def reversed_definition(transform: CQT) -> ReversedCQT:
    """The same parameters, with librosa's kernels as it applies them."""
    return ReversedCQT(**{field.name: getattr(transform, field.name) for field in dataclasses.fields(transform)})


def librosa_cqt(work: Work) -> Ready:
    """``librosa.cqt``, which computes an octave at a time and halves the rate between them."""
    import librosa
    import numpy as np

    t = work.transform
    given = {
        "sr": t.sample_rate, "hop_length": t.hop_length, "fmin": t.fmin, "n_bins": t.n_bins, "bins_per_octave": t.bins_per_octave,
        "pad_mode": t.pad_mode,
    }  # fmt: skip

    def call(waves: Any) -> Any:
        bins = librosa.cqt(waves, **given)
        return np.abs(bins) if t.output == "magnitude" else bins

    return Ready(call)


peer(LIBROSA, package="librosa", computes=CONSTANT_Q, note="designs its kernels anew in every call, as it does for its users")(librosa_cqt)


@peer(
    OWN_KERNELS,
    package="librosa",
    computes=CONSTANT_Q,
    timed=False,
    note="compared with the kernels as it applies them, reversed in time and not conjugated",
)
def librosa_reversed(work: Work) -> Ready:
    """``librosa.cqt`` against its own kernels in float64."""
    return dataclasses.replace(librosa_cqt(work), definition=reversed_definition(work.transform))


@peer(
    KERNELS_ALONE,
    package="librosa",
    computes=CONSTANT_Q,
    timed=False,
    note="those reversed kernels in float64, at the signal's own rate: what reversing alone does",
)
def reversed_alone(work: Work) -> Ready:
    """What reversing the kernels does, and nothing else."""
    graph = reversed_definition(work.transform).graph()
    return Ready(lambda waves: graph.numpy(waves)["features"])


def nnaudio_cqt(work: Work, name: str, **more: Any) -> Ready:
    """A class of ``nnAudio.features`` with the work's parameters, in librosa's normalisation."""
    import torch
    from nnAudio import features

    t = work.transform
    own = dataclasses.replace(t, convention="nnaudio")
    if name == "CQT1992":
        n_fft = 2 ** (int(own.op(frozenset()).lengths[0]) - 1).bit_length()
        need = COPIES * 2 * 4 * n_fft * (n_fft // 2 + 1)
        if need > work.memory:
            raise ValueError(f"its Fourier kernels of {n_fft} samples take {need / 1e9:.1f} GB to make, and {work.memory / 1e9:g} GB are allowed")
    given = {
        "sr": t.sample_rate, "hop_length": t.hop_length, "fmin": t.fmin, "n_bins": t.n_bins, "bins_per_octave": t.bins_per_octave,
        "pad_mode": t.pad_mode, "output_format": "Complex" if t.output == "complex" else "Magnitude",
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(), torch.no_grad():  # it prints, verbose or not
        warnings.simplefilter("ignore")
        module = getattr(features, name)(**given, **more)
    return dataclasses.replace(in_torch(module, work), definition=own)


NOTES = {
    "CQT1992v2": "one convolution with all kernels, as long as the longest",
    "CQT1992": "a Fourier transform by convolution, then kernels in the frequency domain",
    "CQT2010v2": "an octave at a time, the rate halved between them by a filter of 256 taps, half a sample late each time; "
    "where it downsamples early, its level is wrong by the root of the factor",
    "CQT2010": "as CQT2010v2, with kernels in the frequency domain; its complex output is the conjugate of the others'",
}
for _name, _note in NOTES.items():
    peer(f"nnAudio {_name}", package="nnAudio", computes=CONSTANT_Q, devices=("cpu", "cuda"), note=_note)(
        partial(nnaudio_cqt, name=_name)
    )
peer("nnAudio VQT gamma=0", package="nnAudio", computes=CONSTANT_Q, timed=False, note="as CQT2010v2, kernels made for every octave")(
    partial(nnaudio_cqt, name="VQT", gamma=0)
)
