"""Commands about pipelines and generators: info, convert, export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pti_hub.checkpoints.export import export as export_generator
from pti_hub.checkpoints.page import RUNTIME
from pti_hub.checkpoints.page import SUFFIX as PAGE
from pti_hub.cli.app import app, echo_untrusted
from pti_hub.errors import InputError
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline, export_identity
from pti_hub.pipelines import convert as convert_file


@app.command()
def info(
    model: Annotated[str, typer.Argument(help="Pipeline: known checkpoint, folder or Hub id.")] = DEFAULT_CHECKPOINT,
) -> None:
    """Show a pipeline's parts, edits, identities, and the origins and licences of the weights."""
    pipe = PTIPipeline.from_pretrained(model)
    typer.echo(f"{pipe.name} on {pipe.device}")
    generator = pipe.generator
    size = sum(p.numel() for p in generator.parameters()) / 1e6
    typer.echo(
        f"generator  {type(generator).__name__}, {generator.resolution}² px, {generator.num_ws} ws, "
        f"{size:.1f} M weights"
    )
    if pipe.encoder is not None:
        typer.echo(f"encoder    {type(pipe.encoder).__name__}, {pipe.encoder.resolution}² px")
    typer.echo(f"projector  {pipe.projector.config}")
    typer.echo(f"tuner      {pipe.tuner.config}")
    typer.echo("edits")
    for name, edit in pipe.edits.items():
        echo_untrusted(f"  {name:<12} {edit.space:<3} {edit.provenance}")
    typer.echo(f"identities {', '.join(pipe.identities) or 'none'}")
    typer.echo("origins and licences")
    for origin in pipe.origins:
        echo_untrusted(f"  {origin['part']}: {origin['origin']}")
        echo_untrusted(f"    {origin['licence']}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .pkl, .pt, .pth or .npy file that other code wrote.")],
    folder: Annotated[Path, typer.Argument(help="Folder to create.")],
    name: Annotated[str | None, typer.Option(help="Name of the generator; by default the file's name.")] = None,
    faces: Annotated[
        bool | None,
        typer.Option(help="Whether the generator renders faces aligned as in FFHQ; by default inferred from the name."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="Base of a tuned generator: known checkpoint, folder or Hub id.")
    ] = None,
    pivot: Annotated[
        list[Path] | None,
        typer.Option(help="Pivot file of a tuned generator; repeat it for several people."),
    ] = None,
) -> None:
    """Convert a generator, encoder, tuned generator or direction from other code to a folder for --model.

    Supported files: pickles of StyleGAN2-ADA and StyleGAN3; .pt files of rosinality, e4e, pSp and the official PTI
    code; ArcFace's weights; GANSpace's components; single directions. No code in a file is run.
    """
    pipe = None if base is None else PTIPipeline.from_pretrained(base, device="cpu")
    # The official code calls every pivot 0.pt and gives the folder the name of the person.
    pivots = {p.parent.name if p.stem == "0" and p.parent.name else p.stem: p for p in pivot or []}
    if len(pivots) < len(pivot or []):
        raise InputError(f"pivots {', '.join(map(str, pivot or []))} share a name; give each another name")
    description = convert_file(file, folder, name=name, aligns_faces=faces, base=pipe, pivots=pivots)
    typer.echo(f"{file}: {description}; saved in {folder}/")


@app.command()
def export(
    source: Annotated[
        str, typer.Argument(help="Personalisation or pipeline: folder, Hub id, or the name of a known checkpoint.")
    ],
    file: Annotated[
        Path,
        typer.Argument(help="File to write: .safetensors or .pt, .onnx, or a page for the browser, .html."),
    ],
    identity: Annotated[str | None, typer.Option(help="Identity to export; needed if there are several.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Pipeline that the personalisation was tuned on, if not where it says."),
    ] = None,
    runtime: Annotated[
        Path | None, typer.Option(help=f"For a page, the folder of onnxruntime-web's files; else {RUNTIME}.")
    ] = None,
) -> None:
    """Write a generator to a file for other code, or a person's to a page with sliders for the browser.

    Where the source holds identities, it is the generator that was tuned to one of them, with its pivot: whoever has
    the file can make pictures of this person. No photograph is in it.
    """
    pipe = PTIPipeline.from_pretrained(source, device="cpu", base=model)
    if not pipe.identities and identity is None and file.suffix != PAGE:
        export_generator(pipe.generator, file)
        typer.echo(f"saved in {file}")
        return
    name = export_identity(pipe, file, identity, runtime)
    echo_untrusted(
        f"saved in {file}, {file.stat().st_size / 1e6:.1f} MB: whoever has this file can make pictures of {name}; "
        "it holds the tuned weights, and no photograph"
    )
