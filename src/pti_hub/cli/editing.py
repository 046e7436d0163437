"""Commands that personalise and edit: edit, personalize, walk."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from pti_hub.cli.app import Align, Device, Model, Preset, Run, Seed, app, format_metrics
from pti_hub.errors import InputError, PTIError
from pti_hub.images import (
    ANIMATED,
    PICTURE_SUFFIXES,
    STILL,
    check_suffix,
    find_pictures,
    import_av,
    save_animation,
    save_image,
    side_by_side,
)
from pti_hub.optim import process_state
from pti_hub.personalization import CONFIG_NAME, Personalization
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline
from pti_hub.storage import as_save_error, check_replaceable


@app.command()
def edit(
    photo: Annotated[Path, typer.Argument(help="A photograph, or the folder of a saved personalisation.")],
    edits: Annotated[
        list[str] | None, typer.Option("--edit", "-e", help="NAME or NAME=STRENGTH; several are applied in order.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the personalisation.")] = Path("outputs"),
    photograph: Annotated[
        Path | None, typer.Option(help="Photograph to put the edit into, if PHOTO is a personalisation.")
    ] = None,
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    face: Annotated[int | None, typer.Option(help="Index of the face if there are several: 0 is leftmost.")] = None,
    align: Align = True,
    seed: Seed = 0,
    run: Run = None,
    device: Device = None,
) -> None:
    """Invert a photograph, tune the generator to it, and edit the photograph.

    The edited photograph has the original's size and is named after the photograph and the edits:
    photo_smile_age-2.jpg. The edited face, at the generator's resolution, is edited.png.

    An edit is a name, or a name and an amount: smile, age=-2, pose=5deg (degrees of head rotation). Besides the edits
    that pti-hub info lists, there are GANSpace's components (pc3), SeFa's directions (sefa2), the style of an identity
    or of a random face (mix:NAME, mix:seed42), and any of these limited to some layers (smile_layers4-7).
    """
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    person = Personalization.from_pretrained(photo) if photo.is_dir() else None
    # Report invalid edits and folders before the long work.
    parsed_edits = pipe.parse(edits or [], [] if person is None else [person])
    check_replaceable(out / "personalization", CONFIG_NAME)
    with _new_folder(out):
        if person is None:
            photograph = photo
            tuned = pipe(photo, align="auto" if align else False, face=face, seed=seed, run_folder=run)
            # Save first what took minutes: an edit may still fail.
            person = tuned.personalization
            person.save_pretrained(out / "personalization")
            save_image(tuned.aligned[0], out / "aligned.png")
            save_image(tuned.projection[0], out / "projection.png")
    result = pipe(person, parsed_edits, photograph=photograph)
    if parsed_edits:
        for path in _save_pictures(result.photographs, out, *_edited_name(photograph or photo, edits or [])):
            typer.echo(f"{path}")
        _save_pictures(result.images, out, "edited")
    _save_pictures(result.reconstruction, out, "reconstruction")
    for name in person.pivots:
        typer.echo(f"{name}: {format_metrics(person.metrics.get(name, {}))}; pictures in {out}/")


@app.command()
def personalize(
    photos: Annotated[
        Path, typer.Argument(help="Folder with one photograph, or a sub-folder of photographs, per identity.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the personalisation.")] = Path("personalization"),
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    align: Align = True,
    seed: Seed = 0,
    run: Run = None,
    device: Device = None,
) -> None:
    """Tune one generator to everyone in a folder; files and sub-folders name the identities."""
    if not photos.is_dir():
        raise InputError(f"{photos} is no folder; give a folder of photographs, or use: pti-hub edit {photos}")
    check_replaceable(out, CONFIG_NAME)
    people: dict[str, list[Path]] = {}
    pictures = find_pictures(photos)
    for path in sorted(photos.iterdir()):
        if files := find_pictures(path) if path.is_dir() else [path] * (path in pictures):
            people.setdefault(path.name if path.is_dir() else path.stem, []).extend(files)
    if not people:
        raise InputError(f"no picture is in {photos}; expected files that end in {', '.join(PICTURE_SUFFIXES)}")
    with as_save_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    inputs = {name: files if len(files) > 1 else files[0] for name, files in people.items()}
    result = pipe.personalize(inputs, align="auto" if align else False, seed=seed, run_folder=run)
    if process_state().is_main_process:
        result.save_pretrained(out)
        for name, metrics in result.metrics.items():
            typer.echo(f"{name}: {format_metrics(metrics)}")
        typer.echo(f"saved in {out}/")


@app.command()
def walk(
    personalization: Annotated[Path, typer.Argument(help="Folder of a saved personalisation.")],
    edit: Annotated[str, typer.Option("--edit", "-e", help="Name of the direction to walk along.")],
    out: Annotated[Path, typer.Option(help="File to write: a strip (.png, .jpg) or an animation (.gif, .mp4).")] = Path(
        "walk.gif"
    ),
    first: Annotated[float, typer.Option("--from", help="First strength.")] = -2.0,
    last: Annotated[float, typer.Option("--to", help="Last strength.")] = 2.0,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Number of pictures; by default 5 in a strip, 24 in an animation.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Identity to show; needed if there are several.")] = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
) -> None:
    """Render a person at increasing strengths of an edit, as a strip or an animation."""
    strip = out.suffix.lower() in STILL
    if check_suffix(out, {**STILL, **ANIMATED}) == "MP4":
        import_av()
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out} doesn't exist; create it, or give another --out")
    pipe = PTIPipeline.from_pretrained(model, device=device)
    pipe.load_personalization(personalization)
    if identity is None and len(pipe.identities) > 1:
        raise InputError(f"{personalization} holds {', '.join(pipe.identities)}; choose one: --identity NAME")
    count = frames or (5 if strip else 24)
    strengths = [first + (last - first) * i / (count - 1) for i in range(count)]
    pictures = pipe.walk(identity or next(iter(pipe.identities)), edit, strengths)
    if strip:
        save_image(side_by_side(pictures), out)
    else:
        # Forwards and backwards, so that the animation repeats without a jump.
        save_animation([*pictures, *pictures[-2:0:-1]], out)
    typer.echo(f"saved in {out}")


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Create a folder; after an error, remove it again if nothing was written into it."""
    is_new = not folder.exists()
    with as_save_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except PTIError:
        if is_new:
            with suppress(OSError):
                folder.rmdir()
        raise


def _edited_name(photo: Path, edits: Sequence[str]) -> tuple[str, str]:
    """`photo_smile_age-2` and `.jpg` for photo.jpg with `smile` and `age=-2`; unsupported formats become PNG."""
    parts = [re.sub(r"[^\w.+-]+", "-", edit.replace("=", "")).strip("-") for edit in edits]
    name = "_".join([photo.stem, *parts]).encode()[:200].decode(errors="ignore")
    return name, photo.suffix if photo.suffix.lower() in STILL else ".png"


def _save_pictures(pictures: Sequence[Image.Image], folder: Path, name: str, ending: str = ".png") -> list[Path]:
    """Save one picture as NAME.png, several as NAME_0.png, NAME_1.png, …; return the files."""
    numbers = [""] if len(pictures) == 1 else [f"_{i}" for i in range(len(pictures))]
    paths = [folder / f"{name}{number}{ending}" for number in numbers]
    for picture, path in zip(pictures, paths, strict=True):
        save_image(picture, path)
    return paths
