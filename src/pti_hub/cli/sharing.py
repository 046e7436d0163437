"""Commands for the Hub: push, pull, list."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from pti_hub.cli.app import app, echo_untrusted, format_metrics
from pti_hub.edits.catalogue import CONFIG_NAME as EDITS_NAME
from pti_hub.errors import InputError, WeightsError
from pti_hub.images import load_image
from pti_hub.personalization import CONFIG_NAME, DELTAS, PERSONALIZATION_FOLDER, Personalization
from pti_hub.pipelines import INDEX_NAME, KNOWN_CHECKPOINTS, PIPELINE_FOLDER, PTIPipeline
from pti_hub.storage import (
    PATTERNS,
    VARIANTS,
    PushOptions,
    as_weights_error,
    fetch_folder,
    fetch_repository,
    read_json,
    replaced_folder,
)


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="Folder of a saved personalisation or pipeline.")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, such as me/ada.")],
    private: Annotated[bool, typer.Option(help="Make the repository visible only to you.")] = True,
    delta: Annotated[
        str, typer.Option(help=f"Storage of a personalisation's weights: {', '.join(DELTAS)}.")
    ] = "compact",
    variant: Annotated[
        str | None, typer.Option(help=f"Precision of a pipeline's weights: {', '.join(VARIANTS)}.")
    ] = None,
    preview: Annotated[
        list[Path] | None,
        typer.Option(help="Picture for the card, captioned by the file's name; can be repeated. None by default."),
    ] = None,
    branch: Annotated[str | None, typer.Option(help="Branch to push to; created if missing.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request instead of committing.")] = False,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; by default the token of hf auth login.")
    ] = None,
) -> None:
    """Publish a personalisation or a whole pipeline on the Hub, privately by default.

    The same command resumes an interrupted upload.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; give the folder of a saved personalisation or pipeline")
    options: PushOptions = {
        "private": private,
        "branch": branch,
        "commit_message": message,
        "create_pr": pr,
        "token": token,
        "preview": _gallery(preview or []),
    }
    if (folder / CONFIG_NAME).is_file():
        address = Personalization.from_pretrained(folder).push_to_hub(repo, delta=delta, **options)
    else:
        stored = variant if (folder / "generator" / f"model.{variant}.safetensors").is_file() else None
        pipe = PTIPipeline.from_pretrained(folder, device="cpu", variant=stored)
        address = pipe.push_to_hub(repo, variant=variant, **options)
    typer.echo(f"published{', private' if private else ''}: {address}")


def _gallery(paths: list[Path]) -> dict[str, Image.Image]:
    names = [path.stem for path in paths]
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two pictures are called {twice[0]!r}, which is their caption; rename one of them")
    return {path.stem: load_image(path) for path in paths}


@app.command()
def pull(
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, such as me/ada.")],
    folder: Annotated[
        Path | None, typer.Argument(help="Folder to create; named like the repository by default.")
    ] = None,
    variant: Annotated[
        str | None, typer.Option(help=f"Precision of a pipeline's weights: {', '.join(VARIANTS)}.")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; by default the token of hf auth login.")
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
        # The cache may hold further files of the repository that other programs fetched.
        for path in (path for path in source.rglob("*") if path.is_file()):
            name = path.relative_to(source)
            if any(fnmatch(name.as_posix(), pattern) for pattern in PATTERNS):
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, new / name)
    typer.echo(f"saved in {folder}/")


@app.command("list")
def list_(
    repo: Annotated[str, typer.Argument(help="Known checkpoint, folder, or repository on the Hub.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of the repository.")] = None,
    token: Annotated[
        str | None, typer.Option(envvar="HF_TOKEN", help="Token for the Hub; by default the token of hf auth login.")
    ] = None,
) -> None:
    """Show the identities and edits in a repository, without its weights."""
    if repo in KNOWN_CHECKPOINTS:
        edits, personal = list(PTIPipeline.from_pretrained(repo, device="cpu").edits), None
    else:
        folder = fetch_folder(repo, revision=revision, token=token, allow_patterns=["*.json"])
        paths = [folder / CONFIG_NAME, folder / "personalization" / CONFIG_NAME]
        personal = next((read_json(path) for path in paths if path.is_file()), None)
        catalogue = folder / "edits" / EDITS_NAME
        edits = list(read_json(catalogue)) if catalogue.is_file() else []
        if personal is None and not (folder / INDEX_NAME).is_file():
            raise WeightsError(f"{repo} is neither a pipeline nor a personalisation: it has no {INDEX_NAME}")
    if personal is not None:
        with as_weights_error(Path(repo), "fetch it again"):
            base = personal["base"]
            echo_untrusted(f"base       {base.get('repo', base['name'])}, weights {str(base['fingerprint'])[:12]}…")
            echo_untrusted(f"deltas     {personal.get('stored', {}).get('delta', 'exact')}")
            echo_untrusted("identities")
            for name in personal["identities"]:
                echo_untrusted(f"  {name:<20} {format_metrics(personal['metrics'].get(name, {}))}")
    if edits or personal is None:
        echo_untrusted(f"edits      {', '.join(edits) or 'none'}")
    else:
        typer.echo("edits      the base's")
