"""What lies before a face is found and stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from pti_hub import PTIPipeline
from pti_hub.faces import Compositor, aligned_faces, find_occluders
from pti_hub.perceptual import LPIPS


@pytest.fixture(scope="session")
def face(astronaut: Image.Image) -> Image.Image:
    """An aligned face, 256² px, as soft as a pivot's picture."""
    return aligned_faces(astronaut, 256)[0].picture.filter(ImageFilter.GaussianBlur(1))


def behind_a_cup(face: Image.Image) -> tuple[Image.Image, np.ndarray]:
    """The face with a striped cup before the mouth, and where the cup is `[H, W]`."""
    cup = Image.new("L", face.size)
    ImageDraw.Draw(cup).rounded_rectangle((92, 150, 176, 236), 12, 255)
    stripes = np.where((np.arange(256) // 9 % 2)[:, None, None], (40, 60, 170), (230, 220, 200))
    picture = face.copy()
    picture.paste(Image.fromarray(np.broadcast_to(stripes, (256, 256, 3)).astype(np.uint8)), (0, 0), cup)
    return picture, np.asarray(cup) > 0


def test_a_cup_before_the_mouth_is_found(real_pipe: PTIPipeline, face: Image.Image) -> None:
    picture, cup = behind_a_cup(face)
    mask = find_occluders(real_pipe.projector_perceptual, picture, face)
    assert mask is not None
    assert mask.shape == (256, 256)
    assert (mask[cup] == 1).all()
    # The eyes stay free to be edited.
    assert mask[:100].max() == 0


def test_a_free_face_has_none(real_pipe: PTIPipeline, face: Image.Image) -> None:
    lpips = real_pipe.projector_perceptual
    pixels = np.asarray(face).astype(int)
    tinted = Image.fromarray((pixels * 0.8 + (20, 0, 10)).clip(0, 255).astype(np.uint8))
    softer, soft = (face.filter(ImageFilter.GaussianBlur(sigma)) for sigma in (2, 6))
    shifted = face.transform(face.size, Image.Transform.AFFINE, (1, 0, 2, 0, 1, -2))
    for other in (face, tinted, shifted):
        assert find_occluders(lpips, face, other) is None
    for photograph in (softer, soft):
        assert find_occluders(lpips, photograph, face) is None


def test_what_lies_beside_the_face_is_none(real_pipe: PTIPipeline, face: Image.Image) -> None:
    beside = face.copy()
    beside.paste((200, 30, 30), (0, 0, 40, 256))
    assert find_occluders(real_pipe.projector_perceptual, beside, face) is None


def test_thresholds_are_of_one_network_alone(face: Image.Image) -> None:
    assert find_occluders(LPIPS("alex"), behind_a_cup(face)[0], face) is None


def test_an_occluder_stays_pixel_for_pixel(face: Image.Image) -> None:
    picture, cup = behind_a_cup(face)
    corners = np.array([[0, 0], [0, 256], [256, 256], [256, 0]]) - 0.5
    edited = Image.fromarray(np.roll(np.asarray(picture), 6, axis=0)).filter(ImageFilter.GaussianBlur(2))
    without, kept = (
        np.asarray(Compositor(picture, corners, picture, mask)(edited)) for mask in (None, cup.astype(np.float32))
    )
    assert (without != np.asarray(picture))[cup].any()
    assert not (kept != np.asarray(picture))[cup].any()
    assert (kept != np.asarray(picture))[60:120, 80:176].any()
