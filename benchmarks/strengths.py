"""How large a step of each measured edit is on real photographs, beside the plain step of its vector.

    python benchmarks/strengths.py faces --out outputs/strengths

Every photograph is tuned once, by the default job; the personalisations are kept in OUT, and a run that was stopped
resumes. A row is one edit at −1, +1 or +2 of one photograph.

- change, plain: how much the edit changes what it is measured by, in steps: 1 is one step. `change` of measured steps,
  `plain` of the plain vector. The landmarks are found anew in a slightly larger picture, so that what the strength was
  solved with is not its own judge.
- before: the same number without an edit. strength: strength of the vector that was found.
- identity, identity_plain: distance of dlib's embeddings from the unedited picture.
- seconds, seconds_again: the first time, and another strength of the same edit.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image

from pti_hub import Direction, Edit, Personalization, PTIPipeline
from pti_hub.edits import MeasuredEdit
from pti_hub.faces import FaceAnalyzer, embedding, identity_distance, widest
from pti_hub.images import find_pictures
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

ASKED = (-1.0, 1.0, 2.0)
LARGER = 1.15


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs with one face each.")],
    out: Annotated[Path, typer.Option(help="Folder for personalisations and rows.")] = Path("outputs/strengths"),
) -> None:
    """Measure every edit on every photograph, and print a table."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    results = out / "strengths.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(results)
    done = {(row["picture"], row["edit"], row["asked"]) for row in rows}
    for path in find_pictures(folder):
        person = personalization(pipe, path, out)
        for direction in pipe.edits.values():
            for asked in ASKED:
                if direction.step is not None and (path.name, direction.name, asked) not in done:
                    row = {"picture": path.name, "edit": direction.name, "asked": asked}
                    rows.append(row | measure(pipe, person, direction, asked))
                    append_row(results, rows[-1])
    print(table(rows))


def personalization(pipe: PTIPipeline, path: Path, out: Path) -> Personalization:
    """The personalisation of a photograph, kept for the next run."""
    if not (out / path.stem).is_dir():
        pipe.personalize(path).save_pretrained(out / path.stem)
    return Personalization.from_pretrained(out / path.stem)


def measure(pipe: PTIPipeline, person: Personalization, direction: Direction, asked: float) -> dict[str, Any]:
    """One edit of one photograph."""
    pipe.measurements(person).clear()
    start = time.perf_counter()
    output = pipe(person, MeasuredEdit(direction, asked))
    first = time.perf_counter()
    pipe.edit(person, MeasuredEdit(direction, 0.9 * asked))
    again = time.perf_counter()
    before, plain = (pipe.edit(person, edit)[0] for edit in (None, Edit(direction, asked)))
    pictures = {"": output.images[0], "_plain": plain}
    (found,) = output.edits[0]
    assert isinstance(found, Edit)
    row: dict[str, Any] = {"strength": found.strength, "seconds": first - start, "seconds_again": again - first}
    start_number, start_identity = look(before, direction, pipe.perceptual)
    row["before"] = start_number
    for suffix, picture in pictures.items():
        number, identity = look(picture, direction, pipe.perceptual)
        row["change" if not suffix else "plain"] = number - start_number
        row[f"identity{suffix}"] = identity_distance(start_identity, identity)
    return row


def look(picture: Image.Image, direction: Direction, perceptual: LPIPS) -> tuple[float, np.ndarray]:
    """What a direction is measured by, in steps, and the embedding; NaN where there is no face."""
    assert direction.step is not None
    enlarged = picture.resize((round(LARGER * picture.width), round(LARGER * picture.height)), Image.Resampling.BICUBIC)
    face = widest(FaceAnalyzer().detect(enlarged))
    if face is None:
        return float("nan"), np.full(128, np.nan, np.float32)
    return direction.step.measure.of(enlarged, perceptual) / direction.step.change, embedding(enlarged, face)


def table(rows: list[dict[str, Any]]) -> str:
    """One line per edit and strength; "near" is the share of photographs within 25 % of what was asked for."""
    titles = ("edit", "photographs", "near", "near, plain", "mean", "mean, plain", "strength", "identity")
    lines = ["| " + " | ".join([*titles, "identity, plain", "s", "s again"]) + " |", "|---" * 11 + "|"]
    for edit, asked in dict.fromkeys((row["edit"], row["asked"]) for row in rows):
        group = [row for row in rows if (row["edit"], row["asked"]) == (edit, asked)]
        column = {
            key: np.array([row[key] for row in group], float) for key in group[0] if key not in ("picture", "edit")
        }
        near = [np.mean(np.abs(column[key] - asked) <= 0.25 * abs(asked)) for key in ("change", "plain")]
        low, high = column["strength"].min(), column["strength"].max()
        lines.append(
            f"| {edit}={asked:g} | {len(group)} | {near[0]:.0%} | {near[1]:.0%} | {np.nanmean(column['change']):.2f} "
            f"| {np.nanmean(column['plain']):.2f} | {low:.2f} to {high:.2f} | {np.nanmean(column['identity']):.2f} "
            f"| {np.nanmean(column['identity_plain']):.2f} | {column['seconds'].mean():.1f} "
            f"| {column['seconds_again'].mean():.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
