"""Personalising with reports on the way."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from PIL import Image
from support.needs import needs_models

from pti_hub import FaceError, PivotalTuner, PivotalTunerConfig, PTIPipeline
from pti_hub.app.tuning import Learned, Report, learn_faces
from pti_hub.images import Photograph, read_photograph


def workers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "pti-hub-learning"]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert not workers()


@pytest.fixture
def picture(photograph: torch.Tensor) -> Photograph:
    """What the tests learn."""
    return read_photograph(photograph)


@pytest.fixture
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A report of every step."""
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)


@pytest.mark.usefixtures("every_step")
def test_reports_tell_how_far_it_is(pipe: PTIPipeline, picture: Photograph) -> None:
    *reports, learned = learn_faces(pipe, picture, None)
    assert isinstance(learned, Learned)
    assert learned.face == 0
    assert list(learned.personalization.pivots) == ["subject"]
    first, *others = [report for report in reports if isinstance(report, Report)]
    assert first == Report(0, "faces")
    assert len(others) == len(reports) - 1
    assert list(dict.fromkeys(report.stage for report in others)) == ["project", "tune"]
    assert [report.done for report in others] == list(range(1, 11))
    for report in others:
        assert (report.face, report.total) == (0, 4 + 6)
        assert report.lpips is not None
        assert report.lpips > 0
        assert report.picture is not None
        assert report.picture.size == (64, 64)
    # The first step of a stage can't tell the pace yet.
    assert [report.seconds_left is None for report in others] == [n in (1, 5) for n in range(1, 11)]
    assert others[-1].seconds_left == 0


@pytest.mark.usefixtures("every_step")
def test_large_pictures_are_reported_small(
    large_pipe: PTIPipeline, picture: Photograph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._SHOWN", 64)
    sizes = {item.picture.size for item in learn_faces(large_pipe, picture, None) if getattr(item, "picture", None)}
    assert sizes == {(64, 64)}


def test_reports_are_a_while_apart(pipe: PTIPipeline, picture: Photograph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", math.inf)
    items = list(learn_faces(pipe, picture, None))
    assert [type(item) for item in items] == [Report, Learned]


def test_what_is_learned_is_what_a_call_learns(pipe: PTIPipeline, picture: Photograph) -> None:
    learned = [item for item in learn_faces(pipe, picture, None) if isinstance(item, Learned)]
    expected = pipe(picture).personalization
    (person,) = (item.personalization for item in learned)
    assert person.deltas.keys() == expected.deltas.keys()
    assert all(torch.equal(person.deltas[name], expected.deltas[name]) for name in expected.deltas)
    assert torch.equal(person.pivots["subject"], expected.pivots["subject"])
    assert person.placements == expected.placements
    assert person.metrics == expected.metrics


@pytest.mark.usefixtures("every_step")
def test_whoever_closes_it_stops_the_work(pipe: PTIPipeline, picture: Photograph) -> None:
    pipe.tuner = PivotalTuner(PivotalTunerConfig(num_steps=100_000, lpips_threshold=0.0))
    items = learn_faces(pipe, picture, None)
    steps = [next(items) for _ in range(7)]
    assert steps[-1].stage == "tune"  # type: ignore[union-attr]
    assert len(workers()) == 1
    began = time.monotonic()
    items.close()  # type: ignore[attr-defined]
    assert time.monotonic() - began < 10
    assert not workers()
    assert list(items) == []


def test_nothing_begins_before_it_is_asked_for(pipe: PTIPipeline, picture: Photograph) -> None:
    items = learn_faces(pipe, picture, None)
    assert not workers()
    items.close()  # type: ignore[attr-defined]
    assert not workers()


@pytest.mark.usefixtures("every_step")
def test_an_error_on_the_way_is_the_consumers(
    pipe: PTIPipeline, picture: Photograph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr(pipe.tuner, "tune", fail)
    items = learn_faces(pipe, picture, None)
    with pytest.raises(ZeroDivisionError, match="on purpose"):
        for item in items:
            assert isinstance(item, Report)


@needs_models
def test_a_face_that_is_not_there(pipe: PTIPipeline, group: Image.Image) -> None:
    pipe.aligns_faces = True
    items = learn_faces(pipe, read_photograph(group), [7])
    assert next(items) == Report(7, "faces")
    with pytest.raises(FaceError, match="there is no face=7 among the 3 found"):
        next(items)


@needs_models
def test_faces_are_learned_one_by_one(pipe: PTIPipeline, group: Image.Image) -> None:
    pipe.aligns_faces = True
    photograph = read_photograph(group)
    learned = [item for item in learn_faces(pipe, photograph, [0, 2]) if isinstance(item, Learned)]
    assert [item.face for item in learned] == [0, 2]
    expected = pipe(photograph, face=[0, 2]).personalizations
    for item, person in zip(learned, expected, strict=True):
        assert item.personalization.placements == person.placements
        assert all(torch.equal(item.personalization.deltas[name], person.deltas[name]) for name in person.deltas)
