"""torch's recurrent layers as the ONNX operators of the same names, while torch exports.

Tracing one, torch takes as many steps as the example has frames: that takes a minute for a second of sound, and what comes after
keeps that number of frames (torch 2.13).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

FLOAT32 = 1  # as ONNX numbers types
GATES = {"GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2), "RNN": (0,)}  # in ONNX's order, by their places in torch's


@contextmanager
def recurrent_layers_replaced(model: Any) -> Iterator[None]:
    """In the block, calls of ``nn.GRU``, ``nn.LSTM`` and ``nn.RNN`` in a model are traced as nodes of the operators."""
    from torch import nn

    layers = [module for module in model.modules() if type(module) in (nn.GRU, nn.LSTM, nn.RNN) and not module.proj_size]
    for layer in layers:
        layer.forward = partial(_forward, layer, _weights(layer))
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _weights(layer: Any) -> list[list[Any]]:
    """For each layer, the operator's three arrays: (directions, gates * hidden, ...), made before anything is traced."""
    import torch

    kind = type(layer).__name__
    sides = ("", "_reverse") if layer.bidirectional else ("",)

    def ordered(name: str) -> torch.Tensor:
        parts = getattr(layer, name).detach().chunk(len(GATES[kind]))
        return torch.cat([parts[place] for place in GATES[kind]])

    def biases(number: int, side: str) -> torch.Tensor:
        names = [f"bias_{of}_l{number}{side}" for of in ("ih", "hh")]
        return torch.cat([ordered(name) for name in names] if layer.bias else [torch.zeros(2 * len(GATES[kind]) * layer.hidden_size)])

    return [
        [
            torch.stack([ordered(f"weight_ih_l{number}{side}") for side in sides]),
            torch.stack([ordered(f"weight_hh_l{number}{side}") for side in sides]),
            torch.stack([biases(number, side) for side in sides]),
        ]
        for number in range(layer.num_layers)
    ]


def _forward(layer: Any, weights: list[list[Any]], signal: Any, hx: Any = None) -> Any:
    import torch

    if not isinstance(signal, torch.Tensor) or signal.ndim != 3:  # packed, or without a batch: as torch has it
        return type(layer).forward(layer, signal, hx)
    kind, hidden = type(layer).__name__, layer.hidden_size
    directions = 2 if layer.bidirectional else 1
    values = signal.transpose(0, 1) if layer.batch_first else signal
    frames, batch = values.shape[:2]
    states = () if hx is None else tuple(hx) if kind == "LSTM" else (hx,)
    attributes: dict[str, Any] = {"hidden_size": hidden, "direction": "bidirectional" if layer.bidirectional else "forward"}
    if kind == "GRU":
        attributes["linear_before_reset"] = 1
    if kind == "RNN":
        attributes["activations"] = [layer.nonlinearity.capitalize()] * directions
    last: list[list[Any]] = []
    for number, arrays in enumerate(weights):
        first = [state[number * directions : (number + 1) * directions] for state in states]
        shapes = [[frames, directions, batch, hidden], *([[directions, batch, hidden]] * (2 if kind == "LSTM" else 1))]
        given = [values, *arrays, None, *first] if first else [values, *arrays]
        made = torch.onnx.ops.symbolic_multi_out(f"::{kind}", given, attributes, dtypes=[FLOAT32] * len(shapes), shapes=shapes)
        values = made[0].transpose(1, 2).flatten(2)
        last.append(list(made[1:]))
    result = values.transpose(0, 1) if layer.batch_first else values
    ends = tuple(torch.cat(ends) for ends in zip(*last, strict=True))
    return result, ends if kind == "LSTM" else ends[0]
