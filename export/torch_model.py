"""A torch model made ready for export: checked, in eval mode, with example inputs and names."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from specgraph.dims import evaluate
from specgraph.export.neighbours import MIXES, mixing
from specgraph.export.signals import to_int16
from specgraph.export.torch_export import Axes
from specgraph.graph import Graph
from specgraph.op import Array
from specgraph.runtimes.session import first_line

if TYPE_CHECKING:
    import torch

TIME_AXIS = {2: 1, 3: 2, 4: 3}  # by rank, where nothing else is said: the last, as waveforms and features have it
CLIPS = 2  # of an example
CHANNELS = 1, 2  # that are tried where a model does not take (batch, samples)
MOST_CHANNELS = 8  # of an axis before samples; a larger one holds bins
PARTS = 2  # an axis of this size at the end holds the parts of complex numbers


@contextmanager
def ready(model: Any) -> Iterator[Any]:
    """The model in eval mode and on the CPU; its modes are put back, and a model on another device is copied, not moved.

    Raises:
        TypeError: it holds no front end, or parameters that are not float32.
    """
    import torch

    name = type(model).__name__
    if not front_ends(model):
        raise TypeError(
            f"{name} holds no specgraph module, so there is no front end to export: make one with transform.module(), keep it as an "
            "attribute of the model, and call it in forward; without one, torch.onnx.export is the tool"
        )
    for called, tensor in (*model.named_parameters(), *_held(model)):
        if tensor.is_floating_point() and tensor.dtype != torch.float32:
            raise TypeError(f"{name} is exported in float32, and {called} is {tensor.dtype}; convert it first, by model.float()")
    if any(tensor.device.type != "cpu" for tensor in (*model.parameters(), *model.buffers())):
        model = copy.deepcopy(model).cpu()
    modes = {module: module.training for module in model.modules()}
    held = set(front_ends(model))
    buffers = [(buffer, buffer.clone()) for module in model.modules() if module not in held for buffer in module.buffers(recurse=False)]
    model.eval()
    try:
        yield model
    finally:
        for buffer, before in buffers:
            buffer.copy_(before)
        for module, training in modes.items():
            module.training = training


def front_ends(model: Any) -> list[Any]:
    """The modules made of a graph in a model, in the order that it holds them."""
    from specgraph.module import GraphModule

    return [module for module in model.modules() if isinstance(module, GraphModule)]


def _held(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """The fixed constants of front ends."""
    held = set(front_ends(model))
    for called, module in model.named_modules():
        if module in held:
            for name, tensor in module.named_buffers(recurse=False):
                yield f"{called}.{name}", tensor


def example_inputs(model: Any, inputs: Any) -> tuple[torch.Tensor, ...]:
    """Tensors to trace with: those given, on the CPU, or where the model takes one tensor two clips of noise of a second.

    Raises:
        TypeError, ValueError: they are needed and not given, or are not tensors of float32, the others of whole numbers perhaps.
    """
    import torch

    name, taken = type(model).__name__, _parameters(model)
    if inputs is not None:
        given = tuple(inputs) if isinstance(inputs, list | tuple) else (inputs,)
        for number, value in enumerate(given):
            array = torch.from_numpy(value) if isinstance(value, np.ndarray) else value
            dtypes = taken_dtypes(model) if number == 0 else (*taken_dtypes(model), torch.int64, torch.int32, torch.bool)
            if not isinstance(array, torch.Tensor) or array.dtype not in dtypes:
                kind = str(array.dtype) if isinstance(array, torch.Tensor) else type(value).__name__
                wanted = "float32" if number == 0 else "float32, int64, int32 or bool"
                raise TypeError(f"inputs must be {wanted} tensors or arrays, one for each that forward takes, and number {number} is {kind}")
        tensors = tuple((torch.from_numpy(v) if isinstance(v, np.ndarray) else v).detach().cpu().contiguous() for v in given)
        if tensors and tensors[0].ndim < 2:
            raise ValueError(
                f"the first of inputs has shape {tuple(tensors[0].shape)}, and a file takes a batch of clips; let forward of {name} take "
                "(batch, samples), and give that"
            )
        return tensors
    if not taken:
        raise ValueError(f"forward of {name} takes nothing, and a file has inputs; let it take waveforms")
    if len(taken) != 1:
        raise ValueError(f"forward of {name} takes {', '.join(taken) or 'nothing'}; give an example of each, inputs=(...)")
    firsts = _of_waveforms(model)
    if not firsts:
        raise ValueError(f"no front end of {name} takes waveforms, so what it takes is not known; give an example, inputs=(...,)")
    return (_taken_waveforms(model, firsts),)


def _taken_waveforms(model: Any, firsts: Sequence[Graph]) -> torch.Tensor:
    """Two clips of noise in a shape that ``forward`` takes: as its first front end takes them, or with an axis of channels.

    Raises:
        ValueError: it takes none of them, or mixes the clips.
    """
    import torch

    name, wave = type(model).__name__, firsts[0].inputs[0]
    samples = max(firsts[0].sample_rate, *(2 * graph.least_along_the_clip() for graph in firsts), 2)
    own = evaluate(wave.shape, {"batch": CLIPS, "samples": samples})
    failures: list[str] = []
    mixed: list[str] = []
    for shape in dict.fromkeys([own, *((CLIPS, channels, samples) for channels in CHANNELS)]):
        noise = 0.1 * np.random.default_rng(0).standard_normal((CLIPS + 1, *shape[1:]))
        clips = to_int16(noise) if wave.dtype == "int16" else noise.astype(np.float32)
        try:
            found = mixing(lambda arrays: _outputs(model, arrays), (clips[:CLIPS],), (clips,), (clips[:1],))
        except Exception as error:  # noqa: BLE001  (whatever a model's layers raise at a shape that is not for them)
            failures.append(f"{shape} ({first_line(error)})")
            continue
        if found is None and mixed and _front_end_takes(model, clips[:CLIPS], len(shape)):
            continue  # front ends take any leading axes, so that this shape runs says nothing of what the layers mean
        if found is None:
            return torch.from_numpy(clips[:CLIPS].copy())
        mixed.append(found)
    if mixed:
        raise ValueError(mixed_clips(name, mixed[0]))
    raise ValueError(f"forward of {name} fails on waveforms of shape {', and of '.join(failures)}; give an example of what it takes, inputs=(...,)")


def _front_end_takes(model: Any, clips: Array, rank: int) -> bool:
    """Whether a front end of the model is given clips with this many axes, as they came."""
    ranks: list[int] = []
    hooks = [one.register_forward_pre_hook(lambda _, given: ranks.append(given[0].ndim)) for one in front_ends(model)]
    try:
        _outputs(model, (clips,))
    finally:
        for hook in hooks:
            hook.remove()
    return rank in ranks


def mixed_clips(name: str, found: str) -> str:
    """The sentence about a model that mixes the clips of a batch."""
    instead = "; or give inputs=(...) of one clip with dynamic_shapes=({1: 'samples'},), for a file that takes one" if MIXES in found else ""
    return f"{name} {found}{instead}"


def _outputs(model: Any, arrays: tuple[Array, ...]) -> dict[str, Array]:
    """What ``forward`` returns, by name; nothing where that is not tensors, which is said later."""
    import torch

    with torch.no_grad():
        result = model(*(torch.from_numpy(array) for array in arrays))
    found = _flat(result) or []
    return {name: tensor.numpy() for name, tensor in zip(_default_names(result, len(found)), found, strict=True)}


def _of_waveforms(model: Any) -> list[Graph]:
    return [module.definition for module in front_ends(model) if module.definition.takes_waveforms]


def taken_dtypes(model: Any) -> tuple[torch.dtype, ...]:
    """float32, and int16 where a front end takes that."""
    import torch

    int16 = any(graph.inputs[0].dtype == "int16" for graph in _of_waveforms(model))
    return (torch.float32, torch.int16) if int16 else (torch.float32,)


def _parameters(model: Any) -> list[str]:
    """What forward must be given.

    Raises:
        ValueError: some of it by keyword only.
    """
    kinds = inspect.Parameter
    needed = [
        parameter
        for parameter in inspect.signature(model.forward).parameters.values()
        if parameter.default is parameter.empty and parameter.kind is not kinds.VAR_KEYWORD
    ]
    if named := [parameter.name for parameter in needed if parameter.kind is kinds.KEYWORD_ONLY]:
        raise ValueError(
            f"forward of {type(model).__name__} takes {', '.join(named)} by keyword only, and a file's inputs have an order; give it a default, "
            "or take it by place"
        )
    return [parameter.name for parameter in needed]


def names_of_inputs(model: Any, given: Sequence[Any], names: Sequence[str] | None) -> tuple[str, ...]:
    """The names given, or ``waveforms`` for one input of rank 2 and ``features`` of another, or those that forward has."""
    if names is not None:
        return _checked_names("input_names", names, len(given))
    if len(given) == 1:
        channels = given[0].ndim == 3 and given[0].shape[1] <= MOST_CHANNELS and bool(_of_waveforms(model))
        return ("waveforms" if given[0].ndim < 3 or channels else "features",)
    taken = list(inspect.signature(model.forward).parameters)
    return tuple(taken[: len(given)]) if len(taken) >= len(given) else tuple(f"input_{i}" for i in range(len(given)))


def varying_axes(names: Sequence[str], given: Sequence[Any], dynamic_shapes: Any) -> Axes:
    """The axes that vary and their names: those given, or the first of each input, and the last, along the clip.

    Raises:
        ValueError: ``dynamic_shapes`` is not a dict of names by axis for each input.
    """
    if dynamic_shapes is None:
        return tuple(_usual(number, tensor, name) for number, (name, tensor) in enumerate(zip(names, given, strict=True)))
    if isinstance(dynamic_shapes, Mapping):
        dynamic_shapes = [dynamic_shapes.get(name) for name in names]
    made = []
    for tensor, one in zip(given, dynamic_shapes, strict=False):
        named = {} if one is None else dict(one)
        if any(not isinstance(axis, int) or not 0 <= axis < tensor.ndim or not isinstance(n, str) or not n.isidentifier() for axis, n in named.items()):
            raise ValueError(f"dynamic_shapes holds a dict of names by axis for each input, such as ({{0: 'batch', 1: 'samples'}},), not {one!r}")
        made.append(named)
    if len(made) != len(given) or len(dynamic_shapes) != len(given):
        raise ValueError(f"dynamic_shapes must hold {len(given)}, one for each input, and holds {len(dynamic_shapes)}")
    return tuple(made)


def _usual(number: int, tensor: Any, name: str) -> dict[int, str]:
    axis = TIME_AXIS.get(tensor.ndim)
    if axis == 3 and tensor.shape[3] == PARTS:
        axis = 2
    return {0: "batch"} | ({axis: "samples" if tensor.ndim == 2 or number or name == "waveforms" else "frames"} if axis else {})


def several_clips(given: tuple[Any, ...], axes: Axes) -> tuple[Any, ...]:
    """The inputs, with two clips where one was given and any number is to be taken: torch takes a size of one for a fixed one."""
    made = []
    for tensor, one in zip(given, axes, strict=True):
        repeats = [CLIPS if axis in one and size == 1 else 1 for axis, size in enumerate(tensor.shape)]
        made.append(tensor.repeat(repeats) if max(repeats, default=1) > 1 else tensor)
    return tuple(made)


def names_of_outputs(model: Any, given: tuple[Any, ...], names: Sequence[str] | None) -> tuple[str, ...]:
    """The names given; or the keys of the dict that forward returns; or ``output``, of several ``output_1``, ``output_2``, ..."""
    import torch

    try:
        with torch.no_grad():
            result = model(*given)
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in given)
        raise ValueError(f"forward of {type(model).__name__} fails on inputs of shape {shapes}: {first_line(error)}") from error
    found = _flat(result)
    if found is None:
        raise ValueError(f"forward of {type(model).__name__} must return a tensor, or a tuple or dict of tensors, not {_kind(result)}")
    if names is not None:
        return _checked_names("output_names", names, len(found))
    return _default_names(result, len(found))


def _default_names(result: Any, count: int) -> tuple[str, ...]:
    if count and isinstance(result, Mapping) and all(str(key).isidentifier() for key in result):
        return tuple(map(str, result))
    return ("output",) if count == 1 else tuple(f"output_{number}" for number in range(1, count + 1))


def runner(model: Any, names: Sequence[str]) -> Callable[[tuple[Array, ...]], dict[str, Array]]:
    """The model as a function of arrays, in torch."""
    import torch

    def run(arrays: tuple[Array, ...]) -> dict[str, Array]:
        with torch.no_grad():
            result = _flat(model(*(torch.from_numpy(array) for array in arrays)))
        assert result is not None
        return {name: tensor.numpy() for name, tensor in zip(names, result, strict=True)}

    return run


def _flat(result: Any) -> list[Any] | None:
    """The tensors of a tensor, or of a tuple, list or dict of them; None for anything else."""
    import torch

    values = list(result.values()) if isinstance(result, Mapping) else list(result) if isinstance(result, list | tuple) else [result]
    return values if values and all(isinstance(value, torch.Tensor) for value in values) else None


def _kind(result: Any) -> str:
    if isinstance(result, Mapping):
        return f"a dict of {', '.join(f'{key}: {type(value).__name__}' for key, value in result.items()) or 'nothing'}"
    if isinstance(result, list | tuple):
        return f"a {type(result).__name__} of {', '.join(type(value).__name__ for value in result) or 'nothing'}"
    return f"a {type(result).__name__}"


def _checked_names(argument: str, names: Sequence[str], count: int) -> tuple[str, ...]:
    names = (names,) if isinstance(names, str) else tuple(names)
    if len(names) != count or len(set(names)) != count or not all(isinstance(name, str) and name.isidentifier() for name in names):
        raise ValueError(f"{argument} must be {count} different identifiers, not {names!r}")
    return names
