"""Faces are found, cut out as in FFHQ, told apart, and their pose is measured."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pti_hub.errors import FaceError, InputError, MissingDependencyError, WeightsError
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
from pti_hub.faces.detector import load_model
from pti_hub.faces.identity import SAME_PERSON
from pti_hub.faces.pose import MODEL_POINTS
from pti_hub.images import load_image

PORTRAITS = sorted((Path(__file__).parents[2] / "shared" / "data" / "faces").glob("*.jpg"))

needs_dlib = pytest.mark.skipif(importlib.util.find_spec("dlib") is None, reason="dlib is not installed")
needs_models = pytest.mark.skipif(
    any(importlib.util.find_spec(m) is None for m in ("dlib", "face_recognition_models")),
    reason="dlib or the weight package face_recognition_models is not installed",
)
needs_portraits = pytest.mark.skipif(not PORTRAITS, reason="the CelebA-HQ portraits are not here")

angles = st.floats(-60, 60)


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


def smooth_picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[:height, :width]
    waves = [
        128 + 100 * np.sin(x / 19),
        128 + 100 * np.cos(y / 17),
        128 + 50 * np.sin((x + y) / 23),
    ]
    return Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8))


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


def face_at(left: int) -> Face:
    return Face((left, 20, left + 50, 80), np.zeros((68, 2)), 1.0)


# ---------------------------------------------------------------------------------- choosing


def test_a_single_face_needs_no_choice() -> None:
    face = face_at(10)
    assert select([face]) is face
    assert select([face], 0) is face


def test_several_faces_are_listed_with_how_to_choose() -> None:
    faces = [face_at(10), face_at(200)]
    with pytest.raises(FaceError) as caught:
        select(faces)
    message = str(caught.value)
    assert "face=0 at (10, 20, 50×60), face=1 at (200, 20, 50×60); choose one with face=" in message
    assert select(faces, 1) is faces[1]


@pytest.mark.parametrize("index", [-1, 2])
def test_an_index_out_of_range_is_refused(index: int) -> None:
    with pytest.raises(FaceError, match=f"face={index} "):
        select([face_at(10), face_at(200)], index)


def test_no_face_is_an_error() -> None:
    with pytest.raises(FaceError, match="no face found"):
        select([])


# ---------------------------------------------------------------------------------- alignment


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


# ---------------------------------------------------------------------------------- pose


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


# ---------------------------------------------------------------------------------- identity


def test_identity_distance_is_euclidean() -> None:
    a, b = np.zeros(128, np.float32), np.zeros(128, np.float32)
    b[:2] = 3, 4
    assert identity_distance(a, b) == pytest.approx(5.0)
    assert identity_distance(b, b) == 0.0
    with pytest.raises(InputError, match="128"):
        identity_distance(a, b[:64])


# ---------------------------------------------------------------------------------- what is missing


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
    with pytest.raises(WeightsError, match=r"damaged.*requirements/weights\.txt"):
        load(kind)


# ---------------------------------------------------------------------------------- real faces


@pytest.fixture(scope="module")
def astronaut() -> Image.Image:
    data = pytest.importorskip("skimage.data", reason="scikit-image holds the test photograph")
    return load_image(data.astronaut())


@pytest.fixture(scope="module")
def astronaut_face(astronaut: Image.Image) -> Face:
    return select(FaceAnalyzer().detect(astronaut))


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
