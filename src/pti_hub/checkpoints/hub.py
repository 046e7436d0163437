"""From a name to a folder, here or on the Hub, from its files to values, and back."""

from __future__ import annotations

import glob
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from huggingface_hub import HfApi, ModelCard, ModelHubMixin, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from pti_hub.errors import InputError, PTIError, SaveError, WeightsError
from pti_hub.files import replaced_folder
from pti_hub.images import save_image
from pti_hub.model_card import PREVIEW_NAME

VARIANTS = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Other precisions that weights are published in, by the name that files carry: `model.fp16.safetensors`."""

PATTERNS = [
    "README.md",
    "*.json",
    *(f"{folder}{name}.safetensors" for folder in ("", "*/") for name in ("model*", "edits", "personalization")),
]
"""What is fetched of a repository, and nothing else ever: no code, no pickles."""

_VARIANT = re.compile(r"/model(\.\w+)?\.safetensors$")

COMMIT = re.compile("[0-9a-f]{40}")
"""A commit's name."""

_MAX_JSON = 1 << 24
# What a network is described by: no size of a layer is larger, no list of layers longer.
_MAX_NUMBER, _MAX_LIST = 1 << 16, 256


class HubFolder(ModelHubMixin):
    """What is saved as a folder and published as a Hub repository; the card is made anew at each save."""

    _marker: ClassVar[str]
    """The file by which a folder of this kind is known."""
    _owned: ClassVar[frozenset[str]]
    """Names in such a folder that are ours to replace."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        saving: Mapping[str, Any] | None = None,
        push_to_hub: bool = False,
        repo_id: str | None = None,
        **push: Any,
    ) -> str | None:
        """Write a folder that needs no network and no code but this package's.

        What was there stays whole until the new folder is complete; what others put there is carried over.

        Args:
            save_directory: The folder.
            saving: How, in terms of the class.
            push_to_hub: Whether to upload it as well.
            repo_id: Repository to upload to; named like the folder by default.
            **push: Further arguments of `push_to_hub`.

        Returns:
            Address of the commit, where there is one.

        Raises:
            InputError: The folder holds something else.
            SaveError: The disk is full, or the place not writable.
        """
        with replaced_folder(save_directory, self._marker, self._owned | {"README.md"}) as folder:
            self._save_pretrained(folder, **(saving or {}))
            self.generate_model_card().save(folder / "README.md")
        if not push_to_hub:
            return None
        return self.push_to_hub(repo_id or Path(save_directory).name, saving=saving, **push)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        *,
        saving: Mapping[str, Any] | None = None,
        private: bool | None = True,
        token: str | None = None,
        branch: str | None = None,
        create_pr: bool | None = None,
        commit_message: str | None = None,
        allow_patterns: list[str] | str | None = None,
        ignore_patterns: list[str] | str | None = None,
        delete_patterns: list[str] | str | None = None,
        preview: Image.Image | None = None,
    ) -> str:
        """Upload to a Hub repository, which is made where there is none, as one commit.

        An upload that was interrupted is gone on with by the same call: files that arrived are not sent again. What an
        earlier push left there and this one does not have, such as people who are no longer in it, is deleted by the
        same commit; its history keeps it.

        Args:
            repo_id: `"me/ada"`, or `"ada"` for one's own.
            saving: How, in terms of the class.
            private: Whether only you may see it, unless `False`; a repository that is public already is refused then.
            token: Token for the Hub; by default that of `hf auth login`.
            branch: Where to; made where there is none.
            create_pr: Whether to open a pull request in place of a commit.
            commit_message: Of the commit.
            allow_patterns: Files to upload; all by default.
            ignore_patterns: Files to leave out.
            delete_patterns: Files in the repository to delete in the same commit.
            preview: A picture for the card, such as a contact sheet. It shows whom it shows to all who may see it.

        Returns:
            Address of the commit.

        Raises:
            InputError: The repository is public and was to be private, holds something else, or the name is none.
            SaveError: The Hub refuses or can't be reached.
        """
        if branch is not None and create_pr:
            raise InputError(f"branch={branch!r} and create_pr=True were given; a pull request has a branch of its own")
        secret = private is not False
        with TemporaryDirectory() as temporary, _explained(repo_id, SaveError):
            # First what may fail here.
            folder = Path(temporary) / "repository"
            self.save_pretrained(folder, saving=saving)
            if preview is not None:
                save_image(preview.convert("RGB"), folder / PREVIEW_NAME)
            api = HfApi(token=token)
            repo_id = api.create_repo(repo_id, private=secret, exist_ok=True).repo_id
            if secret and not api.model_info(repo_id).private:
                raise InputError(f"{repo_id} is public already; pass private=False to publish there, or another name")
            if branch is not None:
                api.create_branch(repo_id, branch=branch, exist_ok=True)
            self.generate_model_card(repo_id, preview is not None).save(folder / "README.md")
            there = api.list_repo_files(repo_id, revision=branch)
            if self._marker not in there and (
                others := {"model_index.json", "personalization.json"}.intersection(there)
            ):
                raise InputError(f"{repo_id} holds something else ({others.pop()}); give another repository")
            new = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
            stale = [
                glob.escape(path)
                for path in there
                if path not in new
                and path.split("/")[0] in {*self._owned, PREVIEW_NAME}
                # The same in another precision.
                and not (_VARIANT.search(path) and path.split("/")[0] in new)
            ]
            given = [delete_patterns] if isinstance(delete_patterns, str) else delete_patterns or []
            commit = api.upload_folder(
                repo_id=repo_id,
                folder_path=folder,
                commit_message=commit_message or f"{type(self).__name__} of PTI Hub",
                revision=branch,
                create_pr=create_pr,
                allow_patterns=allow_patterns,
                ignore_patterns=ignore_patterns,
                delete_patterns=[*stale, *given] or None,
            )
            return str(commit.pr_url or commit.commit_url)

    def _save_pretrained(self, save_directory: Path, **saving: Any) -> None:
        raise NotImplementedError

    def generate_model_card(self, repo_id: str | None = None, preview: bool = False) -> ModelCard:
        """The card of a saved folder.

        Args:
            repo_id: Where it is to be; "this repository or folder" by default.
            preview: Whether there is a picture beside it.
        """
        raise NotImplementedError


def fetch_folder(name_or_path: str | Path, *, variant: str | None = None, **download: Any) -> Path:
    """A local folder of that name, or the snapshot of a Hub repository.

    Args:
        name_or_path: Folder, or repository id.
        variant: Precision of the weights to fetch, of `VARIANTS`.
        **download: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`, `allow_patterns` of
            `snapshot_download`.

    Returns:
        The folder.

    Raises:
        InputError: There is no such variant.
        WeightsError: Neither is there, or the Hub can't be reached.
    """
    return (
        Path(name_or_path) if is_folder(name_or_path) else fetch_repository(name_or_path, variant=variant, **download)
    )


def fetch_repository(name: str | Path, *, variant: str | None = None, **download: Any) -> Path:
    """The snapshot of a Hub repository, whatever folders are called here; arguments as of `fetch_folder`."""
    if variant is not None and variant not in VARIANTS:
        raise InputError(f"variant={variant!r}; expected one of {', '.join(VARIANTS)}")
    others = [f"*.{name}.safetensors" for name in VARIANTS if name != variant]
    ignore = others if variant is None else [*others, "*/model.safetensors"]
    patterns = download.pop("allow_patterns", PATTERNS)
    with _explained(str(name), WeightsError):
        return Path(snapshot_download(str(name), allow_patterns=patterns, ignore_patterns=ignore, **download))


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; a name that can be none is none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def commit_of(folder: Path) -> dict[str, str]:
    """`"repo"` and `"revision"` of a snapshot in the Hub's cache; empty for other folders."""
    cache = re.fullmatch(r"models--([\w.-]+?)--([\w.-]+)", folder.parent.parent.name)
    if cache is None or folder.parent.name != "snapshots" or not COMMIT.fullmatch(folder.name):
        return {}
    return {"repo": "/".join(cache.groups()), "revision": folder.name}


@contextmanager
def _explained(repo_id: str, kind: type[SaveError] | type[WeightsError]) -> Iterator[None]:
    """The client's errors become one line that says what to do."""
    what = f"{repo_id!s} could not be pushed" if kind is SaveError else f"{repo_id!s} is no folder here"
    try:
        yield
    except PTIError:
        raise
    except HFValidationError as error:
        if kind is SaveError:
            raise InputError(f"{repo_id!r} is no name of a repository; expected one such as 'me/model'") from error
        raise kind(f"{repo_id} is neither a folder nor a Hub id such as 'me/model'") from error
    except GatedRepoError as error:
        raise kind(
            f"{what}, and on the Hub it is gated: ask for access on its page, and log in (hf auth login)"
        ) from error
    except RepositoryNotFoundError as error:
        raise kind(
            f"{what}: the Hub has none of this name that you may see; check the name, and if it is private log in "
            "(hf auth login) or pass token="
        ) from error
    except RevisionNotFoundError as error:
        raise kind(f"{what}, and the Hub's has no such revision; see its branches and tags on its page") from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        raise kind(f"{what}: {_STATUS.get(status or 0, one_line(error))}") from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise kind(f"{what} and could not be had from the Hub: {one_line(error)}") from error
    except (OSError, ValueError, RuntimeError) as error:
        raise kind(f"{what}: {one_line(error)}") from error
    except Exception as error:
        # Whatever transport the client uses has errors of its own.
        if not any(base.__module__.startswith(("httpx", "httpcore")) for base in type(error).__mro__):
            raise
        raise kind(f"{what}, and the Hub can't be reached ({one_line(error)}); try again later") from error


_STATUS = {
    401: "the Hub does not know your token; log in (hf auth login) or pass token=",
    403: "your token may not do this; make one with write access, or push to a name of your own",
    409: "somebody else pushed in the meantime; do it again",
    413: "the Hub says it is too large",
    429: "the Hub had too many requests from you and still has after waiting; try again later",
    **dict.fromkeys((500, 502, 503, 504), "the Hub has a problem of its own; the same call goes on later"),
}


@contextmanager
def reading(folder: Path, remedy: str) -> Iterator[None]:
    """Whatever is wrong with what a folder holds becomes one line that says what to do.

    Args:
        folder: The folder being read.
        remedy: What to do.

    Raises:
        WeightsError: Something is missing, damaged or hostile.
    """
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{error}; {remedy}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        raise WeightsError(f"{folder} does not hold what it should ({one_line(error)}); {remedy}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: The file is missing, damaged or holds something else.
    """
    try:
        if path.stat().st_size > _MAX_JSON:
            raise WeightsError(f"{path} has {path.stat().st_size} bytes; expected at most {_MAX_JSON}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except WeightsError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is missing or damaged ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is missing or damaged ({one_line(error)})") from error


def build(network: type[nn.Module], config: Mapping[str, Any], weights: Path) -> nn.Module:
    """A network with the weights of a file; what they claim is compared before memory is taken.

    Args:
        network: Its class.
        config: Arguments of the class.
        weights: A safetensors file.

    Raises:
        WeightsError: The file is missing or damaged, or the configuration is of another network or of none.
    """
    _check_numbers(config, weights.parent)
    try:
        with safe_open(weights, "pt") as file:
            given = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{weights} is missing or damaged ({one_line(error)})") from error
    with torch.device("meta"):
        expected = {name: tuple(t.shape) for name, t in network(**config).state_dict().items()}
    if different := sorted(name for name in given.keys() | expected.keys() if given.get(name) != expected.get(name)):
        name = different[0]
        raise WeightsError(
            f"{weights} does not fit its config.json: {name} is {given.get(name)}, expected {expected.get(name)}"
        )
    made = network(**config)
    made.load_state_dict(read_tensors(weights))
    return made.eval()


def _check_numbers(value: Any, folder: Path) -> None:
    if isinstance(value, (int, float)) and not -_MAX_NUMBER <= value <= _MAX_NUMBER:
        raise WeightsError(f"{folder / 'config.json'} asks for {value:g} of something; expected at most {_MAX_NUMBER}")
    if isinstance(value, (list, tuple, dict)):
        if len(value) > _MAX_LIST:
            raise WeightsError(f"{folder / 'config.json'} has a list of {len(value)}; expected at most {_MAX_LIST}")
        for part in value.values() if isinstance(value, dict) else value:
            _check_numbers(part, folder)


def one_line(error: Exception) -> str:
    """An error's message on one line, not too long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
