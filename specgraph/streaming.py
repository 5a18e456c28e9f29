"""A graph that works on a stream: a chunk and what is kept of those before it, to features and what is kept for the next."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from specgraph.compound import Compound
from specgraph.graph import Graph
from specgraph.instead import instead
from specgraph.op import GraphError, Input, Value
from specgraph.ops.concat import Concat
from specgraph.ops.layout import Slice, is_time
from specgraph.reach import common_step, margins
from specgraph.shapes import NEXT_STATE

SECONDS = 0.1  # of the chunk, unless given


def streaming(graph: Graph, chunk: int | None = None) -> Graph:
    """``chunk`` (batch, N), ``state`` (batch, S) -> the outputs for N samples of them, and ``next_state`` (batch, S).

    Of several channels they are (batch, channels, N) and (batch, channels, S); the state is of the input's dtype.

    All sizes but the batch are fixed. A stream begins with a state of zeros, and each call's ``next_state`` is the next one's
    ``state``. The frames of all calls together are those of the sound so far, as if it stood in silence: the first
    ``parameters["stream_delay"]`` frames lie before it, and the last ones come when as many zeros follow. Where the graph
    pads by other than zeros, or resamples, the frames that reach beyond the ends of the clip differ from those of the whole clip, no others;
    with ``cmvn="sliding"`` those are the first ``cmvn_window`` frames, whose window holds silence. ``Runner.stream`` gives them as they are
    in the whole clip. A lowering that approximates is chosen for the chunk, and may be another one than for the whole clip.

    Args:
        graph: of waveforms alone, in which every output reads a bounded stretch of the clip.
        chunk: N, a multiple of the largest hop; None for about a tenth of a second.

    Raises:
        GraphError: something looks at the whole clip, the input is not waveforms, or N is not such a multiple; in a sentence.
    """
    wave = graph.inputs[0]
    if len(graph.inputs) > 1 or not graph.takes_waveforms or not isinstance(wave.op, Input):
        raise GraphError(f"a stream is of waveforms (batch, samples), and {graph.name} takes {', '.join(map(str, graph.inputs))}")
    found = graph.reach()
    whole = dict.fromkeys(
        str(value.op)
        for value in graph.values()
        if value in found and not value.op.reach(*(operand.shape for operand in value.inputs)).finite
    )
    if whole:
        first, *others = ((op, instead(op, graph.parameters)) for op in whole)
        more = "".join(f"; so does {op}: {advice}" for op, advice in others)
        raise GraphError(f"{graph.name} cannot stream: {first[0]} looks at the whole clip; {first[1]}{more}, or export it without streaming")
    step = common_step(found.values())
    size = -(-int(SECONDS * graph.sample_rate) // step) * step if chunk is None else chunk
    if isinstance(size, bool) or not isinstance(size, int) or size < 1 or size % step:
        raise GraphError(f"chunk must be a multiple of {step} samples, the hop, and not {chunk!r}")
    # How the graph will be lowered is not decided yet.
    approximate = any(isinstance(v.op, Compound) and any(v.op.accuracy(name) for name in v.op.lowerings) for v in graph.values())
    before, after = margins([found[value] for value in graph.outputs.values()], approximate)
    lead = -(-before // step) * step  # the first position that has all that it reads
    state = max(-(-(lead + after) // step), 1) * step  # where nothing is kept too: an input of no samples is none
    state += -(-max(graph.least_along_the_clip() - state - size, 0) // step) * step
    new = replace(wave.op, name="chunk", sizes=(*wave.op.sizes[:-1], size))()
    old = replace(wave.op, name="state", sizes=(*wave.op.sizes[:-1], state))()
    along = len(wave.shape) - 1
    sound = Concat(along)(old, new)
    rebuilt = {wave: sound}
    for value in graph.values():
        if value not in rebuilt:
            rebuilt[value] = value.op(*(rebuilt[operand] for operand in value.inputs)) if value.inputs else value
    outputs: dict[str, Value] = {}
    for name, value in graph.outputs.items():
        axis = next(axis for axis, length in enumerate(value.shape) if is_time(length))
        begin, frames = int(lead / found[value].hop), int(size / found[value].hop)
        outputs[name] = Slice(begin, begin + frames, axis)(rebuilt[value])
    delay: dict[str, Any] = {name: int((state - lead) / found[value].hop) for name, value in graph.outputs.items()}
    return replace(
        graph,
        inputs=(new, old),
        outputs=outputs | {NEXT_STATE: Slice(size, None, along)(sound)},
        parameters={**graph.parameters, "stream_chunk": size, "stream_state": state, "stream_delay": delay},
        choices=(),
    )
