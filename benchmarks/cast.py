"""Many identities in one generator (Eq. 3) against one generator per identity, at equally many updates per image.

    python benchmarks/cast.py faces

Both settings have the default tuner, with the face in each photograph counting most, and stop by its rule. The script
writes OUT/cast.jsonl, one line per measurement, and OUT/cast.md, a table. The photographs' pivots are saved in
OUT/pivots. A run that was stopped resumes with the missing measurements.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.generators import tuned_synthesis
from pti_hub.images import find_pictures
from pti_hub.optim import LoopCheckpoint
from pti_hub.personalization import add_deltas
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.pipelines.inputs import Target, read_target
from pti_hub.storage import append_row, read_rows, tensor_digest


class Results:
    """A file of measurements, one per line, which survives a kill."""

    def __init__(self, out: Path, name: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.out, self.path = out, out / f"{name}.jsonl"
        self.rows = read_rows(self.path)

    def once(self, key: Mapping[str, Any], measure: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The row of a key; measured and saved if missing."""
        for row in self.rows:
            if key.items() <= row.items():
                return row
        row = {**key, **measure()}
        self.rows.append(row)
        append_row(self.path, row)
        print(row, flush=True)
        return row

    def of(self, key: Mapping[str, Any], paths: Sequence[Path]) -> list[dict[str, Any]]:
        """The rows that match a key, for these pictures."""
        names = {path.name for path in paths}
        return [row for row in self.rows if key.items() <= row.items() and row["picture"] in names]

    def table(self, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Write and print a table of rows, with three decimals per number."""
        lines = ["| " + " | ".join(columns.values()) + " |", "|---" * len(columns) + "|"]
        for row in rows:
            cells = [f"{v:.3f}" if isinstance(v := row[key], float) else str(v) for key in columns]
            lines.append("| " + " | ".join(cells) + " |")
        text = "\n".join(lines) + "\n"
        self.path.with_suffix(".md").write_text(text)
        print(text)


def pictures(folder: Path, count: int) -> list[Path]:
    """The first pictures of a folder."""
    paths = find_pictures(folder)[:count]
    if len(paths) < count:
        sys.exit(f"error: {len(paths)} pictures in {folder}; expected {count}")
    return paths


def pivot_of(pipe: PTIPipeline, target: Target, out: Path) -> Tensor:
    """The pivot of a photograph from the default projector, saved for the next run."""
    checkpoint = LoopCheckpoint(out / "pivots" / f"{tensor_digest(target.x)[:16]}.safetensors")
    if not (saved := checkpoint.read()):
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        saved = {"pivot": pipe.projector.project(pipe.generator, pipe.projector_perceptual, target.x).pivot}
        checkpoint.write(saved)
    return saved["pivot"].to(pipe.device)


def tune(pipe: PTIPipeline, pivots: list[Tensor], targets: list[Target], steps: int) -> list[dict[str, Any]]:
    """One generator for all; metrics per photograph."""
    start = time.perf_counter()
    tuner = PivotalTuner(dataclasses.replace(PivotalTunerConfig(), num_steps=steps))
    likenesses, xs = [target.likeness for target in targets], [target.x for target in targets]
    tuning = tuner.tune(pipe.generator, pipe.perceptual, pivots, xs, likenesses=likenesses)
    seconds = (time.perf_counter() - start) / len(targets)
    weights, rows = add_deltas(pipe.generator, tuning.deltas), []
    for pivot, target, metrics in zip(pivots, targets, tuning.metrics, strict=True):
        assert target.likeness is not None
        with torch.no_grad():
            identity = target.likeness.distance(tuned_synthesis(pipe.generator, weights, pivot))
        updates = tuning.num_steps / len(targets)
        rows.append({**metrics, "identity": identity, "updates": updates, "seconds": seconds})
    return rows


def cast(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs with one face each.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/cast"),
    count: Annotated[int, typer.Option(help="Number of photographs to use, in order.")] = 12,
    steps: Annotated[int, typer.Option(help="Maximum number of updates per image, in both settings.")] = 40,
) -> None:
    """Compare one generator for many identities with one generator per identity, at equally many updates per image."""
    results, pipe = Results(out, "cast"), PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    paths = pictures(folder, count)
    targets = [read_target(pipe, path, "auto", None) for path in paths]
    pivots = [pivot_of(pipe, target, out) for target in targets]
    shared = {"setting": f"cast of {count}", "steps": steps}
    if len(results.of(shared, paths)) < count:
        measured = tune(pipe, pivots, targets, steps)
        for path, row in zip(paths, measured, strict=True):
            results.once({**shared, "picture": path.name}, lambda row=row: row)  # type: ignore[misc]
    for path, pivot, target in zip(paths, pivots, targets, strict=True):
        key = {"setting": "alone", "steps": steps, "picture": path.name}
        results.once(key, lambda pivot=pivot, target=target: tune(pipe, [pivot], [target], steps)[0])  # type: ignore[misc]
    table = []
    for setting in ("alone", f"cast of {count}"):
        group = results.of({"setting": setting, "steps": steps}, paths)
        columns = {
            key: np.array([row[key] for row in group]) for key in ("lpips_face", "identity", "updates", "seconds")
        }
        row = {
            "setting": setting,
            "worst": float(columns["lpips_face"].max()),
            "farthest": float(columns["identity"].max()),
        }
        table.append(row | {key: float(values.mean()) for key, values in columns.items()})
    titles = {
        "setting": f"at most {steps} updates per image",
        "lpips_face": "LPIPS of the face",
        "worst": "worst LPIPS",
        "identity": "identity",
        "farthest": "farthest identity",
        "updates": "updates per image",
        "seconds": "seconds per image",
    }
    results.table(titles, table)


if __name__ == "__main__":
    typer.run(cast)
