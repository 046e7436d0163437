"""Several faces of one photograph, each with its own edits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import same

from pti_hub import FaceError, InputError, Personalization, PTIPipeline
from pti_hub.faces import FaceAnalyzer, crop_quad


@pytest.fixture
def face_pipe(pipe: PTIPipeline) -> PTIPipeline:
    """The tiny pipeline, which looks for faces."""
    pipe.aligns_faces = True
    return pipe


@pytest.fixture(scope="session")
def squares(group: Image.Image) -> list[np.ndarray]:
    """Masks `[H, W]` of the square around each face, a pixel wider."""
    masks = []
    y, x = np.mgrid[: group.height, : group.width]
    for face in FaceAnalyzer().detect(group):
        quad = crop_quad(face.landmarks)
        places = (np.stack([x, y], 2) - quad[0]) @ np.linalg.inv(np.stack([quad[3] - quad[0], quad[1] - quad[0]]))
        masks.append(((places > -0.02) & (places < 1.02)).all(2))
    return masks


def changed(a: Image.Image, b: Image.Image) -> np.ndarray:
    return np.asarray((np.asarray(a) != np.asarray(b)).any(2))


def test_all_faces_are_edited_in_one_photograph(
    face_pipe: PTIPipeline, group: Image.Image, squares: list[np.ndarray]
) -> None:
    out = face_pipe(group, edit=("smile", 4.0), face="all")
    assert len(out.photographs) == 1
    assert len(out.images) == len(out.aligned) == len(out.personalizations) == 3
    where = changed(out.photographs[0], group)
    assert all(where[square].any() for square in squares)
    assert not where[~np.logical_or.reduce(squares)].any()
    assert len({id(person) for person in out.personalizations}) == 3


def test_each_face_has_its_own_edits(face_pipe: PTIPipeline, group: Image.Image, squares: list[np.ndarray]) -> None:
    out = face_pipe(group, edit={2: ("smile", 4.0), 0: ["age", "smile=-2"]})
    assert [[edit.direction.name for edit in edits] for edits in out.edits] == [["age", "smile"], ["smile"]]
    where = changed(out.photographs[0], group)
    assert where[squares[0]].any()
    assert where[squares[2]].any()
    assert not where[squares[1] & ~squares[0]].any()


def test_a_face_without_edits_stays_as_it_was(
    face_pipe: PTIPipeline, group: Image.Image, squares: list[np.ndarray]
) -> None:
    out = face_pipe(group, edit={2: "smile=4"}, face=[0, 2])
    assert len(out.images) == 2
    assert out.edits[0] == []
    assert not changed(out.photographs[0], group)[~squares[2]].any()


def test_saved_faces_go_back_into_one_photograph(face_pipe: PTIPipeline, group: Image.Image, tmp_path: Path) -> None:
    first = face_pipe(group, edit={0: "smile", 2: "age"})
    people = []
    for i, person in enumerate(first.personalizations):
        person.save_pretrained(tmp_path / str(i))
        people.append(Personalization.from_pretrained(tmp_path / str(i)))
    again = face_pipe(people, edit={0: "smile", 1: "age"}, photograph=group)
    assert len(again.photographs) == 1
    assert same(again.photographs[0], first.photographs[0])


def test_overlapping_squares_do_not_depend_on_the_order(face_pipe: PTIPipeline, group: Image.Image) -> None:
    ada, bob = face_pipe(group, face=[0, 1]).personalizations
    ways = [face_pipe(people, edit="smile=4", photograph=group).photographs[0] for people in ([ada, bob], [bob, ada])]
    assert same(*ways)
    alone = face_pipe(bob, edit="smile=4", photograph=group).photographs[0]
    assert changed(ways[0], alone).any()


def test_identities_are_edited_by_name(pipe: PTIPipeline, group: Image.Image) -> None:
    square = group.crop((0, 0, 256, 256))
    cast = pipe.personalize({"ada": square, "bob": square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)})
    out = pipe(cast, edit={"bob": "smile"})
    assert [[edit.direction.name for edit in edits] for edits in out.edits] == [[], ["smile"]]
    assert same(out.images[0], out.reconstruction[0])
    assert same(out.images[1], pipe.edit(cast, "smile")[1])


def test_one_generator_is_of_one_face(face_pipe: PTIPipeline, group: Image.Image) -> None:
    choice: Any = "all"
    for method in (face_pipe.prepare, face_pipe.invert, face_pipe.personalize):
        with pytest.raises(InputError, match=r"faces \[0, 1, 2\] were chosen; choose one here"):
            method(group, face=choice)


def test_numbers_of_faces_and_of_identities_are_not_mixed(face_pipe: PTIPipeline, group: Image.Image) -> None:
    ada = face_pipe(group, face=0).personalization
    with pytest.raises(InputError, match="edits by number are for photographs or for identities"):
        face_pipe([ada, group], edit={0: "smile"})


def test_faces_resume_one_by_one(
    face_pipe: PTIPipeline, group: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = face_pipe(group, edit="smile", face="all", run_folder=tmp_path / "run")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"0", "1", "2"}
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("it is projected again"))
    again = face_pipe(group, edit="smile", face="all", run_folder=tmp_path / "run")
    assert same(again.photographs[0], whole.photographs[0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, FaceError, r"3 faces found: face=0 at .*choose with face="),
        ({"face": 3}, FaceError, "there is no face=3 among the 3 found"),
        ({"face": [0, 7]}, FaceError, "there is no face=7 among the 3 found"),
        ({"face": "left"}, InputError, "face='left'; expected the number of a face"),
        ({"face": []}, InputError, r"face=\[\]; expected the number of a face"),
        ({"face": True}, InputError, "face=True; expected the number of a face"),
        ({"edit": {5: "smile"}}, FaceError, "there is no face=5 among the 3 found"),
        ({"edit": {5: "smile"}, "face": "all"}, InputError, r"an edit for \[5\], but the faces are \[0, 1, 2, 's"),
        ({"edit": {"ada": "smile"}, "face": 0}, InputError, r"an edit for \['ada'\], but the faces are"),
        ({"edit": {0: "frown"}}, InputError, "no edit is named 'frown'"),
        ({"edit": {}}, InputError, r"edit={}; expected edits by the number of a face"),
        ({"edit": {1.5: "smile"}}, InputError, r"edit={1.5: 'smile'}; expected edits by the number of a face"),
    ],
)
def test_faces_that_are_not_there_are_one_line_before_the_long_work(
    face_pipe: PTIPipeline,
    group: Image.Image,
    monkeypatch: pytest.MonkeyPatch,
    arguments: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr("pti_hub.pipelines.inversion.project", lambda *args: pytest.fail("the long work began"))
    with pytest.raises(error, match=message) as caught:
        face_pipe(group, **arguments)
    assert "\n" not in str(caught.value)
