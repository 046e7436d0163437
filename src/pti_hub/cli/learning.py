"""The command that learns edits: learn-edit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pti_hub.cli.app import Device, Model, Run, TextModel, add_edits, app, echo_untrusted, edits_in
from pti_hub.edits import Direction, LatentMapper, save_edits
from pti_hub.edits.catalogue import check_mapper_name
from pti_hub.edits.learning import LatentOptimizationConfig, MapperTrainingConfig
from pti_hub.errors import InputError
from pti_hub.personalization import Personalization
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline
from pti_hub.pipelines.learning import learn_from_examples, optimize_words, train_mapper_for_words
from pti_hub.storage import as_save_error


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
    optimize: Annotated[
        str | None,
        typer.Option(metavar="PERSON", help="With --words: optimise the latent of this saved personalisation."),
    ] = None,
    per_layer: Annotated[
        bool, typer.Option("--per-layer", help="With --optimize: each layer gets an offset of its own.")
    ] = False,
    mapper: Annotated[bool, typer.Option("--mapper", help="With --words: train a mapper, which takes long.")] = False,
    steps: Annotated[int | None, typer.Option(help="Steps of --optimize or --mapper.")] = None,
    run: Run = None,
    text_model: TextModel = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
) -> None:
    """Learn an edit from examples with and without a property, or from words.

    Twenty pictures of either kind do, if they are of the same people with and without the property; of different
    people many more are needed. What was learned is used by: pti-hub edit PHOTO --edits FOLDER --edit NAME.

    Words alone give one direction for everyone. With --optimize they give a direction that is found on one person, and
    with --mapper a network that moves each face in its own way; --run keeps the state of its training.
    """
    if (words is None) == (with_ is None and without is None) or (with_ is None) != (without is None):
        raise InputError("give --with FOLDER and --without FOLDER, or --words 'a person with a beard'")
    if not name.strip() or "=" in name or ":" in name:
        raise InputError(f"edit named {name!r}; expected a name such as glasses, without '=' and ':'")
    if words is not None and not words.strip():
        raise InputError("--words is empty; say what the picture is to show, e.g. 'a person with a beard'")
    config = _config(words, optimize is not None, per_layer, mapper, steps, run)
    if mapper:
        check_mapper_name(name)
    known = edits_in(folder)
    person = None if optimize is None else Personalization.from_pretrained(optimize)
    pipe = PTIPipeline.from_pretrained(model, device=device)
    add_edits(pipe, None, text_model)
    edit: Direction | LatentMapper
    state: Path | None = None
    if with_ is not None and without is not None:
        edit = learn_from_examples(pipe, name, without, with_)
    elif person is not None and isinstance(config, LatentOptimizationConfig):
        edit = optimize_words(pipe, name, str(words), person, config=config)
    elif isinstance(config, MapperTrainingConfig):
        edit, metrics, state = train_mapper_for_words(pipe, str(words), config=config, run_folder=run)
    else:
        edit = pipe.words.direction(str(words)).renamed(name)
    with as_save_error(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
    save_edits(folder, {**known, name: edit})
    if state is not None:
        state.unlink(missing_ok=True)
    echo_untrusted(f"{name}: {edit.provenance}")
    for key, value in (edit.metrics if isinstance(edit, Direction) else metrics).items():
        typer.echo(f"  {key} {value}")
    typer.echo(f"saved in {folder}/")


def _config(
    words: str | None, optimizes: bool, per_layer: bool, trains: bool, steps: int | None, run: Path | None
) -> LatentOptimizationConfig | MapperTrainingConfig | None:
    """The hyper-parameters of the chosen method; `None` for a method without any.

    Raises:
        InputError: The options do not go together.
    """
    if (optimizes or trains) and (words is None or (optimizes and trains)):
        raise InputError("--optimize PERSON or --mapper, one of them, goes with --words 'a person with a beard'")
    for option, given, fits, expected in (
        ("--per-layer", per_layer, optimizes, "--optimize PERSON"),
        ("--steps", steps is not None, optimizes or trains, "--optimize PERSON or --mapper"),
        ("--run", run is not None, trains, "--mapper"),
    ):
        if given and not fits:
            raise InputError(f"{option} goes with {expected}; give that as well, or leave {option} out")
    settings = {} if steps is None else {"num_steps": steps}
    if optimizes:
        return LatentOptimizationConfig(per_layer=per_layer, **settings)
    return MapperTrainingConfig(**settings) if trains else None
