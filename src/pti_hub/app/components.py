"""Pieces of the page that gradio does not have."""

from __future__ import annotations

import html
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr
from gradio import component_meta

from pti_hub.app.tuning import Report


@contextmanager
def _without_interface_file() -> Iterator[None]:
    """Components are defined in here, since gradio writes an interface file (.pyi) beside the source of all others."""
    before = component_meta.create_or_modify_pyi
    component_meta.create_or_modify_pyi = lambda *_: None
    try:
        yield
    finally:
        component_meta.create_or_modify_pyi = before


# gradio writes pictures to the disk and shows the files. A value without `path` and `meta` is no file to it.
with _without_interface_file():

    class Picture(gr.Image):
        """Shows a picture by the address that `Pictures.put` gives."""

        is_template = True

        def postprocess(self, value: Any) -> Any:
            return None if value is None else {"url": value}

    class Comparison(gr.ImageSlider):
        """Shows two pictures by their addresses, with a handle between them."""

        is_template = True

        def postprocess(self, value: Any) -> Any:
            return None if value is None else [{"url": address} for address in value]

    class Slider(gr.Slider):
        """A slider whose number may be cleared to type another one, or be past the end."""

        is_template = True

        def preprocess(self, payload: float | None) -> float:
            return super().preprocess(min(max(payload or 0.0, self.minimum), self.maximum))


_STAGES = {"faces": "finding the face", "project": "finding a start", "tune": "learning the face", "drag": "dragging"}


def progress_bar(report: Report, place: int, count: int) -> str:
    """How far the work is, as HTML."""
    face = f"Face {place} of {count}: " if count > 1 else ""
    text = f"{face}{_STAGES.get(report.stage, report.stage)}"
    if report.stage != "faces":
        text += f", step {report.done} of at most {report.total}"
    if report.seconds_left is not None:
        text += f", at most {report.seconds_left:.0f} s left"
    if report.lpips is not None:
        text += f", LPIPS {report.lpips:.3f}"
    if report.distance is not None:
        text += f", {report.distance:.1f} px to go"
    share = report.done / report.total if report.stage != "faces" else 0
    return (
        f'<div class="pti-progress"><progress aria-label="Progress" max="1" value="{share:.3f}"></progress>'
        f"<p>{html.escape(text)}</p></div>"
    )


def link(address: str, text: str) -> str:
    """A link to a file of the server's memory, as HTML."""
    return f'<a class="pti-link" href="{html.escape(address)}" download>{html.escape(text)}</a>'


def note(text: str) -> str:
    """A message that screen readers announce, as HTML."""
    return f'<p class="pti-note">{html.escape(text)}</p>' if text else ""


def animation(address: str, media_type: str) -> str:
    """An animation with a link to its file, as HTML."""
    source, label = html.escape(address), "The face along the edit"
    shown = (
        f'<video src="{source}" aria-label="{label}" autoplay loop muted playsinline controls></video>'
        if media_type.startswith("video/")
        else f'<img src="{source}" alt="{label}">'
    )
    return f'<div class="pti-animation">{shown}</div>{link(address, "Download the animation")}'
