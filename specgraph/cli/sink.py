"""Where the features of many inputs go: one file, or a folder with a file for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from specgraph.runtimes import Runner

Features = dict[str, Any]  # arrays by output
Named = tuple[Path, str]  # a file, and what it is called in what is written


class Sink:
    """Where features go: one .npy, one .npz, or a folder with a file for each input."""

    def __init__(self, output: Path, files: list[tuple[Path, Path]], runner: Runner) -> None:
        from specgraph.files import check_writable, resolved

        if str(output) == "-":
            raise ValueError("-o takes a file or a folder, and - is neither; features are not written to the standard output")
        resolved(output)
        self.output, self.written = output, 0
        self.folder = output if output.is_dir() or not output.suffix else None
        self.files = _named(files, stems=self.folder is not None)
        self._single = len(runner.feature_names) == 1
        self._held: Features = {}
        if any(output.resolve() == file.resolve() for file, _ in files):
            raise ValueError(f"{output} is one of the inputs; choose another output")
        if self.folder is not None:
            if output.exists() and not output.is_dir():
                raise ValueError(f"{output} is a file; name a folder, a .npy or a .npz file")
            read = {file.resolve() for file, _ in files}
            for _, name in self.files:
                if (path := self._path(self.folder, name)).resolve() in read:
                    raise ValueError(f"{path} is one of the inputs; choose another output")
            return
        suffix = output.suffix.lower()
        if suffix not in (".npy", ".npz"):
            raise ValueError(f"{output} must end in .npy or .npz, or be a folder")
        if suffix == ".npy" and (len(files) > 1 or not self._single):
            what = f"{len(files)} files" if len(files) > 1 else f"{len(runner.feature_names)} outputs"
            raise ValueError(f"{output} holds one array, and there are {what}; name a .npz file or a folder")
        check_writable(output)

    def add(self, name: str, features: Features) -> None:
        """Keep or write the features of one input."""
        if self.folder is None:
            name = encodable(name)
            for output, value in features.items():
                self._held[name if self._single else output if len(self.files) == 1 else f"{name}:{output}"] = value
            self.written += 1
            return
        path = self._path(self.folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        _save(path, features)
        self.written += 1

    def _path(self, folder: Path, name: str) -> Path:
        """Where the features of an input go in a folder."""
        return folder / f"{name}{'.npy' if self._single else '.npz'}"

    def close(self) -> None:
        """Write what was kept."""
        if self._held:
            _save(self.output, self._held)


def encodable(name: str) -> str:
    """The name as an archive can hold it: bytes that are no text as escapes, and backslashes then doubled."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return name.replace("\\", "\\\\").encode("utf-8", "backslashreplace").decode()
    return name


def _named(files: list[tuple[Path, Path]], stems: bool) -> list[Named]:
    """Names that differ: ``a`` (stems) or ``a.wav``; ``a.wav`` beside ``a.flac``; else with the folders that tell them apart."""
    import os

    top = os.path.commonpath([file.resolve().parent for file, _ in files])
    ways = [
        [name.with_suffix("").as_posix() for _, name in files] if stems else [],
        [name.as_posix() for _, name in files],
        [file.resolve().relative_to(top).as_posix() for file, _ in files],
    ]
    names = next(names for names in ways if len(set(names)) == len(files))
    return [(file, name) for (file, _), name in zip(files, names, strict=True)]


def _save(path: Path, arrays: Features) -> None:
    from specgraph.files import save_arrays, whole

    with whole(path) as temporary, temporary.open("wb") as file:
        save_arrays(file, arrays, together=path.suffix.lower() != ".npy")
