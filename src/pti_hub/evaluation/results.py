"""Measurements, one per line, that outlive a kill and can be added up over runs and processes."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from pti_hub.errors import InputError, WeightsError
from pti_hub.images import save_image
from pti_hub.storage import append_row, as_save_error, read_rows

PATTERN = "results*.jsonl"


class Results:
    """The rows of a folder, of all its files `results*.jsonl`; each process writes one of its own.

    Args:
        folder: The folder; made where it is not there.
        settings: What the numbers depend on, of JSON's types; it is written into every row.
        rank: Which process this is, of several.

    Raises:
        InputError: The folder holds rows of other settings.
        WeightsError: A line is damaged, other than one that a kill cut short.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any], rank: int | None = None) -> None:
        self.folder, self.settings = Path(folder), json.loads(json.dumps(dict(settings)))
        self.path = self.folder / ("results.jsonl" if rank is None else f"results-{rank}.jsonl")
        with as_save_error(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.rows = read_results(self.folder)
        self._done: dict[tuple[str, str], set[str]] = {}
        for row in self.rows:
            self._done.setdefault((row["image"], row["method"]), set()).update(row["groups"])
            # Kept once, not with every row.
            if (settings := row.pop("settings", None)) != self.settings:
                other = differences(settings, self.settings)
                raise InputError(
                    f"{self.folder} holds results of other settings ({other}); give another folder, or ask for what it "
                    "was begun with"
                )

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """The results that a folder holds, with the settings they were made with.

        Raises:
            InputError: It holds none, or of several settings.
            WeightsError: A line is damaged.
        """
        rows = read_results(Path(folder))
        if not rows:
            raise InputError(f"{folder} holds no results; expected {PATTERN}, as examples/evaluate.py writes them")
        return cls(folder, rows[0].get("settings", {}))

    def missing(self, image: str, method: str, groups: Collection[str]) -> list[str]:
        """The groups of numbers that were not measured yet."""
        done = self._done.get((image, method), set())
        return [group for group in groups if group not in done]

    def add(self, image: str, method: str, groups: Collection[str], values: Mapping[str, Any]) -> None:
        """Keep a row, at once.

        Raises:
            SaveError: The disk is full, or the place is not writable.
        """
        row = {"image": image, "method": method, "groups": sorted(groups), **values}
        append_row(self.path, {**row, "settings": self.settings})
        self.rows.append(row)
        self._done.setdefault((image, method), set()).update(row["groups"])

    def skip(self, image: str, problem: str) -> None:
        """Keep why a photograph could not be measured."""
        if self.problems.get(image) != problem:
            self.add(image, "none", (), {"problem": problem})

    def add_pictures(self, image: str, method: str, pictures: Mapping[str, Image.Image]) -> None:
        """Keep small pictures of a method, by what they show.

        Raises:
            SaveError: The disk is full, or the place is not writable.
        """
        folder = self._pictures(image) / method
        with as_save_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for i, (name, picture) in enumerate(pictures.items()):
                save_image(picture, folder / f"{i}-{name}.jpg")

    def pictures(self, image: str, method: str) -> dict[str, Path]:
        """The pictures that were kept, by what they show."""
        found = (self._pictures(image) / method).glob("[0-9]-*.jpg")
        return {path.stem.partition("-")[2]: path for path in sorted(found)}

    def _pictures(self, image: str) -> Path:
        # Names come from data sets: they may hold anything, and must neither leave the folder nor meet.
        readable = re.sub(r"[^\w-]+", "-", image).strip("-")[:60]
        return self.folder / "pictures" / f"{readable}-{zlib.crc32(image.encode()):08x}"

    def of(self, method: str) -> list[dict[str, Any]]:
        """What was measured of a method, one row an image, by its name."""
        found: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            if row["method"] == method:
                found[row["image"]] = {**row, **found.get(row["image"], {})}
        return [found[image] for image in sorted(found)]

    @property
    def methods(self) -> list[str]:
        """Methods in the order they were first measured."""
        return list(dict.fromkeys(row["method"] for row in self.rows if "problem" not in row))

    @property
    def images(self) -> list[str]:
        """Photographs of which anything was measured."""
        return sorted({row["image"] for row in self.rows if "problem" not in row})

    @property
    def problems(self) -> dict[str, str]:
        """Photographs that were skipped, and why: those nothing was measured of."""
        measured = set(self.images)
        return {row["image"]: row["problem"] for row in self.rows if "problem" in row and row["image"] not in measured}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder.

    Raises:
        WeightsError: A line is damaged, other than one that a kill cut short.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(PATTERN)):
        for row in read_rows(path):
            if not {"image", "method", "groups"} <= row.keys():
                raise WeightsError(
                    f"{path} has a damaged line, without image, method or groups; delete that line, and it is measured "
                    "again"
                )
            rows.append(row)
    return rows


def differences(a: Any, b: Any, name: str = "") -> str:
    """Where two settings differ, as `name: a, not b` with commas between."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        return ", ".join(differences(a.get(key), b.get(key), f"{name}.{key}" if name else key) for key in keys)
    return f"{name or 'settings'}: {json.dumps(a)}, not {json.dumps(b)}"
