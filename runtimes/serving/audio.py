"""Audio files that clients send as they are: decoded, mixed to mono, at the model's rate."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.problems import invalid


def decoded(model: ServedModel, body: bytes) -> dict[str, npt.NDArray[Any]]:
    """The model's input for an audio file: wav, flac, ogg, mp3."""
    runner = model.runner
    if not runner.takes_waveforms:
        raise invalid(f"{model.name} takes {', '.join(runner.input_names)}, not audio; send tensors")
    if not body:
        raise invalid("the request is empty; send an audio file, or tensors as JSON")
    try:
        clip = runner.read(body, "the request")
    except (ValueError, OSError) as error:
        raise invalid(str(error)) from None
    return {runner.input_names[0]: clip.samples[None]}
