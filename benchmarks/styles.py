"""What edits of single style channels change beside the shipped directions, on random faces of the default generator.

    python benchmarks/styles.py s:4_321=8 smile=raw:1 s:9_77=-8 eyes_open=raw:1

Changes are means over the faces in which dlib finds a face before and after: mouth and eyes by their landmarks, in
standard deviations over the unedited faces; the identity by the distance of dlib's embeddings; and the share of pixels
that change by more than 10 of 255 levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

import numpy as np
import torch
import typer

from pti_hub import PTIPipeline
from pti_hub.edits import AnyEdit
from pti_hub.errors import FaceError
from pti_hub.faces import MEASURES, FaceAnalyzer, embedding, identity_distance, widest
from pti_hub.pipelines import DEFAULT_CHECKPOINT
from pti_hub.pipelines.rendering import apply_edits, render

NAMES = ("mouth_width", "mouth_openness", "eye_openness", "yaw")

Look: TypeAlias = "tuple[np.ndarray, np.ndarray, np.ndarray]"
"""What is seen of a face: the measures `NAMES`, the embedding, the picture."""


def main(
    edits: Annotated[list[str], typer.Argument(help="Edits to compare.")],
    faces: Annotated[int, typer.Option(help="Number of random faces, drawn with truncation 0.7.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the faces.")] = 0,
) -> None:
    """Print a table with one line per edit."""
    pipe = PTIPipeline.from_pretrained(DEFAULT_CHECKPOINT)
    parsed = {edit: pipe.parse(edit) for edit in edits}
    z = torch.randn(faces, pipe.generator.z_dim, generator=torch.Generator().manual_seed(seed))
    pivots = pipe.generator.mapping(z.to(pipe.device), truncation=0.7).split(1)
    before = [look(pipe, pivot, []) for pivot in pivots]
    unit = np.std([seen[0] for seen in before if seen], axis=0)
    print("| edit | " + " | ".join(name.replace("_", " ") for name in NAMES) + " | identity | pixels |")
    print("|---" * (len(NAMES) + 3) + "|")
    for edit, steps in parsed.items():
        pairs = [(a, b) for a, pivot in zip(before, pivots, strict=True) if a and (b := look(pipe, pivot, steps))]
        changes = np.mean([(b[0] - a[0]) / unit for a, b in pairs], axis=0)
        identity = np.mean([identity_distance(a[1], b[1]) for a, b in pairs])
        pixels = np.mean([(np.abs(b[2] - a[2]).max(2) > 10).mean() for a, b in pairs])
        numbers = " | ".join(f"{change:+.2f}" for change in changes)
        print(f"| `{edit}` ({len(pairs)}) | {numbers} | {identity:.2f} | {pixels:.0%} |")


def look(pipe: PTIPipeline, pivot: torch.Tensor, edits: Sequence[AnyEdit]) -> Look | None:
    """What is seen of an edited face; `None` where no face is found."""
    weights, ws, _ = apply_edits(pipe, {}, pivot, edits, {})
    picture = render(pipe.generator, weights, ws)
    face = widest(FaceAnalyzer().detect(picture))
    if face is None:
        return None
    try:
        measures = np.array([MEASURES[name].of(picture, pipe.perceptual) for name in NAMES])
    except FaceError:
        return None
    return measures, embedding(picture, face), np.asarray(picture, np.int16)


if __name__ == "__main__":
    typer.run(main)
