"""Load a file, on the device that was asked for or not at all."""

from __future__ import annotations

from pathlib import Path

from specgraph.metadata import Metadata
from specgraph.runtimes.base import Runner, RuntimeUnavailable
from specgraph.runtimes.ort import OrtRunner
from specgraph.runtimes.pinned import ModelChanged, PinnedModel, opened, pin, read_model_file
from specgraph.runtimes.wire import Header, read_header

MOST_THREADS = 1024
DEVICES = "'cpu', 'cuda', 'cuda:N', 'auto', 'torch' or 'torch:cuda'"


def load(
    path: str | Path | PinnedModel,
    device: str = "cpu",
    threads: int | None = None,
    check_finite: bool = True,
    most_bytes: float | None = None,
) -> Runner:
    """A front end ready to run: numpy in, numpy out; torch in, torch out.

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
        FileNotFoundError: there is no such file.
        ValueError: it is not a model, not specgraph's, of a newer format, or keeps tensors in other files and was not joined by ``attach``.
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
    model = path if isinstance(path, PinnedModel) else opened(path)
    meta, _ = _checked(read_header(model.data, model.path), model.path)
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


def checked_header(path: Path) -> tuple[Metadata, dict[str, str]]:
    """The metadata of a file, and all its properties, after the checks that ``load`` makes."""
    _, header = read_model_file(path, "specgraph export writes one")
    return _checked(header, str(path))


def _checked(header: Header, path: str) -> tuple[Metadata, dict[str, str]]:
    """What a model says of itself."""
    meta = Metadata.from_properties(header.properties, path)
    if header.external and not any("attached" in front_end for front_end in meta.front_ends):
        raise ValueError(f"{path} keeps tensors in other files, which specgraph does for models that it attached to only; export it as one file")
    return meta, header.properties
