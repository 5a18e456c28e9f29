"""Choose a lowering for every compound op: the cheapest on the target, by price or by the clock."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from specgraph import ops as _ops  # noqa: F401  (registers every op and lowering)
from specgraph.compound import Compound
from specgraph.cost import Cost, Target, target_named
from specgraph.dims import evaluate
from specgraph.graph import Graph
from specgraph.op import Constant, GraphError, Input, Op, Value
from specgraph.rewrite import rewritten
from specgraph.silence import without_silence

SECONDS = 10.0  # the clip that prices are for, batch 1


@dataclass(frozen=True)
class Choice:
    """What was chosen for a compound op, and what each candidate costs for ten seconds of audio, in seconds.

    None: the target lacks what it needs, or had better do without it. A lowering that does not apply to the op is absent.
    ``tolerance`` is the error that the lowering may make, as a fraction of the peak, where it is an approximation, and
    ``bound`` what its constants say of that error.
    """

    op: str
    chosen: str
    prices: Mapping[str, float | None]
    measured: bool = False
    tolerance: float | None = None
    bound: float | None = None


def lower(
    graph: Graph, target: str | Target = "cpu", prefer: Mapping[str, str] | None = None, tune: bool = False
) -> Graph:
    """A graph of primitive ops that computes what ``graph`` does, and in ``choices`` how that was decided.

    Args:
        graph: any graph.
        target: "cpu" or "cuda" for onnxruntime's providers, "torch", or a ``Target`` with its own numbers.
        prefer: lowerings by compound op, such as ``{"Stft": "conv"}``; where one does not apply, the price decides.
        tune: build the candidates and time them with onnxruntime on this machine instead of pricing them.

    Raises:
        GraphError: an op has no lowering that runs on the target, or ``prefer`` names one that does not exist.
    """
    target, prefer = target_named(target), prefer or {}
    _check(prefer)
    if target.name != "torch":  # whose modules do it themselves, and not while torch exports them: its lengths are symbols
        graph = without_silence(graph)
    expanded, choices = _expanded(graph, target, prefer, tune)
    return replace(rewritten(expanded, target.name), choices=(*graph.choices, *choices))


def trained_parts_expanded(graph: Graph) -> Graph:
    """Compound ops that are trained become the ops whose constants are trained, so that these are the graph's own."""

    def expanded(value: Value) -> Value | None:
        op = value.op
        if not isinstance(op, Compound) or op.forced is None or not getattr(op, "trainable", False):
            return None
        return op.lowerings[op.forced](op, *value.inputs)

    return graph.rewrite(expanded)


def _expanded(
    graph: Graph, target: Target, prefer: Mapping[str, str], tune: bool
) -> tuple[Graph, list[Choice]]:
    """The graph without compound ops, and how each was built, in the order of the graph."""
    choices: list[Choice] = []
    without_choice: list[int] = []
    while compound := next((value for value in graph.values() if isinstance(value.op, Compound)), None):
        op = compound.op
        assert isinstance(op, Compound)
        built = _built(compound)
        if len(built) == 1:
            (name,) = built
            if lacking := _lacking(replace(graph, outputs=built, about={}), target):
                raise GraphError(f"{op} has one lowering, {name}, which needs {lacking}, and {target.name} does not have it")
            without_choice.append(len(choices))
            choices.append(Choice(str(op), name, {}, False, op.accuracy(name), op.bound(name)))
        else:
            choices.append(_chosen(graph, compound, built, target, prefer, tune))
        graph = _everywhere(graph, compound, choices[-1].chosen)
    if without_choice:  # what each of them costs is what the graph does that it led to
        seconds = price(graph, target)
        for number in without_choice:
            choices[number] = replace(choices[number], prices={choices[number].chosen: seconds})
    return graph, choices


