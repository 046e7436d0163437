"""Points of a face dragged at the page, and what becomes of the drag."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest
import torch
from PIL import Image
from support.page import Page
from support.pictures import same

from pti_hub import InputError, Personalization
from pti_hub.app import dragging
from pti_hub.app.dragging import click, drag, keep, undo
from pti_hub.app.people import animate, welcome
from pti_hub.app.points import MOST_POINTS
from pti_hub.app.studio import WHOLE, Studio
from pti_hub.app.tuning import Report
from pti_hub.app.visits import Visit
from pti_hub.edits import Direction, Drag, Edit

Fetch = Callable[[Studio, str], bytes]
POINTS = [(20.0, 30.0), (24.0, 28.0)]


@pytest.fixture(autouse=True)
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of every step."""
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)


@pytest.fixture
def met(studio: Studio, visit: Visit, square: Path) -> Visit:
    """A visit with somebody whose face is shown."""
    studio.open(visit, square, "a.png")
    list(studio.learn(visit, []))
    studio.compare(visit, WHOLE)
    return visit


@pytest.fixture
def page(studio: Studio, met: Visit) -> Page:
    return Page(studio)


def dragged(studio: Studio, visit: Visit, who: str = WHOLE, points: Any = POINTS) -> Drag:
    """What a drag finds, which is kept."""
    visit.points[who] = points
    *reports, found = drag(studio, visit, who)
    assert isinstance(found, Drag)
    assert all(isinstance(report, Report) for report in reports)
    keep(visit, who, found)
    return found


def found(name: str, *distances: float) -> Drag:
    return Drag(Direction(name, torch.ones(16)), [], list(distances), [left < 1.5 for left in distances], 3)


def picture_at(studio: Studio, fetch: Fetch, address: str) -> Image.Image:
    return Image.open(io.BytesIO(fetch(studio, address))).convert("RGB")


def is_at_work() -> bool:
    return any(thread.name == "pti-hub-learning" for thread in threading.enumerate())


def test_a_drag_becomes_one_more_edit(studio: Studio, met: Visit, fetch: Fetch) -> None:
    studio.slide(met, WHOLE, "smile", 1.0)
    before = picture_at(studio, fetch, studio.compare(met, WHOLE).face)
    met.points[WHOLE] = POINTS
    items = list(drag(studio, met, WHOLE))
    steps = [item for item in items if isinstance(item, Report)]
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    for step in steps:
        assert (step.stage, step.lpips) == ("drag", None)
        assert step.distance is not None
        assert step.picture is not None
        assert step.picture.size == (64, 64)
    assert isinstance(items[-1], Drag)
    assert met.lines[WHOLE] == ["smile=1"]  # nothing is kept yet
    keep(met, WHOLE, items[-1])
    assert met.lines[WHOLE] == ["smile=1", "drag1=1"]
    assert met.points == {}
    after = picture_at(studio, fetch, studio.compare(met, WHOLE).face)
    assert not same(before, after)
    edits = ["smile=1", Edit(items[-1].direction)]
    assert same(met.made[WHOLE].picture, studio.pipe.edit(met.portraits[WHOLE].personalization, edits)[0])


def test_a_drag_starts_from_the_face_as_it_is(studio: Studio, met: Visit) -> None:
    first = dragged(studio, met)
    second = dragged(studio, met)
    assert met.lines[WHOLE] == ["drag1=1", "drag2=1"]
    assert not torch.equal(first.direction.vector, second.direction.vector)
    assert [edit.direction.name for edit in studio.check(met, met.lines[WHOLE])] == ["drag1", "drag2"]  # type: ignore[union-attr]


def test_its_strength_can_be_written(studio: Studio, met: Visit, page: Page) -> None:
    direction = dragged(studio, met).direction
    for line, strength in (("drag1", 1.0), ("drag1=0.5", 0.5), (" drag1 = -2 ", -2.0)):
        page.do("write", WHOLE, line)
        (edit,) = studio.check(met, met.lines[WHOLE])
        assert isinstance(edit, Edit)
        assert edit.direction is direction
        assert edit.strength == strength
    for line in ("drag1=much", "drag1=", "drag1=nan", "drag2=1"):
        with pytest.raises(gr.Error) as caught:
            page.do("write", WHOLE, line)
        assert "\n" not in caught.value.message
    assert met.lines[WHOLE] == ["drag1 = -2"]


def test_everything_else_goes_on_working(studio: Studio, met: Visit, page: Page, fetch: Fetch) -> None:
    dragged(studio, met)
    moved = page.do("slide", "smile", WHOLE, 1.0)
    assert moved[page.ui.lines] == "drag1=1\nsmile=1"
    page.do("release", "smile", WHOLE, 1.0)
    for name in ("smile", "drag1"):
        address, _ = animate(studio, met, WHOLE, name, 1.0)
        assert fetch(studio, address)
    assert page.do("save", WHOLE)
    assert page.do("reset", WHOLE)[page.ui.lines] == ""


