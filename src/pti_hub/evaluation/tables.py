"""The paper's tables and the numbers behind the paper's figures, each with measured and published values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pti_hub.errors import InputError
from pti_hub.evaluation.ganinverter import PUBLISHED
from pti_hub.evaluation.measure import PICTURES
from pti_hub.evaluation.methods import ALPHAS
from pti_hub.evaluation.results import Results
from pti_hub.storage import write_text


@dataclass(frozen=True)
class Measure:
    """One line of a table.

    Attributes:
        label: Label of the measure.
        keys: Keys of a result's numbers; the measure is their mean.
        better: 1 if higher is better, -1 if lower is better, 0 if neither.
        paper: The paper's numbers, by method.
        digits: Digits after the point.
    """

    label: str
    keys: Sequence[str]
    better: int = 0
    paper: Mapping[str, float] = field(default_factory=dict)
    digits: int = 3


@dataclass(frozen=True)
class Exhibit:
    """A table or figure of the paper, or another benchmark.

    Attributes:
        title: Title of the table or figure.
        groups: Groups of numbers to measure; see `METRICS`.
        measures: Lines of the table; empty if only pictures are shown.
        methods: Methods that are compared by default.
        published: Others' results on other photographs, by method: one number per measure, `None` where there is none.
    """

    title: str
    groups: Sequence[str]
    measures: Sequence[Measure] = ()
    methods: Sequence[str] = ("sg2", "sg2_wplus", "pti")
    published: Mapping[str, Sequence[float | None]] = field(default_factory=dict)


def _paper(pti: float, e4e: float, sg2: float, sg2_wplus: float) -> dict[str, float]:
    return {"pti": pti, "e4e": e4e, "sg2": sg2, "sg2_wplus": sg2_wplus}


_BOTH = ("+1", "-1")
_TABLE_1 = [
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
    Measure("peak memory (GB)", ["peak_gb"], -1),
]
_TABLE_2 = [
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
]

_DRIFT = [
    Measure("LPIPS, target", ["lpips_alex"], -1),
    Measure("LPIPS, random latents", ["drift_lpips"], -1),
    Measure("MSE, target", ["mse"], -1),
    Measure("MSE, random latents", ["drift_mse"], -1),
]
_ABLATION = [
    Measure("LPIPS", ["lpips_alex"], -1),
    Measure("MSE", ["mse"], -1),
    Measure("‖w_p − w̄‖", ["w_distance"]),
    Measure("identity similarity", ["identity"], 1),
    Measure("identity, smile", [f"identity_smile{s}" for s in _BOTH], 1),
    Measure("identity, pose", [f"identity_pose{s}" for s in _BOTH], 1),
    Measure("edit magnitude, pose (°)", [f"yaw{s}" for s in _BOTH], 1),
]
_SAMPLES = [
    Measure("FID of random samples, before", ["fid_before"], -1),
    Measure("FID of random samples, after", ["fid_after"], -1),
    Measure("KID of random samples, before", ["kid_before"], -1),
    Measure("KID of random samples, after", ["kid_after"], -1),
]
_GANINVERTER = [
    Measure("LPIPS (GANInverter)", ["ganinverter_lpips_alex"], -1, digits=4),
    Measure("MSE (GANInverter)", ["ganinverter_mse"], -1, digits=4),
    Measure("10 log₁₀(2 / MSE) (GANInverter)", ["ganinverter_psnr"], 1, digits=2),
    Measure("seconds", ["seconds"], -1, digits=2),
    Measure("LPIPS of VGG (GANInverter)", ["ganinverter_lpips_vgg"], -1, digits=4),
]
_PIVOTS = ("pti", "pti_wplus", "pti_mean", "pti_mean_moving", "pti_random", "pti_random_moving")

EXHIBITS: dict[str, Exhibit] = {
    "table1": Exhibit("Table 1, reconstruction", ("reconstruction", "identity"), _TABLE_1),
    "table2": Exhibit("Table 2, editing", ("edits",), _TABLE_2),
    "figure15": Exhibit("Figure 15, locality", ("reconstruction", "drift"), _DRIFT, ("pti", "pti_local")),
    "figure16": Exhibit("Figure 16, other pivots", ("reconstruction", "edits", PICTURES), _ABLATION, _PIVOTS),
    "figure17": Exhibit(
        "Figure 17, distance α of locality",
        ("reconstruction", "drift"),
        _DRIFT,
        ("pti", *(f"pti_alpha{alpha}" for alpha in ALPHAS)),
    ),
    "figure21": Exhibit("Figure 21, uncurated edits", (PICTURES,)),
    "samples": Exhibit("Random samples before and after tuning", ("fid",), _SAMPLES, ("pti",)),
    "ganinverter": Exhibit(
        "GANInverter's benchmark, 256²", ("ganinverter",), _GANINVERTER, ("sg2", "pti", "pipeline"), PUBLISHED
    ),
}
"""Tables and figures, by the names that `examples/evaluate.py` accepts."""

PROTOCOLS = {"paper": ("table1", "table2"), "ganinverter": ("ganinverter",)}
"""Tables of each benchmark, by its name."""


def exhibits(names: Sequence[str]) -> dict[str, Exhibit]:
    """Select from `EXHIBITS` by name.

    Args:
        names: Names such as `table1`.

    Raises:
        InputError: A name is unknown, or there are no names.
    """
    if not names or (unknown := [name for name in names if name not in EXHIBITS]):
        problem = f"no table or figure is named {', '.join(unknown)}" if names else "no table or figure was named"
        raise InputError(f"{problem}; there are {', '.join(EXHIBITS)}")
    return {name: EXHIBITS[name] for name in names}


def exhibits_of(protocol: str) -> dict[str, Exhibit]:
    """The tables of a benchmark.

    Args:
        protocol: A name from `PROTOCOLS`.

    Raises:
        InputError: No benchmark has this name.
    """
    if protocol not in PROTOCOLS:
        raise InputError(f"protocol={protocol!r}; expected one of {', '.join(PROTOCOLS)}")
    return exhibits(PROTOCOLS[protocol])


@dataclass(frozen=True)
class Cell:
    """A mean over photographs with a 95 % bootstrap interval, and the paper's number."""

    mean: float
    low: float
    high: float
    count: int
    paper: float | None = None
    digits: int = 3

    def __str__(self) -> str:
        if not self.count:
            return "–"
        mean, low, high = (f"{value:.{self.digits}f}" for value in (self.mean, self.low, self.high))
        text = f"{mean} [{low}, {high}]"
        return text + (f" (paper {self.paper:g})" if self.paper is not None else "")


