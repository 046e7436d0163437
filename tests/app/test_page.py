"""What happens at the page when a person does something, handler by handler."""

from __future__ import annotations

import io
import logging
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from support.needs import needs_models
from support.page import Page, uploaded

from pti_hub import Personalization, PTIPipeline
from pti_hub.app import Settings
from pti_hub.app.layout import ANYBODY
from pti_hub.app.page import build_page
from pti_hub.app.studio import WHOLE, Studio

Fetch = Callable[[Studio, str], bytes]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the server's folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(folder))
    return folder


@pytest.fixture
def page(studio: Studio) -> Page:
    return Page(studio)


def address_in(text: str) -> str:
    return text.partition('href="')[2].partition('"')[0]


def test_a_journey(page: Page, square: Path, tmp_path: Path, fetch: Fetch) -> None:
    ui, studio = page.ui, page.studio
    path = uploaded(tmp_path, square)
    opened = page.do("open", path)
    assert not Path(path).exists()
    assert opened[ui.file] is None
    assert opened[ui.choosing]["visible"]
    assert Image.open(io.BytesIO(fetch(studio, opened[ui.numbered]))).size == (200, 200)
    learned = page.do("learn", [])
    assert learned[ui.learning] == gr.update(visible=False)
    assert learned[ui.editing] == gr.update(visible=True)
    assert (learned[ui.who]["choices"], learned[ui.who]["value"]) == ([WHOLE], WHOLE)
    assert "Done: move a slider, or drag points of the face." in learned[ui.note]
    assert learned[ui.lines] == ""
    moved = page.do("slide", "smile", WHOLE, 1.5)
    assert moved[ui.lines] == "smile=1.5"
    assert Image.open(io.BytesIO(fetch(studio, moved[ui.face]))).size == (64, 64)
    assert ui.face not in page.do("slide", "smile", WHOLE, 1.5)  # nothing has to be painted
    compared = page.do("release", "smile", WHOLE, 2.0)
    assert studio.visits.of("a").lines == {WHOLE: ["smile=2"]}
    before, after = (fetch(studio, address) for address in compared[ui.compared])
    assert before != after
    assert "download>Download the photograph</a>" in compared[ui.download]
    assert fetch(studio, address_in(compared[ui.download])).startswith(b"\x89PNG")
    written = page.do("write", WHOLE, " age = -1 \n\npc0=0.5\n")
    assert written[ui.lines] == "age = -1\npc0=0.5"
    assert written[ui.sliders["age"]] == -1.0
    assert written[ui.sliders["smile"]] == 0.0
    reset = page.do("reset", WHOLE)
    assert [reset[ui.lines], *(reset[slider] for slider in ui.sliders.values())] == ["", 0.0, 0.0]
    assert len({fetch(studio, address) for address in reset[ui.compared]}) == 1


def test_saved_people_are_loaded_again(page: Page, square: Path, tmp_path: Path, fetch: Fetch) -> None:
    page.do("open", uploaded(tmp_path / "1", square))
    page.do("learn", [])
    saved = page.do("save", WHOLE)[page.ui.saved]
    content = fetch(page.studio, address_in(saved))
    assert zipfile.is_zipfile(io.BytesIO(content))
    (tmp_path / "saved.zip").write_bytes(content)
    other, path = Page(page.studio, "b"), uploaded(tmp_path / "2", tmp_path / "saved.zip", "ada.zip")
    met = other.do("load_archive", path)
    assert not Path(path).exists()
    assert (met[other.ui.archive_in], met[other.ui.who]["value"]) == (None, "subject")
    assert "Download the picture" in met[other.ui.download]
    assert list(page.studio.visits.of("a").portraits) == [WHOLE]


def test_a_folder_is_loaded(pipe: PTIPipeline, ada: Personalization, tmp_path: Path) -> None:
    ada.save_pretrained(tmp_path / "ada")
    page = Page(Studio(pipe, Settings(is_local=True)))
    met = page.do("load", str(tmp_path / "ada"))
    assert met[page.ui.who]["choices"] == ["subject"]
    again = page.do("load", str(tmp_path / "ada"))
    assert (again[page.ui.who]["choices"], again[page.ui.who]["value"]) == (["subject", "subject (2)"], "subject (2)")


def test_people_of_the_pipeline_are_there_from_the_start(pipe: PTIPipeline, ada: Personalization) -> None:
    page = Page(Studio(pipe, Settings()))
    assert page.do("enter") == {page.ui.who: gr.skip()}
    pipe.load_personalization(ada)
    other = Page(page.studio, "b")
    met = other.do("enter")
    assert met[other.ui.who]["choices"] == ["subject"]
    assert met[other.ui.source_of_style]["choices"] == [ANYBODY, "subject"]


