"""The paper's tables, ours beside its own figures."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pti_hub.evaluation.results import Results
from pti_hub.files import saving


@dataclass(frozen=True)
class Measure:
    """One line of a table.

    Attributes:
        label: What it is called.
        keys: Numbers of a row whose mean it is.
        better: 1 if more is better, -1 if less is, 0 where it depends.
        paper: The paper's figures by method.
    """

    label: str
    keys: Sequence[str]
    better: int = 0
    paper: Mapping[str, float] = field(default_factory=dict)


def _paper(pti: float, e4e: float, sg2: float, sg2_wplus: float) -> dict[str, float]:
    return {"pti": pti, "e4e": e4e, "sg2": sg2, "sg2_wplus": sg2_wplus}


_BOTH = ("+1", "-1")
TABLES: dict[str, list[Measure]] = {
    "table1": [
        Measure("LPIPS", ["lpips_alex"], -1, _paper(0.09, 0.4, 0.4, 0.34)),
        Measure("LPIPS at 256²", ["lpips_alex_256"], -1),
        Measure("LPIPS (VGG)", ["lpips_vgg"], -1),
        Measure("LPIPS (VGG) at 256²", ["lpips_vgg_256"], -1),
        Measure("MSE", ["mse"], -1, _paper(0.014, 0.05, 0.08, 0.043)),
        Measure("1 − MS-SSIM", ["ms_ssim"], -1, _paper(0.21, 0.38, 0.38, 0.3)),
        Measure("PSNR (dB)", ["psnr"], 1),
        Measure("identity similarity", ["identity"], 1, _paper(0.9, 0.75, 0.8, 0.85)),
        Measure("‖w_p − w̄‖", ["w_distance"]),
        Measure("seconds", ["seconds"], -1),
    ],
    "table2": [
        Measure("edit magnitude, pose (°)", [f"yaw{s}" for s in _BOTH], 1, _paper(14.86, 14.6, 15, 11.15)),
        Measure(
            "identity, single edits",
            [f"identity_{edit}{s}" for edit in ("pose", "smile", "age") for s in _BOTH],
            1,
            _paper(0.9, 0.79, 0.82, 0.85),
        ),
        Measure("identity, sequential edits", ["identity_sequential"], 1, _paper(0.82, 0.73, 0.78, 0.81)),
        Measure("identity at ±5°", ["identity_yaw+5", "identity_yaw-5"], 1, _paper(0.84, 0.77, 0.79, 0.82)),
        Measure("identity at ±10°", ["identity_yaw+10", "identity_yaw-10"], 1, _paper(0.78, 0.72, 0.75, 0.77)),
    ],
}
"""By name, as `examples/evaluate.py` takes it."""


@dataclass(frozen=True)
class Cell:
    """A mean over photographs with its 95 % bootstrap interval, and the paper's figure."""

    mean: float
    low: float
    high: float
    count: int
    paper: float | None = None


class Table:
    """One of `TABLES`, filled in.

    Args:
        name: Its name.
        results: What was measured.
    """

    def __init__(self, name: str, results: Results) -> None:
        self.name, self.methods = name, results.methods
        self.measures = [m for m in TABLES[name] if any(m.keys[0] in r for r in results.rows)]
        rows = {method: results.of(method) for method in self.methods}
        self.cells = {
            (measure.label, method): _cell(
                [[row.get(key, math.nan) for key in measure.keys] for row in rows[method]], measure.paper.get(method)
            )
            for measure in self.measures
            for method in self.methods
        }

    def best(self, measure: Measure) -> str | None:
        """The method that is best in a measure, where one can be."""
        means = {method: self.cells[measure.label, method].mean for method in self.methods}
        means = {method: mean for method, mean in means.items() if not math.isnan(mean)}
        if not measure.better or not means:
            return None
        return max(means, key=lambda method: means[method] * measure.better)

    def to_markdown(self) -> str:
        """A table with ours, the interval, and the paper's figure in brackets."""
        lines = ["| | " + " | ".join(self.methods) + " |", "|---" * (len(self.methods) + 1) + "|"]
        for measure in self.measures:
            best, cells = self.best(measure), []
            for method in self.methods:
                cell = self.cells[measure.label, method]
                text = f"**{cell.mean:.3f}**" if method == best else f"{cell.mean:.3f}"
                text += f" [{cell.low:.3f}, {cell.high:.3f}]"
                cells.append(text + (f" (paper {cell.paper:g})" if cell.paper is not None else ""))
            lines.append(f"| {measure.label} | " + " | ".join(cells) + " |")
        counts = ", ".join(f"{method} {self.cells[self.measures[0].label, method].count}" for method in self.methods)
        return "\n".join(lines) + f"\n\nMeans with 95 % bootstrap intervals over photographs: {counts}.\n"

    def to_csv(self) -> str:
        """A line a number."""
        lines = ["measure,method,mean,low,high,count,paper"]
        for (label, method), cell in self.cells.items():
            paper = "" if cell.paper is None else f"{cell.paper:g}"
            lines.append(f'"{label}",{method},{cell.mean:.6g},{cell.low:.6g},{cell.high:.6g},{cell.count},{paper}')
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A booktabs table, the best of each line in bold."""
        names = [method.replace("_", r"\_") for method in self.methods]
        lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", " & ".join(["Measure", *names]) + r" \\"]
        lines.append(r"\midrule")
        for measure in self.measures:
            best, cells = self.best(measure), [_latex(measure.label)]
            for method in self.methods:
                mean = f"{self.cells[measure.label, method].mean:.3f}"
                cells.append(rf"\textbf{{{mean}}}" if method == best else mean)
            lines.append(" & ".join(cells) + r" \\")
        return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"

    def save(self, folder: Path) -> None:
        """Write NAME.md, NAME.csv and NAME.tex.

        Raises:
            SaveError: The disk is full, or the place not writable.
        """
        for suffix, text in (("md", self.to_markdown()), ("csv", self.to_csv()), ("tex", self.to_latex())):
            path = folder / f"{self.name}.{suffix}"
            with saving(path):
                partial = path.with_name(f".{path.name}.partial")
                partial.write_text(text, encoding="utf-8")
                partial.replace(path)


def _cell(values: Sequence[Sequence[float]], paper: float | None, draws: int = 2000) -> Cell:
    """The mean over photographs of the mean of each one's numbers, those that could be measured."""
    rows = [[v for v in row if not math.isnan(v)] for row in values]
    means = np.array([np.mean(row) for row in rows if row])
    if not len(means):
        return Cell(math.nan, math.nan, math.nan, 0, paper)
    samples = np.random.default_rng(0).choice(means, (draws, len(means))).mean(1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return Cell(float(means.mean()), float(low), float(high), len(means), paper)


def _latex(text: str) -> str:
    symbols = {"‖w_p − w̄‖": r"$\|w_p - \bar w\|$", "²": "$^2$", "−": "--", "±": r"$\pm$", "°": r"$^\circ$"}
    for character, command in symbols.items():
        text = text.replace(character, command)
    return text
