"""The page: what happens when a person does something."""

from __future__ import annotations

import functools
import gc
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from pti_hub.app.components import animation, link, note, progress_bar
from pti_hub.app.dragging import click, drag, keep, show_step, undo
from pti_hub.app.edit_lines import read_lines, strength_of
from pti_hub.app.handling import answering, undone
from pti_hub.app.layout import ANYBODY, SHARES, Layout, readable
from pti_hub.app.people import animate, archive, load, load_archive, mix, publish, welcome
from pti_hub.app.points import read_points, write_points
from pti_hub.app.studio import Studio, portrait_of
from pti_hub.app.tuning import Report
from pti_hub.app.uploads import sweep_uploads, taken
from pti_hub.app.visits import Visit
from pti_hub.edits import Drag
from pti_hub.images import save_image
from pti_hub.optim import reused_memory

_DEVICE: dict[str, Any] = {"concurrency_id": "device", "concurrency_limit": 1}
"""Events that compute wait for one another: one job at a time."""

Updates = dict[Any, Any]


def build_page(studio: Studio) -> gr.Blocks:
    """The page of a studio."""
    with gr.Blocks(title="PTI Hub", analytics_enabled=False, delete_cache=(60, 600)) as page:
        has_example = importlib.util.find_spec("skimage") is not None
        settings, faces = studio.settings, studio.pipe.aligns_faces
        layout = Layout(studio.edits, faces, settings.is_local, has_example)
        events = _Events(studio, layout)
        events.connect(page)
    return page


