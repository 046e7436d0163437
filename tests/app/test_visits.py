"""Who is at the page, what is kept of them, and for how long."""

from __future__ import annotations

import dataclasses
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.pictures import same

from pti_hub import InputError, Personalization, PTIPipeline
from pti_hub.app import Settings
from pti_hub.app.people import welcome
from pti_hub.app.pictures import Pictures
from pti_hub.app.studio import WHOLE, Studio
from pti_hub.app.visits import Visit, Visits
from pti_hub.images import Photograph, read_photograph
from pti_hub.pipelines import Portrait


@pytest.fixture
def photo() -> Photograph:
    """A photograph."""
    return read_photograph(Image.new("RGB", (8, 8)))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time by the monotonic clock."""
    now = [1000.0]
    monkeypatch.setattr("pti_hub.app.visits.time.monotonic", lambda: now[0])
    return now


def test_there_may_be_so_many_and_no_more(clock: list[float]) -> None:
    visits = Visits(Settings(visits=2), Pictures())
    ada, bob = visits.of("ada"), visits.of("bob")
    with pytest.raises(InputError, match=r"^2 people are here, which is as many as there may be; come back later$"):
        visits.of("cleo")
    assert (visits.of("ada"), visits.of("bob"), len(visits)) == (ada, bob, 2)
    visits.end("ada")
    visits.end("nobody")
    assert visits.of("cleo") is not ada
    assert len(visits) == 2


def test_idle_visits_make_room(clock: list[float], photo: Photograph) -> None:
    pictures = Pictures()
    visits = Visits(Settings(visits=2, idle_minutes=30), pictures)
    ada = visits.of("ada")
    ada.photograph = photo
    pictures.put("ada", "face", b"1", "image/jpeg")
    clock[0] += 20 * 60
    bob = visits.of("bob")
    bob.photograph = photo
    clock[0] += 9 * 60
    with pytest.raises(InputError, match="come back later"):
        visits.of("cleo")
    clock[0] += 2 * 60
    visits.of("cleo")
    assert (ada.is_gone, bob.is_gone, ada.stop.is_set(), len(pictures)) == (True, False, True, 0)
    assert visits.of("bob") is bob


def test_an_idle_visit_is_kept_while_there_is_room(clock: list[float], photo: Photograph) -> None:
    visits = Visits(Settings(visits=2, idle_minutes=30), Pictures())
    ada = visits.of("ada")
    ada.photograph = photo
    clock[0] += 5 * 3600
    visits.of("bob")
    assert visits.of("ada") is ada


def test_who_opens_nothing_takes_nobodys_place_for_long(clock: list[float], photo: Photograph) -> None:
    visits = Visits(Settings(visits=2), Pictures())
    ada, nobody = visits.of("ada"), visits.of("nobody")
    ada.photograph = photo
    with pytest.raises(InputError, match="come back later"):
        visits.of("bob")
    clock[0] += 2 * 60
    visits.of("bob")
    assert (ada.is_gone, nobody.is_gone) == (False, True)


def test_what_has_ended_is_remembered_for_a_while_only() -> None:
    pictures = Pictures()
    visits = Visits(Settings(visits=1), pictures)
    for i in range(20_100):
        visits.of(str(i))
        visits.end(str(i))
        visits.end(f"never there {i}")
    assert len(visits._ended) == len(pictures._forgotten) == 10_000
    with pytest.raises(InputError, match="reload it"):
        visits.of("20099")


def test_every_event_keeps_a_visit(clock: list[float]) -> None:
    visits = Visits(Settings(visits=1, idle_minutes=30), Pictures())
    ada = visits.of("ada")
    for _ in range(5):
        clock[0] += 29 * 60
        assert visits.of("ada") is ada
    with pytest.raises(InputError):
        visits.of("bob")


def test_the_end_stops_learning_and_forgets_everything(studio: Studio, square: Path) -> None:
    ada = studio.visits.of("ada")
    studio.open(ada, square, "a.png")
    assert [item for item in studio.learn(ada, []) if isinstance(item, str)] == [WHOLE]
    studio.compare(ada, WHOLE)
    assert len(studio.pictures) == 4
    studio.visits.end("ada")
    assert ada.is_gone
    assert ada.stop.is_set()
    assert (ada.photograph, ada.faces, ada.portraits) == (None, [], {})
    assert len(studio.pictures) == len(studio.visits) == 0


def test_nothing_is_kept_of_a_page_that_was_closed_meanwhile(
    studio: Studio, visit: Visit, square: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def close(photograph: Photograph, faces: Any) -> Image.Image:
        studio.visits.end(visit.key)
        return photograph.native

    studio.open(visit, square, "a.png")
    list(studio.learn(visit, []))
    monkeypatch.setattr("pti_hub.app.studio.put_back", close)
    with suppress(InputError):
        studio.compare(visit, WHOLE)
    assert len(studio.pictures) == 0


def test_no_two_visits_share_anything() -> None:
    visits = Visits(Settings(), Pictures())
    ada, bob = visits.of("ada"), visits.of("bob")
    for field in dataclasses.fields(Visit):
        mine, yours = getattr(ada, field.name), getattr(bob, field.name)
        assert mine is not yours or isinstance(mine, (str, float, bool, type(None))), field.name
    ada.lines["x"] = ["smile"]
    ada.stop.set()
    assert (bob.lines, bob.stop.is_set()) == ({}, False)


def test_many_threads_come_at_once() -> None:
    visits, found, start = Visits(Settings(visits=50), Pictures()), [], threading.Barrier(40)

    def come(number: int) -> None:
        start.wait()
        found.append((number % 4, visits.of(f"visit {number % 4}")))

    threads = [threading.Thread(target=come, args=(i,)) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(number, id(visit)) for number, visit in found}) == len(visits) == 4


def test_another_photograph_leaves_people_who_were_loaded(
    studio: Studio, visit: Visit, ada: Personalization, square: Path
) -> None:
    assert welcome(studio, visit, ada) == ["subject"]
    studio.open(visit, square, "a.png")
    list(studio.learn(visit, []))
    studio.slide(visit, "subject", "smile", 1.0)
    studio.slide(visit, WHOLE, "smile", 2.0)
    assert (visit.is_home(WHOLE), visit.is_home("subject")) == (True, False)
    visit.close_photograph()
    assert list(visit.portraits) == ["subject"]
    assert visit.lines == {"subject": ["smile=1"]}
    assert visit.photograph is None


def test_there_are_so_many_people_at_most(studio: Studio, visit: Visit, ada: Personalization) -> None:
    crowd = Personalization({}, {f"{i}": ada.pivots["subject"] for i in range(60)}, ada.base)
    with pytest.raises(InputError, match="50 people are here"):
        welcome(studio, visit, crowd)
    assert len(visit.portraits) == 50


def test_people_who_were_loaded_stay_in_their_own_photograph(
    studio: Studio, visit: Visit, pipe: PTIPipeline, square: Path
) -> None:
    person = pipe(square, align=False).personalization
    assert welcome(studio, visit, person) == ["subject"]
    for _ in range(2):
        studio.open(visit, square, "a.png")
        assert visit.is_home("subject")
    assert studio.compare(visit, "subject").after


def test_a_new_face_makes_pictures_with_the_old_ones_style_anew(
    studio: Studio, visit: Visit, ada: Personalization
) -> None:
    welcome(studio, visit, ada)
    welcome(studio, visit, Personalization({}, {"bob": -ada.pivots["subject"]}, ada.base))
    visit.lines["subject"] = ["mix:bob"]
    first = studio._edited(visit, "subject")
    visit.meet("bob", Portrait(studio.pipe, Personalization({}, {"bob": 2 * ada.pivots["subject"]}, ada.base), "bob"))
    assert not same(studio._edited(visit, "subject"), first)


def test_the_same_face_twice_is_edited_once(studio: Studio, visit: Visit, pipe: PTIPipeline, square: Path) -> None:
    studio.open(visit, square, "a.png")
    list(studio.learn(visit, []))
    assert welcome(studio, visit, visit.portraits[WHOLE].personalization) == ["subject"]
    assert visit.at_home_with(WHOLE) == [WHOLE]
    assert visit.at_home_with("subject") == ["subject"]
