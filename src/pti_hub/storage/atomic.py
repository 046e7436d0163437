"""Files and folders that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from pti_hub.errors import InputError, PTIError, SaveError
from pti_hub.storage.leftovers import held_name, in_turn, recover_folder, remove_leftovers, suffixed

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replaced_file(path: str | Path) -> Iterator[Path]:
    """A new file that takes the place of `path` once it is complete.

    On an error or a kill, `path` holds the old file, or none if there was none; what a kill leaves beside it is
    removed by the next call for the same path.

    Args:
        path: Where the file is to be; its folder must exist.

    Yields:
        The path to write to, in the same folder and so on the same file system.

    Raises:
        SaveError: The system refuses: the disk is full, or the place is not writable.
    """
    path = Path(path)
    with as_save_error(path), held_name(path) as stem:
        partial = suffixed(stem, "partial")
        yield partial
        partial.replace(path)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file in UTF-8; see `replaced_file` for errors and what a kill leaves."""
    with replaced_file(path) as partial:
        # A lone surrogate, which UTF-8 lacks, becomes the escape that JSON has for it.
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; see `replaced_file` for errors and what a kill leaves."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file; see `replaced_file` for errors and what a kill leaves.

    Args:
        path: The file.
        tensors: Tensors by name, on any device.
        metadata: Texts for the file's header.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with replaced_file(path) as partial:
        save_file(stored, partial, metadata={"format": "pt", **(metadata or {})})


@contextmanager
def replaced_folder(folder: str | Path, marker: str, owned: Collection[str] = ()) -> Iterator[Path]:
    """A new folder that takes the place of `folder` once its content is complete.

    On an error, a full disk or a kill the old folder stays as it was; what a kill leaves beside it is removed by the
    next call for the same folder. What others put into it is carried over.

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
    with as_save_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held_name(folder, is_folder=True) as stem:
            new = suffixed(stem, "new")
            new.mkdir()
            yield new
            with in_turn(folder):
                if folder.exists():
                    _carry_over(folder, new, owned)
                _put_in_place(new, folder, suffixed(stem, "old"))


def check_replaceable(folder: Path, marker: str) -> None:
    """Make sure that `replaced_folder` may write here: call it before long work.

    Raises:
        InputError: There is a file, or a folder with other content, in that place.
        SaveError: The system can't look there.
    """
    with as_save_error(folder):
        recover_folder(folder)
        # Not while another process has moved the folder out of the way, to put a new one there.
        with in_turn(folder):
            is_ours = not folder.exists() or (
                folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))
            )
    if not is_ours:
        raise InputError(f"{folder} is there already and holds something else (no {marker}); give another folder")


@contextmanager
def as_save_error(path: Path) -> Iterator[None]:
    """Errors of the system while something is written become one line of ours.

    Raises:
        SaveError: There was such an error.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        if isinstance(error, PTIError):
            raise
        raise SaveError(f"can't write {path}: {error}; make room, or give a place that can be written") from error


def _carry_over(folder: Path, new: Path, owned: Collection[str]) -> None:
    """Copy what others put into a folder."""
    remove_leftovers(folder)
    for entry in folder.iterdir():
        if entry.name not in owned and not (new / entry.name).exists():
            shutil.copytree(entry, new / entry.name) if entry.is_dir() else shutil.copy2(entry, new)


def _put_in_place(new: Path, folder: Path, old: Path) -> None:
    """Rename a new folder to `folder`, with another name for what is there until then."""
    if not folder.exists():
        try:
            new.rename(folder)
            return
        except OSError:
            # Another process may have put a folder there in between.
            if not folder.is_dir():
                raise
    if not _exchange(new, folder):
        # Two renames: after a kill between them, `recover_folder` gives the old content its name back.
        folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            old.rename(folder)
            raise


def _exchange(a: Path, b: Path) -> bool:
    """Swap two folders in one step, where the system can."""
    if platform.system() != "Linux":
        return False
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return rename is not None and rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _RENAME_EXCHANGE) == 0
