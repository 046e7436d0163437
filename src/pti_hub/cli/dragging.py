"""Command drag: points of a face to where they are wanted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pti_hub.cli.app import Device, Edits, Model, Preset, Seed, TextModel, add_edits, app, edits_in, picture_suffix
from pti_hub.edits import Direction, LatentMapper, parse_moves, save_edits
from pti_hub.errors import InputError
from pti_hub.images import load_image, save_image
from pti_hub.personalization import CONFIG_NAME, Personalization
from pti_hub.pipelines import DEFAULT_CHECKPOINT, DragOutput, PTIPipeline
from pti_hub.pipelines.dragging import Move, check_drag
from pti_hub.storage import as_save_error

_TAKEN = ("aligned", "edited", "projection", "reconstruction")
"""Pictures that pti-hub edit writes beside what it learned."""

_LONGEST_NAME = 100


@app.command()
def drag(
    photo: Annotated[Path, typer.Argument(help="A photograph, or the folder of a saved personalisation.")],
    points: Annotated[
        str, typer.Option(help="From where to where, in pixels of the photograph: '412,640>430,600; 500,640>490,600'.")
    ],
    edits: Annotated[
        list[str] | None, typer.Option("--edit", "-e", help="Edits that come before: NAME or NAME=STRENGTH.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Picture of the same size, white where it may change.")] = None,
    face: Annotated[
        int | None, typer.Option(min=0, help="Number of the face; by default the one nearest to the points.")
    ] = None,
    photograph: Annotated[
        Path | None, typer.Option(help="Photograph to put the face into, if PHOTO is a personalisation.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("outputs"),
    steps: Annotated[int, typer.Option(min=1, help="Most steps.")] = 20,
    save: Annotated[
        Path | None, typer.Option(help="Folder of edits to keep the change in, for pti-hub edit --edits FOLDER.")
    ] = None,
    name: Annotated[str, typer.Option(help="What the change is called.")] = "drag",
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    seed: Seed = 0,
    more_edits: Edits = None,
    text_model: TextModel = None,
    device: Device = None,
) -> None:
    """Drag points of a face to where they are wanted: pull a corner of the mouth up, turn the tip of the nose.

    The photograph is written with the change to outputs/PHOTO_drag, and the face alone beside what was learned of it,
    as by pti-hub edit: what was tuned there is not tuned again. A point that is to stay is dragged to its own place.

    Of a personalisation without --photograph, points are in pixels of the face alone, 1024x1024 for most generators.
    """
    moves = parse_moves(points)
    known = _known(save, name)
    person = Personalization.from_pretrained(photo) if (photo / CONFIG_NAME).is_file() else None
    if person is None and photograph is not None:
        raise InputError(f"--photograph is for personalisations; {photo} is none")
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    add_edits(pipe, more_edits, text_model)
    pipe.parse(edits or [], [] if person is None else [person])
    home, folder = photograph, out
    if person is None:
        home, number = photo, check_drag(pipe, load_image(photo), moves, mask, face)
        folder = out / photo.stem / str(number)
        person = pipe(photo, face=[number], seed=seed, run_folder=folder.parent).personalization
    found = pipe.drag(person, moves, photograph=home, mask=mask, edit=edits, name=name, steps=steps)
    with as_save_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    if found.photograph is not None and home is not None:
        path = out / f"{home.stem}_{name}{picture_suffix(home)}"
        save_image(found.photograph, path)
        typer.echo(f"{path}")
    save_image(found.image, folder / f"{name}.png")
    typer.echo(f"{folder / name}.png")
    if save is not None:
        save_edits(save, {**known, name: found.direction})
        typer.echo(f"saved in {save}/: pti-hub edit PHOTO --edits {save} --edit {name}")
    _tell(moves, found)


def _known(folder: Path | None, name: str) -> dict[str, Direction | LatentMapper]:
    """The edits that a folder has already; errors of the name and the folder come before the long work."""
    if not name.isidentifier() or len(name.encode()) > _LONGEST_NAME or name in _TAKEN:
        raise InputError(f"--name {name!r:.120}; expected a short word such as grin, and none of {', '.join(_TAKEN)}")
    if folder is None:
        return {}
    known = edits_in(folder)
    with as_save_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    if name in known:
        raise InputError(f"{folder} has an edit {name!r} already; give another --name")
    return known


def _tell(moves: list[Move], found: DragOutput) -> None:
    """Say where each point is now."""
    for (handle, target), point, distance in zip(moves, found.points, found.distances, strict=True):
        typer.echo(
            f"({handle[0]:g}, {handle[1]:g}) is at ({point[0]:.0f}, {point[1]:.0f}), "
            f"{distance:.1f} px of the face at 256² from ({target[0]:g}, {target[1]:g})"
        )
