"""Whether things that lie before a face are found, and whether free faces are left alone.

    python benchmarks/occlusion.py photos

Every face is projected as it is, and once more with a cup before the mouth (Rachel Michetti's, CC0, from scikit-image).
The script appends one row per photograph and kind to OUT/occlusion.jsonl and prints a table; a run that was stopped
resumes with the missing rows.

- found: whether something is found before the face.
- covered: share of the cup that is found.
- free: share of the rest of the face, an ellipse, that is left to be edited.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import skimage.data
import typer
from PIL import Image, ImageDraw

from pti_hub import PTIPipeline
from pti_hub.errors import FaceError
from pti_hub.faces import find_occluders
from pti_hub.images import find_pictures, to_pil
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

SIDE = 512
MASK_SIDE = 256
PLACE = (0.36, 0.6, 0.64, 0.86)
"""Left, upper, right and lower edge of the cup, as shares of the side: the mouth of an aligned face."""
CUP = (150, 10, 430, 310)
"""The same edges in the photograph of a cup, in pixels."""


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs; the first face of each is used.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/occlusion"),
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Measure free faces and faces behind a cup, and print a table."""
    pipe = PTIPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(out / "occlusion.jsonl")
    done = {(row["photograph"], row["kind"]) for row in rows}
    for path in find_pictures(photos):
        if {(path.name, "free"), (path.name, "cup")} <= done:
            continue
        try:
            faces = {"free": pipe.prepare(path, face=0).resize((SIDE, SIDE), Image.Resampling.LANCZOS)}
        except FaceError as error:
            print(f"{path}: {error}")
            continue
        faces["cup"] = behind_a_cup(faces["free"])
        for kind, face in faces.items():
            if (path.name, kind) not in done:
                row = {"photograph": path.name, "kind": kind, **measure(pipe, face)}
                append_row(out / "occlusion.jsonl", row)
                rows.append(row)
                print(row, flush=True)
    print(table(rows))


def place_of_cup(side: int) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Mask of the cup in a face, and the edges of its place."""
    left, upper, right, lower = (round(edge * side) for edge in PLACE)
    mask = Image.new("L", (side, side))
    ImageDraw.Draw(mask).ellipse((left, upper, right - 1, lower - 1), 255)
    return mask, (left, upper, right, lower)


def behind_a_cup(face: Image.Image) -> Image.Image:
    """A face with a cup before the mouth."""
    mask, (left, upper, right, lower) = place_of_cup(face.width)
    cup = Image.fromarray(skimage.data.coffee()).crop(CUP).resize((right - left, lower - upper))
    result = face.copy()
    result.paste(cup, (left, upper), mask.crop((left, upper, right, lower)))
    return result


def measure(pipe: PTIPipeline, face: Image.Image) -> dict[str, Any]:
    """What is found before an aligned face."""
    large = face.resize((pipe.generator.resolution,) * 2, Image.Resampling.LANCZOS)
    pivot = pipe.invert(large, align=False).pivot
    projection = to_pil(pipe.generator.synthesis(pivot))[0]
    found = find_occluders(pipe.projector_perceptual, face, projection)
    mask = np.zeros((MASK_SIDE, MASK_SIDE)) if found is None else found
    inside = np.asarray(place_of_cup(MASK_SIDE)[0]) > 0
    places = (np.arange(MASK_SIDE) + 0.5) / MASK_SIDE
    ellipse = np.hypot((places - 0.5) / 0.22, (places[:, None] - 0.58) / 0.32) < 1
    return {
        "found": found is not None,
        "covered": float((mask[inside] == 1).mean()),
        "free": float((mask[ellipse & ~inside] == 0).mean()),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table, one line per kind."""
    lines = ["| face | photographs | found | covered | free |", "|---" * 5 + "|"]
    for kind in ("free", "cup"):
        group = [row for row in rows if row["kind"] == kind]
        found = sum(row["found"] for row in group)
        cells = [f"{np.mean([row[name] for row in group]):.3f}" for name in ("covered", "free")]
        lines.append(f"| {kind} | {len(group)} | {found} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
