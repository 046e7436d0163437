"""The command line, called as a user calls it."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from pti_hub.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `pti-hub` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["pti-hub", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


def run_script(script: Path, arguments: Sequence[str], folder: Path) -> None:
    """Run a script in a folder, as `python SCRIPT ARGUMENTS` does; for another process, whose state it changes."""
    os.chdir(folder)
    sys.argv = [str(script), *arguments]
    sys.path[0] = str(script.parent)
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise RuntimeError(f"{script.name} {' '.join(arguments)}: {end.code}") from None
