"""Files written whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

LITTLE = 65536  # bytes free, below which a failure to write is put down to the disk
WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM)
LONGEST_SUFFIX = 16  # characters of a suffix that a temporary name keeps: some writers choose their format by it


def check_writable(path: Path) -> None:
    """Raise ``OSError``, in a sentence, where a file cannot be written to ``path``: before any work is done for it."""
    path = resolved(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a device or a pipe, which a file would replace; name a file")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Raise ``OSError``, in a sentence, where nothing can be written into a folder."""
    if not folder.is_dir():
        what = "is a file, not a folder; name another" if folder.exists() else "does not exist; create it first"
        raise FileNotFoundError(f"the folder {folder} {what}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {folder} cannot be written to")


@contextmanager
def whole(path: str | Path, within: Path | None = None) -> Iterator[Path]:
    """A temporary path with the suffix of ``path`` that becomes ``path`` if the block ends well and vanishes if not.

    Args:
        path: what is written. What a link leads to is written, and the link stays.
        within: the folder of the temporary file, on the same file system; beside ``path`` if None.

    Raises:
        OSError: ``path`` cannot be written.
    """
    path = Path(path)
    check_writable(path)
    path = resolved(path)
    with in_a_sentence(path):
        handle, name = tempfile.mkstemp(dir=within or path.parent, prefix=".specgraph-", suffix=path.suffix[-LONGEST_SUFFIX:])
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def in_a_sentence(path: Path) -> Iterator[None]:
    """Say of what fails for want of space or leave to write that ``path`` cannot be written, and why."""
    try:
        yield
    except Exception as error:  # writers have many words for a full disk, and some fail on the way to them
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            raise OSError(f"{path.name:.100}... is a longer name than a file can have; choose a shorter one") from None
        if isinstance(error, OSError) and error.errno in WRITE_ERRORS:
            raise OSError(f"{path} cannot be written: {error.strerror}") from None
        if shutil.disk_usage(path.parent).free < LITTLE:
            raise OSError(f"{path} cannot be written: no space is left in {path.parent}") from None
        raise


def resolved(path: Path) -> Path:
    """What a link leads to, or the path itself.

    Raises:
        OSError: the link leads to itself.
    """
    try:
        return path.resolve() if path.is_symlink() else path
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", 0) == errno.ENAMETOOLONG:
            raise OSError(f"{path} cannot be written: the name is too long") from None
        raise OSError(f"{path} is a link that leads to itself; name a file") from None


def save_arrays(file: BinaryIO, arrays: Mapping[str, Any], together: bool) -> None:
    """Write the first array as .npy holds it, or with ``together`` all of them as .npz does."""
    import zipfile

    import numpy as np

    if not together:
        np.save(file, next(iter(arrays.values())))
        return
    with zipfile.ZipFile(file, "w") as archive:  # what np.savez writes, which takes no array by the name of "file"
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
