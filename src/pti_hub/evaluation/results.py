"""Files of measurements, one per line, which survive a kill and can be combined across runs and processes."""

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
    """The rows of all files `results*.jsonl` in a folder; each process writes its own file.

    Args:
        folder: The folder; created if missing.
        settings: Everything that the numbers depend on, in JSON's types; written into every row.
        rank: Index of this process among several; `None` for a single process.

    Raises:
        InputError: The folder holds rows of other settings.
        WeightsError: A line is damaged, other than a line that a kill cut short.
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
            # In memory, the settings are kept once, not in every row.
            if (settings := row.pop("settings", None)) != self.settings:
                other = differences(settings, self.settings)
                raise InputError(
                    f"{self.folder} holds results of other settings ({other}); give another folder, or the settings "
                    "of these results"
                )

    @classmethod
    def load(cls, folder: str | Path) -> Results:
        """Load the results of a folder, with their settings.

        Args:
            folder: The folder of a run, `OUT` of `examples/evaluate.py`.

        Raises:
            InputError: The folder holds no results, or results of different settings.
            WeightsError: A line is damaged.
        """
        rows = read_results(Path(folder))
        if not rows:
            raise InputError(f"{folder} holds no results; expected {PATTERN}, as examples/evaluate.py writes them")
        return cls(folder, rows[0].get("settings", {}))

    def missing(self, image: str, method: str, groups: Collection[str]) -> list[str]:
        """The groups of numbers that have not been measured yet.

        Args:
            image: Name of the photograph.
            method: Name of the method.
            groups: Names of groups of numbers, of `METRICS`.
        """
        done = self._done.get((image, method), set())
        return [group for group in groups if group not in done]

    def add(self, image: str, method: str, groups: Collection[str], values: Mapping[str, Any]) -> None:
        """Add a row and write it to the disk immediately.

        Args:
            image: Name of the photograph.
            method: Name of the method.
            groups: Names of groups of numbers, of `METRICS`.
            values: The numbers, by name.

        Raises:
            SaveError: The disk is full, or the folder is not writable.
        """
        row = {"image": image, "method": method, "groups": sorted(groups), **values}
        append_row(self.path, {**row, "settings": self.settings})
        self.rows.append(row)
        self._done.setdefault((image, method), set()).update(row["groups"])

    def skip(self, image: str, problem: str) -> None:
        """Record why a photograph could not be measured.

        Args:
            image: Name of the photograph.
            problem: What is wrong with it, in one line.
        """
        if self.problems.get(image) != problem:
            self.add(image, "none", (), {"problem": problem})

    def add_pictures(self, image: str, method: str, pictures: Mapping[str, Image.Image]) -> None:
        """Save small pictures of a photograph and a method; the keys say what they show.

        Args:
            image: Name of the photograph.
            method: Name of the method.
            pictures: Pictures of mode RGB.

        Raises:
            SaveError: The disk is full, or the folder is not writable.
        """
        folder = self._pictures(image) / method
        with as_save_error(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for i, (name, picture) in enumerate(pictures.items()):
                save_image(picture, folder / f"{i}-{name}.jpg")

    def pictures(self, image: str, method: str) -> dict[str, Path]:
        """The files of the saved pictures, by what they show.

        Args:
            image: Name of the photograph.
            method: Name of the method.
        """
        paths = (self._pictures(image) / method).glob("[0-9]-*.jpg")
        return {path.stem.partition("-")[2]: path for path in sorted(paths)}

    def _pictures(self, image: str) -> Path:
        # Names come from data sets and may hold anything; their paths must differ and must not leave the folder.
        readable = re.sub(r"[^\w-]+", "-", image).strip("-")[:60]
        return self.folder / "pictures" / f"{readable}-{zlib.crc32(image.encode()):08x}"

    def of(self, method: str) -> list[dict[str, Any]]:
        """The measurements of a method: one row per photograph, sorted by the photographs' names.

        Args:
            method: Name of the method.
        """
        merged: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            if row["method"] == method:
                merged[row["image"]] = {**row, **merged.get(row["image"], {})}
        return [merged[image] for image in sorted(merged)]

    @property
    def methods(self) -> list[str]:
        """Methods in the order in which they were first measured."""
        return list(dict.fromkeys(row["method"] for row in self.rows if "problem" not in row))

    @property
    def images(self) -> list[str]:
        """Names of the photographs with at least one measurement, sorted."""
        return sorted({row["image"] for row in self.rows if "problem" not in row})

    @property
    def problems(self) -> dict[str, str]:
        """The photographs without any measurement, and why they were skipped."""
        measured = set(self.images)
        return {row["image"]: row["problem"] for row in self.rows if "problem" in row and row["image"] not in measured}


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Read the rows of a folder.

    Raises:
        WeightsError: A line is damaged, other than a line that a kill cut short.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(PATTERN)):
        for row in read_rows(path):
            if not {"image", "method", "groups"} <= row.keys():
                raise WeightsError(
                    f"{path} has a damaged line, without image, method or groups; delete that line, and the "
                    "photograph is measured again"
                )
            rows.append(row)
    return rows


def differences(a: Any, b: Any, name: str = "") -> str:
    """Where two settings differ, as `name: a, not b`, separated by commas."""
    if isinstance(a, dict) and isinstance(b, dict):
        keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
        return ", ".join(differences(a.get(key), b.get(key), f"{name}.{key}" if name else key) for key in keys)
    return f"{name or 'settings'}: {json.dumps(a)}, not {json.dumps(b)}"
