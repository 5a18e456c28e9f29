"""Numbers of frames, and frames by their numbers, inside a graph that runs: in ONNX on its device, in torch at any length."""

from __future__ import annotations

from typing import Any

import numpy as np


def frame_numbers(onnx: Any, features: Any, axis: int = 2) -> tuple[Any, Any]:
    """For emitted features (batch, bins, frames): 0 ... frames - 1, and how many they are, a number for shape arithmetic."""
    frames = onnx.Squeeze(onnx.Shape(features, start=axis, end=axis + 1), onnx.const([0]))
    return onnx.Range(onnx.const(np.int64(0)), frames, onnx.const(np.int64(1))), frames


def on_device(onnx: Any, number: Any) -> Any:
    """A number from shape arithmetic, which CUDA leaves on the CPU, as an array (1,) on the device, without a copy node."""
    one = onnx.const(np.int64(1))
    return onnx.Range(number, onnx.Add(number, one), one)


def frames_at(onnx: Any, features: Any, places: Any, rank: int, by_clip: bool) -> Any:
    """(batch, bins, frames) -> (batch, bins, ...): the frames at ``places`` (...), or at each clip's own, (batch, ...), ``by_clip``.

    ``rank`` is that of ``places``.
    """
    if not by_clip:
        return onnx.Gather(features, places, axis=2)
    rows = onnx.Transpose(features, perm=[0, 2, 1])
    taken = onnx.GatherND(rows, onnx.Unsqueeze(places, onnx.const([rank])), batch_dims=1)
    return onnx.Transpose(taken, perm=[0, rank, *range(1, rank)])


def torch_frames_at(features: Any, places: Any, by_clip: bool) -> Any:
    """The same in torch."""
    if not by_clip:
        return features[:, :, places]
    index = places.flatten(1)[:, None].expand(-1, features.shape[1], -1)
    return features.gather(2, index).unflatten(2, places.shape[1:])


def numpy_frames_at(features: Any, places: Any, by_clip: bool) -> Any:
    """The same in numpy."""
    if not by_clip:
        return features[:, :, places]
    return np.stack([clip[:, frames] for clip, frames in zip(features, places, strict=True)])


def at_most(places: Any, most: Any) -> Any:
    """A torch tensor of whole numbers lowered to ``most``: another, or a length that varies while torch exports."""
    import torch

    return torch.minimum(places, torch.ones_like(places) * most)
