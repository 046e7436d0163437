"""The command line `pti-hub`."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import NoReturn

import typer

from pti_hub.cli import dragging, editing, learning, models, personalizing, serving, sharing, weights
from pti_hub.cli.app import app
from pti_hub.errors import PTIError

__all__ = [
    "app",
    "dragging",
    "editing",
    "learning",
    "main",
    "models",
    "personalizing",
    "serving",
    "sharing",
    "weights",
]


_INTERRUPTED, _TERMINATED = 130, 143


def main() -> None:
    """Run the command line.

    Errors of this package print one line, without a traceback, and exit with code 1. Ctrl-C exits with code 130 and
    SIGTERM with 143; both leave no half-written file.
    """
    # By default SIGTERM ends the process before it can clean up.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        app()
    except PTIError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
    except SystemExit as end:
        if end.code in (_INTERRUPTED, _TERMINATED):
            typer.echo("stopped", err=True)
        raise


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    sys.exit(_TERMINATED)
