"""A model repository for NVIDIA's Triton Inference Server: folders, models and their config.pbtxt.

The configuration's schema is ``model_config.proto`` of Triton, of which tritonclient brings the messages; its meaning is that of
Triton's documentation ("Model Configuration", "Model Repository", "Ensemble Models", "Ragged Batching" for inputs of one number a clip).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specgraph.files import resolved
from specgraph.runtimes.loading import load
from specgraph.runtimes.ort import TYPES, OrtRunner
from specgraph.runtimes.pinned import read_model_file, require_files
from specgraph.runtimes.serving.tensors import DATATYPES
from specgraph.runtimes.session import session

WRITTEN = "# written by specgraph triton, SHA-256 of what follows: "  # the first line of a configuration: an edited one is not replaced
WARM_SECONDS = 1.0  # of sound that an instance is run on before it takes requests
MICROSECONDS = 1e6
LAST_VERSION = 2**63 - 1
MODEL_FILE = "model.onnx"  # in the folder of a version
LONGEST_NAME = 255  # bytes, of a folder


@dataclass(frozen=True)
class Options:
    """How Triton runs a model.

    Attributes:
        max_batch: most clips of a call.
        delay: seconds that a request may wait for others of its length to share its call.
        queue: most requests that wait; more are refused.
        timeout: seconds that a request may wait before it is refused; clients may ask for less.
        instances: copies of the model that run at once, on each GPU or on the CPU.
        gpu: whether they run on GPUs; Triton does not load the model where there is none.
        warm_up: whether each is run once before it takes requests.
    """

    max_batch: int = 32
    delay: float = 0.002
    queue: int = 256
    timeout: float = 5.0
    instances: int = 1
    gpu: bool = False
    warm_up: bool = True


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model file; None is a size that varies."""

    name: str
    type: str
    shape: tuple[int | None, ...]


