"""What each storage format of a personalisation's weights costs: bytes, LPIPS, and loading time.

    python benchmarks/deltas.py cast photos       # the folder of a personalisation, and the folder of its photographs

The photographs must be aligned and named like the identities. "LPIPS lost" is the increase of the LPIPS between
reconstruction and photograph over the LPIPS with exact weights. "Edited" is the LPIPS between a picture that is edited
with the stored weights and the same picture with exact weights, averaged over smile, age and pose.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from pti_hub import Personalization, PTIPipeline
from pti_hub.images import load_image, to_tensor
from pti_hub.personalization import DELTAS
from pti_hub.pipelines import DEFAULT_CHECKPOINT

EDITS = ("smile", "age", "pose")


def main(
    personalization: Annotated[
        Path, typer.Argument(help="Folder of a personalisation that was saved with exact weights.")
    ],
    photos: Annotated[Path, typer.Argument(help="Folder of the identities' photographs.")],
    out: Annotated[Path | None, typer.Option(help="File to write the table to.")] = None,
) -> None:
    """Save a personalisation in every storage format, and measure the loss."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    exact = Personalization.from_pretrained(personalization)
    size = pipe.generator.resolution
    targets = {path.stem: to_tensor(load_image(path), size) for path in photos.iterdir() if path.stem in exact.pivots}
    if not targets:
        raise SystemExit(f"error: no photograph in {photos} is named like one of {', '.join(exact.pivots)}")
    lines = [
        "| stored as | MB | MB per identity | LPIPS lost, mean | worst | edited | seconds to load |",
        "|---|---|---|---|---|---|---|",
    ]
    originals = {name: _pictures(pipe, exact, name) for name in targets}
    for delta in DELTAS:
        with tempfile.TemporaryDirectory() as folder:
            exact.save_pretrained(folder, delta=delta)
            total_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e6
            start = time.perf_counter()
            stored = Personalization.from_pretrained(folder)
            seconds = time.perf_counter() - start
        lost, edited = [], []
        for name, target in targets.items():
            reconstruction, *edits = _pictures(pipe, stored, name)
            exact_reconstruction, *exact_edits = originals[name]
            lost.append(_distance(pipe, reconstruction, target) - _distance(pipe, exact_reconstruction, target))
            edited += [_distance(pipe, a, b) for a, b in zip(edits, exact_edits, strict=True)]
        lines.append(
            f"| {delta} | {total_mb:.2f} | {total_mb / len(exact.pivots):.2f} | {np.mean(lost):+.4f} | "
            f"{max(lost):+.4f} | {np.mean(edited):.4f} | {seconds:.2f} |"
        )
        print(lines[-1], flush=True)
    text = "\n".join([*lines, "", f"{len(targets)} identities.", ""])
    print(text)
    if out is not None:
        out.write_text(text)


def _pictures(pipe: PTIPipeline, personalization: Personalization, name: str) -> list[torch.Tensor]:
    one = Personalization(personalization.deltas, {name: personalization.pivots[name]}, personalization.base)
    return [to_tensor(pipe.edit(one, edit and (edit, "raw:1"))[0]) for edit in (None, *EDITS)]


@torch.no_grad()
def _distance(pipe: PTIPipeline, a: torch.Tensor, b: torch.Tensor) -> float:
    return pipe.perceptual(a, b).item()


if __name__ == "__main__":
    typer.run(main)