@needs_models
def test_faces_are_chosen_by_clicks(face_studio: Studio, group_file: Path, tmp_path: Path) -> None:
    page = Page(face_studio)
    opened = page.do("open", uploaded(tmp_path / "1", group_file, "group.jpg"))
    assert "3 faces were found." in opened[page.ui.note]
    assert opened[page.ui.chosen]["value"] == []
    faces = face_studio.visits.of("a").faces

    def click(number: int, chosen: list[int]) -> list[int]:
        left, top, right, bottom = faces[number].box
        event = SimpleNamespace(index=[(left + right) // 2, (top + bottom) // 2])
        return list(page.do("click", event, chosen)[page.ui.chosen])

    assert click(2, []) == [2]
    assert click(0, [2]) == [0, 2]
    assert click(2, [0, 2]) == [0]
    assert page.do("click", SimpleNamespace(index=[1, 511]), [1])[page.ui.chosen] == [1]
    learned = page.do("learn", [0, 2])
    assert learned[page.ui.who]["choices"] == ["Face 0", "Face 2"]
    assert learned[page.ui.who]["visible"]
    # Who was learned from another photograph is gone with it.
    page.do("open", uploaded(tmp_path / "2", group_file, "again.jpg"))
    assert face_studio.visits.of("a").portraits == {}


def test_stopping(page: Page, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)
    page.do("open", uploaded(tmp_path, square))
    steps = page.steps("learn", [])
    first = next(steps)
    assert "finding the face" in first[page.ui.progress]
    assert first[page.ui.learning] == gr.update(visible=True)
    next(steps)
    assert "Stopping" in page.do("stop")[page.ui.progress]
    changed: dict[Any, Any] = {}
    for updates in steps:
        changed |= updates
    assert changed[page.ui.learning] == gr.update(visible=False)
    assert changed[page.ui.choosing] == gr.update(visible=True)
    assert "Stopped." in changed[page.ui.note]
    assert page.ui.who not in changed


def test_leaving_forgets(page: Page, square: Path, tmp_path: Path) -> None:
    page.do("open", uploaded(tmp_path, square))
    assert len(page.studio.pictures) == len(page.studio.visits) == 1
    page.events._leave(page.request)  # type: ignore[arg-type]
    assert len(page.studio.pictures) == len(page.studio.visits) == 0


def test_leaving_sweeps_what_gradio_leaves_of_uploads(page: Page, temporary: Path) -> None:
    long_ago = time.time() - 3600
    for name, content, is_old in (
        ("tmpold", b"", True),
        ("tmpnew", b"", False),
        ("tmpfull", b"1", True),
        ("other", b"", True),
    ):
        (temporary / name).write_bytes(content)
        if is_old:
            os.utime(temporary / name, (long_ago, long_ago))
    (temporary / "tmpfolder").mkdir()
    os.utime(temporary / "tmpfolder", (long_ago, long_ago))
    page.events._leave(page.request)  # type: ignore[arg-type]
    assert {path.name for path in temporary.iterdir()} == {"tmpnew", "tmpfull", "other", "tmpfolder"}


def test_a_file_that_is_no_picture_is_gone_too(page: Page, tmp_path: Path) -> None:
    path = uploaded(tmp_path)
    with pytest.raises(gr.Error, match=r"photo\.png' is not a picture in a known format") as caught:
        page.do("open", path)
    assert "\n" not in caught.value.message
    assert not Path(path).exists()
    archive = uploaded(tmp_path / "2", None, "ada.zip")
    with pytest.raises(gr.Error, match="is no ZIP file of a personalisation"):
        page.do("load_archive", archive)
    assert not Path(archive).exists()


def test_messages_name_no_folder_of_the_server(page: Page, tmp_path: Path) -> None:
    with pytest.raises(gr.Error) as caught:
        page.do("open", uploaded(tmp_path))
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize("handler", ["open", "load_archive"])
def test_a_path_that_was_not_uploaded_takes_nothing_with_it(
    page: Page, handler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # gradio lets the folder of all uploads pass for a file, and what is not there in it.
    memory, private = tmp_path / "memory", tmp_path / "memory" / "pti-hub-1-x"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(private))
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    theirs = uploaded(private)
    (memory / "of another program").touch()
    for path in (private / "x.png", private):
        with pytest.raises(gr.Error):
            page.do(handler, str(path))
        assert Path(theirs).exists()
        assert (memory / "of another program").exists()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("learn", [[]], "no photograph is open; open one first"),
        ("show", [None], "nobody is personalised yet"),
        ("write", ["Face 0", "smile"], "nobody is personalised yet"),
        ("write", ["Face 0", "frown"], "no edit is named 'frown'"),
        ("write", ["Face 0", "smile\n" * 41], "41 edits; expected at most 40"),
        ("reset", ["Face 0"], "nobody is personalised yet"),
        ("slide", ["smile", "Face 0", 1.0], "nobody is personalised yet"),
        ("release", ["smile", "Face 0", 1.0], "nobody is personalised yet"),
        ("save", [None], "nobody is personalised yet"),
        ("animate", [None, "smile", 1.0], "nobody is personalised yet"),
        ("publish", [None, "me/ada", "hf_x", True], "nobody is personalised yet"),
        ("load", [""], "no source; give a repository on the Hub"),
        ("load", ["/etc"], "'/etc' is no repository on the Hub"),
    ],
)
def test_errors_are_one_line_and_change_nothing(page: Page, name: str, arguments: list[Any], message: str) -> None:
    with pytest.raises(gr.Error) as caught:
        page.do(name, *arguments)
    assert caught.value.message.startswith(message)
    assert "\n" not in caught.value.message
    assert not caught.value.print_exception
    visit = page.studio.visits.of("a")
    assert (visit.lines, visit.portraits, len(page.studio.pictures)) == ({}, {}, 0)


