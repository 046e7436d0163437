"""Folders that are whole or not there: written beside, then swapped in."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pti_hub.errors import InputError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replaced_folder(folder: str | Path, marker: str) -> Iterator[Path]:
    """A new folder that takes the place of `folder` once its content is complete.

    On an error, a full disk or a kill the old folder stays as it was. What others put into the old folder (a
    repository's history, say) is carried over.

    Args:
        folder: Where the content is to be.
        marker: A file that shows that an existing folder is of the same kind and may be replaced.

    Yields:
        The folder to write to, on the same file system.

    Raises:
        InputError: There is a file, or a folder with other content, in that place.
    """
    folder = Path(folder).absolute()
    if folder.exists() and not (folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))):
        raise InputError(f"{folder} is there already and holds something else (no {marker}); give another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield new
        new.chmod(0o755)
        for hidden in folder.glob(".*"):
            shutil.copytree(hidden, new / hidden.name) if hidden.is_dir() else shutil.copy2(hidden, new)
        if not folder.exists():
            new.rename(folder)
        elif not _exchange(new, folder):
            # Two renames: only a kill between them leaves the old content under its other name.
            old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.old.", dir=folder.parent))
            folder.rename(old)
            new.rename(folder)
            shutil.rmtree(old)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can."""
    if platform.system() != "Linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
