"""From a name to a folder, here or on the Hub, and from its files to values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pti_hub.errors import InputError, WeightsError

# Nothing else is ever fetched: no code, no pickles.
_PATTERNS = ["*.json", "*.safetensors", "README.md"]


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
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(f"{name_or_path!s} is no folder here and could not be had from the Hub: {reason}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        WeightsError: The file is missing, damaged or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} is missing or damaged ({error}); {mend(path)}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object; {mend(path)}")
    return content


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is missing or damaged ({error}); {mend(path)}") from error


def mend(path: Path) -> str:
    """What to do about a damaged file, as the end of a sentence."""
    folder = path if path.is_dir() else path.parent
    return f"save or fetch it again (what the package itself built is rebuilt after: rm -r '{folder}')"


def read_config(cls: type, values: Mapping[str, Any], path: Path) -> Any:
    """An instance of a dataclass of hyper-parameters from what a file holds.

    Raises:
        WeightsError: A name is unknown, or a value is not of the right kind.
    """
    try:
        return cls(**values)
    except (TypeError, InputError) as error:
        raise WeightsError(f"{path} does not fit {cls.__name__}: {error}") from error
