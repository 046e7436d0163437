"""Tune one generator to a cast of people, publish the personalisation on the Hub, and load it as others would.

    python examples/publish_cast.py photos me/my-cast                 # one photograph per identity, named by the file
    python examples/publish_cast.py photos me/my-cast --preview       # with pictures of everyone on the model card

The repository is private unless you pass --public. It holds weight deltas and pivots but no photographs, and no
pictures unless you pass --preview. Publish people only with their consent.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import whoami
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from pti_hub import InputError, PTIError, PTIPipeline
from pti_hub.images import PICTURE_SUFFIXES, find_pictures
from pti_hub.personalization import DELTAS
from pti_hub.pipelines import DEFAULT_CHECKPOINT


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of photographs, one per identity.")],
    repo: Annotated[str, typer.Argument(help="Repository on the Hub, such as me/my-cast.")],
    model: Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")] = (
        DEFAULT_CHECKPOINT
    ),
    delta: Annotated[str, typer.Option(help=f"Storage of the weight deltas: {', '.join(DELTAS)}.")] = "compact",
    edit: Annotated[str, typer.Option("--edit", "-e", help="Edit to show for each person.")] = "smile",
    preview: Annotated[
        bool, typer.Option("--preview", help="Show all people on the model card, unedited and edited.")
    ] = False,
    public: Annotated[bool, typer.Option("--public", help="Make the repository visible to everyone.")] = False,
    run: Annotated[
        Path | None, typer.Option(help="Folder for intermediate state; after a kill, the same command resumes.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the edited pictures.")] = Path("outputs/cast"),
) -> None:
    """Tune one generator to everyone in a folder, publish the result, and edit each person with the published copy."""
    people = {path.stem: path for path in find_pictures(photos)}
    if not people:
        raise InputError(f"no picture is in {photos}; expected files that end in {', '.join(PICTURE_SUFFIXES)}")
    # 1. Check everything that could fail only after the long work.
    if delta not in DELTAS:
        raise InputError(f"delta={delta!r}; expected one of {', '.join(DELTAS)}")
    try:
        repo = repo if "/" in repo else f"{whoami()['name']}/{repo}"
    except (LocalTokenNotFoundError, HfHubHTTPError) as error:
        raise InputError("the Hub does not know you; log in first: hf auth login") from error
    # 2. Tune one generator to all people (Eq. 3).
    pipe = PTIPipeline.from_pretrained(model)
    pipe.parse(edit)
    cast = pipe.personalize(people, run_folder=run)
    out.mkdir(parents=True, exist_ok=True)
    cast.save_pretrained(out / "personalization")
    pipe.load_personalization(cast)
    # 3. Publish.
    views = {"unedited": None, edit: edit} if preview else {}
    gallery = {f"{name}, {what}": pipe.edit(name, how)[0] for name in people for what, how in views.items()}
    typer.echo(f"published: {cast.push_to_hub(repo, delta=delta, private=not public, preview=gallery)}")
    # 4. Load the result as others would: the base is found automatically.
    published = PTIPipeline.from_pretrained(repo)
    for name in people:
        published(name, edit=edit).images[0].save(out / f"{name}.png")
    typer.echo(f"{len(published.identities)} people, {edit}: {out}/")


if __name__ == "__main__":
    try:
        typer.run(main)
    except PTIError as error:
        sys.exit(f"error: {error}")
