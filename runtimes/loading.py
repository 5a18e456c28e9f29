"""Load a file, on the device that was asked for or not at all."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterable
from pathlib import Path

from specgraph.metadata import CHECKSUM, FORMAT, PREFIX, Metadata, MetadataError, format_of
from specgraph.runtimes.base import Runner, RuntimeUnavailable
from specgraph.runtimes.ort import OrtRunner
from specgraph.runtimes.wire import FIRST, Header, check_start, checksum, read_header

MOST_THREADS = 1024
MOST_BYTES = 2**31 - 1  # of a file in protobuf's format
APART = (
    "{path} keeps tensors in other files, which specgraph does for large models that it attached to only; "
    "export it as one file"
)
DAMAGED = "{path} has damaged specgraph metadata: {why}; export it again"
DEVICES = "'cpu', 'cuda', 'cuda:N', 'auto', 'torch' or 'torch:cuda'"


def load(
    path: str | Path, device: str = "cpu", threads: int | None = None, check_finite: bool = True, most_bytes: float | None = None
) -> Runner:
    """A front end ready to run: numpy in, numpy out; torch in, torch out.

    It can be pickled, copied, shared by threads, and used after a fork. In onnxruntime on a CPU, numbers below 1.2e-38
    count as zero.

    Args:
        path: a file that specgraph wrote.
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
    data, meta, header = checked_file(Path(path))
    source = str(path) if header.external else data  # onnxruntime finds other files from the path
    if kind == "torch":
        from specgraph.runtimes.eager import TorchRunner

        return TorchRunner(str(path), meta, device, check_finite)
    if device == "auto":
        try:
            return OrtRunner(source, str(path), meta, "cuda", threads, check_finite, most_bytes)
        except RuntimeUnavailable:
            device = "cpu"
    return OrtRunner(source, str(path), meta, device, threads, check_finite, most_bytes)


def checked_header(path: Path) -> tuple[Metadata, Header]:
    """The metadata of a file, and what else it says before it is run, after the checks that ``load`` makes."""
    _, meta, header = checked_file(path)
    return meta, header


def checked_file(path: Path) -> tuple[bytes, Metadata, Header]:
    """The bytes of a file, its metadata and its header, after the checks that ``load`` makes."""
    data, header = read_model_file(path, "specgraph export writes one")
    return data, read_metadata(path, data, header), header


def read_model_file(path: Path, otherwise: str) -> tuple[bytes, Header]:
    """The bytes of an ONNX file and what they say before they are run; ``otherwise`` is what to do where there is none.

    Raises:
        OSError, ValueError: there is no such file, it cannot be read, or it is no whole model.
    """
    data = _read(path, otherwise)
    return data, read_header(data, str(path))


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


def require_files(path: Path, names: Iterable[str]) -> None:
    """Raise ``FileNotFoundError`` unless the files that hold arrays of a model are beside it."""
    if missing := [name for name in sorted(names) if not (path.parent / name).is_file()]:
        many = "both" if len(missing) == 1 else "all"
        raise FileNotFoundError(f"{path} needs {' and '.join(missing):.300} beside it; copy {many}")


def _read(path: Path, otherwise: str) -> bytes:
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file {path}; {otherwise}") from None
    except (OSError, ValueError) as error:  # a name that is too long, has a zero in it, or leads round in a circle
        raise _unreadable(path, error) from None
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(f"{path} is a folder; name the .onnx file in it")
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is a device or a pipe; name an .onnx file")
    if found.st_size > MOST_BYTES:
        size, most = found.st_size / 1e9, MOST_BYTES / 1e9
        raise ValueError(f"{path} is not an ONNX model: it holds {size:.1f} GB, and one has at most {most:.1f} GB")
    try:
        with path.open("rb") as file:
            if found.st_size:  # what is no model is not read to its end
                check_start(file.read(FIRST), found.st_size, str(path))
            file.seek(0)
            return file.read(found.st_size)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: OSError | ValueError) -> Exception:
    why = getattr(error, "strerror", None) or str(error)
    return type(error)(f"{path} cannot be read: {why}")


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
