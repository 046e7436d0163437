"""From the files of a saved folder to values; whatever is wrong with them becomes one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pti_hub.errors import WeightsError, one_line

_MAX_JSON = 1 << 24

DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError)
"""What the content of a damaged or hostile file leads to."""


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
