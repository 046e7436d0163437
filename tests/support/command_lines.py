"""Command lines as documents show them, parsed by the real commands and not run."""

from __future__ import annotations

import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import typer

from pti_hub.cli.commands import app
from support.places import ROOT


def understand(line: str, whole: bool) -> None:
    """Parse a command line; one that is not whole may lack its arguments.

    Raises:
        Exception: Of the command's own, where it does not understand the line.
    """
    program, *arguments = shlex.split(line, comments=True)
    command: Any = typer.main.get_command(app)
    if program == "python":
        script = ROOT / arguments.pop(0)
        sys.path.insert(0, str(script.parent))
        command = _application(script)
    try:
        with command.make_context(program, arguments) as context:
            # What a group of commands leaves over is one of them, with its arguments.
            if left := [*getattr(context, "_protected_args", []), *context.args]:
                name, inner, rest = command.resolve_command(context, left)
                inner.make_context(name, rest, parent=context)
    except Exception as error:
        if whole or type(error).__name__ != "MissingParameter":
            # The command's own errors can't be sent to another process.
            raise ValueError(f"{line}: {error}") from None


def _application(path: Path) -> Any:
    """The command line of a script: its `app`, or the function that it gives to `typer.run`."""
    found = runpy.run_path(str(path), run_name="shown")
    if "app" in found:
        return typer.main.get_command(found["app"])
    called = re.search(r"typer\.run\((\w+)\)", path.read_text(encoding="utf-8"))
    assert called is not None
    single = typer.Typer()
    single.command()(found[called[1]])
    return typer.main.get_command(single)
