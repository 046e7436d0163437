"""What the campaigns of many processes share: who gets how many trials, quiet children, digests, the last lines."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import typer
from tqdm import tqdm

_Kind = TypeVar("_Kind")


def shares(count: int, kinds: Sequence[_Kind]) -> Iterator[tuple[_Kind, int]]:
    """Each kind, and how many of the trials are of it."""
    for number, kind in enumerate(kinds):
        yield kind, count // len(kinds) + (number < count % len(kinds))


def finish(failures: Sequence[str]) -> None:
    """Print the failures, and exit with 1 if there are any."""
    print("\n".join([f"{len(failures)} failures", *failures]))
    if failures:
        raise typer.Exit(1)


def redirect(output: int) -> int:
    """Have a forked child print to an open file; what is returned is where its errors went before."""
    # All processes share the lock that tqdm has by default, and a killed one would hold it for good.
    tqdm.set_lock(threading.RLock())
    errors = os.dup(2)
    os.dup2(output, 1)
    os.dup2(output, 2)
    return errors


def digests(folder: Path, timed: Collection[str] = ()) -> dict[str, str]:
    """Digests of all files of a folder, by their names; of files that hold times, only the names count."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    contents = {name: b"" if name in timed else path.read_bytes() for name, path in files.items()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
