"""Faces are cut out as in FFHQ."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from support.needs import needs_models, needs_portraits
from support.pictures import smooth_picture
from support.places import PORTRAITS

from pti_hub.errors import FaceError, InputError
from pti_hub.faces import (
    Face,
    FaceAnalyzer,
    align,
    crop_quad,
    embedding,
    eye_openness,
    head_pose,
    identity_distance,
    is_aligned,
    mouth_openness,
    select,
)
from pti_hub.faces.identity import SAME_PERSON
from pti_hub.images import load_image


def simple_landmarks(
    left_eye: tuple[float, float], right_eye: tuple[float, float], mouth: tuple[float, float]
) -> np.ndarray:
    """Landmarks whose eyes are points and whose mouth is 10 px wide; the others are zero."""
    points = np.zeros((68, 2))
    points[36:42], points[42:48] = left_eye, right_eye
    points[48], points[54] = np.add(mouth, (-5, 0)), np.add(mouth, (5, 0))
    return points


def square_landmarks(side: float, left: float = 0.0, top: float = 0.0) -> np.ndarray:
    """Landmarks whose crop covers the pixels from (left, top) to (left + side, top + side)."""
    eye_to_mouth = side / 2 / 1.8
    x, y = left + side / 2 - 0.5, top + side / 2 - 0.5 - 0.1 * eye_to_mouth
    reach = side / 10
    return simple_landmarks((x - reach, y), (x + reach, y), (x, y + eye_to_mouth))


@pytest.mark.parametrize(
    ("landmarks", "quad"),
    [
        # Worked out by hand. Eyes 20 apart, mouth 25 below: half a side is max(2 * 20, 1.8 * 25)
        # = 45, and the centre a tenth of the way from eyes to mouth.
        (
            simple_landmarks((40, 50), (60, 50), (50, 75)),
            [(5, 7.5), (5, 97.5), (95, 97.5), (95, 7.5)],
        ),
        # Eyes 30 apart: the eyes decide, half a side is 60.
        (
            simple_landmarks((35, 50), (65, 50), (50, 75)),
            [(-10, -7.5), (-10, 112.5), (110, 112.5), (110, -7.5)],
        ),
        # Lying on the side, the top of the head to the right.
        (
            simple_landmarks((50, 40), (50, 60), (25, 50)),
            [(92.5, 5), (2.5, 5), (2.5, 95), (92.5, 95)],
        ),
        # The mouth 7 px aside: the crop's upper edge lies along (20, 0) + (24, -7), of length
        # √(44² + 7²); half a side is 1.8 * 25 = 45.
        (
            simple_landmarks((40, 50), (60, 50), (57, 74)),
            [
                (50.7 - 51 * 45 / math.sqrt(1985), 52.4 - 37 * 45 / math.sqrt(1985)),
                (50.7 - 37 * 45 / math.sqrt(1985), 52.4 + 51 * 45 / math.sqrt(1985)),
                (50.7 + 51 * 45 / math.sqrt(1985), 52.4 + 37 * 45 / math.sqrt(1985)),
                (50.7 + 37 * 45 / math.sqrt(1985), 52.4 - 51 * 45 / math.sqrt(1985)),
            ],
        ),
    ],
    ids=["mouth decides", "eyes decide", "lying", "turned"],
)
def test_the_crop_is_that_of_ffhq(landmarks: np.ndarray, quad: list[tuple[float, float]]) -> None:
    assert np.allclose(crop_quad(landmarks), quad)


@given(
    seed=st.integers(0, 1000),
    angle=st.floats(-math.pi, math.pi),
    scale=st.floats(0.1, 30),
    shift=st.tuples(st.floats(-5000, 5000), st.floats(-5000, 5000)),
)
def test_the_crop_follows_the_face(seed: int, angle: float, scale: float, shift: tuple[float, float]) -> None:
    landmarks = square_landmarks(100) + np.random.default_rng(seed).normal(0, 3, (68, 2))
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    moved = crop_quad(landmarks @ turn.T + shift)
    assert np.allclose(moved, crop_quad(landmarks) @ turn.T + shift, atol=1e-6)


@pytest.mark.parametrize("landmarks", [np.zeros((5, 2)), np.full((68, 2), np.nan), np.ones((68, 2))], ids=str)
def test_unusable_landmarks_are_refused(landmarks: np.ndarray) -> None:
    for function in (crop_quad, head_pose, eye_openness, mouth_openness):
        with pytest.raises(InputError, match="landmarks"):
            function(landmarks)


@pytest.mark.parametrize("shrink", [1, 2, 4])
def test_aligning_an_upright_face_is_cropping(shrink: int) -> None:
    picture = smooth_picture(700, 600)
    side = 256
    aligned = align(picture, square_landmarks(side, 200, 150), side // shrink)
    crop = picture.crop((200, 150, 456, 406)).resize(aligned.size, Image.Resampling.LANCZOS)
    difference = np.abs(np.asarray(aligned, np.float32) - np.asarray(crop, np.float32))
    assert aligned.mode == "RGB"
    assert difference.mean() < 0.6
    assert difference.max() <= 4


def test_a_face_on_its_side_is_turned_upright() -> None:
    picture = smooth_picture(400, 400)
    landmarks = square_landmarks(200, 100, 100)
    upright = align(picture, landmarks, 128)
    turned = align(
        picture.transpose(Image.Transpose.ROTATE_90),
        np.stack([landmarks[:, 1], 399 - landmarks[:, 0]], axis=1),
        128,
    )
    assert np.abs(np.asarray(upright, np.int16) - np.asarray(turned, np.int16)).max() <= 2


def test_beyond_the_border_the_picture_is_mirrored_blurred_and_faded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    noise[:, :, 0] = 180
    aligned = np.asarray(align(Image.fromarray(noise), square_landmarks(200, -60, 0), 200), np.float32)
    inside, outside = aligned[60:140, 100:160, 1], aligned[60:140, :40, 1]
    # What lies well inside is left alone; what lies outside has lost its detail.
    assert np.corrcoef(inside.ravel(), noise[60:140, 40:100, 1].ravel())[0, 1] > 0.9
    assert outside.std() < 0.2 * inside.std()
    assert np.abs(aligned[..., 0] - 180).max() <= 1


def test_padding_keeps_an_even_picture_even() -> None:
    picture = Image.new("RGB", (90, 70), (12, 150, 240))
    aligned = align(picture, square_landmarks(100, -20, -20), 64)
    assert np.all(np.asarray(aligned) == (12, 150, 240))


def test_a_face_outside_the_picture_is_refused() -> None:
    with pytest.raises(FaceError, match="outside the picture of 100×100 px"):
        align(Image.new("RGB", (100, 100)), square_landmarks(100, 300, 0), 64)


def test_only_a_square_cut_like_ffhq_counts_as_aligned() -> None:
    picture = Image.new("RGB", (1024, 1024))
    assert is_aligned(picture, square_landmarks(1024))
    assert not is_aligned(picture, square_landmarks(1024 * 1.15, -77, -77))
    assert not is_aligned(picture, square_landmarks(1024 * 0.85, 77, 77))
    assert not is_aligned(picture, square_landmarks(1024, 154, 0))
    assert not is_aligned(picture, square_landmarks(1024, 0, -154))
    assert not is_aligned(Image.new("RGB", (1024, 1000)), square_landmarks(1024))
    assert not is_aligned(Image.new("RGB", (512, 512)), square_landmarks(512))
    assert is_aligned(Image.new("RGB", (512, 512)), square_landmarks(512), size=256)


@needs_models
def test_an_aligned_photograph_needs_no_second_alignment(astronaut: Image.Image, astronaut_face: Face) -> None:
    aligned = align(astronaut, astronaut_face.landmarks, 512)
    assert aligned.size == (512, 512)
    landmarks = select(FaceAnalyzer().detect(aligned)).landmarks
    assert is_aligned(aligned, landmarks, 512)
    assert not is_aligned(astronaut, astronaut_face.landmarks, 512)
    assert abs(head_pose(landmarks).roll) < 3
    # She smiles at the camera.
    assert abs(head_pose(landmarks).yaw) < 15
    assert mouth_openness(landmarks) > 0.1
    assert eye_openness(landmarks) > 0.2


@needs_models
@needs_portraits
def test_aligned_portraits() -> None:
    analyzer = FaceAnalyzer()
    codes, poses = [], []
    for path in PORTRAITS[::3]:
        portrait = load_image(path)
        face = select(analyzer.detect(portrait))
        assert is_aligned(portrait, face.landmarks), path.name
        side = portrait.width
        shifted = face.landmarks + np.array([0.15 * side, 0])
        assert not is_aligned(portrait, shifted), path.name
        codes.append(embedding(portrait, face))
        poses.append(head_pose(face.landmarks))
    distances = [identity_distance(a, b) for i, a in enumerate(codes) for b in codes[:i]]
    assert np.mean(np.array(distances) > SAME_PERSON) > 0.9
    yaw, pitch, roll = np.array(poses).T
    assert abs(yaw.mean()) < 8
    assert abs(pitch.mean()) < 8
    assert np.abs(yaw).max() < 45
    assert np.abs(pitch).max() < 30
    assert np.abs(roll).max() < 6
