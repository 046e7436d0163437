"""From a name to a folder: here, or a snapshot of a Hub repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from pti_hub.errors import InputError, PTIError, SaveError, WeightsError, one_line
from pti_hub.storage.fingerprints import file_digest
from pti_hub.storage.leftovers import recover_folder
from pti_hub.storage.patience import limited_patience

VARIANTS = {"fp16": torch.float16, "bf16": torch.bfloat16}
"""Other precisions that weights are published in, by the name that files carry: `model.fp16.safetensors`."""

PATTERNS = [
    "README.md",
    "*.json",
    *(f"{folder}{name}.safetensors" for folder in ("", "*/") for name in ("model*", "edits", "personalization")),
]
"""What is fetched of a repository, and nothing else ever: no code, no pickles."""

COMMIT = re.compile("[0-9a-f]{40}")
"""A commit's name."""

_DIGEST = re.compile("[0-9a-f]{64}")


class DownloadOptions(TypedDict, total=False):
    """Keywords of everything that may fetch from the Hub.

    Attributes:
        revision: Branch, tag or commit.
        token: Token for the Hub; that of `hf auth login` by default.
        cache_dir: Where the Hub's files are kept.
        local_files_only: Whether the network is left alone.
        force_download: Whether to fetch again what is there already.
    """

    revision: str | None
    token: str | bool | None
    cache_dir: str | Path | None
    local_files_only: bool
    force_download: bool


NETWORK_FOLDERS = ("generator", "perceptual", "projector_perceptual", "encoder")
"""Folders of a pipeline whose weights come in several precisions."""


def fetch_folder(name_or_path: str | Path, *, variant: str | None = None, **download: Any) -> Path:
    """A local folder of that name, or the snapshot of a Hub repository.

    Args:
        name_or_path: Folder, or repository id.
        variant: Precision of the weights to fetch, of `VARIANTS`.
        **download: `DownloadOptions`, and `allow_patterns` of `snapshot_download`.

    Returns:
        The folder.

    Raises:
        InputError: There is no such variant.
        WeightsError: Neither is there, or the Hub can't be reached.
    """
    if is_folder(name_or_path):
        return Path(name_or_path)
    return fetch_repository(name_or_path, variant=variant, **download)


def fetch_repository(name: str | Path, *, variant: str | None = None, **download: Any) -> Path:
    """The snapshot of a Hub repository, whatever folders are called here; arguments as of `fetch_folder`."""
    if variant is not None and variant not in VARIANTS:
        raise InputError(f"variant={variant!r}; expected one of {', '.join(VARIANTS)}")
    others = [f"*.{name}.safetensors" for name in VARIANTS if name != variant]
    ignore = others if variant is None else [*others, *(f"{folder}/model.safetensors" for folder in NETWORK_FOLDERS)]
    patterns = download.pop("allow_patterns", PATTERNS)
    if unknown := sorted(download.keys() - DownloadOptions.__annotations__.keys()):
        # As Python says it; among the client's errors it would look like one of the Hub's.
        raise TypeError(f"unexpected keyword argument {unknown[0]!r}")
    with explained_hub_errors(str(name), WeightsError), limited_patience():
        folder = Path(snapshot_download(str(name), allow_patterns=patterns, ignore_patterns=ignore, **download))
    _check_digests(folder)
    return folder


def _check_digests(folder: Path) -> None:
    """Make sure that a snapshot's weights are what the Hub announced; the client compares their sizes alone.

    Raises:
        WeightsError: A file is not; it is removed.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        # The cache calls large files by their SHA-256.
        file = path.resolve()
        if _DIGEST.fullmatch(file.name) and file_digest(file) != file.name:
            file.unlink()
            raise WeightsError(
                f"{path} is not what the Hub announced (another SHA-256), and was removed; fetch it again, and if that "
                "does not help, don't use it"
            )


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder, also where a killed save left it under another name; see `recover_folder`.

    A text that can't be a path is no folder.
    """
    try:
        return Path(path).is_dir() or recover_folder(Path(path))
    except (OSError, ValueError):
        return False


def commit_of(folder: Path) -> dict[str, str]:
    """`"repo"` and `"revision"` of a snapshot in the Hub's cache; empty for other folders."""
    cache = re.fullmatch(r"models--([\w.-]+?)--([\w.-]+)", folder.parent.parent.name)
    if cache is None or folder.parent.name != "snapshots" or not COMMIT.fullmatch(folder.name):
        return {}
    return {"repo": "/".join(cache.groups()), "revision": folder.name}


@contextmanager
def explained_hub_errors(repo_id: str, kind: type[SaveError] | type[WeightsError]) -> Iterator[None]:
    """The client's errors become one line that says what to do.

    Args:
        repo_id: The repository.
        kind: What to raise: `SaveError` for a push, `WeightsError` for a download.

    Raises:
        SaveError: The push failed.
        WeightsError: The download failed.
        InputError: The name given for a push is none.
    """
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
    except (AttributeError, KeyError, TypeError) as error:
        raise kind(f"{what}, and the Hub's answer makes no sense ({one_line(error)}); try again later") from error
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
    **dict.fromkeys((500, 502, 503, 504), "the Hub has a problem of its own; the same call resumes the upload later"),
}
