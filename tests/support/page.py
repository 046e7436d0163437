"""A page without a browser."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr

from pti_hub.app.layout import Layout
from pti_hub.app.page import _Events
from pti_hub.app.studio import Studio


class Page:
    """A page of a studio, as gradio calls it.

    Attributes:
        ui: Its components.
    """

    def __init__(self, studio: Studio, key: str = "a") -> None:
        self.studio, self.request = studio, SimpleNamespace(session_hash=key)
        with gr.Blocks():
            self.ui = Layout(studio.edits, studio.pipe.aligns_faces, True, False)
        self.events = _Events(studio, self.ui)

    def steps(self, name: str, *arguments: Any) -> Iterator[dict[Any, Any]]:
        """What changes by an event, step by step."""
        handle = getattr(self.events, f"_{name}")
        if name in ("slide", "release"):
            handle, arguments = functools.partial(handle, arguments[0]), arguments[1:]
        handler = self.events._on(handle)
        if inspect.isgeneratorfunction(handler):
            yield from handler(self.request, *arguments)
        else:
            yield handler(self.request, *arguments)

    def do(self, name: str, *arguments: Any) -> dict[Any, Any]:
        """What changes by an event, at last."""
        changed: dict[Any, Any] = {}
        for updates in self.steps(name, *arguments):
            changed |= updates
        return changed


def uploaded(folder: Path, source: Path | None = None, name: str = "photo.png") -> str:
    """A file in a folder of its own, as gradio puts it."""
    place = Path(os.environ["GRADIO_TEMP_DIR"]) / hashlib.sha256(str(folder).encode()).hexdigest()
    place.mkdir(parents=True)
    (place / name).write_bytes(b"no picture" if source is None else source.read_bytes())
    return str(place / name)
