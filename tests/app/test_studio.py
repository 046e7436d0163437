"""What the page does, without the page."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from support.needs import needs_models
from support.pictures import same, smooth_picture

from pti_hub import FaceError, ImageError, InputError, Personalization, PTIPipeline
from pti_hub.app import Settings
from pti_hub.app.people import welcome
from pti_hub.app.studio import WHOLE, Studio
from pti_hub.app.tuning import Report
from pti_hub.app.visits import Visit
from pti_hub.images import save_image

Fetch = Callable[[Studio, str], bytes]


def learned(studio: Studio, visit: Visit, numbers: list[int]) -> list[str]:
    """What the page calls the faces that were learned."""
    return [item for item in studio.learn(visit, numbers) if isinstance(item, str)]


def decoded(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def swapped_profile() -> bytes:
    """sRGB with the red and the green primary exchanged, and a name of its own."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {bytes(data[i : i + 4]): i + 4 for i in range(132, 132 + 12 * int.from_bytes(data[128:132], "big"), 12)}
    red, green = (slice(places[tag], places[tag] + 8) for tag in (b"rXYZ", b"gXYZ"))
    data[red], data[green] = data[green], data[red]
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def test_a_picture_without_faces_to_look_for(studio: Studio, visit: Visit, square: Path, fetch: Fetch) -> None:
    studio.open(visit, square, "/somewhere/My picture.png")
    assert visit.photograph is not None
    assert (visit.name, visit.faces, visit.photograph.picture.size) == ("My picture.png", [], (200, 200))
    shown = decoded(fetch(studio, studio.numbered(visit)))
    assert (shown.format, shown.size, visit.scale) == ("JPEG", (200, 200), 1.0)


@needs_models
def test_faces_are_found_and_numbered(face_studio: Studio, visit: Visit, group_file: Path, fetch: Fetch) -> None:
    face_studio.open(visit, group_file, group_file.name)
    assert len(visit.faces) == 3
    shown = decoded(fetch(face_studio, face_studio.numbered(visit)))
    assert shown.size == (760, 512)
    assert visit.photograph is not None
    assert (np.asarray(shown) != np.asarray(visit.photograph.picture)).any()


def test_a_large_photograph_is_shown_smaller(studio: Studio, visit: Visit, tmp_path: Path, fetch: Fetch) -> None:
    save_image(Image.new("RGB", (2200, 2200), "teal"), tmp_path / "large.jpg")
    studio.open(visit, tmp_path / "large.jpg", "large.jpg")
    shown = decoded(fetch(studio, studio.numbered(visit)))
    assert shown.size == (1225, 1225)
    assert visit.scale == pytest.approx(2200 / 1225)
    learned(studio, visit, [])
    compared = studio.compare(visit, WHOLE)
    assert decoded(fetch(studio, compared.file)).size == (2200, 2200)
    for address in (compared.before, compared.after):
        assert decoded(fetch(studio, address)).size == (2000, 2000)


@needs_models
def test_what_was_open_stays_if_nothing_else_is_opened(
    pipe: PTIPipeline, group_file: Path, photos: Path, tmp_path: Path
) -> None:
    pipe.aligns_faces = True
    studio = Studio(pipe, Settings(megapixels=1))
    visit = studio.visits.of("a")
    studio.open(visit, group_file, "group.jpg")
    before = (visit.photograph, list(visit.faces), visit.name, learned(studio, visit, [2]), dict(visit.portraits))
    save_image(smooth_picture(1001, 1000), tmp_path / "large.png")
    save_image(smooth_picture(300, 300), tmp_path / "sea.png")
    wrong = [
        (tmp_path / "large.png", ImageError, r"has 1001×1000 px; expected at most 1 million pixels"),
        (photos / "b.png", ImageError, "b.png"),
        (tmp_path / "none.png", ImageError, "no such file"),
        (tmp_path / "sea.png", FaceError, "no face found"),
    ]
    for path, error, message in wrong:
        with pytest.raises(error, match=message) as caught:
            studio.open(visit, path, path.name)
        assert "\n" not in str(caught.value)
    assert (visit.photograph, list(visit.faces), visit.name, ["Face 2"], dict(visit.portraits)) == before


@needs_models
def test_chosen_faces_are_learned(face_studio: Studio, visit: Visit, group_file: Path) -> None:
    with pytest.raises(InputError, match="no photograph is open"):
        learned(face_studio, visit, [0])
    face_studio.open(visit, group_file, "group.jpg")
    with pytest.raises(FaceError, match="no face is chosen; choose at least one"):
        learned(face_studio, visit, [])
    assert learned(face_studio, visit, [2, 0]) == ["Face 0", "Face 2"]
    assert list(visit.portraits) == ["Face 0", "Face 2"]
    assert visit.lines == {"Face 0": [], "Face 2": []}
    assert all(visit.is_home(who) for who in visit.portraits)
    face_studio.slide(visit, "Face 0", "smile", 1.0)
    face_studio.slide(visit, "Face 2", "smile", 1.0)
    assert learned(face_studio, visit, [0]) == ["Face 0"]
    assert visit.lines == {"Face 0": [], "Face 2": ["smile=1"]}


