"""Sound as it was recorded: 16-bit, of several channels, at another rate, made what a graph takes inside of the graph."""

from __future__ import annotations

import dataclasses
from typing import Any

from specgraph.dims import Dim
from specgraph.graph import Graph
from specgraph.op import GraphError, Input, Value
from specgraph.ops.affine import Affine
from specgraph.ops.from_int16 import FromInt16, Int16Input
from specgraph.ops.lengths import Lengths
from specgraph.ops.mix_channels import MixChannels
from specgraph.ops.resample import Resample
from specgraph.ragged import has_lengths
from specgraph.shapes import WAVEFORMS
from specgraph.sources import as_graph

INPUT_DTYPES = "float32", "int16"
FULL_SCALE = 32768  # what 16-bit samples are divided by, so that they are -1 ... 1
MOST_CHANNELS = 64

# resampy's and torchaudio's "best": 1 to 1e-5 below 0.88 of the lower rate's Nyquist frequency, -6 dB at 0.948, below -140 dB from 1.02 on.
FILTER: dict[str, Any] = {"lowpass_filter_width": 64, "rolloff": 0.9475937167399596, "resampling_method": "sinc_interp_kaiser"}


def with_input(source: Any, dtype: str = "float32", rate: int | None = None, channels: int = 1) -> Graph:
    """The graph of ``source`` for sound as it was recorded: the same outputs, of samples that nobody has converted before.

    The input ``waveforms`` becomes (batch, samples), or with several channels (batch, channels, samples), at ``rate``, which is then the
    graph's sample rate. In the graph, in this order, and only what is needed of it:

    - ``int16``: ``x / 32768``, so that samples are in -1 ... 1. A power of two: where a preset multiplies by it, nothing is lost.
    - ``channels``: the mean, ``sum over c of x[:, c] / channels``.
    - ``rate``: ``Resample(rate, sample_rate)`` with a Kaiser window (64 zero crossings, torchaudio's ``sinc_interp_kaiser`` with a
      rolloff of 0.9476): ``ceil(samples * sample_rate / rate)`` samples, zeros outside of the clip. It leaves what is below 0.88 of
      the lower rate's Nyquist frequency as it is to 1e-5, halves what is at 0.948, and drops what is above 1.02 by 140 dB.

    What follows is the graph as it was. Its hop, its reach and the shortest clip are counted in samples of the input, and so
    are ``waveforms_lens`` where it takes lengths, before or after. A lower rate than the graph's is possible; what such a clip
    lacks above half of its rate stays empty.

    Args:
        source: a transform, a preset, a module made from one, or a graph, of waveforms (batch, samples).
        dtype: of the samples, "float32" or "int16".
        rate: samples a second of the input; None is the graph's own.
        channels: of the input, 1 to 64.

    Raises:
        GraphError: the graph takes something else, or the two rates have no common divisor that is large enough; both are named.
        ValueError, TypeError: a wrong argument.
    """
    graph = as_graph(source, "with_input")
    _check(dtype, rate, channels)
    wave = graph.inputs[0]
    assert isinstance(wave.op, Input)
    if wave.op.sizes != WAVEFORMS or wave.dtype != "float" or not (len(graph.inputs) == 1 or has_lengths(graph)):
        takes = ", ".join(f"{value.op.label}, {value.dtype} {value.shape}" for value in graph.inputs)
        raise GraphError(f"with_input is for a graph of waveforms (batch, samples) in floating point, and {graph.name} takes {takes}")
    rate = graph.sample_rate if rate is None else rate
    if (dtype, rate, channels) == ("float32", graph.sample_rate, 1):
        return graph
    sizes = WAVEFORMS if channels == 1 else (WAVEFORMS[0], channels, WAVEFORMS[1])
    kind = Int16Input if dtype == "int16" else Input
    given = kind(wave.op.name, sizes)()
    mono = mixed(given)
    lens = graph.inputs[1:]
    rebuilt: dict[Value, Value] = {value: value for value in lens} | {wave: mono}
    if rate != graph.sample_rate:
        op = Resample(rate, graph.sample_rate, **FILTER)
        made = op.ragged(lambda value: lens[0], mono) if lens else op(mono)
        assert made is not None
        rebuilt[wave] = made
        size = made.shape[1]
        assert isinstance(size, Dim)
        rebuilt |= {value: Lengths(size.steps)(value) for value in lens}
    for value in graph.values():
        if value not in rebuilt:
            rebuilt[value] = value.op(*(rebuilt[operand] for operand in value.inputs)) if value.inputs else value
    told = {"input_dtype": dtype, "input_rate": rate, "input_channels": channels}
    return dataclasses.replace(
        graph,
        inputs=(given, *lens),
        outputs={name: rebuilt[value] for name, value in graph.outputs.items()},
        sample_rate=rate,
        parameters={**graph.parameters, **told},
        choices=(),
    )


def mixed(given: Value) -> Value:
    """(batch, samples), or (batch, channels, samples), float or 16-bit, as one channel of floats in -1 ... 1."""
    value, scale = (FromInt16()(given), 1.0 / FULL_SCALE) if given.dtype == "int16" else (given, 1.0)
    if len(given.shape) == 3:
        return MixChannels(scale)(value)
    return value if scale == 1 else Affine(scale)(value)


def _check(dtype: Any, rate: Any, channels: Any) -> None:
    if dtype not in INPUT_DTYPES:
        raise ValueError(f"the input's dtype must be {' or '.join(map(repr, INPUT_DTYPES))}, not {dtype!r}")
    for name, value, most in (("rate", 1 if rate is None else rate, 2**31), ("channels", channels, MOST_CHANNELS)):
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{name} must be a whole number, not {value!r}")
        if not 1 <= value <= most:
            raise ValueError(f"{name} must be from 1 to {most}, not {value}")
