"""Hidden names beside a file or folder for what is being written, and what killed processes left under them."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

PARTIAL = f".{'[0-9a-f]' * 16}.partial"
"""Pattern of the files that a kill may leave behind."""

_PATIENCE = 5.0  # seconds; a process that was suspended keeps its locks
_NAMES = 4  # processes that may write to the same place at once and still clear up after each other
_FILE = re.compile(r"(\.[0-9a-f]{16})\.(?:lock|partial)")
_FOLDER = re.compile(r"(\.(.+)\.[0-9a-f]{8})\.(?:lock|new|old)")


@contextmanager
def held_name(path: Path, is_folder: bool = False) -> Iterator[Path]:
    """A hidden name beside `path` that no other living process writes under; `suffixed` adds a kind to it.

    What is left under the name at the end is removed, and so is what killed processes left. The names follow from that
    of `path`, so that none of this takes a look through the folder, and a process has locked the name that it writes
    under: the system frees the lock when the process ends, however it ends.

    Args:
        path: The file or folder that is to be written.
        is_folder: Whether it is a folder.

    Yields:
        The name, without a suffix.
    """
    with ExitStack() as stack:
        mine: Path | None = None
        for stem in _stems(path, is_folder):
            if mine is None:
                if stack.enter_context(_locked(stem)) and _clear(stem, path):
                    mine = stem
            elif suffixed(stem, "lock").exists():
                with _locked(stem) as free:
                    if free:
                        _clear(stem, path)
        # Where there are no locks, or more processes than names, the name is random, and others leave it alone.
        mine = mine or _stem(path, is_folder, secrets.token_hex(8))
        try:
            yield mine
        finally:
            _clear(mine, path)


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Processes that put something in the place of a folder do so one after the other.

    One that has waited for some seconds goes on all the same, and so does one where there are no locks.

    Args:
        folder: The folder that is to be replaced.
    """
    with ExitStack() as stack:
        # Of a text that can't be a path, and of the root, which has no name.
        with suppress(OSError, ValueError):
            stack.enter_context(_locked(_turn(folder.resolve()), _PATIENCE))
        yield


def recover_folder(folder: Path) -> bool:
    """Put back a folder that a kill between two renames left under a hidden name, with all that lay in it.

    Returns:
        Whether the folder is there.
    """
    # Of a text that can't be a path, and of the root, which has no name.
    with suppress(OSError, ValueError):
        folder = folder.resolve()
        for stem in _stems(folder, is_folder=True):
            if suffixed(stem, "old").exists():
                with _locked(stem) as free, _locked(_turn(folder)):
                    if free:
                        _clear(stem, folder)
    return folder.is_dir()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder, if it is there; what living processes write stays.

    For folders of many files, of which some are not written again: a save alone looks only where it writes.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if (name := _FILE.fullmatch(path.name)) is not None:
            stem, target = folder / name[1], folder
        elif (name := _FOLDER.fullmatch(path.name)) is not None:
            stem, target = folder / name[1], folder / name[2]
            # Another program may have names of this form, but not with these digests.
            if stem not in (*_stems(target, is_folder=True), _turn(target)):
                continue
        else:
            continue
        with _locked(stem) as free:
            if free:
                _clear(stem, target)


def suffixed(stem: Path, kind: str) -> Path:
    """The file or folder of a kind: `"partial"` file, `"new"` folder, `"old"` folder, or their `"lock"`."""
    return stem.with_name(f"{stem.name}.{kind}")


def _stems(path: Path, is_folder: bool) -> Iterator[Path]:
    return (_stem(path, is_folder, str(number)) for number in range(_NAMES))


def _turn(folder: Path) -> Path:
    return _stem(folder, True, "turn")


def _stem(path: Path, is_folder: bool, key: str) -> Path:
    digest = hashlib.sha256(f"{path.name}/{key}".encode("utf-8", "surrogatepass")).hexdigest()
    # A person who finds a folder should see whose it is; a file's name may be as long as names can be.
    return path.with_name(f".{path.name}.{digest[:8]}" if is_folder else f".{digest[:16]}")


@contextmanager
def _locked(stem: Path, patience: float = 0.0) -> Iterator[bool]:
    """Tries to lock a name for some seconds, and yields whether it is locked now."""
    file = suffixed(stem, "lock")
    lock = FileLock(file)
    # The library would make the folder.
    if not file.parent.is_dir():
        yield False
        return
    try:
        lock.acquire(timeout=patience, poll_interval=0.01)
    except OSError:
        # Held by another process, or there are no locks here.
        yield False
        return
    try:
        yield True
    finally:
        # As long as the lock is held, since the name is anybody's after that. Windows refuses, and removes it then.
        with suppress(OSError):
            file.unlink()
        lock.release()


def _clear(stem: Path, path: Path) -> bool:
    """Remove what is left under a name of ours, once a folder that has no other name is put back.

    Returns:
        Whether nothing is left.
    """
    partial, new, old = (suffixed(stem, kind) for kind in ("partial", "new", "old"))
    with suppress(OSError):
        partial.unlink()
    # Both are there only after a kill between the renames that put the one in the place of the other.
    if old.is_dir() and new.is_dir():
        try:
            old.rename(path)
        except OSError:
            # Something else has that name by now, and what lay in the old folder is nowhere else.
            return False
    # In this order, since an old folder without a new one is nobody's.
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(new, ignore_errors=True)
    return True
