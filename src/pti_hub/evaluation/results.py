"""Measurements, a line each, that outlive a kill and can be added up over runs and processes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pti_hub.errors import InputError, WeightsError
from pti_hub.files import saving

PATTERN = "results*.jsonl"


class Results:
    """The rows of a folder, of all its files `results*.jsonl`; each process writes one of its own.

    Args:
        folder: The folder; made where it is not there.
        settings: What the numbers depend on, of JSON's types; it is written into every row.
        rank: Which process this is.

    Raises:
        InputError: The folder holds rows of other settings.
        WeightsError: A line is damaged, other than one that a kill cut short at the end of its file.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any], rank: int = 0) -> None:
        self.folder, self.settings = Path(folder), json.loads(json.dumps(dict(settings)))
        self.path = self.folder / f"results-{rank}.jsonl"
        with saving(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = read_rows(self.folder)
        for row in self.rows:
            if row.get("settings") != self.settings:
                raise InputError(
                    f"{self.folder} holds results of other settings, {json.dumps(row.get('settings'))}; give another "
                    "folder, or ask for what it was begun with"
                )

    def has(self, image: str, method: str) -> bool:
        """Whether this was measured already."""
        return any(row["image"] == image and row["method"] == method for row in self.rows)

    def add(self, image: str, method: str, values: Mapping[str, Any]) -> None:
        """Keep a row, at once.

        Raises:
            SaveError: The disk is full, or the place not writable.
        """
        row = {"image": image, "method": method, **values, "settings": self.settings}
        with saving(self.path):
            whole = not self.path.exists() or self.path.read_bytes()[-1:] in (b"\n", b"")
            with self.path.open("a", encoding="utf-8") as file:
                # A line that a kill cut short must not swallow this one.
                file.write(("" if whole else "\n") + json.dumps(row, ensure_ascii=False) + "\n")
        self.rows.append(row)

    def of(self, method: str) -> list[dict[str, Any]]:
        """The rows of a method that were measured, one an image, by its name."""
        found = {row["image"]: row for row in self.rows if row["method"] == method and "problem" not in row}
        return [found[image] for image in sorted(found)]

    @property
    def methods(self) -> list[str]:
        """Methods in the order they were first measured."""
        return list(dict.fromkeys(row["method"] for row in self.rows if "problem" not in row))

    @property
    def problems(self) -> dict[str, str]:
        """Photographs that were skipped, and why."""
        return {row["image"]: row["problem"] for row in self.rows if "problem" in row}


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder.

    Raises:
        WeightsError: A line is damaged, other than the last of its file.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(PATTERN)):
        lines: Sequence[str] = path.read_text(encoding="utf-8", errors="replace").split("\n")
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line) if line else None
            except ValueError:
                row = {}
            if row is not None and not (isinstance(row, dict) and {"image", "method"} <= row.keys()):
                # What a kill cut short is measured again.
                if number >= len(lines) - 1 or not line.endswith("}"):
                    continue
                raise WeightsError(f"{path}, line {number} is damaged; delete that line, and it is measured again")
            if row is not None:
                rows.append(row)
    return rows
