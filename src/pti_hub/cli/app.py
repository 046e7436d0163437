"""The command-line application, and the options and functions that the commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from pti_hub.errors import printable
from pti_hub.pipelines import PRESETS

app = typer.Typer(
    help="Personalise a StyleGAN to a photograph and edit it.", no_args_is_help=True, pretty_exceptions_enable=False
)
Model = Annotated[str, typer.Option("--model", "-m", help="Pipeline: known checkpoint, folder or Hub id.")]
Preset = Annotated[str | None, typer.Option(help=f"Schedule, instead of the pipeline's own: {', '.join(PRESETS)}.")]
Align = Annotated[bool, typer.Option(help="Align faces as in FFHQ, unless they are aligned already.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.")]
Run = Annotated[
    Path | None, typer.Option(help="Folder for intermediate state; after a kill, the same command resumes.")
]
Device = Annotated[str | None, typer.Option(help="Device, such as cpu or cuda:1; by default the fastest.")]


def echo_untrusted(text: str) -> None:
    """Print text from a file or the Hub without control characters, which a terminal would obey."""
    typer.echo(printable(text))


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics on one line."""
    return ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
