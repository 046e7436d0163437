"""The command line `pti-hub`."""

from __future__ import annotations

import sys

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


def main() -> None:
    """Run the command line; errors of this package print one line, without a traceback, and exit with code 1."""
    try:
        app()
    except PTIError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
