"""Long narrow-band kernels at lower sample rates: decimators, and kernels fitted to them by least squares.

A chain of decimators gives the signal at a rate of 1 / D for several D. What a short kernel computes from the decimated
signal is what a long kernel, the sum of the chain's impulse responses weighted by the short one, computes from the signal.
The short kernel is chosen so that this sum is as near as possible to the kernel that was wanted, phase included; what is
left over bounds the error. Each kernel goes to the lowest rate at which that bound is within the tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from specgraph.design.constant_q import Kernel, extent, in_rows

TAPS = 31  # of a decimator, for each unit of its factor
EXTRA = 4  # decimated samples on either side of a kernel that the fit may use
LARGEST_FACTOR = 11
HIGHEST = 0.3  # of a level's sample rate: a bin above it is not tried there
SHARE = 0.5  # of the tolerance that the design may use; the rest is for float32, and for errors that add up
TINY = 1e-30
MARGIN = 20.0  # dB by which decimators attenuate more than the tolerance


@dataclass(frozen=True, eq=False)
class Level:
    """A signal decimated by ``factor``: its sample j is ``sum(response * x[factor * j : factor * j + len(response)])``."""

    factor: int
    step: int  # this level's decimation of the level above it; 1 for the signal itself
    taps: npt.NDArray[np.float64]  # of that step
    response: npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Fit:
    """Kernels for a level: their weight on sample ``first + i`` of the level, counted from a frame's centre.

    ``residuals`` are the long kernels that these make less the ones that were wanted.
    """

    first: int
    samples: npt.NDArray[np.complex128]  # (bins, taps)
    residuals: npt.NDArray[np.complex128]  # (bins, samples)


@dataclass(frozen=True, eq=False)
class Stage:
    """The bins of a level, neighbours all: ``samples`` (bins, taps) are their kernels there."""

    level: int
    first: int
    samples: npt.NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class Plan:
    """Where each bin is computed: ``stages`` in the order of bins, ``levels`` down to the deepest that is used."""

    levels: tuple[Level, ...]
    stages: tuple[Stage, ...]
    bound: float
    hardest_tone: float | None = None  # in hertz, of the deepest level's bins; None where every bin is at the signal's own rate

    def margins(self, half: int, hop_length: int) -> tuple[int, int]:
        """Samples before the first frame's centre and after the last one's, whole hops, that hold all that is read for them.

        ``half`` is what the kernels themselves reach on either side.
        """
        before = after = half
        for stage in self.stages:
            level = self.levels[stage.level]
            before = max(before, -stage.first * level.factor)
            after = max(after, (stage.first + stage.samples.shape[1] - 1) * level.factor + len(level.response))
        return -(-before // hop_length) * hop_length, -(-after // hop_length) * hop_length


def plan(
    bank: Sequence[Kernel],
    centres: npt.NDArray[np.float64],
    sample_rate: float,
    hop_length: int,
    tolerance: float,
) -> Plan:
    """Each kernel at the lowest rate at which its error is within the tolerance.

    Args:
        bank: kernels in the order of their frequencies.
        centres: those frequencies, in hertz.
        sample_rate: in hertz.
        hop_length: samples from a frame to the next.
        tolerance: the error allowed, as ``bounds`` counts it; a share of it is used.
    """
    attenuation = MARGIN - 20 * math.log10(SHARE * tolerance)
    ladder = levels(hop_length, attenuation, HIGHEST * sample_rate / centres[0])
    stages: list[Stage] = []
    placed, worst, hardest = 0, 0.0, None
    for number in range(len(ladder) - 1, 0, -1):
        factor = ladder[number].factor
        near = placed + int(np.searchsorted(centres[placed:], HIGHEST * sample_rate / factor))
        if near == placed:
            continue
        fitted = fit(bank[placed:near], ladder[number])
        errors = bounds(fitted.residuals, bank, centres, sample_rate, hop_length)
        good = int(np.argmax(np.append(errors, np.inf) > SHARE * tolerance))
        if good:
            stages.append(Stage(number, fitted.first, fitted.samples[:good]))
            hardest = hardest or loudest_tone(fitted.residuals[:good], sample_rate)
            placed, worst = placed + good, max(worst, float(errors[:good].max()))
    if placed < len(bank):
        rest = bank[placed:]
        first, width = extent(rest)
        stages.append(Stage(0, first, in_rows(rest, first, width)))
    deepest = max(stage.level for stage in stages)
    return Plan(tuple(ladder[: deepest + 1]), tuple(stages), float(f"{worst:.3g}"), hardest)


def bounds(
    residuals: npt.NDArray[np.complex128],
    bank: Sequence[Kernel],
    centres: npt.NDArray[np.float64],
    sample_rate: float,
    hop_length: int,
) -> npt.NDArray[np.float64]:
    """For each residual the largest error that it makes of a tone, of noise, or of an impulse, as a fraction of the peak.

    For a tone of any frequency, what the residual makes of it over what the nearest bin does, and outside the bins' range
    over the least that any bin's own tone gives; for noise, the energies' root over the largest kernel's; for an impulse, the
    largest sample over what the kernels give of an impulse as far from a frame's centre as one can be.
    """
    gains = np.array([np.abs(kernel.samples).sum() for kernel in bank])
    energies = [np.linalg.norm(kernel.samples, axis=0) for kernel in bank]  # along an axis numpy does not ask BLAS
    peaks = [_at(kernel, hop_length // 2) for kernel in bank]
    size = 2 * residuals.shape[1]
    frequencies = np.abs(np.fft.fftfreq(size, 1 / sample_rate))
    inside = (frequencies >= centres[0]) & (frequencies <= centres[-1])
    reference = np.where(inside, np.interp(frequencies, centres, gains), gains.min())
    found = []
    for residual in residuals:  # one by one: together their spectra may not fit the memory
        tone = np.abs(np.fft.fft(residual, size) / reference).max()
        noise, impulse = np.linalg.norm(residual, axis=0) / max(energies), np.abs(residual).max() / max(*peaks, TINY)
        found.append(max(tone, noise, impulse))
    return np.array(found)


def loudest_tone(residuals: npt.NDArray[np.complex128], sample_rate: float) -> float:
    """The frequency of the tone, in hertz, of which one of the residuals makes the most."""
    size = 2 * residuals.shape[1]
    responses = [np.abs(np.fft.fft(residual, size)) for residual in residuals]
    place = int(np.argmax(np.max(responses, axis=0)))
    return float(abs(np.fft.fftfreq(size, 1 / sample_rate)[place]))


def _at(kernel: Kernel, distance: int) -> float:
    """The smaller of a kernel's magnitudes at this distance before and after the centre; 0 where it does not reach."""
    places = (distance - kernel.first, -distance - kernel.first)
    inside = all(0 <= place < len(kernel.samples) for place in places)
    return float(min(abs(kernel.samples[place]) for place in places)) if inside else 0.0


