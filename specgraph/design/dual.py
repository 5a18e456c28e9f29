"""Dual kernels: what constant-Q bins are multiplied by and added up to give the signal back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from specgraph.design.constant_q import Kernel

COVERED = 0.3  # of the bins' usual total gain: less is not divided by, or what aliases beyond the band would be amplified


def dual_kernels(
    bank: list[Kernel], lengths: npt.NDArray[np.float64], hop_length: int
) -> list[Kernel]:
    """Kernels d with ``sum over bins k and frames t of Re(bin[k, t] * d[k][n - t * hop_length])`` near the signal at n.

    Were a bin's frames so dense that nothing aliases, a kernel's spectrum over the sum of all squared spectra would be
    exact (the frame operator is diagonal then; Holighaus and others, "A framework for invertible, real-time constant-Q
    transforms", 2013). A bin whose frames are sparser counts for less, so that repeating "add the inverse of what is
    missing" converges.

    Args:
        bank: kernels, in any scale.
        lengths: of the kernels, in samples.
        hop_length: samples between frames.
    """
    size = 2 ** int(np.ceil(np.log2(4 * lengths.max())))

    def spectrum(kernel: Kernel) -> npt.NDArray[np.complex128]:
        row = np.zeros(size, np.complex128)
        row[(kernel.first + np.arange(len(kernel.samples))) % size] = kernel.samples
        return np.fft.fft(row)

    weights = [1 / np.abs(kernel.samples).sum() ** 2 for kernel in bank]
    total = np.zeros(size)
    for kernel, weight in zip(bank, weights, strict=True):
        energy = weight * np.abs(spectrum(kernel)) ** 2
        total += energy + energy[-np.arange(size) % size]  # a real signal's spectrum is mirrored
    usual = float(np.median(total[total > 0.1 * total.max()]))
    made = []
    for kernel, weight, length in zip(bank, weights, lengths, strict=True):
        density = min(1.0, length / (3 * hop_length))
        dual = np.fft.ifft(2 * hop_length * density * weight * spectrum(kernel) / np.maximum(total, COVERED * usual))
        half = int(1.5 * length) + 1
        place = np.arange(-half, half + 1)
        # What lies beyond the kernel's own length is faded out: an edge would be heard at all frequencies.
        fade = 0.5 + 0.5 * np.cos(np.pi * np.clip(2 * np.abs(place) / length - 1, 0, 2) / 2)
        made.append(Kernel(-half, fade * dual[place % size]))
    return made