def _chosen(
    graph: Graph, compound: Value, built: Mapping[str, Value], target: Target, prefer: Mapping[str, str], tune: bool
) -> Choice:
    """The cheapest of several ways to build a compound value, or the one asked for."""
    op = compound.op
    assert isinstance(op, Compound)
    candidates = {}
    for name, value in built.items():
        # What a lowering is built of may have lowerings itself; all values before this one are primitive already.
        whole, _ = _expanded(replace(graph, outputs={"built": value}, about={}), target, prefer, tune)
        candidates[name] = graph.rewrite({compound: whole.outputs["built"]}.get)
    prices = {name: price(candidate, target) for name, candidate in candidates.items()}
    allowed = [name for name, seconds in prices.items() if seconds is not None]
    wanted = op.forced or prefer.get(type(op).__name__)
    measured = tune and len(allowed) > 1 and target.name != "torch" and wanted not in candidates
    if wanted in candidates:  # asked for by name, or the only one
        name = str(wanted)
        if lacking := _lacking(candidates[name], target):
            raise GraphError(f"lowering {name} of {op} needs {lacking}, which {target.name} does not have")
    elif op.forced:
        raise GraphError(f"lowering {op.forced} of {op} does not apply to these parameters; it has {', '.join(op.lowerings)}")
    elif not allowed:
        raise GraphError(f"{op} has no lowering that runs on {target.name}; it has {', '.join(op.lowerings)}")
    else:
        if measured:
            from specgraph.export.tune import timed

            prices |= timed({name: lower(candidates[name], target, prefer) for name in allowed}, target.name)
        name = min(allowed, key=lambda name: prices[name] or 0.0)
    return Choice(str(op), name, prices, measured, op.accuracy(name), op.bound(name))


def _built(compound: Value) -> dict[str, Value]:
    """A compound value in each way that applies."""
    op = compound.op
    assert isinstance(op, Compound)
    found = {}
    for name in [op.forced] if op.forced else list(op.lowerings):
        result = op.lowerings[name](op, *compound.inputs)
        if result is not None:
            if result.shape != compound.shape:
                raise GraphError(f"lowering {name} of {op} gives {result.shape} instead of {compound.shape}")
            found[name] = result
    return found


def _everywhere(graph: Graph, compound: Value, name: str) -> Graph:
    """The graph with an op built in one way wherever it stands, as an unrolled iteration has it, with the same constants."""
    op = compound.op
    assert isinstance(op, Compound)
    shapes = [operand.shape for operand in compound.inputs]
    operands = tuple(
        operand if isinstance(operand.op, Constant) else Value(Input(f"operand_{i}"), (), operand.shape, operand.dtype)
        for i, operand in enumerate(compound.inputs)
    )
    made = op.lowerings[name](op, *operands)
    assert made is not None
    varying = tuple(operand for operand in operands if not isinstance(operand.op, Constant))
    pattern = Graph(varying, {"made": made}, graph.sample_rate).values()

    def built(value: Value) -> Value | None:
        if value.op is not op or [operand.shape for operand in value.inputs] != shapes:
            return None
        if any(a is not b for a, b in zip(value.inputs, operands, strict=True) if isinstance(b.op, Constant)):
            return None
        new = dict(zip(operands, value.inputs, strict=True))
        for part in pattern:
            if part not in new:
                new[part] = part.op(*(new[operand] for operand in part.inputs)) if part.inputs else part
        return new[made]

    return graph.rewrite(built)


def _lacking(graph: Graph, target: Target) -> str | None:
    """What a candidate requires and the target has no kernel for."""
    return next((value.op.requires for value in graph.values() if value.op.requires in target.lacks), None)


def price(graph: Graph, target: Target) -> float | None:
    """Seconds on the target for ten seconds of audio at batch 1, or None where it is not for that target.

    Compound ops are not counted: they are the same in every candidate.
    """
    total = work(rewritten(graph, target.name), target)
    return None if total is None else target.seconds(total)


def work(graph: Graph, target: Target) -> Cost | None:
    """All that a rewritten graph does for ten seconds of audio at batch 1, or None where it is not for the target."""
    sizes = dict.fromkeys(graph.axes(), 1000) | {"batch": 1, "samples": max(int(SECONDS * graph.sample_rate), graph.least())}
    total = Cost()
    for value in graph.values():
        if isinstance(value.op, Constant | Compound) or not value.inputs:
            continue
        if value.op.requires in target.lacks | target.avoids:
            return None
        shapes = [evaluate(shape, sizes) for shape in (value.shape, *(operand.shape for operand in value.inputs))]
        total += value.op.cost(*shapes)
    return total


def _check(prefer: Mapping[str, str]) -> None:
    if not isinstance(prefer, Mapping):
        raise TypeError(f"prefer is a dict from compound ops to lowerings, such as {{'Stft': 'conv'}}, not {prefer!r}")
    compounds = {name: cls for name, cls in Op.registry.items() if issubclass(cls, Compound)}
    for name, wanted in prefer.items():
        if name not in compounds:
            raise GraphError(f"prefer names {name!r}; the compound ops are {', '.join(compounds)}")
        if wanted not in compounds[name].lowerings:
            near = difflib.get_close_matches(wanted, compounds[name].lowerings, 1)
            hint = f"; did you mean {near[0]!r}" if near else ""
            raise GraphError(f"{name} has no lowering {wanted!r}{hint}; it has {', '.join(compounds[name].lowerings)}")