@needs_models
def test_faces_are_learned_as_a_call_learns_them(
    face_studio: Studio, visit: Visit, group_file: Path, renderings: list[set[int]]
) -> None:
    face_studio.open(visit, group_file, "group.jpg")
    learned(face_studio, visit, [0, 1, 2])
    assert renderings == []
    people = face_studio.pipe(group_file, face="all").personalizations
    for number, person in enumerate(people):
        mine = visit.portraits[f"Face {number}"].personalization
        assert torch.equal(mine.pivots["subject"], person.pivots["subject"])
        assert all(torch.equal(mine.deltas[name], person.deltas[name]) for name in person.deltas)


@needs_models
def test_faces_that_are_done_stay_after_a_stop(face_studio: Studio, visit: Visit, group_file: Path) -> None:
    face_studio.open(visit, group_file, "group.jpg")
    done = []
    for item in face_studio.learn(visit, [0, 1, 2]):
        if isinstance(item, str):
            done.append(item)
        elif item.face == 1:
            visit.stop.set()
    # The second one may have been done just then.
    assert done == list(visit.portraits) == list(visit.lines)
    assert done in (["Face 0"], ["Face 0", "Face 1"])


@needs_models
def test_people_who_were_loaded_are_not_replaced(
    ada: Personalization, face_studio: Studio, visit: Visit, group_file: Path
) -> None:
    named = Personalization(ada.deltas, {"Face 0": ada.pivots["subject"]}, ada.base)
    (who,) = welcome(face_studio, visit, named)
    loaded = visit.portraits[who]
    face_studio.open(visit, group_file, "group.jpg")
    learned(face_studio, visit, [0])
    assert loaded in visit.portraits.values()
    assert len(visit.portraits) == 2