def test_somebody_else_gets_the_same_drag(studio: Studio, met: Visit, ada: Personalization) -> None:
    welcome(studio, met, ada)
    dragged(studio, met)
    met.lines["subject"] = ["drag1=1"]
    assert studio.compare(met, "subject").face
    met.close_photograph()
    assert studio.compare(met, "subject").face


def test_nobody_elses_drags_are_known(studio: Studio, met: Visit, ada: Personalization) -> None:
    other = studio.visits.of("b")
    welcome(studio, other, ada)
    dragged(studio, met)
    with pytest.raises(InputError, match="no edit is named 'drag1'"):
        studio.check(other, ["drag1=1"])
    assert (other.drags, other.points) == ({}, {})
    mine = met.drags["drag1"]
    studio.compare(other, "subject")
    dragged(studio, other, "subject")
    assert met.drags["drag1"] is mine
    assert other.drags["drag1"] is not mine
    studio.visits.end(met.key)
    assert (met.drags, met.points, met.shown) == ({}, {}, None)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "no points yet; click on the face"),
        (POINTS[:1], "point 1 has no target yet"),
        ([(20.0, 30.0), (20.0, 300.0)], r"point \(20, 300\) lies outside the face's square of 64×64 px"),
        ([(20.0, 30.0), (20.0, 30.0)], "every point lies on its target"),
        ([*POINTS, (20.0, 30.0), (1.0, 1.0)], "is dragged to two places"),
    ],
)
def test_points_that_cant_be_dragged(studio: Studio, met: Visit, points: Any, message: str) -> None:
    met.points[WHOLE] = points
    with pytest.raises(InputError, match=message):
        list(drag(studio, met, WHOLE))
    assert (met.lines[WHOLE], met.points[WHOLE], met.drags) == ([], points, {})


def test_there_are_so_many_edits_at_most(studio: Studio, met: Visit) -> None:
    met.lines[WHOLE], met.points[WHOLE] = ["smile=1"] * 40, POINTS
    with pytest.raises(InputError, match="41 edits; expected at most 40"):
        list(drag(studio, met, WHOLE))


def test_a_stop_leaves_everything_as_it_was(studio: Studio, met: Visit, page: Page, fetch: Fetch) -> None:
    page.do("write", WHOLE, "smile=1")
    written = page.do("point", SimpleNamespace(index=[20, 30]), WHOLE)
    before = picture_at(studio, fetch, written[page.ui.face])
    steps = page.steps("drag", WHOLE, "20,30>60,3")
    assert next(steps)[page.ui.under_way] == gr.update(visible=True)
    assert "step 1 of at most 20" in next(steps)[page.ui.way]
    assert "Stopping" in page.do("stop")[page.ui.way]
    changed: dict[Any, Any] = {}
    for updates in steps:
        changed |= updates
    assert changed[page.ui.under_way] == gr.update(visible=False)
    assert "Stopped." in changed[page.ui.note]
    assert page.ui.lines not in changed
    assert (met.lines[WHOLE], met.drags, met.points[WHOLE]) == (["smile=1"], {}, [(20, 30), (60, 3)])
    assert not is_at_work()
    page.do("write_points", WHOLE, "20,30>")
    assert same(picture_at(studio, fetch, studio.show_face(met, WHOLE)), before)
    assert dragged(studio, met)  # to stop is for once


def test_a_page_that_is_closed_ends_its_drag(studio: Studio, met: Visit) -> None:
    met.points[WHOLE] = [(20.0, 30.0), (60.0, 3.0)]
    items = drag(studio, met, WHOLE)
    next(items)
    assert is_at_work()
    studio.visits.end(met.key)
    assert list(items) == []
    assert not is_at_work()


def test_whoever_closes_it_stops_the_work(studio: Studio, met: Visit, renderings: list[set[int]]) -> None:
    met.points[WHOLE] = [(20.0, 30.0), (60.0, 3.0)]
    items = drag(studio, met, WHOLE)
    next(items)
    items.close()  # type: ignore[attr-defined]
    assert not is_at_work()
    studio.compare(met, WHOLE)
    assert renderings == []


def test_a_journey(page: Page, met: Visit, fetch: Fetch) -> None:
    ui, studio = page.ui, page.studio
    plain = picture_at(studio, fetch, studio.show_face(met, WHOLE))
    first = page.do("point", SimpleNamespace(index=[20, 30]), WHOLE)
    assert (first[ui.points], first[ui.dragging]) == ("20,30>", gr.update(open=True))
    second = page.do("point", SimpleNamespace(index=[24, 28]), WHOLE)
    assert second[ui.points] == "20,30>24,28"
    pictures = [plain, *(picture_at(studio, fetch, updates[ui.face]) for updates in (first, second))]
    assert not any(same(a, b) for a, b in itertools.pairwise(pictures))
    # Whoever leaves the field without a change changes nothing.
    assert ui.face not in page.do("write_points", WHOLE, "20,30>24,28")
    result = page.do("drag", WHOLE, "20,30>24,28")
    assert (result[ui.lines], result[ui.points]) == ("drag1=1", "")
    assert result[ui.under_way] == gr.update(visible=False)
    assert "drag1 is one more of the edits" in result[ui.note] or "goes no further" in result[ui.note]
    assert ("Drag1", "drag1") in result[ui.walked]["choices"]
    assert len({fetch(studio, address) for address in result[ui.compared]}) == 2
    undone = page.do("undo", WHOLE)
    assert undone[ui.lines] == ""
    assert same(picture_at(studio, fetch, undone[ui.face]), plain)
    assert page.do("write", WHOLE, "drag1=0.5")[ui.lines] == "drag1=0.5"  # its name is still known
    with pytest.raises(gr.Error, match=f"no edit of {WHOLE} is a drag"):
        [page.do("undo", WHOLE) for _ in range(2)]


