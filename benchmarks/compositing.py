"""How well edits are put back into photographs: seams, sharpness, identity and time, over a folder of photographs.

    python benchmarks/compositing.py photos

Every face is personalised once and saved in OUT; a run that was stopped resumes. The script appends one row per
photograph, face and edit to OUT/compositing.jsonl, and writes the edited photographs to OUT for inspection.

- outside: whether the photograph is unchanged, bit for bit, outside the face's square, and everywhere without an edit.
- seam: mean jump of brightness across the border of the square, and across the border of the changed pixels, divided by
  the jump at the same places in the photograph.
- sharpness: energy of the Laplacian, divided by the photograph's, where the edit changed pixels by less than 2 of 255.
- identity: distance of dlib's embeddings of the edited photograph, and of the edited crop, from the photograph's.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer
from PIL import Image

from pti_hub import Personalization, PTIPipeline
from pti_hub.faces import Compositor, Face, FaceAnalyzer, embedding, identity_distance
from pti_hub.images import find_pictures, load_image, save_image
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

EDITS = "smile=2,smile=1,smile=-1,age=1,age=-1,pose=1,pose=-1,gender=1,gender=-1,eyes_open=1,eyes_open=-1,mouth_open=1"


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of whole photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/compositing"),
    edits: Annotated[str, typer.Option(help="Edits, separated by commas.")] = EDITS,
    count: Annotated[int | None, typer.Option(min=1, help="Number of photographs to use; all by default.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Measure edits of whole photographs, and print a table."""
    pipe = PTIPipeline.from_pretrained(model)
    pipe.set_progress_bar_config(disable=True)
    results = out / "compositing.jsonl"
    rows = read_rows(results)
    done = {(row["photograph"], row["face"], row["edit"]) for row in rows}
    out.mkdir(parents=True, exist_ok=True)
    for path in find_pictures(photos)[:count]:
        photograph = load_image(path)
        for i, face in enumerate(FaceAnalyzer().detect(photograph)):
            missing = [edit for edit in edits.split(",") if (path.name, i, edit) not in done]
            if not missing:
                continue
            person = personalization(pipe, path, i, out)
            for edit in missing:
                row = {"photograph": path.name, "face": i, "edit": edit}
                row |= measure(pipe, person, photograph, face, edit, out / f"{path.stem}_{i}_{edit}.png")
                append_row(results, row)
                rows.append(row)
                print(row, flush=True)
    print(table(rows))


def personalization(pipe: PTIPipeline, path: Path, face: int, out: Path) -> Personalization:
    """The personalisation of one face, saved for the next run."""
    folder = out / f"{path.stem}_{face}"
    if not folder.is_dir():
        pipe(path, face=face).personalization.save_pretrained(folder)
    return Personalization.from_pretrained(folder)


def measure(
    pipe: PTIPipeline, person: Personalization, photograph: Image.Image, face: Face, edit: str, file: Path
) -> dict[str, Any]:
    """The measurements of one edit of one face."""
    placement = person.placements["subject"]
    reconstruction, edited = pipe.edit(person)[0], pipe.edit(person, edit.replace("=", "=raw:"))[0]
    start = time.perf_counter()
    compositor = Compositor(photograph, placement.quad, reconstruction)
    result = compositor(edited)
    first = time.perf_counter() - start
    start = time.perf_counter()
    compositor(edited)
    again = time.perf_counter() - start
    save_image(result, file)
    before, after = (np.asarray(picture).astype(np.float32) for picture in (photograph, result))
    square = inside(placement.quad, photograph.size)
    unchanged = np.array_equal(before[~square], after[~square])
    unchanged &= np.array_equal(np.asarray(compositor(reconstruction)), np.asarray(photograph))
    changed = (before != after).any(2)
    quiet = square & (cv2.blur(np.abs(after - before).max(2), (5, 5)) < 2)
    return {
        "outside": bool(unchanged),
        "seam_square": seam(before, after, square),
        "seam_change": seam(before, after, changed),
        "sharpness": laplacian(after, quiet) / laplacian(before, quiet) if quiet.any() else 1.0,
        "identity": distance(photograph, face, result),
        "identity_crop": distance(photograph, face, edited),
        "megapixels": photograph.width * photograph.height / 1e6,
        "seconds": first,
        "seconds_again": again,
    }


def inside(quad: Sequence[Sequence[float]], size: tuple[int, int]) -> np.ndarray:
    """Mask of the pixels in the square, with a margin of one pixel."""
    mask = np.zeros(size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, np.round(np.array(quad) * 16).astype(np.int32), 1, shift=4)
    return cv2.dilate(mask, np.ones((5, 5))) > 0


def seam(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> float:
    """Mean jump of brightness across a mask's border, divided by the jump at the same places in the photograph."""
    jumps = []
    for axis in (0, 1):
        border = np.diff(mask.astype(np.int8), axis=axis) != 0
        jumps.append([np.abs(np.diff(picture.mean(2), axis=axis))[border] for picture in (after, before)])
    ours, theirs = (np.concatenate([jump[k] for jump in jumps]) for k in (0, 1))
    return float(ours.mean() / max(theirs.mean(), 1e-6)) if len(ours) else 1.0


def laplacian(picture: np.ndarray, mask: np.ndarray) -> float:
    """Energy of the Laplacian inside a mask."""
    return float(np.square(cv2.Laplacian(picture.mean(2), cv2.CV_32F)[mask]).mean())


def distance(photograph: Image.Image, face: Face, edited: Image.Image) -> float:
    """Distance between the embeddings of a face and of the nearest face after the edit; NaN if there is no face."""
    original, analyzer = embedding(photograph, face), FaceAnalyzer()
    distances = [identity_distance(original, embedding(edited, other)) for other in analyzer.detect(edited)]
    return min(distances, default=float("nan"))


def table(rows: Sequence[dict[str, Any]]) -> str:
    """A table of means over faces, one line per edit."""
    names = ("seam_square", "seam_change", "sharpness", "identity", "identity_crop", "seconds", "seconds_again")
    lines = [f"| edit | faces | unchanged outside | {' | '.join(names)} |", "|---" * (len(names) + 3) + "|"]
    for edit in dict.fromkeys(row["edit"] for row in rows):
        group = [row for row in rows if row["edit"] == edit]
        cells = [f"{np.nanmean([row[name] for row in group]):.3f}" for name in names]
        lines.append(f"| {edit} | {len(group)} | {sum(row['outside'] for row in group)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
