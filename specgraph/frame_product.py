"""Frames times trained kernels in torch, without keeping the copied frames for the backward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def _rows(kernels: Tensor) -> Tensor:
    """Complex kernels (2, bins, width), conjugated, as real ones (2 * bins, width); real ones as they are."""
    return torch.cat([kernels[0], -kernels[1]]) if kernels.ndim == 3 else kernels


class FrameProduct(torch.autograd.Function):
    """(batch, samples), kernels, hop -> (batch, frames, bins or 2 * bins): every frame times every kernel.

    Frames overlap, and laid side by side they are width / hop times the signal: autograd would keep that copy, and the
    stacked kernels; here both are made again when they are needed.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(signal: Tensor, kernels: Tensor, hop: int) -> Tensor:
        return signal.unfold(-1, kernels.shape[-1], hop) @ _rows(kernels).T

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        signal, kernels, ctx.hop = inputs
        ctx.save_for_backward(signal, kernels)

    @staticmethod
    def backward(ctx: Any, *outer: Any) -> tuple[Tensor | None, Tensor | None, None]:
        (grad,), (signal, kernels) = outer, ctx.saved_tensors
        width, back, banks = kernels.shape[-1], None, None
        if ctx.needs_input_grad[0]:
            back = torch.ops.aten.unfold_backward(grad @ _rows(kernels), signal.shape, 1, width, ctx.hop)
        if ctx.needs_input_grad[1]:
            frames = signal.unfold(-1, width, ctx.hop)
            banks = grad.reshape(-1, grad.shape[-1]).T @ frames.reshape(-1, width)
            if kernels.ndim == 3:
                real, imaginary = banks.unflatten(0, (2, -1))
                banks = torch.stack([real, -imaginary])
        return back, banks, None
