"""The contact sheets of docs/photographs.md: whole photographs that may be shown, before and after edits.

    python benchmarks/photographs.py

The script writes OUT/portrait.jpg, OUT/cup.jpg and OUT/group.jpg. The portrait is NASA's of Eileen Collins (public
domain), the cup Rachel Michetti's (CC0), both from scikit-image; the people of the group are the generator's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import skimage.data
import torch
import typer
from PIL import Image, ImageDraw, ImageFilter

from pti_hub import PTIPipeline
from pti_hub.generators import broadcast_ws
from pti_hub.images import load_image, save_image, side_by_side, to_pil
from pti_hub.pipelines import DEFAULT_CHECKPOINT

CUP = (150, 60, 470, 330)
"""The cup in the photograph of a cup: left, upper, right and lower edge."""


def main(
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")] = Path("outputs/photographs"),
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
) -> None:
    """Make the sheets."""
    pipe = PTIPipeline.from_pretrained(model)
    out.mkdir(parents=True, exist_ok=True)
    portrait = load_image(skimage.data.astronaut())
    edits = ("smile=raw:2", "smile=raw:-1", "age=1.5", "age=-1.5", "pose=1", "gender=1", "eyes_open=1")
    save_image(sheet(pipe, portrait, edits), out / "portrait.jpg")
    save_image(sheet(pipe, before_the_mouth(portrait), ("smile=raw:2", "age=1.5", "pose=1")), out / "cup.jpg")
    group = people(pipe, (3, 8, 21))
    edited = pipe(group, edit={0: "smile=raw:2", 1: "age=1.5", 2: ["smile=raw:-1", "pose=-1"]}).photographs[0]
    rows = Image.new("RGB", (group.width, 2 * group.height))
    rows.paste(group, (0, 0))
    rows.paste(edited, (0, group.height))
    save_image(rows, out / "group.jpg")


def sheet(pipe: PTIPipeline, photograph: Image.Image, edits: tuple[str, ...]) -> Image.Image:
    """The photograph, and the photograph after each of the edits, four in a row."""
    person = pipe(photograph).personalization
    pictures = [photograph, *(pipe(person, edit, photograph=photograph).photographs[0] for edit in edits)]
    rows = [side_by_side(pictures[i : i + 4], 400) for i in range(0, len(pictures), 4)]
    result = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for i, row in enumerate(rows):
        result.paste(row, (0, i * row.height))
    return result


def before_the_mouth(portrait: Image.Image) -> Image.Image:
    """The portrait, drinking."""
    cup = load_image(skimage.data.coffee()).crop(CUP).resize((96, 81), Image.Resampling.LANCZOS)
    mask = Image.new("L", cup.size)
    ImageDraw.Draw(mask).ellipse((1, 1, cup.width - 2, cup.height - 2), 255)
    result = portrait.copy()
    result.paste(cup, (180, 140), mask.filter(ImageFilter.GaussianBlur(0.7)))
    return result


@torch.no_grad()
def people(pipe: PTIPipeline, seeds: tuple[int, ...]) -> Image.Image:
    """A photograph of people who do not exist, side by side."""
    pictures = []
    for seed in seeds:
        z = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, pipe.generator.z_dim), np.float32))
        w = pipe.generator.mapping(z.to(pipe.device), truncation=0.7)
        pictures += to_pil(pipe.generator.synthesis(broadcast_ws(pipe.generator, w)))
    return side_by_side(pictures, 512)


if __name__ == "__main__":
    typer.run(main)
