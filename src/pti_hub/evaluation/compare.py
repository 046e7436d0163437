"""Paired comparison of two folders of results, photograph by photograph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pti_hub.errors import InputError
from pti_hub.evaluation.results import Results, differences
from pti_hub.evaluation.tables import EXHIBITS, Cell, Measure, cell, values_of
from pti_hub.storage import write_text

_MIN_PHOTOGRAPHS = 5


@dataclass(frozen=True)
class Pair:
    """One measure of one method in both folders, over the photographs that both folders have.

    Attributes:
        method: Name of the method.
        label: Label of the measure.
        better: 1 if higher is better, -1 if lower is better, 0 if neither.
        a: Mean in the first folder.
        b: Mean in the second folder.
        difference: Mean of b − a over photographs, with a 95 % bootstrap interval.
    """

    method: str
    label: str
    better: int
    a: float
    b: float
    difference: Cell

    @property
    def verdict(self) -> str:
        """The better folder, `"first"` or `"second"`; empty if the interval includes 0 or has too few photographs."""
        low, high = self.difference.low, self.difference.high
        # A bootstrap interval over a handful of photographs is too narrow.
        if not self.better or low <= 0 <= high or self.difference.count < _MIN_PHOTOGRAPHS:
            return ""
        return "second" if (low > 0) == (self.better > 0) else "first"


class Comparison:
    """Paired differences between the results in two folders.

    Args:
        a: A folder that `examples/evaluate.py` wrote.
        b: Another such folder.

    Raises:
        InputError: A folder holds no results, or no photograph was measured with the same method in both folders.
        WeightsError: A line of a results file is damaged.
    """

    def __init__(self, a: str | Path, b: str | Path) -> None:
        self.folders = Path(a), Path(b)
        first, second = (Results.load(folder) for folder in self.folders)
        self.settings = differences(first.settings, second.settings) if first.settings != second.settings else ""
        measures: dict[tuple[str, ...], Measure] = {}
        for measure in (measure for exhibit in EXHIBITS.values() for measure in exhibit.measures):
            measures.setdefault(tuple(measure.keys), measure)
        self.pairs: list[Pair] = []
        for method in first.methods:
            for measure in measures.values():
                x, y = (values_of(results.of(method), measure) for results in (first, second))
                if common := sorted(x.keys() & y.keys()):
                    xs, ys = ([values[name] for name in common] for values in (x, y))
                    difference = cell([after - before for before, after in zip(xs, ys, strict=True)])
                    self.pairs.append(
                        Pair(method, measure.label, measure.better, float(np.mean(xs)), float(np.mean(ys)), difference)
                    )
        if not self.pairs:
            raise InputError(
                f"{a} and {b} have no photograph measured with the same method: the first has "
                f"{', '.join(first.methods)} on {len(first.images)} photographs, the second "
                f"{', '.join(second.methods)} on {len(second.images)}; measure the same photographs and methods in both"
            )

    def to_markdown(self) -> str:
        """A table of both means, their difference, and the better folder where the interval excludes 0."""
        lines = [f"First: {self.folders[0]}. Second: {self.folders[1]}.", ""]
        if self.settings:
            lines += [f"Their settings differ: {self.settings}.", ""]
        lines += ["| method | measure | first | second | second − first | n | better |", "|---" * 7 + "|"]
        for p in self.pairs:
            d = p.difference
            lines.append(
                f"| {p.method} | {p.label} | {p.a:.3f} | {p.b:.3f} | {d.mean:+.3f} [{d.low:+.3f}, {d.high:+.3f}] | "
                f"{d.count} | {p.verdict} |"
            )
        lines += ["", "Differences are paired by photograph, with 95 % bootstrap intervals.", ""]
        return "\n".join(lines)

    def to_csv(self) -> str:
        """A CSV table with one line per method and measure."""
        lines = ["method,measure,first,second,difference,low,high,count"]
        for p in self.pairs:
            d = p.difference
            lines.append(f'{p.method},"{p.label}",{p.a:.6g},{p.b:.6g},{d.mean:.6g},{d.low:.6g},{d.high:.6g},{d.count}')
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        """Write compare.md and compare.csv.

        Args:
            folder: Folder for the two files, which is made if it is missing.

        Raises:
            SaveError: The disk is full, or the folder is not writable.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "compare.md", self.to_markdown())
        write_text(folder / "compare.csv", self.to_csv())
