"""The command line, called as a user calls it."""

from __future__ import annotations

import sys

import pytest

from pti_hub.cli import main


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """The exit code of `pti-hub` with these arguments."""
    monkeypatch.setattr(sys, "argv", ["pti-hub", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)
