"""The page's components, from top to bottom."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gradio as gr

from pti_hub.app.components import Comparison, Picture, Slider
from pti_hub.app.edit_lines import STRONGEST
from pti_hub.edits.catalogue import GROUPS

_COLUMNS = (("Expression",), ("Age and features",), ("Hair", "Head"))
"""Groups of edits; what is in no group has a column of its own."""

ANYBODY = "a random face"

SHARES = {"Everything": (0.0, 1.0), "Features": (0.25, 0.5), "Colours": (0.5, 1.0)}
"""Of which share of a generator's layers, from coarse to fine, a style is mixed in."""

_HEIGHT = 460

_PRIVACY = (
    "What is published: the weights that were learned and the latents of the face, with which anybody who may see the "
    "repository can paint this face. The photograph itself is not published. Without the tick below everybody may see "
    "it. The token is used once and not kept."
)


class Layout:
    """The components that events read and write.

    Args:
        edits: Names of the edits that have a slider.
        has_faces: Whether photographs are of faces, which can be chosen.
        is_local: Whether everyone at the page works on this machine.
        has_example: Whether there is a photograph to try the page with.

    Attributes:
        sliders: By the name of the edit.
    """

    def __init__(self, edits: Sequence[str], has_faces: bool, is_local: bool, has_example: bool) -> None:
        self.sliders: dict[str, gr.Slider] = {}
        where = "on this machine" if is_local else "on this server"
        gr.Markdown(
            "# PTI Hub\nEdit a face in your own photograph. "
            f"It stays {where}, and is forgotten when you close the page."
        )
        self.note = gr.HTML("", elem_id="note")
        self._opening(has_example)
        self._choosing(has_faces)
        self._learning()
        with gr.Column(visible=False, elem_id="editing") as self.editing:
            self.who = gr.Radio([], label="3. Who is edited", elem_id="who")
            self._comparing()
            self._dragging()
            self._sliding(edits)
        self._keeping(edits, is_local)

    def _opening(self, has_example: bool) -> None:
        with gr.Column(elem_id="opening") as self.opening:
            self.file = gr.File(
                label="1. Photograph: drop it here, or click to choose it", file_types=["image", ".heic", ".heif"]
            )
            self.example = gr.Button("Try it with an example", visible=has_example, elem_id="example")
            with gr.Accordion("Take a picture with the camera", open=False):
                self.camera = gr.Image(sources=["webcam"], type="filepath", image_mode=None, label="Camera")

    def _choosing(self, has_faces: bool) -> None:
        with gr.Accordion("Photograph and faces", visible=False, elem_id="choosing") as self.choosing:
            hint = "Click the faces to edit" if has_faces else "The picture"
            self.numbered = _picture(hint, 420, "numbered")
            self.chosen = gr.CheckboxGroup([], label="2. Faces to personalise", visible=has_faces, elem_id="chosen")
            with gr.Row():
                self.learn = gr.Button("Personalise", variant="primary", elem_id="learn")
                self.other = gr.Button("Another photograph", elem_id="other")

    def _learning(self) -> None:
        with gr.Column(visible=False, elem_id="learning") as self.learning:
            self.progress = gr.HTML("", elem_id="progress")
            self.nearer = _picture("The generator's picture", 260, "nearer", visible=False)
            self.stop = gr.Button("Stop", variant="stop", elem_id="stop")

    def _comparing(self) -> None:
        with gr.Row():
            with gr.Column(min_width=320):
                self.compared = Comparison(
                    label="Before and after",
                    interactive=False,
                    buttons=["fullscreen"],
                    height=_HEIGHT,
                    max_height=_HEIGHT,
                    elem_id="compared",
                )
                self.download = gr.HTML("", elem_id="download")
            with gr.Column(min_width=320, elem_id="beside"):
                self.face = _picture("The face alone", _HEIGHT, "face")

    def _dragging(self) -> None:
        with gr.Accordion("Drag points of the face", open=False, elem_id="dragging") as self.dragging:
            self.points = gr.Textbox(
                label="Points, from where > to where",
                info="Click on the face: first what is to move, then where it is to go. A point clicked twice stays.",
                placeholder="412,640>430,600; 500,640>490,600",
                elem_id="points",
            )
            with gr.Row():
                self.drag = gr.Button("Drag", variant="primary", min_width=80, elem_id="drag")
                self.undo = gr.Button("Undo", min_width=80, elem_id="undo")
                self.clear = gr.Button("Clear points", min_width=150, elem_id="clear")
            with gr.Column(visible=False) as self.under_way:
                self.way = gr.HTML("", elem_id="way")
                self.halt = gr.Button("Stop", variant="stop", elem_id="halt")

    def _sliding(self, edits: Sequence[str]) -> None:
        known = {name for names in GROUPS.values() for name in names}
        others = {"More": tuple(name for name in edits if name not in known)}
        with gr.Row():
            for groups in (*({title: GROUPS[title] for title in column} for column in _COLUMNS), others):
                there = {title: [name for name in names if name in edits] for title, names in groups.items()}
                if any(there.values()):
                    with gr.Column(min_width=260):
                        self._groups(there)
            with gr.Column(min_width=260):
                self.lines = gr.Textbox(
                    label="Edits, in order",
                    info="One per line, by name or in words: smile=1.5, pose=10deg, mix:seed42, a person with a beard",
                    lines=4,
                    max_lines=12,
                    elem_id="lines",
                )
                with gr.Row():
                    self.apply = gr.Button("Apply", variant="primary", min_width=80, elem_id="apply")
                    self.reset = gr.Button("Reset", min_width=80, elem_id="reset")

    def _groups(self, groups: Mapping[str, Sequence[str]]) -> None:
        for title, names in groups.items():
            if names:
                with gr.Accordion(title):
                    for name in names:
                        self.sliders[name] = Slider(
                            *(-STRONGEST, STRONGEST, 0.0), step=0.1, label=readable(name), elem_id=f"edit-{name}"
                        )

    def _keeping(self, edits: Sequence[str], is_local: bool) -> None:
        with gr.Accordion("People: load, save, mix, animate, publish", open=False, elem_id="people"):
            with gr.Tab("Load"):
                sources = "Repository on the Hub, or a folder" if is_local else "Repository on the Hub"
                self.source = gr.Textbox(label=sources, placeholder="me/ada", elem_id="source")
                self.load = gr.Button("Load", elem_id="load")
                self.archive_in = gr.File(label="Or a ZIP file that was saved here", file_types=[".zip"])
            with gr.Tab("Save"):
                gr.Markdown("A ZIP file of about 12 MB with what was learned, without the photograph.")
                self.save = gr.Button("Save who is edited", elem_id="save")
                self.saved = gr.HTML("")
            with gr.Tab("Mix"):
                gr.Markdown("The style of somebody else, as one more edit of who is edited.")
                self.source_of_style = gr.Dropdown([ANYBODY], value=ANYBODY, label="Whose", elem_id="whose")
                self.share = gr.Radio(list(SHARES), value="Colours", label="What", elem_id="share")
                self.mix = gr.Button("Mix", elem_id="mix")
            with gr.Tab("Animate"):
                names = [(readable(name), name) for name in edits]
                self.walked = gr.Dropdown(names, label="Edit", value=edits[0] if edits else None, elem_id="walked")
                self.farthest = Slider(0.5, STRONGEST, 1.5, step=0.5, label="As far as", elem_id="farthest")
                self.animate = gr.Button("Animate", elem_id="animate")
                self.animation = gr.HTML("")
            with gr.Tab("Publish"):
                gr.Markdown(_PRIVACY)
                self.repository = gr.Textbox(label="Repository", placeholder="me/ada", elem_id="repository")
                self.token = gr.Textbox(
                    label="Token with write access", type="password", html_attributes=_no_memory(), elem_id="token"
                )
                self.private = gr.Checkbox(True, label="Private: only you may see it", elem_id="private")
                self.publish = gr.Button("Publish who is edited", elem_id="publish")
                self.published = gr.HTML("")


def readable(name: str) -> str:
    """An edit's name as a label."""
    return name.replace("_", " ").capitalize()


def _picture(label: str, height: int, elem_id: str, visible: bool = True) -> Picture:
    return Picture(label=label, interactive=False, buttons=[], height=height, elem_id=elem_id, visible=visible)


def _no_memory() -> gr.InputHTMLAttributes:
    return gr.InputHTMLAttributes(autocomplete="off", spellcheck=False)
