"""A self-contained HTML page of all measurements."""

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
    """Write report.html: sortable tables, plots, the numbers of every photograph, and the pictures that were saved.

    Args:
        results: The measurements.
        tables: Tables to show, each with the files of its plots.
        title: Title of the page.
        most_pictures: Maximum number of photographs whose pictures are shown; each photograph adds a hundred kilobytes
            per method.

    Returns:
        The file.

    Raises:
        MissingDependencyError: The package `jinja2` is not installed.
        SaveError: The disk is full, or the folder is not writable.
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
    pictures: Mapping[str, Mapping[str, Path]] = {m: results.pictures(image, m) for m in ("photograph", *methods)}
    return [(m, [(kind, _embedded(path)) for kind, path in tiles.items()]) for m, tiles in pictures.items() if tiles]


def _embedded(path: Path) -> str:
    return f"data:{_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"
