"""From a photograph to a smiling picture: invert, tune, edit, and lay everything out on one sheet.

make demo                                    # NASA's portrait of Eileen Collins, public domain
.venv/bin/python examples/demo.py photo.jpg  # a photograph of your own
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

TILE = 320  # side of a picture on the sheet, pixels


def main(
    photo: Annotated[Path | None, typer.Argument(help="A photograph; the astronaut by default.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("outputs/demo"),
    model: Annotated[str, typer.Option(help="Known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
    preset: Annotated[str, typer.Option(help="Schedule.")] = "default",
    face: Annotated[int | None, typer.Option(help="Which face, from left to right, where there are several.")] = None,
) -> None:
    """Personalise the generator to a photograph, edit it both ways along every direction, and write a contact sheet."""
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
    for name in pipe.edits:
        for strength in (-1.0, 1.0):
            picture = pipe(result.personalization, edit=(name, strength)).images[0]
            tiles.append((f"{name} {strength:+g}", picture))
    clock["edit"] = time.perf_counter()

    out.mkdir(parents=True, exist_ok=True)
    for label, picture in tiles:
        save_image(picture, out / f"{re.sub('[^a-z0-9+-]', '_', label)}.png")
    save_image(contact_sheet(tiles, columns=4), out / "contact_sheet.png")
    result.personalization.save_pretrained(out / "personalization")

    print(f"reconstruction  LPIPS {result.metrics[0]['lpips']:.3f}  MSE {result.metrics[0]['mse']:.4f}")
    for label, picture in [("projection", projection), ("tuned", tuned)]:
        print(f"identity        distance to the photograph {distance(aligned, picture)}, {label}")
    print("time            " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in laps(clock)))
    print(f"pictures        {out / 'contact_sheet.png'} and {len(tiles)} more")


def distance(a: Image.Image, b: Image.Image) -> str:
    """Distance of the two faces' embeddings; under 0.6 dlib takes them for one person."""
    detected = [FaceAnalyzer().detect(picture) for picture in (a, b)]
    if not all(detected):
        return "unknown, no face was found,"
    return f"{identity_distance(*(embedding(p, faces[0]) for p, faces in zip((a, b), detected, strict=True))):.2f}"


def laps(clock: dict[str, float]) -> list[tuple[str, float]]:
    """Seconds between each entry and the one before it."""
    return [(name, now - before) for (_, before), (name, now) in pairwise(clock.items())]


def contact_sheet(tiles: Sequence[tuple[str, Image.Image]], columns: int) -> Image.Image:
    """Labelled pictures in rows."""
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
