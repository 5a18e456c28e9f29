"""Audio files that clients send as they are: decoded, mixed to mono, at the model's rate."""

from __future__ import annotations

import asyncio
import math
from functools import partial
from typing import Any

import numpy.typing as npt

from specgraph.decoding import AudioError, Decoder, Limits, together
from specgraph.runtimes.serving.budget import Holding
from specgraph.runtimes.serving.models import ServedModel
from specgraph.runtimes.serving.problems import Kind, Refusal, invalid
from specgraph.runtimes.serving.service import Service


async def decoded(service: Service, model: ServedModel, body: bytes, holding: Holding) -> dict[str, npt.NDArray[Any]]:
    """The model's input for an audio file, wav, flac, ogg or mp3.

    It is decoded block by block, so that files take turns, and one ends within a block of its deadline or of its client.

    Raises:
        Refusal: it is not audio, takes longer than ``limits.seconds``, or decodes to more than ``limits.request_bytes``, as a small
            file of days of silence does.
    """
    runner, most, seconds = model.runner, service.limits.request_bytes, service.limits.seconds
    if not runner.takes_waveforms:
        raise invalid(f"{model.name} takes {', '.join(runner.input_names)}, not audio; send tensors")
    if not body:
        raise invalid("the request is empty; send an audio file, or tensors as JSON")
    limits = Limits(math.inf, most)
    held: list[npt.NDArray[Any]] = []
    size = 0
    try:
        async with asyncio.timeout(seconds):
            open_body = partial(Decoder, body, runner.sample_rate, runner.channels, runner.input_types[0], "the request", limits=limits)
            decoder = await service.unpack(open_body)
            blocks = decoder.blocks()
            while (block := await service.unpack(next, blocks, None)) is not None:
                held.append(block)
                size += block.nbytes
                holding.add(block.nbytes)
    except TimeoutError:
        raise Refusal(Kind.LATE, f"the request was not decoded within {seconds:g} s; send a shorter clip") from None
    except AudioError as error:
        if error.kind == "too long":
            raise Refusal(Kind.TOO_LARGE, f"the request decodes to more than {most:,} bytes, the most that this server takes; send a shorter clip") from None
        raise invalid(str(error)) from None
    except (ValueError, OSError) as error:
        raise invalid(str(error)) from None
    holding.add(size)
    whole = await service.aside(together, held)
    holding.add(-size)
    return {runner.input_names[0]: whole[None]}