def write_repository(
    model: Path, folder: Path, name: str | None = None, version: int = 1, options: Options | None = None, then: Path | None = None
) -> list[Path]:
    """Write a model repository, or add to one.

    Args:
        model: a file that specgraph wrote.
        folder: the repository; made if it is not there. A model of that name and version in it is not replaced.
        name: of the model in Triton; the file's if None.
        version: the number of its folder, from 1.
        options: how Triton runs it, and the model behind it.
        then: an .onnx model that takes the features: it is added too, and ``NAME_pipeline``, an ensemble from waveforms to its outputs.

    Returns:
        The folders of the models that were written.

    Raises:
        ValueError: the model does not suit Triton, or the two do not fit together; the message says where.
        FileExistsError: the repository has one of them already.
    """
    options = options or Options()
    if not 1 <= version <= LAST_VERSION:
        raise ValueError(f"version must be from 1 to {LAST_VERSION}, not {version}")
    resolved(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; name a folder for the repository")
    runner = load(model)
    assert isinstance(runner, OrtRunner)
    name = name or model.stem
    first = _config(name, runner.session, options, batched=all(sizes[:1] == ("batch",) for sizes in (*runner.input_sizes, *runner.output_sizes)))
    if options.warm_up:
        _warm_up(first, runner, options)
    made: list[tuple[Any, tuple[Path, ...]]] = [(first, _files(model))]
    if then is not None:
        if then.resolve() == model.resolve():
            raise ValueError(f"{then} is the front end itself; name the model that takes its features")
        files = _files(then)
        second = _config(then.stem, session(str(then), path=str(then)), options)
        if second.name == name:
            raise ValueError(f"{model} and {then} would both be called {name}; give another --name")
        made += [(second, files), (_ensemble(f"{name}_pipeline", first, second), ())]
    for config, _ in made:
        _check_versions(folder / config.name, config)
        if (folder / config.name / str(version)).exists():
            raise FileExistsError(f"{folder / config.name / str(version)} exists already; give another --version or --name")
    return [_written(folder, config, version, files) for config, files in made]


def _check_versions(there: Path, config: Any) -> None:
    """Raise ``ValueError`` where a model's folder is none, or has versions that the new configuration, which is of all, does not fit."""
    from google.protobuf import text_format

    if there.exists() and not there.is_dir():
        raise ValueError(f"{there} is a file, where a folder is to be written; remove it, or give another --name")
    if not (there / "config.pbtxt").exists():
        return
    text = (there / "config.pbtxt").read_text(errors="replace")
    try:
        held = text_format.Parse(text, _proto().ModelConfig(), allow_unknown_field=True)
    except text_format.ParseError as error:
        raise ValueError(f"{there / 'config.pbtxt'} cannot be read: {error}; give another --name") from None
    if any(list(getattr(held, of)) != list(getattr(config, of)) for of in ("input", "output")):
        raise ValueError(f"the versions in {there} have other inputs or outputs, and Triton has one configuration for all versions; give another --name")
    first, _, rest = text.partition("\n")
    if first != f"{WRITTEN}{hashlib.sha256(rest.encode()).hexdigest()}":
        raise ValueError(f"{there / 'config.pbtxt'} was edited, or not written by specgraph, and would be replaced; move it away, or give another --name")


def _config(name: str, loaded: Any, options: Options, batched: bool | None = None) -> Any:
    """The configuration of a model that onnxruntime runs; whether all its tensors are ``batched`` is seen from what varies if it is None."""
    proto = _proto()
    inputs, outputs = (tuple(_tensors(nodes)) for nodes in (loaded.get_inputs(), loaded.get_outputs()))
    config = proto.ModelConfig(name=_checked_name(name), backend="onnxruntime", default_model_filename=MODEL_FILE)
    if batched is None:
        batched = all(tensor.shape and tensor.shape[0] is None for tensor in (*inputs, *outputs))
    config.max_batch_size = options.max_batch if batched else 0
    for tensors, kept in ((inputs, config.input), (outputs, config.output)):
        for tensor in tensors:
            made = kept.add(name=tensor.name, data_type=proto.DataType.Value(tensor.type))
            sizes = [-1 if size is None else size for size in tensor.shape[batched:]]
            made.dims.extend(sizes or [1])
            if not sizes:  # one number a clip: Triton has no empty dims, and takes the axis of 1 off again
                made.reshape.SetInParent()
    if batched:
        batching = config.dynamic_batching
        batching.max_queue_delay_microseconds = round(options.delay * MICROSECONDS)
        policy = batching.default_queue_policy
        policy.timeout_action = proto.ModelQueuePolicy.REJECT
        policy.default_timeout_microseconds = round(options.timeout * MICROSECONDS)
        policy.allow_timeout_override = True
        policy.max_queue_size = options.queue
    kind = "KIND_GPU" if options.gpu else "KIND_CPU"
    config.instance_group.add(count=options.instances, kind=proto.ModelInstanceGroup.Kind.Value(kind))
    if not options.gpu:  # instances share the cores: each with all of them would wait for the others
        config.parameters["intra_op_thread_count"].string_value = "1"
    return config


def _tensors(nodes: Sequence[Any]) -> Iterator[Tensor]:
    for node in nodes:
        if node.type not in TYPES:
            raise ValueError(f"{node.name} is {node.type}, which is not served")
        yield Tensor(node.name, f"TYPE_{DATATYPES[TYPES[node.type]]}", tuple(size if isinstance(size, int) else None for size in node.shape))


def _warm_up(config: Any, runner: OrtRunner, options: Options) -> None:
    """A second of noise, of one clip and of a full batch; not for lengths, of which neither zeros nor random numbers are right."""
    if not runner.takes_waveforms or runner.takes_lengths or not config.max_batch_size:
        return
    samples = max(round(runner.sample_rate * WARM_SECONDS), runner.meta.min_samples)
    (tensor,) = config.input
    for clips in sorted({1, options.max_batch}):
        one = config.model_warmup.add(name=f"{clips} of {samples} samples", batch_size=clips).inputs[tensor.name]
        one.data_type = tensor.data_type
        one.dims.extend(samples if size == -1 else size for size in tensor.dims)
        one.random_data = True


def _ensemble(name: str, first: Any, second: Any) -> Any:
    """From the inputs of one model to the outputs of a second that takes the first's features."""
    proto = _proto()
    features, *others = first.output
    takers = [tensor for tensor in second.input if tensor.data_type == features.data_type and len(tensor.dims) == len(features.dims)]
    if len(second.input) != 1 or not takers:
        listed = ", ".join(f"{tensor.name} {_text(tensor)}" for tensor in second.input)
        raise ValueError(f"{second.name} takes {listed}, and {first.name} gives {features.name} {_text(features)}; it must take that alone")
    (taker,) = takers
    unequal = [(mine, theirs) for mine, theirs in zip(features.dims, taker.dims, strict=True) if -1 not in (mine, theirs) and mine != theirs]
    if unequal or bool(first.max_batch_size) != bool(second.max_batch_size):
        raise ValueError(f"{first.name} gives {features.name} {_text(features)}, and {second.name} takes {taker.name} {_text(taker)}")
    config = proto.ModelConfig(name=_checked_name(name), platform="ensemble", max_batch_size=min(first.max_batch_size, second.max_batch_size))
    config.input.extend(first.input)
    config.output.extend([*second.output, *others])
    if len({tensor.name for tensor in config.output}) < len(config.output):
        raise ValueError(f"{first.name} and {second.name} both give {', '.join(tensor.name for tensor in second.output)}; rename an output")
    for model, taken, given in ((first, {}, {features.name: "_features"}), (second, {taker.name: "_features"}, {})):
        step = config.ensemble_scheduling.step.add(model_name=model.name, model_version=-1)
        for tensor in model.input:
            step.input_map[tensor.name] = taken.get(tensor.name, tensor.name)
        for tensor in model.output:
            step.output_map[tensor.name] = given.get(tensor.name, tensor.name)
    return config


def _written(folder: Path, config: Any, version: int, files: Sequence[Path]) -> Path:
    """A model's folder, whole or not at all where it is new; the first of ``files`` is the model, and others hold its arrays."""
    from google.protobuf import text_format

    text = text_format.MessageToString(config)
    if text_format.Parse(text, _proto().ModelConfig()) != config:
        raise RuntimeError(f"the configuration of {config.name} does not survive its text")
    text = f"{WRITTEN}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / config.name
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as temporary:
        made = Path(temporary) / config.name
        (made / str(version)).mkdir(parents=True)
        for number, file in enumerate(files):
            shutil.copyfile(file, made / str(version) / (file.name if number else MODEL_FILE))
        (made / "config.pbtxt").write_text(text)
        if there.exists():
            (made / str(version)).rename(there / str(version))
            (made / "config.pbtxt").replace(there / "config.pbtxt")
        else:
            made.rename(there)
    return there


def _files(path: Path) -> tuple[Path, ...]:
    """A model, and the files beside it that hold its arrays: a repository has them by the same names."""
    _, header = read_model_file(path, "export the model to ONNX first")
    require_files(path, header.external)
    for name in header.external:
        if name in ("", MODEL_FILE) or Path(name).name != name:
            raise ValueError(f"{path} keeps arrays in {name!r:.100}, which has no place in a repository; save it as one file")
    return (path, *(path.with_name(name) for name in sorted(header.external)))


def _checked_name(name: str) -> str:
    if not name or "/" in name or name.startswith(".") or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise ValueError(f"the name of a model is that of a folder in the repository, and {name!r:.100} cannot be one; give --name")
    return name


def _text(tensor: Any) -> str:
    return f"{_proto().DataType.Name(tensor.data_type)} ({', '.join(str(size) for size in tensor.dims)})"


def _proto() -> Any:
    try:
        from tritonclient.grpc import model_config_pb2
    except ImportError as error:
        raise ImportError(f"a Triton repository needs {error.name or 'tritonclient'}, which is not installed: pip install 'specgraph[triton]'") from None
    return model_config_pb2
