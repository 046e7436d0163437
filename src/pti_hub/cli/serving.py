"""Command that opens the page: app."""

from __future__ import annotations

from typing import Annotated

import typer

from pti_hub.app import serve
from pti_hub.cli.app import Device, Edits, Model, Preset, TextModel, add_edits, app
from pti_hub.pipelines import DEFAULT_CHECKPOINT, PTIPipeline


@app.command("app")
def page(
    model: Model = DEFAULT_CHECKPOINT,
    person: Annotated[str | None, typer.Option(help="Saved personalisation to begin with: folder or Hub id.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 is reached from other machines.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Port; the first free one from 7860 on by default.")] = None,
    share: Annotated[
        bool, typer.Option(help="Open a public address at Hugging Face, through which all pictures then go.")
    ] = False,
    auth: Annotated[
        str | None, typer.Option(help="NAME:PASSWORD that the page asks for.", envvar="PTI_HUB_AUTH")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
    preset: Preset = None,
    more_edits: Edits = None,
    text_model: TextModel = None,
    device: Device = None,
) -> None:
    """Open a page on which a photograph becomes a face with sliders.

    Everything happens on this machine, and nothing leaves it unless you publish or share.
    """
    pipe = PTIPipeline.from_pretrained(model, preset=preset, device=device)
    add_edits(pipe, more_edits, text_model)
    if person is not None:
        pipe.load_personalization(person)
    serve(pipe, host=host, port=port, share=share, auth=auth, opens_browser=browser)
