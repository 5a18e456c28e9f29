"""Parameter groups for an optimizer: front ends at a learning rate of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def parameter_groups(model: nn.Module, lr: float, front_end_lr: float | None = None) -> list[dict[str, Any]]:
    """The parameters of ``model`` for an optimizer: those of its specgraph front ends in one group, all others in another.

    Every parameter is in exactly one group, also one that is shared; a group without parameters is left out. A group's
    ``name`` is "front_end" or "others".

    Args:
        model: any module that contains modules made by ``.module()``, or one of these itself.
        lr: learning rate of the others.
        front_end_lr: learning rate of the front ends; None: ``lr``.

    Raises:
        ValueError: the model has no parameters, or a rate is negative.

    >>> import specgraph as sg, torch
    >>> front_end = sg.MelSpectrogram(n_mels=40).module(trainable=("mel",))
    >>> model = torch.nn.Sequential(front_end, torch.nn.Conv1d(40, 10, 3))
    >>> [(group["name"], group["lr"]) for group in sg.parameter_groups(model, lr=1e-3, front_end_lr=1e-4)]
    [('others', 0.001), ('front_end', 0.0001)]
    """
    from specgraph.module import GraphModule

    rates = {"others": lr, "front_end": lr if front_end_lr is None else front_end_lr}
    for rate in rates.values():
        if not rate >= 0:
            raise ValueError(f"a learning rate is at least 0, not {rate!r}")
    front = {id(p) for module in model.modules() if isinstance(module, GraphModule) for p in module.parameters()}
    groups: dict[str, list[Any]] = {name: [] for name in rates}
    for parameter in model.parameters():
        groups["front_end" if id(parameter) in front else "others"].append(parameter)
    if not any(groups.values()):
        raise ValueError("the model has no parameters; make its front end with trainable=(...)")
    return [{"params": held, "lr": rates[name], "name": name} for name, held in groups.items() if held]
