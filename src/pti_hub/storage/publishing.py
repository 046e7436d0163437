"""Saved folders, and their way to the Hub as one commit."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypedDict

from huggingface_hub import HfApi, ModelCard
from PIL import Image, ImageOps

from pti_hub.errors import InputError, SaveError
from pti_hub.storage.atomic import replaced_folder
from pti_hub.storage.hub import explained_hub_errors
from pti_hub.storage.model_cards import picture_name

_VARIANT = re.compile(r"/model(\.\w+)?\.safetensors$")
_PICTURE = re.compile(r"gallery/\d+\.jpg")


@dataclass(frozen=True)
class FolderKind:
    """What a folder of one kind is known by.

    Attributes:
        marker: The file that every such folder has.
        owned: Names in such a folder that are ours to replace.
    """

    marker: str
    owned: frozenset[str]


class PushOptions(TypedDict, total=False):
    """Keywords of every `push_to_hub`.

    Attributes:
        private: Whether only you may see the repository, `True` unless `False` is passed; a repository that is public
            already is refused then.
        token: Token for the Hub; that of `hf auth login` by default.
        branch: Branch to push to; made where there is none.
        create_pr: Whether to open a pull request in place of a commit.
        commit_message: Message of the commit.
        allow_patterns: Files to upload; all by default.
        ignore_patterns: Files to leave out.
        delete_patterns: Files in the repository to delete in the same commit.
        preview: A picture for the card, such as a contact sheet, or several by caption: `{"smile": picture}`. They
            show whom they show to all who may see the repository, and are stored without metadata.
    """

    private: bool | None
    token: str | None
    branch: str | None
    create_pr: bool | None
    commit_message: str | None
    allow_patterns: list[str] | str | None
    ignore_patterns: list[str] | str | None
    delete_patterns: list[str] | str | None
    preview: Image.Image | Mapping[str, Image.Image] | None


def save_folder(folder: str | Path, kind: FolderKind, write: Callable[[Path], None], card: ModelCard) -> None:
    """Write a folder that needs no network and no code but this package's, with a card.

    What was there stays whole until the new folder is complete; what others put there is carried over.

    Args:
        folder: The folder.
        kind: What it is known by.
        write: Writes the content into an empty folder.
        card: The card, made anew at each save.

    Raises:
        InputError: The folder holds something else.
        SaveError: The disk is full, or the place is not writable.
    """
    with replaced_folder(folder, kind.marker, kind.owned | {"README.md"}) as new:
        write(new)
        card.save(new / "README.md")


def push_folder(
    repo_id: str,
    kind: FolderKind,
    write: Callable[[Path], None],
    card: Callable[[str | None, Sequence[str]], ModelCard],
    *,
    private: bool | None = True,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
    commit_message: str | None = None,
    allow_patterns: list[str] | str | None = None,
    ignore_patterns: list[str] | str | None = None,
    delete_patterns: list[str] | str | None = None,
    preview: Image.Image | Mapping[str, Image.Image] | None = None,
) -> str:
    """Upload a folder to a Hub repository, which is made where there is none, as one commit.

    The same call resumes an upload that was interrupted: files that arrived are not sent again. What an earlier push
    left there and this one does not have, such as people who are no longer in it, is deleted by the same commit; the
    repository's history keeps it.

    Args:
        repo_id: `"me/ada"`, or `"ada"` for one's own.
        kind: What such a folder is known by.
        write: Writes the content into an empty folder.
        card: Makes the card, of the repository's full name and the captions of its pictures.
        private: See `PushOptions` for this argument and the following ones.

    Returns:
        Address of the commit or pull request.

    Raises:
        InputError: The repository is public and was to be private, holds something else, or the name is none.
        SaveError: The Hub refuses or can't be reached.
    """
    if branch is not None and create_pr:
        raise InputError(f"branch={branch!r} and create_pr=True were given; a pull request has a branch of its own")
    private = private is not False
    with TemporaryDirectory() as temporary, explained_hub_errors(repo_id, SaveError):
        # 1. What may fail here, before anything is asked of the Hub.
        folder = Path(temporary)
        write(folder)
        captions = _write_gallery(folder, preview)
        # 2. The repository.
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        if private and not api.model_info(repo_id).private:
            raise InputError(f"{repo_id} is public already; pass private=False to publish there, or another name")
        if branch is not None:
            api.create_branch(repo_id, branch=branch, exist_ok=True)
        card(repo_id, captions).save(folder / "README.md")
        # 3. One commit of what is new and what is gone.
        stale = _stale_files(api.list_repo_files(repo_id, revision=branch), folder, kind, repo_id)
        given = [delete_patterns] if isinstance(delete_patterns, str) else delete_patterns or []
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            commit_message=commit_message or "Upload with PTI Hub",
            revision=branch,
            create_pr=create_pr,
            allow_patterns=allow_patterns,
            ignore_patterns=ignore_patterns,
            delete_patterns=[*stale, *given] or None,
        )
        return str(commit.pr_url or commit.commit_url)


def _write_gallery(folder: Path, preview: Image.Image | Mapping[str, Image.Image] | None) -> list[str]:
    """Write the pictures of a card; their captions.

    Raises:
        InputError: One is no picture.
    """
    pictures = preview if isinstance(preview, Mapping) else {} if preview is None else {"": preview}
    for number, (caption, picture) in enumerate(pictures.items()):
        if not isinstance(picture, Image.Image):
            raise InputError(
                f"preview{f'[{caption!r}]' if caption else ''} is a {type(picture).__name__}; expected a PIL image, "
                "which pti_hub.images.load_image reads"
            )
        upright = ImageOps.exif_transpose(picture)
        # Comments of the picture's file are left behind: Pillow would write them again.
        bare = Image.new("RGB", upright.size)
        bare.paste(upright.convert("RGB"))
        path = folder / picture_name(number)
        path.parent.mkdir(exist_ok=True)
        bare.save(path, quality=95)
    return [str(caption) for caption in pictures]


def _stale_files(there: list[str], folder: Path, kind: FolderKind, repo_id: str) -> list[str]:
    """Patterns of the files of ours in a repository that a new folder does not have.

    Raises:
        InputError: The repository holds another kind of folder.
    """
    others = {"model_index.json", "personalization.json"}.intersection(there)
    if kind.marker not in there and others:
        raise InputError(f"{repo_id} holds something else ({others.pop()}); give another repository")
    new = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}

    def is_stale(path: str) -> bool:
        is_ours = path.split("/")[0] in kind.owned or _PICTURE.fullmatch(path) is not None
        # Weights of a network that is still there, in another precision, stay.
        is_variant = _VARIANT.search(path) is not None and path.rpartition("/")[0] in new
        return path not in new and is_ours and not is_variant

    return [glob.escape(path) for path in there if is_stale(path)]
