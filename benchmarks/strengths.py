"""How large a step of each edit is on real photographs, beside the plain step of its vector.

    npm pack @vladmandic/face-api@1.7.15
    python benchmarks/strengths.py faces --face-api vladmandic-face-api-1.7.15.tgz --out outputs/strengths

Every photograph is tuned once, by the default job; the personalisations are kept in OUT, and a run that was stopped
resumes. A row is one edit at −1 or +1 of one photograph. Several processes can share the work: --part 0/2, --part 1/2.

- change, plain: how much the edit changes what it is measured by, in steps: 1 is one step. `change` of measured steps,
  `plain` of the plain vector. The judge is not what the strength was solved with: labels of other networks and the mean
  of landmarks found six times, or, for what these do not know, the attribute network on the mirror image.
- before: the same number without an edit. strength: strength of the vector that was found.
- identity, identity_plain: distance of dlib's embeddings from the unedited picture.
- seconds, seconds_again: the first time, and another strength of the same edit.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image, ImageOps

from pti_hub import Direction, Edit, Personalization, PTIPipeline
from pti_hub.edits import MeasuredEdit
from pti_hub.faces import attributes, identity_distance
from pti_hub.images import find_pictures, to_tensor
from pti_hub.perceptual import LPIPS
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from face_labels import LABELS, Labeller

ASKED = (-1.0, 1.0)
NEAR = 0.25  # of what was asked for


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs with one face each.")],
    face_api: Annotated[Path, typer.Option(help="Tarball of @vladmandic/face-api 1.7.15.")],
    out: Annotated[Path, typer.Option(help="Folder for personalisations and rows.")] = Path("outputs/strengths"),
    part: Annotated[str, typer.Option(help="Which part of how many: 0/2 and 1/2 share the photographs.")] = "0/1",
) -> None:
    """Measure every edit on every photograph, and print a table."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    pipe.set_progress_bar_config(disable=True)
    judge = Judge(face_api, pipe.perceptual)
    number, count = map(int, part.split("/"))
    results = out / f"strengths-{number}.jsonl"
    out.mkdir(parents=True, exist_ok=True)
    rows = read_rows(results)
    done = {(row["picture"], row["edit"], row["asked"]) for row in rows}
    for path in find_pictures(folder)[number::count]:
        person = personalization(pipe, path, out)
        before = pipe.edit(person)[0]
        for direction in pipe.edits.values():
            for asked in ASKED:
                if direction.step is not None and (path.name, direction.name, asked) not in done:
                    row = {"picture": path.name, "edit": direction.name, "asked": asked}
                    rows.append(row | measure(pipe, person, before, direction, asked, judge))
                    append_row(results, rows[-1])
    print(table([row for file in sorted(out.glob("strengths-*.jsonl")) for row in read_rows(file)]))


def personalization(pipe: PTIPipeline, path: Path, out: Path) -> Personalization:
    """The personalisation of a photograph, kept for the next run."""
    if not (out / path.stem).is_dir():
        pipe.personalize(path).save_pretrained(out / path.stem)
    return Personalization.from_pretrained(out / path.stem)


class Judge:
    """Says what pictures show by other means than those that strengths are solved with."""

    def __init__(self, face_api: Path, perceptual: LPIPS) -> None:
        self.labeller, self.perceptual = Labeller(face_api), perceptual

    @torch.no_grad()
    def __call__(self, picture: Image.Image, direction: Direction) -> tuple[float, np.ndarray]:
        """What a direction is measured by, in steps, and the embedding; NaN where there is no face."""
        assert direction.step is not None
        name = {"yaw": "pose"}.get(direction.step.measure.name, direction.step.measure.name)
        labelled = self.labeller([picture.reduce(picture.width // 512)])
        if name in LABELS:
            number = labelled.labels[0, LABELS.index(name)]
        else:
            number = attributes(self.perceptual, to_tensor(ImageOps.mirror(picture)), [name]).item()
        return float(number / direction.step.change), labelled.embeddings[0]


def measure(
    pipe: PTIPipeline, person: Personalization, before: Image.Image, direction: Direction, asked: float, judge: Judge
) -> dict[str, Any]:
    """One edit of one photograph."""
    pipe.measurements(person).clear()
    start = time.perf_counter()
    output = pipe(person, MeasuredEdit(direction, asked))
    first = time.perf_counter()
    pipe.edit(person, MeasuredEdit(direction, 0.9 * asked))
    again = time.perf_counter()
    (found,) = output.edits[0]
    assert isinstance(found, Edit)
    row: dict[str, Any] = {"strength": found.strength, "seconds": first - start, "seconds_again": again - first}
    start_number, start_identity = judge(before, direction)
    row["before"] = start_number
    for suffix, picture in {"": output.images[0], "_plain": pipe.edit(person, Edit(direction, asked))[0]}.items():
        number, identity = judge(picture, direction)
        row["change" if not suffix else "plain"] = number - start_number
        row[f"identity{suffix}"] = identity_distance(start_identity, identity)
    return row


def table(rows: list[dict[str, Any]]) -> str:
    """One line per edit and strength; "near" is the share of photographs within 25 % of what was asked for."""
    titles = ("edit", "photographs", "right way", "near", "near, plain", "median", "median, plain", "strength")
    lines = ["| " + " | ".join([*titles, "identity", "identity, plain", "s", "s again"]) + " |", "|---" * 12 + "|"]
    for edit, asked in dict.fromkeys((row["edit"], row["asked"]) for row in rows):
        group = [row for row in rows if (row["edit"], row["asked"]) == (edit, asked)]
        column = {
            key: np.array([row[key] for row in group], float) for key in group[0] if key not in ("picture", "edit")
        }
        near = [np.mean(np.abs(column[key] - asked) <= NEAR * abs(asked)) for key in ("change", "plain")]
        low, high = column["strength"].min(), column["strength"].max()
        lines.append(
            f"| `{edit}={asked:g}` | {len(group)} | {np.mean(column['change'] * asked > 0):.0%} | {near[0]:.0%} "
            f"| {near[1]:.0%} | {np.nanmedian(column['change']):.2f} | {np.nanmedian(column['plain']):.2f} "
            f"| {low:.2f} to {high:.2f} | {np.nanmean(column['identity']):.2f} "
            f"| {np.nanmean(column['identity_plain']):.2f} | {column['seconds'].mean():.1f} "
            f"| {column['seconds_again'].mean():.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
