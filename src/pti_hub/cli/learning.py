"""The command that learns edits: learn-edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pti_hub.cli.app import Device, Model, TextModel, add_edits, app, echo_untrusted
from pti_hub.edits import load_edits, save_edits
from pti_hub.edits.catalogue import CONFIG_NAME
from pti_hub.errors import InputError
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline
from pti_hub.pipelines.learning import learn_from_examples
from pti_hub.storage import as_save_error, check_replaceable


@app.command("learn-edit")
def learn_edit(
    name: Annotated[str, typer.Argument(help="Name of the new edit.")],
    folder: Annotated[Path, typer.Argument(help="Folder of edits to create, or to add the edit to.")],
    with_: Annotated[
        Path | None, typer.Option("--with", help="Folder of pictures, or of latents (.npy, .pt), with the property.")
    ] = None,
    without: Annotated[Path | None, typer.Option(help="Folder of the same without it.")] = None,
    words: Annotated[
        str | None, typer.Option(help="What the picture is to show, e.g. 'a person with a beard'.")
    ] = None,
    text_model: TextModel = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
) -> None:
    """Learn an edit from examples with and without a property, or from words.

    Twenty pictures of either kind do, if they are of the same people with and without the property; of different
    people many more are needed. What was learned is used by: pti-hub edit PHOTO --edits FOLDER --edit NAME.
    """
    if (words is None) == (with_ is None and without is None) or (with_ is None) != (without is None):
        raise InputError("give --with FOLDER and --without FOLDER, or --words 'a person with a beard'")
    if not name.strip() or "=" in name or ":" in name:
        raise InputError(f"edit named {name!r}; expected a name such as glasses, without '=' and ':'")
    if words is not None and not words.strip():
        raise InputError("--words is empty; say what the picture is to show, e.g. 'a person with a beard'")
    check_replaceable(folder, CONFIG_NAME)
    known = load_edits(folder) if (folder / CONFIG_NAME).is_file() else {}
    pipe = PTIPipeline.from_pretrained(model, device=device)
    if with_ is not None and without is not None:
        direction = learn_from_examples(pipe, name, without, with_)
    else:
        add_edits(pipe, None, text_model)
        direction = pipe.words.direction(str(words)).renamed(name)
    with as_save_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    save_edits(folder, {**known, name: direction})
    echo_untrusted(f"{name}: {direction.provenance}")
    for key, value in direction.metrics.items():
        typer.echo(f"  {key} {value}")
    typer.echo(f"saved in {folder}/")
