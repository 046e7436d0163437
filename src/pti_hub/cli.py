"""The package's verbs on the command line."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from pti_hub.checkpoints.export import export as export_generator
from pti_hub.edits.catalogue import CONFIG_NAME as EDITS_NAME
from pti_hub.errors import InputError, PTIError, WeightsError, printable
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
from pti_hub.personalization import CONFIG_NAME, DELTAS, PERSONALIZATION_FOLDER, Personalization
from pti_hub.pipelines import (
    DEFAULT_CHECKPOINT,
    INDEX_NAME,
    KNOWN_CHECKPOINTS,
    PIPELINE_FOLDER,
    PRESETS,
    PTIPipeline,
)
from pti_hub.pipelines import convert as convert_file
from pti_hub.storage import (
    PATTERNS,
    VARIANTS,
    PushOptions,
    as_save_error,
    as_weights_error,
    check_replaceable,
    fetch_folder,
    fetch_repository,
    read_json,
    replaced_folder,
)

app = typer.Typer(
    help="Personalise a StyleGAN to a photograph and edit it.", no_args_is_help=True, pretty_exceptions_enable=False
)
Model = Annotated[str, typer.Option("--model", "-m", help="Known checkpoint, folder or Hub id.")]
Preset = Annotated[str | None, typer.Option(help=f"Schedule to use instead of the saved one: {', '.join(PRESETS)}.")]
Align = Annotated[bool, typer.Option(help="Bring faces to FFHQ's alignment where they are not.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Run = Annotated[
    Path | None, typer.Option(help="Folder for the work's state: the same command resumes it after a kill.")
]
Device = Annotated[
    str | None, typer.Option(help="Where to compute, such as cpu or cuda:1; the fastest one by default.")
]


@app.command()
def edit(
    photo: Annotated[Path, typer.Argument(help="A photograph, or the folder of a saved personalisation.")],
    edits: Annotated[
        list[str] | None, typer.Option("--edit", "-e", help="NAME or NAME=STRENGTH; several make a sequence.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the pictures and the personalisation.")] = Path("outputs"),
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    face: Annotated[int | None, typer.Option(help="Which face, from left to right, where there are several.")] = None,
    align: Align = True,
    seed: Seed = 0,
    run: Run = None,
    device: Device = None,
) -> None:
    """Invert a photograph, tune the generator to it, and edit it.

    An edit is a name, or a name and how far: smile, age=-2, pose=5deg (degrees of the head). Beside the listed edits
    (pti-hub info) there are GANSpace's components, pc3, SeFa's, sefa2, styles, mix:NAME or mix:seed42, and any of these
    in some layers, smile_layers4-7.
    """
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    person = Personalization.from_pretrained(photo) if photo.is_dir() else None
    # What can't be done is said before the long work.
    wanted = pipe.parse(edits or [], [] if person is None else [person])
    check_replaceable(out / "personalization", CONFIG_NAME)
    with _new_folder(out):
        if person is None:
            tuned = pipe(photo, align="auto" if align else False, face=face, seed=seed, run_folder=run)
            # First what took minutes; an edit may still fail.
            person = tuned.personalization
            person.save_pretrained(out / "personalization")
            save_image(tuned.aligned[0], out / "aligned.png")
            save_image(tuned.projection[0], out / "projection.png")
            reconstructions = tuned.reconstruction
        else:
            reconstructions = pipe.edit(person)
    names = list(person.pivots)
    _save_pictures(reconstructions, out, "reconstruction")
    if wanted:
        _save_pictures(pipe.edit(person, wanted), out, "edited")
    for name in names:
        typer.echo(f"{name}: {_format_metrics(person.metrics.get(name, {}))}; pictures in {out}/")


@app.command()
def personalize(
    photos: Annotated[
        Path, typer.Argument(help="Folder: one photograph per identity, or a sub-folder of several photographs.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the personalisation.")] = Path("personalization"),
    model: Model = DEFAULT_CHECKPOINT,
    preset: Preset = None,
    align: Align = True,
    seed: Seed = 0,
    run: Run = None,
    device: Device = None,
) -> None:
    """Tune one generator to everyone in a folder, called by the names of the files."""
    if not photos.is_dir():
        raise InputError(f"{photos} is no folder; give one of photographs, or use: pti-hub edit {photos}")
    check_replaceable(out, CONFIG_NAME)
    people: dict[str, list[Path]] = {}
    pictures = find_pictures(photos)
    for path in sorted(photos.iterdir()):
        if found := find_pictures(path) if path.is_dir() else [path] * (path in pictures):
            people.setdefault(path.name if path.is_dir() else path.stem, []).extend(found)
    if not people:
        raise InputError(f"no picture is in {photos}; expected files that end in {', '.join(PICTURE_SUFFIXES)}")
    with as_save_error(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    named = {name: found if len(found) > 1 else found[0] for name, found in people.items()}
    result = pipe.personalize(named, align="auto" if align else False, seed=seed, run_folder=run)
    if process_state().is_main_process:
        result.save_pretrained(out)
        for name, metrics in result.metrics.items():
            typer.echo(f"{name}: {_format_metrics(metrics)}")
        typer.echo(f"saved in {out}/")


@app.command()
def walk(
    personalization: Annotated[Path, typer.Argument(help="Folder of a saved personalisation.")],
    edit: Annotated[str, typer.Option("--edit", "-e", help="Direction to walk along.")],
    out: Annotated[Path, typer.Option(help="A strip of pictures, .png or .jpg, or an animation, .gif or .mp4.")] = Path(
        "walk.gif"
    ),
    first: Annotated[float, typer.Option("--from", help="First strength.")] = -2.0,
    last: Annotated[float, typer.Option("--to", help="Last strength.")] = 2.0,
    frames: Annotated[
        int | None, typer.Option(min=2, help="Number of pictures; 5 in a strip, 24 in an animation.")
    ] = None,
    identity: Annotated[str | None, typer.Option(help="Which identity, where there are several.")] = None,
    model: Model = DEFAULT_CHECKPOINT,
    device: Device = None,
) -> None:
    """Show a person at many strengths of an edit, as a strip or an animation."""
    strip = out.suffix.lower() in STILL
    if check_suffix(out, {**STILL, **ANIMATED}) == "MP4":
        import_av()
    if not out.parent.is_dir():
        raise InputError(f"the folder {out.parent} of {out} doesn't exist; make it, or give another --out")
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
        # There and back again, so that it starts over without a jump.
        save_animation([*pictures, *pictures[-2:0:-1]], out)
    typer.echo(f"saved in {out}")


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
    if pipe.encoder is not None:
        typer.echo(f"encoder    {type(pipe.encoder).__name__}, {pipe.encoder.resolution}² px")
    typer.echo(f"projector  {pipe.projector.config}")
    typer.echo(f"tuner      {pipe.tuner.config}")
    typer.echo("edits")
    for direction in pipe.edits.values():
        _echo_stranger(f"  {direction.name:<12} {direction.space:<3} {direction.provenance}")
    typer.echo(f"identities {', '.join(pipe.identities) or 'none'}")
    typer.echo("origins and licences")
    for origin in pipe.origins:
        _echo_stranger(f"  {origin['part']}: {origin['origin']}")
        _echo_stranger(f"    {origin['licence']}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved personalisation or pipeline.")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, such as me/ada.")],
    private: Annotated[bool, typer.Option(help="Whether only you may see it.")] = True,
    delta: Annotated[
        str, typer.Option(help=f"How a personalisation's weights are stored: {', '.join(DELTAS)}.")
    ] = "compact",
    variant: Annotated[
        str | None, typer.Option(help=f"Precision of a pipeline's weights: {', '.join(VARIANTS)}.")
    ] = None,
    branch: Annotated[str | None, typer.Option(help="Branch to push to; made where there is none.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request in place of a commit.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; that of hf auth login by default.")
    ] = None,
) -> None:
    """Publish a personalisation, or a whole pipeline, on the Hub; private unless asked otherwise.

    The same command resumes an upload that was interrupted.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of a saved personalisation or pipeline")
    options: PushOptions = {
        "private": private,
        "branch": branch,
        "commit_message": message,
        "create_pr": pr,
        "token": token,
    }
    if (folder / CONFIG_NAME).is_file():
        address = Personalization.from_pretrained(folder).push_to_hub(repo, delta=delta, **options)
    else:
        there = variant if (folder / "generator" / f"model.{variant}.safetensors").is_file() else None
        pipe = PTIPipeline.from_pretrained(folder, device="cpu", variant=there)
        address = pipe.push_to_hub(repo, variant=variant, **options)
    typer.echo(f"published{', private' if private else ''}: {address}")


