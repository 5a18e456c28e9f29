"""Numbers of frames inside a graph that runs: in ONNX where they can index on the device, in torch as what it exports at any length."""

from __future__ import annotations

from typing import Any

import numpy as np


def frame_numbers(onnx: Any, features: Any) -> tuple[Any, Any]:
    """For emitted features (batch, bins, frames): 0 ... frames - 1, and how many they are, a number for shape arithmetic."""
    frames = onnx.Squeeze(onnx.Shape(features, start=2, end=3), onnx.const([0]))
    return onnx.Range(onnx.const(np.int64(0)), frames, onnx.const(np.int64(1))), frames


def on_device(onnx: Any, number: Any) -> Any:
    """A number from shape arithmetic, which CUDA leaves on the CPU, as an array (1,) on the device, without a copy node."""
    one = onnx.const(np.int64(1))
    return onnx.Range(number, onnx.Add(number, one), one)


def at_most(places: Any, most: Any) -> Any:
    """A torch tensor of whole numbers lowered to ``most``, which may be a length that varies while torch exports."""
    import torch

    return torch.minimum(places, torch.ones_like(places) * most)
