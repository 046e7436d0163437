"""Plots and contact sheets of results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from pti_hub.errors import MissingDependencyError
from pti_hub.evaluation.methods import ALPHAS
from pti_hub.evaluation.results import Results
from pti_hub.evaluation.tables import Table, cell, values_of
from pti_hub.images import save_image
from pti_hub.storage import replaced_file

_TILE, _LABEL, _PAGE = 128, 18, 6
_SIDES = ("target", "random latents")


def draw(name: str, results: Results, methods: Sequence[str] | None = None) -> list[Path]:
    """Draw one of `EXHIBITS` into the results' folder.

    Args:
        name: Name of the table or figure in `EXHIBITS`.
        results: The measurements.
        methods: Methods to show, in order; by default all that were measured.

    Returns:
        The files: `NAME.png`, a plot of the table, and contact sheets `NAME-1.jpg`, …, of six photographs each.

    Raises:
        MissingDependencyError: The package `matplotlib` is not installed.
        SaveError: The disk is full, or the folder is not writable.
    """
    table, files = Table(name, results, methods), []
    if table.measures:
        path = results.folder / f"{name}.png"
        _save_plot(_PLOTS.get(name, _dots), table, path)
        files.append(path)
    if name in ("figure16", "figure21"):
        files += _sheets(table, results)
    return files


def _save_plot(plot: Callable[[Table, Any], Any], table: Table, path: Path) -> None:
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            "plots need the package matplotlib; install it: pip install 'pti-hub[evaluation]'"
        ) from error
    figure = Figure(layout="constrained")
    FigureCanvasAgg(figure)
    plot(table, figure)
    with replaced_file(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


def _dots(table: Table, figure: Any) -> None:
    """One dot per photograph, beside the dots each method's mean with its interval, and others' results."""
    columns, height = (2, 3.2) if table.published else (3, 2.4)
    rows = -(-len(table.measures) // columns)
    figure.set_size_inches(8, height * rows)
    for i, measure in enumerate(table.measures):
        axis = figure.add_subplot(rows, columns, i + 1)
        for x, method in enumerate(table.methods):
            values = list(values_of(table.rows[method], measure).values())
            axis.plot([x - 0.12] * len(values), values, "o", color=f"C{x}", alpha=0.35, markersize=4)
            c = table.cells[measure.label, method]
            axis.errorbar(x + 0.12, c.mean, [[c.mean - c.low], [c.high - c.mean]], fmt="s", color=f"C{x}", markersize=5)
            if c.paper is not None:
                axis.plot([x - 0.3, x + 0.3], [c.paper] * 2, ":", color="0.3")
        published = [(name, row[measure.label]) for name, row in table.published.items() if row.get(measure.label)]
        axis.plot(range(len(table.methods), len(table.methods) + len(published)), [v for _, v in published], "_k")
        axis.set_title(measure.label, fontsize=9)
        names = [*table.methods, *(name for name, _ in published)]
        axis.set_xticks(range(len(names)), names, rotation=60 if published else 30, ha="right", fontsize=7)
        axis.tick_params(axis="y", labelsize=7)
        axis.margins(x=0.05 if published else 0.25)
    text = "dash: published, other photographs and generator" if table.published else "dotted: the paper's number"
    figure.text(0.995, 0.002, text, ha="right", va="bottom", fontsize=6, color="0.3")


def _bars(table: Table, figure: Any) -> None:
    """Target and random latents side by side for LPIPS and MSE, as in Figure 15."""
    figure.set_size_inches(7, 3)
    width = 0.8 / len(table.methods)
    for i, quantity in enumerate(("LPIPS", "MSE")):
        axis = figure.add_subplot(1, 2, i + 1)
        for k, method in enumerate(table.methods):
            cells = [table.cells.get((f"{quantity}, {side}", method), cell([])) for side in _SIDES]
            errors = [[c.mean - c.low for c in cells], [c.high - c.mean for c in cells]]
            axis.bar([x + k * width for x in (0, 1)], [c.mean for c in cells], width, yerr=errors, label=method)
        middle = (len(table.methods) - 1) * width / 2
        axis.set_xticks([middle, 1 + middle], _SIDES)
        axis.set_ylabel(quantity)
    figure.axes[0].legend(frameon=False, fontsize=8)


def _lines(table: Table, figure: Any) -> None:
    """Target and random latents over α, as in Figure 17."""
    figure.set_size_inches(7, 3)
    methods = {f"pti_alpha{alpha}": alpha for alpha in ALPHAS if f"pti_alpha{alpha}" in table.methods}
    for i, quantity in enumerate(("LPIPS", "MSE")):
        axis = figure.add_subplot(1, 2, i + 1)
        for k, side in enumerate(_SIDES):
            means = {m: table.cells.get((f"{quantity}, {side}", m), cell([])).mean for m in (*methods, "pti")}
            axis.plot(list(methods.values()), [means[m] for m in methods], "o-", color=f"C{k}", label=side)
            axis.axhline(means["pti"], color=f"C{k}", linestyle=":")
        if methods:
            axis.set_xscale("log", base=2)
        axis.set_xlabel("α (dotted: no locality)")
        axis.set_ylabel(quantity)
    figure.axes[0].legend(frameon=False, fontsize=8)


_PLOTS: dict[str, Callable[[Table, Any], None]] = {"figure15": _bars, "figure17": _lines}


def _sheets(table: Table, results: Results) -> list[Path]:
    """Contact sheets of six photographs, one row per photograph and method: photograph, reconstruction, edits."""
    images = [i for i in results.images if any(results.pictures(i, method) for method in table.methods)]
    kinds = list(dict.fromkeys(kind for i in images for m in table.methods for kind in results.pictures(i, m)))
    font, files = ImageFont.load_default(12), []
    for start in range(0, len(images), _PAGE):
        page = images[start : start + _PAGE]
        height = _LABEL + len(page) * len(table.methods) * (_TILE + _LABEL)
        sheet = Image.new("RGB", ((1 + len(kinds)) * _TILE, height), "white")
        pen, y = ImageDraw.Draw(sheet), 0
        for x, kind in enumerate(["photograph", *kinds]):
            pen.text((x * _TILE + 4, 2), kind, "black", font)
        y += _LABEL
        for image in page:
            for method in table.methods:
                tiles = {"photograph": results.pictures(image, "photograph").get("photograph")}
                tiles |= results.pictures(image, method)
                for x, kind in enumerate(["photograph", *kinds]):
                    if path := tiles.get(kind):
                        with Image.open(path) as tile:
                            sheet.paste(tile.resize((_TILE, _TILE), Image.Resampling.LANCZOS), (x * _TILE, y))
                pen.text((4, y + _TILE + 1), f"{image}, {method}", "black", font)
                y += _TILE + _LABEL
        path = results.folder / f"{table.name}-{start // _PAGE + 1}.jpg"
        save_image(sheet, path)
        files.append(path)
    return files
