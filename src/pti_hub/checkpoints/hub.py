"""From a name to a folder, here or on the Hub, from its files to values, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from huggingface_hub import ModelHubMixin, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pti_hub.errors import WeightsError
from pti_hub.files import replaced_folder

# Nothing else is ever fetched: no code, no pickles.
_PATTERNS = ["*.json", "*.safetensors", "README.md"]


class HubFolder(ModelHubMixin):
    """What is saved as a folder and published as a Hub repository; the card is made anew at each save."""

    _marker: ClassVar[str]
    """The file by which a folder of this kind is known."""
    _owned: ClassVar[frozenset[str]]
    """Names in such a folder that are ours to replace."""

    def save_pretrained(
        self, save_directory: str | Path, *, push_to_hub: bool = False, repo_id: str | None = None, **push: Any
    ) -> str | None:
        """Write a folder that needs no network and no code but this package's.

        What was there stays whole until the new folder is complete; what others put there is carried over.

        Args:
            save_directory: The folder.
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
            super().save_pretrained(folder)
        return self.push_to_hub(repo_id or Path(save_directory).name, **push) if push_to_hub else None

    def push_to_hub(self, repo_id: str, *, private: bool | None = True, **kwargs: Any) -> str:
        """Upload to a Hub repository, private unless asked otherwise; arguments as in huggingface-hub's mixin."""
        return str(super().push_to_hub(repo_id, private=private, **kwargs))


def fetch_folder(name_or_path: str | Path, **download: Any) -> Path:
    """A local folder of that name, or the snapshot of a Hub repository.

    Args:
        name_or_path: Folder, or repository id.
        **download: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download` of `snapshot_download`.

    Returns:
        The folder.

    Raises:
        WeightsError: Neither is there, or the Hub can't be reached.
    """
    folder = Path(name_or_path)
    if folder.is_dir():
        return folder
    try:
        return Path(snapshot_download(str(name_or_path), allow_patterns=_PATTERNS, **download))
    except HFValidationError as error:
        raise WeightsError(f"{name_or_path!s} is neither a folder nor a Hub id such as 'me/model'") from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise WeightsError(
            f"{name_or_path!s} is no folder here and could not be had from the Hub: {one_line(error)}"
        ) from error


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
        content = json.loads(path.read_text(encoding="utf-8"))
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


def one_line(error: Exception) -> str:
    """An error's message on one line, not too long."""
    return " ".join(str(error).split())[:200] or type(error).__name__