@app.command()
def pull(
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, such as me/ada.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to be made; named like the repository by default.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help=f"Precision of a pipeline's weights: {', '.join(VARIANTS)}.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; that of hf auth login by default.")
    ] = None,
) -> None:
    """Fetch a personalisation or a pipeline from the Hub into a folder."""
    source = fetch_repository(repo, variant=variant, revision=revision, token=token)
    folder = folder or Path(repo.split("/")[-1])
    marker = next((name for name in (INDEX_NAME, CONFIG_NAME) if (source / name).is_file()), None)
    if marker is None:
        raise WeightsError(
            f"{repo} is neither a pipeline nor a personalisation: it has no {INDEX_NAME} or {CONFIG_NAME}"
        )
    owned = {*PIPELINE_FOLDER.owned, *PERSONALIZATION_FOLDER.owned, "README.md", INDEX_NAME, CONFIG_NAME}
    with replaced_folder(folder, marker, owned) as new:
        # Other clients may have fetched more of it into the cache.
        for path in (path for path in source.rglob("*") if path.is_file()):
            name = path.relative_to(source)
            if any(fnmatch(name.as_posix(), pattern) for pattern in PATTERNS):
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, new / name)
    typer.echo(f"saved in {folder}/")


@app.command("list")
def list_(
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, folder, or known checkpoint.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; that of hf auth login by default.")
    ] = None,
) -> None:
    """Show the identities and edits in a repository, without its weights."""
    if repo in KNOWN_CHECKPOINTS:
        edits, personal = list(PTIPipeline.from_pretrained(repo, device="cpu").edits), None
    else:
        folder = fetch_folder(repo, revision=revision, token=token, allow_patterns=["*.json"])
        paths = [folder / CONFIG_NAME, folder / "personalization" / CONFIG_NAME]
        personal = next((read_json(path) for path in paths if path.is_file()), None)
        listed = folder / "edits" / EDITS_NAME
        edits = list(read_json(listed)) if listed.is_file() else []
        if personal is None and not (folder / INDEX_NAME).is_file():
            raise WeightsError(f"{repo} is neither a pipeline nor a personalisation: it has no {INDEX_NAME}")
    if personal is not None:
        with as_weights_error(Path(repo), "fetch it again"):
            base = personal["base"]
            _echo_stranger(f"base       {base.get('repo', base['name'])}, weights {str(base['fingerprint'])[:12]}…")
            _echo_stranger(f"deltas     {personal.get('stored', {}).get('delta', 'exact')}")
            _echo_stranger("identities")
            for name in personal["identities"]:
                _echo_stranger(f"  {name:<20} {_format_metrics(personal['metrics'].get(name, {}))}")
    if edits or personal is None:
        _echo_stranger(f"edits      {', '.join(edits) or 'none'}")
    else:
        typer.echo("edits      the base's")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(help="A .pkl, .pt, .pth or .npy of other people's code.")],
    folder: Annotated[Path, typer.Argument(help="Folder to be made.")],
    name: Annotated[str | None, typer.Option(help="What to call the generator; the file's name by default.")] = None,
    faces: Annotated[
        bool | None,
        typer.Option(help="Whether the generator paints faces in FFHQ's alignment; by default if the name says so."),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="For a tuned generator, its base: known checkpoint, folder or Hub id.")
    ] = None,
    pivot: Annotated[
        list[Path] | None,
        typer.Option(help="For a tuned generator, the file of a pivot; repeat it for several people."),
    ] = None,
) -> None:
    """Turn other people's generator, encoder, tuned generator or directions into a folder for --model.

    Known are the pickles of StyleGAN2-ADA and StyleGAN3, the .pt of rosinality, e4e, pSp and the official PTI code,
    ArcFace's weights, GANSpace's components and single directions. No code in a file is run.
    """
    pipe = None if base is None else PTIPipeline.from_pretrained(base, device="cpu")
    # PTI calls every pivot 0.pt and names the folder it is in.
    pivots = {p.parent.name if p.stem == "0" and p.parent.name else p.stem: p for p in pivot or []}
    if len(pivots) < len(pivot or []):
        raise InputError(f"pivots named {', '.join(map(str, pivot or []))}; give each a name of its own")
    found = convert_file(file, folder, name=name, aligns_faces=faces, base=pipe, pivots=pivots)
    typer.echo(f"{file}: {found}; saved in {folder}/")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Known checkpoint, folder or Hub id, of a StyleGAN2 or StyleGAN3.")],
    file: Annotated[Path, typer.Argument(help="A .safetensors or .pt for NVIDIA's code, or an .onnx.")],
) -> None:
    """Write a generator for other people's code."""
    export_generator(PTIPipeline.from_pretrained(model, device="cpu").generator, file)
    typer.echo(f"saved in {file}")


@contextmanager
def _new_folder(folder: Path) -> Iterator[None]:
    """Makes a folder, and removes it again if nothing was written into it before an error."""
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


def _save_pictures(pictures: Sequence[Image.Image], folder: Path, name: str) -> None:
    """One picture as NAME.png, several as NAME_0.png, NAME_1.png, …"""
    for i, picture in enumerate(pictures):
        suffix = "" if len(pictures) == 1 else f"_{i}"
        save_image(picture, folder / f"{name}{suffix}.png")


def _echo_stranger(text: str) -> None:
    """Print what a stranger wrote: nothing in it may steer the terminal."""
    typer.echo(printable(text))


def _format_metrics(metrics: Mapping[str, float]) -> str:
    return ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())


def main() -> None:
    """Run the command line; our own errors are one line without a traceback, and exit code 1."""
    try:
        app()
    except PTIError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
