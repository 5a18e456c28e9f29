"""A graph as readable text: a line an op, with its operands, its shape and the size of its constants."""

from __future__ import annotations

import math

from specgraph.dims import text
from specgraph.graph import Graph
from specgraph.op import Constant, Input, Value


def listing(graph: Graph) -> str:
    """What ``print(graph)`` shows."""
    names: dict[Value, str] = {}
    rows: list[tuple[str, str, str, str]] = []
    outputs = {value: name for name, value in graph.outputs.items()}
    held = 0
    for value in graph.values():
        op = value.op
        if isinstance(op, Input):
            names[value] = f"%{op.name}"
            rows.append((names[value], "input int16" if value.dtype == "int16" else "input", text(value.shape), ""))
            continue
        names[value] = f"%{outputs[value]}" if value in outputs else f"%{len(names)}"
        note = ""
        if isinstance(op, Constant):
            size = 4 * math.prod(op.shape)
            held += size
            note = bytes_text(size) + (" trainable" if op.trainable else "")
        operands = " ".join(names[operand] for operand in value.inputs)
        rows.append((names[value], f"{op} {operands}".rstrip(), text(value.shape), note))
    ops = sum(bool(value.inputs) for value in graph.values())
    widths = [min(max(len(row[i]) for row in rows), 78) for i in range(3)]
    lines = [f"{graph.name} at {graph.sample_rate} Hz: {ops} ops, {bytes_text(held)} of constants"]
    for name, call, shape, note in rows:
        lines.append(f"  {name:<{widths[0]}} = {call:<{widths[1]}}  {shape:<{widths[2]}}  {note}".rstrip())
    lines.append(f"  return {', '.join(f'{name}: {names[value]}' for name, value in graph.outputs.items())}" + (f" in {graph.dtype}" if graph.dtype != "float32" else ""))
    lines += [f"  {choice.op}: {choice.chosen}" for choice in graph.choices]
    return "\n".join(lines)


def bytes_text(count: float) -> str:
    """A number of bytes for people: ``64.3 KB``."""
    for unit in ("B", "KB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
