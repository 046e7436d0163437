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
- seconds: for finding the strength and rendering, with one thread where two processes share two cores.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from PIL import Image, ImageOps

from pti_hub import Direction, Edit, Personalization, PTIPipeline
from pti_hub.edits import MeasuredEdit
from pti_hub.faces import attributes, identity_distance, shipped_attributes
from pti_hub.images import find_pictures, to_tensor
from pti_hub.perceptual import LPIPS
from pti_hub.personalization import add_deltas
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.pipelines.rendering import apply_edits, render
from pti_hub.storage import append_row, read_rows

sys.path.append(str(Path(__file__).parents[1] / "examples" / "shipped_edits"))
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
        person = Person(pipe, personalization(pipe, path, out), judge)
        for direction in pipe.edits.values():
            for asked in ASKED:
                if direction.step is not None and (path.name, direction.name, asked) not in done:
                    row = {"picture": path.name, "edit": direction.name, "asked": asked}
                    rows.append(row | person.measure(direction, asked))
                    append_row(results, rows[-1])
    print(table([row for file in sorted(out.glob("strengths-*.jsonl")) for row in read_rows(file)]))


def personalization(pipe: PTIPipeline, path: Path, out: Path) -> Personalization:
    """The personalisation of a photograph, kept for the next run."""
    if not (out / path.stem).is_dir():
        pipe.personalize(path).save_pretrained(out / path.stem)
    return Personalization.from_pretrained(out / path.stem)


class Look(NamedTuple):
    """What a picture shows.

    Attributes:
        numbers: By the name of a measure.
        embedding: Of the face.
    """

    numbers: dict[str, float]
    embedding: np.ndarray


class Judge:
    """Says what pictures show by other means than those that strengths are solved with."""

    def __init__(self, face_api: Path, perceptual: LPIPS) -> None:
        self.labeller, self.perceptual = Labeller(face_api), perceptual

    @torch.no_grad()
    def look(self, picture: Image.Image) -> Look:
        """What a picture shows; NaN where there is no face."""
        labelled = self.labeller([picture.reduce(picture.width // 512)])
        names = list(shipped_attributes())
        read = attributes(self.perceptual, to_tensor(ImageOps.mirror(picture)), names)[0].tolist()
        # Labels come last, so that they count where there are both.
        numbers = dict(zip([*names, *LABELS], [*read, *labelled.labels[0].tolist()], strict=True))
        return Look(numbers | {"yaw": numbers["pose"]}, labelled.embeddings[0])


class Person:
    """A personalisation, whose edits are measured.

    Args:
        pipe: The pipeline.
        personalization: Of one photograph.
        judge: Says what pictures show.
    """

    def __init__(self, pipe: PTIPipeline, personalization: Personalization, judge: Judge) -> None:
        self.pipe, self.judge = pipe, judge
        self.weights = add_deltas(pipe.generator, personalization.deltas)
        (pivot,) = personalization.pivots.values()
        self.pivot = pivot[None]
        self.before = judge.look(render(pipe.generator, self.weights, self.pivot))

    def measure(self, direction: Direction, asked: float) -> dict[str, Any]:
        """One edit."""
        start = time.perf_counter()
        found, picture = self.edited(MeasuredEdit(direction, asked))
        seconds = time.perf_counter() - start
        assert direction.step is not None
        name, change = direction.step.measure.name, direction.step.change
        row = {"strength": found.strength, "seconds": seconds, "before": self.before.numbers[name] / change}
        for suffix, shown in {"": picture, "_plain": self.edited(Edit(direction, asked))[1]}.items():
            after = self.judge.look(shown)
            row["change" if not suffix else "plain"] = (after.numbers[name] - self.before.numbers[name]) / change
            row[f"identity{suffix}"] = identity_distance(self.before.embedding, after.embedding)
        return row

    def edited(self, edit: Edit | MeasuredEdit) -> tuple[Edit, Image.Image]:
        """The edit along the vector, and the picture."""
        weights, ws, (found,) = apply_edits(self.pipe, self.weights, self.pivot, [edit], {})
        assert isinstance(found, Edit)
        return found, render(self.pipe.generator, weights, ws)


def table(rows: list[dict[str, Any]]) -> str:
    """One line per edit and strength.

    Faces that stay as they are, since they can't go further, are counted and then left out. "Near" is the share of
    the others within 25 % of what was asked for.
    """
    titles = ("edit", "faces", "stay", "right way", "near", "near, plain", "median", "median, plain", "vectors")
    lines = ["| " + " | ".join([*titles, "identity", "identity, plain"]) + " |", "|---" * 11 + "|"]
    for edit, asked in dict.fromkeys((row["edit"], row["asked"]) for row in rows):
        every = [row for row in rows if (row["edit"], row["asked"]) == (edit, asked)]
        group = [row for row in every if row["strength"]]
        start = f"| `{edit}={asked:g}` | {len(every)} | {len(every) - len(group)} "
        if not group:
            lines.append(start + "|" * 9)
            continue
        column = {key: np.array([row[key] for row in group]) for key in ("change", "plain", "strength", "identity")}
        near = [np.mean(np.abs(column[key] - asked) <= NEAR * abs(asked)) for key in ("change", "plain")]
        plain = np.nanmean([row["identity_plain"] for row in group])
        lines.append(
            f"{start}| {np.mean(column['change'] * asked > 0):.0%} | {near[0]:.0%} | {near[1]:.0%} "
            f"| {np.nanmedian(column['change']):.2f} | {np.nanmedian(column['plain']):.2f} "
            f"| {column['strength'].min():.2f} to {column['strength'].max():.2f} "
            f"| {np.nanmean(column['identity']):.2f} | {plain:.2f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
