"""The faces of one photograph: one generator for all of them (Eq. 3) against one generator per face.

    python benchmarks/groups.py photos

Photographs with one face are skipped. The script appends one row per photograph and method to OUT/groups.jsonl and
prints a table of means; a run that was stopped resumes with the missing rows.

- lpips, mse: of the reconstructions; tuning stops at an LPIPS of 0.06.
- identity: distance of dlib's embeddings, of the reconstructed faces from the photograph's.
- seconds: projection and tuning, of all faces together.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pti_hub import Personalization, PivotalTuner, PTIPipeline
from pti_hub.errors import FaceError
from pti_hub.faces import FaceAnalyzer, embedding, identity_distance, select
from pti_hub.images import find_pictures, load_image
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

Faces = Mapping[str, Image.Image]


def alone(pipe: PTIPipeline, faces: Faces) -> list[Personalization]:
    """One generator per face."""
    return [pipe.personalize({name: face}, align=False) for name, face in faces.items()]


def shared(pipe: PTIPipeline, faces: Faces) -> list[Personalization]:
    """One generator for all faces, with locality."""
    return [pipe.personalize(faces, align=False)]


def shared_without_locality(pipe: PTIPipeline, faces: Faces) -> list[Personalization]:
    """One generator for all faces, without locality."""
    tuner = pipe.tuner
    pipe.tuner = PivotalTuner(dataclasses.replace(tuner.config, shared_locality_weight=0.0))
    try:
        return shared(pipe, faces)
    finally:
        pipe.tuner = tuner


METHODS: dict[str, Callable[[PTIPipeline, Faces], list[Personalization]]] = {
    "one generator per face": alone,
    "one generator": shared,
    "one generator, no locality": shared_without_locality,
}


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of whole photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/groups"),
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Measure the methods on every photograph with several faces, and print a table."""
    pipe = PTIPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(out / "groups.jsonl")
    done = {(row["photograph"], row["method"]) for row in rows}
    for path in find_pictures(photos):
        photograph = load_image(path)
        count = len(FaceAnalyzer().detect(photograph))
        missing = [method for method in METHODS if (path.name, method) not in done]
        if count < 2 or not missing:
            continue
        faces = {f"face{i}": pipe.prepare(photograph, face=i) for i in range(count)}
        for method in missing:
            row = {"photograph": path.name, "method": method, "faces": count}
            row |= measure(pipe, faces, METHODS[method])
            append_row(out / "groups.jsonl", row)
            rows.append(row)
            print(row, flush=True)
    print(table(rows))


def measure(
    pipe: PTIPipeline, faces: Faces, method: Callable[[PTIPipeline, Faces], list[Personalization]]
) -> dict[str, Any]:
    """The measurements of one method on the faces of one photograph."""
    start = time.perf_counter()
    people = method(pipe, faces)
    seconds = time.perf_counter() - start
    metrics = [metrics for person in people for metrics in person.metrics.values()]
    pictures = [picture for person in people for picture in pipe.edit(person)]
    return {
        "lpips": [m["lpips"] for m in metrics],
        "mse": [m["mse"] for m in metrics],
        "identity": [distance(face, picture) for face, picture in zip(faces.values(), pictures, strict=True)],
        "updates": sum(person.settings["steps"] for person in people) / len(faces),
        "seconds": seconds,
    }


def distance(face: Image.Image, picture: Image.Image) -> float:
    """Distance of dlib's embeddings of two aligned faces; NaN if one of them is not found."""
    try:
        found = [select(FaceAnalyzer().detect(image)) for image in (face, picture)]
    except FaceError:
        return float("nan")
    return identity_distance(embedding(face, found[0]), embedding(picture, found[1]))


def table(rows: list[dict[str, Any]]) -> str:
    """A table of means, one line per method; seconds per face."""
    names = ("lpips", "mse", "identity")
    lines = [f"| method | faces | {' | '.join(names)} | updates per face | seconds per face |", "|---" * 7 + "|"]
    for method in METHODS:
        group = [row for row in rows if row["method"] == method]
        count = sum(row["faces"] for row in group)
        cells = [f"{np.nanmean([v for row in group for v in row[name]]):.4f}" for name in names]
        updates = sum(row["updates"] * row["faces"] for row in group) / max(count, 1)
        seconds = sum(row["seconds"] for row in group) / max(count, 1)
        lines.append(f"| {method} | {count} | {' | '.join(cells)} | {updates:.0f} | {seconds:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