def test_a_misspelt_edit_leaves_the_edits(page: Page, square: Path, tmp_path: Path) -> None:
    page.do("open", uploaded(tmp_path, square))
    page.do("learn", [])
    page.do("write", WHOLE, "smile=2")
    for text in ("smile=3\nfrown", "smile=much", "smile=nan"):
        with pytest.raises(gr.Error):
            page.do("write", WHOLE, text)
        assert page.studio.visits.of("a").lines == {WHOLE: ["smile=2"]}


def test_other_errors_tell_the_log_and_not_the_page(
    page: Page, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> None:
        raise RuntimeError("the secret")

    page.do("open", uploaded(tmp_path, square))
    monkeypatch.setattr("pti_hub.app.tuning.read_targets", fail)
    steps = page.steps("learn", [])
    changed: dict[Any, Any] = {}
    with pytest.raises(gr.Error) as caught:
        for updates in steps:
            changed |= updates
    assert caught.value.message == "this did not work (RuntimeError); the server's log says more"
    assert caught.value.__suppress_context__
    assert changed[page.ui.learning] == gr.update(visible=False)
    assert "RuntimeError: the secret" in capsys.readouterr().err


def test_remarks_are_shown(page: Page, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page.do("open", uploaded(tmp_path, square))
    page.do("learn", [])
    preview = page.studio.preview

    def remarking(*arguments: Any) -> str:
        logging.getLogger("pti_hub.x").warning("long", extra={"plain": "smile <goes> no further"})
        return preview(*arguments)

    monkeypatch.setattr(page.studio, "preview", remarking)
    moved = page.do("slide", "smile", WHOLE, 1.0)
    assert "smile &lt;goes&gt; no further" in moved[page.ui.note]


def test_every_event_has_its_components(pipe: PTIPipeline) -> None:
    for aligns in (False, True):
        pipe.aligns_faces = aligns
        built = build_page(Studio(pipe, Settings()))
        names = {component.elem_id for component in built.blocks.values() if component.elem_id}
        assert {"note", "opening", "learn", "stop", "edit-smile", "edit-age", "lines", "apply", "publish"} <= names
        connected = {target for fn in built.fns.values() for target in fn.targets}
        buttons = {block._id for block in built.blocks.values() if isinstance(block, gr.Button)}
        assert buttons <= {component for component, _ in connected}


def test_a_slider_speaks_for_itself_alone(page: Page, square: Path, tmp_path: Path) -> None:
    page.do("open", uploaded(tmp_path, square))
    page.do("learn", [])
    page.do("write", WHOLE, "smile=2")
    # The browser may not have heard of it yet when the next slider moves.
    assert page.do("slide", "age", WHOLE, 0.5)[page.ui.lines] == "smile=2\nage=0.5"


def test_an_edit_that_cant_be_made_is_undone(
    page: Page, square: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.do("open", uploaded(tmp_path, square))
    page.do("learn", [])
    page.do("write", WHOLE, "smile=2")

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for name, arguments in (
        ("slide", ["age", WHOLE, 1.0]),
        ("release", ["age", WHOLE, 1.0]),
        ("write", [WHOLE, "age"]),
    ):
        with monkeypatch.context() as patch, pytest.raises(gr.Error):
            patch.setattr("pti_hub.pipelines.portraits.apply_edits", fail)
            page.do(name, *arguments)
        assert page.studio.visits.of("a").lines[WHOLE] == ["smile=2"]


def test_messages_are_no_html(page: Page) -> None:
    with pytest.raises(gr.Error) as caught:
        page.do("load", "<img src=x>")
    assert "&lt;img src=x&gt;" in caught.value.message
