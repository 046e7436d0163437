"""Files and folders that are whole or not there: written beside, then put in place."""

from __future__ import annotations

import ctypes
import os
import platform
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from pti_hub.errors import InputError, PTIError, SaveError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replaced_folder(folder: str | Path, marker: str, owned: Collection[str] = ()) -> Iterator[Path]:
    """A new folder that takes the place of `folder` once its content is complete.

    On an error, a full disk or a kill the old folder stays as it was. What others put into it is carried over.

    Args:
        folder: Where the content is to be.
        marker: A file that shows that an existing folder is of the same kind and may be replaced.
        owned: Names in the old folder that are not carried over, whether the new one has them or not.

    Yields:
        The folder to write to, on the same file system.

    Raises:
        InputError: There is a file, or a folder with other content, in that place.
        SaveError: The system refuses: the disk is full, or the place is not writable.
    """
    folder = Path(folder).resolve()
    check_replaceable(folder, marker)
    new, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{kind}") for kind in ("new", "old"))
    with saving(folder):
        try:
            new.mkdir(parents=True)
            yield new
            if folder.exists():
                for entry in folder.iterdir():
                    if entry.name not in owned and not (new / entry.name).exists():
                        shutil.copytree(entry, new / entry.name) if entry.is_dir() else shutil.copy2(entry, new)
            if not folder.exists():
                new.rename(folder)
            elif not _exchange(new, folder):
                # Two renames: only a kill between them leaves the old content under its other name.
                folder.rename(old)
                try:
                    new.rename(folder)
                except OSError:
                    old.rename(folder)
                    raise
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def check_replaceable(folder: Path, marker: str) -> None:
    """Make sure that `replaced_folder` may write here: call it before long work.

    Raises:
        InputError: There is a file, or a folder with other content, in that place.
    """
    if folder.exists() and not (folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))):
        raise InputError(f"{folder} is there already and holds something else (no {marker}); give another folder")


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Errors of the system while something is written become one line of ours.

    Raises:
        SaveError: There was one.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, PTIError):
            raise
        raise SaveError(f"can't write {path}: {error}; make room, or give a place that can be written") from error


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can."""
    if platform.system() != "Linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
