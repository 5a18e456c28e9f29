"""Audio files that clients send as they are: decoded, mixed to mono, at the model's rate."""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from specgraph.decoding import AudioError, Decoder, Limits, together
from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid


def decoded(model: ServedModel, body: bytes, most: int) -> dict[str, npt.NDArray[Any]]:
    """The model's input for an audio file, wav, flac, ogg or mp3; refused where it has more than ``most`` bytes: a small file can hold days of silence."""
    runner = model.runner
    if not runner.takes_waveforms:
        raise invalid(f"{model.name} takes {', '.join(runner.input_names)}, not audio; send tensors")
    if not body:
        raise invalid("the request is empty; send an audio file, or tensors as JSON")
    try:
        limits = Limits(math.inf, most)
        samples = together(Decoder(body, runner.sample_rate, runner.channels, runner.input_types[0], "the request", limits=limits).blocks())
    except AudioError as error:
        if error.kind == "too long":
            raise Refusal(Kind.TOO_LARGE, f"the request decodes to more than {most:,} bytes, the most that this server takes; send a shorter clip") from None
        raise invalid(str(error)) from None
    except (ValueError, OSError) as error:
        raise invalid(str(error)) from None
    return {runner.input_names[0]: samples[None]}
