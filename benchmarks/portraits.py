"""How well photographs are reconstructed: align, project and tune every photograph in a folder, and print a table.

    python benchmarks/portraits.py faces --edit smile=raw:1 --out outputs/portraits

A run that was stopped resumes with the missing photographs. Pictures are saved only if `--pictures` names a folder.
"""

from __future__ import annotations

import math
import resource
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
import typer
from PIL import Image

from pti_hub import PTIPipeline
from pti_hub.faces import FaceAnalyzer, embedding, identity_distance, widest
from pti_hub.images import find_pictures, save_image, to_tensor
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.storage import append_row, read_rows

COLUMNS = {
    "lpips_projected": "LPIPS, projected",
    "lpips": "LPIPS, tuned",
    "lpips_face": "LPIPS of the face, tuned",
    "mse_projected": "MSE, projected",
    "mse": "MSE, tuned",
    "identity_projected": "identity, projected",
    "identity": "identity, tuned",
    "w_distance": "‖w_p − w̄‖",
    "tuning_steps": "tuning steps",
    "seconds": "seconds",
}


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of photographs.")],
    out: Annotated[Path, typer.Option(help="Files to write, without suffix: OUT.jsonl and OUT.md.")] = Path(
        "outputs/portraits"
    ),
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for the rendered pictures; by default none is saved.")
    ] = None,
    model: Annotated[str, typer.Option(help="Pipeline: known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
    preset: Annotated[str, typer.Option(help="Name of the schedule.")] = "default",
    edit: Annotated[str | None, typer.Option(help="Edit to render, too.")] = None,
) -> None:
    """Reconstruct every photograph in a folder, and measure the results."""
    out.parent.mkdir(parents=True, exist_ok=True)
    results = out.with_suffix(".jsonl")
    rows = read_rows(results)
    if any(row["preset"] != preset for row in rows):
        sys.exit(f"error: {results} was made with another preset than {preset!r}; give another --out")
    done = {row["picture"] for row in rows}
    pipe = PTIPipeline.from_pretrained(model, preset=preset)
    for path in find_pictures(folder):
        if path.name in done:
            continue
        rows.append({"preset": preset, **measure(pipe, path, edit, pictures)})
        append_row(results, rows[-1])
        print(rows[-1], flush=True)
    if not rows:
        sys.exit(f"error: no picture in {folder}")
    table = markdown(rows)
    out.with_suffix(".md").write_text(table)
    print(table)


def measure(pipe: PTIPipeline, path: Path, edit: str | None, pictures: Path | None) -> dict[str, Any]:
    """Metrics of one photograph, before and after tuning."""
    start = time.perf_counter()
    output = pipe(path, edit=edit)
    seconds = time.perf_counter() - start

    aligned, projected, tuned = output.aligned[0], output.projection[0], output.reconstruction[0]
    target, before = (to_tensor(image).to(pipe.device) for image in (aligned, projected))
    with torch.no_grad():
        lpips = pipe.perceptual(before, target).item()
    original = identity(aligned)
    pivot = output.personalization.pivots["subject"]
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        tiles = [("aligned", aligned), ("projected", projected), ("tuned", tuned), (edit or "", output.images[0])]
        for name, image in tiles[: 4 if edit else 3]:
            save_image(image, pictures / f"{path.stem}_{name}.png")
    return {
        "picture": path.name,
        "lpips_projected": lpips,
        "lpips": output.metrics[0]["lpips"],
        "lpips_face": output.metrics[0].get("lpips_face", math.nan),
        "mse_projected": F.mse_loss(before, target).item(),
        "mse": output.metrics[0]["mse"],
        "identity_projected": identity_distance(original, identity(projected)),
        "identity": identity_distance(original, identity(tuned)),
        "w_distance": (pivot - pipe.generator.w_avg).norm().item(),
        "tuning_steps": output.personalization.settings["steps"],
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


def identity(picture: Image.Image) -> Any:
    """Embedding of the widest face; NaN if there is no face."""
    face = widest(FaceAnalyzer().detect(picture))
    return np.full(128, np.nan, np.float32) if face is None else embedding(picture, face)


def markdown(rows: list[dict[str, Any]]) -> str:
    """A table of all pictures, with the means in the last row."""
    lines = ["| picture | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in COLUMNS}
    for row in [*rows, {"picture": f"**mean of {len(rows)}**", **mean}]:
        cells = [f"{row[key]:.0f}" if key in ("tuning_steps", "seconds") else f"{row[key]:.3f}" for key in COLUMNS]
        lines.append(f"| {row['picture']} | " + " | ".join(cells) + " |")
    peak = max(row["peak_gib"] for row in rows)
    return "\n".join(lines) + f"\n\nPeak memory of the process: {peak:.1f} GiB.\n"


if __name__ == "__main__":
    typer.run(main)
