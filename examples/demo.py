"""From a photograph to edited pictures: invert, tune, edit, and collect all pictures on a contact sheet.

make demo                                    # NASA's portrait of Eileen Collins, public domain
.venv/bin/python examples/demo.py photo.jpg  # your own photograph
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image, ImageDraw, ImageFont

from pti_hub import PTIPipeline
from pti_hub.errors import PTIError
from pti_hub.faces import FaceAnalyzer, embedding, identity_distance
from pti_hub.images import load_image, save_image
from pti_hub.pipelines import DEFAULT_CHECKPOINT

TILE = 256  # height and width of a picture on the contact sheet, in pixels
COLUMNS = 5


def main(
    photo: Annotated[
        Path | None, typer.Argument(help="A photograph; by default NASA's portrait of Eileen Collins.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("outputs/demo"),
    model: Annotated[str, typer.Option(help="Pipeline: known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
    preset: Annotated[str, typer.Option(help="Name of the schedule.")] = "default",
    face: Annotated[int | None, typer.Option(help="Index of the face if there are several: 0 is leftmost.")] = None,
) -> None:
    """Personalise the generator to a photograph, make every shipped edit, and write a contact sheet."""
    clock = {"start": time.perf_counter()}
    if photo is None:
        import skimage.data

        photograph = load_image(skimage.data.astronaut())
    else:
        photograph = load_image(photo)
    pipe = PTIPipeline.from_pretrained(model, preset=preset)
    clock["load the pipeline"] = time.perf_counter()

    def on_step(step: int, metrics: dict[str, Any]) -> None:
        clock.setdefault("find and align the face", time.perf_counter())
        clock["project" if metrics["stage"] == "project" else "tune"] = time.perf_counter()

    result = pipe(photograph, face=face, callback_on_step_end=on_step)
    aligned, projection, tuned = result.aligned[0], result.projection[0], result.reconstruction[0]
    clock["render"] = time.perf_counter()

    tiles = [("photograph", photograph), ("aligned", aligned), ("projection", projection), ("tuned", tuned)]
    tiles += [(name, pipe.edit(result.personalization, name)[0]) for name in pipe.edits]
    clock["edit"] = time.perf_counter()

    out.mkdir(parents=True, exist_ok=True)
    for label, picture in tiles:
        save_image(picture, out / f"{re.sub('[^a-z0-9+-]', '_', label)}.png")
    save_image(contact_sheet(tiles, COLUMNS), out / "contact_sheet.png")
    result.personalization.save_pretrained(out / "personalization")

    # The way back: the whole photograph, changed only where the edit changed the face.
    edit = ("glasses", 1.0) if "glasses" in pipe.edits else ("pc0", 2.0)
    edited = pipe(result.personalization, edit, photograph=photograph).photographs[0]
    save_image(edited, out / "photograph_edited.png")

    metrics = result.metrics[0]
    of_the_face = f" ({metrics['lpips_face']:.3f} of the face)" if "lpips_face" in metrics else ""
    print(f"reconstruction  LPIPS {metrics['lpips']:.3f}{of_the_face}  MSE {metrics['mse']:.4f}")
    for label, picture in [("projection", projection), ("tuned", tuned)]:
        print(f"identity        distance to the photograph {distance(aligned, picture)}, {label}")
    print("time            " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in laps(clock)))
    print(f"pictures        {out / 'contact_sheet.png'} and {len(tiles)} more")
    print(f"photograph      {out / 'photograph_edited.png'}, {edit[0]}={edit[1]:g}, at the photograph's own size")


def distance(a: Image.Image, b: Image.Image) -> str:
    """Distance between two faces' embeddings; dlib takes faces that are closer than 0.6 for the same person."""
    detected = [FaceAnalyzer().detect(picture) for picture in (a, b)]
    if not all(detected):
        return "unknown, no face was found,"
    return f"{identity_distance(*(embedding(p, faces[0]) for p, faces in zip((a, b), detected, strict=True))):.2f}"


def laps(clock: dict[str, float]) -> list[tuple[str, float]]:
    """Names of the entries, and the seconds since the previous entry."""
    return [(name, now - before) for (_, before), (name, now) in pairwise(clock.items())]


def contact_sheet(tiles: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Arrange labelled pictures in rows."""
    caption, font = 28, ImageFont.load_default(18)
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * TILE, rows * (TILE + caption)), "white")
    draw = ImageDraw.Draw(sheet)
    for i, (label, picture) in enumerate(tiles):
        x, y = i % columns * TILE, i // columns * (TILE + caption)
        thumbnail = picture.copy()
        thumbnail.thumbnail((TILE, TILE), Image.Resampling.LANCZOS)
        sheet.paste(thumbnail, (x + (TILE - thumbnail.width) // 2, y + caption))
        draw.text((x + TILE // 2, y + caption // 2), label, fill="black", font=font, anchor="mm")
    return sheet


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
