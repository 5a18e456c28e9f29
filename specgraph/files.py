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


def check_writable(path: Path) -> None:
    """Raise ``OSError``, in a sentence, where a file cannot be written to ``path``: before any work is done for it."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is a device or a pipe, which a file would replace; name a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"the folder {path.parent} does not exist; create it first")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"the folder {path.parent} cannot be written to")


@contextmanager
def whole(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its suffix, that becomes ``path`` if the block ends well and vanishes if not.

    Raises:
        OSError: ``path`` cannot be written.
    """
    path = Path(path)
    check_writable(path)
    path = path.resolve()  # what a link leads to is written, and the link stays
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        try:
            yield temporary
        except Exception as error:  # writers have many words for a full disk, and some fail on the way to them
            if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.EDQUOT):
                raise OSError(f"{path} cannot be written: {error.strerror}") from None
            if shutil.disk_usage(path.parent).free < LITTLE:
                raise OSError(f"{path} cannot be written: no space is left in {path.parent}") from None
            raise
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
