"""Load a file, on the device that was asked for or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from specgraph.metadata import CHECKSUM, FORMAT, PREFIX, Metadata, MetadataError, format_of
from specgraph.runtimes.base import Runner, RuntimeUnavailable
from specgraph.runtimes.ort import OrtRunner
from specgraph.runtimes.pinned import ModelChanged, PinnedModel, opened, pin, read_model_file, require_files
from specgraph.runtimes.wire import Header, checksum, read_header

MOST_THREADS = 1024
APART = (
    "{path} keeps tensors in other files, which specgraph does for large models that it attached to only; "
    "export it as one file"
)
DAMAGED = "{path} has damaged specgraph metadata: {why}; export it again"
DEVICES = "'cpu', 'cuda', 'cuda:N', 'auto', 'torch' or 'torch:cuda'"


def load(
    path: str | Path | PinnedModel,
    device: str = "cpu",
    threads: int | None = None,
    check_finite: bool = True,
    most_bytes: float | None = None,
) -> Runner:
    """A front end ready to run: numpy in, numpy out; torch in, torch out.

    It can be pickled, copied, shared by threads, and used after a fork. In onnxruntime on a CPU, numbers below 1.2e-38
    count as zero.

    Args:
        path: a file that specgraph wrote; or what ``pin`` read of one, which is run whatever has become of the file since.
        device: "cpu"; "cuda" or "cuda:N", refused where CUDA cannot be used, never replaced by the CPU in silence; "auto" for
            CUDA where it works and else the CPU (``run.device`` tells); "torch" for torch instead of onnxruntime.
        threads: threads on the CPU; None leaves it to onnxruntime.
        check_finite: refuse waveforms with NaN or infinity.
        most_bytes: of the largest value in the graph, from which onnxruntime gets its input in parts: some clips of a batch, or
            stretches of a long clip, which give the same to about 1e-6. Smaller parts stay in the cache and bound memory; infinity
            runs everything at once. None: what this machine was measured to be quickest with (``specgraph bench --calibrate``),
            or else 2.5 MB on a CPU and 1 GB on CUDA.

    Raises:
        FileNotFoundError: there is no such file, or not one that holds its arrays.
        MetadataError: it is not specgraph's, is of a newer format, or was changed after it was written, by one bit of what
            decides a result. Files of format 1 have no checksum; what they say is only held within bounds.
        ValueError: it is not a model, or keeps tensors in other files and was not joined by ``attach``.
        RuntimeUnavailable: the device cannot be used; the message says what is missing.
    """
    if most_bytes is not None and not most_bytes > 0:
        raise ValueError(f"most_bytes must be above 0 or None, not {most_bytes!r}")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS):
        raise ValueError(f"threads must be a whole number from 1 to {MOST_THREADS} or None, not {threads!r}")
    kind, _, index = device.partition(":") if isinstance(device, str) else ("", "", "")
    on = index.removeprefix("cuda").removeprefix(":")
    known = (
        device in ("cpu", "cuda", "auto", "torch", "torch:cpu", "torch:cuda")
        or (kind == "cuda" and index.isdigit())
        or (kind == "torch" and index.startswith("cuda:") and on.isdigit())
    )
    if not known:
        raise ValueError(f"device must be {DEVICES}, not {device!r}")
    model, header = (path, read_header(path.data, path.path)) if isinstance(path, PinnedModel) else opened(path)
    meta = read_metadata(Path(model.path), model.data, header)
    if kind == "torch":
        from specgraph.runtimes.eager import TorchRunner

        if isinstance(path, PinnedModel) and pin(model.path).digest != model.digest:
            raise ModelChanged(f"{model.path} has changed since the model was first read; put back the file as it was")
        return TorchRunner(model.path, meta, device, check_finite)
    if device == "auto":
        try:
            return OrtRunner(model, meta, "cuda", threads, check_finite, most_bytes)
        except RuntimeUnavailable:
            device = "cpu"
    return OrtRunner(model, meta, device, threads, check_finite, most_bytes)


def checked_header(path: Path) -> tuple[Metadata, Header]:
    """The metadata of a file, and what else it says before it is run, after the checks that ``load`` makes."""
    _, meta, header = checked_file(path)
    return meta, header


def checked_file(path: Path) -> tuple[bytes, Metadata, Header]:
    """The bytes of a file, its metadata and its header, after the checks that ``load`` makes."""
    data, header = read_model_file(path, "specgraph export writes one")
    return data, read_metadata(path, data, header), header


def read_metadata(path: Path, data: bytes, header: Header) -> Metadata:
    """What a file says of itself, once its checksum was found to be that of what it holds.

    Raises:
        MetadataError: it is not specgraph's, or was changed after it was written.
        FileNotFoundError: a file beside it, which holds arrays, is missing.
    """
    text = {key: value for key, value in header.properties.items() if key.startswith(PREFIX)}
    older = format_of(text, str(path)) < FORMAT
    if header.external and not older and PREFIX + "data" not in text:
        raise ValueError(APART.format(path=path))
    if not older:
        stated = text.pop(CHECKSUM, "")
        if stated != checksum(data, text):
            raise MetadataError(
                f"{path} was changed after it was written: its checksum is not that of what it holds, so what was verified "
                "is not what would run; export it again, or run it with onnxruntime itself"
            )
    meta = Metadata.from_properties(text, str(path))
    _check_data(path, meta, header.external, older)
    return meta


def _check_data(path: Path, meta: Metadata, names: frozenset[str], older: bool) -> None:
    """Raise unless the files that hold a model's arrays are there, and are those that were verified with it."""
    if names and not any("attached" in front_end for front_end in meta.front_ends):
        raise ValueError(APART.format(path=path))
    if names != meta.data.keys() and not older:
        raise MetadataError(DAMAGED.format(path=path, why="data names other files than those that hold arrays"))
    if names and meta.slicing.cut:
        raise MetadataError(DAMAGED.format(path=path, why="a model with arrays in other files is not cut in two"))
    require_files(path, names)
    for name, wanted in meta.data.items():
        with (path.parent / name).open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wanted:
                raise MetadataError(
                    f"{path.parent / name} is not the file that {path.name} was written with; copy both again, or export again"
                )