def test_stopping_ends_it_early(studio: Studio, visit: Visit, square: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pti_hub.app.tuning._EVERY", 0.0)
    studio.open(visit, square, "a.png")
    items: list[Report | str] = []
    for item in studio.learn(visit, []):
        items.append(item)
        if len(items) == 3:
            visit.stop.set()
    assert len(items) == 3
    assert visit.portraits == {}
    assert not any(thread.name == "pti-hub-learning" for thread in threading.enumerate())
    assert learned(studio, visit, []) == [WHOLE]  # to stop is for once


def test_sliders_move_their_own_edits(studio: Studio, visit: Visit, square: Path) -> None:
    studio.open(visit, square, "a.png")
    learned(studio, visit, [])
    visit.lines[WHOLE] = ["pc0=2", "age=raw:1", "smile"]
    assert studio.slide(visit, WHOLE, "smile", 1.0) == ["pc0=2", "age=raw:1", "smile"]
    assert studio.slide(visit, WHOLE, "smile", -0.5) == ["pc0=2", "age=raw:1", "smile=-0.5"]
    assert studio.slide(visit, WHOLE, "age", 2.0) == ["pc0=2", "age=2", "smile=-0.5"]
    assert studio.slide(visit, WHOLE, "smile", 0.0) == ["pc0=2", "age=2"]
    assert studio.slide(visit, WHOLE, "smile", 3.0) == ["pc0=2", "age=2", "smile=3"]
    assert visit.lines == {WHOLE: ["pc0=2", "age=2", "smile=3"]}


def test_a_face_without_a_portrait_gets_no_edits(studio: Studio, visit: Visit, square: Path) -> None:
    with pytest.raises(InputError, match="nobody is personalised yet"):
        studio.slide(visit, WHOLE, "smile", 1.0)
    studio.open(visit, square, "a.png")
    learned(studio, visit, [])
    assert visit.lines == {WHOLE: []}


def test_the_face_is_shown_while_a_slider_moves(studio: Studio, visit: Visit, square: Path, fetch: Fetch) -> None:
    with pytest.raises(InputError, match="nobody is personalised yet"):
        studio.preview(visit, WHOLE)
    studio.open(visit, square, "a.png")
    learned(studio, visit, [])
    before = decoded(fetch(studio, studio.preview(visit, WHOLE)))
    studio.slide(visit, WHOLE, "smile", 3.0)
    after = decoded(fetch(studio, studio.preview(visit, WHOLE)))
    assert before.size == after.size == (64, 64)
    assert not same(before, after)


@needs_models
def test_before_and_after(face_studio: Studio, visit: Visit, group_file: Path, fetch: Fetch) -> None:
    face_studio.open(visit, group_file, group_file.name)
    learned(face_studio, visit, [0, 2])
    with pytest.raises(InputError, match="nobody is personalised yet"):
        face_studio.compare(visit, "Face 1")
    plain = face_studio.compare(visit, "Face 0")
    assert fetch(face_studio, plain.before) == fetch(face_studio, plain.after)
    face_studio.slide(visit, "Face 2", "smile", 3.0)
    one = face_studio.compare(visit, "Face 0")
    before, after = (np.asarray(decoded(fetch(face_studio, at))) for at in (one.before, one.after))
    assert before.shape == after.shape == (512, 760, 3)
    assert (before[:, 500:] != after[:, 500:]).any()
    assert (before[:, :300] == after[:, :300]).all()
    assert decoded(fetch(face_studio, one.face)).size == (64, 64)


@needs_models
@pytest.mark.parametrize(("suffix", "kind"), [(".JPG", "JPEG"), (".png", "PNG"), (".webp", "WEBP"), (".gif", "PNG")])
def test_the_file_is_what_a_call_writes(
    face_studio: Studio, visit: Visit, group: Image.Image, tmp_path: Path, fetch: Fetch, suffix: str, kind: str
) -> None:
    path = tmp_path / f"group{suffix}"
    if suffix == ".gif":
        group.save(path)
    else:
        save_image(group, path)
    face_studio.open(visit, path, path.name)
    learned(face_studio, visit, [2])
    face_studio.slide(visit, "Face 2", "smile", 2.0)
    content = fetch(face_studio, face_studio.compare(visit, "Face 2").file)
    person = visit.portraits["Face 2"].personalization
    written = tmp_path / f"written{'.png' if kind == 'PNG' else suffix}"
    save_image(face_studio.pipe(person, edit=("smile", 2.0), photograph=path).photographs[0], written)
    assert content == written.read_bytes()
    assert decoded(content).format == kind


def test_before_and_after_are_in_the_same_colours(studio: Studio, visit: Visit, tmp_path: Path, fetch: Fetch) -> None:
    smooth_picture(64, 64).save(tmp_path / "wide.png", icc_profile=swapped_profile())
    studio.open(visit, tmp_path / "wide.png", "wide.png")
    assert visit.photograph is not None
    assert visit.photograph.native is not visit.photograph.picture
    learned(studio, visit, [])
    compared = studio.compare(visit, WHOLE)
    assert fetch(studio, compared.before) == fetch(studio, compared.after)


def test_someone_without_a_photograph(
    studio: Studio, visit: Visit, ada: Personalization, pipe: PTIPipeline, fetch: Fetch
) -> None:
    welcome(studio, visit, ada)
    studio.slide(visit, "subject", "age", 1.5)
    compared = studio.compare(visit, "subject")
    assert same(decoded(fetch(studio, compared.file)), pipe.edit(ada, ("age", 1.5))[0])
    assert decoded(fetch(studio, compared.before)).size == (64, 64)


@needs_models
def test_two_visits_at_once_stay_apart(
    face_studio: Studio, astronaut: Image.Image, group_file: Path, tmp_path: Path, fetch: Fetch
) -> None:
    save_image(astronaut, tmp_path / "astronaut.png")
    files = {"ada": (group_file, 2, (760, 512)), "bob": (tmp_path / "astronaut.png", 0, (512, 512))}
    addresses: dict[str, list[str]] = {}
    one_at_a_time = threading.Lock()  # as the page's queue has it

    def work(key: str) -> None:
        path, number, _ = files[key]
        visit, who = face_studio.visits.of(key), f"Face {number}"
        steps: list[Callable[[], Any]] = [
            lambda: face_studio.open(visit, path, path.name),
            lambda: addresses.setdefault(key, []).append(face_studio.numbered(visit)),
            lambda: learned(face_studio, visit, [number]),
            lambda: face_studio.slide(visit, who, "smile", 1.0 + number),
            lambda: addresses[key].append(face_studio.preview(visit, who)),
            lambda: addresses[key].extend(face_studio.compare(visit, who)),
        ]
        for step in steps:
            with one_at_a_time:
                step()
            time.sleep(0.01)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(work, files))
    assert not set(addresses["ada"]) & set(addresses["bob"])
    for key, (path, number, size) in files.items():
        visit = face_studio.visits.of(key)
        numbered, _, before, after, _, file = addresses[key]
        assert {decoded(fetch(face_studio, at)).size for at in (numbered, before, after, file)} == {size}
        assert list(visit.portraits) == [f"Face {number}"]
        assert visit.photograph is not None
        person = visit.portraits[f"Face {number}"].personalization
        assert person.placements["subject"].digest == visit.photograph.digest
        save_image(face_studio.pipe(person, edit=("smile", 1.0 + number), photograph=path).photographs[0], path)
        assert fetch(face_studio, file) == path.read_bytes()


AT_ONCE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from pti_hub.app.settings import Settings
from pti_hub.app.studio import Studio
from pti_hub.app.visits import Visit
from types import SimpleNamespace
studio = Studio(SimpleNamespace(aligns_faces=True), Settings())
def count(key):
    visit = Visit(str(key))
    studio.open(visit, Path(sys.argv[1]), "group.jpg")
    return len(visit.faces)
with ThreadPoolExecutor(4) as threads:
    print(set(threads.map(count, range(12))))
"""


@needs_models
def test_photographs_that_are_opened_at_once(group_file: Path) -> None:
    # In a process of its own, which native code may end.
    run = subprocess.run([sys.executable, "-c", AT_ONCE, str(group_file)], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "{3}\n"), run.stderr[:500]