class _Events:
    """Handlers, which know a visit by gradio's session, and their connections."""

    def __init__(self, studio: Studio, layout: Layout) -> None:
        self.studio, self.layout = studio, layout

    def connect(self, page: gr.Blocks) -> None:
        """Connect components and handlers."""
        ui, on = self.layout, self._on
        page.load(on(self._enter), None, self._met(), **_DEVICE)
        page.unload(self._leave)
        opened = [ui.file, ui.camera, ui.opening, ui.numbered, ui.chosen, *self._met()]
        ui.file.upload(on(self._open), ui.file, opened, **_DEVICE)
        ui.camera.input(on(self._open), ui.camera, opened, **_DEVICE)
        ui.example.click(on(self._open_example), None, opened, **_DEVICE)
        ui.numbered.select(on(self._click), ui.chosen, ui.chosen, queue=False)
        ui.other.click(on(self._another), None, [ui.opening, ui.choosing, ui.note], queue=False)
        ui.learn.click(
            on(self._learn),
            ui.chosen,
            [ui.learning, ui.progress, ui.nearer, *self._met()],
            show_progress="hidden",
            **_DEVICE,
        )
        for stop in (ui.stop, ui.halt):
            stop.click(on(self._stop), None, [ui.progress, ui.way], queue=False)
        self._connect_edits()
        self._connect_drags()
        self._connect_people()

    def _met(self) -> list[Any]:
        """What changes when somebody becomes known."""
        ui = self.layout
        return [ui.note, ui.who, ui.choosing, ui.editing, ui.source_of_style, *self._edited()]

    def _edited(self) -> list[Any]:
        """What shows the edits of a face."""
        ui = self.layout
        return [ui.lines, *ui.sliders.values(), ui.points, ui.face, ui.compared, ui.download]

    def _connect_edits(self) -> None:
        ui, on = self.layout, self._on
        quiet: dict[str, Any] = {"show_progress": "hidden", **_DEVICE}
        shown = [ui.lines, ui.face, ui.note]
        whole = [ui.lines, ui.note, ui.compared, ui.face, ui.download]
        for name, slider in ui.sliders.items():
            # Each slider tells where it stands itself: others may not have followed yet.
            moved, released = (on(functools.partial(do, name)) for do in (self._slide, self._release))
            slider.input(moved, [ui.who, slider], shown, trigger_mode="always_last", **quiet)
            slider.release(released, [ui.who, slider], whole, trigger_mode="always_last", **quiet)
        everything = [*self._edited(), ui.note]
        ui.who.input(on(self._show), ui.who, everything, **quiet)
        ui.apply.click(on(self._write), [ui.who, ui.lines], everything, **quiet)
        ui.lines.submit(on(self._write), [ui.who, ui.lines], everything, **quiet)
        ui.reset.click(on(self._reset), ui.who, everything, **quiet)

    def _connect_drags(self) -> None:
        ui, on = self.layout, self._on
        quiet: dict[str, Any] = {"show_progress": "hidden", **_DEVICE}
        at_once: dict[str, Any] = {"queue": False, "show_progress": "hidden", "trigger_mode": "multiple"}
        pointed = [ui.points, ui.face]
        ui.face.select(on(self._point), ui.who, [ui.dragging, *pointed], **at_once)
        ui.dragging.expand(on(self._prepare), None, None, **quiet)
        for typed in (ui.points.submit, ui.points.blur):
            typed(on(self._write_points), [ui.who, ui.points], pointed, **at_once)
        ui.clear.click(on(functools.partial(self._write_points, text="")), ui.who, pointed, **at_once)
        everything = [*self._edited(), ui.note]
        ui.drag.click(on(self._drag), [ui.who, ui.points], [ui.under_way, ui.way, ui.walked, *everything], **quiet)
        ui.undo.click(on(self._undo), ui.who, everything, **quiet)

    def _connect_people(self) -> None:
        ui, on = self.layout, self._on
        met = self._met()
        ui.load.click(on(self._load), ui.source, met, **_DEVICE)
        ui.archive_in.upload(on(self._load_archive), ui.archive_in, [ui.archive_in, *met], **_DEVICE)
        ui.save.click(on(self._save), ui.who, ui.saved, **_DEVICE)
        ui.mix.click(on(self._mix), [ui.who, ui.source_of_style, ui.share], [*self._edited(), ui.note], **_DEVICE)
        ui.animate.click(on(self._animate), [ui.who, ui.walked, ui.farthest], ui.animation, **_DEVICE)
        ui.publish.click(
            on(self._publish),
            [ui.who, ui.repository, ui.token, ui.private],
            [ui.published, ui.token],
            concurrency_id="hub",
        )

    # Coming and going

    def _enter(self, visit: Visit) -> Updates:
        loaded = self.studio.pipe.personalization
        if loaded is None:
            return {self.layout.who: gr.skip()}
        return self._meet(visit, welcome(self.studio, visit, loaded))

    def _leave(self, request: gr.Request) -> None:
        self.studio.visits.end(str(request.session_hash))
        sweep_uploads()
        gc.collect()
        with reused_memory():
            pass  # Leaving it gives the system back what is free.

    # A photograph

    def _open(self, visit: Visit, path: str | None) -> Updates:
        ui = self.layout
        if path is None:
            return {ui.note: gr.skip()}
        with taken(path) as file:
            self.studio.open(visit, file, file.name)
        address = self.studio.numbered(visit)
        labels = [(f"Face {i}", i) for i in range(len(visit.faces))]
        first = [0] if len(labels) == 1 else []
        known = list(visit.portraits)
        return {
            **(self._meet(visit, known) if known else {ui.editing: gr.update(visible=False)}),
            **{ui.file: None, ui.camera: None, ui.note: note(self._found(visit))},
            **{ui.opening: gr.update(visible=False), ui.numbered: address},
            ui.chosen: gr.update(choices=labels, value=first),
            ui.choosing: gr.update(visible=True, open=True),
        }

    def _found(self, visit: Visit) -> str:
        count = len(visit.faces)
        if not self.studio.pipe.aligns_faces:
            return ""
        return "One face was found." if count == 1 else f"{count} faces were found. Choose one or more."

    def _open_example(self, visit: Visit) -> Updates:
        from skimage.data import astronaut

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "astronaut.png"
            save_image(Image.fromarray(astronaut()), path)
            return self._open(visit, str(path))

    def _click(self, visit: Visit, event: gr.SelectData, chosen: list[int]) -> Updates:
        """A click on a face chooses it, or no longer if it was chosen."""
        x, y = (float(place) * visit.scale for place in event.index)
        for number, face in enumerate(visit.faces):
            left, top, right, bottom = face.box
            if left <= x < right and top <= y < bottom:
                chosen = [n for n in chosen if n != number] if number in chosen else sorted([*chosen, number])
        return {self.layout.chosen: chosen}

    def _another(self, visit: Visit) -> Updates:
        ui = self.layout
        return {ui.opening: gr.update(visible=True), ui.choosing: gr.update(visible=False), ui.note: ""}

    # Learning

    def _learn(self, visit: Visit, numbers: list[int]) -> Iterator[Updates]:
        ui, studio = self.layout, self.studio
        order, done = sorted(numbers) or [0], []
        start = Report(order[0], "faces")
        yield {
            ui.learning: gr.update(visible=True),
            ui.choosing: gr.update(visible=False),
            ui.nearer: gr.update(value=None, visible=False),
            ui.progress: progress_bar(start, 1, len(order)),
            ui.note: "",
        }
        try:
            for item in studio.learn(visit, numbers):
                if isinstance(item, str):
                    done.append(item)
                    continue
                updates: Updates = {ui.progress: progress_bar(item, order.index(item.face) + 1, len(order))}
                if item.picture is not None:
                    updates[ui.nearer] = gr.update(value=studio.show(visit, "nearer", item.picture), visible=True)
                yield updates
        except Exception:
            yield self._learned()
            raise
        said = "Stopped." if visit.stop.is_set() else ""
        yield {**self._learned(), ui.note: note(said)}
        if done and not visit.is_gone:
            yield {**self._meet(visit, done), ui.note: note(said or "Done: move a slider, or drag points of the face.")}

    def _learned(self) -> Updates:
        ui = self.layout
        return {ui.learning: gr.update(visible=False), ui.choosing: gr.update(visible=True)}

    def _stop(self, visit: Visit) -> Updates:
        visit.stop.set()
        said = note("Stopping after this step …")
        return {self.layout.progress: said, self.layout.way: said}

    # Editing

    def _meet(self, visit: Visit, new: Sequence[str]) -> Updates:
        """Show people who have just become known."""
        ui = self.layout
        return {
            ui.who: gr.update(choices=list(visit.portraits), value=new[0], visible=len(visit.portraits) > 1),
            ui.choosing: gr.update(open=False),
            ui.source_of_style: gr.update(choices=[ANYBODY, *visit.portraits]),
            ui.editing: gr.update(visible=True),
            **self._show(visit, new[0]),
        }

    def _show(self, visit: Visit, who: str) -> Updates:
        """Everything about one face."""
        sliders = self.layout.sliders
        updates = {**self._whole(visit, who), self.layout.points: write_points(visit.points.get(who, []))}
        return {**updates, **{slider: strength_of(visit.lines[who], name) for name, slider in sliders.items()}}

    def _whole(self, visit: Visit, who: str) -> Updates:
        """The edited photograph, and what was said and is written of its edits."""
        ui = self.layout
        with self.studio.remarks.heard() as heard:
            compared = self.studio.compare(visit, who)
        what = "photograph" if visit.is_home(who) else "picture"
        return {
            ui.lines: "\n".join(visit.lines[who]),
            ui.note: note("; ".join(heard)),
            ui.compared: (compared.before, compared.after),
            ui.face: compared.face,
            ui.download: link(compared.file, f"Download the {what}"),
        }

    def _slide(self, name: str, visit: Visit, who: str, strength: float) -> Updates:
        ui, before = self.layout, visit.lines.get(who)
        with undone(visit, who), self.studio.remarks.heard() as heard:
            lines = self.studio.slide(visit, who, name, strength)
            # If they are equal, the release of the slider came first.
            face = {} if lines == before else {ui.face: self.studio.preview(visit, who)}
        return {ui.lines: "\n".join(lines), ui.note: note("; ".join(heard)), **face}

    def _release(self, name: str, visit: Visit, who: str, strength: float) -> Updates:
        with undone(visit, who):
            self.studio.slide(visit, who, name, strength)
            return self._whole(visit, who)

    def _write(self, visit: Visit, who: str, text: str) -> Updates:
        lines = read_lines(text)
        self.studio.check(visit, lines)
        portrait_of(visit, who)
        with undone(visit, who):
            visit.lines[who] = lines
            return self._show(visit, who)

    def _reset(self, visit: Visit, who: str) -> Updates:
        portrait_of(visit, who)
        visit.lines[who] = []
        return self._show(visit, who)

    # Dragging

    def _point(self, visit: Visit, event: gr.SelectData, who: str) -> Updates:
        x, y = event.index
        click(self.studio, visit, who, (float(x), float(y)))
        return {self.layout.dragging: gr.update(open=True), **self._pointed(visit, who)}

    def _write_points(self, visit: Visit, who: str, text: str) -> Updates:
        portrait_of(visit, who)
        before, visit.points[who] = visit.points.get(who, []), read_points(text)
        # Whoever leaves the field may have changed nothing.
        return {self.layout.points: gr.skip()} if visit.points[who] == before else self._pointed(visit, who)

    def _pointed(self, visit: Visit, who: str) -> Updates:
        ui = self.layout
        return {ui.points: write_points(visit.points[who]), ui.face: self.studio.show_face(visit, who)}

    def _prepare(self, visit: Visit) -> None:
        """Do what the first drag would have to wait for while points are chosen."""
        _ = self.studio.pipe.principal_components

    def _drag(self, visit: Visit, who: str, text: str) -> Iterator[Updates]:
        ui, studio, found = self.layout, self.studio, None
        self._write_points(visit, who, text)
        yield {ui.under_way: gr.update(visible=True), ui.way: progress_bar(Report(0, "drag"), 1, 1), ui.note: ""}
        try:
            for item in drag(studio, visit, who):
                if isinstance(item, Drag):
                    found = item
                    continue
                updates: Updates = {ui.way: progress_bar(item, 1, 1)}
                if item.picture is not None:
                    updates[ui.face] = show_step(studio, visit, who, item.picture)
                yield updates
            if found is None:
                changed = {ui.face: studio.show_face(visit, who), ui.note: note("Stopped.")}
            else:
                changed = self._keep(visit, who, found)
        except Exception:
            yield {ui.under_way: gr.update(visible=False)}
            raise
        yield {ui.under_way: gr.update(visible=False), **changed}

    def _keep(self, visit: Visit, who: str, found: Drag) -> Updates:
        ui, name = self.layout, found.direction.name
        with undone(visit, who), self.studio.remarks.heard() as heard:
            keep(visit, who, found)
            updates = self._show(visit, who)
        said = "; ".join(heard) or f"Done: {name} is one more of the edits. {name}=0.5 would be half of it."
        walked = [(readable(name), name) for name in (*self.studio.edits, *visit.drags)]
        return {**updates, ui.note: note(said), ui.walked: gr.update(choices=walked)}

    def _undo(self, visit: Visit, who: str) -> Updates:
        undo(visit, who)
        return self._show(visit, who)

    # People

    def _load(self, visit: Visit, source: str) -> Updates:
        return self._meet(visit, load(self.studio, visit, source))

    def _load_archive(self, visit: Visit, path: str | None) -> Updates:
        if path is None:
            return {self.layout.note: gr.skip()}
        with taken(path) as file:
            return {self.layout.archive_in: None, **self._meet(visit, load_archive(self.studio, visit, file))}

    def _save(self, visit: Visit, who: str) -> Updates:
        address = archive(self.studio, visit, who)
        return {self.layout.saved: link(address, f"Download {who}")}

    def _mix(self, visit: Visit, who: str, source: str, share: str) -> Updates:
        line = mix(self.studio, visit, who, source, SHARES[share])
        return self._write(visit, who, "\n".join([*visit.lines[who], line]))

    def _animate(self, visit: Visit, who: str, name: str, farthest: float) -> Updates:
        return {self.layout.animation: animation(*animate(self.studio, visit, who, name, farthest))}

    def _publish(self, visit: Visit, who: str, repository: str, token: str, is_private: bool) -> Updates:
        address = publish(visit, who, repository, token, is_private)
        return {self.layout.published: note(f"Published: {address}"), self.layout.token: ""}

    def _on(self, handler: Callable[..., Any]) -> Callable[..., Any]:
        return answering(self.studio.visits, handler)
