"""The package's verbs on the command line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pti_hub.errors import PTIError
from pti_hub.files import check_replaceable, saving
from pti_hub.images import save_image
from pti_hub.pipeline import PRESETS, PTIPipeline
from pti_hub.tuners import Personalization
from pti_hub.tuners.personalization import CONFIG_NAME

DEFAULT_CHECKPOINT = "pti-hub/mobilestylegan-ffhq"

app = typer.Typer(
    help="Personalise a StyleGAN to a photograph and edit it.", no_args_is_help=True, pretty_exceptions_enable=False
)
Model = Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")]


@app.command()
def edit(
    photo: Annotated[Path, typer.Argument(help="A photograph, or the folder of a saved personalisation.")],
    edits: Annotated[
        list[str] | None, typer.Option("--edit", "-e", help="NAME or NAME=STRENGTH; several make a sequence.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the personalisation.")] = Path("outputs"),
    model: Model = DEFAULT_CHECKPOINT,
    preset: Annotated[str | None, typer.Option(help=f"Schedule, if not the saved one: {', '.join(PRESETS)}.")] = None,
    face: Annotated[int | None, typer.Option(help="Which face, from left to right, where there are several.")] = None,
    align: Annotated[bool, typer.Option(help="Bring the face to FFHQ's alignment where it is not.")] = True,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:1; chosen by default.")] = None,
) -> None:
    """Invert a photograph, tune the generator to it, and edit it."""
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    wanted = edits or []
    check_replaceable(out / "personalization", CONFIG_NAME)
    new = not out.exists()
    with saving(out):
        out.mkdir(parents=True, exist_ok=True)
    try:
        if photo.is_dir():
            result = pipe(Personalization.from_pretrained(photo), wanted)
        else:
            result = pipe(photo, wanted, align="auto" if align else False, face=face, seed=seed)
            # First what took minutes.
            result.personalization.save_pretrained(out / "personalization")
    except PTIError:
        if new:
            out.rmdir()
        raise
    if result.aligned:
        save_image(result.aligned[0], out / "aligned.png")
        save_image(result.projection[0], out / "projection.png")
    for i, name in enumerate(result.personalizations[0].pivots):
        suffix = "" if len(result.images) == 1 else f"_{i}"
        save_image(result.reconstruction[i], out / f"reconstruction{suffix}.png")
        if wanted:
            save_image(result.images[i], out / f"edited{suffix}.png")
        metrics = ", ".join(f"{key} {value:.4f}" for key, value in result.metrics[i].items())
        typer.echo(f"{name}: {metrics}; pictures in {out}/")


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="Known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
) -> None:
    """Show what a pipeline consists of: parts, edits, identities, origins and licences."""
    pipe = PTIPipeline.from_pretrained(model)
    typer.echo(f"{pipe.name} on {pipe.device}")
    generator = pipe.generator
    size = sum(p.numel() for p in generator.parameters()) / 1e6
    typer.echo(
        f"generator  {type(generator).__name__}, {generator.resolution}² px, {generator.num_ws} ws, "
        f"{size:.1f} M weights"
    )
    typer.echo(f"projector  {pipe.projector.config}")
    typer.echo(f"tuner      {pipe.tuner.config}")
    typer.echo("edits")
    for direction in pipe.edits.values():
        typer.echo(f"  {direction.name:<12} {direction.space:<3} {direction.provenance}")
    typer.echo(f"identities {', '.join(pipe.identities) or 'none'}")
    typer.echo("origins and licences")
    for origin in pipe.origins:
        typer.echo(f"  {origin['part']}: {origin['origin']}\n    {origin['licence']}")


def main() -> None:
    """Run the command line; our own errors are one line without a traceback, and exit code 1."""
    try:
        app()
    except PTIError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