class Table:
    """The numbers of one of `EXHIBITS`.

    Args:
        name: Name of the table or figure in `EXHIBITS`.
        results: The measurements.
        methods: Methods to show, in order; by default all that were measured.
    """

    def __init__(self, name: str, results: Results, methods: Sequence[str] | None = None) -> None:
        self.name, self.exhibit = name, EXHIBITS[name]
        measured = results.methods
        self.methods = [method for method in (methods or measured) if method in measured]
        self.rows = {method: results.of(method) for method in self.methods}
        measured_keys = {key for rows in self.rows.values() for row in rows for key in row}
        self.measures = [measure for measure in self.exhibit.measures if measure.keys[0] in measured_keys]
        self.cells = {
            (measure.label, method): cell(
                list(values_of(self.rows[method], measure).values()), measure.paper.get(method), digits=measure.digits
            )
            for measure in self.measures
            for method in self.methods
        }
        labels = [measure.label for measure in self.exhibit.measures]
        published = self.exhibit.published.items()
        self.published = {name: dict(zip(labels, row, strict=False)) for name, row in published}

    def best(self, measure: Measure) -> str | None:
        """The best method in a measure, over the photographs that all methods share; `None` if there is none.

        Args:
            measure: A measure of the table.
        """
        by_method = {method: values_of(self.rows[method], measure) for method in self.methods}
        by_method = {method: values for method, values in by_method.items() if values}
        common = set.intersection(*(set(values) for values in by_method.values())) if by_method else set()
        if not measure.better or not common:
            return None
        return max(by_method, key=lambda method: sum(by_method[method][image] for image in common) * measure.better)

    @property
    def published_labels(self) -> list[str]:
        """Labels of the measures for which others' results are known."""
        return [m.label for m in self.measures if any(row.get(m.label) is not None for row in self.published.values())]

    @property
    def published_rows(self) -> list[tuple[str, list[str]]]:
        """Others' results: the name of each method, and its numbers as text."""
        numbers = {name: [row[label] for label in self.published_labels] for name, row in self.published.items()}
        return [(name, ["–" if x is None else f"{x:g}" for x in row]) for name, row in numbers.items()]

    @property
    def note(self) -> str:
        """A sentence on the number of photographs that the means are over."""
        counts = {m: max(self.cells[x.label, m].count for x in self.measures) for m in self.methods}
        fewer = [
            f"{x.label} of {m} {c.count}"
            for x in self.measures
            for m in self.methods
            if (c := self.cells[x.label, m]).count < counts[m]
        ]
        text = ", ".join(f"{method} {count}" for method, count in counts.items())
        return f"Means with 95 % bootstrap intervals over photographs: {', '.join([text, *fewer])}."

    def to_markdown(self) -> str:
        """A Markdown table of means with intervals, and the paper's numbers in brackets."""
        lines = ["| | " + " | ".join(self.methods) + " |", "|---" * (len(self.methods) + 1) + "|"]
        for measure in self.measures:
            best, cells = self.best(measure), []
            for method in self.methods:
                mean, space, rest = str(self.cells[measure.label, method]).partition(" ")
                cells.append((f"**{mean}**" if method == best else mean) + space + rest)
            lines.append(f"| {measure.label} | " + " | ".join(cells) + " |")
        lines += ["", self.note]
        if self.published:
            lines += ["", "| published | " + " | ".join(self.published_labels) + " |"]
            lines.append("|---" * (len(self.published_labels) + 1) + "|")
            lines += [f"| {name} | " + " | ".join(row) + " |" for name, row in self.published_rows]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """A CSV table with one line per measure and method."""
        lines = ["measure,method,mean,low,high,count,paper"]
        for (label, method), c in self.cells.items():
            paper = "" if c.paper is None else f"{c.paper:g}"
            lines.append(f'"{label}",{method},{c.mean:.6g},{c.low:.6g},{c.high:.6g},{c.count},{paper}')
        for name, row in self.published.items():
            known = {label: row[label] for label in self.published_labels if row.get(label) is not None}
            lines += [f'"{label}","{name}",,,,,{value:g}' for label, value in known.items()]
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        """A booktabs table of means: the best of each line in bold, the paper's numbers in brackets."""
        names = [_latex(method) for method in self.methods]
        lines = [rf"\begin{{tabular}}{{l{'r' * len(names)}}}", r"\toprule", " & ".join(["Measure", *names]) + r" \\"]
        lines.append(r"\midrule")
        for measure in self.measures:
            best, cells = self.best(measure), [_latex(measure.label)]
            for method in self.methods:
                c = self.cells[measure.label, method]
                mean = f"{c.mean:.{c.digits}f}" if c.count else "--"
                paper = f" ({c.paper:g})" if c.paper is not None else ""
                cells.append((rf"\textbf{{{mean}}}" if method == best else mean) + paper)
            lines.append(" & ".join(cells) + r" \\")
        lines += [r"\bottomrule", r"\end{tabular}"]
        if self.published:
            labels = [_latex(label) for label in self.published_labels]
            lines += ["", rf"\begin{{tabular}}{{l{'r' * len(labels)}}}", r"\toprule"]
            lines += [" & ".join(["Published", *labels]) + r" \\", r"\midrule"]
            lines += [" & ".join([_latex(name), *row]).replace("–", "--") + r" \\" for name, row in self.published_rows]
            lines += [r"\bottomrule", r"\end{tabular}"]
        return "\n".join(lines) + "\n"

    def save(self, folder: Path) -> None:
        """Write NAME.md, NAME.csv and NAME.tex.

        Args:
            folder: Folder for the three files.

        Raises:
            SaveError: The disk is full, or the folder is not writable.
        """
        for suffix, text in (("md", self.to_markdown()), ("csv", self.to_csv()), ("tex", self.to_latex())):
            write_text(folder / f"{self.name}.{suffix}", text)


