"""Faces are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageOps
from support.needs import needs_models

from pti_hub.errors import InputError
from pti_hub.faces import Face, FaceAnalyzer, embedding, head_pose, identity_distance, select
from pti_hub.faces.identity import SAME_PERSON


def test_identity_distance_is_euclidean() -> None:
    a, b = np.zeros(128, np.float32), np.zeros(128, np.float32)
    b[:2] = 3, 4
    assert identity_distance(a, b) == pytest.approx(5.0)
    assert identity_distance(b, b) == 0.0
    with pytest.raises(InputError, match="128"):
        identity_distance(a, b[:64])


@needs_models
def test_the_mirror_image_is_the_same_person(astronaut: Image.Image, astronaut_face: Face) -> None:
    mirrored = ImageOps.mirror(astronaut)
    mirrored_face = select(FaceAnalyzer().detect(mirrored))
    code = embedding(astronaut, astronaut_face)
    assert code.shape == (128,)
    assert code.dtype == np.float32
    assert 0 < identity_distance(code, embedding(mirrored, mirrored_face)) < 0.5 * SAME_PERSON
    assert np.sign(head_pose(mirrored_face.landmarks).yaw) == -np.sign(head_pose(astronaut_face.landmarks).yaw)


@needs_models
def test_numpy_integers_do_as_a_box(astronaut: Image.Image, astronaut_face: Face) -> None:
    left, top, right, bottom = np.array(astronaut_face.box)
    same_face = Face((left, top, right, bottom), astronaut_face.landmarks, astronaut_face.score)
    assert np.array_equal(embedding(astronaut, same_face), embedding(astronaut, astronaut_face))
