"""The command-line application, and the options and functions that the commands share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from pti_hub.edits import Direction, LatentMapper, load_edits
from pti_hub.edits.catalogue import CONFIG_NAME
from pti_hub.edits.learning import DEFAULT_TEXT_MODEL
from pti_hub.errors import printable
from pti_hub.images import STILL
from pti_hub.pipelines import PRESETS, PTIPipeline
from pti_hub.storage import check_replaceable

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
Edits = Annotated[
    list[Path] | None,
    typer.Option("--edits", help="Folder of further edits, as written by pti-hub learn-edit or convert."),
]
TextModel = Annotated[
    str | None,
    typer.Option(help=f"Hub id or folder of the model for edits in words; else {DEFAULT_TEXT_MODEL}."),
]
Device = Annotated[str | None, typer.Option(help="Device, such as cpu or cuda:1; by default the fastest.")]


def add_edits(pipe: PTIPipeline, folders: Sequence[Path] | None, text_model: str | None) -> None:
    """Make the edits of some folders known to a pipeline, and the text model that it is to ask."""
    for folder in folders or []:
        pipe.edits |= load_edits(folder)
    pipe.text_model = text_model or pipe.text_model


def edits_in(folder: Path) -> dict[str, Direction | LatentMapper]:
    """The edits of a folder that one more is to be added to; none if it is new.

    Raises:
        InputError: The folder holds something else.
    """
    check_replaceable(folder, CONFIG_NAME)
    return load_edits(folder) if (folder / CONFIG_NAME).is_file() else {}


def picture_suffix(photo: Path) -> str:
    """The suffix of what is written for a photograph; formats that can't be written become PNG."""
    return photo.suffix if photo.suffix.lower() in STILL else ".png"


def echo_untrusted(text: str) -> None:
    """Print text from a file or the Hub without control characters, which a terminal would obey."""
    typer.echo(printable(text))


def format_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics on one line."""
    return ", ".join(f"{key} {value:.4f}" for key, value in metrics.items())
