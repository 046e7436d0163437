"""A page of everything that was measured, in one file that needs no other."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pti_hub.errors import MissingDependencyError
from pti_hub.evaluation.results import Results
from pti_hub.evaluation.tables import Table, values_of
from pti_hub.storage import write_text

REPORT_NAME = "report.html"

_TYPES = {".png": "image/png", ".jpg": "image/jpeg"}


def write_report(
    results: Results, tables: Sequence[tuple[Table, Sequence[Path]]], title: str, most_pictures: int = 60
) -> Path:
    """Write report.html: tables that sort, plots, every photograph's numbers, and pictures where they were kept.

    Args:
        results: What was measured.
        tables: What to show, each with its plots.
        title: The page's.
        most_pictures: Photographs of which pictures are shown, since each adds a hundred kilobytes a method.

    Returns:
        The file.

    Raises:
        MissingDependencyError: The package `jinja2` is not installed.
        SaveError: The disk is full, or the place is not writable.
    """
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise MissingDependencyError(
            "the report needs the package jinja2; install it: pip install 'pti-hub[evaluation]'"
        ) from error
    environment = Environment(loader=PackageLoader("pti_hub.evaluation", ""), autoescape=True, trim_blocks=True)
    methods = list(dict.fromkeys(method for table, _ in tables for method in table.methods))
    measures = {m.label: m for table, _ in tables for m in table.measures}
    rows = [
        (row["image"], method, [values_of([row], measure).get(row["image"]) for measure in measures.values()])
        for method in methods
        for row in results.of(method)
    ]
    pictured = [image for image in results.images if results.pictures(image, "photograph")]
    page = environment.get_template(REPORT_NAME).render(
        title=title,
        photographs=len(results.images),
        methods=methods,
        problems=results.problems,
        exhibits=[(table, [_embedded(p) for p in plots if p.suffix == ".png"]) for table, plots in tables],
        labels=list(measures),
        rows=sorted(rows, key=lambda row: row[0]),
        gallery=[(image, _strips(results, image, methods)) for image in pictured[:most_pictures]],
        more=max(0, len(pictured) - most_pictures),
        settings=json.dumps(results.settings, indent=2),
    )
    path = results.folder / REPORT_NAME
    write_text(path, page)
    return path


def _strips(results: Results, image: str, methods: Sequence[str]) -> list[tuple[str, list[tuple[str, str]]]]:
    found: Mapping[str, Mapping[str, Path]] = {m: results.pictures(image, m) for m in ("photograph", *methods)}
    return [(m, [(what, _embedded(path)) for what, path in tiles.items()]) for m, tiles in found.items() if tiles]


def _embedded(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
