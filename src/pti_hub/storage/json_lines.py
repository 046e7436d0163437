"""Rows that outlive a kill: a file of one JSON object per line, written as each is known."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pti_hub.errors import WeightsError
from pti_hub.storage.atomic import as_save_error, write_text


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, in order; none where there is no file.

    A kill can cut a line short, while the file ends there or, once the work was resumed, in its middle: such a line
    does not end in `}` and is left out, and its measurement is made again.

    Raises:
        WeightsError: Another line is damaged.
    """
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(row)
        elif number < len(lines) - 1 and line.endswith("}"):
            raise WeightsError(f"{path}, line {number} is damaged; delete that line, and it is measured again")
    return rows


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row at the end of a file, which is made where it is not there.

    Raises:
        SaveError: The disk is full, or the place is not writable.
    """
    line = json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
    with as_save_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            # A line that a kill cut short must not swallow this one.
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read() == b"\n" else b"\n" + line
            file.write(line)


def replace_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of these rows in the place of the old one.

    Raises:
        SaveError: The disk is full, or the place is not writable.
    """
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
