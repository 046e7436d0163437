"""Commands that personalise and render: personalize, walk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pti_hub.cli.app import (
    Align,
    Device,
    Edits,
    Model,
    Preset,
    Run,
    Seed,
    TextModel,
    add_edits,
    app,
    format_metrics,
)
from pti_hub.errors import InputError
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
from pti_hub.personalization import CONFIG_NAME
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline
from pti_hub.storage import as_save_error, check_replaceable


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
    more_edits: Edits = None,
    text_model: TextModel = None,
    device: Device = None,
) -> None:
    """Render a person at increasing strengths of an edit, as a strip or an animation."""
    strip = out.suffix.lower() in STILL
    if check_suffix(out, {**STILL, **ANIMATED}) == "MP4":
        import_av()
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out} doesn't exist; create it, or give another --out")
    pipe = PTIPipeline.from_pretrained(model, device=device)
    add_edits(pipe, more_edits, text_model)
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
