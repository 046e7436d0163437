"""Many identities in one generator (Eq. 3) against one generator per identity: Tables 1 and 2 for both.

    python benchmarks/cast.py faces --count 6

Both are learned by the pipeline's own job. The script writes OUT/results.jsonl, the tables, and what was learned,
OUT/alone and OUT/cast. A run that was stopped resumes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pti_hub import Personalization, PivotalTuner, PTIPipeline
from pti_hub.evaluation import Measurements, Results, Table, draw
from pti_hub.images import find_pictures
from pti_hub.pipelines import DEFAULT_CHECKPOINT

GROUPS = ("reconstruction", "edits", "identity")


def cast(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs with one face each.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/cast"),
    count: Annotated[int, typer.Option(help="Number of photographs to use, in order.", min=2)] = 12,
    steps: Annotated[int | None, typer.Option(help="Maximum number of updates per image; the pipeline's.")] = None,
) -> None:
    """Compare one generator for many identities with one generator per identity."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    if steps is not None:
        pipe.tuner = PivotalTuner(dataclasses.replace(pipe.tuner.config, num_steps=steps))
    paths = {path.stem: path for path in find_pictures(folder)[:count]}
    measurements = Measurements(pipe)
    results = Results(out, {"people": list(paths), **measurements.settings})
    together = f"cast of {len(paths)}"
    for name, path in paths.items():
        person = learned(pipe, {name: path}, out / "alone" / name)
        measure(measurements, results, "alone", name, path, person)
    everybody = learned(pipe, paths, out / "cast")
    for name, path in paths.items():
        measure(measurements, results, together, name, path, everybody)
    for exhibit in ("table1", "table2"):
        table = Table(exhibit, results, ["alone", together])
        table.save(out)
        draw(exhibit, results, table.methods)
        print(f"\n{table.exhibit.title}\n\n{table.to_markdown()}")
    for method in ("alone", together):
        updates, faces = (np.array([row[key] for row in results.of(method)]) for key in ("steps", "lpips_face"))
        of_faces = f"LPIPS of the faces {faces.mean():.3f} ({faces.max():.3f})"
        print(f"{method}: {updates.mean():.0f} updates per image, {of_faces}")


def learned(pipe: PTIPipeline, people: Mapping[str, Path], folder: Path) -> Personalization:
    """The personalisation to these people, saved in a folder."""
    if not (folder / "personalization.json").exists():
        run_folder = folder.with_name(f"{folder.name}-run")
        pipe.personalize(people, run_folder=run_folder).save_pretrained(folder)
    return Personalization.from_pretrained(folder)


def measure(
    measurements: Measurements, results: Results, method: str, name: str, path: Path, person: Personalization
) -> None:
    """Measure one of the people of a personalisation, unless that is done."""
    if not results.missing(path.name, method, GROUPS):
        return
    picture = measurements.pipe.prepare(path)
    values = measurements.of(person.deltas, person.pivots[name][None], picture, GROUPS).values
    steps = person.settings["steps"] / len(person.pivots)
    results.add(path.name, method, GROUPS, {**values, "steps": steps, "lpips_face": person.metrics[name]["lpips_face"]})


if __name__ == "__main__":
    typer.run(cast)