def decimator(factor: int, attenuation: float) -> npt.NDArray[np.float64]:
    """A low-pass filter for a decimation: a windowed sinc, its gain about 1/2 at the new half rate, ``attenuation`` dB beyond.

    Being half there, the squares of a tone's response and of its alias add up to between 1/2 and 1, which keeps the least
    squares well conditioned at every frequency.
    """
    from scipy.signal import firwin, kaiser_beta

    return np.asarray(firwin(TAPS * factor | 1, 1 / factor, window=("kaiser", kaiser_beta(attenuation))), np.float64)


def levels(hop_length: int, attenuation: float, deepest: float) -> list[Level]:
    """The signal, and what it is decimated to: by the prime factors of the hop, so that frames stay evenly spaced.

    Args:
        hop_length: samples between frames.
        attenuation: of each decimator, in dB.
        deepest: largest factor worth having.
    """
    made = [Level(1, 1, np.ones(1), np.ones(1))]
    for step in prime_factors(hop_length):
        above = made[-1]
        if step > LARGEST_FACTOR or above.factor * step > deepest:
            break
        taps = decimator(step, attenuation)
        response = np.zeros((len(taps) - 1) * above.factor + len(above.response))
        for start, tap in zip(range(0, len(response), above.factor), taps, strict=False):
            response[start : start + len(above.response)] += tap * above.response
        made.append(Level(above.factor * step, step, taps, response))
    return made


def prime_factors(number: int) -> list[int]:
    """In ascending order, with repetition."""
    found, factor = [], 2
    while number > 1:
        if factor * factor > number:
            factor = number
        while number % factor == 0:
            found.append(factor)
            number //= factor
        factor += 1
    return found


def fit(bank: Sequence[Kernel], level: Level) -> Fit:
    """Kernels of similar lengths, fitted to a level by least squares."""
    from scipy.signal import fftconvolve

    factor, response = level.factor, level.response
    half = (len(response) - 1) / 2
    low, width = extent(bank)
    high = low + width - 1
    first = math.ceil((low - half) / factor) - EXTRA
    count = math.floor((high - half) / factor) + EXTRA - first + 1
    start = factor * first
    wanted = in_rows(bank, start, factor * (count - 1) + len(response))
    # Normal equations. A response overlaps with few of its neighbours, so their matrix is banded.
    products = fftconvolve(response, response[::-1])[len(response) - 1 :: factor][:count]
    matched = fftconvolve(wanted, response[None, ::-1], axes=1)[:, len(response) - 1 :: factor][:, :count]
    short = _solved(products, np.ascontiguousarray(matched.T)).T
    spread = np.zeros((len(bank), factor * (count - 1) + 1), np.complex128)
    spread[:, ::factor] = short
    return Fit(first, short, fftconvolve(spread, response[None, :], axes=1) - wanted)


def _solved(products: npt.NDArray[np.float64], right: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
    """(count, bins): ``x`` with ``matrix @ x = right``, where ``matrix[i, j] = products[abs(i - j)]``, zeros beyond; by Cholesky.

    Element by element: what LAPACK gives differs in the last digits between processors and numbers of threads, and files should not.
    """
    count, width = len(right), len(products)
    band = np.zeros((count, 2 * width - 1))  # band[i, width - 1 + j - i] is matrix[i, j]
    band[:, width - 1 :] = products
    band[:, : width - 1] = products[:0:-1]
    row, item = band.strides
    x = right.view(np.float64).copy()
    for i in range(count):
        ahead = min(width, count - i) - 1
        pivot = np.sqrt(band[i, width - 1])
        below = np.lib.stride_tricks.as_strided(band[i + 1 :, width - 2 :], (ahead,), (row - item,)) if ahead else band[i, :0]
        below /= pivot
        band[i, width - 1] = pivot
        x[i] /= pivot
        if ahead:
            corner = np.lib.stride_tricks.as_strided(band[i + 1 :, width - 1 :], (ahead, ahead), (row - item, item))
            corner -= below[:, None] * below
            x[i + 1 : i + 1 + ahead] -= below[:, None] * x[i]
    for i in range(count - 1, -1, -1):
        x[i] /= band[i, width - 1]
        start = max(i - width + 1, 0)
        x[start:i] -= band[i, width - 1 - (i - start) : width - 1, None] * x[i]
    return x.view(np.complex128)
