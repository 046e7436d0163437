"""Many identities in one generator (Eq. 3) against one generator per identity, at equally many updates per image.

    python benchmarks/cast.py faces

The script writes OUT/cast.jsonl, one line per measurement, and OUT/cast.md, a table. The photographs' pivots are saved
in OUT/pivots. A run that was stopped resumes with the missing measurements.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from torch import Tensor

from pti_hub import PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.images import find_pictures, load_image, to_tensor
from pti_hub.optim import LoopCheckpoint
from pti_hub.pipelines import DEFAULT_CHECKPOINT
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


def pivot_of(pipe: PTIPipeline, path: Path, out: Path) -> Tensor:
    """The pivot of a photograph from the default projector, saved for the next run."""
    checkpoint = LoopCheckpoint(out / "pivots" / f"{tensor_digest(target_of(pipe, path))[:16]}.safetensors")
    if not (saved := checkpoint.read()):
        checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
        saved = {"pivot": pipe.invert(path, align=False).pivot}
        checkpoint.write(saved)
    return saved["pivot"].to(pipe.device)


def target_of(pipe: PTIPipeline, path: Path) -> Tensor:
    """The photograph, which must be aligned, as a tensor of the generator's resolution."""
    return to_tensor(load_image(path), pipe.generator.resolution).to(pipe.device)


def tune(pipe: PTIPipeline, pivot: Tensor, target: Tensor, config: PivotalTunerConfig) -> Any:
    """Tune the generator to one photograph."""
    return PivotalTuner(config).tune(pipe.generator, pipe.perceptual, [pivot], [target])


def cast(
    folder: Annotated[Path, typer.Argument(help="Folder of aligned photographs.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("outputs/cast"),
    count: Annotated[int, typer.Option(help="Number of photographs to use, in order.")] = 12,
    steps: Annotated[int, typer.Option(help="Maximum number of updates per image, in both settings.")] = 150,
    threshold: Annotated[
        float, typer.Option(help="LPIPS below which an image is no longer updated, in both settings.")
    ] = 0.06,
    rampdown: Annotated[
        float, typer.Option(help="Share of the updates over which the learning rate decreases, in both settings.")
    ] = 0.5,
) -> None:
    """Compare one generator for many identities with one generator per identity, at equally many updates per image."""
    results, pipe = Results(out, "cast"), PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    pipe.set_progress_bar_config(mininterval=30)
    paths = pictures(folder, count)
    pivots = [pivot_of(pipe, path, out) for path in paths]
    config = dataclasses.replace(
        PivotalTunerConfig.paper(), num_steps=steps, lpips_threshold=threshold, rampdown=rampdown
    )
    key = {"steps": steps, "threshold": threshold, "rampdown": rampdown}
    for path, pivot in zip(paths, pivots, strict=True):

        def alone(path: Path = path, pivot: Tensor = pivot) -> dict[str, Any]:
            start = time.perf_counter()
            tuning = tune(pipe, pivot, target_of(pipe, path), config)
            return {**tuning.metrics[0], "updates": tuning.num_steps, "seconds": time.perf_counter() - start}

        results.once({"setting": "alone", "picture": path.name, **key}, alone)
    for size in (count // 3, count):
        rest = {"setting": f"cast of {size}", **key}
        if len(results.of(rest, paths[:size])) < size:
            start = time.perf_counter()
            targets = [target_of(pipe, path) for path in paths[:size]]
            tuning = PivotalTuner(config).tune(pipe.generator, pipe.perceptual, pivots[:size], targets)
            seconds = time.perf_counter() - start
            for path, metrics in zip(paths, tuning.metrics, strict=False):
                row = {**metrics, "updates": tuning.num_steps / size, "seconds": seconds / size}
                results.once({**rest, "picture": path.name}, lambda row=row: row)  # type: ignore[misc]
    rows = results.of(key, paths)
    single = {row["picture"]: row["lpips"] for row in rows if row["setting"] == "alone"}
    table = []
    for setting in dict.fromkeys(row["setting"] for row in rows):
        group = [row for row in rows if row["setting"] == setting]
        distances, ratios = [r["lpips"] for r in group], [r["lpips"] / single[r["picture"]] for r in group]
        table.append(
            {
                "setting": setting,
                "mean": float(np.mean(distances)),
                "worst": max(distances),
                "ratio": float(np.mean(ratios)),
                "worst_ratio": max(ratios),
                "mse": float(np.mean([r["mse"] for r in group])),
                "updates": float(np.mean([r["updates"] for r in group])),
                "seconds": float(np.mean([r["seconds"] for r in group])),
            }
        )
    columns = {
        "setting": f"at most {steps} updates per image",
        "mean": "LPIPS",
        "worst": "worst LPIPS",
        "ratio": "LPIPS / alone",
        "worst_ratio": "worst ratio",
        "mse": "MSE",
        "updates": "updates per image",
        "seconds": "seconds per image",
    }
    results.table(columns, table)


if __name__ == "__main__":
    typer.run(cast)
