"""From the files of a saved folder to values; whatever is wrong with them becomes one line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pti_hub.errors import PTIError, WeightsError, one_line

_Content = TypeVar("_Content")

_MAX_JSON = 1 << 24
_TRIES = 20

DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
"""What the content of a damaged or hostile file leads to."""


def read_whole(folder: Path, read: Callable[[Path], _Content]) -> _Content:
    """Read a folder's files as one save wrote them, also while another process saves there.

    A save puts a new folder in the place of the old one; where that happens while the files are read, some are of the
    old folder and some of the new one, and all are read again.

    Args:
        folder: The folder.
        read: Reads its files.

    Returns:
        What `read` returns.

    Raises:
        WeightsError: The folder changed each time that it was read.
        Exception: Whatever `read` raises about a folder that did not change.
    """
    for _ in range(_TRIES):
        before = _state(folder)
        try:
            content = read(folder)
        except (PTIError, *DAMAGE):
            if _state(folder) == before:
                raise
        else:
            if _state(folder) == before:
                return content
    raise WeightsError(f"{folder} changes whenever it is read; wait until nothing is saved there")


def _state(folder: Path) -> tuple[int, ...] | None:
    try:
        state = folder.stat()
    except OSError:
        return None
    # A new folder may get the number of one that was just removed; the time tells them apart.
    return state.st_dev, state.st_ino, state.st_ctime_ns


@contextmanager
def as_weights_error(path: Path, remedy: str) -> Iterator[None]:
    """Whatever is wrong with what a file or folder holds becomes one line that says what to do.

    Args:
        path: What is being read.
        remedy: What to do.

    Raises:
        WeightsError: Something is missing, damaged or hostile.
    """
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{error}; {remedy}") from error
    except DAMAGE as error:
        raise WeightsError(f"{path} does not hold what it should ({one_line(error)}); {remedy}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: The file is missing, damaged, larger than 16 MB, or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_JSON:
            raise WeightsError(f"{path} has {path.stat().st_size} bytes; expected at most {_MAX_JSON}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except WeightsError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is missing or damaged ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is missing or damaged ({one_line(error)})") from error
