"""The head's pose and how open eyes and mouth are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pti_hub.errors import InputError
from pti_hub.faces import eye_openness, head_pose, mouth_openness, mouth_width
from pti_hub.faces.pose import MODEL_POINTS

angles = st.floats(-60, 60)


def turned_head(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The generic head, turned by angles in degrees, seen from far away."""
    a, b, c = (math.radians(angle) for angle in (-yaw, -pitch, roll))
    about_y = [[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]]
    about_x = [[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]]
    about_z = [[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]]
    rotation = np.array(about_z) @ np.array(about_y) @ np.array(about_x)
    points = np.zeros((68, 2))
    points[list(MODEL_POINTS)] = (np.array(list(MODEL_POINTS.values())) @ rotation.T)[:, :2]
    return points


@given(yaw=angles, pitch=angles, roll=st.floats(-170, 170))
def test_known_rotations_are_recovered(yaw: float, pitch: float, roll: float) -> None:
    assert np.allclose(head_pose(turned_head(yaw, pitch, roll)), (yaw, pitch, roll), atol=0.01)


@given(yaw=angles, pitch=angles, scale=st.floats(0.01, 100), shift=st.floats(-1e4, 1e4))
def test_pose_ignores_size_and_place(yaw: float, pitch: float, scale: float, shift: float) -> None:
    head = turned_head(yaw, pitch, 5.0)
    assert np.allclose(head_pose(scale * head + shift), head_pose(head), atol=0.01)


@given(yaw=angles, pitch=angles, roll=angles)
def test_a_mirror_image_looks_the_other_way(yaw: float, pitch: float, roll: float) -> None:
    head = turned_head(yaw, pitch, roll)
    mirrored = np.zeros((68, 2))
    counterpart = {36: 45, 45: 36, 39: 42, 42: 39, 48: 54, 54: 48}
    for index in MODEL_POINTS:
        mirrored[counterpart.get(index, index)] = head[index] * (-1, 1)
    assert np.allclose(head_pose(mirrored), (-yaw, pitch, -roll), atol=0.01)


def test_the_signs_are_those_the_viewer_sees() -> None:
    def nose_from_eyes(head: np.ndarray) -> np.ndarray:
        return np.asarray(head[30] - head[[36, 39, 42, 45]].mean(axis=0))

    ahead = nose_from_eyes(turned_head(0, 0, 0))
    assert nose_from_eyes(turned_head(20, 0, 0))[0] > ahead[0] + 5
    assert nose_from_eyes(turned_head(0, 20, 0))[1] < ahead[1] - 5
    tilted = turned_head(0, 0, 20)
    assert tilted[45, 1] > tilted[36, 1] + 5


@given(seed=st.integers(0, 1000))
def test_pose_bears_inexact_landmarks(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.5, (68, 2))
    assert np.allclose(head_pose(turned_head(15, -5, 3) + noise), (15, -5, 3), atol=6)


def test_openness_is_height_over_width() -> None:
    points = np.zeros((68, 2))
    for first, half_height in ((36, 3.0), (42, 5.0)):
        points[first : first + 6] = np.array([(0, 0), (7, -1), (13, -1), (20, 0), (13, 1), (7, 1)]) * (
            1,
            half_height,
        )
    points[48], points[54] = (-20, 0), (20, 0)
    points[62], points[66] = (0, -4), (0, 6)
    assert eye_openness(points) == pytest.approx((6 / 20 + 10 / 20) / 2)
    assert mouth_openness(points) == pytest.approx(10 / 40)
    assert mouth_openness(points * 7 + 100) == pytest.approx(10 / 40)


def test_the_mouths_width_is_in_distances_of_the_eyes() -> None:
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = (-30, 5), (20, 5)
    points[48], points[54] = (-20, 0), (20, 0)
    assert mouth_width(points) == mouth_width(points * 3 + 9) == pytest.approx(40 / 50)
    points[42:48] = points[36:42]
    with pytest.raises(InputError, match="eyes have no width"):
        mouth_width(points)