def values_of(rows: Sequence[Mapping[str, Any]], measure: Measure) -> dict[str, float]:
    """A measure's value for each photograph: the mean of the numbers that could be measured."""
    by_photograph = {}
    for row in rows:
        values = [row[key] for key in measure.keys if not math.isnan(row.get(key, math.nan))]
        if values:
            by_photograph[row["image"]] = float(np.mean(values))
    return by_photograph


def cell(values: Sequence[float], paper: float | None = None, draws: int = 2000, digits: int = 3) -> Cell:
    """The mean of values with a 95 % bootstrap interval."""
    if not values:
        return Cell(math.nan, math.nan, math.nan, 0, paper, digits)
    samples = np.random.default_rng(0).choice(np.array(values), (draws, len(values))).mean(1)
    low, high = np.quantile(samples, [0.025, 0.975])
    return Cell(float(np.mean(values)), float(low), float(high), len(values), paper, digits)


def _latex(text: str) -> str:
    if text.startswith("‖"):
        return r"$\|w_p - \bar w\|$"
    commands = {"_": r"\_", "²": "$^2$", "₁₀": "$_{10}$", "−": "--", "°": r"$^\circ$", "α": r"$\alpha$"}
    for character, command in commands.items():
        text = text.replace(character, command)
    return text.replace("±", r"$\pm$")