def test_points_are_cleared(page: Page, met: Visit) -> None:
    page.do("write_points", WHOLE, "20,30>24,28; 5,5>")
    assert page.do("write_points", WHOLE, "")[page.ui.points] == ""
    assert met.points[WHOLE] == []


def test_points_belong_to_a_face(page: Page, met: Visit, ada: Personalization) -> None:
    welcome(page.studio, met, ada)
    page.do("write_points", WHOLE, "20,30>24,28")
    assert page.do("show", "subject")[page.ui.points] == ""
    assert page.do("show", WHOLE)[page.ui.points] == "20,30>24,28"
    met.close_photograph()
    assert met.points == {}


def test_points_in_pixels_of_the_face_whatever_is_shown(studio: Studio, met: Visit) -> None:
    studio.show_face(met, WHOLE, Image.new("RGB", (32, 32)))
    click(studio, met, WHOLE, (10, 31))
    assert met.points[WHOLE] == [(20, 62)]
    studio.show_face(met, WHOLE, Image.new("RGB", (64, 64)))
    click(studio, met, WHOLE, (10, 31))
    assert met.points[WHOLE] == [(20, 62), (10, 31)]


def test_errors_are_one_line_and_change_nothing(page: Page, met: Visit) -> None:
    nobody = SimpleNamespace(index=[1, 1])
    tries: list[tuple[str, tuple[Any, ...], str]] = [
        ("point", (nobody, "Face 7"), "nobody is personalised yet"),
        ("write_points", ("Face 7", ""), "nobody is personalised yet"),
        ("write_points", (WHOLE, "here"), "points 'here'; expected"),
        ("drag", ("Face 7", ""), "nobody is personalised yet"),
        ("drag", (WHOLE, ""), "no points yet"),
        ("drag", (WHOLE, "here"), "points"),
        ("undo", ("Face 7",), "nobody is personalised yet"),
        ("undo", (WHOLE,), "is a drag"),
    ]
    for name, arguments, message in tries:
        with pytest.raises(gr.Error, match=message) as caught:
            page.do(name, *arguments)
        assert "\n" not in caught.value.message
    assert (met.lines, met.drags, met.points.get(WHOLE, [])) == ({WHOLE: []}, {}, [])


def test_there_are_so_many_points_at_most(studio: Studio, met: Visit) -> None:
    for number in range(2 * MOST_POINTS):
        click(studio, met, WHOLE, (number, 0))
    with pytest.raises(InputError, match=f"^{MOST_POINTS} points are there"):
        click(studio, met, WHOLE, (0, 0))
    assert len(met.points[WHOLE]) == 2 * MOST_POINTS


def test_an_error_on_the_way_leaves_everything_as_it_was(
    page: Page, met: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for place in ("pti_hub.app.dragging.drag_portrait", "pti_hub.app.studio.put_back"):
        changed: dict[Any, Any] = {}
        with monkeypatch.context() as patch, pytest.raises(gr.Error):
            patch.setattr(place, fail)
            for updates in page.steps("drag", WHOLE, "20,30>24,28"):
                changed |= updates
        assert changed[page.ui.under_way] == gr.update(visible=False)
        assert met.lines[WHOLE] == []


def test_points_that_stop_short_are_named(page: Page, met: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dragging, "drag_portrait", lambda *_: (found("drag1", 0.5, 7.0), []))
    result = page.do("drag", WHOLE, "20,30>24,28; 30,30>9,9")
    assert "point 2 goes no further on this face" in result[page.ui.note]
    assert "point 1" not in result[page.ui.note]
    assert "point 2" not in page.do("show", WHOLE)[page.ui.note]


def test_drags_that_nothing_names_make_room(studio: Studio, met: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dragging, "_MOST_KEPT", 3)
    names = []
    for _ in range(5):
        name = dragging._free_name(studio, met)
        names.append(name)
        keep(met, WHOLE, found(name, 0.0))
        if name != "drag2":
            undo(met, WHOLE)
    assert names == [f"drag{number}" for number in range(1, 6)]
    assert list(met.drags) == ["drag2", "drag4", "drag5"]
    assert met.lines[WHOLE] == ["drag2=1"]


def test_a_drag_takes_no_name_of_another_edit(studio: Studio, met: Visit) -> None:
    studio.pipe.edits["drag1"] = Direction("drag1", torch.ones(16))
    dragged(studio, met)
    assert met.lines[WHOLE] == ["drag2=1"]
